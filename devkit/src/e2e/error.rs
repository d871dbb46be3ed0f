//! Why the end-to-end run ends before its end.

use crate::cluster;
use crate::controlplane::{self, BinariesError};
use crate::demo::error::Failure as Seen;
use crate::remotes::{StartError, TlsError};

/// What went wrong.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// Something was not as it has to be, or could not be asked.
    #[error(transparent)]
    Seen(#[from] Seen),
    /// The node.
    #[error("{}", controlplane::chain(.0))]
    Node(#[from] cluster::Error),
    /// helm is not there.
    #[error("{}", controlplane::chain(.0))]
    Binaries(#[from] BinariesError),
    /// A certificate of the stand-ins.
    #[error("{}", controlplane::chain(.0))]
    Tls(#[from] TlsError),
    /// A stand-in.
    #[error("{}", controlplane::chain(.0))]
    Remote(#[from] StartError),
    /// helm refused.
    #[error("helm {args}: {output}")]
    Helm {
        /// What it was asked.
        args: String,
        /// What it said.
        output: String,
    },
    /// The archive is not what it is to be.
    #[error("{archive} holds no image, or more than one: {output}")]
    Archive {
        /// The file.
        archive: String,
        /// What containerd said of it.
        output: String,
    },
}

impl Failure {
    /// Something was not as it has to be.
    pub(super) fn wrong(expected: impl Into<String>, seen: impl Into<String>) -> Self {
        Self::Seen(Seen::Wrong { expected: expected.into(), seen: seen.into(), site: None })
    }
}
