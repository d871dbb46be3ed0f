//! Entries as sources: read when another version is seen, and never otherwise.

use devkit::controlplane::Options;
use serde_json::{Value, json};

use crate::bao::{Bao, WRITE_ONLY, connection};
use crate::common::{Kind, Remote, Scene, entry, merged};

/// What reading needs, and not a list.
const READ_ONLY: &str = r#"
path "secret/data/FOLDER/*" { capabilities = ["read"] }
path "secret/metadata/FOLDER/*" { capabilities = ["read"] }
"#;

/// Name of the entry that is read.
const SOURCE: &str = "db/creds";

/// A key that is a field of it.
fn field(key: &str, field: &str) -> Value {
    let remote = json!({"connectionRef": {"name": "vault"}, "name": SOURCE, "field": field});
    json!({"key": key, "remoteName": key.to_lowercase(), "valueFrom": {"remote": remote}})
}

/// The same, for the Secret alone.
fn shown(key: &str, of: &str) -> Value {
    merged(field(key, of), json!({"push": false}))
}

impl Bao {
    /// How often the value of the source was read.
    fn reads(&self) -> usize {
        self.proxy.count(&format!("GET secret/data/{}/", self.folder))
    }

    /// How often it was looked whether it has another version.
    fn looks(&self) -> usize {
        self.proxy.count(&format!("GET secret/metadata/{}/{SOURCE}", self.folder))
    }

    /// Waits until it was looked at that often again.
    async fn more_looks(&self, scene: &Scene, more: usize) {
        let before = self.looks();
        scene.eventually("the source was looked at again", async || self.looks() >= before + more).await;
    }
}

/// Credentials in OpenBao, and the connection `vault` that may read them.
async fn source(scene: &Scene, policy: &str) -> (Bao, String, String) {
    let bao = Bao::with(scene, policy).await;
    let (user, password) = (scene.canary("user"), scene.canary("password"));
    bao.foreign_put(SOURCE, json!({"user": user, "password": password, "port": 5432})).await;
    bao.connect(scene, json!({})).await;
    (bao, user, password)
}

/// A VaultSecret that reads two fields and pushes them to Kelvin.
async fn synced(scene: &Scene) -> (Bao, std::sync::Arc<Remote>, String, String) {
    let (bao, user, password) = source(scene, READ_ONLY).await;
    let remote = scene.remote(Kind::Kelvin).await;
    scene.connect(&remote).await;
    let data = [field("USER", "user"), field("PASSWORD", "password")];
    scene.vault_secret("app", json!({"connectionRef": {"name": "kelvin"}, "data": data})).await;
    scene.ready("app").await;
    (bao, remote, user, password)
}

#[tokio::test]
async fn fields_are_read_together_pushed_and_projected() {
    let scene = Scene::new("vault-read").await;
    let (bao, remote, user, password) = synced(&scene).await;
    assert_eq!(remote.value("user").as_deref(), Some(&*user));
    assert_eq!(remote.value("password").as_deref(), Some(&*password));
    scene.secret_has("app", "USER", &user).await;
    scene.secret_has("app", "PASSWORD", &password).await;
    assert_eq!(bao.reads(), 1, "two fields of one entry are one read");
    let row = scene.expect("VaultSecret", "app").await.row("user").unwrap();
    assert!(row.text("/sourceVersion").starts_with("1@20"), "{row:?}");
    let connection = scene.connection_is("vault", "Connected").await;
    assert_eq!(connection.at("/status/capabilities/readValues"), &json!(true), "it was done");
    assert!(bao.proxy.mutations().is_empty());
}

#[tokio::test]
async fn what_is_unchanged_costs_a_look_and_no_read() {
    let scene = Scene::new("vault-unread").await;
    let (bao, remote, user, password) = synced(&scene).await;
    scene.connection_is("vault", "Connected").await;
    // Until the status of the connections has said all that it has to.
    scene.connection_counts("kelvin", 2).await;
    bao.more_looks(&scene, 1).await;
    let (calls, mark) = (bao.proxy.calls().len(), scene.mark());
    bao.more_looks(&scene, 2).await;
    let further: Vec<String> = bao.proxy.calls().split_off(calls).into_iter().map(|call| call.line).collect();
    let look = format!("GET secret/metadata/{}/{SOURCE}", bao.folder);
    assert_eq!(further, [look.clone(), look], "one request a poll for two fields");
    assert_eq!(scene.writes_since(mark).len(), 0, "{:?}", scene.writes_since(mark));
    // Another version is read once, and only what differs is pushed.
    let changed = scene.canary("changed");
    bao.foreign_put(SOURCE, json!({"user": user, "password": changed})).await;
    scene.remote_has(&remote, "password", &changed).await;
    scene.secret_has("app", "PASSWORD", &changed).await;
    assert_eq!(bao.reads(), 2);
    let object = scene.ready("app").await;
    assert!(object.row("password").unwrap().text("/sourceVersion").starts_with("2@"), "{object:?}");
    assert!(object.row("user").unwrap().text("/sourceVersion").starts_with("2@"), "{object:?}");
    assert_eq!(remote.history("user"), [user], "the other field is as it was");
    assert_ne!(changed, password);
}

#[tokio::test]
async fn without_a_push_it_is_a_pull() {
    let scene = Scene::new("vault-pull").await;
    let bao = Bao::with(&scene, READ_ONLY).await;
    let user = scene.canary("user");
    bao.foreign_put(SOURCE, json!({"user": user, "port": 5432})).await;
    let data = json!([
        {"key": "USER", "push": false, "valueFrom": {"remote": {"name": SOURCE, "field": "user"}}},
        {"key": "PORT", "push": false, "valueFrom": {"remote": {"name": SOURCE, "field": "port"}}},
        {"key": "DSN", "push": false, "valueFrom": {"template": "pg://{{ USER }}@db:{{ PORT }}"}},
    ]);
    scene.vault_secret("app", json!({"connectionRef": {"name": "vault"}, "data": data})).await;
    bao.connect(&scene, json!({})).await;
    scene.ready("app").await;
    scene.secret_has("app", "DSN", &format!("pg://{user}@db:5432")).await;
    scene.connection_is("vault", "Connected").await;
    let changed = scene.canary("changed");
    bao.foreign_put(SOURCE, json!({"user": changed, "port": "5433"})).await;
    scene.secret_has("app", "DSN", &format!("pg://{changed}@db:5433")).await;
    scene.ready("app").await;
    let reads = bao.reads();
    assert_eq!(reads, 2);
    // Repaired with one more read: the value is kept nowhere.
    scene.delete("Secret", "app").await;
    scene.secret_has("app", "USER", &changed).await;
    scene.ready("app").await;
    assert_eq!(bao.reads(), reads + 1);
    assert_eq!(bao.proxy.lists(), 0, "nothing is pushed there, so nothing is listed: {:?}", bao.proxy.calls());
}

#[tokio::test]
async fn objects_share_a_poll() {
    let scene = Scene::new("vault-shared").await;
    let (bao, _, password) = source(&scene, READ_ONLY).await;
    for name in ["one", "two", "three"] {
        let spec = json!({"connectionRef": {"name": "vault"}, "data": [shown("PASSWORD", "password")]});
        scene.vault_secret(name, spec).await;
    }
    for name in ["one", "two", "three"] {
        scene.ready(name).await;
        scene.secret_has(name, "PASSWORD", &password).await;
    }
    bao.more_looks(&scene, 1).await;
    let calls = bao.proxy.calls().len();
    bao.more_looks(&scene, 2).await;
    assert_eq!(bao.proxy.calls().len(), calls + 2, "one look an interval, however many read the entry");
    let changed = scene.canary("changed");
    bao.foreign_put(SOURCE, json!({"password": changed})).await;
    for name in ["one", "two", "three"] {
        scene.secret_has(name, "PASSWORD", &changed).await;
    }
}

#[tokio::test]
async fn a_deleted_version_is_told_and_nothing_goes() {
    let scene = Scene::new("vault-source-gone").await;
    let (bao, remote, user, password) = synced(&scene).await;
    bao.foreign_delete(SOURCE).await;
    let object = scene.not_ready("app", "SourceMissing").await;
    let told = object.ready().message;
    assert!(told.contains(SOURCE) && told.contains("VaultConnection/vault"), "{told}");
    assert!(told.contains("version 1, its latest, was deleted"), "{told}");
    bao.more_looks(&scene, 2).await;
    assert_eq!(remote.value("password").as_deref(), Some(&*password));
    scene.secret_has("app", "PASSWORD", &password).await;
    let undelete = format!("secret/undelete/{}/{SOURCE}", bao.folder);
    bao.server.root_ask(reqwest::Method::POST, &undelete, json!({"versions": [1]})).await.unwrap();
    scene.ready("app").await;
    bao.foreign_put(SOURCE, json!({"user": user})).await;
    let object = scene.not_ready("app", "SourceMissing").await;
    assert!(object.ready().message.contains("version 2 has no field \"password\""), "{object:?}");
    bao.foreign_destroy(SOURCE).await;
    let done = |object: &crate::common::Object| object.ready().message.contains("it does not exist");
    scene.until("VaultSecret", "app", "it says that there is no such entry", done).await;
    scene.secret_has("app", "PASSWORD", &password).await;
    assert_eq!(remote.value("password").as_deref(), Some(&*password));
}

#[tokio::test]
async fn what_a_policy_denies_is_told() {
    let scene = Scene::new("vault-read-denied").await;
    let (bao, _, password) = source(&scene, WRITE_ONLY).await;
    let spec = json!({"connectionRef": {"name": "vault"}, "data": [shown("PASSWORD", "password")]});
    scene.vault_secret("app", spec).await;
    let object = scene.not_ready("app", "SourceMissing").await;
    let told = object.ready().message;
    assert!(told.contains("read was answered with 403") && told.contains("policies do not allow it"), "{told}");
    assert!(told.contains(&format!("entry {SOURCE:?} at VaultConnection/vault")), "{told}");
    let connection = scene.connection_is("vault", "Connected").await;
    assert_eq!(connection.at("/status/capabilities/readValues"), &json!(false));
    // Values alone do not do: what tells that one changed is the metadata.
    let values = r#"path "secret/data/FOLDER/*" { capabilities = ["read"] }"#;
    bao.set_policy(&scene, values).await;
    let told = |object: &crate::common::Object| object.ready().message.contains("its metadata cannot be read");
    scene.until("VaultSecret", "app", "it says what it lacks", told).await;
    bao.set_policy(&scene, READ_ONLY).await;
    scene.ready("app").await;
    scene.secret_has("app", "PASSWORD", &password).await;
    let reads = |object: &crate::common::Object| object.at("/status/capabilities/readValues") == &json!(true);
    scene.until("VaultConnection", "vault", "it can read", reads).await;
}

#[tokio::test]
async fn a_restart_reads_nothing() {
    let scene = Scene::own_cluster("vault-read-restart", Options::default(), |_| {}, &[]).await;
    let (bao, remote, user, _) = synced(&scene).await;
    let data = [shown("USER", "user")];
    scene.vault_secret("pull", json!({"connectionRef": {"name": "vault"}, "data": data})).await;
    scene.ready("pull").await;
    let reads = |object: &crate::common::Object| object.at("/status/capabilities/readValues") == &json!(true);
    scene.until("VaultConnection", "vault", "it can read", reads).await;
    scene.connection_counts("kelvin", 2).await;
    bao.more_looks(&scene, 1).await;
    let (before, mutations, mark) = (bao.reads(), remote.mutations(), scene.mark());
    scene.operator.restart().await;
    bao.more_looks(&scene, 2).await;
    scene.operator.crash().await;
    bao.more_looks(&scene, 2).await;
    scene.ready("app").await;
    assert_eq!(bao.reads(), before, "the version is in the ledger");
    assert_eq!(remote.mutations(), mutations);
    assert_eq!(scene.writes_since(mark).len(), 0, "{:?}", scene.writes_since(mark));
    let changed = scene.canary("changed");
    bao.foreign_put(SOURCE, json!({"user": user, "password": changed})).await;
    scene.remote_has(&remote, "password", &changed).await;
}

#[tokio::test]
async fn what_cannot_be_a_source_is_refused() {
    let scene = Scene::new("vault-no-source").await;
    let bao = Bao::with(&scene, WRITE_ONLY).await;
    bao.connect(&scene, json!({})).await;
    let remote = scene.remote(Kind::Kelvin).await;
    scene.connect(&remote).await;
    let from = |connection: &str, name: &str| json!({"connectionRef": {"name": connection}, "name": name});
    for (case, spec, reason, told) in [
        (
            "kelvin",
            json!({"connectionRef": {"name": "vault"}, "data": [{"key": "K", "valueFrom": {"remote": from("kelvin", "a")}}]}),
            "ValueRefused",
            "VaultConnection/kelvin is a Kelvin connection, which gives no value back",
        ),
        (
            "itself",
            json!({"connectionRef": {"name": "vault"}, "data": [{"key": "A", "valueFrom": {"remote": {"name": "A"}}}]}),
            "ValueRefused",
            "this VaultSecret writes the entry \"A\" at VaultConnection/vault itself",
        ),
        (
            "nowhere",
            json!({"connectionRef": {"name": "kelvin"},
                   "data": [{"key": "A", "remoteName": "a", "valueFrom": {"remote": from("other", "a")}}]}),
            "ConnectionMissing",
            "its source: VaultConnection/other does not exist",
        ),
        (
            "outside",
            json!({"connectionRef": {"name": "kelvin"},
                   "data": [{"key": "A", "remoteName": "b", "valueFrom": {"remote": from("vault", "../a")}}]}),
            "NameRefused",
            "entry \"../a\" at VaultConnection/vault",
        ),
    ] {
        scene.vault_secret(case, spec).await;
        let object = scene.not_ready(case, reason).await;
        assert!(object.ready().message.contains(told), "{case}: {object:?}");
    }
    let both = json!({"remote": {"name": "a"}, "secretKeyRef": {"name": "a", "key": "a"}});
    let spec = json!({"connectionRef": {"name": "vault"}, "data": [{"key": "A", "valueFrom": both}]});
    let error = scene.try_create("VaultSecret", "both", json!({"spec": spec})).await.unwrap_err().to_string();
    assert!(error.contains("exactly one of secretKeyRef"), "{error}");
    assert_eq!(bao.reads(), 0);
    assert_eq!(remote.mutations(), 0);
}

#[tokio::test]
async fn a_connection_reads_and_writes() {
    let scene = Scene::new("vault-both").await;
    let policy = format!("{WRITE_ONLY}\npath \"secret/data/FOLDER/db/*\" {{ capabilities = [\"read\"] }}");
    let (bao, _, password) = source(&scene, &policy).await;
    let own = scene.canary("own");
    scene.source("source", &[("value", &own)]).await;
    let copy = merged(field("COPY", "password"), json!({"remoteName": "copy"}));
    let data = json!([copy, entry("OWN", "own", "source/value")]);
    scene.vault_secret("app", json!({"connectionRef": {"name": "vault"}, "data": data})).await;
    scene.ready("app").await;
    assert_eq!(bao.value("copy").await.as_deref(), Some(&*password));
    assert_eq!(bao.value("own").await.as_deref(), Some(&*own));
    assert!(bao.proxy.lists() > 0, "what is pushed is listed");
    // The connection goes: what is there stays, and the status names it.
    scene.delete("VaultConnection", "vault").await;
    scene.not_ready("app", "ConnectionMissing").await;
    scene.secret_has("app", "COPY", &password).await;
}

#[tokio::test]
async fn a_cluster_connection_reads_for_those_it_allows() {
    let scene = Scene::new("vault-read-cluster").await;
    let bao = Bao::with(&scene, READ_ONLY).await;
    let cluster = scene.namespace.clone();
    let (password, foreign) = (scene.canary("password"), scene.canary("of another namespace"));
    bao.foreign_put(&format!("{cluster}-{SOURCE}"), json!({"value": password})).await;
    bao.foreign_put(SOURCE, json!({"value": foreign})).await;
    let credentials = json!({"apiVersion": "v1", "kind": "Secret", "stringData": {"token": bao.token},
                             "metadata": {"name": cluster, "namespace": scene.operator.system()}});
    scene.apply(&credentials).await;
    let auth = json!({"tokenRef": {"name": cluster, "key": "token"}});
    let prefix = json!({"remoteNamePrefix": "{{ namespace }}-"});
    let spec = merged(connection(&bao.proxy.url, &bao.folder, auth), prefix);
    scene.create("ClusterVaultConnection", &cluster, json!({"spec": spec})).await;
    let spec = json!({
        "connectionRef": {"kind": "ClusterVaultConnection", "name": cluster},
        "data": [{"key": "PASSWORD", "push": false, "valueFrom": {"remote": {"name": SOURCE}}}],
    });
    scene.vault_secret("app", spec).await;
    let object = scene.not_ready("app", "NotAllowed").await;
    assert!(object.ready().message.contains("spec.allowedNamespaces"), "{object:?}");
    assert_eq!(bao.reads(), 0);
    let allowed = json!({"spec": {"allowedNamespaces": {"names": [scene.namespace]}}});
    scene.patch("ClusterVaultConnection", &cluster, allowed).await;
    scene.ready("app").await;
    scene.secret_has("app", "PASSWORD", &password).await;
    scene.delete("ClusterVaultConnection", &cluster).await;
}
