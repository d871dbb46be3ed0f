//! What can go wrong with a control plane, one variant a step.

use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Duration;

use super::binaries::BinariesError;

/// Why a control plane could not be started, changed or asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The programs were neither found nor built.
    #[error(transparent)]
    Binaries(#[from] BinariesError),
    /// A file or a process of the control plane could not be made.
    #[error("{what}")]
    Io {
        /// What was tried.
        what: String,
        /// Why it failed.
        #[source]
        source: std::io::Error,
    },
    /// A certificate could not be made.
    #[error("making the control plane's certificates")]
    Certificate(#[from] rcgen::Error),
    /// A process ended before it was ready.
    #[error("{process} ended ({status}) before it was ready; the end of its log:\n{log}")]
    Exited {
        /// Which process.
        process: &'static str,
        /// How it ended.
        status: ExitStatus,
        /// The tail of its log.
        log: String,
    },
    /// A process did not become ready in time.
    #[error("{process} was not ready after {after:?} (last answer: {last}); the end of its log:\n{log}")]
    NotReady {
        /// Which process.
        process: &'static str,
        /// How long it was awaited.
        after: Duration,
        /// What the last attempt heard.
        last: String,
        /// The tail of its log.
        log: String,
    },
    /// The process that this needs is stopped.
    #[error("{0} is not running")]
    NotRunning(&'static str),
    /// A kubeconfig could not be read.
    #[error("reading the kubeconfig {}", path.display())]
    Kubeconfig {
        /// The file.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: Box<kube::config::KubeconfigError>,
    },
    /// The API server refused or did not answer.
    #[error("asking the API server to {what}")]
    Api {
        /// What was asked.
        what: String,
        /// Why it failed.
        #[source]
        source: Box<kube::Error>,
    },
}

impl Error {
    /// An [`Error::Io`], for `map_err`.
    pub(super) fn io(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }

    /// An [`Error::Api`], for `map_err`.
    pub(super) fn api(what: impl Into<String>) -> impl FnOnce(kube::Error) -> Self {
        let what = what.into();
        move |source| Self::Api { what, source: Box::new(source) }
    }
}

/// The error and its causes in one line, for a panic or a command line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        cause = inner.source();
    }
    text
}
