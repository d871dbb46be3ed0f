//! What can go wrong when a remote is called, by what it means for the protocol.

use std::time::Duration;

use thiserror::Error;

/// The calls that a remote takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Operation {
    /// List all entries.
    List,
    /// Create an entry.
    Create,
    /// Change the value of an entry.
    Update,
    /// Delete an entry.
    Delete,
    /// Read the metadata of an entry.
    Look,
    /// Read the value of an entry.
    Read,
    /// Log in or renew a token.
    Login,
}

impl Operation {
    /// The lower-case name, for messages and metric labels.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::List => "list",
            Self::Create => "create",
            Self::Update => "update",
            Self::Delete => "delete",
            Self::Look => "metadata",
            Self::Read => "read",
            Self::Login => "login",
        }
    }
}

/// What an error means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorClass {
    /// A create was refused because the name is taken.
    Exists,
    /// An update was refused because the entry has another version than the one that it was decided on; nothing was stored.
    Stale,
    /// Update or delete of an entry (or of a route) that is not there. Never the class of a failed login, list or
    /// create, so that a wrong realm or base URL cannot pass for "the entry is gone".
    NotFound,
    /// 400 or 422: the request will not become right by sending it again.
    Invalid,
    /// 403: the credential may not do this.
    Forbidden,
    /// 401, after one new login and one retry; or a login that was refused.
    Authentication,
    /// 426, or another 4xx that only a person can mend.
    Refused,
    /// 429: too many requests.
    RateLimited,
    /// 429 because the account has no credits or the remote says not to try again: a fast retry is no use.
    NoCredits,
    /// The remote says that it refused the write and stored nothing (Mixpeek's documented 503, a sealed Vault).
    RefusedClean,
    /// 5xx: whether the request was processed is not known.
    Unavailable,
    /// No answer within the timeout.
    Timeout,
    /// The connection could not be made: nothing was sent.
    Connect,
    /// The connection broke after the request was (perhaps) sent.
    Broken,
    /// The answer of a list is no complete list.
    Unreadable,
}

/// Whether a failed write may have been processed all the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Certainty {
    /// The answer leaves no doubt that nothing was processed.
    Clean,
    /// It may have been processed, or may be later.
    Unknown,
}

impl ErrorClass {
    /// Whether this error leaves a doubt about a write.
    #[must_use]
    pub fn certainty(self) -> Certainty {
        match self {
            Self::Unavailable | Self::Timeout | Self::Broken | Self::Unreadable => Certainty::Unknown,
            _ => Certainty::Clean,
        }
    }

    /// Whether the remote as a whole is in trouble (counts for the circuit breaker).
    #[must_use]
    pub fn is_transient(self) -> bool {
        matches!(
            self,
            Self::RefusedClean | Self::Unavailable | Self::Timeout | Self::Connect | Self::Broken | Self::Unreadable
        )
    }
}

/// A failed call. The message is made by us from status and class, never from the answer's body, so that a body that
/// echoes a value cannot leak through it.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{message}")]
pub struct CallError {
    /// The call that failed; [`Operation::Login`] when the login that another call needed is what failed.
    pub operation: Operation,
    /// What it means.
    pub class: ErrorClass,
    /// HTTP status, when there was an answer.
    pub status: Option<u16>,
    /// How long the remote asks us to wait (`Retry-After` in seconds or as an HTTP date, or a hint in the body); not capped yet.
    pub retry_after: Option<Duration>,
    /// One sentence for a person, without any part of the answer's body.
    pub message: String,
}

impl CallError {
    /// Whether the call may have been processed all the same. Ask this, not [`ErrorClass::certainty`]: a write whose
    /// *login* failed, in whatever way, was never sent.
    #[must_use]
    pub fn certainty(&self) -> Certainty {
        match self.operation {
            Operation::Login => Certainty::Clean,
            _ => self.class.certainty(),
        }
    }
}

/// A client could not be built from its configuration. One sentence that repeats no part of a key or certificate.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct BuildError(pub String);
