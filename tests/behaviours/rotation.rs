//! Values that are made anew because of their age, key pairs, and workloads that restart with a value (behaviour 34).

use devkit::remotes::{Action, Fault, Op};
use serde_json::{Value, json};

use crate::common::{Kind, Object, Scene, for_each_remote, merged};

/// A Deployment of nothing: no node runs its Pods, but it has a template and a generation.
async fn deployment(scene: &Scene, name: &str) -> Object {
    let labels = json!({"app": name});
    let template = json!({"metadata": {"labels": labels}, "spec": {"containers": [{"name": "app", "image": "app"}]}});
    let spec = json!({"replicas": 0, "selector": {"matchLabels": labels}, "template": template});
    scene.create("Deployment", name, json!({"spec": spec})).await
}

fn restarted_for(deployment: &Object) -> Option<String> {
    let annotation = deployment.at("/spec/template/metadata/annotations/restart.vaultsecret.dev~1app");
    annotation.as_str().map(str::to_owned)
}

async fn b34_workloads_restart_once_a_change_of_value(kind: Kind) {
    let scene = Scene::new("b34").await;
    let made = deployment(&scene, "shop").await;
    let targets = json!([{"kind": "Deployment", "name": "shop"}, {"kind": "StatefulSet", "name": "none"}]);
    let synced = scene.synced(kind, json!({"rolloutRestartTargets": targets})).await;
    assert_eq!(restarted_for(&scene.expect("Deployment", "shop").await), None, "the first values restart nothing");

    let value = scene.canary("value");
    scene.set_source("source", "value", &value).await;
    let is_restarted = |d: &Object| restarted_for(d).is_some();
    let once = scene.until("Deployment", "shop", "restarts with the new value", is_restarted).await;
    scene.secret_has("app", "VALUE", &value).await;
    scene.remote_has(&synced.remote, &synced.entry, &value).await;
    scene.ready("app").await;
    scene.event("app", "Restarted").await;
    scene.event("app", "RestartTargetMissing").await;

    // Nothing else restarts it: not a repair, not another field, not a force-push.
    scene.delete("Secret", "app").await;
    scene.secret_has("app", "VALUE", &value).await;
    scene.edit("app", json!({"driftPolicy": "Report"})).await;
    scene.ready("app").await;
    scene.annotate("VaultSecret", "app", "vaultsecret.dev/force-push", "now").await;
    scene.eventually("it is pushed again", async || synced.remote.history(&synced.entry).len() == 3).await;
    scene.ready("app").await;
    scene.two_more_probes(&synced.remote).await;
    let still = scene.expect("Deployment", "shop").await;
    assert_eq!(still.at("/metadata/generation"), once.at("/metadata/generation"));
    assert_eq!(made.at("/metadata/generation"), &json!(1));
    assert_eq!(still.at("/metadata/generation"), &json!(2));
}

/// A value that fails at the remote restarts nothing: the Secret still shows the last good set.
async fn b34_waits_for_the_secret(kind: Kind) {
    let scene = Scene::new("b34-waits").await;
    deployment(&scene, "shop").await;
    let targets = json!([{"kind": "Deployment", "name": "shop"}]);
    let synced = scene.synced(kind, json!({"rolloutRestartTargets": targets})).await;
    synced.remote.faults().add(Fault::new(Action::status(422)).on(Op::Update));
    scene.set_source("source", "value", &scene.canary("value")).await;
    scene.not_ready("app", "RemoteError").await;
    assert_eq!(restarted_for(&scene.expect("Deployment", "shop").await), None);
}

fn rotating(kind: Kind) -> Value {
    json!({"connectionRef": {"name": kind.member()}, "data": [{
        "key": "PASSWORD", "remoteName": kind.name("password"),
        "valueFrom": {"generate": {"password": {}, "rotateEvery": "10s", "projectPrevious": true}}}]})
}

async fn b33_rotates_by_age(kind: Kind) {
    let scene = Scene::new("b33-age").await;
    let remote = scene.remote(kind).await;
    scene.connect(&remote).await;
    let name = kind.name("password");
    scene.vault_secret("app", rotating(kind)).await;
    let app = scene.ready("app").await;
    assert!(app.at("/status/nextRotation").is_string());
    scene.eventually("the value was made anew twice", async || remote.history(&name).len() >= 3).await;
    // Without the interval it stays as it is then.
    let off = json!({"data": [{"key": "PASSWORD", "remoteName": name,
        "valueFrom": {"generate": {"password": {}, "projectPrevious": true}}}]});
    scene.edit("app", off).await;
    let app = scene.ready("app").await;
    assert_eq!(app.at("/status/nextRotation"), &Value::Null);
    let history = remote.history(&name);
    history.iter().for_each(|value| scene.secret_text(value));
    let distinct: std::collections::BTreeSet<_> = history.iter().collect();
    assert_eq!(distinct.len(), history.len(), "each value was sent once");
    let [.., before, current] = &history[..] else { panic!("{} values", history.len()) };
    scene.secret_has("app", "PASSWORD", current).await;
    scene.secret_has("app", "PASSWORD.previous", before).await;
    let kept = scene.expect("Secret", "app-escrow").await.values();
    assert!(kept.contains(before) && kept.contains(current));
}

/// While the remote does not take a value, no other is made: the one that it has would be lost.
async fn b33_age_waits_for_the_remote(kind: Kind) {
    let scene = Scene::new("b33-waits").await;
    let remote = scene.remote(kind).await;
    scene.connect(&remote).await;
    let name = kind.name("password");
    scene.vault_secret("app", rotating(kind)).await;
    scene.ready("app").await;
    let first = remote.value(&name).unwrap();
    scene.secret_text(&first);
    remote.faults().add(Fault::new(Action::status(422)).on(Op::Update));
    scene.not_ready("app", "RemoteError").await;
    let kept = scene.expect("Secret", "app-escrow").await.values();
    kept.iter().for_each(|value| scene.secret_text(value));
    assert!(kept.len() == 2 && kept.contains(&first));
    // Longer than the interval.
    let due = scene.expect("VaultSecret", "app").await.at("/status/nextRotation").as_str().unwrap().to_owned();
    let due: jiff::Timestamp = due.parse().unwrap();
    let overdue = due + jiff::SignedDuration::from_secs(3);
    scene.eventually("it is overdue", async || jiff::Timestamp::now() > overdue).await;
    assert_eq!(scene.expect("Secret", "app-escrow").await.values(), kept);
    scene.secret_has("app", "PASSWORD", &first).await;
}

async fn b33_key_pairs(kind: Kind) {
    let scene = Scene::new("b33-pairs").await;
    let remote = scene.remote(kind).await;
    scene.connect(&remote).await;
    let key = |key: &str, generate: Value| json!({"key": key, "remoteName": kind.name(&key.to_lowercase()), "valueFrom": {"generate": generate}});
    let public = |of: &str| json!({"key": format!("{of}.pub"), "push": false, "valueFrom": {"template": format!("{{{{ {of} | public_key }}}}")}});
    let data = json!([
        public("SSH"),
        public("EC"),
        key("SSH", json!({"sshKey": {"comment": "deploy@shop"}})),
        key("RSA", json!({"rsaKey": {"keySize": 2048}})),
        key("EC", json!({"ecKey": {"curve": "P384"}})),
    ]);
    scene.vault_secret("app", json!({"connectionRef": {"name": kind.member()}, "data": data})).await;
    scene.ready("app").await;
    let shown = scene.expect("Secret", "app").await;
    for (name, begins) in [
        ("SSH", "-----BEGIN OPENSSH PRIVATE KEY-----"),
        ("RSA", "-----BEGIN PRIVATE KEY-----"),
        ("EC", "-----BEGIN PRIVATE KEY-----"),
    ] {
        let value = String::from_utf8(shown.secret_value(name).unwrap()).unwrap();
        assert!(value.starts_with(begins));
        assert_eq!(remote.value(&kind.name(&name.to_lowercase())), Some(value));
    }
    let text = |key: &str| String::from_utf8(shown.secret_value(key).unwrap()).unwrap();
    assert!(text("SSH.pub").starts_with("ssh-ed25519 AAAA") && text("SSH.pub").ends_with(" deploy@shop"));
    assert!(text("EC.pub").starts_with("-----BEGIN PUBLIC KEY-----"));
    let bad =
        json!({"connectionRef": {"name": kind.member()}, "data": [key("RSA", json!({"rsaKey": {"keySize": 1024}}))]});
    let refused = scene.try_create("VaultSecret", "bad", json!({"spec": bad})).await.unwrap_err().to_string();
    assert!(refused.contains("must be 2048, 3072 or 4096"), "{refused}");
    let short = merged(
        rotating(kind),
        json!({"data": [{"key": "P", "valueFrom": {"generate": {"password": {}, "rotateEvery": "5s"}}}]}),
    );
    let refused = scene.try_create("VaultSecret", "short", json!({"spec": short})).await.unwrap_err().to_string();
    assert!(refused.contains("at least 10s"), "{refused}");
}

for_each_remote!(
    b34_workloads_restart_once_a_change_of_value,
    b34_waits_for_the_secret,
    b33_rotates_by_age,
    b33_age_waits_for_the_remote,
    b33_key_pairs,
);
