//! What the process remembers of a VaultSecret between reconciles. Nothing here is needed for correctness after a restart.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use kube::api::{Api, ObjectMeta};
use kube::{Resource as _, ResourceExt as _};

use super::backoff::Backoff;
use super::context::Context;
use super::sources::Listing;
use crate::api::condition::{self, types};
use crate::api::{Reason, VaultSecret};
use crate::kube_error::within;
use crate::remote::lane::{Lane, ObjectKey};
use crate::source::template::Templates;
use crate::sync::ledger::Row;

/// What is remembered of a row.
#[derive(Clone, Debug)]
pub struct Memo {
    /// When this process read the row as it now is.
    pub read_at: Timestamp,
    /// An answer contradicted the list.
    pub contradicted: bool,
    /// Updates in a row that answered 404.
    pub update_refused: u32,
    /// When the last of them was.
    pub refused_at: Option<Timestamp>,
    /// When the entry was put right after somebody else's change.
    pub reasserted: Vec<Timestamp>,
    /// Failures.
    pub backoff: Backoff,
    /// Fingerprint of the value that failed; another value is tried at once.
    pub failed_for: Option<String>,
    /// Generation of the object at the failure; what was edited since is tried at once.
    pub failed_generation: Option<i64>,
    /// When the entry was first seen to leave.
    pub leaving_since: Option<Timestamp>,
}

impl Memo {
    fn new(read_at: Timestamp) -> Self {
        Self {
            read_at,
            contradicted: false,
            update_refused: 0,
            refused_at: None,
            reasserted: Vec::new(),
            backoff: Backoff::default(),
            failed_for: None,
            failed_generation: None,
            leaving_since: None,
        }
    }

    /// Forgets what failed: the next write is not held back.
    pub fn try_at_once(&mut self) {
        self.backoff.reset();
        self.failed_for = None;
        self.update_refused = 0;
        self.refused_at = None;
    }

    /// Reassertions within the last hour; older ones are forgotten.
    pub fn reasserted_within_the_hour(&mut self, now: Timestamp) -> u32 {
        let hour = std::time::Duration::from_secs(3600);
        self.reasserted.retain(|at| crate::sync::plan::after(*at, hour) > now);
        u32::try_from(self.reasserted.len()).unwrap_or(u32::MAX)
    }
}

/// What is remembered of an object.
#[derive(Default)]
pub struct ObjectState {
    /// uid of the object that this is about; another one of the same name starts anew.
    pub uid: String,
    /// When this process first saw it.
    pub known_since: Option<Timestamp>,
    /// When this process first saw that it is going.
    pub going_since: Option<Timestamp>,
    /// The object after our own last write, until the watch has shown it.
    pub latest: Option<Arc<VaultSecret>>,
    /// Rows that were read before, by connection and remote name.
    pub memos: HashMap<(String, String), Memo>,
    /// Failures that are about no single row: the API server.
    pub backoff: Backoff,
    /// Passes in a row that were overtaken: what they decided on was not as it was any more.
    pub overtaken: Backoff,
    /// Values that the API server did not let us read.
    pub source_backoff: Backoff,
    /// Failures of the target.
    pub target_backoff: Backoff,
    /// Failures to restart workloads.
    pub restart_backoff: Backoff,
    /// Reason of `Ready` that an event was published for last; at first what the status says that was there when this began.
    pub announced: Option<String>,
    /// The lanes in whose queues the object stands.
    pub queued: Vec<Arc<Lane>>,
    /// Since when something waits in such a queue.
    pub queued_since: Option<Timestamp>,
    /// Since when a connection that is being read is waited for.
    pub waiting_since: Option<Timestamp>,
    /// Since when a list is waited for, with nothing else to do.
    pub listing_since: Option<Timestamp>,
    /// Since when an entry that is read waits for its first look.
    pub looking_since: Option<Timestamp>,
    /// It reads entries of a remote.
    pub reads: bool,
    /// The templates of the spec, and the generation that they are of.
    pub templates: Option<(i64, Arc<Templates>)>,
    /// The keys of the Secrets of `spec.dataFrom`, by their names.
    pub listings: BTreeMap<String, Listing>,
    /// Outcomes that the API server has not taken yet, and rows that are gone from the ledger in the same way.
    pub unsaved: Vec<Row>,
    /// See `unsaved`.
    pub dropped: HashSet<(String, String)>,
}

/// Whether a reason of `Ready` passes by itself, and is worth no event.
#[must_use]
pub fn is_on_its_way(reason: &str) -> bool {
    [Reason::Queued, Reason::Pushing, Reason::Confirming, Reason::Deleting].iter().any(|r| r.as_str() == reason)
}

/// What an earlier process has told of an object, by its status.
fn announced(vs: &VaultSecret) -> Option<String> {
    let ready = condition::find(&vs.status.as_ref()?.conditions, types::READY)?;
    Some(ready.reason.clone()).filter(|reason| !is_on_its_way(reason))
}

impl ObjectState {
    /// The newest version of the object that is known: what the watch shows, or what our last write answered.
    pub fn newest(&mut self, shown: Arc<VaultSecret>) -> Arc<VaultSecret> {
        let uid = shown.uid().unwrap_or_default();
        if self.uid != uid {
            *self = Self { uid, announced: announced(&shown), ..Self::default() };
        }
        if let Some(latest) = self.latest.take()
            && is_newer(&latest.metadata, &shown.metadata)
        {
            self.latest = Some(Arc::clone(&latest));
            return latest;
        }
        shown
    }

    /// Reads the object as the API server has it, from the store and not from a cache: the watch may lag. When that fails, the next
    /// pass goes by what the watch shows.
    pub async fn read_again(&mut self, ctx: &Context, key: &ObjectKey) {
        let api: Api<VaultSecret> = Api::namespaced(ctx.client.clone(), &key.namespace);
        match within("reading the object", api.get(&key.name)).await {
            // Another object of that name is the watch's to show.
            Ok(found) if found.uid().unwrap_or_default() == self.uid => {
                let mut found = found;
                found.meta_mut().managed_fields = None;
                self.latest = Some(Arc::new(found));
            }
            Ok(_) => {}
            Err(error) => tracing::debug!(namespace = %key.namespace, name = %key.name, %error, "not read again"),
        }
    }

    /// What is remembered of a row; a row that is read for the first time counts as read now.
    pub fn memo(&mut self, connection: &str, name: &str, now: Timestamp) -> &mut Memo {
        self.memos.entry((connection.to_owned(), name.to_owned())).or_insert_with(|| Memo::new(now))
    }

    /// The outcome of the row's last attempt that could not be written, if it is still that attempt's.
    #[must_use]
    pub fn unsaved(&self, row: &Row) -> Option<Row> {
        let unsaved = self.unsaved.iter().find(|u| u.id() == row.id())?;
        (row.is_open() && unsaved.attempt_number() == row.attempt_number()).then(|| unsaved.clone())
    }

    /// Forgets rows that are not in the ledger any more.
    pub fn keep_memos_of(&mut self, rows: &[Row]) {
        let kept: HashSet<(&str, &str)> = rows.iter().map(Row::id).collect();
        self.memos.retain(|(connection, name), _| kept.contains(&(connection.as_str(), name.as_str())));
    }
}

/// Whether what we wrote or read is newer than what the watch shows. resourceVersions of one object can be compared as numbers
/// (guaranteed from Kubernetes 1.35 on, true before).
#[must_use]
pub fn is_newer(ours: &ObjectMeta, shown: &ObjectMeta) -> bool {
    let number = |o: &ObjectMeta| o.resource_version.as_ref().and_then(|v| v.parse::<u128>().ok());
    match (number(ours), number(shown)) {
        (Some(a), Some(b)) => a > b,
        _ => false,
    }
}

/// What is remembered of all objects. An object's state is taken out by its reconcile, of which there is one at a time.
#[derive(Default)]
pub struct Objects {
    states: Mutex<HashMap<ObjectKey, ObjectState>>,
}

impl Objects {
    /// Takes the state of an object out.
    #[must_use]
    pub fn take(&self, key: &ObjectKey) -> ObjectState {
        self.states.lock().unwrap_or_else(PoisonError::into_inner).remove(key).unwrap_or_default()
    }

    /// The watch shows an object: what our own last write answered is not kept beside it, unless that is newer.
    pub fn shown(&self, key: &ObjectKey, shown: &VaultSecret) {
        let mut states = self.states.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(state) = states.get_mut(key)
            && state.latest.as_ref().is_some_and(|latest| !is_newer(&latest.metadata, &shown.metadata))
        {
            state.latest = None;
        }
    }

    /// Puts the state of an object back.
    pub fn put(&self, key: &ObjectKey, state: ObjectState) {
        self.states.lock().unwrap_or_else(PoisonError::into_inner).insert(key.clone(), state);
    }

    /// Forgets an object that is gone.
    pub fn forget(&self, key: &ObjectKey) {
        for lane in self.take(key).queued {
            lane.leave(key);
        }
    }
}
