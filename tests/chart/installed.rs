//! A control plane of its own with the chart installed, and the real operator beside it as the account that the chart makes, under
//! the rights and policies that it renders. Nothing runs Pods there; the suite says of them what a kubelet would say.

use std::sync::Arc;

use devkit::controlplane::Options;
use kube::Client;
use kube::api::{ListParams, Patch, PatchParams};
use serde_json::{Value, json};

use crate::cluster::{api, apply_all, eventually, namespace};
use crate::common::{Cluster, Operator, OperatorOptions, Scene};
use crate::helm::{SYSTEM, render};

/// The account that the chart makes.
pub const ACCOUNT: &str = "vaultsecret-operator";

/// Namespaces that are there before the chart is installed.
pub const SHOP: &str = "shop";

/// A control plane with the chart installed.
pub struct Installed {
    /// The control plane.
    pub cluster: Arc<Cluster>,
    /// Who may do everything.
    pub admin: Client,
    /// What was rendered.
    pub rendered: Vec<Value>,
}

impl Installed {
    /// A control plane with namespaces and nothing else.
    pub async fn nothing() -> Self {
        let cluster = Arc::new(Cluster::bare(Options::default()).await);
        let admin = cluster.admin_client();
        for name in [SHOP, "blog"] {
            namespace(&admin, name, json!({})).await;
        }
        Self { cluster, admin, rendered: Vec::new() }
    }

    /// Installs the chart with these values.
    pub async fn install(&mut self, set: &[&str]) {
        namespace(&self.admin, SYSTEM, json!({"pod-security.kubernetes.io/enforce": "restricted"})).await;
        self.rendered = render(&set.iter().flat_map(|set| ["--set", set]).collect::<Vec<_>>());
        apply_all(&self.admin, &self.rendered).await;
        // Its garbage collector would learn of the new kinds too late.
        self.cluster.restart_controller_manager().await.unwrap();
    }

    /// The same from the start.
    pub async fn new(set: &[&str]) -> Self {
        let mut made = Self::nothing().await;
        made.install(set).await;
        made
    }

    /// Says of the operator's Pods that they run and are ready, as a kubelet would; their names.
    pub async fn pods_run(&self) -> Vec<String> {
        let pods = api(&self.admin, "v1", "Pod", SYSTEM);
        let mut names = Vec::new();
        eventually("the Pods are made", async || {
            let all = pods.list(&ListParams::default()).await.unwrap().items;
            names = all.into_iter().filter_map(|pod| pod.metadata.name).collect();
            names.len() == 2
        })
        .await;
        for name in &names {
            let status = json!({"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}],
                "containerStatuses": [{"name": "operator", "image": "", "imageID": "", "ready": true, "restartCount": 0,
                    "state": {"running": {"startedAt": null}}}]});
            self.pod_says(name, status).await;
        }
        let deployments = api(&self.admin, "apps/v1", "Deployment", SYSTEM);
        eventually("the Deployment has counted them", async || {
            let found = deployments.get(ACCOUNT).await.unwrap();
            found.data.pointer("/status/readyReplicas") == Some(&json!(2))
        })
        .await;
        names
    }

    /// Sets the status of a Pod.
    pub async fn pod_says(&self, name: &str, status: Value) {
        let pods = api(&self.admin, "v1", "Pod", SYSTEM);
        let patch = Patch::Merge(json!({"status": status}));
        pods.patch_status(name, &PatchParams::default(), &patch).await.unwrap();
    }

    /// Runs the operator as the chart's account, in the place of a Pod.
    pub async fn operator(&self, pod: Option<&str>, args: &[&str]) -> Arc<Operator> {
        let kubeconfig = self.cluster.service_account_kubeconfig(SYSTEM, ACCOUNT).await.unwrap();
        let args = ["--leader-elect=true"].iter().chain(args).map(|&arg| arg.to_owned()).collect();
        let options = OperatorOptions { kubeconfig, system: SYSTEM.to_owned(), args, host: pod.map(str::to_owned) };
        Arc::new(Operator::start(&self.cluster, options).await)
    }

    /// A scene in a namespace.
    pub fn scene(&self, operator: &Arc<Operator>, namespace: &str) -> Scene {
        Scene::of(Arc::clone(&self.cluster), Arc::clone(operator), namespace)
    }
}
