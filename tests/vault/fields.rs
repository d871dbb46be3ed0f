//! Several keys as fields of one entry.

use serde_json::{Value, json};

use crate::bao::{Bao, WRITE_ONLY};
use crate::common::{Scene, merged};

/// A key that is a field of the entry `db`, from the Secret `source`.
fn field(key: &str, field: &str) -> Value {
    json!({"key": key, "remoteName": "db", "remoteField": field,
           "valueFrom": {"secretKeyRef": {"name": "source", "key": key}}})
}

/// A VaultSecret with `USER` and `PASSWORD` in one entry.
async fn synced(scene: &Scene, more: Value) -> (Bao, String, String) {
    let bao = Bao::with(scene, WRITE_ONLY).await;
    bao.connect(scene, json!({})).await;
    let (user, password) = (scene.canary("user"), scene.canary("password"));
    scene.source("source", &[("USER", &user), ("PASSWORD", &password)]).await;
    let data = [field("USER", "user"), field("PASSWORD", "password")];
    let spec = json!({"connectionRef": {"name": "vault"}, "data": data});
    scene.vault_secret("app", merged(spec, more)).await;
    let object = scene.ready("app").await;
    assert_eq!(object.text("/status/synced"), "1/1", "they are one entry");
    assert_eq!(object.row("db").unwrap().at("/fields"), &json!(["password", "user"]));
    (bao, user, password)
}

async fn fields_are(scene: &Scene, bao: &Bao, fields: Value) {
    scene.eventually("the entry has the fields", async || bao.fields("db").await == fields).await;
}

#[tokio::test]
async fn two_keys_are_written_in_one_piece() {
    let scene = Scene::new("vault-fields").await;
    let (bao, user, password) = synced(&scene, json!({})).await;
    assert_eq!(bao.fields("db").await, json!({"user": user, "password": password}));
    scene.secret_has("app", "USER", &user).await;
    scene.secret_has("app", "PASSWORD", &password).await;
    let changed = scene.canary("changed");
    scene.set_source("source", "PASSWORD", &changed).await;
    fields_are(&scene, &bao, json!({"user": user, "password": changed})).await;
    scene.secret_has("app", "PASSWORD", &changed).await;
    scene.ready("app").await;
    bao.two_more_probes(&scene).await;
    assert_eq!(bao.metadata("db").await["current_version"], 2, "one write a change, and none besides");
}

#[tokio::test]
async fn one_of_them_missing_holds_the_entry_back() {
    let scene = Scene::new("vault-half").await;
    let (bao, user, password) = synced(&scene, json!({})).await;
    scene.patch("Secret", "source", json!({"data": {"USER": null}})).await;
    let changed = scene.canary("changed");
    scene.set_source("source", "PASSWORD", &changed).await;
    let object = scene.not_ready("app", "SourceMissing").await;
    assert!(object.ready().message.contains("USER"), "{object:?}");
    bao.two_more_probes(&scene).await;
    assert_eq!(bao.fields("db").await, json!({"user": user, "password": password}));
    scene.set_source("source", "USER", &user).await;
    fields_are(&scene, &bao, json!({"user": user, "password": changed})).await;
}

#[tokio::test]
async fn a_field_goes_with_its_key_under_delete_and_stays_under_retain() {
    let scene = Scene::new("vault-field-gone").await;
    let (bao, user, password) = synced(&scene, json!({"deletionPolicy": "Delete"})).await;
    bao.foreign_put("db", json!({"user": user, "password": password, "other": "stays"})).await;
    scene.edit("app", json!({"data": [field("PASSWORD", "pw")]})).await;
    fields_are(&scene, &bao, json!({"pw": password, "other": "stays"})).await;
    let object = scene.ready("app").await;
    assert_eq!(object.row("db").unwrap().at("/fields"), &json!(["pw"]));
    scene.edit("app", json!({"deletionPolicy": "Retain", "data": [field("PASSWORD", "password")]})).await;
    fields_are(&scene, &bao, json!({"pw": password, "password": password, "other": "stays"})).await;
}

#[tokio::test]
async fn two_keys_cannot_be_one_field() {
    let scene = Scene::new("vault-one-field").await;
    let bao = Bao::with(&scene, WRITE_ONLY).await;
    bao.connect(&scene, json!({})).await;
    scene.source("source", &[("USER", "u"), ("PASSWORD", "p")]).await;
    let data = [field("USER", "same"), field("PASSWORD", "same")];
    scene.vault_secret("app", json!({"connectionRef": {"name": "vault"}, "data": data})).await;
    let object = scene.not_ready("app", "NameRefused").await;
    assert!(object.ready().message.contains("the field \"same\" of the entry \"db\""), "{object:?}");
    assert!(bao.proxy.mutations().is_empty());
}

#[tokio::test]
async fn a_whole_secret_is_the_fields_of_one_entry() {
    let scene = Scene::new("vault-bundle").await;
    let bao = Bao::with(&scene, WRITE_ONLY).await;
    bao.connect(&scene, json!({})).await;
    let (user, password) = (scene.canary("user"), scene.canary("password"));
    scene.source("source", &[("USER", &user), ("PASSWORD", &password)]).await;
    let rewrite = json!([{"template": "{{ key | lower }}"}]);
    let item = json!({"secretRef": {"name": "source"}, "remoteName": "db", "rewrite": rewrite});
    let spec = json!({"connectionRef": {"name": "vault"}, "dataFrom": [item], "deletionPolicy": "Delete"});
    scene.vault_secret("app", spec).await;
    let object = scene.ready("app").await;
    assert_eq!(object.text("/status/synced"), "1/1", "they are one entry");
    assert_eq!(bao.fields("db").await, json!({"user": user, "password": password}));
    scene.secret_has("app", "USER", &user).await;
    let host = scene.canary("host");
    scene.set_source("source", "HOST", &host).await;
    fields_are(&scene, &bao, json!({"user": user, "password": password, "host": host})).await;
    scene.patch("Secret", "source", json!({"data": {"USER": null}})).await;
    fields_are(&scene, &bao, json!({"password": password, "host": host})).await;
    scene.ready("app").await;
    assert_eq!(bao.metadata("db").await["current_version"], 3, "one write a change");
}
