//! A real Kubernetes node on this machine: `devkit cluster up`, `devkit cluster down`.
//!
//! etcd, API server, controller manager, scheduler, kubelet, kube-proxy, containerd with runc, a CNI bridge and CoreDNS run in
//! network, mount and PID namespaces of their own, so that Pods run as in a cluster and the machine stays as it is. One veth pair
//! joins the node to the machine; what listens at [`HOST_ADDRESS`] is reached by Pods. Killing the node's first process ends
//! everything in it.
//!
//! The programs of Kubernetes are built from pinned Go modules the first time and kept in the cache folder; containerd, runc and
//! the CNI plugins are the distribution's.

mod cgroups;
mod config;
mod error;
mod layout;
mod missing;
mod net;
mod node;
mod pod;
mod programs;
mod run;
mod up;

use std::fs::File;
use std::io::Write as _;
use std::path::PathBuf;
use std::time::Instant;

pub use config::POD_IMAGE;
pub use error::Error;
pub use net::HOST_ADDRESS;
pub use node::Node;
pub use pod::{Image, hash_of, write_archive};
pub use up::Arrival;

use crate::controlplane;

/// A real Kubernetes node on this machine, in namespaces of its own. Needs root.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Say what this machine lacks for a node, if anything.
    Check,
    /// Bring the node up in the background, and print the path of its admin kubeconfig.
    Up,
    /// End the node and remove everything that it left on this machine.
    Down,
    /// Give the node the images of an archive (docker save, or buildah push to oci-archive:).
    Import {
        /// The archive
        archive: PathBuf,
    },
}

/// Runs the subcommand; the exit code. Standard output has what a shell takes up; all else goes to standard error. What is
/// missing is a text for people, so nothing that is for developers of this program stands below it.
pub async fn cli(args: Args) -> i32 {
    match run_command(args.command).await {
        Ok(()) => 0,
        Err(error) => {
            controlplane::say(&controlplane::chain(error.as_ref()));
            1
        }
    }
}

async fn run_command(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Check => match missing::missing(&missing::look()) {
            Some(missing) => Err(Error::from(missing).into()),
            None => Ok(()),
        },
        Command::Up => {
            let (node, arrival) = Node::up().await?;
            let kubeconfig = node.kubeconfig().display().to_string();
            match arrival {
                Arrival::Already => controlplane::say("the node is up already"),
                Arrival::Started(took) => {
                    controlplane::say(&format!("the node is up after {:.1} s", took.as_secs_f64()));
                }
            }
            controlplane::say(&format!("logs: {}; end it with `make cluster-down`", node.logs().display()));
            print(&kubeconfig)
        }
        Command::Down => {
            let began = Instant::now();
            let was = Node::down().await?;
            controlplane::say(&match was {
                true => {
                    format!("the node is down after {:.1} s, and nothing is left of it", began.elapsed().as_secs_f64())
                }
                false => "no node is up".to_owned(),
            });
            Ok(())
        }
        Command::Import { archive } => {
            let node = Node::find().ok_or(Error::Down)?;
            print(&node.import(&archive)?)
        }
    }
}

fn print(line: &str) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}")?;
    Ok(out.flush()?)
}

/// One process at a time brings a node up or down; the others wait. The kernel lets go when the process ends.
fn lock() -> Result<File, Error> {
    let cache = controlplane::cache()?;
    std::fs::create_dir_all(&cache).map_err(Error::io(format!("making {}", cache.display())))?;
    let path = cache.join(".node.lock");
    let file = File::create(&path).map_err(Error::io(format!("making {}", path.display())))?;
    file.lock().map_err(Error::io(format!("locking {}", path.display())))?;
    Ok(file)
}
