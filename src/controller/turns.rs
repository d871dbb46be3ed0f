//! Turns at the remotes: which writes go together, who asks for a turn, and what is said of those who wait for one.

use std::sync::Arc;
use std::time::Duration;

use super::choose::Due;
use super::pass::Pass;
use super::reconcile::ReconcileError;
use super::send::Sent;
use crate::api::vault_secret::VaultSecretStatus;
use crate::remote::lane::{Ask, Lane, Place, Rank, Waiting};
use crate::sync::ledger::EntryState;
use crate::sync::plan::{Cause, after};
use crate::sync::transition::Write;

/// A turn that comes sooner is not worth a write of the status.
const SOON: Duration = Duration::from_secs(2);

/// Writes of one lane each, the most urgent first.
pub fn by_lane(due: Vec<Due>) -> Vec<Vec<Due>> {
    let mut groups: Vec<Vec<Due>> = Vec::new();
    for one in due {
        match groups.iter_mut().find(|g| Arc::ptr_eq(&g[0].handle.remote, &one.handle.remote)) {
            Some(group) => group.push(one),
            None => groups.push(vec![one]),
        }
    }
    for group in &mut groups {
        group.sort_by_key(rank);
    }
    groups
}

fn rank(due: &Due) -> Rank {
    match (due.write, due.cause) {
        (Write::Delete, _) => Rank::Delete,
        (_, Some(Cause::New | Cause::Changed | Cause::Adopted)) => Rank::Value,
        _ => Rank::Confirm,
    }
}

/// Asks the lane for a turn, and sends what it allows; or notes that there is none yet.
///
/// # Errors
/// When the intent could not be written: nothing was sent.
pub async fn send_group(
    pass: &mut Pass<'_>,
    group: Vec<Due>,
    base: &VaultSecretStatus,
    permit: &mut Option<tokio::sync::SemaphorePermit<'_>>,
) -> Result<Sent, ReconcileError> {
    let lane = Arc::clone(&group[0].handle.remote.lane);
    let want = u32::try_from(group.len()).unwrap_or(u32::MAX);
    match lane.ask(pass.key, rank(&group[0]), want) {
        Ask::Granted(turn) => {
            pass.state.queued.retain(|l| !Arc::ptr_eq(l, &lane));
            drop(permit.take());
            let all = group.len();
            let sent = pass.send(group, turn, base).await;
            match sent {
                Ok(sent) => {
                    // More to do than the turn allowed: the object asks again, behind the others of its namespace.
                    let more = pass.rows_waiting() && all > 1;
                    Ok(Sent { again: sent.again || more, ..sent })
                }
                Err(error) => Err(error.into()),
            }
        }
        Ask::Queued(place) => {
            if !pass.state.queued.iter().any(|l| Arc::ptr_eq(l, &lane)) {
                pass.state.queued.push(lane);
            }
            show_queued(pass, &group, place);
            Ok(Sent::default())
        }
    }
}

/// Says in the rows how many are ahead and when the turn is likely to come, when that is worth it.
fn show_queued(pass: &mut Pass<'_>, group: &[Due], place: Place) {
    if place.eta.is_some_and(|eta| eta < SOON) {
        // Not worth a message, but what is not sent yet is not in sync.
        for one in group.iter().filter(|one| one.write != Write::Delete) {
            let row = &mut pass.rows[one.row];
            if row.state == EntryState::InSync {
                row.state = EntryState::Queued;
            }
        }
        return;
    }
    let when = place.eta.map_or_else(
        || "it is not known when".to_owned(),
        |eta| {
            let at = after(pass.now, eta);
            format!("its turn is likely at {}", at.round(jiff::Unit::Second).unwrap_or(at))
        },
    );
    let why = match place.because {
        Waiting::Budget => "the budget of requests",
        Waiting::InFlight => "requests under way",
        Waiting::Limited { .. } => "the remote, which asked us to wait",
        Waiting::BreakerOpen { .. } => "the remote, which failed too often in a row",
        Waiting::Paused => "the credential, which was refused",
    };
    let message = format!("{} ahead, {when}; it waits for {why}", place.ahead);
    for one in group {
        let row = &mut pass.rows[one.row];
        // Told once when it begins to wait; a failure that was told stays.
        if matches!(row.state, EntryState::Failed | EntryState::Queued | EntryState::Leaving) && !row.message.is_empty()
        {
            continue;
        }
        if one.write != Write::Delete {
            row.state = EntryState::Queued;
        }
        row.message.clone_from(&message);
    }
}

impl Pass<'_> {
    /// Gives up the places in queues of lanes through which nothing is to be sent any more: a turn that comes for nothing keeps
    /// others waiting.
    pub fn leave_queues(&mut self, asked: &[Arc<Lane>]) {
        let key = self.key;
        self.state.queued.retain(|lane| {
            let stays = asked.iter().any(|a| Arc::ptr_eq(a, lane));
            if !stays {
                lane.leave(key);
            }
            stays
        });
    }

    /// Whether some entry still has something to be sent.
    fn rows_waiting(&self) -> bool {
        self.rows.iter().any(|r| {
            matches!(r.state, EntryState::Pending | EntryState::Queued)
                || (r.resend && r.state != EntryState::Failed)
                || (r.key.is_none() && r.message.is_empty())
        })
    }
}
