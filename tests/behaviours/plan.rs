//! Behaviours P1 to P8: what `vaultsecret plan` says is what happens once the manifests are applied, and saying it writes nothing.

use std::path::Path;
use std::process::Stdio;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

use crate::common::{Kind, Object, Scene, entry, for_each_remote, generated, inline, merged};

/// What a plan said.
struct Said {
    code: i32,
    plan: Value,
}

impl Said {
    /// What would happen to an entry.
    fn entry(&self, name: &str) -> &str {
        let objects = self.plan["objects"].as_array().unwrap().iter();
        let mut entries = objects.flat_map(|object| object["entries"].as_array().into_iter().flatten());
        let found =
            entries.find(|entry| entry["remoteName"] == name).unwrap_or_else(|| panic!("{name}: {}", self.plan));
        found["action"].as_str().unwrap()
    }

    /// What would happen to something of the first object: its Secret, its workload.
    fn named(&self, kind: &str) -> Vec<&str> {
        let object = &self.plan["objects"][0];
        let all = ["secrets", "restarts"].into_iter().flat_map(|list| object[list].as_array().into_iter().flatten());
        all.filter(|named| named["kind"] == kind).map(|named| named["action"].as_str().unwrap()).collect()
    }

    fn text(&self) -> String {
        self.plan.to_string()
    }
}

impl Scene {
    /// Plans with a kubeconfig, in every format; none shows a secret of this test, nor does an error.
    async fn plan_as(&self, kubeconfig: &Path, manifests: &[Value], args: &[&str]) -> Said {
        let list = json!({"apiVersion": "v1", "kind": "List", "items": manifests}).to_string();
        let mut said = None;
        for format in ["markdown", "table", "yaml", "json"] {
            let mut command = Command::new(env!("CARGO_BIN_EXE_vaultsecret"));
            command.args(["plan", "-f", "-", "-o", format]).args(args).env_clear().env("KUBECONFIG", kubeconfig);
            command.env("VAULTSECRET_OPERATOR_NAMESPACE", self.operator.system());
            let piped = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
            let mut child = piped.spawn().unwrap();
            child.stdin.take().unwrap().write_all(list.as_bytes()).await.unwrap();
            let output = child.wait_with_output().await.unwrap();
            let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
            self.expect_no_secret("what plan prints", &out);
            self.expect_no_secret("what plan says", &err);
            let plan = serde_json::from_str(&out).unwrap_or_else(|_| json!({"printed": out, "said": err}));
            said = Some(Said { code: output.status.code().unwrap(), plan });
        }
        said.unwrap()
    }

    /// The same as an administrator, of one VaultSecret called `app`.
    async fn plan_app(&self, spec: &Value) -> Said {
        let app = self.manifest("VaultSecret", "app", json!({"spec": spec}));
        self.plan_as(self.cluster.admin_kubeconfig(), &[app], &[]).await
    }

    /// Applies the VaultSecret `app`, and waits until it is Ready as it then is.
    async fn apply_app(&self, spec: &Value) -> Object {
        let app = self.manifest("VaultSecret", "app", json!({"spec": spec}));
        self.apply(&app).await;
        self.observed("app").await;
        self.ready("app").await
    }
}

async fn deployment(scene: &Scene) {
    let labels = json!({"app": "web"});
    let template = json!({"metadata": {"labels": labels}, "spec": {"containers": [{"name": "app", "image": "app"}]}});
    let spec = json!({"replicas": 0, "selector": {"matchLabels": labels}, "template": template});
    scene.create("Deployment", "web", json!({"spec": spec})).await;
}

async fn p1_the_plan_is_what_happens(kind: Kind) {
    let scene = Scene::new("p1").await;
    deployment(&scene).await;
    let remote = scene.remote(kind).await;
    scene.connect(&remote).await;
    scene.source("source", &[("value", &scene.canary("value"))]).await;
    let [same, changed, made, goes, new] = ["same", "changed", "made", "goes", "new"].map(|name| kind.name(name));
    let (old, newer) = (scene.canary("old"), scene.canary("newer"));
    let spec = |data: Value| {
        json!({"connectionRef": {"name": kind.member()}, "deletionPolicy": "Delete", "data": data,
               "rolloutRestartTargets": [{"kind": "Deployment", "name": "web"}]})
    };
    let first = spec(json!([
        entry("SAME", &same, "source/value"),
        inline("CHANGED", &changed, &old),
        generated("MADE", &made, 1),
        inline("GOES", &goes, &old),
    ]));
    let said = scene.plan_app(&first).await;
    assert_eq!(said.code, 0, "{}", said.text());
    for name in [&same, &changed, &made, &goes] {
        assert_eq!(said.entry(name), "create", "{}", said.text());
    }
    assert_eq!((said.named("Secret"), said.named("Deployment")), (vec!["create"], vec![]));
    assert!(scene.get("VaultSecret", "app").await.is_none() && remote.entries().is_empty(), "nothing is written");

    scene.apply_app(&first).await;
    assert_eq!(remote.entries().len(), 4);
    let before = scene.expect("VaultSecret", "app").await;
    let said = scene.plan_app(&first).await;
    for name in [&same, &changed, &made, &goes] {
        assert_eq!((said.code, said.entry(name)), (0, "unchanged"), "{}", said.text());
    }
    assert_eq!((said.named("Secret"), said.named("Deployment")), (vec!["unchanged"], vec![]));

    let second = spec(json!([
        entry("SAME", &same, "source/value"),
        inline("CHANGED", &changed, &newer),
        generated("MADE", &made, 2),
        inline("NEW", &new, &newer),
    ]));
    let said = scene.plan_app(&second).await;
    let wanted = [(&same, "unchanged"), (&changed, "update"), (&made, "update"), (&goes, "delete"), (&new, "create")];
    for (name, action) in wanted {
        assert_eq!((said.code, said.entry(name)), (0, action), "{}", said.text());
    }
    assert_eq!((said.named("Secret"), said.named("Deployment")), (vec!["update"], vec!["restart"]));
    let after = scene.expect("VaultSecret", "app").await;
    assert_eq!(after.version(), before.version(), "nothing is written");

    scene.apply_app(&second).await;
    scene.eventually("what goes is gone", async || remote.value(&goes).is_none()).await;
    let writes = [&same, &changed, &made, &new].map(|name| remote.history(name).len());
    assert_eq!(writes, [1, 2, 2, 1], "as it was said");
    let restarted = |web: &Object| web.number("/metadata/generation") == 2;
    scene.until("Deployment", "web", "is restarted", restarted).await;
}

async fn p2_retained_entries_are_forgotten(kind: Kind) {
    let scene = Scene::new("p2").await;
    let remote = scene.remote(kind).await;
    scene.connect(&remote).await;
    let (stays, goes) = (kind.name("stays"), kind.name("goes"));
    let value = scene.canary("value");
    let spec = |data: Value| json!({"connectionRef": {"name": kind.member()}, "data": data});
    scene.apply_app(&spec(json!([inline("A", &stays, &value), inline("B", &goes, &value)]))).await;
    let less = spec(json!([inline("A", &stays, &value)]));
    let said = scene.plan_app(&less).await;
    assert_eq!((said.code, said.entry(&stays), said.entry(&goes)), (0, "unchanged", "forget"), "{}", said.text());
    assert_eq!(said.named("Secret"), ["update"], "a key leaves it");
    scene.apply_app(&less).await;
    scene.until("VaultSecret", "app", "has one row", |app| app.rows().len() == 1).await;
    assert_eq!(remote.value(&goes), Some(value), "it stays at the remote");
    assert_eq!(scene.expect("Secret", "app").await.keys(), ["A"]);
}

async fn p3_what_is_refused_is_2(kind: Kind) {
    let scene = Scene::new("p3").await;
    let remote = scene.remote(kind).await;
    let theirs = kind.name("theirs");
    remote.foreign_put(&theirs, "theirs");
    scene.connect(&remote).await;
    let value = scene.canary("value");
    let spec = |entry: Value| json!({"connectionRef": {"name": kind.member()}, "data": [entry]});

    // A name that no remote takes.
    let said = scene.plan_app(&spec(inline("A", "no name / at all", &value))).await;
    assert_eq!((said.code, said.entry("no name / at all")), (2, "refused"), "{}", said.text());
    assert!(said.text().contains("NameRefused") && said.text().contains("set remoteName: "), "{}", said.text());
    scene.vault_secret("app", spec(inline("A", "no name / at all", &value))).await;
    scene.not_ready("app", "NameRefused").await;
    scene.delete("VaultSecret", "app").await;
    scene.gone("VaultSecret", "app").await;

    // An entry of somebody else, once that is known.
    scene.vault_secret("app", spec(inline("A", &theirs, &value))).await;
    scene.not_ready("app", "RemoteEntryExists").await;
    let said = scene.plan_app(&spec(inline("A", &theirs, &value))).await;
    assert_eq!((said.code, said.entry(&theirs)), (2, "refused"), "{}", said.text());
    let over = merged(spec(inline("A", &theirs, &value)), json!({"adoptionPolicy": "TakeOver"}));
    let said = scene.plan_app(&over).await;
    assert_eq!((said.code, said.entry(&theirs)), (0, "adopt"), "{}", said.text());
    scene.apply_app(&over).await;
    assert_eq!(remote.value(&theirs), Some(value.clone()));

    // Another VaultSecret has it.
    let other = scene.manifest("VaultSecret", "other", json!({"spec": over}));
    let said = scene.plan_as(scene.cluster.admin_kubeconfig(), std::slice::from_ref(&other), &[]).await;
    assert_eq!((said.code, said.entry(&theirs)), (2, "refused"), "{}", said.text());
    scene.apply(&other).await;
    scene.not_ready("other", "OwnedByAnother").await;
}

/// What is missing is waited for, and is no reason to refuse a change.
#[tokio::test]
async fn p4_what_is_missing_is_waited_for() {
    let scene = Scene::new("p4").await;
    let kind = Kind::Kelvin;
    let spec = json!({"connectionRef": {"name": kind.member()}, "data": [entry("A", "a", "source/value")]});
    let said = scene.plan_app(&spec).await;
    assert_eq!((said.code, said.entry("a")), (0, "waits"), "{}", said.text());
    assert!(said.text().contains("ConnectionMissing"), "{}", said.text());
    let remote = scene.remote(kind).await;
    scene.connect(&remote).await;
    let said = scene.plan_app(&spec).await;
    assert!(said.code == 0 && said.text().contains("SourceMissing"), "{}", said.text());
    scene.vault_secret("app", spec.clone()).await;
    scene.not_ready("app", "SourceMissing").await;
    // The manifests bring what is missing.
    let value = scene.canary("value");
    let source = scene.manifest("Secret", "source", json!({"stringData": {"value": value}}));
    let app = scene.manifest("VaultSecret", "app", json!({"spec": spec}));
    let said = scene.plan_as(scene.cluster.admin_kubeconfig(), &[app, source.clone()], &[]).await;
    assert_eq!((said.code, said.entry("a")), (0, "create"), "{}", said.text());
    scene.apply(&source).await;
    scene.remote_has(&remote, "a", &value).await;
    // A changed Secret of the manifests is a changed value; the same one is not.
    scene.ready("app").await;
    let app = scene.manifest("VaultSecret", "app", json!({"spec": spec}));
    let newer = scene.manifest("Secret", "source", json!({"stringData": {"value": scene.canary("newer")}}));
    for (source, action) in [(source, "unchanged"), (newer, "update")] {
        let said = scene.plan_as(scene.cluster.admin_kubeconfig(), &[app.clone(), source], &[]).await;
        assert_eq!((said.code, said.entry("a")), (0, action), "{}", said.text());
    }
}

/// The API server's own refusals are those of the plan, and neither repeats a value.
#[tokio::test]
async fn p5_the_api_server_has_a_say() {
    let scene = Scene::new("p5").await;
    let value = scene.canary("value");
    let both = json!({"key": "A", "value": value, "valueFrom": {"sealed": value}});
    let spec = json!({"connectionRef": {"name": "c"}, "data": [both]});
    let said = scene.plan_app(&spec).await;
    assert_eq!((said.code, &said.plan["objects"][0]["action"]), (2, &json!("refused")), "{}", said.text());
    assert!(said.text().contains("exactly one of value and valueFrom must be set"), "{}", said.text());
    assert!(scene.try_create("VaultSecret", "app", json!({"spec": spec})).await.is_err());

    // What only the API server knows: how a label may look.
    let labelled = json!({"metadata": {"labels": {"x": format!("{value} !")}},
        "spec": {"connectionRef": {"name": "c"}, "data": [inline("A", "a", &value)]}});
    let app = scene.manifest("VaultSecret", "app", labelled.clone());
    let said = scene.plan_as(scene.cluster.admin_kubeconfig(), &[app], &[]).await;
    assert!(said.code == 2 && said.text().contains("look at metadata.labels"), "{}", said.text());
    assert!(scene.try_create("VaultSecret", "app", labelled).await.is_err());

    let app = scene.manifest(
        "VaultSecret",
        "app",
        json!({"metadata": {"namespace": "nowhere-at-all"},
        "spec": {"connectionRef": {"name": "c"}, "data": [inline("A", "a", &value)]}}),
    );
    let said = scene.plan_as(scene.cluster.admin_kubeconfig(), &[app], &[]).await;
    assert!(said.code == 2 && said.text().contains("nowhere-at-all does not exist"), "{}", said.text());
}

/// Somebody who may look at VaultSecrets and nothing else hears what can be known with that.
#[tokio::test]
async fn p6_without_rights_it_says_what_it_does_not_know() {
    let scene = Scene::new("p6").await;
    let synced = scene.synced(Kind::Kelvin, json!({})).await;
    scene.create("ServiceAccount", "ci", json!({})).await;
    let kubeconfig = scene.cluster.service_account_kubeconfig(&scene.namespace, "ci").await.unwrap();
    let spec = json!({"connectionRef": {"name": "kelvin"}, "data": [
        entry("VALUE", &synced.entry, "source/value"), inline("NEW", "new", &scene.canary("new"))]});
    let app = scene.manifest("VaultSecret", "app", json!({"spec": spec}));
    let said = scene.plan_as(&kubeconfig, std::slice::from_ref(&app), &[]).await;
    assert!(said.code == 1 && said.text().contains("you may not list VaultSecrets"), "{}", said.text());

    let rules = json!([{"apiGroups": ["vaultsecret.dev"], "verbs": ["get", "list"],
                        "resources": ["vaultsecrets", "vaultconnections"]}]);
    scene.create("Role", "ci", json!({"rules": rules})).await;
    let role = json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "ci"});
    let subjects = json!([{"kind": "ServiceAccount", "name": "ci", "namespace": scene.namespace}]);
    scene.create("RoleBinding", "ci", json!({"roleRef": role, "subjects": subjects})).await;
    let said = scene
        .eventually("the rights are known", async || {
            let said = scene.plan_as(&kubeconfig, std::slice::from_ref(&app), &[]).await;
            (said.code != 1).then_some(said)
        })
        .await;
    assert_eq!((said.code, said.entry(&synced.entry), said.entry("new")), (0, "unknown", "create"), "{}", said.text());
    assert!(said.text().contains("you may not read the operator's key ring"), "{}", said.text());
}

/// Whole Secrets: keys that come, change and go, as the manifests have them.
#[tokio::test]
async fn p8_whole_secrets_are_known_key_by_key() {
    let scene = Scene::new("p8").await;
    let kind = Kind::Kelvin;
    let remote = scene.remote(kind).await;
    scene.connect(&remote).await;
    let spec = json!({"connectionRef": {"name": kind.member()}, "deletionPolicy": "Delete",
                      "dataFrom": [{"selector": {"matchLabels": {"vault": "push"}}}]});
    let app = scene.manifest("VaultSecret", "app", json!({"spec": spec}));
    let (old, newer) = (scene.canary("old"), scene.canary("newer"));
    let source = |data: &[(&str, &String)]| {
        // What is taken out of `stringData` stays in the Secret.
        let data: serde_json::Map<_, _> =
            data.iter().map(|(key, value)| ((*key).to_owned(), json!(STANDARD.encode(value)))).collect();
        scene.manifest("Secret", "source", json!({"metadata": {"labels": {"vault": "push"}}, "data": data}))
    };
    let admin = scene.cluster.admin_kubeconfig();
    let plan = async |source: &Value| scene.plan_as(admin, &[app.clone(), source.clone()], &[]).await;

    let first = source(&[("same", &old), ("changed", &old), ("goes", &old)]);
    let said = plan(&first).await;
    for name in ["same", "changed", "goes"] {
        assert_eq!((said.code, said.entry(name)), (0, "create"), "{}", said.text());
    }
    scene.apply(&first).await;
    scene.apply_app(&spec).await;
    let said = plan(&first).await;
    for name in ["same", "changed", "goes"] {
        assert_eq!((said.code, said.entry(name)), (0, "unchanged"), "{}", said.text());
    }
    let second = source(&[("same", &old), ("changed", &newer), ("new", &newer)]);
    let said = plan(&second).await;
    for (name, action) in [("same", "unchanged"), ("changed", "update"), ("goes", "delete"), ("new", "create")] {
        assert_eq!((said.code, said.entry(name)), (0, action), "{}", said.text());
    }
    assert_eq!(said.named("Secret"), ["update"], "{}", said.text());
    scene.apply(&second).await;
    scene.eventually("what goes is gone", async || remote.value("goes").is_none()).await;
    scene.remote_has(&remote, "new", &newer).await;
    scene.remote_has(&remote, "changed", &newer).await;
    assert_eq!(["same", "changed", "new"].map(|name| remote.history(name).len()), [1, 2, 1], "as it was said");

    // Two Secrets with one key.
    let other = json!({"metadata": {"labels": {"vault": "push"}}, "stringData": {"same": newer}});
    let other = scene.manifest("Secret", "other", other);
    let said = scene.plan_as(admin, &[app.clone(), other.clone()], &[]).await;
    assert!(said.code == 2 && said.text().contains("are both key same here"), "{}", said.text());
    scene.apply(&other).await;
    scene.not_ready("app", "NameRefused").await;
    assert_eq!(remote.entries().len(), 3, "nothing is deleted");
}

/// What pruning would delete.
#[tokio::test]
async fn p7_pruning_goes_by_policy_and_label() {
    let scene = Scene::new("p7").await;
    let synced = scene.synced(Kind::Kelvin, json!({"deletionPolicy": "Delete"})).await;
    let other = json!({"connectionRef": {"name": "kelvin"}, "data": [inline("A", "a", &scene.canary("value"))]});
    let other = scene.manifest("VaultSecret", "other", json!({"spec": other}));
    let plan =
        async |args: &[&str]| scene.plan_as(scene.cluster.admin_kubeconfig(), std::slice::from_ref(&other), args).await;
    assert_eq!(plan(&[]).await.plan["objects"].as_array().unwrap().len(), 1);
    let said = plan(&["--prune"]).await;
    assert_eq!((said.code, said.entry(&synced.entry)), (0, "delete"), "{}", said.text());
    assert_eq!(plan(&["--prune", "-l", "app=none"]).await.plan["objects"].as_array().unwrap().len(), 1);
    scene.delete("VaultSecret", "app").await;
    scene.gone("VaultSecret", "app").await;
    assert_eq!(synced.remote.value(&synced.entry), None, "as it was said");
}

for_each_remote!(p1_the_plan_is_what_happens, p2_retained_entries_are_forgotten, p3_what_is_refused_is_2);
