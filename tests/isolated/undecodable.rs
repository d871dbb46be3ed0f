//! Behaviour 36: an object that the operator cannot read harms no other. The definitions are those of an API server that lets
//! everything through.

use devkit::controlplane::Options;
use serde_json::{Value, json};

use crate::common::{Kind, Scene, entry, inline, without_validation};

/// Specs that no VaultSecret of this version has.
fn nonsense() -> Vec<Value> {
    vec![
        json!("not even an object"),
        json!({"data": "not a list"}),
        json!({"connectionRef": {"name": ["a", "list"]}, "data": []}),
        json!({"connectionRef": {"name": "mixpeek"}, "data": [{"key": 7}]}),
        json!({"connectionRef": {"name": "mixpeek"}, "data": [inline("VALUE", "theirs", "v")], "deletionPolicy": "Perhaps"}),
        json!({"connectionRef": {"kind": "SomethingNew", "name": "mixpeek"}, "data": [inline("VALUE", "theirs", "v")]}),
        Value::Null,
    ]
}

/// Takes the rules for specs out of a definition.
pub fn permissive(definition: &mut Value) {
    without_validation(definition);
    for version in definition["spec"]["versions"].as_array_mut().into_iter().flatten() {
        version["schema"]["openAPIV3Schema"]["properties"]["spec"] =
            json!({"x-kubernetes-preserve-unknown-fields": true});
    }
}

#[tokio::test]
async fn b36_what_cannot_be_read_harms_no_other() {
    let options = Options { controller_manager: false, ..Options::default() };
    let scene = Scene::own_cluster("b36", options, permissive, &[]).await;
    let made = async |name: &str, value: &str| {
        let data = json!([entry("VALUE", &name.replace('-', "_"), "source/value")]);
        scene.vault_secret(name, json!({"connectionRef": {"name": "mixpeek"}, "data": data})).await;
        assert_eq!(scene.ready(name).await.text("/status/synced"), "1/1");
        scene.secret_has(name, "VALUE", value).await;
    };
    let remote = scene.remote(Kind::Mixpeek).await;
    let first = scene.canary("first");
    scene.source("source", &[("value", &first)]).await;
    for (number, spec) in nonsense().into_iter().enumerate() {
        scene.create("VaultSecret", &format!("nonsense-{number}"), json!({"spec": spec})).await;
        scene.create("VaultConnection", &format!("nonsense-{number}"), json!({"spec": spec})).await;
        scene.create("ClusterVaultConnection", &format!("nonsense-{number}"), json!({"spec": spec})).await;
    }
    scene.connect(&remote).await;
    made("after-them", &first).await;

    // While they are changed, and after a start that finds them.
    for number in 0..nonsense().len() {
        scene.annotate("VaultSecret", &format!("nonsense-{number}"), "example.com/note", "changed").await;
    }
    made("while-they-change", &first).await;
    scene.operator.restart().await;
    made("after-a-restart", &first).await;
    let second = scene.canary("second");
    scene.set_source("source", "value", &second).await;
    for name in ["after-them", "while-they-change", "after-a-restart"] {
        scene.remote_has(&remote, &name.replace('-', "_"), &second).await;
        scene.ready(name).await;
    }
    assert_eq!(remote.entries().len(), 3, "nothing was made of what could not be read");
    let unreadable = scene.operator.metric("vaultsecret_undecodable_objects_total", &["kind=\"VaultSecret\""]).await;
    assert!(unreadable >= 7.0, "the metrics tell of them: {}", scene.operator.metrics().await);
    assert_eq!(scene.operator.get("/readyz").await.unwrap().0, 200);
    for number in 0..nonsense().len() {
        scene.delete("VaultSecret", &format!("nonsense-{number}")).await;
        scene.gone("VaultSecret", &format!("nonsense-{number}")).await;
    }
}

/// One that was fine and is unreadable for a while keeps what it has, and goes on when it is mended.
#[tokio::test]
async fn b36_unreadable_for_a_while() {
    let options = Options { controller_manager: false, ..Options::default() };
    let scene = Scene::own_cluster("b36-while", options, permissive, &[]).await;
    let synced = scene.synced(Kind::Kelvin, json!({"deletionPolicy": "Delete"})).await;
    let good = scene.expect("VaultSecret", "app").await;
    let secret = scene.expect("Secret", "app").await;
    scene.edit("app", json!({"data": "not a list"})).await;
    let value = scene.canary("value");
    scene.set_source("source", "value", &value).await;
    scene.two_more_probes(&synced.remote).await;
    scene.operator.restart().await;
    scene.two_more_probes(&synced.remote).await;
    assert_eq!(synced.remote.entries().len(), 1, "it is not taken for deleted");
    assert_eq!(scene.expect("Secret", "app").await.version(), secret.version());
    // Somebody younger who names the entry does not get it.
    let data = json!([inline("VALUE", &synced.entry, "usurped")]);
    scene.vault_secret("usurper", json!({"connectionRef": {"name": "kelvin"}, "data": data})).await;
    scene.not_ready("usurper", "RemoteEntryExists").await;
    scene.delete("VaultSecret", "usurper").await;
    scene.gone("VaultSecret", "usurper").await;

    scene.edit("app", json!({"data": good.at("/spec/data")})).await;
    scene.remote_has(&synced.remote, &synced.entry, &value).await;
    scene.ready("app").await;
    scene.delete("VaultSecret", "app").await;
    scene.gone("VaultSecret", "app").await;
    assert_eq!(synced.remote.entries().len(), 0);
}
