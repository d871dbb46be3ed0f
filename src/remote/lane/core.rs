//! The lane as a state machine: time is an argument, what is to be done comes back as [`Effect`]s.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::breaker::Breaker;
use super::budget::Budget;
use super::eta::{self, Load};
use super::limit::Limit;
use super::queue::Queue;
use super::types::{BreakerState, Health, LaneLimits, LaneStatus, ObjectKey, Outcome, Place, Rank, Waiting};

/// Time since the lane was made.
pub(super) type Moment = Duration;

/// A reservation that is not claimed for so long lapses, and the object loses its place.
pub(super) const CLAIM_WITHIN: Duration = Duration::from_secs(10);
/// The most requests that one turn gets while others wait: enough for most objects to be done in one turn, and with
/// it in one intent and one outcome.
pub(super) const QUANTUM: u32 = 8;

/// What the shell has to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    /// A turn is reserved for this object: tell it.
    Wake(ObjectKey),
    /// This waiter has its request.
    Served(u64, Flight),
    /// This waiter gets none.
    Refused(u64, Waiting<Moment>),
}

/// A request in flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Flight {
    pub(super) id: u64,
    pub(super) grant: u64,
    pub(super) since: Moment,
}

/// A turn, as granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Granted {
    pub(super) grant: u64,
    pub(super) requests: u32,
    pub(super) at_once: u32,
}

/// The answer to an ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Granted(Granted),
    Queued(Place<Moment>),
}

/// Requests that somebody holds: `left` tokens not used yet, `flying` requests, at most `at_once` of them at a time.
#[derive(Debug)]
struct Grant {
    left: u32,
    at_once: u32,
    flying: u32,
}

impl Grant {
    fn places(&self) -> u32 {
        self.at_once.min(self.left + self.flying)
    }
}

/// A turn that waits to be claimed.
#[derive(Clone, Copy, Debug)]
struct Held {
    granted: Granted,
    rank: Rank,
    want: u32,
}

#[derive(Debug)]
struct Waiter {
    id: u64,
    /// A request within this flight, which has its place already; else a new one.
    within: Option<Flight>,
}

/// Whether requests may go out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Gate {
    Flow,
    /// One at a time, until one succeeds.
    Trial,
    Shut(Waiting<Moment>),
}

#[derive(Debug)]
pub(super) struct Core {
    limits: LaneLimits,
    budget: Budget,
    breaker: Breaker,
    limit: Limit,
    paused: Option<Arc<str>>,
    /// After a limit, a refused credential or a pause the lane feels its way: one request first.
    tentative: bool,
    /// The id of that request; before it is sent, of the grant that holds it.
    trial: Option<u64>,
    queue: Queue,
    held: HashMap<ObjectKey, Held>,
    /// When what is held lapses, in order; may name grants that are claimed or withdrawn by now.
    lapses: VecDeque<(Moment, ObjectKey, u64)>,
    grants: HashMap<u64, Grant>,
    /// Places for requests that are taken: Σ `Grant::places`.
    occupied: u32,
    in_flight: u32,
    waiters: VecDeque<Waiter>,
    request_time: Option<Duration>,
    last_id: u64,
    random: StdRng,
    effects: Vec<Effect>,
}

impl Core {
    pub(super) fn new(limits: LaneLimits, seed: u64, now: Moment) -> Self {
        Self {
            budget: Budget::new(limits.requests_per_minute, limits.burst, now),
            breaker: Breaker::new(now),
            limit: Limit::default(),
            paused: None,
            tentative: false,
            trial: None,
            queue: Queue::default(),
            held: HashMap::new(),
            lapses: VecDeque::new(),
            grants: HashMap::new(),
            occupied: 0,
            in_flight: 0,
            waiters: VecDeque::new(),
            request_time: None,
            last_id: 0,
            random: StdRng::seed_from_u64(seed),
            effects: Vec::new(),
            limits,
        }
    }

    // === what comes in ===

    pub(super) fn set_limits(&mut self, now: Moment, limits: LaneLimits) {
        self.budget.set(limits.requests_per_minute, limits.burst, now);
        self.limits = limits;
        self.tick(now);
    }

    pub(super) fn pause(&mut self, now: Moment, reason: Arc<str>) {
        self.paused = Some(reason);
        self.tick(now);
    }

    pub(super) fn resume(&mut self, now: Moment) {
        if self.paused.take().is_some() {
            self.tentative = true;
        }
        self.tick(now);
    }

    pub(super) fn ask(&mut self, now: Moment, who: &ObjectKey, rank: Rank, want: u32) -> Answer {
        let want = want.max(1);
        self.tick(now);
        if !self.held.contains_key(who) {
            self.queue.enter(who, rank, want);
            self.settle(now);
        }
        let Some(held) = self.held.remove(who) else { return Answer::Queued(self.place_of(now, who)) };
        self.effects.retain(|effect| !matches!(effect, Effect::Wake(woken) if woken == who));
        let granted = self.shrink(now, held.granted, want);
        Answer::Granted(granted)
    }

    pub(super) fn leave(&mut self, now: Moment, who: &ObjectKey) {
        self.queue.leave(who);
        if let Some(held) = self.held.remove(who) {
            self.close(now, held.granted.grant);
        } else {
            self.tick(now);
        }
    }

    /// One request of a turn goes out. `None`: none is left, or as many as may are in flight, or the gate has shut
    /// since the turn was granted.
    pub(super) fn take(&mut self, now: Moment, grant: u64) -> Option<Flight> {
        self.tick(now);
        self.enter_gate(grant, now).ok()?;
        let id = self.next_id();
        let held = self.grants.get_mut(&grant)?;
        if held.left == 0 || held.flying >= held.at_once {
            return None;
        }
        held.left -= 1;
        held.flying += 1;
        self.mark_trial(id);
        self.in_flight += 1;
        self.budget.spend(now);
        Some(Flight { id, grant, since: now })
    }

    /// The turn is over; what it did not use is free.
    pub(super) fn close(&mut self, now: Moment, grant: u64) {
        self.free(now, grant, |held| std::mem::take(&mut held.left));
        self.tick(now);
    }

    /// So many requests were sent besides those that were paid for.
    pub(super) fn owe(&mut self, now: Moment, requests: u32) {
        self.budget.owe(now, requests);
    }

    /// The request is over.
    pub(super) fn end(&mut self, now: Moment, flight: Flight) {
        self.in_flight = self.in_flight.saturating_sub(1);
        self.request_time = Some(eta::smooth(self.request_time, now.saturating_sub(flight.since)));
        self.free(now, flight.grant, |held| {
            held.flying = held.flying.saturating_sub(1);
            0
        });
        if self.trial == Some(flight.id) {
            self.trial = None;
        }
        self.tick(now);
    }

    pub(super) fn report(&mut self, now: Moment, flight: Flight, outcome: Outcome) {
        self.advance(now);
        let trial = self.trial == Some(flight.id);
        let failed = matches!(outcome, Outcome::Transient { .. });
        let (jitter, cap) = (self.random.random(), self.limits.max_retry_after);
        self.breaker.report(now, flight.since, trial, failed, self.limits.breaker_failures, jitter);
        match outcome {
            Outcome::Answered => {
                self.limit.passed(flight.since);
                self.tentative &= !trial;
            }
            Outcome::Limited { retry_after } => {
                self.limit.strike(now, flight.since, retry_after, cap, self.random.random());
                self.tentative = true;
            }
            Outcome::Transient { retry_after: Some(asked) } if !asked.is_zero() => {
                self.limit.strike(now, flight.since, Some(asked), cap, 0.0);
                self.tentative = true;
            }
            Outcome::Transient { .. } => {}
            Outcome::Unauthenticated => self.tentative = true,
        }
        if trial {
            self.trial = None;
        }
        self.settle(now);
    }

    /// Waits for one request outside of the queue. The answer is an effect, perhaps at once.
    pub(super) fn wait(&mut self, now: Moment, within: Option<Flight>) -> u64 {
        self.advance(now);
        let id = self.next_id();
        self.waiters.push_back(Waiter { id, within });
        self.settle(now);
        id
    }

    pub(super) fn forget(&mut self, now: Moment, waiter: u64) {
        self.waiters.retain(|waiting| waiting.id != waiter);
        self.tick(now);
    }

    /// Does what has become due.
    pub(super) fn tick(&mut self, now: Moment) {
        self.advance(now);
        self.settle(now);
    }

    pub(super) fn take_effects(&mut self) -> Vec<Effect> {
        std::mem::take(&mut self.effects)
    }

    // === what can be seen ===

    pub(super) fn place(&mut self, now: Moment, who: &ObjectKey) -> Option<Place<Moment>> {
        self.tick(now);
        self.queue.ahead(who).is_some().then(|| self.place_of(now, who))
    }

    fn place_of(&mut self, now: Moment, who: &ObjectKey) -> Place<Moment> {
        let ahead = self.queue.ahead(who).unwrap_or_default();
        let because = self.because(now);
        let shut = match because {
            Waiting::Limited { until } | Waiting::BreakerOpen { until } => until.saturating_sub(now),
            _ => Duration::ZERO,
        };
        let load = Load {
            requests: u64::from(ahead) * u64::from(self.queue.mean_want().min(QUANTUM)),
            tokens: self.budget.available(now),
            per_minute: self.limits.requests_per_minute,
            burst: self.limits.burst,
            in_flight: self.limits.max_in_flight,
            request: self.request_time.unwrap_or_default(),
            shut,
        };
        Place { ahead, eta: (because != Waiting::Paused).then(|| eta::eta(&load)), because }
    }

    /// Why a request cannot go out, given that it cannot.
    pub(super) fn because(&mut self, now: Moment) -> Waiting<Moment> {
        match self.gate() {
            Gate::Shut(why) => why,
            _ if self.budget.available(now) == 0 => Waiting::Budget,
            _ => Waiting::InFlight,
        }
    }

    pub(super) fn health(&self) -> Health<Moment> {
        Health { breaker: self.breaker.state(), limited_until: self.limit.until(), paused: self.paused.clone() }
    }

    pub(super) fn status(&mut self, now: Moment) -> LaneStatus<Moment> {
        self.tick(now);
        LaneStatus {
            health: self.health(),
            queued: self.queue.lens(),
            in_flight: self.in_flight,
            reserved: self.occupied.saturating_sub(self.in_flight),
            tokens: self.budget.available(now),
        }
    }

    /// When [`Core::tick`] has something to do next, if nothing happens before. Nothing to do: `None`.
    pub(super) fn next_due(&mut self, now: Moment) -> Option<Moment> {
        while self.lapses.front().is_some_and(|(_, who, grant)| !self.is_held(who, *grant)) {
            self.lapses.pop_front();
        }
        let breaker = match self.breaker.state() {
            BreakerState::Open { until } => Some(until),
            _ => None,
        };
        let token = (self.wants_token() && self.budget.available(now) == 0).then(|| self.budget.next(now)).flatten();
        let lapse = self.lapses.front().map(|(at, ..)| *at);
        [breaker, self.limit.until(), token, lapse].into_iter().flatten().min()
    }

    fn wants_token(&self) -> bool {
        let free = match self.gate() {
            Gate::Flow => true,
            Gate::Trial => self.trial.is_none() || self.waiters.iter().any(|w| w.within.map(|f| f.id) == self.trial),
            Gate::Shut(_) => false,
        };
        let place = self.occupied < self.limits.max_in_flight.max(1);
        let asked = self.waiters.iter().any(|waiter| place || waiter.within.is_some());
        free && (asked || (place && !self.queue.is_empty()))
    }
}

mod pump;

#[cfg(test)]
mod property;
#[cfg(test)]
mod tests;
