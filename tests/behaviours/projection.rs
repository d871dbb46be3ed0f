//! Behaviours 28–32: the Secret that shows the values.

use serde_json::json;

use crate::common::{Kind, Object, Scene, entry, for_each_remote, generated, inline};

#[tokio::test]
async fn b28_deleted_secret_is_restored() {
    let scene = Scene::new("b28").await;
    let synced = scene.synced(Kind::Kelvin, json!({})).await;
    scene.delete("Secret", "app").await;
    scene.secret_has("app", "VALUE", &synced.value).await;
    scene.ready("app").await;
    assert_eq!(synced.remote.write_calls(), 1, "the remote is not asked");
}

#[tokio::test]
async fn b28_edited_secret_is_restored() {
    let scene = Scene::new("b28-edit").await;
    let synced = scene.synced(Kind::Kelvin, json!({})).await;
    scene.patch("Secret", "app", json!({"stringData": {"VALUE": "of somebody", "MORE": "of somebody"}})).await;
    let restored = |secret: &Object| {
        secret.keys() == ["VALUE"] && secret.secret_value("VALUE").unwrap() == synced.value.as_bytes()
    };
    scene.until("Secret", "app", "is restored", restored).await;
    scene.patch("Secret", "app", json!({"data": null})).await;
    scene.until("Secret", "app", "is restored", restored).await;
    scene.ready("app").await;
    assert_eq!(synced.remote.write_calls(), 1);
}

#[tokio::test]
async fn b28_renamed_target() {
    let scene = Scene::new("b28-rename").await;
    let synced = scene.synced(Kind::Dreadnode, json!({})).await;
    scene.edit("app", json!({"target": {"name": "new-name"}})).await;
    scene.secret_has("new-name", "VALUE", &synced.value).await;
    scene.gone("Secret", "app").await;
    let object = scene.ready("app").await;
    assert_eq!(object.text("/status/target/name"), "new-name");
    assert_eq!(synced.remote.write_calls(), 1);
}

/// The old one is somebody else's by now: it stays.
#[tokio::test]
async fn b28_renamed_target_leaves_a_foreign_secret() {
    let scene = Scene::new("b28-foreign").await;
    let remote = scene.remote(Kind::Mixpeek).await;
    scene.connect(&remote).await;
    scene.source("taken", &[("mine", "of somebody")]).await;
    let spec = json!({"connectionRef": {"name": "mixpeek"}, "target": {"name": "taken"},
                      "data": [inline("VALUE", "the_value", "a value")]});
    scene.vault_secret("app", spec).await;
    scene.not_ready("app", "TargetConflict").await;
    scene.edit("app", json!({"target": {"name": "free"}})).await;
    scene.ready("app").await;
    assert_eq!(scene.expect("Secret", "taken").await.keys(), ["mine"]);
}

/// Nobody is advised to delete the Secret that the value comes from, and nothing is pushed before the two have different names.
#[tokio::test]
async fn b29_source_cannot_be_the_target() {
    let scene = Scene::new("b29-source").await;
    let remote = scene.remote(Kind::Kelvin).await;
    scene.connect(&remote).await;
    let before = scene.source("app", &[("api-key", "a value")]).await;
    let spec = json!({"connectionRef": {"name": "kelvin"}, "data": [entry("VALUE", "the-value", "app/api-key")]});
    scene.vault_secret("app", spec).await;
    let app = scene.not_ready("app", "TargetConflict").await;
    let message = app.ready().message;
    assert!(message.contains("set spec.target.name") && !message.contains("delete"), "{message:?}");
    assert_eq!(app.condition("Projected").reason, "TargetConflict");
    scene.two_more_probes(&remote).await;
    assert_eq!(remote.write_calls(), 0);
    assert_eq!(scene.expect("Secret", "app").await, before);

    scene.edit("app", json!({"target": {"name": "shown"}})).await;
    scene.secret_has("shown", "VALUE", "a value").await;
    scene.ready("app").await;
    // Beside what is there it may be, but not over what it is made of.
    scene.edit("app", json!({"target": {"name": "app", "creationPolicy": "Merge"}})).await;
    scene.secret_has("app", "VALUE", "a value").await;
    scene.ready("app").await;
    let further = json!({"metadata": null, "data": {"api-key": "{{ VALUE }}{{ VALUE }}"}});
    scene.edit("app", json!({"target": {"template": further}})).await;
    let message = scene.not_ready("app", "TargetConflict").await.ready().message;
    assert!(message.contains("\"api-key\""), "{message:?}");
    assert_eq!(scene.expect("Secret", "app").await.secret_value("api-key").unwrap(), b"a value");
    assert_eq!(remote.history("the-value"), ["a value"]);
}

async fn b29_foreign_secret_has_the_name(kind: Kind) {
    let scene = Scene::new("b29").await;
    let remote = scene.remote(kind).await;
    scene.connect(&remote).await;
    let body = json!({"metadata": {"labels": {"team": "theirs"}}, "stringData": {"VALUE": "theirs"}});
    let before = scene.create("Secret", "app", body).await;
    let name = kind.name("the value");
    let data = json!([inline("VALUE", &name, "ours")]);
    scene.vault_secret("app", json!({"connectionRef": {"name": kind.member()}, "data": data})).await;
    let object = scene.not_ready("app", "TargetConflict").await;
    let message = object.ready().message;
    assert!(message.contains("app"), "{message:?}");
    assert_eq!(object.condition("Projected").status, "False");
    assert_eq!(scene.expect("Secret", "app").await, before, "untouched");
    // Once it is out of the way, ours is made.
    scene.delete("Secret", "app").await;
    scene.secret_has("app", "VALUE", "ours").await;
    scene.ready("app").await;
    assert_eq!(remote.history(&name), ["ours"]);
}

#[tokio::test]
async fn b29_merge_writes_our_keys_only() {
    let scene = Scene::new("b29-merge").await;
    let remote = scene.remote(Kind::Kelvin).await;
    scene.connect(&remote).await;
    let values = [scene.canary("one"), scene.canary("one")];
    scene.source("source", &[("value", &values[0])]).await;
    let spec = json!({"connectionRef": {"name": "kelvin"}, "target": {"name": "theirs", "creationPolicy": "Merge"},
                      "data": [entry("OURS", "ours", "source/value"), inline("SECOND", "second", "a value")]});
    scene.vault_secret("app", spec).await;
    let message = scene.not_ready("app", "TargetMissing").await.ready().message;
    assert!(message.contains("theirs"), "{message:?}");

    let body = json!({"type": "example.com/theirs", "stringData": {"THEIRS": "of somebody"},
        "metadata": {"labels": {"team": "theirs"}, "annotations": {"note": "theirs"}}});
    let before = scene.create("Secret", "theirs", body).await;
    scene.ready("app").await;
    let merged = scene.secret_has("theirs", "OURS", &values[0]).await;
    assert_eq!(merged.keys(), ["OURS", "SECOND", "THEIRS"]);

    scene.patch("Secret", "theirs", json!({"stringData": {"THEIRS": "of somebody, changed"}})).await;
    scene.set_source("source", "value", &values[1]).await;
    let merged = scene.secret_has("theirs", "OURS", &values[1]).await;
    scene.ready("app").await;
    assert_eq!(merged.secret_value("THEIRS").unwrap(), b"of somebody, changed");
    assert_eq!((merged.uid(), merged.text("/type")), (before.uid(), "example.com/theirs"));
    assert_eq!(merged.at("/metadata/labels/team"), &json!("theirs"));
    assert_eq!(merged.at("/metadata/annotations/note"), &json!("theirs"));
    assert_eq!(merged.at("/metadata/ownerReferences"), &json!(null), "it does not go with our object");

    // A key that leaves the spec leaves the Secret; theirs stays.
    scene.edit("app", json!({"data": [entry("OURS", "ours", "source/value")]})).await;
    scene.until("Secret", "theirs", "has lost the second key", |s| s.keys() == ["OURS", "THEIRS"]).await;
}

async fn made_with(policy: &str) -> (Scene, Object) {
    let scene = Scene::new("b30").await;
    let synced = scene.synced(Kind::Kelvin, json!({"target": {"creationPolicy": policy}})).await;
    (scene, synced.object)
}

#[tokio::test]
async fn b30_owner_takes_the_secret_along() {
    let (scene, object) = made_with("Owner").await;
    let secret = scene.expect("Secret", "app").await;
    assert_eq!(secret.text("/metadata/ownerReferences/0/uid"), object.uid());
    assert_eq!(secret.at("/metadata/ownerReferences/0/controller"), &json!(true));
    scene.delete("VaultSecret", "app").await;
    scene.gone("Secret", "app").await;
}

#[tokio::test]
async fn b30_orphan_leaves_the_secret() {
    let (scene, _) = made_with("Orphan").await;
    let secret = scene.expect("Secret", "app").await;
    assert_eq!(secret.at("/metadata/ownerReferences"), &json!(null));
    // One that goes with its object is made beside it: when that is collected, the orphan would have been, too.
    let data = json!([inline("VALUE", "other", "a value")]);
    scene.vault_secret("owner", json!({"connectionRef": {"name": "kelvin"}, "data": data})).await;
    scene.ready("owner").await;
    scene.delete("VaultSecret", "app").await;
    scene.gone("VaultSecret", "app").await;
    scene.delete("VaultSecret", "owner").await;
    scene.gone("Secret", "owner").await;
    assert_eq!(scene.expect("Secret", "app").await.uid(), secret.uid());
}

#[tokio::test]
async fn b30_none_makes_no_secret() {
    let (scene, object) = made_with("None").await;
    assert_eq!(object.ready().reason, "Synced");
    assert_eq!(scene.get("Secret", "app").await, None);
}

#[tokio::test]
async fn b30_immutable_secret_is_replaced() {
    let scene = Scene::new("b30-immutable").await;
    let synced = scene.synced(Kind::Kelvin, json!({"target": {"immutable": true}})).await;
    let first = scene.expect("Secret", "app").await;
    assert_eq!(first.at("/immutable"), &json!(true));
    let value = scene.canary("value");
    scene.set_source("source", "value", &value).await;
    let second = scene.secret_has("app", "VALUE", &value).await;
    assert_ne!(second.uid(), first.uid(), "replaced, because it cannot be edited");
    assert_eq!(second.at("/immutable"), &json!(true));
    scene.ready("app").await;
    assert_eq!(synced.remote.write_calls(), 2);
}

#[tokio::test]
async fn b30_changed_type_replaces_once_and_says_why() {
    let scene = Scene::new("b30-type").await;
    let synced = scene.synced(Kind::Kelvin, json!({})).await;
    let first = scene.expect("Secret", "app").await;
    scene.edit("app", json!({"target": {"type": "example.com/credentials"}})).await;
    let retyped = |secret: &Object| secret.text("/type") == "example.com/credentials";
    let second = scene.until("Secret", "app", "has the new type", retyped).await;
    assert_ne!(second.uid(), first.uid());
    assert_eq!(second.secret_value("VALUE").unwrap(), synced.value.as_bytes());
    scene.ready("app").await;
    let says_why = async || {
        let events = scene.events("app").await;
        events.into_iter().find(|event| event.text("/note").contains("type"))
    };
    scene.eventually("an event says why", says_why).await;
    scene.two_more_probes(&synced.remote).await;
    assert_eq!(scene.expect("Secret", "app").await.version(), second.version(), "once");
    assert_eq!(synced.remote.write_calls(), 1);
}

/// Labels and annotations come from the template, change with it and go with it; others' stay.
#[tokio::test]
async fn b30_template_metadata() {
    let scene = Scene::new("b30-labels").await;
    let metadata = json!({"labels": {"team": "shop"}, "annotations": {"reload": "yes"}});
    let synced = scene.synced(Kind::Mixpeek, json!({"target": {"template": {"metadata": metadata}}})).await;
    let secret = scene.expect("Secret", "app").await;
    assert_eq!(secret.text("/metadata/labels/team"), "shop");
    assert_eq!(secret.text("/metadata/annotations/reload"), "yes");
    scene.patch("Secret", "app", json!({"metadata": {"labels": {"theirs": "too"}}})).await;
    scene.edit("app", json!({"target": {"template": {"metadata": {"labels": {"team": null, "group": "shop"}}}}})).await;
    let changed = |secret: &Object| {
        let labels = secret.at("/metadata/labels");
        labels["group"] == "shop" && labels.get("team").is_none()
    };
    let secret = scene.until("Secret", "app", "has the new label", changed).await;
    assert_eq!(secret.text("/metadata/labels/theirs"), "too");
    scene.ready("app").await;
    assert_eq!(synced.remote.write_calls(), 1);
}

/// `push: false` is for the Secret only, `project: false` for the remote only.
async fn b30_push_only_and_project_only(kind: Kind) {
    let scene = Scene::new("b30-parts").await;
    let remote = scene.remote(kind).await;
    scene.connect(&remote).await;
    let (pushed, both) = (kind.name("pushed"), kind.name("both"));
    let mut data =
        [inline("PUSHED", &pushed, "one"), inline("SHOWN", &kind.name("shown"), "two"), inline("BOTH", &both, "three")];
    data[0]["project"] = json!(false);
    data[1]["push"] = json!(false);
    scene.vault_secret("app", json!({"connectionRef": {"name": kind.member()}, "data": data})).await;
    let object = scene.ready("app").await;
    assert_eq!(object.text("/status/synced"), "2/2");
    assert_eq!(scene.expect("Secret", "app").await.keys(), ["BOTH", "SHOWN"]);
    let mut names: Vec<_> = remote.entries().into_iter().map(|entry| entry.name).collect();
    names.sort();
    assert_eq!(names, [both, pushed]);
}

#[tokio::test]
async fn b31_privileged_types_are_refused_by_the_schema() {
    let scene = Scene::new("b31").await;
    for kind in ["kubernetes.io/service-account-token", "bootstrap.kubernetes.io/token"] {
        let spec = json!({"connectionRef": {"name": "kelvin"}, "data": [inline("VALUE", "the-value", "a value")],
                          "target": {"type": kind}});
        let refused = scene.try_create("VaultSecret", "app", json!({"spec": spec})).await;
        let kube::Error::Api(status) = refused.expect_err("it must be refused") else { panic!("no answer") };
        assert_eq!(status.code, 422);
        assert!(status.message.contains("give rights"), "{}", status.message);
    }
}

async fn b32_names_of_253_characters(kind: Kind) {
    let scene = Scene::new("b32").await;
    let remote = scene.remote(kind).await;
    let long = |first: &str| format!("{first}{}", "n".repeat(253 - first.len()));
    let (app, source, target, connection) = (long("app-"), long("source-"), long("target-"), long("connection-"));
    let key = long("KEY.");
    scene.connect_as("short", &remote, json!({})).await;
    let spec = Scene::connection_spec(&remote, "short-credentials", json!({}));
    scene.create("VaultConnection", &connection, json!({"spec": spec})).await;
    let (name, made, value) = (kind.name("the value"), kind.name("made"), scene.canary("value"));
    scene.source(&source, &[(&key, &value)]).await;
    let spec = json!({"connectionRef": {"name": connection}, "target": {"name": target}, "deletionPolicy": "Delete",
        "data": [entry(&key, &name, &format!("{source}/{key}")), generated(&long("MADE."), &made, 1)]});
    scene.vault_secret(&app, spec).await;
    scene.ready(&app).await;
    scene.secret_has(&target, &key, &value).await;
    assert_eq!(remote.history(&name), [value]);
    scene.secret_text(&remote.value(&made).unwrap());
    // Events about it are told as well, and it can go.
    scene.delete("Secret", &source).await;
    scene.not_ready(&app, "SourceMissing").await;
    let about = async || !scene.events(&app).await.is_empty();
    scene.eventually("there is an event", about).await;
    scene.delete("VaultSecret", &app).await;
    scene.gone("VaultSecret", &app).await;
    assert_eq!(remote.entries().len(), 0);
}

for_each_remote!(b29_foreign_secret_has_the_name, b30_push_only_and_project_only, b32_names_of_253_characters);
