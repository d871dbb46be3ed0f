//! Why the demo ends before its end.

use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Duration;

use crate::controlplane;
use crate::remotes::StartError;

/// What went wrong, one variant a kind of step.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The operator's program is not there.
    #[error(
        "there is no operator at {}: build it with `cargo build --bin vaultsecret`, or name it with --operator",
        path.display()
    )]
    NoOperator {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// A file or a process.
    #[error("{what}: {source}")]
    Io {
        /// What was tried.
        what: String,
        /// Why it failed.
        source: std::io::Error,
    },
    /// A manifest of the repository cannot be read.
    #[error("{} is not YAML: {why}", path.display())]
    Manifest {
        /// The file.
        path: PathBuf,
        /// What is wrong in it.
        why: String,
    },
    /// The control plane.
    #[error("{}", controlplane::chain(.0))]
    ControlPlane(#[from] controlplane::Error),
    /// A stand-in.
    #[error("{}", controlplane::chain(.0))]
    Remote(#[from] StartError),
    /// The API server refused what the demo itself asked for.
    #[error("{what}: {source}")]
    Api {
        /// What was asked.
        what: String,
        /// The answer.
        source: Box<kube::Error>,
    },
    /// The operator's process is gone.
    #[error("the operator ended ({status}) while this was awaited: {expected}")]
    OperatorEnded {
        /// How it ended.
        status: ExitStatus,
        /// What was to come.
        expected: String,
    },
    /// Something did not come within its deadline.
    #[error("expected within {} s: {expected}\nseen: {seen}", deadline.as_secs())]
    NotSeen {
        /// What was to come.
        expected: String,
        /// How long it was awaited.
        deadline: Duration,
        /// How far it was from that.
        seen: String,
        /// The place that it is about, as an index; none for all.
        site: Option<usize>,
    },
    /// Something was not as it has to be.
    #[error("expected: {expected}\nseen: {seen}")]
    Wrong {
        /// What has to be.
        expected: String,
        /// What was there instead.
        seen: String,
        /// The place that it is about, as an index; none for all.
        site: Option<usize>,
    },
}

impl Failure {
    /// A [`Failure::Io`].
    pub(crate) fn io(what: impl Into<String>, source: std::io::Error) -> Self {
        Self::Io { what: what.into(), source }
    }

    /// A [`Failure::Api`], for `map_err`.
    pub(crate) fn api(what: impl Into<String>) -> impl FnOnce(kube::Error) -> Self {
        let what = what.into();
        move |source| Self::Api { what, source: Box::new(source) }
    }

    /// The place that it is about.
    pub(crate) fn site(&self) -> Option<usize> {
        match self {
            Self::NotSeen { site, .. } | Self::Wrong { site, .. } => *site,
            _ => None,
        }
    }
}
