//! One OpenBao for all tests; each has a folder, a policy, a token and a proxy of its own.

use std::sync::Arc;

use devkit::controlplane::chain;
use devkit::openbao::OpenBao;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::sync::OnceCell;

use crate::common::{Object, Scene, entry, merged};
use crate::proxy::Proxy;

/// What the documentation gives the operator: it writes, and sees metadata. `FOLDER` stands for the folder.
pub const WRITE_ONLY: &str = r#"
path "secret/data/FOLDER/*" { capabilities = ["create", "update", "patch"] }
path "secret/metadata/FOLDER/*" { capabilities = ["read", "list"] }
path "secret/metadata/FOLDER" { capabilities = ["list"] }
"#;

/// What more there may be: one list for all, marks, and deletes.
pub const ALL_OF_IT: &str = r#"
path "secret/data/FOLDER/*" { capabilities = ["create", "update", "patch"] }
path "secret/metadata/FOLDER/*" { capabilities = ["read", "list", "patch", "delete"] }
path "secret/metadata/FOLDER" { capabilities = ["list"] }
path "secret/detailed-metadata/FOLDER" { capabilities = ["list"] }
path "secret/detailed-metadata/FOLDER/*" { capabilities = ["list"] }
"#;

/// A test's part of OpenBao.
pub struct Bao {
    /// The server.
    pub server: Arc<OpenBao>,
    /// What the operator speaks to.
    pub proxy: Proxy,
    /// The folder that the test has for itself.
    pub folder: String,
    /// The operator's token.
    pub token: String,
}

async fn shared() -> Arc<OpenBao> {
    static SHARED: OnceCell<Arc<OpenBao>> = OnceCell::const_new();
    Arc::clone(SHARED.get_or_init(async || Arc::new(started(false).await)).await)
}

/// One of the test's own.
pub async fn started(tls: bool) -> OpenBao {
    OpenBao::start(tls).await.unwrap_or_else(|error| panic!("no OpenBao: {}", chain(&error)))
}

impl Bao {
    /// A folder of the shared server, with that policy.
    pub async fn with(scene: &Scene, policy: &str) -> Self {
        let server = shared().await;
        let folder = format!("teams/{}", scene.namespace);
        let token = token(&server, &folder, &scene.namespace, policy).await;
        scene.secret_text(&token);
        let proxy = Proxy::start(server.url()).await;
        Self { server, proxy, folder, token }
    }

    /// Changes the policy of the operator's token.
    pub async fn set_policy(&self, scene: &Scene, policy: &str) {
        self.server.policy(&scene.namespace, &policy.replace("FOLDER", &self.folder)).await.unwrap();
    }

    /// Makes the connection `vault` with the token.
    pub async fn connect(&self, scene: &Scene, more: Value) {
        scene.create("Secret", "vault-credentials", json!({"stringData": {"token": self.token}})).await;
        let auth = json!({"tokenRef": {"name": "vault-credentials", "key": "token"}});
        self.connect_by(scene, auth, more).await;
    }

    /// Makes the connection `vault` with another kind of auth.
    pub async fn connect_by(&self, scene: &Scene, auth: Value, more: Value) {
        let spec = merged(connection(&self.proxy.url, &self.folder, auth), more);
        scene.create("VaultConnection", "vault", json!({"spec": spec})).await;
    }

    fn path(&self, tree: &str, name: &str) -> String {
        format!("secret/{tree}/{}/{name}", self.folder)
    }

    /// The line of a request for an entry.
    pub fn line(&self, method: &str, name: &str) -> String {
        format!("{method} {}", self.path("data", name))
    }

    /// The fields of an entry; null if it is not there, or was deleted.
    pub async fn fields(&self, name: &str) -> Value {
        let path = self.path("data", name);
        let (_, answer) = self.server.ask(Method::GET, &path, self.server.root(), Value::Null).await.unwrap();
        answer.pointer("/data/data").cloned().unwrap_or_default()
    }

    /// The value of an entry.
    pub async fn value(&self, name: &str) -> Option<String> {
        self.fields(name).await["value"].as_str().map(str::to_owned)
    }

    /// The metadata of an entry; null if there is none.
    pub async fn metadata(&self, name: &str) -> Value {
        let path = self.path("metadata", name);
        let (_, answer) = self.server.ask(Method::GET, &path, self.server.root(), Value::Null).await.unwrap();
        answer.get("data").cloned().unwrap_or_default()
    }

    /// Writes an entry as somebody else.
    pub async fn foreign_put(&self, name: &str, fields: Value) {
        self.server.root_ask(Method::POST, &self.path("data", name), json!({"data": fields})).await.unwrap();
    }

    /// Deletes the latest version of an entry as somebody else.
    pub async fn foreign_delete(&self, name: &str) {
        self.server.root_ask(Method::DELETE, &self.path("data", name), Value::Null).await.unwrap();
    }

    /// Removes an entry with all that it was, as somebody else.
    pub async fn foreign_destroy(&self, name: &str) {
        self.server.root_ask(Method::DELETE, &self.path("metadata", name), Value::Null).await.unwrap();
    }

    /// Waits until an entry has that value.
    pub async fn has(&self, scene: &Scene, name: &str, value: &str) {
        let what = format!("OpenBao has the value of {name}");
        scene.eventually(&what, async || self.value(name).await.as_deref() == Some(value)).await;
    }

    /// Waits until two more lists were begun.
    pub async fn two_more_probes(&self, scene: &Scene) {
        let before = self.proxy.lists();
        scene.eventually("two more probes have begun", async || self.proxy.lists() >= before + 2).await;
    }
}

/// The spec of a connection as the tests want it: it allows many calls, probes often and settles soon.
pub fn connection(url: &str, folder: &str, auth: Value) -> Value {
    json!({
        "allowInsecureUrl": true,
        "probeInterval": "5s",
        "limits": {"requestsPerMinute": 60_000, "burst": 1000, "maxInFlight": 50, "timeout": "2s", "settle": "1s"},
        "vault": {"url": url, "mount": "secret", "path": folder, "auth": auth},
    })
}

/// A token with a policy for one folder.
pub async fn token(server: &OpenBao, folder: &str, name: &str, policy: &str) -> String {
    server.policy(name, &policy.replace("FOLDER", folder)).await.unwrap();
    server.token(name, "1h").await.unwrap()
}

/// A VaultSecret with one entry that is in sync.
pub struct Synced {
    /// Its part of OpenBao.
    pub bao: Bao,
    /// The value.
    pub value: String,
    /// The VaultSecret.
    pub object: Object,
}

/// Name of the entry of [`synced`].
pub const ENTRY: &str = "db.password";

/// Makes a VaultSecret called `app` with a key `VALUE` from the Secret `source` (key `value`), and waits until it is Ready.
pub async fn synced(scene: &Scene, policy: &str, more: Value) -> Synced {
    let bao = Bao::with(scene, policy).await;
    bao.connect(scene, json!({})).await;
    synced_at(scene, bao, more).await
}

/// The same through a connection `vault` that was made before.
pub async fn synced_at(scene: &Scene, bao: Bao, more: Value) -> Synced {
    let value = scene.canary("value");
    scene.source("source", &[("value", &value)]).await;
    let spec = json!({"connectionRef": {"name": "vault"}, "data": [entry("VALUE", ENTRY, "source/value")]});
    scene.vault_secret("app", merged(spec, more)).await;
    let object = scene.ready("app").await;
    assert_eq!(bao.value(ENTRY).await.as_deref(), Some(&*value), "Ready means that OpenBao has the value");
    Synced { bao, value, object }
}
