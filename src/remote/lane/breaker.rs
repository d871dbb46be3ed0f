//! A circuit breaker, and the waits that double. No clock, no randomness: both are arguments.

use std::time::Duration;

use super::core::Moment;
use super::types::BreakerState;

/// The first wait after trouble.
pub(super) const FIRST_WAIT: Duration = Duration::from_secs(1);
/// The longest wait of an open breaker.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// `first` doubled `times`, give or take a fifth by `unit` (0 ≤ `unit` < 1), never more than `cap`.
pub(super) fn doubled(first: Duration, times: u32, cap: Duration, unit: f64) -> Duration {
    let base = first.saturating_mul(2u32.saturating_pow(times)).min(cap);
    base.mul_f64(0.8 + 0.4 * unit.clamp(0.0, 1.0)).min(cap)
}

/// Counts failures in a row; opens, lets one request try, closes.
#[derive(Clone, Debug)]
pub(super) struct Breaker {
    state: BreakerState<Moment>,
    failures: u32,
    opened: u32,
    /// The last change; answers to requests that are older say nothing about the state as it is now.
    since: Moment,
}

impl Breaker {
    pub(super) fn new(now: Moment) -> Self {
        Self { state: BreakerState::Closed, failures: 0, opened: 0, since: now }
    }

    pub(super) fn state(&self) -> BreakerState<Moment> {
        self.state
    }

    /// Ends a wait that is over.
    pub(super) fn advance(&mut self, now: Moment) {
        if let BreakerState::Open { until } = self.state
            && now >= until
        {
            self.become_(BreakerState::HalfOpen, now);
        }
    }

    /// Takes in what became of a request that was sent at `sent`; `trial` says that it is the one let through to see.
    pub(super) fn report(&mut self, now: Moment, sent: Moment, trial: bool, failed: bool, threshold: u32, unit: f64) {
        match (self.state, failed) {
            (BreakerState::HalfOpen, false) if trial => {
                self.failures = 0;
                self.opened = 0;
                self.become_(BreakerState::Closed, now);
            }
            (BreakerState::HalfOpen, true) if trial => self.open(now, unit),
            (BreakerState::Closed, false) if sent >= self.since => self.failures = 0,
            (BreakerState::Closed, true) if sent >= self.since => {
                self.failures += 1;
                if self.failures >= threshold.max(1) {
                    self.open(now, unit);
                }
            }
            _ => {}
        }
    }

    fn open(&mut self, now: Moment, unit: f64) {
        let wait = doubled(FIRST_WAIT, self.opened, LONGEST_WAIT, unit);
        self.opened = self.opened.saturating_add(1);
        self.become_(BreakerState::Open { until: now + wait }, now);
    }

    fn become_(&mut self, state: BreakerState<Moment>, now: Moment) {
        self.state = state;
        self.since = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIDDLE: f64 = 0.5;

    fn s(seconds: u64) -> Moment {
        Duration::from_secs(seconds)
    }

    fn fail(breaker: &mut Breaker, now: Moment, trial: bool) {
        breaker.report(now, now, trial, true, 5, MIDDLE);
    }

    #[test]
    fn opens_after_five_in_a_row() {
        let mut breaker = Breaker::new(s(0));
        (0..4).for_each(|_| fail(&mut breaker, s(1), false));
        breaker.report(s(1), s(1), false, false, 5, MIDDLE);
        (0..4).for_each(|_| fail(&mut breaker, s(2), false));
        assert_eq!(breaker.state(), BreakerState::Closed);
        fail(&mut breaker, s(2), false);
        assert_eq!(breaker.state(), BreakerState::Open { until: s(3) });
    }

    #[test]
    fn waits_double_to_a_minute_and_success_resets() {
        let mut breaker = Breaker::new(s(0));
        let mut now = s(10);
        (0..5).for_each(|_| fail(&mut breaker, now, false));
        for wait in [1, 2, 4, 8, 16, 32, 60, 60] {
            assert_eq!(breaker.state(), BreakerState::Open { until: now + s(wait) });
            now += s(wait);
            breaker.advance(now);
            assert_eq!(breaker.state(), BreakerState::HalfOpen);
            fail(&mut breaker, now, true);
        }
        now += s(60);
        breaker.advance(now);
        breaker.report(now, now, true, false, 5, MIDDLE);
        assert_eq!(breaker.state(), BreakerState::Closed);
        (0..5).for_each(|_| fail(&mut breaker, now, false));
        assert_eq!(breaker.state(), BreakerState::Open { until: now + s(1) });
    }

    #[test]
    fn late_answers_change_nothing() {
        let mut breaker = Breaker::new(s(0));
        (0..5).for_each(|_| fail(&mut breaker, s(10), false));
        let open = breaker.state();
        breaker.report(s(10), s(0), false, false, 5, MIDDLE);
        fail(&mut breaker, s(10), false);
        assert_eq!(breaker.state(), open);
        breaker.advance(s(11));
        breaker.report(s(12), s(9), false, false, 5, MIDDLE);
        assert_eq!(breaker.state(), BreakerState::HalfOpen, "only the trial closes it");
        breaker.report(s(12), s(11), true, false, 5, MIDDLE);
        for _ in 0..9 {
            breaker.report(s(13), s(9), false, true, 5, MIDDLE);
        }
        assert_eq!(breaker.state(), BreakerState::Closed, "timeouts of the bad time do not open it again");
    }

    #[test]
    fn jitter_stays_within_a_fifth_and_the_cap() {
        for (unit, low, high) in [(0.0, 3199, 3201), (0.5, 3999, 4001), (0.999, 4790, 4801)] {
            let wait = doubled(s(1), 2, s(60), unit).as_millis();
            assert!((low..=high).contains(&wait), "{wait}");
        }
        assert_eq!(doubled(s(1), 40, s(60), 0.999), s(60));
    }
}
