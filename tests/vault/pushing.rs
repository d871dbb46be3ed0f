//! Values arrive, and nothing is written without cause.

use devkit::controlplane::Options;
use serde_json::{Value, json};

use crate::bao::{ALL_OF_IT, Bao, ENTRY, WRITE_ONLY, synced};
use crate::common::{Scene, entry, inline};

#[tokio::test]
async fn first_sync_is_one_create_with_check_and_set() {
    let scene = Scene::new("vault-first").await;
    let app = synced(&scene, WRITE_ONLY, json!({})).await;
    let lines: Vec<String> = app.bao.proxy.mutations().into_iter().map(|call| call.line).collect();
    let create = app.bao.line("POST", ENTRY);
    let mark = format!("PATCH secret/metadata/{}/{ENTRY}", app.bao.folder);
    assert_eq!(lines, [create, mark], "the mark was refused, and that is no error");
    assert_eq!(app.bao.metadata(ENTRY).await["custom_metadata"], Value::Null);
    let row = app.object.row(ENTRY).unwrap();
    assert!(row.text("/remoteVersion").starts_with("1@20"), "{row:?}");
    scene.secret_has("app", "VALUE", &app.value).await;
    let connection = scene.connection_is("vault", "Connected").await;
    assert_eq!(connection.text("/status/provider"), "Vault");
    assert_eq!(connection.at("/status/capabilities"), &json!({"readValues": false, "driftSignal": "Version"}));
    let remote = connection.text("/status/remote");
    assert!(remote.ends_with(&format!("mount=secret path={}", app.bao.folder)), "{remote}");
}

#[tokio::test]
async fn changed_source_is_the_next_version() {
    let scene = Scene::new("vault-change").await;
    let app = synced(&scene, WRITE_ONLY, json!({})).await;
    let value = scene.canary("changed");
    scene.set_source("source", "value", &value).await;
    app.bao.has(&scene, ENTRY, &value).await;
    scene.secret_has("app", "VALUE", &value).await;
    let object = scene.ready("app").await;
    assert!(object.row(ENTRY).unwrap().text("/remoteVersion").starts_with("2@"));
    app.bao.two_more_probes(&scene).await;
    assert_eq!(app.bao.metadata(ENTRY).await["current_version"], 2, "nothing is written twice");
}

#[tokio::test]
async fn without_patch_the_whole_entry_is_written() {
    let scene = Scene::new("vault-nopatch").await;
    let app = synced(&scene, &WRITE_ONLY.replace(", \"patch\"", ""), json!({})).await;
    let value = scene.canary("changed");
    scene.set_source("source", "value", &value).await;
    app.bao.has(&scene, ENTRY, &value).await;
    scene.ready("app").await;
    assert_eq!(app.bao.metadata(ENTRY).await["current_version"], 2);
}

#[tokio::test]
async fn entries_that_nobody_names_are_not_looked_at() {
    let scene = Scene::new("vault-foreign").await;
    let bao = Bao::with(&scene, WRITE_ONLY).await;
    for number in 0..20 {
        bao.foreign_put(&format!("foreign-{number}"), json!({"value": "theirs"})).await;
    }
    bao.connect(&scene, json!({})).await;
    scene
        .vault_secret(
            "app",
            json!({"connectionRef": {"name": "vault"}, "data": [inline("A", "a", "x"), inline("B", "b", "y")]}),
        )
        .await;
    scene.ready("app").await;
    bao.two_more_probes(&scene).await;
    bao.two_more_probes(&scene).await;
    assert_eq!(bao.proxy.count(&format!("GET secret/metadata/{}/foreign", bao.folder)), 0);
    assert!(bao.proxy.count(&format!("GET secret/metadata/{}/a", bao.folder)) > 0);
}

#[tokio::test]
async fn with_details_a_probe_is_one_request() {
    let scene = Scene::new("vault-details").await;
    let app = synced(&scene, ALL_OF_IT, json!({})).await;
    // Of an empty folder such a list says nothing that an unknown path would not, so it was asked for again plainly.
    let plainly = || app.bao.proxy.count(&format!("GET secret/metadata/{}", app.bao.folder));
    let before = plainly();
    app.bao.two_more_probes(&scene).await;
    app.bao.two_more_probes(&scene).await;
    assert_eq!(plainly(), before, "a list with details is all there is to a probe");
    let marks =
        json!({"vaultsecret.dev/owner": format!("{}/app", scene.namespace), "vaultsecret.dev/uid": app.object.uid()});
    assert_eq!(app.bao.metadata(ENTRY).await["custom_metadata"], marks);
    // The drift that such a list shows is the same.
    app.bao.foreign_put(ENTRY, json!({"value": "theirs"})).await;
    app.bao.has(&scene, ENTRY, &app.value).await;
}

#[tokio::test]
async fn restart_and_crash_write_nothing() {
    // The operator that the others share must not be stopped, and looks after every namespace of their cluster.
    let scene = Scene::own_cluster("vault-restart", Options::default(), |_| {}, &[]).await;
    let app = synced(&scene, WRITE_ONLY, json!({})).await;
    let before = app.bao.proxy.mutations().len();
    scene.operator.restart().await;
    app.bao.two_more_probes(&scene).await;
    scene.operator.crash().await;
    app.bao.two_more_probes(&scene).await;
    let object = scene.ready("app").await;
    assert_eq!(app.bao.proxy.mutations().len(), before);
    assert_eq!(object.at("/status/entries"), app.object.at("/status/entries"), "no write of the ledger either");
    // And a change of the source is seen afterwards.
    let value = scene.canary("after");
    scene.set_source("source", "value", &value).await;
    app.bao.has(&scene, ENTRY, &value).await;
}

#[tokio::test]
async fn what_vault_does_not_take_is_refused_before_any_call() {
    let scene = Scene::new("vault-refused").await;
    let bao = Bao::with(&scene, WRITE_ONLY).await;
    bao.connect(&scene, json!({})).await;
    scene.source("source", &[("value", &scene.canary("value"))]).await;
    let spec = json!({"connectionRef": {"name": "vault"}, "data": [entry("VALUE", "folder/name", "source/value")]});
    scene.vault_secret("app", spec).await;
    let object = scene.not_ready("app", "NameRefused").await;
    assert!(object.ready().message.contains("set remoteName: folder-name ("), "{object:?}");
    assert!(bao.proxy.mutations().is_empty());
    for (vault, said) in [
        (json!({"path": "/teams"}), "without slashes at its ends"),
        (json!({"path": "teams/../other"}), "without slashes at its ends"),
        (json!({"mount": "secret/"}), "without slashes at its ends"),
        (json!({"auth": {"appRole": {"roleId": "r", "secretIdRef": {"name": "a", "key": "b"}}}}), "exactly one of"),
    ] {
        let error = scene.try_patch("VaultConnection", "vault", json!({"spec": {"vault": vault}})).await.unwrap_err();
        assert!(error.to_string().contains(said), "{error}");
    }
    let two = json!({"spec": {"mixpeek": {"auth": {"apiKeyRef": {"name": "a", "key": "b"}}}}});
    let error = scene.try_patch("VaultConnection", "vault", two).await.unwrap_err();
    assert!(error.to_string().contains("exactly one provider"), "{error}");
}
