//! The second half of the state machine: who gets what when something is free.

use super::*;

impl Core {
    pub(super) fn next_id(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }

    pub(super) fn gate(&self) -> Gate {
        if self.paused.is_some() {
            return Gate::Shut(Waiting::Paused);
        }
        if let Some(until) = self.limit.until() {
            return Gate::Shut(Waiting::Limited { until });
        }
        match self.breaker.state() {
            BreakerState::Open { until } => Gate::Shut(Waiting::BreakerOpen { until }),
            BreakerState::HalfOpen => Gate::Trial,
            BreakerState::Closed if self.tentative => Gate::Trial,
            BreakerState::Closed => Gate::Flow,
        }
    }

    /// Whether this request, or one of this grant, may go out.
    pub(super) fn enter_gate(&mut self, id: u64, now: Moment) -> Result<(), Waiting<Moment>> {
        match self.gate() {
            Gate::Flow => Ok(()),
            Gate::Trial if self.trial.is_none_or(|trial| trial == id) => Ok(()),
            _ => Err(self.because(now)),
        }
    }

    /// This request, or the grant that holds it, was let through: while one is tried at a time, it is the one.
    pub(super) fn mark_trial(&mut self, id: u64) {
        if self.gate() == Gate::Trial {
            self.trial = Some(id);
        }
    }

    pub(super) fn is_held(&self, who: &ObjectKey, grant: u64) -> bool {
        self.held.get(who).is_some_and(|held| held.granted.grant == grant)
    }

    /// Lets time pass: waits end, reservations lapse.
    pub(super) fn advance(&mut self, now: Moment) {
        self.limit.advance(now);
        self.breaker.advance(now);
        while self.lapses.front().is_some_and(|(at, ..)| now >= *at) {
            let Some((_, who, grant)) = self.lapses.pop_front() else { break };
            if self.is_held(&who, grant) {
                self.held.remove(&who);
                self.give_back(now, grant);
            }
        }
    }

    /// Hands out what is free, or takes back what must not be used.
    pub(super) fn settle(&mut self, now: Moment) {
        match self.gate() {
            Gate::Shut(why) => {
                self.withdraw(now);
                self.effects.extend(self.waiters.drain(..).map(|waiter| Effect::Refused(waiter.id, why)));
            }
            Gate::Trial => {
                self.withdraw(now);
                self.hand_out(now);
            }
            Gate::Flow => self.hand_out(now),
        }
    }

    /// Turns that nobody has claimed yet end; their objects are first in the queue again.
    fn withdraw(&mut self, now: Moment) {
        let kept = match self.gate() {
            Gate::Trial => self.trial,
            _ => None,
        };
        if self.held.values().all(|held| Some(held.granted.grant) == kept) {
            return;
        }
        let (stay, go): (VecDeque<_>, VecDeque<_>) =
            std::mem::take(&mut self.lapses).into_iter().partition(|(.., grant)| Some(*grant) == kept);
        self.lapses = stay;
        for (_, who, grant) in go.into_iter().rev() {
            if !self.is_held(&who, grant) {
                continue;
            }
            let Some(held) = self.held.remove(&who) else { continue };
            self.give_back(now, grant);
            self.effects.retain(|effect| !matches!(effect, Effect::Wake(woken) if *woken == who));
            self.queue.put_back(&who, held.rank, held.want);
        }
    }

    /// Follow-up requests first (somebody holds a place while they wait), then single requests, then the queue.
    fn hand_out(&mut self, now: Moment) {
        let mut rest = VecDeque::new();
        for within in [true, false] {
            for waiter in std::mem::take(&mut self.waiters) {
                let served = waiter.within.is_some() == within && self.serve(now, &waiter);
                if !served {
                    rest.push_back(waiter);
                }
            }
            std::mem::swap(&mut self.waiters, &mut rest);
        }
        while self.is_free(now) {
            let Some((who, row)) = self.queue.pop() else { break };
            let granted = self.grant_turn(now, row.want);
            self.held.insert(who.clone(), Held { granted, rank: row.rank, want: row.want });
            self.lapses.push_back((now + CLAIM_WITHIN, who.clone(), granted.grant));
            self.effects.push(Effect::Wake(who));
        }
    }

    /// Whether somebody new can have a request.
    fn is_free(&mut self, now: Moment) -> bool {
        let open = match self.gate() {
            Gate::Flow => true,
            Gate::Trial => self.trial.is_none(),
            Gate::Shut(_) => false,
        };
        open && self.occupied < self.limits.max_in_flight.max(1) && self.budget.available(now) > 0
    }

    fn serve(&mut self, now: Moment, waiter: &Waiter) -> bool {
        let flight = match waiter.within {
            Some(flight) if self.enter_gate(flight.id, now).is_ok() && self.budget.reserve(now, 1) == 1 => {
                self.mark_trial(flight.id);
                flight
            }
            None if self.is_free(now) && self.budget.reserve(now, 1) == 1 => {
                let (id, grant) = (self.next_id(), self.open_grant(Grant { left: 0, at_once: 1, flying: 1 }));
                self.mark_trial(id);
                self.in_flight += 1;
                Flight { id, grant, since: now }
            }
            _ => return false,
        };
        self.budget.spend(now);
        self.effects.push(Effect::Served(waiter.id, flight));
        true
    }

    /// A turn for the object that was just taken from the queue. While others wait, no more than a quantum, unless
    /// its even share is more; and as many at once as its even share of the free places.
    fn grant_turn(&mut self, now: Moment, want: u32) -> Granted {
        let trial = self.gate() == Gate::Trial;
        let (tokens, places) = (self.budget.available(now), self.limits.max_in_flight.max(1) - self.occupied);
        let all = u32::try_from(self.queue.len()).unwrap_or(u32::MAX).saturating_add(1);
        let share = if trial {
            1
        } else if all == 1 {
            want
        } else {
            QUANTUM.max(tokens / all)
        };
        let requests = self.budget.reserve(now, want.min(share));
        let at_once = requests.min(places).min((places / all).max(1)).max(1);
        let grant = self.open_grant(Grant { left: requests, at_once, flying: 0 });
        self.mark_trial(grant);
        Granted { grant, requests, at_once }
    }

    fn open_grant(&mut self, new: Grant) -> u64 {
        let grant = self.next_id();
        self.occupied += new.places();
        self.grants.insert(grant, new);
        grant
    }

    /// Changes a grant; `change` says how many tokens it gave up.
    pub(super) fn free(&mut self, now: Moment, grant: u64, change: impl FnOnce(&mut Grant) -> u32) {
        let Some(held) = self.grants.get_mut(&grant) else { return };
        let before = held.places();
        let tokens = change(held);
        self.occupied = (self.occupied + held.places()).saturating_sub(before);
        self.budget.release(now, tokens);
        if held.left == 0 && held.flying == 0 {
            self.grants.remove(&grant);
            if self.trial == Some(grant) {
                self.trial = None;
            }
        }
    }

    fn give_back(&mut self, now: Moment, grant: u64) {
        self.free(now, grant, |held| std::mem::take(&mut held.left));
    }

    /// An object that wants less by now gets less.
    pub(super) fn shrink(&mut self, now: Moment, mut granted: Granted, want: u32) -> Granted {
        let requests = granted.requests.min(want);
        self.free(now, granted.grant, |held| {
            let given_up = held.left.saturating_sub(requests);
            held.left -= given_up;
            held.at_once = held.at_once.min(requests);
            given_up
        });
        granted.requests = requests;
        granted.at_once = granted.at_once.min(requests);
        self.settle(now);
        granted
    }
}
