//! What the tests against a real API server share: a cluster with everything installed, the real operator as a process of
//! its own, remotes, and a scene for each test that says what happened when the test fails.
//!
//! A test gets a namespace and remotes of its own. Clients belong to a test's runtime, so each test has its own of those
//! too; the control plane and the operator are processes and shared by all tests of a binary.

#![allow(dead_code, unused_imports)] // each test binary uses its part

mod cluster;
mod health;
mod kubectl;
mod life;
mod manifests;
mod object;
mod operator;
mod plugin;
mod remote;
mod scene;
mod sealing;
mod setup;
mod spellings;
mod stage;
mod versions;
mod wait;

use std::time::Duration;

pub use cluster::{Cluster, without_validation};
pub use health::{ArgoHealth, Kstatus, argo_health, kstatus};
pub use life::whole_life;
pub use manifests::{api, in_repository, read};
pub use object::{Condition, Object};
pub use operator::{Operator, OperatorOptions};
pub use plugin::Ran;
pub use remote::{Kind, Remote};
pub use scene::Scene;
pub use sealing::{IDENTITIES, RECIPIENTS, sealed};
pub use setup::{Synced, entry, generated, inline, input, merged, templated};
pub use spellings::{hexadecimal, spellings};
pub use stage::Stage;
pub use versions::Versions;

/// Long enough for the slowest machine. Nothing waits that long unless it fails.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// How often a condition is looked at.
pub const POLL: Duration = Duration::from_millis(50);

/// Makes three tests of each function, one a remote: `for_each_remote!(b01_it_works)` gives `b01_it_works::kelvin` and so on.
#[allow(unused_macros)] // each test binary uses its part
macro_rules! for_each_remote {
    ($($test:ident),+ $(,)?) => {$(
        mod $test {
            use crate::common::Kind;

            #[tokio::test]
            async fn kelvin() {
                super::$test(Kind::Kelvin).await;
            }

            #[tokio::test]
            async fn dreadnode() {
                super::$test(Kind::Dreadnode).await;
            }

            #[tokio::test]
            async fn mixpeek() {
                super::$test(Kind::Mixpeek).await;
            }
        }
    )+};
}
pub(crate) use for_each_remote;
