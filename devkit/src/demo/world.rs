//! What runs during the demo, and looking at it until something is so.

use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::try_join_all;
use kube::Client;
use serde_json::Value;

use super::cluster;
use super::error::Failure;
use super::operator::{Operator, isolate};
use super::report::Reporter;
use super::standin::Site;
use super::state;
use super::table;
use crate::controlplane::ControlPlane;

/// How often something is looked at while it is awaited.
const POLL: Duration = Duration::from_millis(20);
/// How long one look may take.
const LOOK: Duration = Duration::from_secs(10);
/// How long a write may take to settle and to be recorded.
const SETTLING: Duration = Duration::from_secs(60);

/// The namespace and the service account of the operator, as deploy/ names them.
pub(super) const OPERATOR: (&str, &str) = ("vaultsecret-system", "vaultsecret-operator");

/// Everything that runs. Dropped in this order: the operator ends before what it leans on.
pub(super) struct World {
    /// The operator.
    pub(super) operator: Operator,
    /// The remotes and their examples.
    pub(super) sites: Vec<Site>,
    /// A client that may do everything.
    pub(super) client: Client,
    /// The API server.
    pub(super) control_plane: ControlPlane,
    /// What the terminal shows.
    pub(super) report: Arc<Reporter>,
}

impl World {
    /// Looks until `look` finds what is expected. It says what it saw instead otherwise; a failing look is one of those.
    pub(super) async fn until(
        &self,
        site: Option<&Site>,
        expected: &str,
        deadline: Duration,
        look: impl AsyncFn() -> Result<(), String>,
    ) -> Result<Duration, Failure> {
        let began = Instant::now();
        self.report.pending(expected);
        loop {
            let seen = tokio::time::timeout(LOOK, look()).await.unwrap_or_else(|_| Err("no answer".to_owned()));
            let Err(seen) = seen else { return Ok(began.elapsed()) };
            let expected = || expected.to_owned();
            if let Some(status) = self.operator.ended() {
                return Err(Failure::OperatorEnded { status, expected: expected() });
            }
            if began.elapsed() >= deadline {
                let site = site.map(|site| site.index);
                return Err(Failure::NotSeen { expected: expected(), deadline, seen, site });
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// The VaultSecret of a site as it is.
    pub(super) async fn object(&self, site: &Site) -> Result<Value, String> {
        let wanted = cluster::custom("VaultSecret", &site.object.namespace, &site.object.name);
        cluster::get(&self.client, &wanted).await?.ok_or_else(|| "there is no such VaultSecret".to_owned())
    }

    /// What the connection of a site says of itself: status, reason and message.
    pub(super) async fn connection(&self, site: &Site) -> Result<String, String> {
        let wanted = cluster::custom("VaultConnection", &site.object.namespace, &site.object.connection);
        let found =
            cluster::get(&self.client, &wanted).await?.ok_or_else(|| "there is no such connection".to_owned())?;
        let (status, reason, message) = state::ready(&found);
        Ok(format!("Ready={status} {reason}: {message}"))
    }

    /// Waits until the connection of a site says that it is connected.
    pub(super) async fn connected(&self, site: &Site) -> Result<(), Failure> {
        let expected =
            format!("VaultConnection {}/{} is Ready, Connected", site.object.namespace, site.object.connection);
        let look = async || match self.connection(site).await? {
            said if said.starts_with("Ready=True Connected") => Ok(()),
            said => Err(said),
        };
        self.until(Some(site), &expected, SETTLING, look).await.map(drop)
    }

    /// Waits until a site's VaultSecret is Synced and no write of it is open.
    pub(super) async fn settled(&self, site: &Site) -> Result<(), Failure> {
        let expected = format!(
            "VaultSecret {}/{} is Ready, Synced, and all of its {} entries are in sync and settled",
            site.object.namespace,
            site.object.name,
            site.object.entries.len()
        );
        let look = async || match state::unrest(&self.object(site).await?, site.object.entries.len()) {
            Some(unrest) => Err(unrest),
            None => Ok(()),
        };
        self.until(Some(site), &expected, SETTLING, look).await.map(drop)
    }

    /// Waits until all sites are settled, and their connections connected.
    pub(super) async fn all_settled(&self) -> Result<(), Failure> {
        try_join_all(self.sites.iter().map(|site| self.connected(site))).await?;
        try_join_all(self.sites.iter().map(|site| self.settled(site))).await.map(drop)
    }

    /// A value of the Secret that a site's VaultSecret is projected into.
    pub(super) async fn projected(&self, site: &Site, key: &str) -> Result<Option<String>, String> {
        cluster::secret_value(&self.client, &site.object.namespace, &site.object.target, key).await
    }

    /// What kubectl answers; nothing where there is none, or where it fails.
    pub(super) async fn kubectl(&self, args: &[&str]) -> Option<String> {
        let kubectl = self.control_plane.binaries().kubectl()?;
        let mut command = Command::new(kubectl);
        isolate(&mut command, self.control_plane.admin_kubeconfig());
        command.args(args).arg("--cache-dir").arg(self.control_plane.folder().join("kubectl-cache"));
        let output = tokio::process::Command::from(command).kill_on_drop(true).output();
        let output = tokio::time::timeout(LOOK, output).await.ok()?.ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Shows all VaultSecrets, as kubectl prints them; the same columns where there is no kubectl.
    pub(super) async fn show_objects(&self) -> Result<(), Failure> {
        self.report.indented("$ kubectl get vsec -A");
        if let Some(shown) = self.kubectl(&["get", "vsec", "-A"]).await {
            self.report.indented(&shown);
            return Ok(());
        }
        let mut rows = Vec::new();
        for site in &self.sites {
            let wrong = |seen| Failure::Wrong { expected: "the VaultSecret".to_owned(), seen, site: Some(site.index) };
            rows.push(state::cells(&self.object(site).await.map_err(wrong)?));
        }
        let heading = ["NAMESPACE", "NAME", "CONNECTION", "SYNCED", "READY", "REASON"];
        self.report.indented(&table::render(&heading, &rows));
        Ok(())
    }
}
