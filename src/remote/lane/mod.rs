//! The lane of a budget identity: one queue, one budget, one circuit breaker for all that one API key does at one
//! remote. A remote in trouble holds up its own lane and no other.
//!
//! An object that wants to send something [asks](Lane::ask). If nobody waits and the budget has room it gets a
//! [`Turn`] at once. Else it is a row in the queue: no task, no connection and no value waits with it. When its turn
//! comes, requests are reserved for it and its key is sent on the wake channel; its next `ask` claims them. What is
//! not claimed within ten seconds goes to the next.
//!
//! Probes, logins and list pages do not queue: they [wait for one request](Lane::pace) and go before the queue.
//!
//! All decisions are in pure modules (`core`, `queue`, `budget`, `breaker`, `limit`, `eta`), with time as an argument;
//! this one adds a clock, a lock that is never held across an await, and a task that sleeps until something is due.

mod breaker;
mod budget;
mod core;
mod eta;
mod limit;
mod queue;
mod turn;
mod types;

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::future::pending;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::time::{Instant, sleep_until};

use self::core::{Answer, Core, Effect, Flight, Granted, Moment};
pub use turn::{Ask, Slot, Turn};
pub use types::{BreakerState, Health, LaneLimits, LaneStatus, ObjectKey, Outcome, Place, Rank, Waiting};

/// How far the end of a wait must move for a change to be told again.
const SAME_END: Duration = Duration::from_secs(1);

type Paced = Result<Slot, Waiting<Moment>>;

/// The lane of a budget identity.
pub struct Lane {
    name: String,
    started: Instant,
    started_at: Timestamp,
    state: Mutex<State>,
    wake: mpsc::UnboundedSender<ObjectKey>,
    health: watch::Sender<Health>,
    timer: Arc<Notify>,
    me: Weak<Lane>,
}

struct State {
    core: Core,
    waiters: HashMap<u64, Waiter>,
    /// When the timer wakes by itself.
    alarm: Option<Moment>,
}

/// Who waits for one request.
enum Waiter {
    Slot(oneshot::Sender<Paced>),
    FollowUp(oneshot::Sender<Result<(), Waiting<Moment>>>),
}

/// Takes a waiter off the list when the future that waits is dropped.
struct Leaving<'a>(&'a Lane, u64);

impl Lane {
    /// Makes a lane and starts its timer, which sleeps until something is due and ends with the lane. Must be called
    /// within a Tokio runtime. Keys of objects whose turn has come are sent to `wake`.
    #[must_use]
    pub fn new(name: String, limits: LaneLimits, wake: mpsc::UnboundedSender<ObjectKey>) -> Arc<Self> {
        let core = Core::new(limits, rand::random(), Moment::ZERO);
        let health = Health { breaker: BreakerState::Closed, limited_until: None, paused: None };
        let timer = Arc::new(Notify::new());
        let lane = Arc::new_cyclic(|me| Self {
            name,
            started: Instant::now(),
            started_at: Timestamp::now(),
            state: Mutex::new(State { core, waiters: HashMap::new(), alarm: None }),
            wake,
            health: watch::Sender::new(health),
            timer: Arc::clone(&timer),
            me: Weak::clone(me),
        });
        tokio::spawn(run_timer(Arc::downgrade(&lane), timer));
        lane
    }

    /// The name that it was made with.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Changes the limits from now on.
    pub fn set_limits(&self, limits: LaneLimits) {
        self.with(|core, now| core.set_limits(now, limits));
    }

    /// Asks for up to `want` requests, or claims what was reserved. An object that waits already keeps its place;
    /// `want` is replaced, and a better `rank` moves it up.
    pub fn ask(&self, who: &ObjectKey, rank: Rank, want: u32) -> Ask {
        match (self.with(|core, now| core.ask(now, who, rank, want)), self.me.upgrade()) {
            (Answer::Granted(granted), Some(lane)) => Ask::Granted(Turn { lane, granted }),
            (Answer::Granted(granted), None) => Ask::Queued(self.refuse_while_dropped(granted)),
            (Answer::Queued(place), _) => Ask::Queued(self.public(place)),
        }
    }

    /// Forgets that an object waits, or what is reserved for it.
    pub fn leave(&self, who: &ObjectKey) {
        self.with(|core, now| core.leave(now, who));
    }

    /// The place of an object that waits.
    #[must_use]
    pub fn position(&self, who: &ObjectKey) -> Option<Place> {
        self.with(|core, now| core.place(now, who)).map(|place| self.public(place))
    }

    /// Waits for budget and room for one request and goes before the queue: for probes and logins.
    ///
    /// # Errors
    /// At once, or when it comes to that while waiting: limited, breaker open, or paused.
    pub async fn pace(&self) -> Result<Slot, Waiting> {
        let (sender, receiver) = oneshot::channel();
        self.paced(Waiter::Slot(sender), None, receiver).await.and_then(|slot| slot).map_err(|why| self.told(why))
    }

    /// As [`Lane::pace`], but does not wait.
    ///
    /// # Errors
    /// Why no request can be sent now.
    pub fn try_pace(&self) -> Result<Slot, Waiting> {
        let (sender, mut receiver) = oneshot::channel();
        let leaving = self.enlist(Waiter::Slot(sender), None);
        match receiver.try_recv() {
            Ok(answer) => answer.map_err(|why| self.told(why)),
            Err(_) => {
                drop(leaving);
                Err(self.told(self.with(|core, now| core.because(now))))
            }
        }
    }

    /// Grants nothing until [`Lane::resume`]: for a credential that was refused. The reason shows in [`Health`] and
    /// must hold no secret.
    pub fn pause(&self, reason: &str) {
        self.with(|core, now| core.pause(now, reason.into()));
    }

    /// Ends a pause. One request goes first; the others follow when it was answered well.
    pub fn resume(&self) {
        self.with(Core::resume);
    }

    /// The lane as it is, for metrics.
    #[must_use]
    pub fn state(&self) -> LaneStatus {
        self.with(Core::status).map(|at| self.timestamp(at))
    }

    /// Breaker, limit and pause. Changes once a transition, however many requests are refused together.
    #[must_use]
    pub fn changed(&self) -> watch::Receiver<Health> {
        self.health.subscribe()
    }

    // === inside ===

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs one step of the state machine, and what follows from it.
    fn with<R>(&self, step: impl FnOnce(&mut Core, Moment) -> R) -> R {
        let mut state = self.lock();
        let answer = step(&mut state.core, self.started.elapsed());
        self.follow(state);
        answer
    }

    fn follow(&self, mut state: MutexGuard<'_, State>) {
        let now = self.started.elapsed();
        let effects: Vec<_> = state.core.take_effects().into_iter().map(|effect| state.address(effect)).collect();
        // Under the lock, so that what is published last is what is true last.
        let health = state.core.health().map(|at| self.timestamp(at));
        self.health.send_if_modified(|told| {
            let news = is_news(told, &health);
            if news {
                *told = health;
            }
            news
        });
        let due = state.core.next_due(now);
        let sooner = due.is_some_and(|due| state.alarm.is_none_or(|alarm| due < alarm));
        if sooner {
            state.alarm = due;
            self.timer.notify_one();
        }
        drop(state);
        // What is sent to somebody who has gone is dropped here, and takes the lock again.
        for (effect, waiter) in effects {
            self.deliver(effect, waiter);
        }
    }

    fn deliver(&self, effect: Effect, waiter: Option<Waiter>) {
        match (effect, waiter) {
            (Effect::Wake(who), _) => drop(self.wake.send(who)),
            (Effect::Served(_, flight), Some(Waiter::Slot(sender))) => {
                let slot = self.me.upgrade().map(|lane| Slot { lane, flight });
                drop(slot.map(|slot| sender.send(Ok(slot))));
            }
            (Effect::Served(..), Some(Waiter::FollowUp(sender))) => drop(sender.send(Ok(()))),
            (Effect::Refused(_, why), Some(Waiter::Slot(sender))) => drop(sender.send(Err(why))),
            (Effect::Refused(_, why), Some(Waiter::FollowUp(sender))) => drop(sender.send(Err(why))),
            (Effect::Served(..) | Effect::Refused(..), None) => {}
        }
    }

    /// Puts somebody on the list of those who wait for one request.
    fn enlist(&self, waiter: Waiter, within: Option<Flight>) -> Leaving<'_> {
        let mut state = self.lock();
        let id = state.core.wait(self.started.elapsed(), within);
        state.waiters.insert(id, waiter);
        self.follow(state);
        Leaving(self, id)
    }

    async fn paced<T>(
        &self,
        waiter: Waiter,
        within: Option<Flight>,
        receiver: oneshot::Receiver<T>,
    ) -> Result<T, Waiting<Moment>> {
        let _leaving = self.enlist(waiter, within);
        // The sender is on the list until it is used.
        receiver.await.map_err(|_| Waiting::Paused)
    }

    /// A lane whose last owner is just going grants nothing any more.
    fn refuse_while_dropped(&self, granted: Granted) -> Place {
        self.with(|core, now| core.close(now, granted.grant));
        Place { ahead: 0, eta: None, because: Waiting::Paused }
    }

    fn timestamp(&self, at: Moment) -> Timestamp {
        self.started_at.checked_add(at).unwrap_or(Timestamp::MAX)
    }

    fn told(&self, why: Waiting<Moment>) -> Waiting {
        why.map(|at| self.timestamp(at))
    }

    fn public(&self, place: Place<Moment>) -> Place {
        Place { ahead: place.ahead, eta: place.eta, because: self.told(place.because) }
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        // The timer wakes, finds nothing, and ends.
        self.timer.notify_one();
    }
}

impl State {
    /// Finds the waiter that an effect is for.
    fn address(&mut self, effect: Effect) -> (Effect, Option<Waiter>) {
        let waiter = match &effect {
            Effect::Served(id, _) | Effect::Refused(id, _) => self.waiters.remove(id),
            Effect::Wake(_) => None,
        };
        (effect, waiter)
    }
}

impl Drop for Leaving<'_> {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        if state.waiters.remove(&self.1).is_some() {
            state.core.forget(self.0.started.elapsed(), self.1);
            self.0.follow(state);
        }
    }
}

/// Sleeps until something is due, does it, and sleeps again. At rest it does not wake.
async fn run_timer(lane: Weak<Lane>, timer: Arc<Notify>) {
    loop {
        let alarm = {
            let Some(lane) = lane.upgrade() else { return };
            let mut state = lane.lock();
            let now = lane.started.elapsed();
            state.core.tick(now);
            state.alarm = state.core.next_due(now);
            let alarm = state.alarm.map(|alarm| lane.started + alarm);
            lane.follow(state);
            alarm
        };
        let sleep = async {
            match alarm {
                Some(alarm) => sleep_until(alarm).await,
                None => pending().await,
            }
        };
        tokio::select! {
            () = sleep => {}
            () = timer.notified() => {}
        }
    }
}

/// Whether a change is worth telling: another state, or an end that moved by a second or more.
fn is_news(told: &Health, new: &Health) -> bool {
    let moved = |from: Timestamp, to: Timestamp| to.duration_since(from).unsigned_abs() >= SAME_END;
    let breaker = match (told.breaker, new.breaker) {
        (BreakerState::Open { until: from }, BreakerState::Open { until: to }) => moved(from, to),
        (told, new) => told != new,
    };
    let limit = match (told.limited_until, new.limited_until) {
        (Some(from), Some(to)) => moved(from, to),
        (told, new) => told != new,
    };
    breaker || limit || told.paused != new.paused
}
