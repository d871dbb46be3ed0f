//! When a turn will come.

use std::time::Duration;

/// What an estimate is made from.
#[derive(Clone, Debug)]
pub(super) struct Load {
    /// Requests that go first.
    pub(super) requests: u64,
    /// Requests in the budget.
    pub(super) tokens: u32,
    /// Refill of the budget.
    pub(super) per_minute: u32,
    /// Size of the budget.
    pub(super) burst: u32,
    /// Requests in flight at one time.
    pub(super) in_flight: u32,
    /// How long a request takes, as observed.
    pub(super) request: Duration,
    /// For how long nothing is sent at all.
    pub(super) shut: Duration,
}

/// The wait until a request can be sent that has `requests` before it: the budget's or the requests' own, whichever
/// is longer, after the time in which nothing is sent.
pub(super) fn eta(load: &Load) -> Duration {
    let per_second = f64::from(load.per_minute.max(1)) / 60.0;
    let saved = (f64::from(load.tokens) + load.shut.as_secs_f64() * per_second)
        .min(f64::from(load.burst.max(load.tokens).max(1)));
    #[allow(clippy::cast_precision_loss)]
    let requests = load.requests as f64;
    let budget = (requests + 1.0 - saved).max(0.0) / per_second;
    let flight = load.request.as_secs_f64() * requests / f64::from(load.in_flight.max(1));
    load.shut + Duration::try_from_secs_f64(budget.max(flight)).unwrap_or(Duration::MAX / 2)
}

/// Takes one more observation into a moving average.
pub(super) fn smooth(average: Option<Duration>, seen: Duration) -> Duration {
    average.map_or(seen, |average| (average * 7 + seen) / 8)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load() -> Load {
        Load {
            requests: 60,
            tokens: 0,
            per_minute: 10,
            burst: 10,
            in_flight: 4,
            request: Duration::from_millis(20),
            shut: Duration::ZERO,
        }
    }

    #[test]
    fn sixty_ahead_at_ten_a_minute_is_about_six_minutes() {
        assert_eq!(eta(&load()).as_secs(), 366);
        assert_eq!(eta(&Load { tokens: 10, ..load() }).as_secs(), 306);
    }

    #[test]
    fn a_slow_remote_counts() {
        let slow = Load { per_minute: 60_000, request: Duration::from_secs(30), ..load() };
        assert_eq!(eta(&slow).as_secs(), 450);
    }

    #[test]
    fn a_time_shut_adds_but_saves_up() {
        let shut = Load { shut: Duration::from_secs(30), ..load() };
        assert_eq!(eta(&shut).as_secs(), 366, "the budget fills while nothing is sent");
        let long = Load { shut: Duration::from_secs(3600), ..load() };
        assert_eq!(eta(&long).as_secs(), 3600 + 306, "but not beyond its burst");
    }

    #[test]
    fn the_average_follows() {
        let mut average = None;
        for _ in 0..50 {
            average = Some(smooth(average, Duration::from_millis(800)));
        }
        assert_eq!(average, Some(Duration::from_millis(800)));
        assert_eq!(smooth(average, Duration::ZERO), Duration::from_millis(700));
    }
}
