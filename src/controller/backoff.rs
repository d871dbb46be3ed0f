//! Waits between attempts: exponential, with jitter, remembered per object and entry.

use std::time::Duration;

use jiff::Timestamp;
use kube::runtime::utils::Backoff as Resettable;
use kube::runtime::watcher::DefaultBackoff;
use rand::Rng as _;

use crate::sync::plan::after;

/// A wait spread over ±20 %, so that what failed together is not tried again together.
#[must_use]
pub fn jittered(wait: Duration) -> Duration {
    wait.mul_f64(rand::rng().random_range(0.8..1.2))
}

/// The longest wait of a watch that failed: what changes meanwhile is not seen before its end.
const LONGEST_BLIND: Duration = Duration::from_secs(5);

/// Waits between the attempts of a watch: kube's own, which double and are spread, but held short. Kube's go up to a minute, and
/// an outage that follows another begins where that one ended, because a watch that is taken up again without news resets nothing.
#[derive(Default)]
pub struct WatchBackoff(DefaultBackoff);

impl Iterator for WatchBackoff {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        self.0.next().map(|wait| wait.min(jittered(LONGEST_BLIND)))
    }
}

impl Resettable for WatchBackoff {
    fn reset(&mut self) {
        self.0.reset();
    }
}

/// How a failure is tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// First wait; doubles.
    pub first: Duration,
    /// Longest wait.
    pub longest: Duration,
}

/// Failures that pass by themselves.
pub const TRANSIENT: Pace = Pace { first: Duration::from_secs(1), longest: Duration::from_secs(300) };
/// A decision on an object that is not as it was any more, and that cannot be read as it is.
pub const OVERTAKEN: Pace = Pace { first: Duration::from_millis(20), longest: Duration::from_secs(30) };
/// A target that is somebody else's, or cannot be written. A change of it wakes the object anyway.
pub const TARGET: Pace = Pace { first: Duration::from_secs(5), longest: Duration::from_secs(600) };
/// What the API server does not let us read or write. No watch shows when it does.
pub const REFUSED: Pace = Pace { first: Duration::from_secs(30), longest: Duration::from_secs(600) };
/// Failures that a person has to mend.
pub const PERMANENT: Pace = Pace { first: Duration::from_secs(60), longest: Duration::from_secs(3600) };

/// What is remembered of failures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Backoff {
    failures: u32,
    /// When the last one was.
    failed_at: Option<Timestamp>,
    next_at: Option<Timestamp>,
}

impl Backoff {
    /// Notes a failure; returns when to try again.
    pub fn failed(&mut self, pace: Pace, now: Timestamp, jitter: impl Fn(Duration) -> Duration) -> Timestamp {
        // Only a failure after the wait counts: an object that is woken early for other reasons does not wait the longer.
        if self.next_at.is_none_or(|next| now >= next) {
            self.failures = self.failures.saturating_add(1);
        }
        let wait = pace.first.saturating_mul(1 << self.failures.clamp(1, 20).saturating_sub(1)).min(pace.longest);
        let next = after(now, jitter(wait));
        self.failed_at = Some(now);
        self.next_at = Some(next);
        next
    }

    /// Forgets all failures.
    pub fn reset(&mut self) {
        *self = Self::default();
    }

    /// When to try again, if that is still to come. What failed before `recovered` may be tried at once.
    #[must_use]
    pub fn waits_until(&self, now: Timestamp, recovered: Option<Timestamp>) -> Option<Timestamp> {
        if recovered.is_some() && recovered >= self.failed_at {
            return None;
        }
        self.next_at.filter(|next| *next > now)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    fn at(s: i64) -> Timestamp {
        Timestamp::from_second(s).unwrap()
    }

    #[test]
    fn a_watch_is_never_blind_for_long() {
        let waits: Vec<_> = WatchBackoff::default().take(20).collect();
        assert!(waits.iter().all(|wait| *wait <= Duration::from_secs(6)), "{waits:?}");
        assert!(waits[0] < Duration::from_secs(2), "{waits:?}");
    }

    #[test]
    fn waits_double_to_a_limit() {
        let mut b = Backoff::default();
        let pace = Pace { first: Duration::from_secs(1), longest: Duration::from_secs(4) };
        let mut now = at(0);
        for wait in [1, 2, 4, 4, 4] {
            let next = b.failed(pace, now, |d| d);
            assert_eq!(next, after(now, Duration::from_secs(wait)));
            assert_eq!(b.waits_until(now, None), Some(next));
            now = next;
            assert_eq!(b.waits_until(now, None), None);
        }
    }

    #[test]
    fn early_failures_do_not_add_up_and_recovery_ends_the_wait() {
        let mut b = Backoff::default();
        b.failed(TRANSIENT, at(10), |d| d);
        b.failed(TRANSIENT, at(10), |d| d);
        assert_eq!(b.waits_until(at(10), None), Some(at(11)), "still the first failure's wait");
        assert_eq!(b.waits_until(at(10), Some(at(9))), Some(at(11)));
        assert_eq!(b.waits_until(at(10), Some(at(10))), None);
        b.reset();
        assert_eq!(b, Backoff::default());
    }
}
