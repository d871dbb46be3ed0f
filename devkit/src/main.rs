//! `devkit`: what developing the operator needs, from a shell.

use clap::{Parser, Subcommand};
use devkit::controlplane;

/// What developing, testing and trying out the operator needs.
#[derive(Debug, Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Print the folder with the control plane's programs, building them the first time.
    Controlplane(controlplane::Args),
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    match Cli::parse().command {
        Command::Controlplane(args) => controlplane::cli(args).await,
    }
}
