//! The chart, installed and upgraded as a person does it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::error::Failure;
use crate::demo::error::Failure as Seen;
use crate::demo::manifests::repository;

/// The release, its namespace, and the repository of its image.
pub(super) const RELEASE: &str = "vaultsecret-operator";
/// The operator's namespace.
pub(super) const SYSTEM: &str = "vaultsecret-system";
/// What the image is called in the node.
pub(super) const REPOSITORY: &str = "localhost/vaultsecret-operator";
/// How long helm may wait for Pods.
pub(super) const PATIENCE: Duration = Duration::from_secs(180);

/// The real helm, with nothing of the user's.
pub(super) struct Helm {
    program: PathBuf,
    kubeconfig: PathBuf,
    home: tempfile::TempDir,
}

impl Helm {
    /// For a cluster.
    pub(super) fn new(program: PathBuf, kubeconfig: &Path) -> Result<Self, Seen> {
        let home = tempfile::tempdir().map_err(|error| Seen::io("making a folder for helm", error))?;
        Ok(Self { program, kubeconfig: kubeconfig.to_owned(), home })
    }

    /// Installs the chart with two replicas of an image, or upgrades it, and waits until its Pods are ready.
    pub(super) async fn release(&self, verb: &str, tag: &str) -> Result<(), Failure> {
        let chart = repository().join("charts/vaultsecret-operator").display().to_string();
        let sets = [format!("image.repository={REPOSITORY}"), format!("image.tag={tag}"), "replicas=2".to_owned()];
        let mut args = vec![verb, RELEASE, &chart, "--wait"];
        args.extend(sets.iter().flat_map(|set| ["--set", set.as_str()]));
        self.run(&args).await
    }

    /// Uninstalls it and waits until that is done.
    pub(super) async fn uninstall(&self) -> Result<(), Failure> {
        self.run(&["uninstall", RELEASE, "--wait"]).await
    }

    async fn run(&self, args: &[&str]) -> Result<(), Failure> {
        let mut command = tokio::process::Command::new(&self.program);
        command
            .args(args)
            .args(["--namespace", SYSTEM, "--timeout", &format!("{}s", PATIENCE.as_secs()), "--kubeconfig"])
            .arg(&self.kubeconfig)
            .env_clear()
            .env("HOME", self.home.path())
            .env("PATH", "/usr/bin:/bin")
            .kill_on_drop(true);
        let done = command.output().await.map_err(|error| Seen::io("running helm", error))?;
        if done.status.success() {
            return Ok(());
        }
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
        let output = format!("{}\n{}", text(&done.stdout), text(&done.stderr));
        Err(Failure::Helm { args: args.join(" "), output: output.trim().to_owned() })
    }
}
