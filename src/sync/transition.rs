//! What an intent and an answer do to a row of the ledger.

use std::time::Duration;

use jiff::Timestamp;

use super::ledger::{Attempt, EntryState, Row};
use super::plan::{Cause, after};

/// The writes that an entry knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Write {
    /// Create it.
    Create,
    /// Replace its value.
    Update,
    /// Delete it.
    Delete,
}

/// How a write ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The remote acknowledged it.
    Acknowledged {
        /// The provider's id in the answer.
        id: Option<String>,
        /// The stamp in the answer.
        version: Option<String>,
    },
    /// Refused, and nothing was processed: the name exists.
    Exists,
    /// Refused, and nothing was processed: no such entry.
    NotFound,
    /// Refused, and nothing was processed: the entry has another version than the one that the write was decided on.
    Stale,
    /// Nothing was processed, for another reason.
    Clean {
        /// For the row, redacted.
        message: String,
    },
    /// It may have been processed, or may be later.
    Unknown {
        /// For the row, redacted.
        message: String,
    },
    /// The request was never sent.
    NotSent,
}

/// What the intent was written for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Intent {
    /// The write.
    pub write: Write,
    /// Why.
    pub cause: Option<Cause>,
    /// When the intent is written.
    pub at: Timestamp,
}

/// Turns an attempt that a process left open into an unsettled one: it may have been sent, and may still land.
///
/// To be done once with each row that a process reads for the first time. The row is unsettled since the last moment at which
/// its request can have been cut, which the ledger does not tell: before this reading, and no later than `longest` after the
/// intent (the time that an intent may wait to be sent, and the timeout of the request). Returns whether the row changed.
pub fn recover(row: &mut Row, now: Timestamp, longest: Duration) -> bool {
    let Some(attempt) = row.attempt.as_mut().filter(|a| a.open) else { return false };
    attempt.open = false;
    let cut = attempt.at.map_or(now, |at| after(at, longest).min(now));
    attempt.unsettled_since = attempt.unsettled_since.max(Some(cut));
    row.resend = true;
    true
}

/// Writes the intent into the row: the attempt that is about to be made, and the claim before a first create.
pub fn begin(row: &mut Row, intent: Intent) {
    let attempt = row.attempt.get_or_insert_with(Attempt::default);
    attempt.number += 1;
    attempt.at = Some(intent.at);
    attempt.open = true;
    if attempt.unsettled_since.is_none() {
        // Nothing of what was intended before can be at the remote unacknowledged.
        row.claimed_at = None;
    }
    // A failure stays visible while it is tried again.
    let retried = row.state == EntryState::Failed && intent.write != Write::Delete;
    if !retried {
        row.state = if intent.write == Write::Delete { EntryState::Leaving } else { EntryState::Pushing };
        row.message.clear();
    }
    match intent.write {
        Write::Create => {
            row.claimed = !row.is_ours();
            row.claimed_at.get_or_insert(intent.at);
        }
        Write::Update if intent.cause == Some(Cause::Adopted) => {
            row.claimed = false;
            row.adopted = true;
        }
        Write::Update | Write::Delete => {}
    }
}

/// What becomes of the row after the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum After {
    /// The row stays.
    Keep,
    /// The entry is gone: the row goes too.
    Drop,
    /// The answer belongs to an attempt that is not the row's last: nothing is recorded.
    Stale,
}

/// What an answer is judged by.
#[derive(Clone, Debug)]
pub struct Answer<'a> {
    /// The write that it answers.
    pub write: Write,
    /// Number of the attempt that it answers.
    pub number: u64,
    /// How it ended.
    pub outcome: &'a Outcome,
    /// Fingerprint of the value that was sent.
    pub fingerprint: Option<&'a str>,
    /// resourceVersion of the source that it was made from.
    pub source_version: Option<&'a str>,
    /// When the request was sent.
    pub sent_at: Timestamp,
    /// Now.
    pub now: Timestamp,
    /// D.
    pub settle: Duration,
}

/// Records an answer in the row, if the row's last attempt is the one that it answers.
pub fn record(row: &mut Row, answer: &Answer<'_>) -> After {
    if row.attempt_number() != answer.number || !row.is_open() {
        return After::Stale;
    }
    let was_unsettled = row.unsettled_since();
    if let Some(attempt) = row.attempt.as_mut() {
        attempt.open = false;
    }
    match answer.outcome {
        Outcome::Acknowledged { .. } | Outcome::NotFound if answer.write == Write::Delete => return After::Drop,
        Outcome::Acknowledged { id, version } => {
            acknowledged(row, answer, id.as_ref(), version.as_ref(), was_unsettled);
        }
        Outcome::Exists if row.claimed && was_unsettled.is_none() => {
            // An earlier create of ours was never processed, so the entry is somebody else's, whatever its times say (C2, F2).
            row.claimed = false;
            row.claimed_at = None;
            row.state = EntryState::Conflict;
            row.message = "an entry of this name exists and is not ours".to_owned();
        }
        Outcome::Exists | Outcome::NotFound => {
            // A list showed ours gone and yet there is one: it holds what somebody else, or an older write of ours, put there.
            row.resend |= *answer.outcome == Outcome::Exists && !row.claimed;
            row.state = EntryState::Pending;
            row.message = "the remote contradicts its list; it is listed again".to_owned();
        }
        Outcome::Stale => {
            // Decided over again on the version as it is (C7); what is wanted has not changed.
            row.state = EntryState::Pending;
            row.message = "it is looked at again before it is written".to_owned();
        }
        Outcome::Clean { message } => failed(row, answer.write, message),
        Outcome::Unknown { message } => {
            row.resend = true;
            if let Some(attempt) = row.attempt.as_mut() {
                attempt.unsettled_since = Some(answer.now);
            }
            failed(row, answer.write, message);
        }
        Outcome::NotSent => row.state = EntryState::Queued,
    }
    if answer.write == Write::Delete {
        row.state = EntryState::Leaving;
    }
    if !row.claimed && row.unsettled_since().is_none() {
        row.claimed_at = None;
    }
    After::Keep
}

fn acknowledged(
    row: &mut Row,
    answer: &Answer<'_>,
    id: Option<&String>,
    version: Option<&String>,
    was_unsettled: Option<Timestamp>,
) {
    row.claimed = false;
    row.adopted = false;
    row.resend = false;
    row.fingerprint = answer.fingerprint.map(str::to_owned);
    row.source_version = answer.source_version.map(str::to_owned);
    row.remote_version = version.cloned();
    if let Some(id) = id {
        row.remote_id = Some(id.clone());
    }
    row.pushed_at = Some(answer.now);
    row.message.clear();
    row.state = EntryState::InSync;
    if let Some(since) = was_unsettled {
        // Whatever was unsettled can land no more once this one was sent, so this one was the last.
        if answer.sent_at >= after(since, answer.settle) {
            settle(row);
        } else {
            row.state = EntryState::Confirming;
        }
    }
}

fn failed(row: &mut Row, write: Write, message: &str) {
    row.state = if write == Write::Delete { EntryState::Leaving } else { EntryState::Failed };
    message.clone_into(&mut row.message);
}

/// Takes the mark of an unsettled attempt off the row. A row that is claimed is to be decided over again.
pub fn settle(row: &mut Row) {
    if let Some(attempt) = row.attempt.as_mut() {
        attempt.unsettled_since = None;
    }
    row.state = if row.claimed { EntryState::Pending } else { EntryState::InSync };
    row.claimed_at = row.claimed_at.filter(|_| row.claimed);
    row.message.clear();
}

/// Withdraws a claim: the entry is somebody else's.
pub fn withdraw(row: &mut Row) {
    row.claimed = false;
    row.claimed_at = None;
    row.resend = false;
    row.state = EntryState::Conflict;
    if let Some(attempt) = row.attempt.as_mut() {
        attempt.unsettled_since = None;
    }
}
