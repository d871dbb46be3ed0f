//! Writing to the remote: intent, requests, outcome.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures::StreamExt as _;
use tokio::time::Instant;

use super::backoff::{self, jittered};
use super::choose::Due;
use super::desired::Issue;
use super::entries::EntryId;
use super::pass::Pass;
use super::save::SaveError;
use crate::api::Reason;
use crate::api::vault_secret::VaultSecretStatus;
use crate::remote::lane::{Outcome as LaneOutcome, Turn};
use crate::remote::{self, CallError, Certainty, EntryRef, ErrorClass, Operation, Owner, Provider, Written};
use crate::sync::plan::Cause;
use crate::sync::transition::{self, After, Answer, Intent, Outcome, Write};

/// A request that was not sent this long after its intent was written is not sent: the intent is written again.
const ABANDON_AFTER: Duration = Duration::from_secs(1);

/// How often the outcomes of a long batch are written.
const WRITE_OUTCOMES_EVERY: Duration = Duration::from_secs(2);

/// What became of a turn.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sent {
    /// The object is to be looked at again at once.
    pub again: bool,
    /// Rows that are gone, by the place that they had.
    pub dropped: Vec<usize>,
}

/// One request's end.
struct Done {
    due: usize,
    result: Option<Result<Written, CallError>>,
    sent_at: jiff::Timestamp,
    took: Duration,
}

impl Pass<'_> {
    /// Writes the intent for as many entries as the turn allows, sends the requests, and records the answers in the rows.
    ///
    /// # Errors
    /// When the intent could not be written: nothing was sent.
    pub async fn send(
        &mut self,
        mut due: Vec<Due>,
        mut turn: Turn,
        intent: &VaultSecretStatus,
    ) -> Result<Sent, SaveError> {
        let Some(handle) = due.first().map(|d| std::sync::Arc::clone(&d.handle)) else { return Ok(Sent::default()) };
        let client = handle.remote.client();
        // A login between intent and request would make the claim window longer than it has to be.
        if let Err(error) = client.prepare().await {
            // A login is a call like any other: what the remote asks for in its answer holds for everybody who would go there.
            if let Some(slot) = turn.take() {
                slot.report(LaneOutcome::of::<()>(&Err(error.clone())));
            }
            for one in &due {
                self.note_failure(one, &error);
            }
            return Ok(Sent::default());
        }
        let allowed = usize::try_from(turn.requests()).unwrap_or(usize::MAX).max(1);
        // What the turn does not allow comes in another one.
        let left_over = due.len() > allowed;
        for later in due.drain(allowed.min(due.len())..).filter(|one| one.write != Write::Delete) {
            // Not sent yet, so not in sync.
            self.rows[later.row].state = crate::sync::ledger::EntryState::Queued;
            self.rows[later.row].message.clear();
        }
        self.take_entries(&mut due);
        if due.is_empty() {
            // Somebody else has them. Who waits for an entry is woken when it becomes free; this is for one that leaves.
            self.look_again(crate::sync::plan::after(self.now, Duration::from_secs(60)));
            return Ok(Sent::default());
        }
        if handle.frozen().is_some() {
            return Ok(Sent { again: true, ..Sent::default() });
        }
        if !self.ctx.leadership.covers(Duration::MAX) {
            // The lease was not renewed in time; it is in a moment, or the process ends.
            self.look_again(crate::sync::plan::after(self.now, Duration::from_secs(1)));
            return Ok(Sent::default());
        }
        let before = self.rows.clone();
        let at = crate::clock::to_millis(self.ctx.clock.now());
        for one in &due {
            transition::begin(&mut self.rows[one.row], Intent { write: one.write, cause: one.cause, at });
            super::fields::intend(&mut self.rows[one.row], &one.fields);
        }
        let status = super::outcome::intent_status(self, intent);
        if let Err(error) = self.save_once(status).await {
            self.rows = before;
            return Err(error);
        }
        // It held what earlier passes could not write, too.
        self.state.unsaved.clear();
        self.state.dropped.clear();
        let written_at = Instant::now();
        let numbers: Vec<u64> = due.iter().map(|d| self.rows[d.row].attempt_number()).collect();
        for one in &due {
            self.notes.extend(one.note.clone());
        }
        let at_once = usize::try_from(turn.at_once()).unwrap_or(usize::MAX).max(1);
        let turn = Mutex::new(turn);
        let uid = self.uid();
        let owner = Owner { name: format!("{}/{}", self.key.namespace, self.key.name), uid: uid.clone() };
        let mut futures = Vec::with_capacity(due.len());
        for (index, one) in due.iter().enumerate() {
            let turn = &turn;
            let row = &self.rows[one.row];
            let entry =
                EntryRef { name: row.remote_name.clone(), id: row.remote_id.clone(), version: one.expected.clone() };
            // A mark is put on what becomes ours, once.
            let owner = (row.fingerprint.is_none() && one.write != Write::Delete).then(|| owner.clone());
            let id =
                EntryId { remote: std::sync::Arc::clone(&handle.remote.base), name: row.remote_name.as_str().into() };
            let (client, ctx, handle, uid) = (&client, self.ctx, &handle, &uid);
            futures.push(async move {
                let sent_at = ctx.clock.now();
                let slot = turn.lock().unwrap_or_else(PoisonError::into_inner).take();
                let leads = ctx.leadership.covers(Duration::MAX);
                let Some(slot) = slot.filter(|_| leads && written_at.elapsed() < ABANDON_AFTER) else {
                    return Done { due: index, result: None, sent_at, took: Duration::ZERO };
                };
                ctx.entries.sent(&id);
                let began = Instant::now();
                let call = async {
                    match (one.write, &one.value) {
                        (Write::Create, Some(value)) => client.create(&entry.name, value).await,
                        (Write::Update, Some(value)) => client.update(&entry, value).await,
                        _ => client.delete(&entry).await.map(|()| Written::default()),
                    }
                };
                let (result, requests) = remote::counted(call).await;
                let (over, took) = (ctx.clock.now(), began.elapsed());
                ctx.entries.over(&id, over);
                if result.as_ref().is_err_and(|error| error.certainty() == Certainty::Unknown) {
                    ctx.entries.linger(&id, uid, crate::sync::plan::after(over, handle.settle));
                }
                slot.report(LaneOutcome::of(&result));
                slot.owe(requests.saturating_sub(1));
                if let Ok(written) = &result {
                    handle.remote.learn_principal(written.principal.clone());
                    if let Some(owner) = &owner {
                        // An entry without a mark is as much ours.
                        let (_, requests) = remote::counted(client.mark(&entry, owner)).await;
                        slot.owe(requests);
                    }
                }
                Done { due: index, result: Some(result), sent_at, took }
            });
        }
        let mut requests = futures::stream::iter(futures).buffer_unordered(at_once);
        let mut dropped = Vec::new();
        let mut again = false;
        let mut unwritten = 0_usize;
        let mut last_write = Instant::now();
        loop {
            let tick = tokio::time::sleep_until(last_write + WRITE_OUTCOMES_EVERY);
            tokio::select! {
                biased;
                done = requests.next() => {
                    let Some(done) = done else { break };
                    again |= self.record(&due[done.due], numbers[done.due], &done, &mut dropped);
                    unwritten += 1;
                }
                () = tick => {
                    last_write = Instant::now();
                    if unwritten > 0 {
                        unwritten = 0;
                        let mut entries = self.rows.clone();
                        let mut index = 0;
                        entries.retain(|_| { index += 1; !dropped.contains(&(index - 1)) });
                        let status = VaultSecretStatus { entries, ..self.old_status() };
                        // Not written now, it is written at the end.
                        let _ = self.save_outcome(status).await;
                    }
                }
            }
        }
        drop(requests);
        dropped.sort_unstable();
        for row in dropped.iter().rev() {
            let row = self.remove_row(*row);
            self.state.dropped.insert((row.connection.clone(), row.remote_name.clone()));
        }
        Ok(Sent { again: again || left_over, dropped })
    }

    /// Takes the entries of the writes in the index; those that somebody else has are left out.
    fn take_entries(&mut self, due: &mut Vec<Due>) {
        let uid = self.uid();
        let now = self.ctx.clock.now();
        loop {
            let ids: Vec<EntryId> = due
                .iter()
                .map(|d| EntryId {
                    remote: std::sync::Arc::clone(&d.handle.remote.base),
                    name: self.rows[d.row].remote_name.as_str().into(),
                })
                .collect();
            let settle = due.first().map_or(Duration::ZERO, |d| d.handle.settle);
            let Err((id, taken)) = self.ctx.entries.take(self.key, &uid, &ids, now, settle) else { return };
            due.retain(|d| *self.rows[d.row].remote_name != *id.name);
            let row = self.rows.iter().position(|r| *r.remote_name == *id.name && r.key.is_some());
            let want = self.wants.iter_mut().find(|w| w.row == row && row.is_some());
            if let Some(want) = want {
                let text = format!("the entry {:?} belongs to VaultSecret {}", id.name, taken.by);
                want.issue = Some(Issue::new(Reason::OwnedByAnother, text));
            }
            if due.is_empty() {
                return;
            }
        }
    }

    /// Records one answer. Returns whether the object is to be looked at again at once.
    fn record(&mut self, due: &Due, number: u64, done: &Done, dropped: &mut Vec<usize>) -> bool {
        let handle = &due.handle;
        let operation = match due.write {
            Write::Create => Operation::Create,
            Write::Update => Operation::Update,
            Write::Delete => Operation::Delete,
        };
        let outcome = match &done.result {
            None => Outcome::NotSent,
            Some(result) => {
                let status = match result {
                    Ok(_) => Some(200),
                    Err(error) => error.status,
                };
                let name = handle.metric_name();
                self.ctx.metrics.remote_attempt(&name, operation, status, Some(number), done.took);
                outcome_of(result)
            }
        };
        let now = crate::clock::to_millis(crate::sync::plan::after(self.ctx.clock.now(), Duration::from_millis(1)));
        let answer = Answer {
            write: due.write,
            number,
            outcome: &outcome,
            fingerprint: due.fingerprint.as_deref(),
            source_version: due.source_version.as_deref(),
            sent_at: done.sent_at,
            now,
            settle: handle.settle,
        };
        let after = transition::record(&mut self.rows[due.row], &answer);
        if after == After::Drop {
            dropped.push(due.row);
            return false;
        }
        if let Some(since) = self.rows[due.row].unsettled_since() {
            // No list wakes a row that is unsettled: it is looked at when nothing of ours can land any more.
            let settled = crate::sync::plan::after(since, handle.settle);
            self.look_again(crate::sync::plan::after(settled, Duration::from_millis(1)));
        }
        let row = &self.rows[due.row];
        let (connection, name) = (row.connection.clone(), row.remote_name.clone());
        let memo = self.state.memo(&connection, &name, now);
        match (&outcome, &done.result) {
            (Outcome::Acknowledged { .. }, _) => {
                self.rows[due.row].fields.clone_from(&due.fields);
                memo.backoff.reset();
                memo.failed_for = None;
                memo.contradicted = false;
                memo.update_refused = 0;
                if due.cause == Some(Cause::Reassert) {
                    memo.reasserted.push(now);
                }
                // Put right: from here on it counts again for a freeze.
                let mut excused = handle.remote.excused.lock().unwrap_or_else(PoisonError::into_inner);
                excused.remove(&(connection.as_str().into(), name.as_str().into()));
                drop(excused);
                self.verified.insert((connection, name));
                // Acknowledged, but not settled: what settles it is decided at once, and waited for.
                self.rows[due.row].unsettled_since().is_some()
            }
            (Outcome::Exists | Outcome::Stale, _) => {
                memo.contradicted = true;
                true
            }
            (Outcome::NotFound, _) => {
                memo.contradicted = true;
                memo.update_refused = memo.update_refused.saturating_add(1);
                memo.refused_at = Some(now);
                true
            }
            (_, Some(Err(error))) => {
                self.note_failure(due, error);
                // Which status a taken name has there is not declared, nor are the words: a list tells, before the next attempt.
                due.write == Write::Create
                    && error.class == ErrorClass::Invalid
                    && handle.rules.provider() == Provider::Mixpeek
            }
            _ => true,
        }
    }

    /// Notes a failure in the row's message, and when it is tried again.
    fn note_failure(&mut self, due: &Due, error: &CallError) {
        let now = self.ctx.clock.now();
        let row = &self.rows[due.row];
        let (connection, name) = (row.connection.clone(), row.remote_name.clone());
        let memo = self.state.memo(&connection, &name, now);
        let pace = match error.class {
            ErrorClass::Invalid | ErrorClass::Forbidden | ErrorClass::Refused | ErrorClass::NoCredits => {
                backoff::PERMANENT
            }
            _ => backoff::TRANSIENT,
        };
        let mut next = memo.backoff.failed(pace, now, jittered);
        if error.class == ErrorClass::RateLimited {
            // The lane holds everything back as long as the remote asks for; the place in the queue is what is waited for.
            memo.backoff.reset();
            next = crate::sync::plan::after(now, Duration::from_millis(100));
        }
        memo.failed_for.clone_from(&due.fingerprint);
        memo.failed_generation = self.vs.metadata.generation;
        due.handle.remote.lane_report(error);
        let told = next.max(due.handle.remote.shut_until().unwrap_or(next));
        let told = told.round(jiff::Unit::Second).unwrap_or(told);
        let row = &mut self.rows[due.row];
        row.message = format!("{}; next attempt at {told}", error.message);
        if due.write != Write::Delete {
            row.state = crate::sync::ledger::EntryState::Failed;
        }
        self.look_again(next);
    }

    /// Takes a row out of the ledger.
    pub fn remove_row(&mut self, index: usize) -> crate::sync::ledger::Row {
        for want in &mut self.wants {
            want.row = match want.row {
                Some(row) if row == index => None,
                Some(row) if row > index => Some(row - 1),
                other => other,
            };
        }
        let row = self.rows.remove(index);
        // Named again, it is a new row: what was seen of the old one says nothing about it.
        self.state.memos.remove(&(row.connection.clone(), row.remote_name.clone()));
        row
    }
}

fn outcome_of(result: &Result<Written, CallError>) -> Outcome {
    match result {
        Ok(written) => Outcome::Acknowledged { id: written.id.clone(), version: written.version.clone() },
        Err(error) => match (error.class, error.certainty()) {
            (ErrorClass::Exists, _) => Outcome::Exists,
            (ErrorClass::NotFound, _) => Outcome::NotFound,
            (ErrorClass::Stale, _) => Outcome::Stale,
            (_, Certainty::Clean) => Outcome::Clean { message: error.message.clone() },
            (_, Certainty::Unknown) => Outcome::Unknown { message: error.message.clone() },
        },
    }
}
