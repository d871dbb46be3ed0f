//! When a list of the remote counts for an entry.

use std::time::Duration;

use jiff::Timestamp;

/// How far a list may lag behind the answers to writes.
const LAG: Duration = Duration::from_secs(60);

/// What this process knows of its own writes of one entry. Kept in memory only: a new process starts with none, and no
/// snapshot that began before it read the row counts for it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trace {
    /// When this process read the row as it now is.
    pub read_at: Option<Timestamp>,
    /// When our last write of the entry was answered or timed out.
    pub last_write_over: Option<Timestamp>,
    /// Writes of ours under way.
    pub in_flight: u32,
}

/// When a list was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// Just before its first request was sent.
    pub began: Timestamp,
    /// When its last page had arrived.
    pub ended: Timestamp,
}

/// Whether a snapshot counts for an entry: it began after the answer or the timeout of our last write to it, none of our
/// writes to it was under way when it began, and after this process read the row as it now is.
///
/// Equal times do not count: the clock is too coarse to tell which came first.
#[must_use]
pub fn counts(span: Span, trace: &Trace) -> bool {
    trace.in_flight == 0
        && trace.last_write_over.is_none_or(|over| span.began > over)
        && trace.read_at.is_some_and(|read| span.began > read)
}

/// Whether a list shows an entry as it was before our last write: with a time of change that is older than the one in the answer to
/// that write. Nobody has written since then, the list lags. One that began much later does not: that is somebody's doing, such as a
/// backup that was put back.
#[must_use]
pub fn lags(began: Timestamp, listed: &str, ours: &str) -> bool {
    let (Ok(listed), Ok(ours)) = (listed.parse::<Timestamp>(), ours.parse::<Timestamp>()) else { return false };
    listed < ours && began < super::plan::after(ours, LAG)
}

impl Trace {
    /// A write is about to be sent.
    pub fn sent(&mut self) {
        self.in_flight += 1;
    }

    /// A write was answered, or timed out.
    pub fn over(&mut self, now: Timestamp) {
        self.in_flight = self.in_flight.saturating_sub(1);
        self.last_write_over = self.last_write_over.max(Some(now));
    }
}
