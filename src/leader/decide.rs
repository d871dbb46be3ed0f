//! Who may lead. Pure: what was seen of the lease, and how long it has not changed by our own clock.

use std::time::Duration;

use k8s_openapi::api::coordination::v1::LeaseSpec;

/// What a candidate does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nobody leads, or whoever did is gone: write our name, guarded by what was read.
    Take,
    /// It is ours: renew it.
    Renew,
    /// Somebody leads: look again after this time.
    Wait(Duration),
}

/// Times of the lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// How long a lease holds after its last renewal.
    pub duration: Duration,
}

impl Timing {
    /// How often it is renewed.
    #[must_use]
    pub fn renew_every(self) -> Duration {
        self.duration / 3
    }

    /// How long renewals may fail before leading ends: early enough that no other can lead yet.
    #[must_use]
    pub fn deadline(self) -> Duration {
        self.duration * 2 / 3
    }

    /// How often a candidate looks, and a failed renewal is tried again.
    #[must_use]
    pub fn retry(self) -> Duration {
        (self.duration / 8).clamp(Duration::from_millis(100), Duration::from_secs(2))
    }
}

/// Decides on a lease that was seen to be unchanged for `unchanged`. Times in the lease are another machine's and are not
/// compared with ours; only how long it says that it holds is taken from it.
#[must_use]
pub fn step(lease: Option<&LeaseSpec>, unchanged: Duration, me: &str, timing: Timing) -> Step {
    let holder = lease.and_then(|l| l.holder_identity.as_deref()).filter(|holder| !holder.is_empty());
    let Some(holder) = holder else { return Step::Take };
    if holder == me {
        return Step::Renew;
    }
    let stated = lease.and_then(|l| l.lease_duration_seconds).and_then(|s| u64::try_from(s).ok()).filter(|s| *s > 0);
    let holds = stated.map_or(timing.duration, Duration::from_secs);
    match holds.checked_sub(unchanged).filter(|left| !left.is_zero()) {
        None => Step::Take,
        Some(left) => Step::Wait(left.min(timing.retry())),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;

    const TIMING: Timing = Timing { duration: Duration::from_secs(15) };

    fn held(by: &str, seconds: i32) -> LeaseSpec {
        LeaseSpec {
            holder_identity: Some(by.to_owned()),
            lease_duration_seconds: Some(seconds),
            ..LeaseSpec::default()
        }
    }

    #[test]
    fn a_lease_that_nobody_has_is_taken() {
        assert_eq!(step(None, Duration::ZERO, "me", TIMING), Step::Take);
        assert_eq!(step(Some(&held("", 1)), Duration::ZERO, "me", TIMING), Step::Take, "it was released");
        assert_eq!(step(Some(&LeaseSpec::default()), Duration::ZERO, "me", TIMING), Step::Take);
    }

    #[test]
    fn ours_is_renewed() {
        assert_eq!(step(Some(&held("me", 15)), Duration::from_secs(99), "me", TIMING), Step::Renew);
    }

    #[test]
    fn anothers_is_waited_for_as_long_as_it_says_it_holds() {
        let seconds = Duration::from_secs;
        assert_eq!(step(Some(&held("other", 40)), seconds(20), "me", TIMING), Step::Wait(TIMING.retry()));
        assert_eq!(step(Some(&held("other", 40)), seconds(39), "me", TIMING), Step::Wait(seconds(1)));
        assert_eq!(step(Some(&held("other", 40)), seconds(40), "me", TIMING), Step::Take);
        assert_eq!(step(Some(&held("other", 0)), seconds(14), "me", TIMING), Step::Wait(seconds(1)));
        assert_eq!(step(Some(&held("other", -1)), seconds(15), "me", TIMING), Step::Take);
    }

    #[test]
    fn a_leader_gives_up_before_another_may_begin() {
        assert!(TIMING.deadline() < TIMING.duration);
        assert!(TIMING.renew_every() + TIMING.retry() < TIMING.deadline());
    }
}
