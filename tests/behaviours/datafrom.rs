//! Behaviours D1–D5 and D8: whole Secrets by `spec.dataFrom`. What is refused: `datafrom_refused`.

use devkit::remotes::Op;
use serde_json::{Value, json};

use crate::common::{Kind, Object, Scene, entry, for_each_remote, inline, merged, templated};

/// A VaultSecret `app` of these `dataFrom` items.
pub fn spec(kind: Kind, data_from: Value) -> Value {
    json!({"connectionRef": {"name": kind.member()}, "dataFrom": data_from})
}

/// Every key of the Secret `source`.
pub fn source() -> Value {
    json!([{"secretRef": {"name": "source"}}])
}

/// `synced` of `total`, as the column has it.
pub async fn synced(scene: &Scene, count: usize) -> Object {
    let text = format!("{count}/{count}");
    let holds = |app: &Object| app.is_ready() && app.text("/status/synced") == text;
    scene.until("VaultSecret", "app", &format!("is Ready with {text}"), holds).await
}

async fn has_no(scene: &Scene, secret: &str, key: &str) {
    let holds = |object: &Object| !object.keys().iter().any(|found| found == key);
    scene.until("Secret", secret, &format!("has no {key}"), holds).await;
}

async fn d01_every_key_is_an_entry(kind: Kind) {
    let scene = Scene::new("d01").await;
    let remote = scene.remote(kind).await;
    scene.connect(&remote).await;
    let values = ["alpha", "beta", "gamma"].map(|key| scene.canary(key));
    scene.source("source", &[("alpha", &values[0]), ("beta", &values[1])]).await;
    scene.vault_secret("app", spec(kind, source())).await;
    let app = synced(&scene, 2).await;
    for (key, value) in ["alpha", "beta"].iter().zip(&values) {
        assert_eq!(remote.value(&kind.name(key)).as_ref(), Some(value));
        assert_eq!(app.row(&kind.name(key)).unwrap().text("/key"), *key);
        scene.secret_has("app", key, value).await;
    }
    assert_eq!(remote.write_calls(), 2);

    scene.set_source("source", "gamma", &values[2]).await;
    scene.remote_has(&remote, &kind.name("gamma"), &values[2]).await;
    scene.secret_has("app", "gamma", &values[2]).await;
    synced(&scene, 3).await;
    assert_eq!(remote.write_calls(), 3, "the others are not sent again");
    let changed = scene.canary("changed");
    scene.set_source("source", "alpha", &changed).await;
    scene.remote_has(&remote, &kind.name("alpha"), &changed).await;
    scene.secret_has("app", "alpha", &changed).await;
    synced(&scene, 3).await;
    // What changes no value is no reason to write.
    scene.annotate("Secret", "source", "example.com/touched", "yes").await;
    scene.two_more_probes(&remote).await;
    assert_eq!(remote.write_calls(), 4);
}

async fn key_goes(kind: Kind, policy: &str) {
    let scene = Scene::new("d02").await;
    let remote = scene.remote(kind).await;
    scene.connect(&remote).await;
    let (kept, gone) = (scene.canary("kept"), scene.canary("gone"));
    scene.source("source", &[("kept", &kept), ("gone", &gone)]).await;
    scene.vault_secret("app", merged(spec(kind, source()), json!({"deletionPolicy": policy}))).await;
    synced(&scene, 2).await;
    scene.patch("Secret", "source", json!({"data": {"gone": null}})).await;
    let app = synced(&scene, 1).await;
    has_no(&scene, "app", "gone").await;
    let is_gone = |app: &Object| app.row(&kind.name("gone")).is_none();
    scene.until("VaultSecret", "app", "has no row for it", is_gone).await;
    let left = if policy == "Delete" { None } else { Some(gone) };
    assert_eq!(remote.value(&kind.name("gone")), left, "{app:?}");
    assert_eq!(remote.history(&kind.name("kept")), [kept]);
    assert_eq!(remote.count(Op::Delete), usize::from(policy == "Delete"));
}

async fn d02_key_goes_under_delete(kind: Kind) {
    key_goes(kind, "Delete").await;
}

async fn d02_key_goes_under_retain(kind: Kind) {
    key_goes(kind, "Retain").await;
}

/// A Secret that is away is no Secret without keys.
async fn d03_missing_secret_keeps_everything(kind: Kind) {
    let scene = Scene::new("d03").await;
    let remote = scene.remote(kind).await;
    scene.connect(&remote).await;
    let (value, other) = (scene.canary("value"), scene.canary("other"));
    scene.source("source", &[("alpha", &value), ("beta", &value)]).await;
    scene.source("other", &[("explicit", &other)]).await;
    let more =
        json!({"deletionPolicy": "Delete", "data": [entry("explicit", &kind.name("explicit"), "other/explicit")]});
    scene.vault_secret("app", merged(spec(kind, source()), more)).await;
    synced(&scene, 3).await;
    scene.delete("Secret", "source").await;
    // A pass that had listed its keys a moment before says first which of them is missing.
    let says = |app: &Object| {
        let ready = app.ready();
        ready.reason == "SourceMissing"
            && ready.message.contains("dataFrom[0]")
            && ready.message.contains("\"source\" not found")
    };
    scene.until("VaultSecret", "app", "says that the source of dataFrom is away", says).await;
    scene.two_more_probes(&remote).await;
    // What comes from elsewhere goes on.
    let changed = scene.canary("changed");
    scene.set_source("other", "explicit", &changed).await;
    scene.remote_has(&remote, &kind.name("explicit"), &changed).await;
    assert_eq!(remote.count(Op::Delete), 0, "nothing is deleted");
    for key in ["alpha", "beta"] {
        assert_eq!(remote.history(&kind.name(key)), [value.as_str()]);
        scene.secret_has("app", key, &value).await;
    }
    scene.secret_has("app", "explicit", &other).await;

    scene.source("source", &[("alpha", &value)]).await;
    synced(&scene, 2).await;
    scene.secret_has("app", "explicit", &changed).await;
    assert_eq!(remote.history(&kind.name("alpha")), [value.as_str()], "the same value is not sent again");
    // It is back, and without that key.
    scene.eventually("its entry is deleted", async || remote.value(&kind.name("beta")).is_none()).await;
}

async fn d03_missing_from_the_start(kind: Kind) {
    let scene = Scene::new("d03-start").await;
    let remote = scene.remote(kind).await;
    scene.connect(&remote).await;
    let more = json!({"deletionPolicy": "Delete", "data": [inline("explicit", &kind.name("explicit"), "v")]});
    scene.vault_secret("app", merged(json!({"connectionRef": {"name": kind.member()}}), more)).await;
    synced(&scene, 1).await;
    // As an edit that moves a key to a Secret which comes a little later: what it has is not known, so nothing leaves.
    scene.edit("app", json!({"data": null, "dataFrom": source()})).await;
    scene.not_ready("app", "SourceMissing").await;
    scene.two_more_probes(&remote).await;
    assert_eq!((remote.write_calls(), remote.count(Op::Delete)), (1, 0));
    scene.source("source", &[("explicit", "v")]).await;
    synced(&scene, 1).await;
    assert_eq!(remote.history(&kind.name("explicit")), ["v"]);
    assert_eq!(remote.write_calls(), 1);
}

/// Gives a Secret the label that tests select by, or takes it away.
async fn label(scene: &Scene, secret: &str, value: Value) {
    scene.patch("Secret", secret, json!({"metadata": {"labels": {"push": value}}})).await;
}

async fn d04_labels_come_and_go(kind: Kind) {
    let scene = Scene::new("d04").await;
    let remote = scene.remote(kind).await;
    scene.connect(&remote).await;
    let value = scene.canary("value");
    for name in ["one", "two", "three"] {
        scene.source(name, &[(&format!("of{name}"), &value)]).await;
    }
    label(&scene, "one", json!("yes")).await;
    let selector = json!([{"selector": {"matchLabels": {"push": "yes"}}}]);
    // What it makes itself has the label too, and is never selected.
    let target = json!({"template": {"metadata": {"labels": {"push": "yes"}}}});
    scene
        .vault_secret("app", merged(spec(kind, selector), json!({"deletionPolicy": "Delete", "target": target})))
        .await;
    synced(&scene, 1).await;
    label(&scene, "two", json!("yes")).await;
    synced(&scene, 2).await;
    assert_eq!(remote.value(&kind.name("oftwo")).as_ref(), Some(&value));
    assert_eq!(scene.expect("Secret", "app").await.keys(), ["ofone", "oftwo"]);
    scene.two_more_probes(&remote).await;
    assert_eq!(remote.write_calls(), 2);

    label(&scene, "one", json!("no")).await;
    synced(&scene, 1).await;
    has_no(&scene, "app", "ofone").await;
    scene.eventually("its entry is deleted", async || remote.value(&kind.name("ofone")).is_none()).await;
    scene.edit("app", json!({"deletionPolicy": "Retain"})).await;
    label(&scene, "three", json!("yes")).await;
    synced(&scene, 2).await;
    scene.delete("Secret", "two").await;
    synced(&scene, 1).await;
    assert_eq!(remote.value(&kind.name("oftwo")).as_ref(), Some(&value), "retained");
    assert_eq!(remote.count(Op::Delete), 1);
    label(&scene, "three", json!(null)).await;
    let empty = scene.until("VaultSecret", "app", "has nothing", |app| app.is_ready() && app.rows().is_empty()).await;
    assert_eq!(empty.text("/status/synced"), "0/0");
}

async fn d05_data_wins(kind: Kind) {
    let scene = Scene::new("d05").await;
    let remote = scene.remote(kind).await;
    scene.connect(&remote).await;
    let values = [scene.canary("source"), scene.canary("other")];
    scene.source("source", &[("alpha", &values[0]), ("beta", &values[0])]).await;
    scene.source("other", &[("value", &values[1])]).await;
    let data = json!([
        entry("alpha", &kind.name("mine"), "other/value"),
        templated("made", &kind.name("made"), "{{ beta }}!"),
    ]);
    scene.vault_secret("app", merged(spec(kind, source()), json!({"data": data}))).await;
    synced(&scene, 3).await;
    assert_eq!(remote.value(&kind.name("mine")).as_ref(), Some(&values[1]));
    assert_eq!(remote.value(&kind.name("alpha")), None, "left out");
    assert_eq!(remote.value(&kind.name("beta")).as_ref(), Some(&values[0]));
    assert_eq!(remote.value(&kind.name("made")), Some(format!("{}!", values[0])), "templates know the keys");
    scene.secret_has("app", "alpha", &values[1]).await;
}

fn document(remote: &crate::common::Remote, name: &str) -> Value {
    remote.value(name).map(|text| serde_json::from_str(&text).unwrap()).unwrap_or_default()
}

async fn d08_bundle_is_one_entry(kind: Kind) {
    let scene = Scene::new("d08").await;
    let remote = scene.remote(kind).await;
    scene.connect(&remote).await;
    let values = [scene.canary("one"), scene.canary("two"), scene.canary("three")];
    scene.source("source", &[("B", &values[1]), ("A", &values[0])]).await;
    let (name, rewrite) = (kind.name("app config"), json!([{"template": "{{ key | lower }}"}]));
    let item = json!([{"secretRef": {"name": "source"}, "remoteName": name, "rewrite": rewrite, "key": "config.json"}]);
    scene.vault_secret("app", merged(spec(kind, item), json!({"deletionPolicy": "Delete"}))).await;
    synced(&scene, 1).await;
    let text = format!(r#"{{"a":"{}","b":"{}"}}"#, values[0], values[1]);
    assert_eq!(remote.value(&name).as_ref(), Some(&text), "in order, so that it is the same text every time");
    let secret = scene.secret_has("app", "config.json", &text).await;
    assert_eq!(secret.keys(), ["A", "B", "config.json"]);

    scene.set_source("source", "C", &values[2]).await;
    scene.eventually("the new key is in it", async || document(&remote, &name)["c"] == json!(values[2])).await;
    scene.set_source("source", "A", &values[2]).await;
    scene.eventually("the change is in it", async || document(&remote, &name)["a"] == json!(values[2])).await;
    scene.patch("Secret", "source", json!({"data": {"B": null}})).await;
    let wanted = json!({"a": values[2], "c": values[2]});
    scene.eventually("the key is out of it", async || document(&remote, &name) == wanted).await;
    has_no(&scene, "app", "B").await;
    synced(&scene, 1).await;
    scene.annotate("Secret", "source", "example.com/touched", "yes").await;
    scene.two_more_probes(&remote).await;
    assert_eq!((remote.write_calls(), remote.count(Op::Delete)), (4, 0), "one write a change");
    // Not text: the whole entry stays as it was.
    scene.patch("Secret", "source", json!({"data": {"A": "//4="}})).await;
    let said = scene.not_ready("app", "ValueRefused").await.ready().message;
    assert!(said.contains("key A of Secret source") && said.contains("encoding: Base64"), "{said}");
    assert_eq!(document(&remote, &name), wanted);
}

/// The examples of the page, applied as they stand.
#[tokio::test]
async fn d01_documented_examples() {
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/datafrom.md")).unwrap();
    let blocks = page.split("\n```yaml\n").skip(1).map(|rest| rest.split_once("\n```").unwrap().0);
    let manifests: Vec<Value> = blocks.flat_map(|block| serde_saphyr::from_multiple::<Value>(block).unwrap()).collect();
    let scene = Scene::new("d01-docs").await;
    let remote = scene.remote(Kind::Kelvin).await;
    scene.connect(&remote).await;
    for manifest in &manifests {
        let mut manifest = manifest.clone();
        manifest["metadata"]["namespace"] = scene.namespace.clone().into();
        scene.apply(&manifest).await;
    }
    for manifest in manifests.iter().filter(|m| m["kind"] == "VaultSecret") {
        scene.ready(manifest["metadata"]["name"].as_str().unwrap()).await;
    }
    let mut names: Vec<String> = remote.entries().into_iter().map(|entry| entry.name).collect();
    names.sort();
    let wanted = [
        "billing-password",
        "db-password",
        "db-user",
        "mail-host",
        "mail-token",
        "mail-url",
        "mail-user",
        "orders-password",
        "worker-config",
    ];
    assert_eq!(names, wanted);
    assert_eq!(scene.expect("Secret", "shop-database").await.keys(), ["DB_PASSWORD", "DB_USER"]);
    assert_eq!(remote.value("mail-url").as_deref(), Some("smtps://robot@mail.example.com:465"));
    let config = r#"{"queue":"orders","token":"worker example"}"#;
    assert_eq!(remote.value("worker-config").as_deref(), Some(config));
    scene.secret_has("worker-config", "config.json", config).await;
}

for_each_remote!(
    d01_every_key_is_an_entry,
    d02_key_goes_under_delete,
    d02_key_goes_under_retain,
    d03_missing_secret_keeps_everything,
    d03_missing_from_the_start,
    d04_labels_come_and_go,
    d05_data_wins,
    d08_bundle_is_one_entry,
);
