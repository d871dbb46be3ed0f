//! A life with everything in it that makes the operator ask the API server for something.

use serde_json::json;

use super::{Kind, Scene, entry, generated, inline};

/// Pushes, generates, projects, edits, repairs, adopts, conflicts and deletes, at each of the three remotes.
pub async fn whole_life(scene: &Scene) {
    for kind in [Kind::Kelvin, Kind::Dreadnode, Kind::Mixpeek] {
        one_remote(scene, kind).await;
    }
}

async fn one_remote(scene: &Scene, kind: Kind) {
    let remote = scene.remote(kind).await;
    remote.foreign_put(&kind.name("taken"), "theirs");
    let app = format!("app-{}", kind.member());
    let (source, map) = (format!("{app}-source"), format!("{app}-map"));
    let value = scene.canary("life");
    // The VaultSecret comes first: what it refers to is missing for a while.
    let data = json!([
        entry("VALUE", &kind.name("the value"), &format!("{source}/value")),
        generated("GENERATED", &kind.name("generated"), 1),
        inline("TAKEN", &kind.name("taken"), "a value"),
        {"key": "MAPPED", "remoteName": kind.name("mapped"),
         "valueFrom": {"configMapKeyRef": {"name": map, "key": "value"}}},
    ]);
    let spec = json!({"connectionRef": {"name": kind.member()}, "deletionPolicy": "Delete", "data": data});
    scene.vault_secret(&app, spec).await;
    scene.not_ready(&app, "ConnectionMissing").await;
    scene.connect(&remote).await;
    scene.source(&source, &[("value", &value)]).await;
    scene.create("ConfigMap", &map, json!({"data": {"value": "not secret"}})).await;
    scene.not_ready(&app, "RemoteEntryExists").await;
    scene.annotate("VaultSecret", &app, "vaultsecret.dev/adopt", "*").await;
    scene.ready(&app).await;

    let value = scene.canary("life again");
    scene.set_source(&source, "value", &value).await;
    scene.secret_has(&app, "VALUE", &value).await;
    scene.delete("Secret", &app).await;
    scene.secret_has(&app, "VALUE", &value).await;
    scene.patch("Secret", &app, json!({"stringData": {"VALUE": "edited by hand"}})).await;
    scene.secret_has(&app, "VALUE", &value).await;
    let renamed = format!("{app}-renamed");
    scene.edit(&app, json!({"target": {"name": renamed, "immutable": true}})).await;
    scene.gone("Secret", &app).await;
    scene.secret_has(&renamed, "VALUE", &value).await;

    remote.foreign_delete(&kind.name("the value"));
    scene.remote_has(&remote, &kind.name("the value"), &value).await;
    scene.annotate("VaultSecret", &app, "vaultsecret.dev/force-push", "once").await;
    scene
        .until("VaultSecret", &app, "has dealt with the annotation", |app| {
            app.text("/status/lastHandledForcePush") == "once" && app.is_ready()
        })
        .await;

    let merged = format!("{app}-merged");
    scene.create("Secret", &merged, json!({"stringData": {"THEIRS": "stays"}})).await;
    let target = json!({"name": merged, "creationPolicy": "Merge", "immutable": false});
    scene.edit(&app, json!({"target": target})).await;
    scene.secret_has(&merged, "VALUE", &value).await;

    let secret = scene.canary("credential");
    remote.rotate(&secret);
    let credentials = format!("{}-credentials", kind.member());
    scene.patch("Secret", &credentials, json!({"stringData": remote.credentials_with(&secret)})).await;
    scene.connection_is(kind.member(), "Connected").await;
    scene.ready(&app).await;
    scene.delete("VaultSecret", &app).await;
    scene.gone("VaultSecret", &app).await;
    assert_eq!(remote.entries().len(), 0);
}
