//! `devkit`: what developing the operator needs, from a shell.

use std::io::Write as _;

use clap::{Parser, Subcommand};
use devkit::{ca_certificates, cluster, controlplane, demo, e2e, reference, remotes, site};

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
    /// Print the path of helm, building it and kubeconform the first time.
    Helm,
    /// A real Kubernetes node on this machine, in namespaces of its own; needs root.
    Cluster(cluster::Args),
    /// Print the public certificate authorities, for the image.
    CaCertificates,
    /// See the whole thing work: API server, three remotes, operator, examples, trouble and repair.
    Demo(demo::Args),
    /// See the operator on a real node, installed by its chart; needs root.
    E2e(e2e::Args),
    /// Serve stand-ins for the three remotes on loopback until Ctrl-C.
    Remotes(remotes::RemotesArgs),
    /// Write docs/reference from the definitions and the metrics.
    Reference(reference::Args),
    /// Check the documentation and build it as a site.
    Site(site::Args),
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    match Cli::parse().command {
        Command::Controlplane(args) => controlplane::cli(args).await,
        Command::Cluster(args) => std::process::exit(cluster::cli(args).await),
        Command::Helm => controlplane::helm_cli().await,
        Command::CaCertificates => Ok(std::io::stdout().write_all(ca_certificates::pem().as_bytes())?),
        Command::Demo(args) => {
            let code = demo::cli(args).await?;
            // By now everything is stopped and removed. A return would wait for a build that was interrupted.
            std::process::exit(code)
        }
        Command::E2e(args) => {
            let code = e2e::cli(args).await?;
            std::process::exit(code)
        }
        Command::Remotes(args) => remotes::run(args).await,
        Command::Reference(args) => reference::cli(&args),
        Command::Site(args) => std::process::exit(site::cli(&args)?),
    }
}
