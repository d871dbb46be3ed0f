//! Random asks, outcomes and ticks; what must hold at every instant is checked at every step.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

const RANKS: [Rank; 3] = [Rank::Value, Rank::Delete, Rank::Confirm];

#[derive(Clone, Debug)]
enum Step {
    Ask { namespace: usize, name: u8, rank: usize, want: u32 },
    Leave { namespace: usize, name: u8 },
    Claim { nth: usize, want: u32 },
    Take { nth: usize },
    Close { nth: usize },
    Report { nth: usize, outcome: Outcome },
    End { nth: usize },
    Pace,
    FollowUp { nth: usize },
    Forget { nth: usize },
    Pause,
    Resume,
    Pass { millis: u64 },
    PassToDue,
}

fn step() -> impl Strategy<Value = Step> {
    let seconds = prop::option::of((0..40u64).prop_map(Duration::from_secs));
    let outcome = prop_oneof![
        4 => Just(Outcome::Answered),
        4 => Just(Outcome::Transient { retry_after: None }),
        1 => seconds.clone().prop_map(|retry_after| Outcome::Transient { retry_after }),
        1 => seconds.prop_map(|retry_after| Outcome::Limited { retry_after }),
        1 => Just(Outcome::Unauthenticated),
    ];
    prop_oneof![
        6 => (0..4usize, 0..6u8, 0..3usize, 0..12u32)
            .prop_map(|(namespace, name, rank, want)| Step::Ask { namespace, name, rank, want }),
        1 => (0..4usize, 0..6u8).prop_map(|(namespace, name)| Step::Leave { namespace, name }),
        5 => (0..9usize, 0..12u32).prop_map(|(nth, want)| Step::Claim { nth, want }),
        8 => (0..9usize).prop_map(|nth| Step::Take { nth }),
        2 => (0..9usize).prop_map(|nth| Step::Close { nth }),
        6 => (0..9usize, outcome).prop_map(|(nth, outcome)| Step::Report { nth, outcome }),
        6 => (0..9usize).prop_map(|nth| Step::End { nth }),
        2 => Just(Step::Pace),
        2 => (0..9usize).prop_map(|nth| Step::FollowUp { nth }),
        1 => (0..9usize).prop_map(|nth| Step::Forget { nth }),
        1 => Just(Step::Pause),
        2 => Just(Step::Resume),
        4 => (1..3000u64).prop_map(|millis| Step::Pass { millis }),
        4 => Just(Step::PassToDue),
    ]
}

/// The lane and all that those who use it know.
struct World {
    core: Core,
    limits: LaneLimits,
    now: Moment,
    queued: BTreeMap<ObjectKey, Rank>,
    woken: Vec<ObjectKey>,
    woken_at: BTreeMap<ObjectKey, Moment>,
    turns: Vec<Granted>,
    flights: Vec<Flight>,
    trials: Vec<u64>,
    waiters: Vec<u64>,
    sent: Vec<Moment>,
    quiet_until: Moment,
}

fn pick<T: Copy>(from: &[T], nth: usize) -> Option<T> {
    (!from.is_empty()).then(|| from[nth % from.len()])
}

impl World {
    fn new(limits: LaneLimits) -> Self {
        Self {
            core: Core::new(limits.clone(), 3, Moment::ZERO),
            limits,
            now: Moment::ZERO,
            queued: BTreeMap::new(),
            woken: Vec::new(),
            woken_at: BTreeMap::new(),
            turns: Vec::new(),
            flights: Vec::new(),
            trials: Vec::new(),
            waiters: Vec::new(),
            sent: Vec::new(),
            quiet_until: Moment::ZERO,
        }
    }

    /// A request goes out at this instant.
    fn sends(&mut self, flight: Flight) {
        let health = self.core.health();
        assert!(health.paused.is_none() && health.limited_until.is_none(), "sent in spite of {health:?}");
        assert!(!matches!(health.breaker, BreakerState::Open { .. }), "sent through an open breaker");
        assert!(self.now >= self.quiet_until, "sent before the time that the remote named");
        if health.breaker == BreakerState::HalfOpen && !self.trials.contains(&flight.id) {
            self.trials.push(flight.id);
        }
        assert!(self.trials.len() <= 1, "one request at a time while half-open");
        self.sent.push(self.now);
    }

    fn flies(&mut self, flight: Flight) {
        self.flights.push(flight);
        let most = self.limits.max_in_flight as usize;
        assert!(self.flights.len() <= most, "{} in flight of {most}", self.flights.len());
    }

    fn ask(&mut self, who: &ObjectKey, rank: Rank, want: u32) {
        match self.core.ask(self.now, who, rank, want) {
            Answer::Granted(granted) => {
                assert!(granted.requests >= 1 && granted.requests <= want.max(1), "{granted:?} for {want}");
                assert!(granted.at_once >= 1 && granted.at_once <= granted.requests);
                self.queued.remove(who);
                self.woken.retain(|other| other != who);
                self.turns.push(granted);
            }
            Answer::Queued(_) => {
                let known = self.queued.entry(who.clone()).or_insert(rank);
                *known = rank.min(*known);
            }
        }
    }

    fn settle(&mut self) {
        for effect in self.core.take_effects() {
            match effect {
                Effect::Wake(who) => {
                    let again = self.woken.iter().position(|other| *other == who).map(|at| self.woken.remove(at));
                    assert!(self.queued.remove(&who).is_some() || again.is_some(), "only who waits is woken");
                    let rank = self.core.held[&who].rank;
                    let better = self.queued.iter().find(|(_, other)| **other < rank);
                    // Who lapsed or was withdrawn is known as queued or woken until it asks again.
                    if let Some((other, _)) = better {
                        assert!(self.core.queue.ahead(other).is_none(), "{who} went before {other}");
                    }
                    self.woken_at.insert(who.clone(), self.now);
                    self.woken.push(who);
                }
                Effect::Served(id, flight) => {
                    self.waiters.retain(|waiter| *waiter != id);
                    self.sends(flight);
                    if !self.flights.contains(&flight) {
                        self.flies(flight);
                    }
                }
                Effect::Refused(id, _) => self.waiters.retain(|waiter| *waiter != id),
            }
        }
        // A turn that was withdrawn: its object waits again.
        for who in std::mem::take(&mut self.woken) {
            match self.core.queue.leave(&who) {
                Some(row) => {
                    self.core.queue.put_back(&who, row.rank, row.want);
                    self.queued.insert(who, row.rank);
                }
                None if self.core.held.contains_key(&who) => self.woken.push(who),
                None => assert!(self.now >= self.woken_at[&who] + CLAIM_WITHIN, "{who} was forgotten"),
            }
        }
        self.check();
    }

    fn check(&mut self) {
        let status = self.core.status(self.now);
        assert_eq!(status.in_flight as usize, self.flights.len());
        assert!(status.in_flight + status.reserved <= self.limits.max_in_flight);
        assert_eq!(self.core.queue.len(), self.queued.len());
        assert!(self.core.next_due(self.now).is_none_or(|due| due > self.now), "what is due is done");
    }

    fn run(&mut self, step: Step) {
        match step {
            Step::Ask { namespace, name, rank, want } => {
                self.ask(&ObjectKey::new(["a", "b", "c", "d"][namespace], name.to_string()), RANKS[rank], want);
            }
            Step::Leave { namespace, name } => {
                let who = ObjectKey::new(["a", "b", "c", "d"][namespace], name.to_string());
                self.queued.remove(&who);
                self.woken.retain(|other| *other != who);
                self.core.leave(self.now, &who);
            }
            Step::Claim { nth, want } => {
                if let Some(who) = self.woken.get(nth).cloned() {
                    self.ask(&who, Rank::Value, want);
                }
            }
            Step::Take { nth } => {
                if let Some(turn) = pick(&self.turns, nth)
                    && let Some(flight) = self.core.take(self.now, turn.grant)
                {
                    self.sends(flight);
                    self.flies(flight);
                }
            }
            Step::Close { nth } => {
                if let Some(turn) = pick(&self.turns, nth) {
                    self.turns.retain(|other| *other != turn);
                    self.core.close(self.now, turn.grant);
                }
            }
            Step::Report { nth, outcome } => {
                let Some(flight) = pick(&self.flights, nth) else { return };
                self.trials.retain(|trial| *trial != flight.id);
                if let Outcome::Limited { retry_after: Some(asked) } = outcome {
                    self.quiet_until = self.quiet_until.max(self.now + asked.min(self.limits.max_retry_after));
                }
                self.core.report(self.now, flight, outcome);
            }
            Step::End { nth } => {
                let Some(flight) = pick(&self.flights, nth) else { return };
                self.flights.retain(|other| *other != flight);
                self.trials.retain(|trial| *trial != flight.id);
                self.core.end(self.now, flight);
            }
            Step::Pace => self.waiters.push(self.core.wait(self.now, None)),
            Step::FollowUp { nth } => {
                if let Some(flight) = pick(&self.flights, nth) {
                    // In the shell a flight cannot end while it waits for its next request.
                    let id = self.core.wait(self.now, Some(flight));
                    self.waiters.push(id);
                    self.settle();
                    self.core.forget(self.now, id);
                    self.waiters.retain(|waiter| *waiter != id);
                }
            }
            Step::Forget { nth } => {
                if let Some(id) = pick(&self.waiters, nth) {
                    self.waiters.retain(|waiter| *waiter != id);
                    self.core.forget(self.now, id);
                }
            }
            Step::Pause => self.core.pause(self.now, "refused".into()),
            Step::Resume => self.core.resume(self.now),
            Step::Pass { millis } => self.pass_to(self.now + Duration::from_millis(millis)),
            Step::PassToDue => {
                if let Some(due) = self.core.next_due(self.now) {
                    self.pass_to(due);
                }
            }
        }
    }

    fn pass_to(&mut self, to: Moment) {
        self.now = to;
        self.core.tick(to);
    }

    /// From now on all goes well: everybody who waits must have their turn.
    fn finish(&mut self) {
        self.core.resume(self.now);
        while let Some(flight) = self.flights.pop() {
            self.core.end(self.now, flight);
        }
        self.trials.clear();
        while let Some(turn) = self.turns.pop() {
            self.core.close(self.now, turn.grant);
        }
        for _ in 0..2000 {
            self.settle();
            while let Some(who) = self.woken.pop() {
                self.ask(&who, Rank::Confirm, 3);
            }
            for turn in std::mem::take(&mut self.turns) {
                while let Some(flight) = self.core.take(self.now, turn.grant) {
                    self.sends(flight);
                    self.flights.push(flight);
                    self.answer_all();
                }
                self.core.close(self.now, turn.grant);
            }
            self.answer_all();
            if self.queued.is_empty()
                && self.waiters.is_empty()
                && self.core.effects.is_empty()
                && self.woken.is_empty()
            {
                return;
            }
            if self.core.effects.is_empty()
                && let Some(due) = self.core.next_due(self.now)
            {
                self.pass_to(due);
            }
        }
        panic!("not all were served: {:?}", self.queued);
    }

    fn answer_all(&mut self) {
        for flight in std::mem::take(&mut self.flights) {
            self.trials.clear();
            self.core.report(self.now, flight, Outcome::Answered);
            self.core.end(self.now, flight);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn holds_at_every_instant(
        steps in prop::collection::vec(step(), 1..150),
        per_minute in prop::sample::select(vec![1u32, 7, 60, 600, 6000]),
        burst in 1..12u32,
        max_in_flight in 1..6u32,
    ) {
        let limits = LaneLimits {
            requests_per_minute: per_minute, burst, max_in_flight,
            max_retry_after: Duration::from_secs(30), breaker_failures: 3,
        };
        let mut world = World::new(limits);
        for step in steps {
            world.run(step);
            world.settle();
        }
        world.finish();
        // No window of time holds more requests than the budget.
        for (first, from) in world.sent.iter().enumerate() {
            for (last, to) in world.sent.iter().enumerate().skip(first) {
                let allowed = u128::from(burst) * 60_000_000_000 + (*to - *from).as_nanos() * u128::from(per_minute);
                prop_assert!((last - first + 1) as u128 * 60_000_000_000 <= allowed);
            }
        }
        // All that was granted has come back.
        world.pass_to(world.now + Duration::from_secs(3600));
        let status = world.core.status(world.now);
        prop_assert_eq!((status.tokens, status.reserved, status.in_flight), (burst, 0, 0));
        prop_assert!(world.core.grants.is_empty() && world.core.held.is_empty());
        prop_assert_eq!(world.core.next_due(world.now), None);
    }

    #[test]
    fn between_two_turns_of_a_namespace_each_other_has_at_most_one(
        sizes in prop::collection::vec(1..40usize, 2..6),
        again in prop::collection::vec(any::<bool>(), 200),
    ) {
        let limits = LaneLimits { requests_per_minute: 600, burst: 1, max_in_flight: 1, ..LaneLimits::default() };
        let mut core = Core::new(limits, 1, Moment::ZERO);
        core.pause(Moment::ZERO, "x".into());
        let mut left: BTreeMap<Arc<str>, usize> = BTreeMap::new();
        for (namespace, size) in sizes.iter().enumerate() {
            for name in 0..*size {
                let who = ObjectKey::new(format!("ns{namespace}"), name.to_string());
                core.ask(Moment::ZERO, &who, Rank::Value, 1);
            }
            left.insert(format!("ns{namespace}").into(), *size);
        }
        core.resume(Moment::ZERO);
        let (mut now, mut again) = (Moment::ZERO, again.into_iter());
        let mut since: BTreeMap<Arc<str>, BTreeMap<Arc<str>, u32>> = BTreeMap::new();
        while left.values().any(|left| *left > 0) {
            let Some(Effect::Wake(who)) = core.take_effects().pop() else {
                now = core.next_due(now).unwrap();
                core.tick(now);
                continue;
            };
            let Answer::Granted(turn) = core.ask(now, &who, Rank::Value, 1) else { panic!("not granted") };
            let flight = core.take(now, turn.grant).unwrap();
            core.report(now, flight, Outcome::Answered);
            since.remove(&who.namespace);
            *left.get_mut(&who.namespace).unwrap() -= 1;
            for (other, left) in &left {
                if *left > 0 && *other != who.namespace {
                    let seen = since.entry(Arc::clone(other)).or_default().entry(Arc::clone(&who.namespace)).or_default();
                    *seen += 1;
                    prop_assert!(*seen <= 1, "{} had {} turns while {} waited", who.namespace, seen, other);
                }
            }
            if again.next().unwrap_or(false) {
                core.ask(now, &who, Rank::Value, 1);
                *left.get_mut(&who.namespace).unwrap() += 1;
            }
            core.end(now, flight);
            core.close(now, turn.grant);
        }
    }
}
