//! The first part: everything is started.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use kube::Client;

use super::Args;
use super::cluster;
use super::error::Failure;
use super::manifests::{self, kind};
use super::operator::{self, Operator};
use super::report::{Reporter, Style};
use super::standin::{Site, StandIn};
use super::world::{OPERATOR, World};
use crate::controlplane::{ControlPlane, Options};
use crate::remotes::{Dreadnode, DreadnodeOptions, Kelvin, KelvinOptions, Mixpeek, MixpeekOptions};

/// How long the API server may take to serve a new kind.
const ESTABLISHING: Duration = Duration::from_secs(30);
/// How long the operator may take until it is ready.
const READY: Duration = Duration::from_secs(60);
/// How often the API server is asked meanwhile.
const POLL: Duration = Duration::from_millis(20);

/// Starts the control plane, the stand-ins and the operator. The operator is not awaited yet.
pub(super) async fn everything(args: &Args, report: &Arc<Reporter>) -> Result<World, Failure> {
    report.heading("Starting (the first time, an API server is built, which takes minutes)");
    // Asked first: it would be a pity to find that out after those minutes.
    let program = operator::program(args.operator.clone())?;
    let began = Instant::now();
    let control_plane = ControlPlane::start(Options::default()).await?;
    report.done(
        began.elapsed(),
        &format!("control plane: etcd, API server, controller manager ({})", control_plane.url()),
    );

    let client = control_plane.admin_client();
    install(&client, report).await?;

    let began = Instant::now();
    let sites = stand_ins().await?;
    let urls: Vec<String> = sites.iter().map(|site| format!("{} {}", site.label, site.remote.url())).collect();
    for site in &sites {
        report.mask.watch(site.remote.clone());
    }
    report.done(began.elapsed(), &format!("stand-ins for the remotes: {}", urls.join(", ")));

    let (namespace, account) = OPERATOR;
    let kubeconfig = control_plane.service_account_kubeconfig(namespace, account).await?;
    let mut operator = Operator::start(&program, &kubeconfig, namespace, control_plane.folder())?;
    if args.verbose {
        operator.follow(report.clone());
    }
    Ok(World { operator, sites, client, control_plane, report: report.clone() })
}

/// Waits until the operator is ready.
pub(super) async fn operator_is_ready(world: &World) -> Result<(), Failure> {
    let expected = "the operator answers /readyz with 200";
    let took = world.until(None, expected, READY, async || world.operator.ready().await).await?;
    let (namespace, account) = OPERATOR;
    let text = format!("operator: process {} as ServiceAccount {namespace}/{account}", world.operator.id());
    world.report.done(took, &text);
    Ok(())
}

/// Applies deploy/cluster: definitions, namespace, service account and rights. No Pod would run here, so no Deployment.
async fn install(client: &Client, report: &Reporter) -> Result<(), Failure> {
    let began = Instant::now();
    let objects = manifests::kustomization(&manifests::repository().join("deploy/cluster"))?;
    let (definitions, others): (Vec<_>, Vec<_>) =
        objects.into_iter().partition(|object| kind(object) == "CustomResourceDefinition");
    for definition in &definitions {
        cluster::apply(client, definition).await?;
    }
    for definition in &definitions {
        report.pending(&format!("{} is established", cluster::describe(definition)));
        let asked = Instant::now();
        while let Err(seen) = cluster::established(client, definition).await {
            if asked.elapsed() > ESTABLISHING {
                let expected = "the API server serves the custom resources".to_owned();
                return Err(Failure::NotSeen { expected, deadline: ESTABLISHING, seen, site: None });
            }
            tokio::time::sleep(POLL).await;
        }
    }
    report.done(began.elapsed(), &format!("crds/: {} custom resource definitions", definitions.len()));

    let began = Instant::now();
    let others: Vec<_> = others.into_iter().filter(|object| kind(object) != "Deployment").collect();
    for object in &others {
        cluster::apply(client, object).await?;
    }
    let names: Vec<&str> = others.iter().map(kind).collect();
    report.done(began.elapsed(), &format!("deploy/cluster: {}", names.join(", ")));
    Ok(())
}

async fn stand_ins() -> Result<Vec<Site>, Failure> {
    let kelvin: Arc<dyn StandIn> = Arc::new(Kelvin::start(KelvinOptions::default()).await?);
    let dreadnode: Arc<dyn StandIn> = Arc::new(Dreadnode::start(DreadnodeOptions::default()).await?);
    let mixpeek: Arc<dyn StandIn> = Arc::new(Mixpeek::start(MixpeekOptions::default()).await?);
    Ok(vec![
        Site::new(0, "Kelvin", "kelvin", true, kelvin),
        Site::new(1, "Dreadnode", "dreadnode", true, dreadnode),
        Site::new(2, "Mixpeek", "mixpeek", false, mixpeek),
    ])
}

/// Where the examples are.
pub(crate) fn examples(site: &Site) -> PathBuf {
    manifests::repository().join("examples").join(site.folder)
}

/// Says what one can play with.
pub(super) fn show_addresses(world: &World) {
    let report = &world.report;
    report.heading("Still running, until Ctrl-C");
    report.text(Style::Plain, &format!("  export KUBECONFIG={}", world.control_plane.admin_kubeconfig().display()));
    if let Some(kubectl) = world.control_plane.binaries().kubectl() {
        report.text(Style::Plain, &format!("  {} get vsec -A", kubectl.display()));
    }
    for site in &world.sites {
        report.text(Style::Plain, &format!("  {:<10} {}", site.label, site.remote.url()));
    }
    report.text(Style::Plain, &format!("  {:<10} {}/metrics", "operator", world.operator.url()));
    report.text(Style::Plain, "  calls at the remotes, but for lists:");
}
