//! Trouble: lost answers, a sealed server.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use crate::bao::{self, Bao, ENTRY, WRITE_ONLY, connection, synced};
use crate::common::{Scene, entry};

#[tokio::test]
async fn the_answer_to_a_create_is_lost() {
    let scene = Scene::new("vault-lost").await;
    let bao = Bao::with(&scene, WRITE_ONLY).await;
    bao.connect(&scene, json!({})).await;
    scene.connection_is("vault", "Connected").await;
    bao.proxy.lose(&bao.line("POST", ENTRY), 1);
    let value = scene.canary("value");
    scene.source("source", &[("value", &value)]).await;
    let spec = json!({"connectionRef": {"name": "vault"}, "data": [entry("VALUE", ENTRY, "source/value")]});
    scene.vault_secret("app", spec).await;
    scene.ready("app").await;
    assert!(bao.proxy.mutations().iter().any(|call| !call.answered && call.status == 200), "it was processed");
    assert_eq!(bao.value(ENTRY).await.as_deref(), Some(&*value));
    bao.two_more_probes(&scene).await;
    let version = bao.metadata(ENTRY).await["current_version"].as_u64().unwrap();
    assert!(version <= 2, "at most one repeat: {version}");
    scene.ready("app").await;
}

#[tokio::test]
async fn the_answer_to_an_update_is_lost() {
    let scene = Scene::new("vault-lost-update").await;
    let app = synced(&scene, WRITE_ONLY, json!({})).await;
    app.bao.proxy.lose(&app.bao.line("PATCH", ENTRY), 1);
    let value = scene.canary("changed");
    scene.set_source("source", "value", &value).await;
    let lost = || app.bao.proxy.mutations().iter().any(|call| !call.answered);
    scene.eventually("the answer is lost", async || lost()).await;
    let done = |app: &crate::common::Object| {
        app.is_ready() && app.row(ENTRY).is_some_and(|row| row.at("/attempt/unsettledSince").is_null())
    };
    scene.until("VaultSecret", "app", "is settled", done).await;
    app.bao.two_more_probes(&scene).await;
    assert_eq!(app.bao.value(ENTRY).await.as_deref(), Some(&*value));
    let version = app.bao.metadata(ENTRY).await["current_version"].as_u64().unwrap();
    assert!(version <= 3, "at most one repeat: {version}");
    let refused = app.bao.proxy.mutations().into_iter().filter(|call| call.status == 400).count();
    assert!(refused <= 1, "the version that landed is seen, not guessed at");
}

#[tokio::test]
async fn a_sealed_server_is_unreachable_until_it_is_unsealed() {
    let scene = Scene::new("vault-sealed").await;
    let server = bao::started(true).await;
    let token = bao::token(&server, "app", "app", WRITE_ONLY).await;
    scene.secret_text(&token);
    scene.create("Secret", "vault-credentials", json!({"stringData": {"token": token}})).await;
    let auth = json!({"tokenRef": {"name": "vault-credentials", "key": "token"}});
    let mut spec = connection(server.url(), "app", auth);
    spec["allowInsecureUrl"] = json!(false);
    spec["tls"] = json!({"caBundle": STANDARD.encode(server.ca().unwrap())});
    scene.create("VaultConnection", "vault", json!({"spec": spec})).await;
    let value = scene.canary("value");
    scene.source("source", &[("value", &value)]).await;
    let spec = json!({"connectionRef": {"name": "vault"}, "data": [entry("VALUE", ENTRY, "source/value")]});
    scene.vault_secret("app", spec).await;
    scene.ready("app").await;
    server.seal().await.unwrap();
    let connection = scene.connection_is("vault", "Unreachable").await;
    assert!(connection.ready().message.contains("sealed"), "{connection:?}");
    let value = scene.canary("changed");
    scene.set_source("source", "value", &value).await;
    let failed = |app: &crate::common::Object| {
        let row = app.row(ENTRY).unwrap();
        row.text("/state") == "Failed" || row.text("/state") == "Queued"
    };
    let waiting = scene.until("VaultSecret", "app", "waits with its new value", failed).await;
    assert!(waiting.row(ENTRY).unwrap().at("/attempt/unsettledSince").is_null(), "a sealed server stored nothing");
    server.unseal().await.unwrap();
    scene.connection_is("vault", "Connected").await;
    scene.ready("app").await;
    let path = format!("secret/data/app/{ENTRY}");
    let stored = server.root_ask(reqwest::Method::GET, &path, serde_json::Value::Null).await.unwrap();
    assert_eq!(stored["data"]["data"]["value"], json!(value));
    assert_eq!(stored["data"]["metadata"]["version"], 2);
}
