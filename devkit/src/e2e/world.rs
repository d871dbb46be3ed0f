//! What runs during the end-to-end run, and looking at it until something is so.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures::future::try_join_all;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;
use kube::{Api, Client};
use serde_json::Value;

use super::error::Failure;
use super::helm::{Helm, SYSTEM};
use super::lease::{LeaseWatch, NAME};
use crate::cluster::Node;
use crate::demo::cluster;
use crate::demo::error::Failure as Seen;
use crate::demo::report::Reporter;
use crate::demo::standin::Site;
use crate::demo::state;
use crate::demo::table::{self, seconds};

/// How often something is looked at while it is awaited.
const POLL: Duration = Duration::from_millis(30);
/// How long one look may take.
const LOOK: Duration = Duration::from_secs(10);
/// For what comes at once, on a machine that may be busy.
pub(super) const SOON: Duration = Duration::from_secs(180);
/// The heading of the table at the end.
const HEADING: [&str; 4] = ["WHAT HAPPENED", "AFTER", "REMOTE WRITES", "SEEN"];

/// Everything that runs.
pub(super) struct World {
    /// The real node.
    pub(super) node: Node,
    /// A client that may do everything.
    pub(super) client: Client,
    /// For the workloads.
    pub(super) http: reqwest::Client,
    /// The chart.
    pub(super) helm: Helm,
    /// Who leads.
    pub(super) lease: LeaseWatch,
    /// The remotes and their examples.
    pub(super) sites: Vec<Site>,
    /// What the terminal shows.
    pub(super) report: std::sync::Arc<Reporter>,
    /// The table at the end.
    pub(super) rows: Mutex<Vec<Vec<String>>>,
}

impl World {
    /// Looks until `look` finds what is expected; how long that took.
    pub(super) async fn until(
        &self,
        site: Option<&Site>,
        expected: &str,
        look: impl AsyncFn() -> Result<(), String>,
    ) -> Result<Duration, Failure> {
        let began = Instant::now();
        self.report.pending(expected);
        loop {
            let seen = tokio::time::timeout(LOOK, look()).await.unwrap_or_else(|_| Err("no answer".to_owned()));
            let Err(seen) = seen else { return Ok(began.elapsed()) };
            if began.elapsed() >= SOON {
                let (expected, site) = (expected.to_owned(), site.map(|site| site.index));
                return Err(Seen::NotSeen { expected, deadline: SOON, seen, site }.into());
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// Shows a step, and adds it to the table.
    pub(super) fn step(&self, what: &str, after: Option<Duration>, writes: usize, seen: &str) {
        let cell = after.map_or_else(|| table::NOTHING.to_owned(), seconds);
        self.report.done(after.unwrap_or_default(), &format!("{what}; {seen}"));
        let row = vec![what.to_owned(), cell, writes.to_string(), seen.to_owned()];
        self.rows.lock().unwrap_or_else(PoisonError::into_inner).push(row);
    }

    /// The table.
    pub(super) fn table(&self) -> String {
        table::render(&HEADING, &self.rows.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Waits until the VaultSecrets of these sites and their connections are at rest.
    pub(super) async fn settled(&self, sites: &[&Site]) -> Result<(), Failure> {
        try_join_all(sites.iter().map(|site| self.site_settled(site))).await.map(drop)
    }

    async fn site_settled(&self, site: &Site) -> Result<(), Failure> {
        let object = &site.object;
        let expected = format!("VaultSecret {}/{} is Synced and nothing of it is open", object.namespace, object.name);
        let look = async || {
            let connection = cluster::custom("VaultConnection", &object.namespace, &object.connection);
            let found = cluster::get(&self.client, &connection).await?.unwrap_or_default();
            let (status, reason, message) = state::ready(&found);
            if (status, reason) != ("True", "Connected") {
                return Err(format!("the connection says Ready={status} {reason}: {message}"));
            }
            state::unrest(&self.object(site).await?, object.entries.len()).map_or(Ok(()), Err)
        };
        self.until(Some(site), &expected, look).await.map(drop)
    }

    /// The VaultSecret of a site as it is.
    pub(super) async fn object(&self, site: &Site) -> Result<Value, String> {
        let wanted = cluster::custom("VaultSecret", &site.object.namespace, &site.object.name);
        cluster::get(&self.client, &wanted).await?.ok_or_else(|| "there is no such VaultSecret".to_owned())
    }

    /// All sites.
    pub(super) fn all(&self) -> Vec<&Site> {
        self.sites.iter().collect()
    }

    /// Writes since the last step at all remotes; they are this step's from now on.
    pub(super) fn account(&self) -> usize {
        self.sites.iter().map(Site::account).sum()
    }

    /// Fails where there were writes at a remote that nobody asked for.
    pub(super) fn nothing_written(&self, when: &str) -> Result<(), Failure> {
        let writes: Vec<String> =
            self.sites.iter().map(|site| format!("{}: {}", site.label, site.new_writes())).collect();
        if self.sites.iter().all(|site| site.new_writes() == 0) {
            return Ok(());
        }
        Err(Failure::wrong(format!("no write at any remote {when}"), writes.join(", ")))
    }

    /// Waits until each remote was asked for its whole list again, which whoever leads does by the clock, and all is at rest;
    /// then there must have been no write.
    pub(super) async fn rest(&self, when: &str, lists: usize) -> Result<Duration, Failure> {
        let began = Instant::now();
        let from: Vec<u64> = self.sites.iter().map(Site::last_call).collect();
        let expected = format!("each remote is listed {lists} times {when}");
        let look = async || {
            let seen: Vec<usize> = self.sites.iter().zip(&from).map(|(site, seq)| site.lists_after(*seq)).collect();
            if seen.iter().all(|&seen| seen >= lists) { Ok(()) } else { Err(format!("lists so far: {seen:?}")) }
        };
        self.until(None, &expected, look).await?;
        self.settled(&self.all()).await?;
        self.nothing_written(when)?;
        Ok(began.elapsed())
    }

    /// The operator's Pods that are not about to end.
    pub(super) async fn operators(&self) -> Result<Vec<Pod>, String> {
        self.pods(SYSTEM, "app.kubernetes.io/name=vaultsecret-operator").await
    }

    /// Pods that are not about to end.
    pub(super) async fn pods(&self, namespace: &str, labels: &str) -> Result<Vec<Pod>, String> {
        let pods = Api::<Pod>::namespaced(self.client.clone(), namespace);
        let found = pods.list(&ListParams::default().labels(labels)).await.map_err(|error| error.to_string())?;
        Ok(found.items.into_iter().filter(|pod| pod.metadata.deletion_timestamp.is_none()).collect())
    }

    /// Whether the operator's Deployment is as its spec says, with all Pods ready and none on its way out.
    pub(super) async fn operator_complete(&self, wanted: i32) -> Result<(), String> {
        let deployments = Api::<Deployment>::namespaced(self.client.clone(), SYSTEM);
        let found = deployments.get(NAME).await.map_err(|error| error.to_string())?;
        let generation = found.metadata.generation;
        let status = found.status.unwrap_or_default();
        let counts = [status.replicas, status.updated_replicas, status.ready_replicas, status.available_replicas];
        let terminating = status.terminating_replicas.unwrap_or(0);
        if status.observed_generation == generation && counts.iter().all(|&n| n == Some(wanted)) && terminating == 0 {
            return Ok(());
        }
        Err(format!("replicas, updated, ready, available: {counts:?}; {terminating} end"))
    }
}

/// Whether a Pod says that it is ready.
pub(super) fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    conditions.iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

/// The image that a Pod's first container runs.
pub(super) fn image(pod: &Pod) -> &str {
    let containers = pod.spec.as_ref().map(|spec| spec.containers.as_slice()).unwrap_or_default();
    containers.first().and_then(|container| container.image.as_deref()).unwrap_or_default()
}

/// Name, uid and restarts of Pods, in an order.
pub(super) fn identities(pods: &[Pod]) -> Vec<(String, i32)> {
    let mut all: Vec<(String, i32)> = pods
        .iter()
        .map(|pod| {
            let containers = pod.status.as_ref().and_then(|status| status.container_statuses.as_deref());
            let restarts = containers.unwrap_or_default().iter().map(|container| container.restart_count).sum();
            (pod.metadata.uid.clone().unwrap_or_default(), restarts)
        })
        .collect();
    all.sort();
    all
}
