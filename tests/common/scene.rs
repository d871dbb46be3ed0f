//! A test's own part of a cluster, and what is told of it when the test fails.

use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use devkit::controlplane::{AuditMark, AuditRecord, Options, chain};
use kube::Client;
use kube::api::{DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use super::manifests::{self, USER, api_version, is_namespaced};
use super::setup::merged;
use super::{Cluster, Object, Operator, Remote};

/// The beginning of every token that Kelvin's identity provider hands out.
const TOKEN: &str = "eyJhbGciOi";

/// A namespace, the operator that looks after it, and the remotes of the test. When it ends, the operator's log is searched
/// for the secrets of the test; when the test failed, it says what there was.
pub struct Scene {
    /// The cluster.
    pub cluster: Arc<Cluster>,
    /// The operator.
    pub operator: Arc<Operator>,
    /// The test's namespace.
    pub namespace: String,
    /// A client that may do everything.
    pub client: Client,
    log_start: u64,
    canaries: Mutex<Vec<String>>,
    remotes: Mutex<Vec<Arc<Remote>>>,
}

impl Scene {
    /// A namespace with the operator that all tests of this binary share. It must not be stopped.
    pub async fn new(prefix: &str) -> Self {
        let operator = Operator::shared().await;
        Self::with(Cluster::shared().await, prefix, async |_, _| operator).await
    }

    /// A namespace with an operator of its own, which knows no other and has the rights of `deploy/namespaced`. It may be stopped
    /// and killed; `args` are added to its arguments.
    pub async fn isolated(prefix: &str, args: &[&str]) -> Self {
        Self::isolated_in(Cluster::shared().await, prefix, args).await
    }

    /// The same in a cluster of its own.
    pub async fn alone(prefix: &str, args: &[&str]) -> Self {
        Self::isolated_in(Cluster::own(Options::default(), |_| {}).await, prefix, args).await
    }

    async fn isolated_in(cluster: Arc<Cluster>, prefix: &str, args: &[&str]) -> Self {
        let start =
            async |cluster: &Cluster, namespace: &str| Arc::new(Operator::namespaced(cluster, namespace, args).await);
        Self::with(cluster, prefix, start).await
    }

    /// A control plane of its own, whose parts may be stopped, with an operator for all namespaces. `adjust` sees each definition
    /// before it is installed.
    pub async fn own_cluster(prefix: &str, options: Options, adjust: impl Fn(&mut Value), args: &[&str]) -> Self {
        let start = async |cluster: &Cluster, _: &str| Arc::new(Operator::cluster_wide(cluster, args).await);
        Self::with(Cluster::own(options, adjust).await, prefix, start).await
    }

    /// A further scene beside this one: another namespace with the same cluster and operator.
    pub async fn beside(&self, prefix: &str) -> Self {
        let operator = Arc::clone(&self.operator);
        Self::with(Arc::clone(&self.cluster), prefix, async |_, _| operator).await
    }

    /// A scene in a namespace of a cluster that the test set up itself, with the operator that it started there.
    pub fn of(cluster: Arc<Cluster>, operator: Arc<Operator>, namespace: &str) -> Self {
        Self {
            client: cluster.admin_client(),
            log_start: operator.log_end(),
            namespace: namespace.to_owned(),
            operator,
            cluster,
            canaries: Mutex::default(),
            remotes: Mutex::default(),
        }
    }

    async fn with(
        cluster: Arc<Cluster>,
        prefix: &str,
        operator: impl AsyncFnOnce(&Cluster, &str) -> Arc<Operator>,
    ) -> Self {
        let namespace = cluster.namespace(prefix).await;
        let operator = operator(&cluster, &namespace).await;
        Self::of(cluster, operator, &namespace)
    }

    /// A text that is in the world once, and that must not turn up where a secret must not be.
    pub fn canary(&self, what: &str) -> String {
        let canary = format!("canary-{}-{}", what.replace(' ', "-"), uuid::Uuid::new_v4().simple());
        self.secret_text(&canary);
        canary
    }

    /// Says that a text must not turn up either, such as a generated value.
    pub fn secret_text(&self, text: &str) {
        self.canaries.lock().unwrap_or_else(PoisonError::into_inner).push(text.to_owned());
    }

    /// Takes a remote into the report of a failed test.
    pub fn watch(&self, remote: Remote) -> Arc<Remote> {
        let remote = Arc::new(remote);
        self.remotes.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&remote));
        remote
    }

    /// A manifest, of a kind with namespaces in this one.
    pub fn manifest(&self, kind: &str, name: &str, body: Value) -> Value {
        let mut head = json!({"apiVersion": api_version(kind), "kind": kind, "metadata": {"name": name}});
        if is_namespaced(kind) {
            head["metadata"]["namespace"] = json!(self.namespace);
        }
        merged(head, body)
    }

    /// Makes an object; `body` is the manifest without apiVersion, kind, name and namespace.
    pub async fn create(&self, kind: &str, name: &str, body: Value) -> Object {
        match self.try_create(kind, name, body).await {
            Ok(object) => object,
            Err(error) => panic!("creating {kind} {name}: {}", chain(&error)),
        }
    }

    /// Makes an object, or hears why not.
    pub async fn try_create(&self, kind: &str, name: &str, body: Value) -> kube::Result<Object> {
        let object = serde_json::from_value(self.manifest(kind, name, body)).unwrap();
        let params = PostParams { field_manager: Some(USER.to_owned()), ..PostParams::default() };
        self.api(kind).create(&params, &object).await.map(to_object)
    }

    /// Applies a whole manifest, of any namespace, as `kubectl apply --server-side` does.
    pub async fn apply(&self, manifest: &Value) -> Object {
        match manifests::apply(&self.client, manifest).await {
            Ok(object) => to_object(object),
            Err(error) => panic!("applying {} {}: {}", manifest["kind"], manifest["metadata"]["name"], chain(&error)),
        }
    }

    /// Changes an object by a merge patch.
    pub async fn patch(&self, kind: &str, name: &str, patch: Value) -> Object {
        match self.try_patch(kind, name, patch).await {
            Ok(object) => object,
            Err(error) => panic!("changing {kind} {name}: {}", chain(&error)),
        }
    }

    /// Changes an object by a merge patch, or hears why not.
    pub async fn try_patch(&self, kind: &str, name: &str, patch: Value) -> kube::Result<Object> {
        let params = PatchParams { field_manager: Some(USER.to_owned()), ..PatchParams::default() };
        self.api(kind).patch(name, &params, &Patch::Merge(&patch)).await.map(to_object)
    }

    /// Changes the spec of a VaultSecret by a merge patch.
    pub async fn edit(&self, name: &str, spec: Value) -> Object {
        self.patch("VaultSecret", name, json!({"spec": spec})).await
    }

    /// Sets an annotation.
    pub async fn annotate(&self, kind: &str, name: &str, annotation: &str, value: &str) -> Object {
        self.patch(kind, name, json!({"metadata": {"annotations": {annotation: value}}})).await
    }

    /// Deletes an object, without waiting until it is gone.
    pub async fn delete(&self, kind: &str, name: &str) {
        if let Err(error) = self.api(kind).delete(name, &DeleteParams::background()).await {
            panic!("deleting {kind} {name}: {}", chain(&error));
        }
    }

    /// An object, if it is there. What the operator wrote into its status must hold no secret.
    pub async fn get(&self, kind: &str, name: &str) -> Option<Object> {
        // An API server that is being stopped by the test does not answer; what is not seen may be there all the same.
        let found =
            self.api(kind).get_opt(name).await.unwrap_or_else(|error| panic!("reading {kind} {name}: {error}"))?;
        let object = to_object(found);
        self.expect_no_secret(&format!("the status of {kind} {name}"), &object.at("/status").to_string());
        Some(object)
    }

    /// An object that must be there.
    pub async fn expect(&self, kind: &str, name: &str) -> Object {
        self.get(kind, name).await.unwrap_or_else(|| panic!("there is no {kind} {name}"))
    }

    /// The objects of a kind in this namespace.
    pub async fn list(&self, kind: &str) -> Vec<Object> {
        let all = self.api(kind).list(&ListParams::default()).await.unwrap();
        let objects: Vec<_> = all.items.into_iter().map(to_object).collect();
        if kind == "Event" {
            for event in &objects {
                self.expect_no_secret("an event", &event.0.to_string());
            }
        }
        objects
    }

    /// The objects of a kind, for what is not here.
    pub fn api(&self, kind: &str) -> kube::Api<DynamicObject> {
        manifests::api(&self.client, kind, &self.namespace)
    }

    /// A place in the audit log, for [`writes_since`](Self::writes_since).
    pub fn mark(&self) -> AuditMark {
        self.cluster.audit().mark()
    }

    /// What the operator wrote in this namespace since then, events too.
    pub fn writes_since(&self, mark: AuditMark) -> Vec<AuditRecord> {
        let writes = ["create", "update", "patch", "delete", "deletecollection"];
        self.asked_since(mark, |record| writes.contains(&&*record.verb))
    }

    /// What the operator asked of the API server in this namespace since then.
    pub fn asked_since(&self, mark: AuditMark, wanted: impl Fn(&AuditRecord) -> bool) -> Vec<AuditRecord> {
        let user = self.operator.user();
        let mine = |record: &AuditRecord| record.user == user && record.namespace == self.namespace && wanted(record);
        self.cluster.audit().requests_after(mark, mine)
    }

    /// Fails when a text holds a secret of this test, plain or in base64.
    pub fn expect_no_secret(&self, place: &str, text: &str) {
        let canaries = self.canaries.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for canary in &canaries {
            let encoded = base64::engine::general_purpose::STANDARD.encode(canary);
            for secret in [canary, encoded.trim_end_matches('=')] {
                if let Some(at) = text.find(secret) {
                    let line_start = text[..at].rfind('\n').map_or(0, |end| end + 1);
                    panic!("a secret is in {place}: …{}", &text[line_start..at + secret.len()]);
                }
            }
        }
        assert!(!text.contains(TOKEN), "a token is in {place}");
    }

    fn report(&self) {
        eprintln!("──── namespace {} ────", self.namespace);
        for remote in self.remotes.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            eprintln!("── calls at {} ({:?})", remote.kind().member(), remote.entries());
            for call in remote.requests() {
                eprintln!(
                    "{} {:?} {} {} → {:?} ({:?}, processed: {}, fault: {:?})",
                    call.at,
                    call.op,
                    call.name.unwrap_or_default(),
                    call.line,
                    call.status,
                    call.outcome,
                    call.processed,
                    call.fault
                );
            }
        }
        if let Some(kubectl) = self.cluster.binaries().kubectl() {
            for what in ["vaultsecrets,vaultconnections", "secrets", "events.events.k8s.io"] {
                let format = if what == "secrets" { "wide" } else { "yaml" };
                let mut command = Command::new(&kubectl);
                command.args([
                    "get",
                    what,
                    "-o",
                    format,
                    "--request-timeout=5s",
                    "-n",
                    &self.namespace,
                    "--kubeconfig",
                ]);
                let output = command.arg(self.cluster.admin_kubeconfig()).output();
                let text = output.map(|o| String::from_utf8_lossy(&o.stdout).into_owned()).unwrap_or_default();
                eprintln!("── {what}\n{text}");
            }
        }
        let log = self.operator.log_since(self.log_start);
        let mine: Vec<&str> = log.lines().filter(|line| line.contains(&*self.namespace)).collect();
        eprintln!("── the operator's last lines about this namespace");
        for line in &mine[mine.len().saturating_sub(80)..] {
            eprintln!("{line}");
        }
        let bad = log.lines().filter(|line| line.contains("\"ERROR\"") || line.contains("panicked"));
        for line in bad.filter(|line| !line.contains(&*self.namespace)).take(10) {
            eprintln!("── elsewhere: {line}");
        }
    }
}

impl Scene {
    /// The remotes end with the test; without its connections the operator does not ask for them for ever.
    fn forget_connections(&self) {
        let (cluster, namespace) = (Arc::clone(&self.cluster), self.namespace.clone());
        // A client works only in the runtime that it was made in, and that of the test is ending.
        let forget = move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.unwrap().block_on(async {
                let connections = manifests::api(&cluster.admin_client(), "VaultConnection", &namespace);
                let params = DeleteParams::default();
                let all = ListParams::default();
                let deleted = connections.delete_collection(&params, &all);
                // An API server that the test has stopped does not answer.
                let _ = tokio::time::timeout(Duration::from_secs(5), deleted).await;
            });
        };
        let _ = std::thread::spawn(forget).join();
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.report();
            self.forget_connections();
        } else {
            self.forget_connections();
            self.expect_no_secret("the operator's log", &self.operator.log_since(self.log_start));
        }
    }
}

fn to_object(object: DynamicObject) -> Object {
    Object(serde_json::to_value(object).unwrap())
}
