//! A control plane with the custom resources installed, and the rights that `deploy/` gives within the policies of the chart.

use std::ops::Deref;
use std::path::PathBuf;
use std::sync::Arc;

use devkit::controlplane::{ControlPlane, Options, chain};
use kube::Client;
use serde_json::{Value, json};
use tokio::sync::OnceCell;

use super::manifests::{self, api, apply};
use super::{PATIENCE, POLL};

/// Where `deploy/` puts the operator.
pub const SYSTEM: &str = "vaultsecret-system";

/// The service account that `deploy/` makes.
pub const ACCOUNT: &str = "vaultsecret-operator";

enum Running {
    Shared(&'static ControlPlane),
    Own(Box<ControlPlane>),
}

/// A control plane with the custom resources installed.
pub struct Cluster(Running);

impl Deref for Cluster {
    type Target = ControlPlane;

    fn deref(&self) -> &ControlPlane {
        match &self.0 {
            Running::Shared(shared) => shared,
            Running::Own(own) => own,
        }
    }
}

impl Cluster {
    /// The one that all tests of this binary share.
    pub async fn shared() -> Arc<Self> {
        static SHARED: OnceCell<Arc<Cluster>> = OnceCell::const_new();
        let start = async || {
            let cluster = Self(Running::Shared(ControlPlane::shared().await));
            cluster.install(|_| {}).await;
            Arc::new(cluster)
        };
        Arc::clone(SHARED.get_or_init(start).await)
    }

    /// One of the test's own, for a test that stops its parts or changes the definitions; `adjust` sees each definition before it
    /// is installed.
    pub async fn own(options: Options, adjust: impl Fn(&mut Value)) -> Arc<Self> {
        let cluster = Self::bare(options).await;
        cluster.install(adjust).await;
        Arc::new(cluster)
    }

    /// One of the test's own without any of the custom resources.
    pub async fn bare(options: Options) -> Self {
        let started = ControlPlane::start(options).await;
        let own = started.unwrap_or_else(|error| panic!("no control plane: {}", chain(&error)));
        Self(Running::Own(Box::new(own)))
    }

    async fn install(&self, adjust: impl Fn(&mut Value)) {
        self.install_adjusted(|_| true, adjust).await;
    }

    /// Installs the definitions whose names are wanted.
    pub async fn install_some(&self, wanted: impl Fn(&str) -> bool) {
        self.install_adjusted(wanted, |_| {}).await;
    }

    async fn install_adjusted(&self, wanted: impl Fn(&str) -> bool, adjust: impl Fn(&mut Value)) {
        let client = self.admin_client();
        let mut names = Vec::new();
        let all = definitions().into_iter();
        for mut definition in all.filter(|d| d["metadata"]["name"].as_str().is_some_and(&wanted)) {
            adjust(&mut definition);
            let applied = apply(&client, &definition).await;
            let applied = applied.unwrap_or_else(|error| panic!("installing a definition: {}", chain(&error)));
            names.extend(applied.metadata.name);
        }
        assert!(!names.is_empty(), "crds/ holds no definition");
        for name in &names {
            let began = std::time::Instant::now();
            while !established(&client, name).await {
                assert!(began.elapsed() < PATIENCE, "the definition {name} is not established");
                tokio::time::sleep(POLL).await;
            }
        }
        // Its garbage collector would learn of the new kinds too late.
        if self.process_ids().iter().any(|(name, _)| name.contains("controller-manager")) {
            let restarted = self.restart_controller_manager().await;
            restarted.unwrap_or_else(|error| panic!("restarting the controller manager: {}", chain(&error)));
        }
    }

    /// Installs what `deploy/cluster` grants, and returns a kubeconfig of the operator's account.
    pub async fn cluster_rights(&self) -> PathBuf {
        let client = self.admin_client();
        let base = ["deploy/base/namespace.yaml", "deploy/base/serviceaccount.yaml", "deploy/cluster/rbac.yaml"];
        for manifest in base.iter().flat_map(|path| manifests::read(path)) {
            install(&client, &manifest).await;
        }
        self.policies(SYSTEM).await;
        self.kubeconfig(SYSTEM).await
    }

    /// Installs the policies with which the chart binds the operator's account, as the chart's snapshot has them, for an operator
    /// in `system`: what it does in any test it must be able to do under them.
    async fn policies(&self, system: &str) {
        let client = self.admin_client();
        for manifest in manifests::read("tests/chart/snapshots/default.yaml") {
            if manifest["kind"].as_str().is_some_and(|kind| kind.starts_with("ValidatingAdmissionPolicy")) {
                let text = manifest.to_string().replace(SYSTEM, system);
                install(&client, &serde_json::from_str(&text).unwrap()).await;
            }
        }
    }

    /// Installs what `deploy/namespaced` grants for one watched namespace, with an operator's namespace `system` of its own, and
    /// returns a kubeconfig of the operator's account.
    pub async fn namespaced_rights(&self, system: &str, watched: &str) -> PathBuf {
        let client = self.admin_client();
        let own = ["deploy/base/namespace.yaml", "deploy/base/serviceaccount.yaml", "deploy/namespaced/rbac.yaml"];
        for manifest in own.iter().flat_map(|path| manifests::read(path)) {
            install(&client, &renamed(manifest, system)).await;
        }
        for manifest in manifests::read("deploy/namespaced/namespace-role/rbac.yaml") {
            // What the kustomization of a watched namespace does.
            let mut manifest = renamed(manifest, system);
            manifest["metadata"]["namespace"] = json!(watched);
            install(&client, &manifest).await;
        }
        self.policies(system).await;
        self.kubeconfig(system).await
    }

    /// A kubeconfig of the account of an operator with a namespace `system` of its own, whose rights stay as they are.
    pub async fn namespaced_account(&self, system: &str) -> PathBuf {
        self.kubeconfig(system).await
    }

    async fn kubeconfig(&self, namespace: &str) -> PathBuf {
        let made = self.service_account_kubeconfig(namespace, ACCOUNT).await;
        made.unwrap_or_else(|error| panic!("a kubeconfig for the operator: {}", chain(&error)))
    }
}

/// The definitions in `crds/`.
fn definitions() -> Vec<Value> {
    let folder = manifests::in_repository("crds");
    let entries = std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    files.sort();
    let yaml = files.iter().filter(|name| name.ends_with(".yaml") && *name != "kustomization.yaml");
    yaml.flat_map(|name| manifests::read(&format!("crds/{name}"))).collect()
}

async fn established(client: &Client, name: &str) -> bool {
    let Ok(found) = api(client, "CustomResourceDefinition", "").get(name).await else { return false };
    let conditions = found.data.pointer("/status/conditions").and_then(Value::as_array).cloned().unwrap_or_default();
    conditions.iter().any(|condition| condition["type"] == "Established" && condition["status"] == "True")
}

async fn install(client: &Client, manifest: &Value) {
    if let Err(error) = apply(client, manifest).await {
        panic!("applying {} {}: {}", manifest["kind"], manifest["metadata"]["name"], chain(&error));
    }
}

/// Puts another name wherever a manifest names the operator's namespace.
fn renamed(manifest: Value, system: &str) -> Value {
    match manifest {
        Value::String(text) if text == SYSTEM => Value::String(system.to_owned()),
        Value::Array(items) => items.into_iter().map(|item| renamed(item, system)).collect(),
        Value::Object(fields) => fields.into_iter().map(|(name, field)| (name, renamed(field, system))).collect(),
        other => other,
    }
}

/// Makes a definition one of an older operator: it has no rules, and accepts fields and types that it does not know.
pub fn without_validation(definition: &mut Value) {
    for version in definition["spec"]["versions"].as_array_mut().into_iter().flatten() {
        let anything = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
        version["schema"] = json!({"openAPIV3Schema": {
            "type": "object", "properties": {"spec": anything, "status": anything},
        }});
    }
}
