//! Whose an entry is.

use devkit::controlplane::Options;
use serde_json::json;

use crate::bao::{ALL_OF_IT, Bao, ENTRY, WRITE_ONLY, synced, synced_at};
use crate::common::{Scene, entry};

#[tokio::test]
async fn an_entry_of_somebody_else_is_left_alone() {
    let scene = Scene::new("vault-exists").await;
    let bao = Bao::with(&scene, WRITE_ONLY).await;
    bao.foreign_put(ENTRY, json!({"value": "theirs", "other": "stays"})).await;
    bao.connect(&scene, json!({})).await;
    scene.source("source", &[("value", &scene.canary("value"))]).await;
    let spec = json!({"connectionRef": {"name": "vault"}, "data": [entry("VALUE", ENTRY, "source/value")]});
    scene.vault_secret("app", spec).await;
    scene.not_ready("app", "RemoteEntryExists").await;
    bao.two_more_probes(&scene).await;
    assert!(bao.proxy.mutations().is_empty());
    // Asked for once, it is taken over: its other fields stay.
    scene.annotate("VaultSecret", "app", "vaultsecret.dev/adopt", "*").await;
    let object = scene.ready("app").await;
    assert_eq!(bao.fields(ENTRY).await["other"], "stays");
    assert!(object.row(ENTRY).unwrap().text("/remoteVersion").starts_with("2@"));
}

#[tokio::test]
async fn taken_over_by_policy() {
    let scene = Scene::new("vault-takeover").await;
    let bao = Bao::with(&scene, WRITE_ONLY).await;
    bao.foreign_put(ENTRY, json!({"value": "theirs"})).await;
    bao.connect(&scene, json!({})).await;
    synced_at(&scene, bao, json!({"adoptionPolicy": "TakeOver"})).await;
}

#[tokio::test]
async fn a_mark_says_whose_an_entry_is() {
    let scene = Scene::new("vault-marked").await;
    let app = synced(&scene, ALL_OF_IT, json!({"deletionPolicy": "Delete"})).await;
    // Another cluster, whose operator knows nothing of the first.
    let other = Scene::own_cluster("vault-other", Options::default(), |_| {}, &[]).await;
    let token = app.bao.server.token(&scene.namespace, "1h").await.unwrap();
    other.create("Secret", "vault-credentials", json!({"stringData": {"token": token}})).await;
    let auth = json!({"tokenRef": {"name": "vault-credentials", "key": "token"}});
    app.bao.connect_by(&other, auth, json!({})).await;
    other.source("source", &[("value", &other.canary("value"))]).await;
    let spec = json!({"connectionRef": {"name": "vault"}, "driftPolicy": "Report",
                      "data": [entry("VALUE", ENTRY, "source/value")]});
    other.vault_secret("theirs", spec).await;
    let refused = other.not_ready("theirs", "RemoteEntryExists").await;
    let said = format!("belongs to VaultSecret {}/app", scene.namespace);
    assert!(refused.row(ENTRY).unwrap().text("/message").contains(&said), "{refused:?}");
    // Taken over, the mark names the new owner, and the old one does not delete what is not its own any more.
    scene.edit("app", json!({"suspend": true})).await;
    scene.until("VaultSecret", "app", "is suspended", |app| app.ready().reason == "Suspended").await;
    other.annotate("VaultSecret", "theirs", "vaultsecret.dev/adopt", "*").await;
    let owner = other.ready("theirs").await;
    assert_eq!(app.bao.metadata(ENTRY).await["custom_metadata"]["vaultsecret.dev/uid"], owner.uid());
    scene.delete("VaultSecret", "app").await;
    scene.gone("VaultSecret", "app").await;
    assert!(app.bao.value(ENTRY).await.is_some(), "it is the other's now");
    scene.event("app", "EntryLeft").await;
}
