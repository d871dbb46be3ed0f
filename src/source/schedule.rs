//! When a generated value is due to be made anew. Pure: the time is an argument.

use std::time::Duration;

use jiff::Timestamp;
use jiff::civil::{Time, Weekday};
use jiff::tz::TimeZone;
use sha2::{Digest as _, Sha256};

use crate::api::vault_secret::{Day, RotationWindow};

/// The shortest interval between two rotations that is taken.
pub const SHORTEST: Duration = Duration::from_secs(10);
/// Windows are looked for that many days ahead: every weekday comes within a week.
const DAYS_AHEAD: i64 = 8;

/// When a value that was made at `made` is due, if it is to be rotated every `every`.
///
/// Up to a tenth earlier, by the same share for the same `seed`, so that values that were made together are not all made anew
/// together; and moved to the next of the windows, if there are any.
#[must_use]
pub fn due(made: Timestamp, every: Duration, windows: &[RotationWindow], seed: &str) -> Timestamp {
    let every = every.max(SHORTEST);
    let early = every.mul_f64(0.1 * share(seed));
    let wanted = made.checked_add(every - early).unwrap_or(Timestamp::MAX);
    next_open(wanted, windows)
}

/// The first instant, not before `at`, that lies in one of the windows; `at` itself when there are none.
#[must_use]
pub fn next_open(at: Timestamp, windows: &[RotationWindow]) -> Timestamp {
    if windows.is_empty() {
        return at;
    }
    let date = at.to_zoned(TimeZone::UTC).date();
    let mut first: Option<Timestamp> = None;
    // From the day before: its window may still be open past midnight.
    for offset in -1..DAYS_AHEAD {
        let Ok(day) = date.checked_add(jiff::Span::new().days(offset)) else { continue };
        for window in windows {
            if !window.days.is_empty() && !window.days.iter().any(|d| weekday(*d) == day.weekday()) {
                continue;
            }
            let Some(start) = start_of(window) else { continue };
            let Ok(opens) = day.to_datetime(start).to_zoned(TimeZone::UTC) else { continue };
            let opens = opens.timestamp();
            let closes = opens.checked_add(window.duration.get()).unwrap_or(Timestamp::MAX);
            if closes > at {
                let candidate = opens.max(at);
                first = Some(first.map_or(candidate, |f| f.min(candidate)));
            }
        }
    }
    // Windows that cannot be read are refused before; without any the value is not rotated outside one.
    first.unwrap_or(Timestamp::MAX)
}

/// What is wrong with a window, if anything.
#[must_use]
pub fn problem(window: &RotationWindow) -> Option<String> {
    if start_of(window).is_none() {
        return Some(format!("rotationWindows: start {:?} is no time of day such as 02:30", window.start));
    }
    let length = window.duration.get();
    (length.is_zero() || length > Duration::from_secs(24 * 3600))
        .then(|| "rotationWindows: duration must be more than 0 and at most 24h".to_owned())
}

fn start_of(window: &RotationWindow) -> Option<Time> {
    let (hour, minute) = window.start.split_once(':')?;
    Time::new(hour.parse().ok()?, minute.parse().ok()?, 0, 0).ok()
}

fn weekday(day: Day) -> Weekday {
    match day {
        Day::Mon => Weekday::Monday,
        Day::Tue => Weekday::Tuesday,
        Day::Wed => Weekday::Wednesday,
        Day::Thu => Weekday::Thursday,
        Day::Fri => Weekday::Friday,
        Day::Sat => Weekday::Saturday,
        Day::Sun => Weekday::Sunday,
    }
}

/// A number in 0..1, the same for the same seed.
fn share(seed: &str) -> f64 {
    let digest = Sha256::digest(seed.as_bytes());
    let mut first = [0_u8; 4];
    first.copy_from_slice(&digest[..4]);
    f64::from(u32::from_be_bytes(first)) / (f64::from(u32::MAX) + 1.0)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use proptest::prelude::*;

    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn window(days: &[Day], start: &str, hours: u64) -> RotationWindow {
        RotationWindow {
            days: days.to_vec(),
            start: start.to_owned(),
            duration: serde_json::from_value(serde_json::json!(format!("{hours}h"))).unwrap(),
        }
    }

    #[test]
    fn a_value_is_due_at_most_a_tenth_early_and_never_late() {
        let made = at("2026-11-23T00:00:00Z");
        for seed in ["a", "b", "c", "d"] {
            let due = due(made, Duration::from_secs(1000), &[], seed);
            let after = due.duration_since(made).as_secs();
            assert!((900..=1000).contains(&after), "{after}");
        }
        let of = |seed| due(made, Duration::from_secs(100_000), &[], seed);
        assert_eq!(of("a"), of("a"));
        assert_ne!(of("a"), of("b"));
    }

    #[test]
    fn it_waits_for_its_window() {
        let weekend = [window(&[Day::Sat, Day::Sun], "02:00", 2)];
        // 2026-11-26 is a Thursday.
        assert_eq!(next_open(at("2026-11-26T12:00:00Z"), &weekend), at("2026-11-28T02:00:00Z"));
        assert_eq!(next_open(at("2026-11-28T03:00:00Z"), &weekend), at("2026-11-28T03:00:00Z"));
        assert_eq!(next_open(at("2026-11-28T04:00:00Z"), &weekend), at("2026-11-29T02:00:00Z"));
        assert_eq!(next_open(at("2026-11-29T04:00:00Z"), &weekend), at("2026-12-05T02:00:00Z"));
    }

    #[test]
    fn a_window_may_reach_past_midnight() {
        let nightly = [window(&[], "23:00", 3)];
        assert_eq!(next_open(at("2026-11-26T01:30:00Z"), &nightly), at("2026-11-26T01:30:00Z"));
        assert_eq!(next_open(at("2026-11-26T02:00:00Z"), &nightly), at("2026-11-26T23:00:00Z"));
    }

    #[test]
    fn a_window_that_cannot_be_says_what_is_wrong() {
        assert_eq!(
            problem(&window(&[], "25:00", 1)).unwrap(),
            "rotationWindows: start \"25:00\" is no time of day such as 02:30"
        );
        assert!(problem(&window(&[], "02:00", 0)).is_some());
        assert!(problem(&window(&[], "02:00", 24)).is_none());
    }

    proptest! {
        #[test]
        fn the_next_opening_is_in_a_window_and_not_in_the_past(seconds in 1_700_000_000_i64..1_900_000_000, start in 0_u32..24, hours in 1_u64..24, day in 0_usize..7) {
            let days = [Day::Mon, Day::Tue, Day::Wed, Day::Thu, Day::Fri, Day::Sat, Day::Sun];
            let windows = [window(&days[day..=day], &format!("{start:02}:00"), hours)];
            let now = Timestamp::from_second(seconds).unwrap();
            let next = next_open(now, &windows);
            prop_assert!(next >= now);
            prop_assert_eq!(next_open(next, &windows), next, "it is open then");
            prop_assert!(next.duration_since(now).as_hours() <= 7 * 24);
        }
    }
}
