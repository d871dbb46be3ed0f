//! Behaviours 35 and 39 (cluster-wide): living in a cluster with others.

use std::sync::Arc;

use devkit::remotes::{Action, Fault, Op};
use serde_json::{Value, json};

use crate::common::{
    ArgoHealth, Kind, Kstatus, Object, Remote, Scene, Versions, argo_health, entry, for_each_remote, inline, kstatus,
};

/// Fails when an object says that all is well while the remote does not have what its spec wants. Specs of this file hold
/// their values inline, so that each version of the object tells what it wants.
fn tells_the_truth(remote: &Remote, object: &Object) {
    let says_well = [("kstatus", kstatus(object) == Kstatus::Current), ("kubectl wait", object.is_ready())];
    for (who, says_well) in says_well {
        for wanted in object.at("/spec/data").as_array().into_iter().flatten().filter(|_| says_well) {
            let name = wanted["remoteName"].as_str().unwrap();
            let history = remote.history(name);
            let has = history.iter().any(|value| Some(&**value) == wanted["value"].as_str());
            assert!(has, "{who} hears that all is well, and {name} never had the value that is wanted: {object:?}");
        }
    }
}

/// One test asks for what the operator's account may not have, and another looks whether it was ever refused anything.
static RIGHTS: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

fn spec(kind: Kind, value: &str) -> Value {
    json!({"connectionRef": {"name": kind.member()}, "data": [inline("VALUE", &kind.name("the value"), value)]})
}

async fn b35_kubectl_wait_sees_the_truth(kind: Kind) {
    let scene = Scene::new("b35-wait").await;
    let remote = scene.remote(kind).await;
    scene.connect(&remote).await;
    // What kubectl would say too early, it says here.
    let hold = remote.faults().add(Fault::new(Action::Hang(None)).on(Op::Create));
    let watched = Arc::clone(&remote);
    let made = scene.vault_secret("app", spec(kind, "first")).await;
    let versions = Versions::of(&scene, "VaultSecret", &made, move |app| tells_the_truth(&watched, app)).await;
    let wait = ["wait", "--for=condition=Ready", "--timeout=60s", "vaultsecret/app"];
    let mut waiting = scene.kubectl_command(&wait).spawn().unwrap();
    scene.eventually("the create has arrived", async || remote.count(Op::Create) == 1).await;
    assert!(waiting.try_wait().unwrap().is_none(), "kubectl waits as long as the remote has not answered");
    remote.faults().remove(hold);
    remote.faults().release();
    assert!(waiting.wait().await.unwrap().success(), "kubectl wait");
    assert_eq!(remote.value(&kind.name("the value")).as_deref(), Some("first"));

    // Ready is still True of the old spec when the new one arrives.
    scene.edit("app", spec(kind, "second")).await;
    scene.kubectl_ok(&wait).await;
    assert_eq!(remote.value(&kind.name("the value")).as_deref(), Some("second"));
    let printed = scene.kubectl_ok(&["get", "vsec", "app"]).await;
    assert!(printed.contains("Synced") && printed.contains("1/1") && printed.contains(kind.member()), "{printed}");

    let last = scene.ready("app").await;
    versions.up_to(&scene, &last).await;
}

/// Each way in which an object can be, as the three tools see it.
async fn b35_health_in_every_state(kind: Kind) {
    let scene = Scene::new("b35-health").await;
    let remote = scene.remote(kind).await;
    remote.foreign_put(&kind.name("taken"), "theirs");
    scene.connect(&remote).await;
    let by_secret = json!({"connectionRef": {"name": kind.member()},
        "data": [entry("VALUE", &kind.name("the value"), "source/value")]});

    let well = |app: &Object| (kstatus(app), argo_health(app)) == (Kstatus::Current, ArgoHealth::Healthy);
    // Somebody may still make the source; a person has to decide about the taken entry.
    scene.vault_secret("app", by_secret).await;
    let waits = scene.not_ready("app", "SourceMissing").await;
    assert_eq!((kstatus(&waits), argo_health(&waits)), (Kstatus::InProgress, ArgoHealth::Degraded), "{waits:?}");
    scene.source("source", &[("value", "a value")]).await;
    assert!(well(&scene.ready("app").await));

    let taken = json!({"data": [entry("VALUE", &kind.name("taken"), "source/value")]});
    scene.edit("app", taken).await;
    let stalled = scene.not_ready("app", "RemoteEntryExists").await;
    assert_eq!((kstatus(&stalled), argo_health(&stalled)), (Kstatus::Failed, ArgoHealth::Degraded), "{stalled:?}");
    scene.kubectl_ok(&["wait", "--for=condition=Ready=False", "--timeout=60s", "vaultsecret/app"]).await;
    scene.kubectl_ok(&["wait", "--for=condition=Stalled", "--timeout=60s", "vaultsecret/app"]).await;
    scene.edit("app", json!({"adoptionPolicy": "TakeOver"})).await;
    assert!(well(&scene.ready("app").await));

    remote.faults().add(Fault::new(Action::status(503)).on(Op::Update));
    scene.set_source("source", "value", "another value").await;
    let failing = scene.not_ready("app", "RemoteError").await;
    assert_eq!((kstatus(&failing), argo_health(&failing)), (Kstatus::InProgress, ArgoHealth::Degraded), "{failing:?}");
    remote.faults().clear();
    assert!(well(&scene.ready("app").await));

    scene.edit("app", json!({"deletionPolicy": "Delete"})).await;
    scene.until("VaultSecret", "app", "has the finalizer", Object::has_finalizer).await;
    remote.faults().add(Fault::new(Action::status(503)).on(Op::Delete));
    scene.delete("VaultSecret", "app").await;
    let going = scene.not_ready("app", "Deleting").await;
    assert_eq!(kstatus(&going), Kstatus::Terminating);
    remote.faults().clear();
    scene.kubectl_ok(&["wait", "--for=delete", "--timeout=60s", "vaultsecret/app"]).await;
}

/// A connection says, too, what goes on by itself and what only a person can end.
async fn b35_health_of_a_connection(kind: Kind) {
    let scene = Scene::new("b35-connection").await;
    let remote = scene.remote(kind).await;
    let spec = Scene::connection_spec(&remote, "credentials", json!({}));
    scene.create("VaultConnection", kind.member(), json!({"spec": spec})).await;
    let waits = scene.connection_is(kind.member(), "CredentialsMissing").await;
    assert_eq!(kstatus(&waits), Kstatus::InProgress, "{waits:?}");
    scene.create("Secret", "credentials", json!({"stringData": remote.credentials_with("another")})).await;
    let refused = scene.connection_is(kind.member(), "AuthenticationFailed").await;
    assert_eq!(kstatus(&refused), Kstatus::Failed, "{refused:?}");
    scene.patch("Secret", "credentials", json!({"stringData": remote.credentials()})).await;
    let well = scene.connection_is(kind.member(), "Connected").await;
    assert_eq!(kstatus(&well), Kstatus::Current, "{well:?}");
}

/// Before the operator has looked at an object, nobody may take it for done.
#[tokio::test]
async fn b35_new_object_is_in_progress() {
    let scene = Scene::new("b35-new").await;
    let made = scene.vault_secret("app", spec(Kind::Mixpeek, "a value")).await;
    assert_eq!(kstatus(&made), Kstatus::InProgress, "{made:?}");
    assert_eq!(argo_health(&made), ArgoHealth::Progressing);
    let made = scene
        .create(
            "VaultConnection",
            "new",
            json!({"spec": {"mixpeek": {"auth": {"apiKeyRef": {"name": "no", "key": "no"}}}}}),
        )
        .await;
    assert_eq!(kstatus(&made), Kstatus::InProgress, "{made:?}");
}

async fn b35_transitions(kind: Kind) {
    let scene = Scene::new("b35-transitions").await;
    let remote = scene.remote(kind).await;
    scene.connect(&remote).await;
    let made = scene.vault_secret("app", spec(kind, "first")).await;
    let watched = Arc::clone(&remote);
    let versions = Versions::of(&scene, "VaultSecret", &made, move |app| tells_the_truth(&watched, app)).await;
    let mut last = scene.ready("app").await;
    // The time has whole seconds: each step falls into another one.
    let another_second = async |last: &Object| {
        let since = last.ready().since;
        let now = || jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        scene.eventually("another second has begun", async || now() > since).await;
    };
    another_second(&last).await;
    for value in ["second", "third"] {
        scene.edit("app", spec(kind, value)).await;
        last = scene.ready("app").await;
    }
    // Of one reason to another it stays False.
    another_second(&last).await;
    remote.faults().add(Fault::new(Action::status(422)).on(Op::Update));
    // Between intent and outcome another second begins.
    remote.set_latency(std::time::Duration::from_millis(1100));
    scene.edit("app", spec(kind, "fourth")).await;
    let refused = scene.not_ready("app", "RemoteError").await;
    assert!(refused.ready().since > last.ready().since, "{refused:?}");
    another_second(&refused).await;
    scene.edit("app", json!({"suspend": true})).await;
    let suspended = scene.not_ready("app", "Suspended").await;
    assert_eq!(suspended.ready().since, refused.ready().since, "from False to False nothing turns");
    remote.faults().clear();
    scene.edit("app", json!({"suspend": false})).await;
    last = scene.ready("app").await;
    assert!(last.ready().since > suspended.ready().since);

    let all = versions.up_to(&scene, &last).await;
    for pair in all.windows(2) {
        for kind in ["Ready", "Pushed", "Projected"] {
            let (before, after) = (pair[0].condition(kind), pair[1].condition(kind));
            if before.status == after.status {
                assert_eq!(before.since, after.since, "{kind} did not turn: {before:?} {after:?}");
            }
            assert!(after.generation <= pair[1].number("/metadata/generation"));
        }
    }
    for app in all.iter().filter(|app| !app.at("/status/observedGeneration").is_null()) {
        let observed = app.number("/status/observedGeneration");
        assert!(observed <= app.number("/metadata/generation"), "{app:?}");
        if app.is_observed() {
            assert_eq!(app.ready().generation, observed, "the conditions speak of the generation that was observed");
        }
    }
    let generations: Vec<i64> = all.iter().map(|app| app.number("/status/observedGeneration")).collect();
    assert!(generations.is_sorted(), "{generations:?}");
}

/// What the operator asks for in a life with everything in it, it may have.
#[tokio::test]
async fn b39_nothing_is_refused_cluster_wide() {
    let _alone = RIGHTS.lock().await;
    let scene = Scene::new("b39").await;
    let mark = scene.mark();
    crate::common::whole_life(&scene).await;
    let user = scene.operator.user();
    let refused = |code| code == 401 || code == 403;
    // Namespaces of other tests may be going away, in which nothing can be created.
    let mine =
        |namespace: &str| namespace.is_empty() || namespace == scene.namespace || namespace == scene.operator.system();
    let audit = scene.cluster.audit();
    let all = audit.requests_after(mark, |r| r.user == user && mine(&r.namespace));
    assert!(all.iter().any(|r| r.resource == "secrets" && r.verb == "create"), "the audit log knows the operator");
    let bad: Vec<_> = all.into_iter().filter(|r| refused(r.code)).collect();
    assert!(bad.is_empty(), "{bad:#?}");
}

/// What its work does not need, it may not have.
#[tokio::test]
async fn b39_no_more_than_it_needs() {
    let _alone = RIGHTS.lock().await;
    let scene = Scene::new("b39-least").await;
    let kubeconfig = scene.cluster.cluster_rights().await;
    let client = scene.cluster.client_from(&kubeconfig).await.unwrap();
    let code = |result: kube::Result<()>| match result {
        Ok(()) => 200,
        Err(kube::Error::Api(status)) => status.code,
        Err(error) => panic!("{error}"),
    };
    let api = |kind: &str| crate::common::api(&client, kind, &scene.namespace);
    let mut tried = Vec::new();
    for kind in ["Deployment", "ServiceAccount", "Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding"] {
        tried.push((kind, "list", code(api(kind).list(&Default::default()).await.map(drop))));
    }
    // There, so that a deletion is not refused for want of an object.
    scene.vault_secret("mine", spec(Kind::Kelvin, "a value")).await;
    let kinds =
        ["VaultSecret", "VaultConnection", "ClusterVaultConnection", "ClusterVaultSecret", "ConfigMap", "Namespace"];
    for kind in kinds {
        let body = if kind == "VaultSecret" { spec(Kind::Kelvin, "a value") } else { json!({}) };
        let object = serde_json::from_value(scene.manifest(kind, "mine", json!({"spec": body}))).unwrap();
        let dry = kube::api::PostParams { dry_run: true, ..Default::default() };
        tried.push((kind, "create", code(api(kind).create(&dry, &object).await.map(drop))));
        let dry = kube::api::DeleteParams { dry_run: true, ..Default::default() };
        tried.push((kind, "delete", code(api(kind).delete("mine", &dry).await.map(drop))));
    }
    // A spec, or a status that somebody else may have written, is not its to put in place, nor a status to read on its own.
    let object = serde_json::from_value(scene.manifest("VaultSecret", "mine", json!({"spec": {}}))).unwrap();
    let dry = kube::api::PostParams { dry_run: true, ..Default::default() };
    tried.push(("VaultSecret", "update", code(api("VaultSecret").replace("mine", &dry, &object).await.map(drop))));
    for kind in ["VaultSecret", "VaultConnection", "ClusterVaultConnection"] {
        tried.push((kind, "get status", code(api(kind).get_status("mine").await.map(drop))));
    }
    let patch = kube::api::Patch::Merge(json!({"status": {}}));
    let dry = kube::api::PatchParams { dry_run: true, ..Default::default() };
    tried.push((
        "VaultSecret",
        "patch status",
        code(api("VaultSecret").patch_status("mine", &dry, &patch).await.map(drop)),
    ));
    let allowed: Vec<_> = tried.iter().filter(|(.., code)| *code != 403).collect();
    assert!(allowed.is_empty(), "{allowed:?}");
    assert_eq!(code(api("Secret").list(&Default::default()).await.map(drop)), 200, "the kubeconfig is good");
}

for_each_remote!(
    b35_kubectl_wait_sees_the_truth,
    b35_health_in_every_state,
    b35_health_of_a_connection,
    b35_transitions,
);
