//! One ClusterVaultSecret, many namespaces: what its tests set up.

use std::sync::Arc;

use devkit::controlplane::{AuditMark, AuditRecord};
use serde_json::{Value, json};

use super::{Kind, Object, Remote, Scene, api, merged};

/// A ClusterVaultSecret with what it stands on, and namespaces that it may reach. All its names are those of the scene's namespace.
pub struct Stage {
    /// The cluster, the operator.
    pub scene: Scene,
    /// The remote.
    pub remote: Arc<Remote>,
    /// Of the connection, of the ClusterVaultSecret and so of its VaultSecrets, and the value of the label that selects.
    pub name: String,
}

impl Stage {
    /// With a prefix that keeps namespaces apart, and the operator that all tests share.
    pub async fn new(prefix: &str, kind: Kind) -> Self {
        Self::with(Scene::new(prefix).await, kind, json!({"remoteNamePrefix": "{{ namespace }}-"})).await
    }

    /// `connection`: fields of the ClusterVaultConnection.
    pub async fn with(scene: Scene, kind: Kind, connection: Value) -> Self {
        let remote = scene.remote(kind).await;
        let name = scene.namespace.clone();
        let credentials = json!({"apiVersion": "v1", "kind": "Secret", "stringData": remote.credentials(),
                                 "metadata": {"name": format!("{name}-remote"), "namespace": scene.operator.system()}});
        scene.apply(&credentials).await;
        // Under Shared the operator's namespace pushes.
        let allowed = json!({"names": [scene.operator.system()], "selector": {"matchLabels": {"of": name}}});
        let more = merged(json!({"allowedNamespaces": allowed}), connection);
        let spec = Scene::connection_spec(&remote, &format!("{name}-remote"), more);
        scene.create("ClusterVaultConnection", &name, json!({"spec": spec})).await;
        Self { scene, remote, name }
    }

    /// The name of another namespace of this stage.
    pub fn place(&self, name: &str) -> String {
        format!("{}-{name}", self.name)
    }

    /// Makes a namespace that the ClusterVaultSecret selects.
    pub async fn namespace(&self, name: &str) -> String {
        let name = self.place(name);
        let labels = json!({"of": self.name, "app": "yes"});
        self.scene.create("Namespace", &name, json!({"metadata": {"labels": labels}})).await;
        name
    }

    /// Whether the namespace has the label that the ClusterVaultSecret selects by.
    pub async fn label(&self, namespace: &str, selected: bool) {
        let value = if selected { json!("yes") } else { Value::Null };
        self.scene.patch("Namespace", namespace, json!({"metadata": {"labels": {"app": value}}})).await;
    }

    /// A spec that selects the namespaces of this stage.
    pub fn spec(&self, sharing: &str, data: Value) -> Value {
        json!({
            "namespaces": {"selector": {"matchLabels": {"of": self.name, "app": "yes"}}},
            "sharing": sharing,
            "template": {"connectionRef": {"kind": "ClusterVaultConnection", "name": self.name}, "data": data},
        })
    }

    /// Makes the ClusterVaultSecret.
    pub async fn create(&self, spec: Value) {
        self.scene.create("ClusterVaultSecret", &self.name, json!({"spec": spec})).await;
    }

    /// Waits until something holds of it.
    pub async fn until(&self, what: &str, holds: impl Fn(&Object) -> bool) -> Object {
        self.scene.until("ClusterVaultSecret", &self.name, what, holds).await
    }

    /// Waits until it is Ready with so many namespaces.
    pub async fn ready(&self, namespaces: usize) -> Object {
        let counts = format!("{namespaces}/{namespaces}");
        let holds = |object: &Object| object.is_ready() && object.text("/status/readyNamespaces") == counts;
        self.until(&format!("is Ready with {counts}"), holds).await
    }

    /// What it says of a namespace: whether it is ready, the reason and the message.
    pub fn says(object: &Object, namespace: &str) -> (bool, String, String) {
        let all = object.at("/status/namespaces").as_array().cloned().unwrap_or_default();
        let found = Object(all.into_iter().find(|place| place["name"] == namespace).unwrap_or_default());
        (found.at("/ready") == true, found.text("/reason").to_owned(), found.text("/message").to_owned())
    }

    /// An object of any namespace.
    pub async fn get(&self, kind: &str, namespace: &str, name: &str) -> Option<Object> {
        let found = api(&self.scene.client, kind, namespace).get_opt(name).await.unwrap()?;
        Some(Object(serde_json::to_value(found).unwrap()))
    }

    /// The Secret of a namespace, once it has a value of that key.
    pub async fn shown(&self, namespace: &str, key: &str) -> String {
        let what = format!("{namespace} has the Secret");
        self.scene
            .eventually(&what, async || {
                let secret = self.get("Secret", namespace, &self.name).await?;
                secret.secret_value(key).map(|value| String::from_utf8(value).unwrap())
            })
            .await
    }

    /// Waits until the Secret of a namespace has that value.
    pub async fn shows(&self, namespace: &str, key: &str, value: &str) {
        let what = format!("{namespace} has the value");
        self.scene
            .eventually(&what, async || {
                let secret = self.get("Secret", namespace, &self.name).await;
                secret.and_then(|secret| secret.secret_value(key)).is_some_and(|shown| shown == value.as_bytes())
            })
            .await;
    }

    /// Waits until an object of the ClusterVaultSecret's name is gone from a namespace.
    pub async fn goes(&self, kind: &str, namespace: &str) {
        let what = format!("{kind} {} in {namespace} goes", self.name);
        self.scene.eventually(&what, async || self.get(kind, namespace, &self.name).await.is_none()).await;
    }

    /// Writes of the operator since then, in the namespaces of this stage, its own, and the cluster. What the connection says of its
    /// probes does not count: on a machine that is busy one of them may get no answer in time.
    pub fn writes(&self, mark: AuditMark) -> Vec<String> {
        let user = self.scene.operator.user();
        let writes = ["create", "update", "patch", "delete", "deletecollection"];
        let mine = |record: &AuditRecord| {
            let place = record.namespace.starts_with(&self.name) || record.uri.contains(&self.name);
            let place = place && record.resource != "clustervaultconnections";
            record.user == user && place && writes.contains(&&*record.verb)
        };
        let all = self.scene.cluster.audit().requests_after(mark, mine);
        all.iter().map(|record| format!("{} {}", record.verb, record.uri)).collect()
    }

    /// The stand-in ends with the test, and so does what would ask for it.
    pub async fn end(self) {
        self.scene.delete("ClusterVaultConnection", &self.name).await;
    }
}
