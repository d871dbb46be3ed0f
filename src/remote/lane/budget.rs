//! A token bucket, exact and without a clock of its own.
//!
//! A token that is reserved still counts towards the burst. So whatever is reserved, kept for a while and then used
//! at once with all that is left, no window of time sees more requests than `burst` + rate × window.

use std::time::Duration;

use super::core::Moment;

/// One token in the units of the level: nanoseconds × requests a minute. Whole numbers, so nothing is rounded away.
const TOKEN: u128 = 60_000_000_000;

/// The budget of requests of a lane.
#[derive(Clone, Debug)]
pub(super) struct Budget {
    per_minute: u32,
    burst: u32,
    level: u128,
    /// What was sent beyond it, and is made up for first.
    debt: u128,
    reserved: u32,
    at: Moment,
}

impl Budget {
    /// A full bucket.
    pub(super) fn new(per_minute: u32, burst: u32, now: Moment) -> Self {
        let (per_minute, burst) = (per_minute.max(1), burst.max(1));
        Self { per_minute, burst, level: u128::from(burst) * TOKEN, debt: 0, reserved: 0, at: now }
    }

    /// Changes rate and burst from now on; what was saved up stays, as far as the new burst holds it.
    pub(super) fn set(&mut self, per_minute: u32, burst: u32, now: Moment) {
        self.refill(now);
        self.per_minute = per_minute.max(1);
        self.burst = burst.max(1);
        self.level = self.level.min(self.cap());
    }

    /// The most that may lie in the bucket beside what is reserved.
    fn cap(&self) -> u128 {
        u128::from(self.burst.saturating_sub(self.reserved)) * TOKEN
    }

    fn gain(&mut self, gained: u128) {
        let paid = gained.min(self.debt);
        self.debt -= paid;
        self.level = (self.level + gained - paid).min(self.cap());
    }

    fn refill(&mut self, now: Moment) {
        let passed = now.saturating_sub(self.at);
        self.at = self.at.max(now);
        self.gain(passed.as_nanos() * u128::from(self.per_minute));
    }

    /// Free tokens.
    pub(super) fn available(&mut self, now: Moment) -> u32 {
        self.refill(now);
        u32::try_from(self.level / TOKEN).unwrap_or(u32::MAX)
    }

    /// Sets up to `n` tokens aside; says how many.
    pub(super) fn reserve(&mut self, now: Moment, n: u32) -> u32 {
        let n = n.min(self.available(now));
        self.level -= u128::from(n) * TOKEN;
        self.reserved += n;
        n
    }

    /// A reserved token becomes a request.
    pub(super) fn spend(&mut self, now: Moment) {
        self.refill(now);
        self.reserved = self.reserved.saturating_sub(1);
    }

    /// So many requests were sent without having been asked for.
    pub(super) fn owe(&mut self, now: Moment, n: u32) {
        self.refill(now);
        let owed = u128::from(n) * TOKEN;
        let paid = owed.min(self.level);
        self.level -= paid;
        self.debt += owed - paid;
    }

    /// Gives reserved tokens back.
    pub(super) fn release(&mut self, now: Moment, n: u32) {
        self.refill(now);
        let n = n.min(self.reserved);
        self.reserved -= n;
        self.gain(u128::from(n) * TOKEN);
    }

    /// When a token will be free; now, if one is. `None` while all of the burst is reserved: then nothing is refilled.
    pub(super) fn next(&mut self, now: Moment) -> Option<Moment> {
        self.refill(now);
        if self.cap() < TOKEN {
            return None;
        }
        let missing = TOKEN.saturating_sub(self.level) + self.debt;
        let nanos = missing.div_ceil(u128::from(self.per_minute));
        Some(now + Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn s(seconds: u64) -> Moment {
        Duration::from_secs(seconds)
    }

    #[test]
    fn starts_full_and_refills_at_its_rate() {
        let mut budget = Budget::new(10, 3, s(0));
        assert_eq!(budget.reserve(s(0), 5), 3);
        (0..3).for_each(|_| budget.spend(s(0)));
        assert_eq!(budget.available(s(5)), 0);
        assert_eq!(budget.next(s(5)), Some(s(6)));
        assert_eq!(budget.available(s(6)), 1);
        assert_eq!(budget.available(s(600)), 3, "no more than the burst is saved up");
    }

    #[test]
    fn loses_nothing_to_rounding() {
        let mut budget = Budget::new(7, 1, s(0));
        assert_eq!(budget.reserve(s(0), 1), 1);
        budget.spend(s(0));
        let (mut now, mut sent) = (s(0), 0);
        while let Some(next) = budget.next(now).filter(|next| *next <= s(6000)) {
            now = next;
            assert_eq!(budget.reserve(now, 1), 1);
            budget.spend(now);
            sent += 1;
        }
        // With a burst of one, what a wait of less than a nanosecond adds is lost: one token in 100 minutes at most.
        assert!((699..=700).contains(&sent), "{sent} of 700");
    }

    #[test]
    fn what_is_reserved_counts_towards_the_burst() {
        let mut budget = Budget::new(60, 4, s(0));
        assert_eq!(budget.reserve(s(0), 3), 3);
        assert_eq!(budget.available(s(100)), 1);
        budget.release(s(100), 3);
        assert_eq!(budget.available(s(100)), 4);
        assert_eq!(budget.reserve(s(100), 4), 4);
        assert_eq!(budget.next(s(101)), None);
        budget.spend(s(101));
        assert_eq!(budget.next(s(101)), Some(s(102)));
    }

    #[test]
    fn what_is_owed_is_made_up_for_first() {
        let mut budget = Budget::new(60, 3, s(0));
        assert_eq!(budget.reserve(s(0), 1), 1);
        budget.spend(s(0));
        budget.owe(s(0), 1);
        assert_eq!(budget.available(s(0)), 1, "there was room for it");
        budget.owe(s(0), 3);
        assert_eq!((budget.available(s(2)), budget.next(s(2))), (0, Some(s(3))));
        assert_eq!(budget.available(s(3)), 1);
    }

    #[test]
    fn new_limits_keep_what_was_saved() {
        let mut budget = Budget::new(60, 10, s(0));
        budget.set(600, 4, s(0));
        assert_eq!(budget.available(s(0)), 4);
        budget.set(600, 20, s(0));
        assert_eq!(budget.available(s(0)), 4);
        assert_eq!(budget.available(s(1)), 14);
    }
}
