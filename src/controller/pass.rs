//! One pass over a VaultSecret: what it works on, and what it found.

mod claims;
mod rows;

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use jiff::Timestamp;
use kube::ResourceExt as _;

use super::connections::ConnectionHandle;
use super::context::Context;
use super::desired::Issue;
use super::entries::EntryId;
use super::keys::{ConnectionKey, Waker};
use super::object::ObjectState;
use super::refs::Ref;
use super::route::{Problem, Route};
use super::sources::Observed;
use super::templates;
use crate::api::vault_secret::{CreationPolicy, DataEntry, VaultSecretStatus};
use crate::api::{VaultSecret, names};
use crate::remote::lane::ObjectKey;
use crate::source::escrow::escrow_name;
use crate::source::template::Templates;
use crate::sync::ledger::Row;
use crate::sync::transition;

pub use claims::{expects, wanted_claims};

/// How long a call may have been under way when its process ended: a login, a retry and their timeouts. Longer is safer: it
/// only means to watch the entry a while longer.
const LONGEST_CALL: std::time::Duration = std::time::Duration::from_secs(3600);

/// What `spec.data` has for one key, and what became of it.
#[derive(Debug)]
pub struct Want {
    /// Where it stands in `spec.data`.
    pub index: usize,
    /// Its row, when it is pushed and the name can be had.
    pub row: Option<usize>,
    /// What is not as it should be about it, beyond what its row says.
    pub issue: Option<Issue>,
    /// Its source cannot be looked at now: what is there stays, and nothing is decided.
    pub held: bool,
}

/// Something to be published once the pass is over.
#[derive(Clone, Debug)]
pub struct Note {
    /// Whether a person should look.
    pub warning: bool,
    /// CamelCase reason.
    pub reason: &'static str,
    /// One sentence, without any value.
    pub text: String,
    /// The entry that it is about, where it is about one: each of several is told by an event of its own.
    pub entry: Option<String>,
}

impl Note {
    /// A warning about one entry.
    #[must_use]
    pub fn about_entry(row: &Row, reason: &'static str, text: String) -> Self {
        Self { warning: true, reason, text, entry: Some(format!("{}:{}", row.connection, row.remote_name)) }
    }
}

/// One pass.
pub struct Pass<'a> {
    /// What reconciles share.
    pub ctx: &'a Arc<Context>,
    /// The object's key.
    pub key: &'a ObjectKey,
    /// What is remembered of it.
    pub state: &'a mut ObjectState,
    /// The version that decisions are made on.
    pub vs: Arc<VaultSecret>,
    /// Working copy of the ledger.
    pub rows: Vec<Row>,
    /// One a key of `spec.data`, in its order.
    pub wants: Vec<Want>,
    /// The connection.
    pub route: Route,
    /// When to look again.
    pub next: Option<Timestamp>,
    /// To be published.
    pub notes: Vec<Note>,
    /// Start of the pass.
    pub now: Timestamp,
    /// When the object was read that the decisions are made on, or a moment later.
    pub read_at: Timestamp,
    /// How many entries were ours when it began.
    pub owned_at_start: usize,
    /// The templates of the spec.
    pub templates: Arc<Templates>,
    /// What is known of `spec.dataFrom`; its entries are in the spec.
    pub sources: Observed,
    /// Rows whose value was looked at in this pass, as the spec now has it: by connection and name.
    pub verified: HashSet<(String, String)>,
}

impl<'a> Pass<'a> {
    /// Begins a pass on an object that was read no later than `read_at`: takes up what a crash or an unwritten outcome left, and
    /// finds the connection.
    pub fn begin(
        ctx: &'a Arc<Context>,
        key: &'a ObjectKey,
        state: &'a mut ObjectState,
        vs: Arc<VaultSecret>,
        read_at: Timestamp,
    ) -> Self {
        let now = ctx.clock.now();
        let mut rows = vs.status.as_ref().map(|s| s.entries.clone()).unwrap_or_default();
        for row in &mut rows {
            // One pass at a time: an attempt that is open when a pass begins was left so by a crash, or its outcome could not be
            // written.
            match state.unsaved(row) {
                Some(unsaved) => *row = unsaved,
                None => drop(transition::recover(row, crate::clock::to_millis(now), LONGEST_CALL)),
            }
        }
        rows.retain(|r| {
            !(r.is_open() || r.unsettled_since().is_some())
                || !state.dropped.contains(&(r.connection.clone(), r.remote_name.clone()))
        });
        let mut route = Route::find(ctx, key, &vs);
        if rows.is_empty() && !vs.spec.pushes() {
            // Nothing goes there: it need not be ready for anything.
            route.problem = route.problem.filter(|problem| problem.always);
        }
        let owned_at_start = rows.iter().filter(|r| r.is_ours()).count();
        Self {
            owned_at_start,
            templates: templates::of(state, &vs),
            sources: Observed::default(),
            verified: HashSet::new(),
            ctx,
            key,
            state,
            vs,
            rows,
            wants: Vec::new(),
            route,
            next: None,
            notes: Vec::new(),
            now,
            read_at,
        }
    }

    /// Whether the object is going.
    #[must_use]
    pub fn is_deleting(&self) -> bool {
        self.vs.metadata.deletion_timestamp.is_some()
    }

    /// Whether our finalizer is on the object.
    #[must_use]
    pub fn has_finalizer(&self) -> bool {
        self.vs.finalizers().iter().any(|f| f == names::FINALIZER)
    }

    /// The object's uid.
    #[must_use]
    pub fn uid(&self) -> String {
        self.vs.uid().unwrap_or_default()
    }

    /// The status as it was read.
    #[must_use]
    pub fn old_status(&self) -> VaultSecretStatus {
        self.vs.status.clone().unwrap_or_default()
    }

    /// A key of `spec.data`.
    #[must_use]
    pub fn entry(&self, want: &Want) -> &DataEntry {
        &self.vs.spec.data[want.index]
    }

    /// Looks again no later than that.
    pub fn look_again(&mut self, at: Timestamp) {
        self.next = Some(self.next.map_or(at, |next| next.min(at)));
    }

    /// Notes what the object refers to, these Secrets too, so that its changes wake it.
    pub fn register_refs(&self, secrets: &BTreeSet<String>) {
        let mut refs = refs_of(&self.vs);
        let secrets = self.state.listings.keys().chain(secrets);
        refs.extend(secrets.map(|name| Ref::secret(&self.key.namespace, name)));
        refs.sort();
        refs.dedup();
        self.ctx.refs.set(&Waker::Object(self.key.clone()), refs);
    }

    /// The connection of a row, if it was ever read.
    #[must_use]
    pub fn handle_of(&self, row: &Row) -> Option<Arc<ConnectionHandle>> {
        let key = ConnectionKey::parse(&row.connection, &self.key.namespace)?;
        self.ctx.connections.get_even_retired(&key)
    }

    /// Identity of a row's entry, when its connection is known.
    #[must_use]
    pub fn entry_id(&self, row: &Row) -> Option<EntryId> {
        let handle = self.handle_of(row)?;
        Some(EntryId { remote: Arc::clone(&handle.remote.base), name: row.remote_name.as_str().into() })
    }

    /// The status is about to say that this generation was observed: a row whose value was not looked at (the connection is
    /// frozen or missing, its turn has not come) must not pass for unchanged later.
    pub fn doubt_unverified(&mut self) {
        let observed = self.vs.status.as_ref().and_then(|s| s.observed_generation);
        if observed == self.vs.metadata.generation {
            return;
        }
        for row in self.rows.iter_mut().filter(|r| r.key.is_some()) {
            if !self.verified.contains(&(row.connection.clone(), row.remote_name.clone())) {
                row.source_version = None;
            }
        }
    }

    /// Notes that a row's value was looked at.
    pub fn verify(&mut self, row: usize) {
        let row = &self.rows[row];
        self.verified.insert((row.connection.clone(), row.remote_name.clone()));
    }

    /// Notes a warning to be published.
    pub fn warn(&mut self, reason: &'static str, text: String) {
        self.notes.push(Note { warning: true, reason, text, entry: None });
    }

    /// Why nothing may be written for the keys of the spec, if so.
    #[must_use]
    pub fn problem(&self) -> Option<&Problem> {
        self.route.problem.as_ref()
    }
}

/// What a VaultSecret refers to: sources, escrow, target.
#[must_use]
pub fn refs_of(vs: &VaultSecret) -> Vec<Ref> {
    let namespace = vs.namespace().unwrap_or_default();
    let name = vs.name_any();
    let mut refs = Vec::new();
    let mut generates = false;
    for from in vs.spec.data.iter().filter_map(|e| e.value_from.as_ref()) {
        if let Some(key) = &from.secret_key_ref {
            refs.push(Ref::secret(&namespace, &key.name));
        }
        if let Some(key) = &from.config_map_key_ref {
            refs.push(Ref::config_map(&namespace, &key.name));
        }
        generates |= from.generate.is_some();
    }
    let named = vs.spec.data_from.iter().filter_map(|from| from.secret_ref.as_ref()).map(|secret| &secret.name);
    let read = vs.status.iter().flat_map(|status| &status.sources).map(|source| &source.name);
    refs.extend(named.chain(read).map(|secret| Ref::secret(&namespace, secret)));
    if generates {
        refs.push(Ref::secret(&namespace, &escrow_name(&name)));
    }
    if vs.spec.creation_policy() != CreationPolicy::None {
        refs.push(Ref::secret(&namespace, vs.spec.target_name(&name)));
    }
    refs.sort();
    refs.dedup();
    refs
}
