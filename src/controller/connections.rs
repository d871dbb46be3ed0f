//! The connections that can be used, as VaultSecrets see them.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use jiff::Timestamp;

use super::backoff::{Backoff, OVERTAKEN, jittered};
use super::keys::ConnectionKey;
use super::object::is_newer;
use super::prober::RemoteHandle;
use super::refs::{Known, Ref};
use super::shown::Shown;
use crate::api::ConnectionReason;
use crate::api::connection::AllowedNamespaces;
use crate::api::vault_secret::ConnectionKind;
use crate::remote::lane::ObjectKey;
use crate::remote::spec::Rules;
use crate::sync::plan::after;

/// How often the number of entries is written at most, when nothing else changes.
pub const COUNT_EVERY: Duration = Duration::from_secs(15);

/// A connection whose spec and credentials were read.
pub struct ConnectionHandle {
    /// Which connection.
    pub key: ConnectionKey,
    /// `<kind>/<name>`, as ledger rows name it.
    pub display: Arc<str>,
    /// Generation of the spec that it was made from.
    pub generation: i64,
    /// Its provider, and which names and values it takes.
    pub rules: Rules,
    /// The remote behind it: client, lane and snapshots, shared by all connections of one budget identity.
    pub remote: Arc<RemoteHandle>,
    /// Which remote behind the connection rows speak of.
    pub incarnation: u64,
    /// D: how long a request that timed out may still land.
    pub settle: Duration,
    /// For how long a list is believed; `None` when the regular list is off.
    pub max_age: Option<Duration>,
    /// Put before names at the remote (ClusterVaultConnection).
    pub prefix: Option<String>,
    /// Namespaces that may use it (ClusterVaultConnection); `None`: not asked for, it is namespaced.
    pub allowed: Option<AllowedNamespaces>,
    /// Why nothing may be sent, if so. Deletes of leaving entries go through with the credentials that were had before.
    pub blocked: Option<(ConnectionReason, String)>,
    /// A freeze and its token; shared with the handle that replaces this one.
    pub freeze: Arc<Mutex<Option<FreezeNote>>>,
    /// A one-time adoption for all VaultSecrets of the connection.
    pub adopting: Option<Arc<Adopting>>,
    /// Where the credential is, for a person who has to mend it; empty where it is in no Secret.
    pub credential: Arc<str>,
    /// The host that it goes to, or several.
    pub host: Arc<str>,
    /// Versions of the Secrets and ConfigMaps that it was made from.
    pub made_from: Vec<(Ref, Known)>,
}

/// Why a connection has never been usable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blocked {
    /// Generation of the spec.
    pub generation: i64,
    /// Why.
    pub reason: ConnectionReason,
    /// One sentence.
    pub message: String,
}

/// Why a connection is frozen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FreezeNote {
    /// What a person names to approve.
    pub token: String,
    /// What was seen.
    pub reason: String,
}

/// A one-time adoption that is under way.
#[derive(Debug)]
pub struct Adopting {
    /// Value of the annotation.
    pub value: String,
    /// VaultSecrets that have not been looked at yet.
    pub pending: Mutex<HashSet<ObjectKey>>,
}

impl Adopting {
    /// A VaultSecret was looked at. Returns whether it was the last one.
    pub fn done(&self, key: &ObjectKey) -> bool {
        let mut pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        pending.remove(key) && pending.is_empty()
    }

    /// Whether a VaultSecret has still to be looked at.
    #[must_use]
    pub fn concerns(&self, key: &ObjectKey) -> bool {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner).contains(key)
    }
}

impl ConnectionHandle {
    /// The freeze, if there is one.
    #[must_use]
    pub fn frozen(&self) -> Option<FreezeNote> {
        self.freeze.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The connection as metrics name it: with its namespace, where it has one.
    #[must_use]
    pub fn metric_name(&self) -> String {
        self.key.metric_name()
    }

    /// Why nothing may be sent through the connection, if so: a freeze is not told here.
    #[must_use]
    pub fn not_ready(&self) -> Option<(ConnectionReason, String)> {
        // Where a cluster's connection leads, and with what, is not for everybody whose namespace may use it.
        let shared = self.key.kind == ConnectionKind::ClusterVaultConnection;
        let told = || self.remote.not_ready().map(|told| if shared { told } else { self.placed(told) });
        self.blocked.clone().or_else(told)
    }

    /// What the connection's condition says of the remote.
    #[must_use]
    pub fn condition(&self) -> (ConnectionReason, String) {
        self.placed(self.remote.condition())
    }

    /// Says where to look. The remote itself does not know it: several connections may share one.
    fn placed(&self, (reason, text): (ConnectionReason, String)) -> (ConnectionReason, String) {
        let text = match reason {
            ConnectionReason::AuthenticationFailed | ConnectionReason::PermissionDenied
                if !self.credential.is_empty() =>
            {
                format!("{text}; the credential is in {}", self.credential)
            }
            ConnectionReason::Unreachable => format!("{}: {text}", self.host),
            _ => text,
        };
        (reason, text)
    }
}

/// All connections that have been read, by key. One that was deleted stays for entries that leave.
#[derive(Default)]
pub struct Connections {
    live: RwLock<HashMap<ConnectionKey, Arc<ConnectionHandle>>>,
    retired: RwLock<HashMap<ConnectionKey, Arc<ConnectionHandle>>>,
    blocked: RwLock<HashMap<ConnectionKey, Blocked>>,
    counted: Mutex<HashMap<ConnectionKey, Timestamp>>,
    /// Connections as they were written or read by us last.
    latest: Mutex<HashMap<ConnectionKey, Shown>>,
    /// Decisions in a row on a connection that was not as it was any more.
    overtaken: Mutex<HashMap<ConnectionKey, Backoff>>,
}

impl Connections {
    /// The connection, when it exists and was read.
    #[must_use]
    pub fn get(&self, key: &ConnectionKey) -> Option<Arc<ConnectionHandle>> {
        self.live.read().unwrap_or_else(PoisonError::into_inner).get(key).cloned()
    }

    /// The connection as it was last known, for entries that leave.
    #[must_use]
    pub fn get_even_retired(&self, key: &ConnectionKey) -> Option<Arc<ConnectionHandle>> {
        self.get(key).or_else(|| self.retired.read().unwrap_or_else(PoisonError::into_inner).get(key).cloned())
    }

    /// The connection as it is known: what the watch shows, or what we wrote or read after that. A spec that the watch has not
    /// shown yet is not taken up before it has: whoever refers to the connection is told by the watch.
    #[must_use]
    pub fn newest(&self, shown: Shown) -> Shown {
        let mut all = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(latest) = all.get(&shown.key) else { return shown };
        if is_newer(&latest.metadata, &shown.metadata) && latest.metadata.uid == shown.metadata.uid {
            let same_spec = latest.metadata.generation == shown.metadata.generation;
            return if same_spec { latest.clone() } else { shown };
        }
        all.remove(&shown.key);
        shown
    }

    /// Notes a connection as we wrote or read it.
    pub fn know(&self, mut latest: Shown) {
        latest.metadata.managed_fields = None;
        self.latest.lock().unwrap_or_else(PoisonError::into_inner).insert(latest.key.clone(), latest);
    }

    /// A decision was on a connection that is not as it was any more. Returns when to decide again.
    pub fn overtaken(&self, key: &ConnectionKey, now: Timestamp) -> Timestamp {
        let mut all = self.overtaken.lock().unwrap_or_else(PoisonError::into_inner);
        all.entry(key.clone()).or_default().failed(OVERTAKEN, now, jittered)
    }

    /// A decision was carried through.
    pub fn went_well(&self, key: &ConnectionKey) {
        self.overtaken.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
    }

    /// Why a connection that was never usable is not.
    #[must_use]
    pub fn blocked(&self, key: &ConnectionKey) -> Option<Blocked> {
        self.blocked.read().unwrap_or_else(PoisonError::into_inner).get(key).cloned()
    }

    /// A connection cannot be used, and could not before. Returns whether that is news.
    pub fn block(&self, key: &ConnectionKey, why: Blocked) -> bool {
        let mut blocked = self.blocked.write().unwrap_or_else(PoisonError::into_inner);
        blocked.insert(key.clone(), why.clone()) != Some(why)
    }

    /// When the number of entries was written last; notes that it is written now.
    pub fn count_written(&self, key: &ConnectionKey, now: Timestamp) {
        self.counted.lock().unwrap_or_else(PoisonError::into_inner).insert(key.clone(), now);
    }

    /// Whether it is time to write the number of entries again.
    #[must_use]
    pub fn may_count(&self, key: &ConnectionKey, now: Timestamp) -> bool {
        self.counted_at(key).is_none_or(|at| after(at, COUNT_EVERY) <= now)
    }

    /// When the number of entries was written last.
    #[must_use]
    pub fn counted_at(&self, key: &ConnectionKey) -> Option<Timestamp> {
        self.counted.lock().unwrap_or_else(PoisonError::into_inner).get(key).copied()
    }

    /// Publishes a connection; returns the one before.
    pub fn publish(&self, handle: Arc<ConnectionHandle>) -> Option<Arc<ConnectionHandle>> {
        let key = handle.key.clone();
        self.blocked.write().unwrap_or_else(PoisonError::into_inner).remove(&key);
        self.retired.write().unwrap_or_else(PoisonError::into_inner).remove(&key);
        self.live.write().unwrap_or_else(PoisonError::into_inner).insert(key, handle)
    }

    /// The connection is gone.
    pub fn retire(&self, key: &ConnectionKey) {
        self.blocked.write().unwrap_or_else(PoisonError::into_inner).remove(key);
        self.counted.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
        self.latest.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
        self.went_well(key);
        let gone = self.live.write().unwrap_or_else(PoisonError::into_inner).remove(key);
        if let Some(gone) = gone {
            self.retired.write().unwrap_or_else(PoisonError::into_inner).insert(key.clone(), gone);
        }
    }

    /// Forgets connections that are gone, unless somebody still needs them; tells of each remaining connection's remote.
    #[must_use]
    pub fn remotes_in_use(&self, needed: impl Fn(&ConnectionKey) -> bool) -> Vec<Arc<RemoteHandle>> {
        let mut retired = self.retired.write().unwrap_or_else(PoisonError::into_inner);
        retired.retain(|key, _| needed(key));
        let live = self.live.read().unwrap_or_else(PoisonError::into_inner);
        live.values().chain(retired.values()).map(|c| Arc::clone(&c.remote)).collect()
    }

    /// Connections that go to a remote.
    #[must_use]
    pub fn through(&self, remote: &RemoteHandle) -> Vec<Arc<ConnectionHandle>> {
        let live = self.live.read().unwrap_or_else(PoisonError::into_inner);
        live.values().filter(|c| std::ptr::eq(Arc::as_ptr(&c.remote), remote)).cloned().collect()
    }

    /// Every live connection.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<ConnectionHandle>> {
        self.live.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }
}
