//! Version stamps and times as the remotes write them. Pure.

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
    stamp
        .parse::<Timestamp>()
        .ok()
        .or_else(|| stamp.parse::<DateTime>().ok()?.to_zoned(TimeZone::UTC).ok().map(|zoned| zoned.timestamp()))
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

/// An HTTP date (`Date`, `Retry-After`).
pub(crate) fn http_date(text: &str) -> Option<Timestamp> {
    let parser = jiff::fmt::rfc2822::DateTimeParser::new();
    parser.parse_timestamp(text.trim()).ok().or_else(|| {
        // The last day of the year 9999, which servers send for "never again", is past what a timestamp holds. A year less is as
        // long; without the day of the week, which would be another one.
        let (_, date) = text.trim().split_once(", ")?;
        parser.parse_timestamp(date.replacen(" 9999 ", " 9998 ", 1)).ok()
    })
}
