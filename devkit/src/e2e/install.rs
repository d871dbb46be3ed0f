//! The first part: a node, images, stand-ins, the chart, and the examples with their workloads.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures::future::try_join_all;
use serde_json::{Value, json};

use super::change::{CONSUMERS, pods_have, sourced};
use super::error::Failure;
use super::helm::{Helm, REPOSITORY, SYSTEM};
use super::lease::LeaseWatch;
use super::objects;
use super::steps::REPLICAS;
use super::world::World;
use crate::cluster::{Arrival, HOST_ADDRESS, Node, POD_IMAGE};
use crate::controlplane::chart_tool;
use crate::demo::cluster;
use crate::demo::error::Failure as Seen;
use crate::demo::examples;
use crate::demo::manifests::{self, kind, text};
use crate::demo::report::Reporter;
use crate::demo::standin::{Site, StandIn};
use crate::demo::table::seconds;
use crate::remotes::{
    Dreadnode, DreadnodeOptions, Kelvin, KelvinOptions, Listen, Mixpeek, MixpeekOptions, TestCa, TlsOptions,
};

/// What the image is tagged with at first.
pub(super) const FIRST_TAG: &str = "e2e-1";
/// What it is upgraded to.
pub(super) const SECOND_TAG: &str = "e2e-2";
/// How long a Pod may take to answer.
const ANSWER: Duration = Duration::from_secs(2);

/// Brings up whatever is needed besides the operator. Whether the node was up before.
pub(super) async fn world(
    archive: &Path,
    report: &Arc<Reporter>,
    started: &Mutex<bool>,
) -> Result<(World, String), Failure> {
    report.heading("A node, images and remotes (the first time, the node's programs are built, which takes minutes)");
    let began = Instant::now();
    let helm = tokio::task::block_in_place(|| chart_tool("helm"))?;
    let (node, arrival) = Node::up().await?;
    let how = match arrival {
        Arrival::Already => "was up already".to_owned(),
        Arrival::Started(took) => {
            *started.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = true;
            format!("came up in {}", seconds(took))
        }
    };
    report.done(began.elapsed(), &format!("node {how}; KUBECONFIG={}", node.kubeconfig().display()));

    let began = Instant::now();
    let said = tokio::task::block_in_place(|| node.import(archive))?;
    let name = imported(&said)
        .ok_or_else(|| Failure::Archive { archive: archive.display().to_string(), output: said.clone() })?;
    for tag in [FIRST_TAG, SECOND_TAG] {
        node.tag(&name, &format!("{REPOSITORY}:{tag}"))?;
    }
    report.done(began.elapsed(), &format!("image {name} as {REPOSITORY}:{FIRST_TAG} and :{SECOND_TAG}"));

    let ca = TestCa::new("devkit stand-ins")?;
    let sites = stand_ins(&ca).await?;
    let urls: Vec<String> = sites.iter().map(|site| format!("{} {}", site.label, site.remote.url())).collect();
    for site in &sites {
        report.mask.watch(site.remote.clone());
    }
    report.done(Duration::ZERO, &format!("stand-ins: {}", urls.join(", ")));

    let client = node.client().await?;
    let http = reqwest::Client::builder().no_proxy().timeout(ANSWER).build();
    let http = http.map_err(|error| Seen::io("making an HTTP client", std::io::Error::other(error)))?;
    let helm = Helm::new(helm, &node.kubeconfig())?;
    let lease = LeaseWatch::start(client.clone(), SYSTEM);
    let (report, rows) = (report.clone(), Mutex::default());
    Ok((World { node, client, http, helm, lease, sites, report, rows }, ca.pem()))
}

/// A name of the image that ctr says it unpacked: `unpacking NAME (sha256:…)...done`, a line for each name. None for several images.
fn imported(said: &str) -> Option<String> {
    let lines = said.lines().filter_map(|line| line.trim().strip_prefix("unpacking ")?.split_once(' '));
    let (names, digests): (Vec<&str>, BTreeSet<&str>) = lines.unzip();
    names.first().filter(|_| digests.len() == 1).map(|&name| name.to_owned())
}

async fn stand_ins(ca: &TestCa) -> Result<Vec<Site>, Failure> {
    let identity = ca.server(&[HOST_ADDRESS])?;
    let address: IpAddr = HOST_ADDRESS.parse().map_err(|_| Failure::wrong("an address", HOST_ADDRESS))?;
    let tls = TlsOptions { identity, client_ca: None };
    let listen = || Listen { address, port: 0, tls: Some(tls.clone()) };
    let kelvin: Arc<dyn StandIn> =
        Arc::new(Kelvin::start(KelvinOptions { listen: listen(), ..Default::default() }).await?);
    let dreadnode: Arc<dyn StandIn> =
        Arc::new(Dreadnode::start(DreadnodeOptions { listen: listen(), ..Default::default() }).await?);
    let mixpeek: Arc<dyn StandIn> =
        Arc::new(Mixpeek::start(MixpeekOptions { listen: listen(), ..Default::default() }).await?);
    Ok(vec![
        Site::new(0, "Kelvin", "kelvin", true, kelvin),
        Site::new(1, "Dreadnode", "dreadnode", true, dreadnode),
        Site::new(2, "Mixpeek", "mixpeek", false, mixpeek),
    ])
}

/// Installs the chart into a namespace that wants the strictest Pod security.
pub(super) async fn chart(world: &World) -> Result<(), Failure> {
    world.report.heading("The chart is installed by helm, with two replicas");
    let level = json!({"pod-security.kubernetes.io/enforce": "restricted"});
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SYSTEM, "labels": level}});
    cluster::apply(&world.client, &namespace).await?;
    let began = Instant::now();
    world.helm.release("install", FIRST_TAG).await?;
    let took = began.elapsed();
    world.until(None, "the operator's Pods are ready", async || world.operator_complete(REPLICAS).await).await?;
    let look = async || world.lease.leader().map(drop).ok_or_else(|| "none does".to_owned());
    world.until(None, "a Pod leads", look).await?;
    world.step("chart installed by helm --wait", Some(took), world.account(), "2 Pods ready, one leads");
    Ok(())
}

/// Applies the examples and the workloads; everything arrives.
pub(super) async fn values(world: &mut World, ca: &str) -> Result<(), Failure> {
    world.report.heading("The examples for all three remotes, and workloads that consume the Secrets");
    let mut all = Vec::new();
    for site in &mut world.sites {
        let mut objects = manifests::folder(&examples(site))?;
        for object in &mut objects {
            match kind(object) {
                "VaultConnection" => objects::connect(object, &site.remote.url(), ca),
                "VaultSecret" => {
                    objects::restart_consumer(object);
                    site.object = manifests::outline(object);
                }
                _ => {}
            }
        }
        let (entry, ..) = sourced(site)?;
        objects.push(objects::consumer(&site.object, entry, POD_IMAGE, CONSUMERS));
        all.extend(objects);
    }
    let world = &*world;
    for values in
        all.iter().filter(|object| kind(object) == "Secret").filter_map(|object| object["stringData"].as_object())
    {
        // What is not secret is shorter, or a name.
        values
            .iter()
            .filter(|(key, _)| *key != "client-id")
            .for_each(|(_, value)| world.report.mask.learn(text(value, "")));
    }
    let began = Instant::now();
    for object in &all {
        cluster::apply(&world.client, object).await?;
    }
    world.settled(&world.all()).await?;
    let settled = began.elapsed();
    try_join_all(world.sites.iter().map(|site| arrived(world, site))).await?;
    let entries: usize = world.sites.iter().map(|site| site.object.entries.len()).sum();
    let writes = world.sites.iter().map(|site| (site.new_writes(), site.object.entries.len()));
    if let Some((writes, entries)) = writes.clone().find(|(writes, entries)| writes != entries) {
        return Err(Failure::wrong(
            format!("{entries} entries are made by as many writes"),
            format!("{writes} writes"),
        ));
    }
    let seen = format!("{entries} entries at the remotes after {}", seconds(settled));
    let pods = format!("examples applied: values in {} Pods", CONSUMERS * world.sites.len());
    world.step(&pods, Some(began.elapsed()), world.account(), &seen);
    Ok(())
}

/// The value is the source's: at the remote, and in the Pods' environment and files.
async fn arrived(world: &World, site: &Site) -> Result<(), Failure> {
    let (entry, secret, key) = sourced(site)?;
    let source = cluster::secret_value(&world.client, &site.object.namespace, secret, key).await;
    let value =
        source.ok().flatten().ok_or_else(|| Failure::wrong(format!("Secret {secret} has {key}"), "it has not"))?;
    if site.remote.value(&entry.remote_name).as_ref() != Some(&value) {
        return Err(Failure::wrong(format!("{} has the source's value", entry.remote_name), "another, or none"));
    }
    let expected = format!("the Pods in {} have the value", site.object.namespace);
    world.until(Some(site), &expected, async || pods_have(world, site, entry, &value).await).await.map(drop)
}

/// An object without what a person does not write.
pub(super) fn namespace(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_an_imported_image_is_read() {
        let said = "unpacking docker.io/library/vaultsecret-operator:dev (sha256:03ab)...done";
        assert_eq!(imported(said).as_deref(), Some("docker.io/library/vaultsecret-operator:dev"));
        let twice = "unpacking docker.io/library/x:e2e (sha256:0)...done\nunpacking localhost/x:e2e (sha256:0)...done";
        assert_eq!(imported(twice).as_deref(), Some("docker.io/library/x:e2e"));
        assert_eq!(imported("unpacking a:1 (sha256:0)...done\nunpacking b:1 (sha256:1)...done"), None);
        assert_eq!(imported(""), None);
    }
}
