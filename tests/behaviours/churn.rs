//! Behaviour 45: Argo CD, Flux, pipelines and people apply the same manifests again and again, each in its own way. With the real
//! kubectl.

use devkit::remotes::Op;
use serde_json::{Value, json};

use crate::common::{Kind, Object, Remote, Scene, entry, for_each_remote, generated, merged};

/// In which order the fields of an object are written.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Order {
    Sorted,
    Reversed,
}

/// JSON with its fields in that order, which a `Value` does not keep.
fn text(value: &Value, order: Order) -> String {
    match value {
        Value::Object(fields) => {
            let mut fields: Vec<_> =
                fields.iter().map(|(name, field)| format!("{}:{}", json!(name), text(field, order))).collect();
            fields.sort();
            if order == Order::Reversed {
                fields.reverse();
            }
            format!("{{{}}}", fields.join(","))
        }
        Value::Array(items) => {
            let items: Vec<_> = items.iter().map(|item| text(item, order)).collect();
            format!("[{}]", items.join(","))
        }
        other => other.to_string(),
    }
}

/// A Deployment of nothing, which a change of the values would restart.
async fn deployment(scene: &Scene) {
    let labels = json!({"app": "shop"});
    let template = json!({"metadata": {"labels": labels}, "spec": {"containers": [{"name": "app", "image": "app"}]}});
    let spec = json!({"replicas": 0, "selector": {"matchLabels": labels}, "template": template});
    scene.create("Deployment", "shop", json!({"spec": spec})).await;
}

/// A sourced value and a generated one, a workload to restart, and the connection: what stands in a repository.
fn repository(scene: &Scene, remote: &Remote) -> Value {
    let kind = remote.kind();
    let data =
        [entry("VALUE", &kind.name("the value"), "source/value"), generated("PASSWORD", &kind.name("password"), 1)];
    let targets = json!([{"kind": "Deployment", "name": "shop"}]);
    let spec = json!({"connectionRef": {"name": kind.member()}, "data": data, "rolloutRestartTargets": targets});
    let app = scene.manifest("VaultSecret", "app", json!({"spec": spec}));
    let credentials = format!("{}-credentials", kind.member());
    let spec = Scene::connection_spec(remote, &credentials, json!({}));
    let connection = scene.manifest("VaultConnection", kind.member(), json!({"spec": spec}));
    json!({"apiVersion": "v1", "kind": "List", "items": [app, connection]})
}

/// The same with a change of the VaultSecret's manifest.
fn with(repository: &Value, change: Value) -> Value {
    let mut all = repository.clone();
    all["items"][0] = merged(all["items"][0].take(), change);
    all
}

/// What the operator takes a field for that is absent, written out.
fn defaults() -> Value {
    json!({"spec": {
        "connectionRef": {"kind": "VaultConnection"},
        "adoptionPolicy": "Refuse",
        "deletionPolicy": "Retain",
        "driftPolicy": "Reassert",
        "reassertInterval": "0",
        "suspend": false,
        "target": {"name": "app", "type": "Opaque", "creationPolicy": "Owner", "when": "AfterPush", "immutable": false},
    }})
}

/// What each of the values is taken for, written out.
fn defaults_of_values(repository: &Value) -> Value {
    let mut all = repository.clone();
    for value in all["items"][0]["spec"]["data"].as_array_mut().unwrap() {
        let more = json!({"push": true, "project": true, "encoding": "UTF8"});
        *value = merged(value.take(), more);
    }
    let made = &mut all["items"][0]["spec"]["data"][1]["valueFrom"]["generate"];
    *made = merged(made.take(), json!({"rotateEvery": "0", "projectPrevious": false, "rotationWindows": []}));
    all
}

const ARGO: &[&str] = &["--server-side", "--field-manager=argocd-controller", "--force-conflicts"];
const FLUX: &[&str] = &["--server-side", "--field-manager=kustomize-controller", "--force-conflicts"];
const PEOPLE: &[&str] = &[];

struct Churn<'a> {
    scene: &'a Scene,
    remote: &'a Remote,
    file: tempfile::NamedTempFile,
    /// What must not move.
    quiet: Quiet,
}

/// What churn must not move: calls that write, the Deployment's generation, the Secret.
#[derive(Debug, PartialEq)]
struct Quiet {
    write_calls: usize,
    deployment: Value,
    secret: (Value, Value),
    escrow: (Value, Value),
}

impl Quiet {
    async fn of(scene: &Scene, remote: &Remote) -> Self {
        let shown =
            |object: Object| (object.at("/metadata/uid").clone(), object.at("/metadata/resourceVersion").clone());
        Self {
            write_calls: remote.write_calls(),
            deployment: scene.expect("Deployment", "shop").await.at("/metadata/generation").clone(),
            secret: shown(scene.expect("Secret", "app").await),
            escrow: shown(scene.expect("Secret", "app-escrow").await),
        }
    }
}

impl Churn<'_> {
    fn write(&self, manifest: &Value, order: Order) -> &str {
        std::fs::write(self.file.path(), text(manifest, order)).unwrap();
        self.file.path().to_str().unwrap()
    }

    /// Runs kubectl on a manifest, waits until the VaultSecret is Ready with it, and looks that nothing came of it.
    async fn kubectl(&self, what: &str, verb: &[&str], manifest: &Value, order: Order) {
        let file = self.write(manifest, order);
        self.scene.kubectl_ok(&[verb, &["-f", file]].concat()).await;
        self.scene.ready("app").await;
        assert_eq!(Quiet::of(self.scene, self.remote).await, self.quiet, "{what}");
    }

    /// The same with `apply`; after it the manifest and the object are the same to whoever compares them.
    async fn apply(&self, what: &str, who: &[&str], manifest: &Value, order: Order) {
        self.kubectl(what, &[&["apply"], who].concat(), manifest, order).await;
        let file = self.file.path().to_str().unwrap();
        let diff = self.scene.kubectl(&[&["diff"], who, &["-f", file]].concat()).await;
        let shown = String::from_utf8_lossy(&diff.stdout).into_owned() + &String::from_utf8_lossy(&diff.stderr);
        assert!(diff.status.success(), "{what}: kubectl diff shows what will not go away:\n{shown}");
    }
}

/// A VaultSecret and a connection that Argo CD has applied, and that are in sync.
async fn applied<'a>(scene: &'a Scene, remote: &'a Remote) -> (Value, Churn<'a>) {
    let (kind, value) = (remote.kind(), scene.canary("value"));
    deployment(scene).await;
    scene.source("source", &[("value", &value)]).await;
    let credentials = format!("{}-credentials", kind.member());
    scene.create("Secret", &credentials, json!({"stringData": remote.credentials()})).await;
    let repository = repository(scene, remote);
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), text(&repository, Order::Sorted)).unwrap();
    scene.kubectl_ok(&[&["apply"], ARGO, &["-f", file.path().to_str().unwrap()]].concat()).await;
    scene.ready("app").await;
    assert_eq!(remote.value(&kind.name("the value")), Some(value));
    scene.secret_text(&remote.value(&kind.name("password")).unwrap());
    // What an outcome leaves to be written is written.
    scene.two_more_probes(remote).await;
    let quiet = Quiet::of(scene, remote).await;
    assert_eq!((quiet.write_calls, &quiet.deployment), (2, &json!(1)));
    (repository, Churn { scene, remote, file, quiet })
}

async fn b45_applied_again_and_again(kind: Kind) {
    let scene = Scene::new("b45").await;
    let remote = scene.remote(kind).await;
    let (same, churn) = applied(&scene, &remote).await;
    let labelled = with(
        &same,
        json!({"metadata": {
            "labels": {"app.kubernetes.io/instance": "shop", "app.kubernetes.io/version": "1.2.3"},
            "annotations": {"argocd.argoproj.io/tracking-id": "shop:vaultsecret.dev/VaultSecret:shop/app"}}}),
    );
    let explicit = defaults_of_values(&with(&same, defaults()));
    let file = churn.write(&labelled, Order::Sorted).to_owned();
    let seen = scene.kubectl(&[&["diff"], ARGO, &["-f", &file]].concat()).await;
    assert_eq!(seen.status.code(), Some(1), "kubectl diff sees a difference where there is one");

    for (who, flags) in [("Argo CD", ARGO), ("Flux", FLUX), ("a person", PEOPLE), ("Argo CD again", ARGO)] {
        churn.apply(&format!("{who}: the same"), flags, &same, Order::Sorted).await;
        churn.apply(&format!("{who}: other order"), flags, &same, Order::Reversed).await;
        churn.apply(&format!("{who}: labels"), flags, &labelled, Order::Sorted).await;
        churn.apply(&format!("{who}: defaults written out"), flags, &explicit, Order::Reversed).await;
        churn.apply(&format!("{who}: defaults left out"), flags, &same, Order::Sorted).await;
    }
    let mut turned = same.clone();
    turned["items"][0]["spec"]["data"].as_array_mut().unwrap().reverse();
    churn.apply("the values in another order", ARGO, &turned, Order::Sorted).await;
    churn.kubectl("replaced", &["replace"], &same, Order::Sorted).await;
    scene.annotate("VaultSecret", "app", "argocd.argoproj.io/refresh", "hard").await;
    scene.annotate("VaultConnection", kind.member(), "argocd.argoproj.io/refresh", "hard").await;
    scene.two_more_probes(&remote).await;
    assert_eq!(Quiet::of(&scene, &remote).await, churn.quiet);

    // Nothing that a manifest says is ours, so nobody ever conflicts with us.
    let managers = scene.expect("VaultSecret", "app").await.at("/metadata/managedFields").clone();
    for of in managers.as_array().unwrap().iter().filter(|of| of["manager"] == "vaultsecret-operator") {
        assert_eq!(of["subresource"], "status", "{of}");
    }
    let value = scene.canary("value");
    scene.set_source("source", "value", &value).await;
    scene.remote_has(&remote, &kind.name("the value"), &value).await;
    let restarted = |shop: &Object| shop.at("/metadata/generation") == &json!(2);
    scene.until("Deployment", "shop", "is restarted by what is a change", restarted).await;
}

/// `kubectl replace` and a tool that does not know of finalizers take ours away; it comes back, and nothing else.
async fn b45_replaced_without_its_finalizer(kind: Kind) {
    let scene = Scene::new("b45-replace").await;
    let remote = scene.remote(kind).await;
    let (same, mut churn) = applied(&scene, &remote).await;
    let deletes = with(&same, json!({"spec": {"deletionPolicy": "Delete"}}));
    let file = churn.write(&deletes, Order::Sorted).to_owned();
    scene.kubectl_ok(&[&["apply"], ARGO, &["-f", &file]].concat()).await;
    let owned = |app: &Object| app.is_ready() && app.has_finalizer();
    scene.until("VaultSecret", "app", "has a finalizer", owned).await;
    scene.two_more_probes(&remote).await;
    // The escrow goes with its object from now on, which is written into it.
    churn.quiet = Quiet { escrow: Quiet::of(&scene, &remote).await.escrow, ..churn.quiet };
    for who in [ARGO, PEOPLE] {
        churn.apply("applied over a finalizer", who, &deletes, Order::Reversed).await;
        assert!(scene.expect("VaultSecret", "app").await.has_finalizer());
    }
    churn.kubectl("replaced", &["replace"], &deletes, Order::Sorted).await;
    scene.until("VaultSecret", "app", "has its finalizer back", owned).await;
    scene.two_more_probes(&remote).await;
    assert_eq!(Quiet::of(&scene, &remote).await, churn.quiet);
}

/// Pruned under Retain and applied again. The entry of a generated value is known by the escrow: it keeps its value, and is written
/// once, because the new object's ledger has to begin with something that it knows. Of the other entry nothing tells that it was
/// ours, and no remote gives a value back to compare with: it is left alone until somebody says so, and then written once.
async fn b45_pruned_under_retain_and_applied_again(kind: Kind) {
    let scene = Scene::new("b45-prune").await;
    let remote = scene.remote(kind).await;
    let (same, churn) = applied(&scene, &remote).await;
    let names = [kind.name("the value"), kind.name("password")];
    let before = names.each_ref().map(|name| remote.value(name));
    let file = churn.write(&same, Order::Sorted).to_owned();
    let argo = [&["apply"], ARGO, &["-f", &file]].concat();

    for round in 1..=2 {
        scene.kubectl_ok(&["delete", "vaultsecret", "app"]).await;
        scene.gone("Secret", "app").await;
        let calls = remote.write_calls();
        assert_eq!(calls, churn.quiet.write_calls + 2 * (round - 1), "what is pruned under Retain stays as it is");
        scene.kubectl_ok(&argo).await;
        let refused = scene.not_ready("app", "RemoteEntryExists").await;
        assert!(refused.ready().message.contains(&names[0]), "{}", refused.ready().message);
        scene.two_more_probes(&remote).await;
        assert_eq!(remote.write_calls(), calls + 1, "the generated value alone, once");
        // Applied again and again it stays so.
        scene.kubectl_ok(&argo).await;
        scene.kubectl_ok(&[&["apply"], PEOPLE, &["-f", &file]].concat()).await;
        scene.two_more_probes(&remote).await;
        assert_eq!(remote.write_calls(), calls + 1);

        scene.annotate("VaultSecret", "app", "vaultsecret.dev/adopt", &names[0]).await;
        scene.ready("app").await;
        scene.kubectl_ok(&argo).await;
        scene.ready("app").await;
        scene.two_more_probes(&remote).await;
        assert_eq!(remote.write_calls(), calls + 2, "the entry that was adopted, once");
        assert_eq!(names.each_ref().map(|name| remote.value(name)), before, "no value is another one");
        scene.secret_has("app", "VALUE", before[0].as_deref().unwrap()).await;
        scene.secret_has("app", "PASSWORD", before[1].as_deref().unwrap()).await;
        let shop = scene.expect("Deployment", "shop").await;
        assert_eq!(shop.at("/metadata/generation"), &json!(1), "nothing restarts for it");
    }
    assert_eq!((remote.count(Op::Create), remote.count(Op::Delete)), (2, 0));
}

/// The same with `TakeOver`: one write an entry, and no more by applying it again.
async fn b45_pruned_and_taken_over(kind: Kind) {
    let scene = Scene::new("b45-take").await;
    let remote = scene.remote(kind).await;
    let (same, churn) = applied(&scene, &remote).await;
    let names = [kind.name("the value"), kind.name("password")];
    let before = names.each_ref().map(|name| remote.history(name).pop());
    let taking = with(&same, json!({"spec": {"adoptionPolicy": "TakeOver"}}));
    churn.apply("a policy is no reason to write", ARGO, &taking, Order::Sorted).await;
    scene.kubectl_ok(&["delete", "vaultsecret", "app"]).await;
    scene.gone("Secret", "app").await;
    assert_eq!(remote.write_calls(), churn.quiet.write_calls);
    let file = churn.write(&taking, Order::Sorted).to_owned();
    for who in [ARGO, FLUX, PEOPLE] {
        scene.kubectl_ok(&[&["apply"], who, &["-f", &file]].concat()).await;
        scene.ready("app").await;
        scene.two_more_probes(&remote).await;
        assert_eq!(remote.write_calls(), churn.quiet.write_calls + 2, "each entry once");
    }
    assert_eq!(names.each_ref().map(|name| remote.value(name)), before);
    assert_eq!(scene.expect("Deployment", "shop").await.at("/metadata/generation"), &json!(1));
}

for_each_remote!(
    b45_applied_again_and_again,
    b45_replaced_without_its_finalizer,
    b45_pruned_under_retain_and_applied_again,
    b45_pruned_and_taken_over,
);
