//! Turns at the remote: who asks for one, what is sent with it, and what the status says of those who wait.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::SemaphorePermit;

use super::choose::{Choice, Due};
use super::pass::Pass;
use super::save::SaveError;
use crate::api::vault_secret::{CreationPolicy, VaultSecretStatus, When};
use crate::remote::lane::{Ask, Lane, Place, Rank, Turn, Waiting};
use crate::sync::ledger::EntryState;
use crate::sync::plan::{Cause, after};
use crate::sync::transition::Write;

/// A wait is told once it has lasted this long, and only if it goes on: what comes to its turn sooner is not worth a write of the
/// status.
const PATIENCE: Duration = Duration::from_secs(3);
/// A turn that comes sooner is not told.
const SOON: Duration = Duration::from_secs(2);
/// How long a new object waits untold while the remote answers all the time and nothing but the number of those before it holds it
/// up: a crowd of new objects is done sooner if nobody stops to say that he waits.
const CROWD: Duration = Duration::from_secs(60);

/// A turn that was granted before the values were read.
pub struct AskedAhead {
    lane: Arc<Lane>,
    turn: Option<Turn>,
}

/// What asking for a turn ahead came to.
pub enum Ahead {
    /// It has come.
    Turn(AskedAhead),
    /// It is waited for, and nothing is to be told before then.
    Later(Duration),
    /// Values are needed to tell what is to be sent, or the status has something to tell.
    Unknown,
}

/// What became of everything that was due.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SentAll {
    /// The object is to be looked at again at once.
    pub again: bool,
    /// All of it waits for its turn, and nothing is to be told before then.
    pub quiet: Option<Duration>,
}

/// Asks for the turn of new entries before their values are read: a thousand new objects read their values once each, when their
/// turn has come.
pub fn ask_ahead(pass: &mut Pass<'_>, choice: &Choice) -> Ahead {
    let Some(handle) = pass.route.handle.clone().filter(|_| choice.only_creates() && pass.may_be_quiet()) else {
        return Ahead::Unknown;
    };
    let lane = Arc::clone(&handle.remote.lane);
    match lane.ask(pass.key, Rank::Value, choice.unread) {
        Ask::Granted(turn) => {
            pass.state.queued.retain(|l| !Arc::ptr_eq(l, &lane));
            Ahead::Turn(AskedAhead { lane, turn: Some(turn) })
        }
        Ask::Queued(place) => {
            pass.note_queued(&lane);
            match pass.quiet_for(&place) {
                Some(wait) => {
                    pass.leave_queues(&[lane]);
                    Ahead::Later(wait)
                }
                None => Ahead::Unknown,
            }
        }
    }
}

/// Sends what is due, lane by lane, as far as turns are granted.
///
/// # Errors
/// When an intent could not be written: nothing was sent through that lane, nor through those that come after it.
pub async fn send_all(
    pass: &mut Pass<'_>,
    due: Vec<Due>,
    ahead: Option<AskedAhead>,
    base: &VaultSecretStatus,
    permit: &mut Option<SemaphorePermit<'_>>,
) -> Result<SentAll, SaveError> {
    let mut ahead = ahead;
    let mut groups = by_lane(due);
    let asked: Vec<_> = groups.iter().map(|g| Arc::clone(&g[0].handle.remote.lane)).collect();
    let mut queued = Vec::new();
    let mut again = false;
    let mut sent_some = false;
    groups.reverse();
    while let Some(group) = groups.pop() {
        let lane = Arc::clone(&group[0].handle.remote.lane);
        let turn = ahead.as_mut().filter(|a| Arc::ptr_eq(&a.lane, &lane)).and_then(|a| a.turn.take());
        let want = u32::try_from(group.len()).unwrap_or(u32::MAX);
        match turn.map_or_else(|| lane.ask(pass.key, rank(&group[0]), want), Ask::Granted) {
            Ask::Granted(turn) => {
                pass.state.queued.retain(|l| !Arc::ptr_eq(l, &lane));
                pass.state.queued_since = None;
                sent_some = true;
                // Requests take as long as the remote pleases: no worker waits with them.
                drop(permit.take());
                let all = group.len();
                let sent = pass.send(group, turn, base).await?;
                // Rows that went have moved the others up.
                for one in groups.iter_mut().flatten().chain(queued.iter_mut().flat_map(|(group, _)| group)) {
                    one.row -= sent.dropped.iter().filter(|gone| **gone < one.row).count();
                }
                // More to do than the turn allowed: the object asks again, behind the others of its namespace.
                again |= sent.again || (pass.rows_waiting() && all > 1);
            }
            Ask::Queued(place) => {
                pass.note_queued(&lane);
                queued.push((group, place));
            }
        }
    }
    pass.leave_queues(&asked);
    if queued.is_empty() {
        pass.state.queued_since = None;
    }
    let mut quiet = None;
    if !queued.is_empty() && !sent_some && pass.may_be_quiet() {
        let waits: Option<Vec<_>> = queued.iter().map(|(_, place)| pass.quiet_for(place)).collect();
        quiet = waits.and_then(|waits| waits.into_iter().min());
    }
    if quiet.is_none() {
        for (group, place) in &queued {
            show_queued(pass, group, place);
        }
    }
    Ok(SentAll { again, quiet })
}

/// Writes of one lane each, the most urgent first.
fn by_lane(due: Vec<Due>) -> Vec<Vec<Due>> {
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

/// How long an object that has waited for `waited` goes on without telling so; `None`: it tells now.
fn untold(waited: Duration, place: &Place, new: bool) -> Option<Duration> {
    let Some(eta) = place.eta else { return PATIENCE.checked_sub(waited).filter(|left| !left.is_zero()) };
    let crowd = new && place.because == Waiting::InFlight && eta < CROWD;
    let patience = if crowd { CROWD } else { PATIENCE };
    if waited < patience {
        // Looked at in between: what seemed a short wait may have become a long one.
        return Some((patience - waited).min(PATIENCE.max(waited)));
    }
    (eta < SOON).then_some(SOON)
}

/// Says in the rows how many are ahead and when the turn is likely to come, when that is worth it.
fn show_queued(pass: &mut Pass<'_>, group: &[Due], place: &Place) {
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
    /// Whether the status has nothing to tell but that a turn is waited for.
    fn may_be_quiet(&self) -> bool {
        let at_once =
            self.vs.spec.when() == When::Immediately || self.vs.spec.creation_policy() == CreationPolicy::None;
        !self.is_deleting()
            && !self.vs.spec.suspended()
            && self.route.problem.is_none()
            && self.notes.is_empty()
            && self.wants.iter().all(|want| want.issue.is_none())
            && (!at_once || self.target_is_in_place())
    }

    /// How long nothing is told of a place in a queue; `None`: it is told now.
    fn quiet_for(&mut self, place: &Place) -> Option<Duration> {
        let since = *self.state.queued_since.get_or_insert(self.now);
        let waited = Duration::try_from(self.now.duration_since(since)).unwrap_or_default();
        let new = self.vs.status.as_ref().is_none_or(|status| status.conditions.is_empty());
        let wait = untold(waited, place, new)?;
        let sooner = self.next.map(|at| self.ctx.clock.until(at)).filter(|until| *until < wait);
        Some(sooner.unwrap_or(wait).max(Duration::from_millis(1)))
    }

    fn note_queued(&mut self, lane: &Arc<Lane>) {
        if !self.state.queued.iter().any(|l| Arc::ptr_eq(l, lane)) {
            self.state.queued.push(Arc::clone(lane));
        }
    }

    /// Gives up the places in queues of lanes through which nothing is to be sent any more: a turn that comes for nothing keeps
    /// others waiting.
    fn leave_queues(&mut self, asked: &[Arc<Lane>]) {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn place(eta: Option<u64>, because: Waiting) -> Place {
        Place { ahead: 7, eta: eta.map(Duration::from_secs), because }
    }

    fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_wait_for_the_budget_is_told_after_some_seconds() {
        for new in [true, false] {
            let long = place(Some(42), Waiting::Budget);
            assert_eq!(untold(s(0), &long, new), Some(PATIENCE));
            assert_eq!(untold(s(2), &long, new), Some(s(1)));
            assert_eq!(untold(s(3), &long, new), None);
        }
    }

    #[test]
    fn a_turn_that_is_about_to_come_is_not_told() {
        assert_eq!(untold(s(3), &place(Some(1), Waiting::Budget), false), Some(SOON));
        assert_eq!(untold(s(300), &place(Some(1), Waiting::InFlight), true), Some(SOON));
    }

    #[test]
    fn a_crowd_of_new_objects_at_a_remote_that_answers_is_not_told() {
        let crowd = place(Some(30), Waiting::InFlight);
        assert_eq!(untold(s(4), &crowd, true), Some(s(4)));
        assert_eq!(untold(s(40), &crowd, true), Some(s(20)));
        assert_eq!(untold(s(60), &crowd, true), None, "but not for ever");
        assert_eq!(untold(s(4), &crowd, false), None, "what says Ready must not say so for long");
        assert_eq!(untold(s(4), &place(Some(90), Waiting::InFlight), true), None, "a remote that is slow");
    }

    #[test]
    fn a_wait_without_an_end_is_told() {
        assert_eq!(untold(s(0), &place(None, Waiting::Paused), true), Some(PATIENCE));
        assert_eq!(untold(s(3), &place(None, Waiting::Paused), true), None);
    }
}
