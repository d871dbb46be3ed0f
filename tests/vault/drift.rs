//! Somebody else writes with another token.

use serde_json::json;

use crate::bao::{Bao, ENTRY, WRITE_ONLY, synced, synced_at};
use crate::common::Scene;

#[tokio::test]
async fn changed_and_put_right_without_the_fields_of_others() {
    let scene = Scene::new("vault-drift").await;
    let app = synced(&scene, WRITE_ONLY, json!({})).await;
    app.bao.foreign_put(ENTRY, json!({"value": "theirs", "other": "stays"})).await;
    app.bao.has(&scene, ENTRY, &app.value).await;
    assert_eq!(app.bao.fields(ENTRY).await["other"], "stays");
    let event = scene.event("app", "RemoteChanged").await;
    assert!(event.text("/note").contains(ENTRY), "{event:?}");
    let object = scene.ready("app").await;
    assert!(object.row(ENTRY).unwrap().text("/remoteVersion").starts_with("3@"));
    app.bao.two_more_probes(&scene).await;
    assert_eq!(app.bao.metadata(ENTRY).await["current_version"], 3);
}

#[tokio::test]
async fn changed_and_reported() {
    let scene = Scene::new("vault-report").await;
    let app = synced(&scene, WRITE_ONLY, json!({"driftPolicy": "Report"})).await;
    app.bao.foreign_put(ENTRY, json!({"value": "theirs"})).await;
    let object = scene.not_ready("app", "RemoteDrifted").await;
    assert_eq!(object.state(ENTRY), "Drifted");
    app.bao.two_more_probes(&scene).await;
    assert_eq!(app.bao.value(ENTRY).await.as_deref(), Some("theirs"));
    // A new value is written all the same, over the version that is there.
    let value = scene.canary("changed");
    scene.set_source("source", "value", &value).await;
    app.bao.has(&scene, ENTRY, &value).await;
    scene.ready("app").await;
}

#[tokio::test]
async fn deleted_and_made_again_as_the_next_version() {
    let scene = Scene::new("vault-deleted").await;
    let app = synced(&scene, WRITE_ONLY, json!({})).await;
    app.bao.foreign_delete(ENTRY).await;
    app.bao.has(&scene, ENTRY, &app.value).await;
    assert_eq!(app.bao.metadata(ENTRY).await["current_version"], 2);
    let object = scene.ready("app").await;
    assert!(object.row(ENTRY).unwrap().text("/remoteVersion").starts_with("2@"));
    app.bao.foreign_destroy(ENTRY).await;
    app.bao.has(&scene, ENTRY, &app.value).await;
    assert_eq!(app.bao.metadata(ENTRY).await["current_version"], 1);
}

#[tokio::test]
async fn deleted_and_reported() {
    let scene = Scene::new("vault-missing").await;
    let app = synced(&scene, WRITE_ONLY, json!({"driftPolicy": "Report"})).await;
    app.bao.foreign_delete(ENTRY).await;
    let object = scene.not_ready("app", "RemoteMissing").await;
    assert_eq!(object.state(ENTRY), "Missing");
    app.bao.two_more_probes(&scene).await;
    assert_eq!(app.bao.value(ENTRY).await, None);
}

#[tokio::test]
async fn a_deleted_entry_is_nobodys() {
    let scene = Scene::new("vault-free").await;
    let bao = Bao::with(&scene, WRITE_ONLY).await;
    bao.foreign_put(ENTRY, json!({"value": "theirs"})).await;
    bao.foreign_put(ENTRY, json!({"value": "theirs"})).await;
    bao.foreign_delete(ENTRY).await;
    bao.connect(&scene, json!({})).await;
    let app = synced_at(&scene, bao, json!({})).await;
    assert!(app.object.row(ENTRY).unwrap().text("/remoteVersion").starts_with("3@"));
}

#[tokio::test]
async fn a_write_that_no_list_has_shown_is_not_overwritten_blindly() {
    // Nobody lists but on demand, so the operator learns of the stranger's version by check-and-set alone.
    for (policy, reason) in [("Reassert", "Synced"), ("Report", "Synced")] {
        let scene = Scene::new("vault-stale").await;
        let bao = Bao::with(&scene, WRITE_ONLY).await;
        bao.connect(&scene, json!({"probeInterval": "0"})).await;
        let app = synced_at(&scene, bao, json!({"driftPolicy": policy})).await;
        app.bao.foreign_put(ENTRY, json!({"value": "theirs"})).await;
        let value = scene.canary("changed");
        scene.set_source("source", "value", &value).await;
        app.bao.has(&scene, ENTRY, &value).await;
        assert_eq!(scene.ready("app").await.ready().reason, reason);
        let writes: Vec<_> =
            app.bao.proxy.mutations().into_iter().filter(|call| call.line.contains("/data/")).collect();
        let statuses: Vec<u16> = writes.iter().map(|call| call.status).collect();
        assert_eq!(
            statuses,
            [200, 400, 200],
            "{policy}: created, refused by the version, written over what was then seen"
        );
        scene.event("app", "RemoteChanged").await;
    }
}

#[tokio::test]
async fn who_forces_a_push_over_a_change_nobody_saw_under_report_is_told_of_it() {
    let scene = Scene::new("vault-force").await;
    let bao = Bao::with(&scene, WRITE_ONLY).await;
    bao.connect(&scene, json!({"probeInterval": "0"})).await;
    let app = synced_at(&scene, bao, json!({"driftPolicy": "Report"})).await;
    app.bao.foreign_put(ENTRY, json!({"value": "theirs"})).await;
    scene.annotate("VaultSecret", "app", "vaultsecret.dev/force-push", "once").await;
    app.bao.has(&scene, ENTRY, &app.value).await;
    scene.ready("app").await;
    assert_eq!(app.bao.metadata(ENTRY).await["current_version"], 3);
}
