//! One pass over a VaultSecret: what it works on, and what it found.

use std::collections::HashSet;
use std::sync::Arc;

use jiff::Timestamp;
use kube::ResourceExt as _;

use super::connections::ConnectionHandle;
use super::context::Context;
use super::desired::{self, Issue, Naming};
use super::entries::{Claim, EntryId, Expects};
use super::keys::{ConnectionKey, Waker};
use super::object::ObjectState;
use super::refs::Ref;
use super::route::{Problem, Route};
use crate::api::vault_secret::{CreationPolicy, DataEntry, VaultSecretStatus};
use crate::api::{Reason, VaultSecret, names};
use crate::remote::DriftSignal;
use crate::remote::lane::ObjectKey;
use crate::source::escrow::escrow_name;
use crate::sync::conflict::{Claimant, Hold};
use crate::sync::ledger::{EntryState, Row};
use crate::sync::plan::after;
use crate::sync::transition;

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
    /// How many entries were ours when it began.
    pub owned_at_start: usize,
    /// Rows whose value was looked at in this pass, as the spec now has it: by connection and name.
    pub verified: HashSet<(String, String)>,
}

impl<'a> Pass<'a> {
    /// Begins a pass: takes up what a crash or an unwritten outcome left, and finds the connection.
    pub fn begin(ctx: &'a Arc<Context>, key: &'a ObjectKey, state: &'a mut ObjectState, vs: Arc<VaultSecret>) -> Self {
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
        let route = Route::find(ctx, key, &vs);
        let owned_at_start = rows.iter().filter(|r| r.is_ours()).count();
        Self {
            owned_at_start,
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

    /// Notes what the object refers to, so that its changes wake it.
    pub fn register_refs(&self) {
        self.ctx.refs.set(&Waker::Object(self.key.clone()), refs_of(&self.vs));
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

    /// Brings the keys of the spec and the rows of the ledger together: rows of keys that are gone are leaving, rows of another
    /// remote behind the same connection are forgotten, and a row follows its entry to another connection of the same remote.
    pub fn match_rows(&mut self) {
        let display = self.vs.spec.connection_ref.display();
        let deleting = self.is_deleting();
        if let Some(handle) = self.route.handle.clone() {
            let forgotten: Vec<Row> =
                self.rows.extract_if(.., |r| r.connection == display && r.incarnation != handle.incarnation).collect();
            for row in forgotten.iter().filter(|r| r.holds()) {
                self.warn(
                    "EntryLeft",
                    format!(
                        "{} points at another remote now: entry {:?} at the old one is left",
                        row.connection, row.remote_name
                    ),
                );
            }
        }
        let names = match (&self.route.handle, deleting) {
            (_, true) => vec![None; self.vs.spec.data.len()],
            (Some(handle), false) => {
                let others = self.route.other_prefixes(self.ctx, &self.key.namespace);
                let prefix = handle.prefix.as_deref().map(|p| desired::render_prefix(p, &self.key.namespace));
                desired::names(
                    &self.vs.spec,
                    &Naming { rules: &handle.rules, prefix, others: &others, connection: &handle.display },
                )
            }
            (None, false) => return self.match_by_key(&display),
        };
        let mut taken = HashSet::new();
        for (index, name) in names.into_iter().enumerate() {
            let mut want = Want { index, row: None, issue: desired::check(&self.vs.spec.data[index]) };
            match name {
                None => {}
                Some(Err(issue)) => want.issue = Some(issue),
                Some(Ok(name)) => {
                    let row = self.row_for(&display, &name);
                    if !taken.contains(&row) {
                        self.rows[row].key = Some(self.vs.spec.data[index].key.clone());
                    }
                    self.rows[row].leaving_since = None;
                    taken.insert(row);
                    want.row = Some(row);
                }
            }
            self.wants.push(want);
        }
        let now = self.now;
        for (i, row) in self.rows.iter_mut().enumerate().filter(|(i, _)| !taken.contains(i)) {
            let _ = i;
            row.key = None;
            row.leaving_since.get_or_insert(crate::clock::to_millis(now));
            row.state = EntryState::Leaving;
        }
        for row in &self.rows {
            let leaving = row.key.is_none();
            let memo = self.state.memo(&row.connection, &row.remote_name, now);
            if leaving {
                memo.leaving_since.get_or_insert(now);
            } else {
                memo.leaving_since = None;
            }
        }
    }

    /// Without a connection nothing is known of names: rows keep their keys, and none is taken for leaving but those of keys
    /// that are gone from the spec.
    fn match_by_key(&mut self, display: &str) {
        for (index, entry) in self.vs.spec.data.iter().enumerate() {
            let row = self
                .rows
                .iter()
                .position(|r| r.connection == display && r.key.as_deref() == Some(&entry.key))
                .filter(|_| entry.pushes());
            self.wants.push(Want { index, row, issue: desired::check(entry) });
        }
    }

    /// The row of an entry; made when there is none.
    fn row_for(&mut self, display: &str, name: &str) -> usize {
        if let Some(found) = self.rows.iter().position(|r| r.connection == display && r.remote_name == name) {
            return found;
        }
        let incarnation = self.route.handle.as_ref().map_or(0, |h| h.incarnation);
        let base = self.route.handle.as_ref().map(|h| Arc::clone(&h.remote.base));
        let moved = self.rows.iter().position(|r| {
            r.connection != display
                && r.remote_name == name
                && self
                    .handle_of(r)
                    .is_some_and(|h| Some(&h.remote.base) == base.as_ref() && h.incarnation == r.incarnation)
        });
        if let Some(moved) = moved {
            display.clone_into(&mut self.rows[moved].connection);
            self.rows[moved].incarnation = incarnation;
            let _ = self.state.memo(display, name, self.now);
            return moved;
        }
        self.rows.push(Row {
            connection: display.to_owned(),
            remote_name: name.to_owned(),
            incarnation,
            ..Row::default()
        });
        let _ = self.state.memo(display, name, self.now);
        self.rows.len() - 1
    }

    /// Tells the index what the object names and holds, and wakes those for whom something became free.
    pub fn register_claims(&mut self) {
        let claims = self.claims();
        for freed in self.ctx.entries.set(self.key, claims) {
            self.ctx.wake.object(freed);
        }
    }

    fn claims(&mut self) -> Vec<Claim> {
        let uid = self.uid();
        let created = self.vs.metadata.creation_timestamp.as_ref().map(|t| t.0);
        let name = format!("{}/{}", self.key.namespace, self.key.name);
        let mut claims = Vec::with_capacity(self.rows.len());
        for row in &self.rows {
            // An entry that another connection's row was taken over from has no handle: nothing can be said of it.
            let Some(handle) = self.handle_of(row) else { continue };
            let hold = if row.is_ours() {
                Hold::Ours
            } else if row.holds() {
                Hold::Claimed
            } else if row.key.is_some() {
                Hold::Named
            } else {
                continue;
            };
            let memo = self.state.memo(&row.connection, &row.remote_name, self.now);
            let (read_at, not_updated) = (memo.read_at, memo.update_refused >= 2);
            let prefix = handle.prefix.as_deref().map_or(0, |p| desired::render_prefix(p, &self.key.namespace).len());
            let settle = handle.settle;
            claims.push(Claim {
                entry: EntryId { remote: Arc::clone(&handle.remote.base), name: row.remote_name.as_str().into() },
                claimant: Claimant { created, uid: uid.clone(), name: name.clone(), hold, prefix },
                connection: row.connection.as_str().into(),
                // Whoever deletes an entry that cannot be updated has it made anew.
                expects: expects(row, handle.remote.client().drift_signal())
                    .or_else(|| (not_updated && row.state == EntryState::Failed).then_some(Expects::Foreign)),
                read_at,
                lingers_until: lingers(row).map(|since| after(since, settle)),
            });
        }
        claims
    }

    /// Marks entries that another VaultSecret has.
    pub fn check_owners(&mut self) {
        let uid = self.uid();
        let mut waits = Vec::new();
        for want in &mut self.wants {
            let Some(row) = want.row else { continue };
            let Some(handle) = self.route.handle.as_ref() else { continue };
            let id =
                EntryId { remote: Arc::clone(&handle.remote.base), name: self.rows[row].remote_name.as_str().into() };
            if let Some(taken) = self.ctx.entries.taken(self.key, &uid, &id, self.now) {
                let key = &self.vs.spec.data[want.index].key;
                want.issue = Some(Issue::new(
                    Reason::OwnedByAnother,
                    format!(
                        "key {key}: the entry {:?} at {} belongs to VaultSecret {}",
                        id.name, handle.display, taken.by
                    ),
                ));
                self.rows[row].state = EntryState::Conflict;
                self.rows[row].message = format!("belongs to VaultSecret {}", taken.by);
                waits.extend(taken.until);
            }
        }
        for at in waits {
            self.look_again(after(at, std::time::Duration::from_millis(1)));
        }
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
        self.notes.push(Note { warning: true, reason, text });
    }

    /// Why nothing may be written for the keys of the spec, if so.
    #[must_use]
    pub fn problem(&self) -> Option<&Problem> {
        self.route.problem.as_ref()
    }
}

/// Since when a write of ours may still land, for entries whose object goes away.
fn lingers(row: &Row) -> Option<Timestamp> {
    let open = row.attempt.as_ref().filter(|a| a.open).and_then(|a| a.at);
    row.unsettled_since().max(open)
}

/// What a row expects of the next list.
#[must_use]
pub fn expects(row: &Row, signal: DriftSignal) -> Option<Expects> {
    let version = || match signal {
        DriftSignal::Presence => None,
        DriftSignal::Timestamp | DriftSignal::Version => row.remote_version.as_deref().map(Into::into),
    };
    if row.unsettled_since().is_some() || row.is_open() {
        return None;
    }
    match row.state {
        EntryState::InSync if row.is_ours() => Some(Expects::Present(version())),
        EntryState::Drifted => Some(Expects::Moved(version())),
        EntryState::Missing => Some(Expects::Absent),
        EntryState::Conflict => Some(Expects::Foreign),
        EntryState::Unknown => Some(Expects::Any),
        EntryState::Failed if row.is_ours() => Some(Expects::Listed),
        _ => None,
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
