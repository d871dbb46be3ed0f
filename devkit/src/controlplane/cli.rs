//! `devkit controlplane`.

use std::io::{self, Write};

use super::build::say;
use super::{Binaries, ControlPlane, Options, chart_tool};

/// Prints the folder with kube-apiserver, kube-controller-manager, etcd and kubectl, after building them the first time.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Start a control plane, print the path of its admin kubeconfig, and keep it running until Ctrl-C.
    #[arg(long)]
    serve: bool,
}

/// Runs the subcommand. Standard output has one line, for a shell to take up; all else goes to standard error.
pub async fn cli(args: Args) -> anyhow::Result<()> {
    if args.serve {
        let cp = ControlPlane::start(Options::default()).await?;
        print_line(&cp.admin_kubeconfig().display().to_string())?;
        say(&format!("serving at {}, end it with Ctrl-C", cp.url()));
        tokio::signal::ctrl_c().await?;
        return Ok(());
    }
    let binaries = tokio::task::spawn_blocking(Binaries::find).await??;
    print_line(&binaries.folder().display().to_string())
}

/// Runs `devkit helm`: standard output has one line here too.
pub async fn helm_cli() -> anyhow::Result<()> {
    let helm = tokio::task::spawn_blocking(|| chart_tool("helm")).await??;
    print_line(&helm.display().to_string())
}

fn print_line(line: &str) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()?;
    Ok(())
}
