//! Version stamps and times as the remotes write them. Pure.

use std::borrow::Cow;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

/// The instant that a stamp names, if it is an RFC 3339 time of any precision; one without an offset is read as UTC.
pub(crate) fn instant(stamp: &str) -> Option<Timestamp> {
    // The parsers below take more than RFC 3339, `20260415` for one, which may be somebody's number.
    let bytes = stamp.as_bytes();
    if !matches!((bytes.get(4), bytes.get(10)), (Some(b'-'), Some(b'T' | b't' | b' '))) {
        return None;
    }
    let stamp = to_nanoseconds(stamp);
    stamp
        .parse::<Timestamp>()
        .ok()
        .or_else(|| stamp.parse::<DateTime>().ok()?.to_zoned(TimeZone::UTC).ok().map(|zoned| zoned.timestamp()))
}

/// A fraction of a second is of any length in RFC 3339; what is finer than a timestamp holds is cut off.
fn to_nanoseconds(stamp: &str) -> Cow<'_, str> {
    const DIGITS: usize = 9;
    let Some(point) = stamp.find('.') else { return Cow::Borrowed(stamp) };
    let fraction = &stamp[point + 1..];
    let length = fraction.find(|c: char| !c.is_ascii_digit()).unwrap_or(fraction.len());
    if length <= DIGITS {
        return Cow::Borrowed(stamp);
    }
    Cow::Owned(format!("{}{}", &stamp[..=point + DIGITS], &fraction[length..]))
}

/// The form in which stamps are kept and compared: two spellings of one instant become the same text, anything that
/// is no time stays as it is. An empty stamp is none.
pub(crate) fn canonical(stamp: &str) -> Option<String> {
    let stamp = stamp.trim();
    if stamp.is_empty() {
        return None;
    }
    Some(instant(stamp).map_or_else(|| stamp.to_owned(), |at| at.to_string()))
}

/// An HTTP date (`Date`, `Retry-After`), in any of the three forms that a recipient has to take (RFC 9110, 5.6.7).
pub(crate) fn http_date(text: &str) -> Option<Timestamp> {
    let text = text.trim();
    // A day of the week that is wrong says nothing.
    let parser = jiff::fmt::rfc2822::DateTimeParser::new().relaxed_weekday(true);
    let never = || {
        // The last day of the year 9999, which servers send for "never again", is past what a timestamp holds. A year less is as
        // long; without the day of the week, which would be another one.
        let (_, date) = text.split_once(", ")?;
        parser.parse_timestamp(date.replacen(" 9999 ", " 9998 ", 1)).ok()
    };
    parser.parse_timestamp(text).ok().or_else(never).or_else(|| obsolete_date(text))
}

/// The forms of RFC 850 (`Sunday, 06-Nov-94 08:49:37 GMT`) and of C's `asctime` (`Sun Nov  6 08:49:37 1994`).
fn obsolete_date(text: &str) -> Option<Timestamp> {
    let read = |format: &str, text: &str| {
        DateTime::strptime(format, text).ok()?.to_zoned(TimeZone::UTC).ok().map(|zoned| zoned.timestamp())
    };
    let without_weekday = |separator| text.split_once(separator).map(|(_, date)| date.trim_start());
    without_weekday(", ")
        .and_then(|date| read("%d-%b-%y %H:%M:%S GMT", date))
        .or_else(|| read("%b %d %H:%M:%S %Y", without_weekday(" ")?))
}
