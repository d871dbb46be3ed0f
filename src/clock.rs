//! Wall-clock time that never runs backwards while the process lives.
//!
//! The protocol compares times that it wrote itself, some of them before a restart, so it needs wall-clock time; and it
//! compares instants within a process, where a step of the system clock must not turn their order around. So the wall
//! clock is read once, and the monotonic clock is added to it.

use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

/// The clock of a process.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    wall: Timestamp,
    started: Instant,
}

impl Clock {
    /// Reads the wall clock.
    #[must_use]
    pub fn start() -> Self {
        Self { wall: Timestamp::now(), started: Instant::now() }
    }

    /// Now, to the microsecond.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        crate::sync::plan::after(self.wall, self.started.elapsed())
    }

    /// The time of an instant.
    #[must_use]
    pub fn at(&self, instant: Instant) -> Timestamp {
        crate::sync::plan::after(self.wall, instant.saturating_duration_since(self.started))
    }

    /// How long until `at`; zero when it is past.
    #[must_use]
    pub fn until(&self, at: Timestamp) -> Duration {
        at.duration_since(self.now()).try_into().unwrap_or(Duration::ZERO)
    }
}

/// Cut to seconds, as times stand in an annotation.
#[must_use]
pub fn to_seconds(at: Timestamp) -> Timestamp {
    Timestamp::from_second(at.as_second()).unwrap_or(at)
}

/// Cut to milliseconds, as times stand in a status.
#[must_use]
pub fn to_millis(at: Timestamp) -> Timestamp {
    Timestamp::from_millisecond(at.as_millisecond()).unwrap_or(at)
}
