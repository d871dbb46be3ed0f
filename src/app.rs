//! Wiring: client, key ring, server and controllers.

use crate::cli::run::RunArgs;

/// Runs the operator until it is told to stop.
///
/// # Errors
/// When it cannot start, or cannot go on.
pub async fn run(args: RunArgs) -> anyhow::Result<()> {
    drop(args);
    anyhow::bail!("not wired yet")
}
