//! Deciding over an entry that leaves.

use jiff::Timestamp;

use super::{Awaiting, Decision, Departure, Facts, Parting, Seen, Sighting, after, may_be_our_create, settled_at};
use crate::sync::ledger::{EntryState, Row};

/// Decides over an entry that is ours and that no key wants any more.
pub(super) fn leaving(facts: &Facts<'_>, row: &Row) -> Decision {
    let settled = settled_at(facts, row);
    if let Some(settled) = settled.filter(|at| facts.now < *at) {
        return Decision::Wait { on: Awaiting::Until(settled), state: EntryState::Leaving };
    }
    if facts.departure == Departure::Retain {
        return Decision::Forget(Parting::Clean);
    }
    if row.fingerprint.is_none() && settled.is_none() {
        // Taken over and never written: it is still what its maker made it.
        return Decision::Forget(Parting::Clean);
    }
    // A list is read before the delete, so that an entry that a stranger made anew is told from ours (F6).
    let not_before = settled.max(facts.leaving_since);
    // Where entries are addressed by an id, a 404 proves something only for the id that a list shows once nothing can land.
    let blind = !facts.stamps && row.remote_id.is_none();
    match facts.seen {
        Seen::Absent { began } if Some(*began) >= not_before && !written_within(facts, row, *began) => {
            Decision::Forget(Parting::Clean)
        }
        Seen::Present(sighting) if Some(sighting.began) >= not_before || blind => {
            // Taken over by another, or made anew: not ours any more.
            if sighting.another.is_some() || made_anew(facts, row, sighting) {
                Decision::Forget(Parting::Stranger)
            } else {
                Decision::Delete
            }
        }
        Seen::Absent { began } if Some(*began) >= settled => Decision::Delete,
        _ if blind => Decision::Delete,
        _ => Decision::Wait { on: Awaiting::Snapshot { not_before }, state: EntryState::Leaving },
    }
}

/// Whether the snapshot began less than D after the last attempt, so that its absence proves nothing for a delete.
fn written_within(facts: &Facts<'_>, row: &Row, began: Timestamp) -> bool {
    row.attempt.as_ref().and_then(|a| a.at).is_some_and(|at| began < after(at, facts.settle))
}

/// Whether the entry was created after our last acknowledged write, and not by a create of ours without an answer: somebody
/// removed ours and made his.
fn made_anew(facts: &Facts<'_>, row: &Row, sighting: &Sighting) -> bool {
    if row.unsettled_since().is_some() && row.claimed_at.is_some() && may_be_our_create(facts, row, sighting) {
        return false;
    }
    // A version ends in the time of the write, where it has one: `<time>`, or `<number>@<time>`.
    let written = row.remote_version.as_deref().and_then(|v| v.rsplit('@').next());
    let ours = written.and_then(|time| time.parse::<Timestamp>().ok());
    matches!((sighting.created, ours), (Some(created), Some(ours)) if created > ours)
}

/// Decides over an entry that is claimed, of which nothing was acknowledged, and that no key wants any more.
pub(super) fn leaving_claim(facts: &Facts<'_>, row: &Row) -> Decision {
    let Some(settled) = settled_at(facts, row) else {
        return Decision::Forget(Parting::Clean);
    };
    if facts.now < settled {
        return Decision::Wait { on: Awaiting::Until(settled), state: EntryState::Leaving };
    }
    if facts.departure == Departure::Retain {
        return Decision::Forget(Parting::Clean);
    }
    match facts.seen {
        Seen::Absent { began } if *began >= settled => Decision::Forget(Parting::Clean),
        Seen::Present(sighting) if sighting.began >= settled => {
            if sighting.created.is_none() {
                Decision::Forget(Parting::Left)
            } else if may_be_our_create(facts, row, sighting) {
                Decision::Delete
            } else {
                Decision::Forget(Parting::Clean)
            }
        }
        _ => Decision::Wait { on: Awaiting::Snapshot { not_before: Some(settled) }, state: EntryState::Leaving },
    }
}
