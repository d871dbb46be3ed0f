//! What a lane gives out: turns, and requests in flight. Both give back what they hold when they are dropped.

use std::sync::Arc;

use tokio::sync::oneshot;

use super::core::{Flight, Granted};
use super::types::{Outcome, Place, Waiting};
use super::{Lane, Waiter};
use crate::remote::Pace;

/// The answer to [`Lane::ask`].
#[must_use]
pub enum Ask {
    /// Go.
    Granted(Turn),
    /// End here: the object's key comes on the wake channel when its turn has come.
    Queued(Place),
}

/// Requests granted to one object. What is not used when it is dropped goes back to the lane.
#[must_use]
pub struct Turn {
    pub(super) lane: Arc<Lane>,
    pub(super) granted: Granted,
}

/// One request in flight, which ends when this is dropped. Report what became of it first.
#[must_use]
pub struct Slot {
    pub(super) lane: Arc<Lane>,
    pub(super) flight: Flight,
}

impl Turn {
    /// Requests that are left.
    #[must_use]
    pub fn requests(&self) -> u32 {
        self.granted.requests
    }

    /// How many of them may be in flight at one time.
    #[must_use]
    pub fn at_once(&self) -> u32 {
        self.granted.at_once
    }

    /// The next request, to be sent right away. `None`: none is left; or [`Turn::at_once`] are in flight (drop one);
    /// or the remote has asked for peace, failed or been paused since: drop the turn and ask again.
    pub fn take(&mut self) -> Option<Slot> {
        let flight = self.lane.with(|core, now| core.take(now, self.granted.grant))?;
        self.granted.requests = self.granted.requests.saturating_sub(1);
        Some(Slot { lane: Arc::clone(&self.lane), flight })
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.lane.with(|core, now| core.close(now, self.granted.grant));
    }
}

impl Slot {
    /// Tells the lane what became of the HTTP call. To be called after every one.
    pub fn report(&self, outcome: Outcome) {
        self.lane.with(|core, now| core.report(now, self.flight, outcome));
    }

    /// More requests were sent within this one than it was paid for: those that come next wait for them.
    pub fn owe(&self, requests: u32) {
        if requests > 0 {
            self.lane.with(|core, now| core.owe(now, requests));
        }
    }

    /// Waits for the budget of one more request within this one (a list's next page, a retry after a new login): it
    /// needs no second place among those in flight, and goes before everything else.
    ///
    /// # Errors
    /// At once, or when it comes to that while waiting: limited, breaker open, or paused.
    pub async fn follow_up(&self) -> Result<(), Waiting> {
        let (sender, receiver) = oneshot::channel();
        let paid = self.lane.paced(Waiter::FollowUp(sender), Some(self.flight), receiver).await;
        paid.and_then(|paid| paid).map_err(|why| self.lane.told(why))
    }

    /// What [`Remote::list`](crate::remote::Remote::list) awaits before a further page. It cannot refuse, so it waits a limit
    /// or an open breaker out, with this request's place in hand: put a timeout around the list.
    #[must_use]
    pub fn pages(self: &Arc<Self>) -> Pace {
        let slot = Arc::clone(self);
        Arc::new(move || {
            let slot = Arc::clone(&slot);
            Box::pin(async move {
                let mut changed = slot.lane.changed();
                while slot.follow_up().await.is_err() {
                    if changed.changed().await.is_err() {
                        return;
                    }
                }
            })
        })
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.lane.with(|core, now| core.end(now, self.flight));
    }
}
