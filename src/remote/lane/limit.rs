//! How long a remote that answered "too many requests" is left alone.

use std::time::Duration;

use super::breaker::{FIRST_WAIT, doubled};
use super::core::Moment;

/// The longest wait that we choose ourselves, when the remote names none.
const LONGEST_OWN_WAIT: Duration = Duration::from_secs(300);

/// A remote's wish to be left alone.
#[derive(Clone, Debug, Default)]
pub(super) struct Limit {
    until: Option<Moment>,
    strikes: u32,
    struck: Option<Moment>,
}

impl Limit {
    /// The end of the wait, while there is one.
    pub(super) fn until(&self) -> Option<Moment> {
        self.until
    }

    /// Ends a wait that is over.
    pub(super) fn advance(&mut self, now: Moment) {
        if self.until.is_some_and(|until| now >= until) {
            self.until = None;
        }
    }

    /// The remote names a time, or none. It never shortens a wait. Ten requests in flight that are refused together
    /// are one strike: only one that was sent after the last strike makes the next wait longer.
    pub(super) fn strike(&mut self, now: Moment, sent: Moment, asked: Option<Duration>, cap: Duration, unit: f64) {
        let again = self.until.is_none() && self.struck.is_none_or(|struck| sent > struck);
        // "Wait for no time" is no answer to go by.
        let wait = match asked.filter(|asked| !asked.is_zero()) {
            Some(asked) => asked.min(cap),
            None if again => doubled(FIRST_WAIT, self.strikes, LONGEST_OWN_WAIT.min(cap), unit),
            None => return,
        };
        if again {
            self.strikes = self.strikes.saturating_add(1);
        }
        self.struck = Some(now);
        self.until = self.until.max(Some(now + wait));
    }

    /// A request that was sent after the last strike was let in: the next wait is a first one.
    pub(super) fn passed(&mut self, sent: Moment) {
        if self.struck.is_some_and(|struck| sent > struck) {
            self.strikes = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn s(seconds: u64) -> Moment {
        Duration::from_secs(seconds)
    }

    #[test]
    fn an_absurd_value_is_capped_and_a_shorter_one_does_not_shorten() {
        let mut limit = Limit::default();
        limit.strike(s(0), s(0), Some(s(1_000_000)), s(3600), 0.5);
        assert_eq!(limit.until(), Some(s(3600)));
        limit.strike(s(1), s(0), Some(s(5)), s(3600), 0.5);
        assert_eq!(limit.until(), Some(s(3600)));
        limit.advance(s(3600));
        assert_eq!(limit.until(), None);
    }

    #[test]
    fn without_a_value_the_wait_doubles_once_an_episode() {
        let mut limit = Limit::default();
        let mut now = s(10);
        for wait in [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300] {
            let sent = now;
            now += Duration::from_millis(20);
            for _ in 0..8 {
                limit.strike(now, sent, None, s(3600), 0.5);
            }
            assert_eq!(limit.until(), Some(now + s(wait)));
            now += s(wait);
            limit.advance(now);
            // A straggler from before the wait.
            limit.strike(now, sent, None, s(3600), 0.5);
            assert_eq!(limit.until(), None);
        }
        limit.passed(now);
        limit.strike(now, now, None, s(3600), 0.5);
        assert_eq!(limit.until(), Some(now + s(1)));
    }
}
