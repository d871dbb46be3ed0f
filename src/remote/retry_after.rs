//! How long a remote asks us to wait. Pure: the local clock is an argument.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;

use super::stamp;

/// What is longer than this is cut, so that the sum of a clock and a wait cannot overflow. The caller's own cap is
/// far lower.
const LONGEST: Duration = Duration::from_secs(366 * 24 * 3600);

/// Where Mixpeek's bodies say it, in the order in which its own client reads them.
pub(crate) const MIXPEEK: [&str; 3] =
    ["/error/details/retry_after_seconds", "/detail/error/details/retry_after_seconds", "/error/details/retry_after"];

/// The wait that an answer asks for.
///
/// A number of seconds in the header counts first, then the first hint in the body, then the header as a date. What
/// cannot be understood is ignored.
pub(crate) fn wanted(
    hints: &[impl AsRef<str>],
    header: Option<&str>,
    body: &Value,
    answered_at: Option<Timestamp>,
    now: Timestamp,
) -> Option<Duration> {
    let header = header.map(str::trim);
    header
        .and_then(seconds)
        .or_else(|| body_hint(hints, body))
        .or_else(|| header.and_then(|text| until(text, answered_at.unwrap_or(now))))
}

fn seconds(text: &str) -> Option<Duration> {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if let Some((whole, part)) = text.split_once('.') {
        // Not in the standard, and not hard to understand.
        return (digits(whole) && digits(part)).then(|| limited(text.parse().unwrap_or(f64::INFINITY)));
    }
    // Digits that do not fit are a very long wait, not garbage.
    digits(text).then(|| text.parse().map_or(LONGEST, Duration::from_secs).min(LONGEST))
}

fn limited(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).map_or(LONGEST, |wait| wait.min(LONGEST))
}

fn body_hint(hints: &[impl AsRef<str>], body: &Value) -> Option<Duration> {
    hints.iter().find_map(|place| match body.pointer(place.as_ref())? {
        Value::String(text) => seconds(text.trim()),
        number => number.as_f64().map(|number| if number < 0.0 { None } else { Some(limited(number)) })?,
    })
}

/// The wait until an HTTP date, counted from the remote's own clock where it shows it; a date in the past asks for no
/// wait.
fn until(text: &str, from: Timestamp) -> Option<Duration> {
    let wait = stamp::http_date(text)?.duration_since(from);
    Some(wait.try_into().unwrap_or(Duration::ZERO).min(LONGEST))
}
