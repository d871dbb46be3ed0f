//! Why there is no node.

use std::time::Duration;

use super::missing::Missing;
use crate::controlplane::{self, BinariesError};

/// What can go wrong with a node, one variant a kind of step.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The machine lacks something.
    #[error("{0}")]
    Missing(String),
    /// The programs were neither found nor built.
    #[error(transparent)]
    Binaries(#[from] BinariesError),
    /// Certificates, kubeconfig files, or asking the API server.
    #[error(transparent)]
    ControlPlane(#[from] controlplane::Error),
    /// A file or a process.
    #[error("{what}")]
    Io {
        /// What was tried.
        what: String,
        /// Why it failed.
        #[source]
        source: std::io::Error,
    },
    /// A command of the system failed.
    #[error("{command}: {output}")]
    Command {
        /// The command.
        command: String,
        /// What it said.
        output: String,
    },
    /// The first process of the node ended.
    #[error("the node's first process ended while this was awaited: {expected}; the end of its log:\n{log}")]
    Ended {
        /// What was to come.
        expected: String,
        /// The tail of its log.
        log: String,
    },
    /// Something did not come within its deadline.
    #[error("expected within {} s: {expected}; seen: {seen}\n{log}", deadline.as_secs())]
    NotSeen {
        /// What was to come.
        expected: String,
        /// How long it was awaited.
        deadline: Duration,
        /// How far it was from that.
        seen: String,
        /// Where the logs are, and the tail of the one that it is about.
        log: String,
    },
    /// There is no node.
    #[error("no node is up: start it with `make cluster`")]
    Down,
}

impl From<Missing> for Error {
    fn from(missing: Missing) -> Self {
        Self::Missing(missing.to_string())
    }
}

impl From<rcgen::Error> for Error {
    fn from(error: rcgen::Error) -> Self {
        Self::ControlPlane(error.into())
    }
}

impl Error {
    /// An [`Error::Io`], for `map_err`.
    pub(super) fn io(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }
}
