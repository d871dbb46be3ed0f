//! What goes.

use serde_json::{Value, json};

use crate::bao::{ALL_OF_IT, ENTRY, WRITE_ONLY, synced};
use crate::common::{Scene, inline};

#[tokio::test]
async fn deleted_for_good_where_the_policy_allows_it() {
    let scene = Scene::new("vault-delete").await;
    let app = synced(&scene, ALL_OF_IT, json!({"deletionPolicy": "Delete"})).await;
    scene.delete("VaultSecret", "app").await;
    scene.gone("VaultSecret", "app").await;
    assert_eq!(app.bao.metadata(ENTRY).await, Value::Null);
}

#[tokio::test]
async fn deleted_so_that_it_can_be_undeleted_elsewhere() {
    let scene = Scene::new("vault-softly").await;
    let policy = WRITE_ONLY.replace("\"patch\"]", "\"patch\", \"delete\"]");
    let app = synced(&scene, &policy, json!({"deletionPolicy": "Delete"})).await;
    let more = json!([inline("OTHER", "other", "x")]);
    scene.edit("app", json!({"data": more})).await;
    scene.eventually("the entry is deleted", async || app.bao.value(ENTRY).await.is_none()).await;
    assert_ne!(app.bao.metadata(ENTRY).await["versions"]["1"]["deletion_time"], "");
    let object = scene.until("VaultSecret", "app", "forgot the entry", |app| app.rows().len() == 1).await;
    assert!(object.row("other").is_some());
    // Wanted again, it is its next version.
    scene.edit("app", json!({"data": [inline("AGAIN", ENTRY, "again")]})).await;
    app.bao.has(&scene, ENTRY, "again").await;
    assert_eq!(app.bao.metadata(ENTRY).await["current_version"], 2);
    scene.delete("VaultSecret", "app").await;
    scene.gone("VaultSecret", "app").await;
    assert_eq!(app.bao.value(ENTRY).await, None);
}

#[tokio::test]
async fn retained() {
    let scene = Scene::new("vault-retain").await;
    let app = synced(&scene, ALL_OF_IT, json!({"deletionPolicy": "Retain"})).await;
    let before = app.bao.proxy.mutations().len();
    scene.delete("VaultSecret", "app").await;
    scene.gone("VaultSecret", "app").await;
    assert_eq!(app.bao.value(ENTRY).await.as_deref(), Some(&*app.value));
    assert_eq!(app.bao.proxy.mutations().len(), before);
}

#[tokio::test]
async fn a_deletion_that_is_forbidden_stays_and_says_so() {
    let scene = Scene::new("vault-nodelete").await;
    let app = synced(&scene, WRITE_ONLY, json!({"deletionPolicy": "Delete"})).await;
    scene.delete("VaultSecret", "app").await;
    let says = |app: &crate::common::Object| {
        app.row(ENTRY).is_some_and(|row| row.text("/message").contains("policies do not allow"))
    };
    scene.until("VaultSecret", "app", "says why its entry is still there", says).await;
    let policy = WRITE_ONLY.replace("\"patch\"]", "\"patch\", \"delete\"]");
    app.bao.set_policy(&scene, &policy).await;
    // What failed before is tried again at once when the credential is another.
    scene.patch("Secret", "vault-credentials", json!({"stringData": {"token": format!("{}\n", app.bao.token)}})).await;
    scene.gone("VaultSecret", "app").await;
    assert_eq!(app.bao.value(ENTRY).await, None);
}
