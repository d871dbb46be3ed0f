//! From what is known to what happens: asks `sync::plan` about every entry and writes the answers into the pass.

mod leaving;
mod quiet;
mod seen;

use std::collections::HashSet;
use std::sync::Arc;

use jiff::Timestamp;

use super::connections::ConnectionHandle;
use super::fields;
use super::pass::{Note, Pass};
use super::prober::Snapshot;
use super::values::{Values, is_unchanged};
use crate::api::Reason;
use crate::api::names;
use crate::api::vault_secret::{AdoptionPolicy, DeletionPolicy, DriftPolicy};
use crate::remote::DriftSignal;
use crate::sync::ledger::{EntryState, Row};
use crate::sync::plan::{self, Adoption, Awaiting, Cause, Decision, Departure, Drift, Facts, Seen};
use crate::sync::transition::{self, Write};
use crate::value::SecretValue;
use leaving::choose_leaving;
use quiet::settle_without_writing;
use seen::{see, sighted_id, wait};

/// A write that is due.
pub struct Due {
    /// Its row.
    pub row: usize,
    /// What is sent.
    pub write: Write,
    /// Why; `None` for a delete.
    pub cause: Option<Cause>,
    /// The value, but for a delete.
    pub value: Option<SecretValue>,
    /// Fingerprint of the value.
    pub fingerprint: Option<String>,
    /// resourceVersion of its source.
    pub source_version: Option<String>,
    /// The connection that it goes through.
    pub handle: Arc<ConnectionHandle>,
    /// Names of the fields in the value, where entries have fields.
    pub fields: Vec<String>,
    /// The version that it was decided on, for remotes with check-and-set.
    pub expected: Option<String>,
    /// To be told when it is sent.
    pub note: Option<Note>,
}

/// What the pass came to.
#[derive(Default)]
pub struct Choice {
    /// Writes that are due.
    pub due: Vec<Due>,
    /// A write is due whose value has not been read.
    pub needs_values: bool,
    /// Some entry waits for a list, so that a one-time adoption cannot be judged for all.
    pub undecided: bool,
    /// Rows that go.
    pub forgotten: Vec<usize>,
    /// Entries that are not ours and that are created whatever their values turn out to be, which have not been read.
    pub unread: u32,
    /// What is told of entries that are left at the remote.
    pub notes: Vec<Note>,
}

impl Choice {
    /// Whether the values are all that is missing for new entries to be created, and nothing else is to be done.
    #[must_use]
    pub fn only_creates(&self) -> bool {
        self.unread > 0 && !self.needs_values && !self.undecided && self.due.is_empty() && self.forgotten.is_empty()
    }

    fn left(&mut self, row: &Row, text: String) {
        self.notes.push(Note::about_entry(row, "EntryLeft", text));
    }
}

/// Decides over every entry. May be called again in one pass, after values were read.
pub fn choose(pass: &mut Pass<'_>, values: Option<&Values>) -> Choice {
    let mut choice = Choice::default();
    if pass.sources.refused {
        return choice;
    }
    let blocked = pass.route.problem.is_some() || pass.vs.spec.suspended();
    let frozen = pass.route.problem.as_ref().is_some_and(|p| p.issue.reason == Reason::RemoteDiverged);
    if let Some(handle) = pass.route.handle.clone().filter(|_| !frozen && !pass.vs.spec.suspended()) {
        for want in 0..pass.wants.len() {
            choose_wanted(pass, want, values, &handle, blocked, &mut choice);
        }
    }
    for row in 0..pass.rows.len() {
        // Suspended, the keys that went are not written for either; an object that is going is.
        let held = pass.vs.spec.suspended() && !pass.is_deleting();
        if pass.rows[row].key.is_none() && !held {
            choose_leaving(pass, row, &mut choice);
        }
    }
    choice
}

fn choose_wanted(
    pass: &mut Pass<'_>,
    want: usize,
    values: Option<&Values>,
    handle: &Arc<ConnectionHandle>,
    blocked: bool,
    choice: &mut Choice,
) {
    let Some(index) = pass.wants[want].row.filter(|_| fields::leads(pass, want)) else { return };
    if pass.wants[want].issue.as_ref().is_some_and(|i| i.reason == Reason::OwnedByAnother) {
        return;
    }
    if let Some(issue) = pass.wants[want].issue.clone().filter(|i| i.reason == Reason::TemplateError) {
        pass.rows[index].state = EntryState::Refused;
        pass.rows[index].message = issue.message;
        return;
    }
    let uid = pass.uid();
    let row = &pass.rows[index];
    let recorded = row.fingerprint.clone();
    let source_held = fields::wants_of(pass, index).any(|want| pass.wants[want].held);
    let content =
        values.map(|values| fields::content(pass, index, values)).filter(|found| found.is_ok() || !source_held);
    // While it is not known which keys there are, what an entry lacks for that is no change of it.
    let unsure = pass.sources.incomplete && fields::may_lack_keys(pass, index, content.as_ref());
    let (source_held, content) = (source_held || unsure, content.filter(|_| !unsure));
    let mut written = Vec::new();
    let (fingerprint, value, version) = match content {
        Some(Err(issue)) => {
            let passes = matches!(issue.reason, Reason::SourceMissing | Reason::ConnectionNotReady);
            pass.rows[index].state = if passes { EntryState::Pending } else { EntryState::Refused };
            pass.rows[index].message.clone_from(&issue.message);
            pass.wants[want].issue = Some(issue);
            return;
        }
        Some(Ok(content)) => {
            let print =
                pass.ctx.keys.fingerprint_like(recorded.as_deref(), &uid, &row.remote_name, content.text.expose());
            // What no key names any more goes with the next write, or stays, as an entry would.
            let gone = match departure(pass) {
                Departure::Delete => fields::gone(row, &content),
                Departure::Retain => Vec::new(),
            };
            written.clone_from(&content.fields);
            (print, Some(fields::payload(&content, &gone)), Some(content.version))
        }
        None if is_unchanged(pass, &pass.wants[want], row) => {
            let version = fields::known_versions(pass, index);
            (recorded.clone().unwrap_or_default(), None, version)
        }
        None if source_held => return,
        None => return choose_unread(pass, index, handle, blocked, choice),
    };
    let (seen, snapshot) = see(pass, index, handle);
    let row = &pass.rows[index];
    let memo = pass.state.memo(&row.connection, &row.remote_name, pass.read_at);
    let edited = memo.failed_generation.is_some_and(|g| Some(g) != pass.vs.metadata.generation);
    if edited || memo.failed_for.as_ref().is_some_and(|f| *f != fingerprint) {
        memo.backoff.reset();
        memo.failed_for = None;
        memo.update_refused = 0;
    }
    let reasserted = memo.reasserted_within_the_hour(pass.now);
    let oldest = memo.reasserted.first().copied();
    let held = memo.backoff.waits_until(pass.now, handle.remote.recovered_at());
    // Tried again after a while: the remote may have learnt to update, or two strangers' remakes may have looked like a refusal.
    let hour = std::time::Duration::from_secs(3600);
    let old_refusal = memo.refused_at.is_some_and(|at| plan::after(at, hour) <= pass.now);
    if old_refusal || matches!(seen, Seen::Absent { .. }) {
        memo.update_refused = 0;
        memo.refused_at = None;
    }
    let retry_refused = memo.refused_at.map(|at| plan::after(at, hour));
    let (contradicted, update_refused) = (memo.contradicted, memo.update_refused);
    if seen != (Seen::Nothing { stale: false }) && seen != (Seen::Nothing { stale: true }) {
        memo.contradicted = false;
    }
    let due_again = pushed_again_at(pass, row);
    let inherited = values.is_some_and(|v| {
        v.inherited.iter().any(|e| e.connection == row.connection && e.remote_name == row.remote_name)
    });
    let adoption =
        if inherited || pass.vs.spec.adoption() == AdoptionPolicy::TakeOver || asked_to_adopt(pass, want, handle) {
            Adoption::TakeOver
        } else {
            Adoption::Refuse
        };
    let row = &pass.rows[index];
    let facts = Facts {
        row: Some(row),
        wanted: Some(&fingerprint),
        seen: &seen,
        stamps: handle.remote.client().drift_signal() != DriftSignal::Presence,
        adoption,
        departure: departure(pass),
        drift: match pass.vs.spec.drift() {
            DriftPolicy::Reassert => Drift::Reassert,
            DriftPolicy::Report => Drift::Report,
        },
        asked: due_again.is_some_and(|at| at <= pass.now),
        reasserted,
        contradicted,
        update_refused,
        now: pass.now,
        settle: handle.settle,
        skew: snapshot.as_ref().map_or(std::time::Duration::from_secs(30), |s| s.skew),
        leaving_since: None,
    };
    // A new value covers somebody else's change, which is told all the same.
    let covers = row.is_ours()
        && row.unsettled_since().is_none()
        && matches!(&seen, Seen::Present(sighting) if plan::has_moved(&facts, row, sighting));
    let mut decision = plan::decide(&facts);
    if decision == Decision::Settle {
        let mut settled = row.clone();
        transition::settle(&mut settled);
        decision = plan::decide(&Facts { row: Some(&settled), ..facts });
        pass.rows[index] = settled;
    }
    let send = |write, cause| Some((write, cause));
    let writes = match decision {
        Decision::Create(cause) => send(Write::Create, cause),
        Decision::Update(cause) => send(Write::Update, cause),
        _ => None,
    };
    if let Some((write, cause)) = writes {
        if let Some(id) = sighted_id(&seen) {
            pass.rows[index].remote_id = Some(id);
        }
        if cause == Cause::Adopted && !blocked {
            // The mark is in the row, so that it holds although the entries may leave in several turns: the annotation that
            // asked for it is dealt with now.
            let row = &mut pass.rows[index];
            (row.adopted, row.claimed, row.claimed_at) = (true, false, None);
            row.state = EntryState::Queued;
            row.message.clear();
        }
        if let Some(at) = held {
            pass.look_again(at);
            return;
        }
        if blocked {
            if let Some(problem) = pass.route.problem.as_ref().map(|p| p.issue.clone()) {
                pass.wants[want].issue.get_or_insert(problem);
            }
            return;
        }
        if value.is_none() {
            choice.needs_values |= !source_held;
            return;
        }
        let note = (matches!(cause, Cause::Reassert | Cause::LateWrite) || cause == Cause::Changed && covers)
            .then(|| change_note(&pass.rows[index], cause, &seen, snapshot.as_deref()));
        // What the list shows is newer than what the row recorded; where it shows none, there is none to be relied on.
        let expected = match &seen {
            Seen::Present(sighting) => sighting.version.clone(),
            _ => pass.rows[index].remote_version.clone(),
        };
        choice.due.push(Due {
            fields: written,
            expected,
            note,
            row: index,
            write,
            cause: Some(cause),
            value,
            fingerprint: Some(fingerprint),
            source_version: version,
            handle: Arc::clone(handle),
        });
        return;
    }
    if decision == Decision::UpdateUnsupported {
        retry_refused.into_iter().for_each(|at| pass.look_again(at));
    }
    settle_without_writing(pass, index, want, decision, &seen, handle, choice, oldest);
    let row = &mut pass.rows[index];
    if row.state == EntryState::InSync && row.fingerprint.as_deref() == Some(&fingerprint) && version.is_some() {
        row.source_version = version;
        pass.verify(index);
    }
}

/// The value was not read yet. An entry that is not ours waits for a list, and is created when there is none of its name, whatever
/// its value: what has to wait anyway does not cost a read.
fn choose_unread(
    pass: &mut Pass<'_>,
    index: usize,
    handle: &Arc<ConnectionHandle>,
    blocked: bool,
    choice: &mut Choice,
) {
    let row = &pass.rows[index];
    let failed = pass.state.memo(&row.connection, &row.remote_name, pass.read_at).failed_for.is_some();
    if blocked || failed || row.is_ours() {
        choice.needs_values = true;
        return;
    }
    let (seen, snapshot) = see(pass, index, handle);
    let row = &pass.rows[index];
    let facts = Facts {
        row: Some(row),
        wanted: Some(""),
        seen: &seen,
        stamps: handle.remote.client().drift_signal() != DriftSignal::Presence,
        adoption: Adoption::Refuse,
        departure: departure(pass),
        drift: Drift::Reassert,
        asked: false,
        reasserted: 0,
        contradicted: false,
        update_refused: 0,
        now: pass.now,
        settle: handle.settle,
        skew: snapshot.as_ref().map_or(std::time::Duration::from_secs(30), |s| s.skew),
        leaving_since: None,
    };
    match plan::decide(&facts) {
        Decision::Wait { on: on @ Awaiting::Snapshot { .. }, state: EntryState::Pending } => {
            wait(pass, index, on, handle);
            choice.undecided = true;
        }
        Decision::Create(_) => choice.unread += 1,
        _ => choice.needs_values = true,
    }
}

/// When a row is to be pushed again by interval.
fn pushed_again_at(pass: &Pass<'_>, row: &Row) -> Option<Timestamp> {
    let interval = pass.vs.spec.reassert_interval.as_ref().map(crate::api::duration::GoDuration::get)?;
    Some(plan::after(row.pushed_at.filter(|_| !interval.is_zero())?, interval))
}

/// Looks again when the next row is to be pushed again by interval. What is due already waits for something else: its turn, a
/// failure's wait, the connection.
pub fn look_again_at_interval(pass: &mut Pass<'_>) {
    let wanted = pass.rows.iter().filter(|r| r.key.is_some());
    let next = wanted.filter_map(|r| pushed_again_at(pass, r)).filter(|at| *at > pass.now).min();
    if let Some(at) = next {
        pass.look_again(at);
    }
}

fn departure(pass: &Pass<'_>) -> Departure {
    match pass.vs.spec.deletion() {
        DeletionPolicy::Retain => Departure::Retain,
        DeletionPolicy::Delete => Departure::Delete,
    }
}

/// Whether a person asked to take over what is refused now: by annotation on the object, or on its connection.
fn asked_to_adopt(pass: &Pass<'_>, want: usize, handle: &ConnectionHandle) -> bool {
    if handle.adopting.as_ref().is_some_and(|a| a.concerns(pass.key)) {
        return true;
    }
    let Some(asked) = pending_annotation(pass, names::ADOPT, |s| s.last_handled_adopt.as_deref()) else { return false };
    let entry = pass.entry(&pass.wants[want]);
    let stored = pass.wants[want].row.map(|r| pass.rows[r].remote_name.as_str());
    let names: HashSet<&str> = asked.split(',').map(str::trim).collect();
    names.contains("*") || names.contains(entry.remote_name()) || stored.is_some_and(|s| names.contains(s))
}

/// Value of an annotation that was not dealt with yet.
#[must_use]
pub fn pending_annotation<'p>(
    pass: &'p Pass<'_>,
    annotation: &str,
    handled: impl Fn(&crate::api::VaultSecretStatus) -> Option<&str>,
) -> Option<&'p str> {
    let asked = pass.vs.metadata.annotations.as_ref()?.get(annotation)?;
    let done = pass.vs.status.as_ref().and_then(handled);
    (done != Some(asked)).then_some(asked.as_str())
}
/// Tells that somebody else changed an entry that is put right now.
fn change_note(row: &Row, cause: Cause, seen: &Seen, snapshot: Option<&Snapshot>) -> Note {
    let by = snapshot
        .and_then(|s| s.entries.get(&row.remote_name))
        .and_then(|listed| listed.updated_by.as_deref())
        .map(|who| format!(" by {who}"))
        .unwrap_or_default();
    let what = match (cause, seen) {
        (Cause::LateWrite, _) => "changed after a write of ours that was never answered; perhaps it landed late",
        (_, Seen::Absent { .. }) => "removed at the remote",
        _ => "changed at the remote",
    };
    let text = format!("entry {:?} at {} was {what}{by}; it is written again", row.remote_name, row.connection);
    Note::about_entry(row, "RemoteChanged", text)
}
