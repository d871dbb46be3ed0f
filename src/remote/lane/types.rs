//! The words that the lane and those who use it share.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use crate::remote::{CallError, ErrorClass};

/// How long a lane is left alone by an account without credits that names no time: asking fast is no use.
const NO_CREDITS: Duration = Duration::from_secs(300);

/// Who wants a turn: an object's namespace and name. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectKey {
    /// Namespace: turns go round over namespaces.
    pub namespace: Arc<str>,
    /// Name in it.
    pub name: Arc<str>,
}

impl ObjectKey {
    /// A key from its two parts.
    #[must_use]
    pub fn new(namespace: impl Into<Arc<str>>, name: impl Into<Arc<str>>) -> Self {
        Self { namespace: namespace.into(), name: name.into() }
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// What a lane allows. Zero is taken for one everywhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LaneLimits {
    /// Requests a minute, retries and list pages included.
    pub requests_per_minute: u32,
    /// How many unused requests may be saved up.
    pub burst: u32,
    /// Requests in flight at one time.
    pub max_in_flight: u32,
    /// Cap on what a remote may ask for with `Retry-After`.
    pub max_retry_after: Duration,
    /// Transient failures in a row that open the circuit breaker.
    pub breaker_failures: u32,
}

impl Default for LaneLimits {
    fn default() -> Self {
        Self {
            requests_per_minute: 600,
            burst: 20,
            max_in_flight: 8,
            max_retry_after: Duration::from_secs(3600),
            breaker_failures: 5,
        }
    }
}

/// What an object wants its turn for, most urgent first. The order is strict: a rank is served only while no better
/// one waits. A stream of new values that the budget cannot carry therefore holds up deletes and confirmations for
/// as long as it lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Rank {
    /// A new or changed value.
    Value,
    /// A delete.
    Delete,
    /// A confirmation of an unsettled write, or a value pushed again.
    Confirm,
}

/// Why nothing can be sent right now. `T` is a point in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waiting<T = Timestamp> {
    /// The budget of requests is used up.
    Budget,
    /// As many requests are in flight as may be; after trouble that is one, until it has succeeded.
    InFlight,
    /// The remote asked to be left alone.
    Limited {
        /// Until then.
        until: T,
    },
    /// The remote failed repeatedly.
    BreakerOpen {
        /// One request is tried then.
        until: T,
    },
    /// Paused by [`Lane::pause`](super::Lane::pause).
    Paused,
}

impl<T> Waiting<T> {
    /// The same with another kind of time.
    pub(super) fn map<U>(self, f: impl FnOnce(T) -> U) -> Waiting<U> {
        match self {
            Self::Budget => Waiting::Budget,
            Self::InFlight => Waiting::InFlight,
            Self::Limited { until } => Waiting::Limited { until: f(until) },
            Self::BreakerOpen { until } => Waiting::BreakerOpen { until: f(until) },
            Self::Paused => Waiting::Paused,
        }
    }
}

/// A place in the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place<T = Timestamp> {
    /// How many objects go first, as things stand; exact for the first object of a namespace, else at most one
    /// round over the namespaces too many.
    pub ahead: u32,
    /// When the turn will come, as far as budget, observed request times and known waits tell.
    pub eta: Option<Duration>,
    /// What is being waited for.
    pub because: Waiting<T>,
}

/// The circuit breaker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BreakerState<T = Timestamp> {
    /// All is well.
    Closed,
    /// Nothing is sent.
    Open {
        /// Until then.
        until: T,
    },
    /// One request is let through, to see.
    HalfOpen,
}

impl<T> BreakerState<T> {
    pub(super) fn map<U>(self, f: impl FnOnce(T) -> U) -> BreakerState<U> {
        match self {
            Self::Closed => BreakerState::Closed,
            Self::Open { until } => BreakerState::Open { until: f(until) },
            Self::HalfOpen => BreakerState::HalfOpen,
        }
    }
}

/// What a connection's condition is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health<T = Timestamp> {
    /// The circuit breaker.
    pub breaker: BreakerState<T>,
    /// The remote asked to be left alone until then.
    pub limited_until: Option<T>,
    /// Why the lane is paused, if it is.
    pub paused: Option<Arc<str>>,
}

impl<T> Health<T> {
    pub(super) fn map<U>(self, f: impl Fn(T) -> U) -> Health<U> {
        Health { breaker: self.breaker.map(&f), limited_until: self.limited_until.map(&f), paused: self.paused }
    }
}

/// A lane at one moment, for metrics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LaneStatus<T = Timestamp> {
    /// Breaker, limit and pause.
    pub health: Health<T>,
    /// Objects in the queue, by rank in the order of [`Rank`].
    pub queued: [u32; 3],
    /// Requests in flight.
    pub in_flight: u32,
    /// Places for requests that turns hold and do not use yet.
    pub reserved: u32,
    /// Requests that the budget holds and nobody has reserved.
    pub tokens: u32,
}

impl<T> LaneStatus<T> {
    pub(super) fn map<U>(self, f: impl Fn(T) -> U) -> LaneStatus<U> {
        LaneStatus {
            health: self.health.map(f),
            queued: self.queued,
            in_flight: self.in_flight,
            reserved: self.reserved,
            tokens: self.tokens,
        }
    }
}

/// What an HTTP call meant for the lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The remote answered: success, or a refusal of this one request.
    Answered,
    /// The remote is in trouble, or out of reach.
    Transient {
        /// How long it asks us to wait, where it says so.
        retry_after: Option<Duration>,
    },
    /// Too many requests.
    Limited {
        /// How long it asks us to wait, where it says so.
        retry_after: Option<Duration>,
    },
    /// The credential was refused. From here on requests go out one at a time until one succeeds; to pause the lane
    /// is up to who looks after the credential.
    Unauthenticated,
}

impl Outcome {
    /// What the result of a call means.
    #[must_use]
    pub fn of<T>(result: &Result<T, CallError>) -> Self {
        let Err(error) = result else { return Self::Answered };
        let retry_after = error.retry_after;
        match error.class {
            ErrorClass::RateLimited => Self::Limited { retry_after },
            ErrorClass::NoCredits => Self::Limited { retry_after: retry_after.or(Some(NO_CREDITS)) },
            ErrorClass::Authentication => Self::Unauthenticated,
            class if class.is_transient() => Self::Transient { retry_after },
            _ => Self::Answered,
        }
    }
}
