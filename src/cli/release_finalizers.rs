//! `vaultsecret release-finalizers`: lets VaultSecrets go that the operator, which is uninstalled, would have let go.

mod lease;
mod objects;
#[cfg(test)]
mod tests;

use std::time::Duration;

use clap::Args;

use super::{Exit, fail, print, run, values};
use objects::Done;

/// Flags of `vaultsecret release-finalizers`. Each is an environment variable too.
#[derive(Clone, Debug, Args)]
#[command(
    after_help = "For the time after the operator is uninstalled: a VaultSecret under deletionPolicy Delete carries a finalizer that \
    nobody serves any more, and would hold its namespace for ever. Nothing is deleted, in the cluster or at a remote. An operator \
    that is installed again puts the finalizers back.\n\nExit codes: 0 done, 1 failed, 64 usage."
)]
pub struct ReleaseArgs {
    /// Namespaces to work in, separated by commas. Default: all
    #[arg(long, env = "VAULTSECRET_NAMESPACES", value_name = "A,B", value_parser = values::namespaces,
        default_value = "", hide_default_value = true)]
    namespaces: run::NamespaceList,

    /// The namespace that the operator ran in. Default: the pod's namespace, else vaultsecret-system
    #[arg(long, env = "VAULTSECRET_OPERATOR_NAMESPACE", value_name = "NAMESPACE", value_parser = values::namespace,
        default_value_t = run::pod_namespace(), hide_default_value = true)]
    operator_namespace: String,

    /// How long to wait for a running operator to end: until nobody holds its Lease. An operator without leader election has none,
    /// and has to be stopped before
    #[arg(long, env = "VAULTSECRET_WAIT", value_name = "DURATION", value_parser = values::duration, default_value = "2m")]
    wait: Duration,
}

/// Does it, and says of each object what came of it.
pub(super) fn run(args: ReleaseArgs) -> Exit {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&error.into()),
    };
    match runtime.block_on(carry_out(&args)) {
        Ok(done) => match done.left() {
            None => Exit::Done,
            Some(left) => fail(&anyhow::anyhow!(left)),
        },
        Err(error) => fail(&error),
    }
}

async fn carry_out(args: &ReleaseArgs) -> anyhow::Result<Done> {
    let client = crate::app::client().await?;
    lease::until_free(&client, &args.operator_namespace, args.wait).await?;
    let mut say = |line: &str| print(&format!("{line}\n"));
    let done = objects::release_all(&client, &args.namespaces, &mut say).await?;
    say(&format!("{} released", objects::count(done.released)))?;
    Ok(done)
}
