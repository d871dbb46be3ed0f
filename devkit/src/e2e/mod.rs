//! `devkit e2e`: the operator on a real node, as a platform team runs it.
//!
//! The chart is installed by helm with two replicas, the examples for all three remotes are applied, and workloads consume the
//! Secrets. Then sources change, the leader is deleted, kubelet is restarted, the operator is upgraded and uninstalled. Each time
//! the values are followed into the running Pods, and the writes at the remotes are counted. What is not so ends the run.

mod change;
mod error;
mod helm;
mod install;
mod lease;
mod leave;
mod objects;
mod steps;
mod world;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::LogParams;

use crate::cluster::Node;
use crate::demo::cluster;
use crate::demo::mask::Mask;
use crate::demo::report::{Reporter, Style};
use crate::demo::state;
use error::Failure;
use helm::SYSTEM;
use world::World;

/// The shell's exit code of a program that Ctrl-C ended.
const INTERRUPTED: i32 = 130;
/// How many lines of each operator's log are shown after a failure.
const LOG_LINES: i64 = 40;

/// See the operator on a real node, installed by its chart; every value is followed and every remote write is counted. Needs root.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// Archive with the operator's image, as `make image OUT=FILE` writes it
    #[arg(long, env = "VAULTSECRET_IMAGE_ARCHIVE", value_name = "FILE")]
    pub image: PathBuf,
    /// How often the operator is upgraded, to and fro between two images
    #[arg(long, default_value_t = 1, value_name = "NUMBER")]
    pub rollouts: usize,
    /// Leave the node and the stand-ins running before the operator is uninstalled, until Ctrl-C
    #[arg(long)]
    pub keep: bool,
}

/// Runs it; the exit code. A node that it started is down when it returns, unless something went wrong or is to be kept.
pub async fn cli(args: Args) -> anyhow::Result<i32> {
    let report = Arc::new(Reporter::new(Arc::new(Mask::default()), false));
    let started = Mutex::new(false);
    let run = async {
        let (mut world, ca) = match install::world(&args.image, &report, &started).await {
            Ok(built) => built,
            Err(failure) => {
                failed(&report, &failure);
                return Ok(1);
            }
        };
        match story(&mut world, &ca, &args).await {
            Ok(()) => {}
            Err(failure) => {
                failed(&report, &failure);
                surroundings(&world).await;
                report.text(
                    Style::Plain,
                    &format!(
                        "\nThe node stays up: KUBECONFIG={}; end it with `make cluster-down`",
                        world.node.kubeconfig().display()
                    ),
                );
                return Ok(1);
            }
        }
        let started = *started.lock().unwrap_or_else(PoisonError::into_inner);
        if args.keep {
            kept(&world).await;
        } else if started {
            drop(world);
            let began = std::time::Instant::now();
            Node::down().await?;
            report.done(began.elapsed(), "node down; nothing is left of it");
        } else if let Err(failure) = leave::tidy(&world).await {
            failed(&report, &failure);
            return Ok(1);
        }
        Ok(0)
    };
    tokio::select! {
        code = run => code,
        _ = tokio::signal::ctrl_c() => {
            report.text(Style::Plain, "interrupted; a node that was started stays up, end it with `make cluster-down`");
            Ok(INTERRUPTED)
        }
    }
}

async fn story(world: &mut World, ca: &str, args: &Args) -> Result<(), Failure> {
    install::chart(world).await?;
    install::values(world, ca).await?;
    let world = &*world;
    steps::all(world, args.rollouts).await?;
    if !args.keep {
        leave::all(world).await?;
    }
    world.report.heading("Everything was seen");
    world.report.text(Style::Plain, &world.table());
    Ok(())
}

fn failed(report: &Reporter, failure: &Failure) {
    report.heading("FAILED");
    report.text(Style::Red, &failure.to_string());
}

/// Until Ctrl-C, which ends the whole run.
async fn kept(world: &World) {
    world.report.heading("Still running, until Ctrl-C; the node stays up after that (make cluster-down)");
    world.report.text(Style::Plain, &format!("  export KUBECONFIG={}", world.node.kubeconfig().display()));
    for site in &world.sites {
        world.report.text(Style::Plain, &format!("  {:<10} {}", site.label, site.remote.url()));
    }
    std::future::pending::<()>().await;
}

/// What tells why something did not come.
async fn surroundings(world: &World) {
    let report = &world.report;
    report.text(Style::Plain, &world.table());
    for site in world.sites.iter().filter(|site| !site.object.name.is_empty()) {
        let lines = match world.object(site).await {
            Ok(object) => state::lines(&object),
            Err(error) => vec![error],
        };
        report.heading(&format!(
            "VaultSecret {}/{}; {} writes since the last step",
            site.object.namespace,
            site.object.name,
            site.new_writes()
        ));
        report.text(Style::Plain, &lines.join("\n"));
        report.text(Style::Plain, &cluster::all_events(&world.client, &site.object.namespace).await.join("\n"));
    }
    let pods = Api::<Pod>::namespaced(world.client.clone(), SYSTEM);
    for pod in world.pods(SYSTEM, "").await.unwrap_or_default() {
        let name = pod.metadata.name.unwrap_or_default();
        let params = LogParams { tail_lines: Some(LOG_LINES), ..LogParams::default() };
        report.heading(&format!("the end of the log of {name}"));
        report.text(Style::Plain, &pods.logs(&name, &params).await.unwrap_or_else(|error| error.to_string()));
    }
    report.heading(&format!("events in {SYSTEM}"));
    report.text(Style::Plain, &cluster::all_events(&world.client, SYSTEM).await.join("\n"));
}
