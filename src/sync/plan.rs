//! Deciding what happens to one entry: the table of `docs/design/protocol.md` as a function.

mod leaving;

use std::time::Duration;

use jiff::Timestamp;

use super::ledger::{EntryState, Row};
use leaving::{leaving, leaving_claim};

/// What a list shows of an entry, from a snapshot that counts for its row (see [`super::snapshot`]).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    /// No snapshot counts.
    Nothing {
        /// None has for longer than the caller is willing to call it known.
        stale: bool,
    },
    /// The list does not hold the entry.
    Absent {
        /// When the snapshot began.
        began: Timestamp,
    },
    /// The list holds the entry.
    Present(Sighting),
}

/// An entry as a snapshot shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sighting {
    /// When the snapshot began.
    pub began: Timestamp,
    /// The provider's id.
    pub id: Option<String>,
    /// The version stamp.
    pub version: Option<String>,
    /// When the entry was made, by the remote's clock.
    pub created: Option<Timestamp>,
    /// Whether the list says that we made it; `None` when it does not say, or we do not know our own name there.
    pub by_us: Option<bool>,
    /// The VaultSecret that a mark on the entry names, when it is another one.
    pub another: Option<String>,
}

/// What happens to an entry that exists and is not ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Adoption {
    /// Nothing is written.
    Refuse,
    /// It is taken over, by policy or because a person asked for it now.
    TakeOver,
}

/// What happens at the remote to an entry that no key wants any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Departure {
    /// It stays.
    Retain,
    /// It is deleted.
    Delete,
}

/// What happens when somebody else changed an entry of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drift {
    /// Our value is written again.
    Reassert,
    /// It is reported.
    Report,
}

/// Everything that the decision over one entry depends on.
#[derive(Clone, Debug)]
pub struct Facts<'a> {
    /// The ledger's row, with no open attempt (see [`super::transition::recover`]).
    pub row: Option<&'a Row>,
    /// Fingerprint of the value that is wanted; `None`: no key wants the entry, it is leaving.
    pub wanted: Option<&'a str>,
    /// What the remote shows.
    pub seen: &'a Seen,
    /// Whether the remote shows stamps of changes (Timestamp, Version) or only names (Presence).
    pub stamps: bool,
    /// Adoption, by policy or asked for.
    pub adoption: Adoption,
    /// What happens when it leaves.
    pub departure: Departure,
    /// What happens on drift.
    pub drift: Drift,
    /// A push was asked for by interval.
    pub asked: bool,
    /// Reassertions of this entry within the last hour.
    pub reasserted: u32,
    /// An answer contradicted what was known of the entry (404 to an update, 409 to a create of ours): a list is read before
    /// the next write.
    pub contradicted: bool,
    /// How many updates in a row answered 404; with a list between them that still showed the entry, two are enough to say
    /// that this remote does not update.
    pub update_refused: u32,
    /// Now.
    pub now: Timestamp,
    /// D: how long a request that timed out may still land.
    pub settle: Duration,
    /// How far the remote's clock may be from ours.
    pub skew: Duration,
    /// When this process first saw the entry leave.
    pub leaving_since: Option<Timestamp>,
}

/// Why a write is sent. Ordered by nothing; names are for events and tests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cause {
    /// The value was never acknowledged.
    New,
    /// The value changed, or an earlier write of it was not acknowledged.
    Changed,
    /// Taken over from somebody else.
    Adopted,
    /// Somebody else changed or removed it.
    Reassert,
    /// A moved version, or an absence, while a write of ours was unsettled: taken for our own late write.
    LateWrite,
    /// The one confirming write after an unsettled attempt, on a remote without stamps.
    Confirm,
    /// Asked for by interval.
    Asked,
}

/// Why nothing happens yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Awaiting {
    /// A snapshot that counts, and that began no earlier than this.
    Snapshot {
        /// `None`: any that counts.
        not_before: Option<Timestamp>,
    },
    /// A moment in time.
    Until(Timestamp),
}

/// What happens to an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Nothing: it is as it should be.
    InSync,
    /// As it should be as far as we know, but no list has shown it for long.
    Unknown,
    /// Unsettled no more: the row is to say so ([`super::transition::settle`]), and to be decided over again before it is
    /// written.
    Settle,
    /// Nothing yet.
    Wait {
        /// What is waited for.
        on: Awaiting,
        /// The state that the row shows meanwhile.
        state: EntryState,
    },
    /// Write the intent, then create.
    Create(Cause),
    /// Write the intent, then update.
    Update(Cause),
    /// The entry is somebody else's; a claim on it is withdrawn. Nothing is written.
    Conflict,
    /// Somebody else changed it and it stays so.
    Drifted {
        /// It was put right too often within an hour: somebody else keeps writing.
        contested: bool,
    },
    /// Somebody else removed it and it stays so.
    Missing {
        /// It was put right too often within an hour.
        contested: bool,
    },
    /// The remote lists the entry and answers 404 to its update.
    UpdateUnsupported,
    /// Write the intent, then delete.
    Delete,
    /// Take the row out of the ledger.
    Forget(Parting),
}

/// How an entry that leaves is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parting {
    /// There is nothing of ours at the remote, or it shall stay.
    Clean,
    /// The entry was made anew by somebody else: it is not ours any more and stays.
    Stranger,
    /// An entry is left that may be ours; nothing shows whose it is.
    Left,
}

/// How often within an hour an entry is put right before we say that somebody else keeps writing.
pub const MAX_REASSERTIONS: u32 = 5;

/// Decides. See the table in `docs/design/protocol.md`; each of its rows is a test.
#[must_use]
pub fn decide(facts: &Facts<'_>) -> Decision {
    match facts.wanted {
        Some(fingerprint) => match facts.row {
            Some(row) if row.is_ours() => ours(facts, row, fingerprint),
            Some(row) if row.claimed => claimed(facts, row),
            _ => unclaimed(facts),
        },
        None => match facts.row {
            Some(row) if row.is_ours() => leaving(facts, row),
            Some(row) if row.claimed => leaving_claim(facts, row),
            _ => Decision::Forget(Parting::Clean),
        },
    }
}

fn unclaimed(facts: &Facts<'_>) -> Decision {
    match facts.seen {
        Seen::Nothing { .. } => snapshot(EntryState::Pending),
        Seen::Absent { .. } => Decision::Create(Cause::New),
        Seen::Present(_) => foreign(facts),
    }
}

fn foreign(facts: &Facts<'_>) -> Decision {
    match facts.adoption {
        Adoption::TakeOver => Decision::Update(Cause::Adopted),
        Adoption::Refuse => Decision::Conflict,
    }
}

fn claimed(facts: &Facts<'_>, row: &Row) -> Decision {
    match facts.seen {
        Seen::Nothing { .. } => snapshot(EntryState::Pending),
        // No create of ours can land any more: the claim begins anew, so that a stranger's entry is not taken for ours later.
        Seen::Absent { began } if settled_at(facts, row).is_some_and(|settled| *began >= settled) => Decision::Settle,
        Seen::Absent { .. } => Decision::Create(Cause::New),
        Seen::Present(sighting) => match settled_at(facts, row) {
            // Nothing of ours was ever processed, so it cannot be our own create (F2).
            None => foreign(facts),
            Some(_) if may_be_our_create(facts, row, sighting) => Decision::Update(Cause::Changed),
            // Somebody else's, but our own create may still land: the claim stays until it cannot (F3).
            Some(settled) if sighting.began < settled => {
                Decision::Wait { on: Awaiting::Snapshot { not_before: Some(settled) }, state: EntryState::Confirming }
            }
            Some(_) => foreign(facts),
        },
    }
}

/// Whether an entry that shows up after an unsettled create can be the one that we created: made after the intent of the
/// earliest create that may have been processed, and before the last one that may land.
fn may_be_our_create(facts: &Facts<'_>, row: &Row, sighting: &Sighting) -> bool {
    if sighting.by_us == Some(false) {
        return false;
    }
    let Some(created) = sighting.created else { return true };
    row.claimed_at.is_none_or(|claimed| created >= before(claimed, facts.skew))
        && settled_at(facts, row).is_none_or(|settled| created <= after(settled, facts.skew))
}

fn ours(facts: &Facts<'_>, row: &Row, fingerprint: &str) -> Decision {
    let differs = row.resend || row.fingerprint.as_deref() != Some(fingerprint);
    let cause = if row.adopted && row.fingerprint.is_none() { Cause::Adopted } else { Cause::Changed };
    match facts.seen {
        Seen::Nothing { .. } if facts.contradicted => snapshot(EntryState::Pending),
        Seen::Nothing { .. } if differs => Decision::Update(cause),
        Seen::Nothing { .. } if facts.asked => Decision::Update(Cause::Asked),
        Seen::Nothing { stale } => match settled_at(facts, row) {
            Some(settled) => unsettled_unchanged(facts, row, settled, None),
            None if *stale => Decision::Unknown,
            None => Decision::InSync,
        },
        Seen::Absent { .. } if differs => Decision::Create(cause),
        // A delete of ours, of a key that went and came back, may have landed late: what is missing is no stranger's doing before the
        // row is settled, which this create does if it is sent when nothing can land any more.
        Seen::Absent { .. } if row.unsettled_since().is_some() => Decision::Create(Cause::LateWrite),
        Seen::Absent { .. } => missing(facts),
        Seen::Present(sighting) => {
            let moved = has_moved(facts, row, sighting);
            let decision = match settled_at(facts, row) {
                _ if differs => Decision::Update(cause),
                _ if facts.asked => Decision::Update(Cause::Asked),
                Some(_) if moved => Decision::Update(Cause::LateWrite),
                Some(settled) => unsettled_unchanged(facts, row, settled, Some(sighting.began)),
                None if moved => drifted(facts),
                None => Decision::InSync,
            };
            match decision {
                // Whatever the update is for: it was refused twice, and a list between still showed the entry.
                Decision::Update(_) if facts.update_refused >= 2 => Decision::UpdateUnsupported,
                other => other,
            }
        }
    }
}

/// An unsettled row whose value was acknowledged since: how it settles.
fn unsettled_unchanged(facts: &Facts<'_>, row: &Row, settled: Timestamp, shown: Option<Timestamp>) -> Decision {
    if watches_stamps(facts, row) {
        match shown {
            Some(began) if began >= settled => Decision::Settle,
            _ if facts.now < settled => Decision::Wait { on: Awaiting::Until(settled), state: EntryState::Confirming },
            _ => Decision::Wait { on: Awaiting::Snapshot { not_before: Some(settled) }, state: EntryState::Confirming },
        }
    } else if facts.now >= settled {
        Decision::Update(Cause::Confirm)
    } else {
        Decision::Wait { on: Awaiting::Until(settled), state: EntryState::Confirming }
    }
}

/// Whether this row can be watched by its stamp; a row without one is treated as on a Presence remote until its next write.
fn watches_stamps(facts: &Facts<'_>, row: &Row) -> bool {
    facts.stamps && row.remote_version.is_some()
}

/// Whether somebody wrote after our last acknowledged write, as far as the stamps show.
#[must_use]
pub fn has_moved(facts: &Facts<'_>, row: &Row, sighting: &Sighting) -> bool {
    let (Some(listed), Some(ours)) = (&sighting.version, &row.remote_version) else { return false };
    // While a write of ours is unsettled, whatever differs is put right.
    let lags = row.unsettled_since().is_none() && super::snapshot::lags(sighting.began, listed, ours);
    watches_stamps(facts, row) && listed != ours && !lags
}

fn missing(facts: &Facts<'_>) -> Decision {
    match facts.drift {
        Drift::Report => Decision::Missing { contested: false },
        Drift::Reassert if facts.reasserted >= MAX_REASSERTIONS => Decision::Missing { contested: true },
        Drift::Reassert => Decision::Create(Cause::Reassert),
    }
}

fn drifted(facts: &Facts<'_>) -> Decision {
    match facts.drift {
        Drift::Report => Decision::Drifted { contested: false },
        Drift::Reassert if facts.reasserted >= MAX_REASSERTIONS => Decision::Drifted { contested: true },
        Drift::Reassert => Decision::Update(Cause::Reassert),
    }
}

/// When the last unsettled attempt cannot land any more; `None` when all is settled.
fn settled_at(facts: &Facts<'_>, row: &Row) -> Option<Timestamp> {
    row.unsettled_since().map(|since| after(since, facts.settle))
}

fn snapshot(state: EntryState) -> Decision {
    Decision::Wait { on: Awaiting::Snapshot { not_before: None }, state }
}

/// `at + by`, held at the end of time instead of failing.
#[must_use]
pub fn after(at: Timestamp, by: Duration) -> Timestamp {
    at.checked_add(by).unwrap_or(Timestamp::MAX)
}

/// `at - by`, held at the beginning of time instead of failing.
#[must_use]
pub fn before(at: Timestamp, by: Duration) -> Timestamp {
    at.checked_sub(by).unwrap_or(Timestamp::MIN)
}
