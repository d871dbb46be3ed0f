//! Behaviour 13 where the remote is away: the finalizer waits, and not for ever.

use serde_json::json;

use crate::common::{Kind, Scene, for_each_remote};

async fn b13_remote_is_down_past_the_deadline(kind: Kind) {
    let scene = Scene::isolated("b13", &["--finalizer-deadline=3s"]).await;
    let synced = scene.synced(kind, json!({"deletionPolicy": "Delete"})).await;
    synced.remote.stop().await;
    scene.delete("VaultSecret", "app").await;
    scene.gone("VaultSecret", "app").await;
    assert_eq!(synced.remote.value(&synced.entry).as_ref(), Some(&synced.value), "it is left there");
    let told = async || {
        let events = scene.events("app").await;
        events.into_iter().find(|event| event.text("/type") == "Warning" && event.text("/note").contains(&synced.entry))
    };
    scene.eventually("a Warning names what is left", told).await;
    let metrics = scene.operator.metrics().await;
    let counted = metrics
        .lines()
        .any(|line| !line.starts_with('#') && line.contains("abandoned") && line.rsplit(' ').next() == Some("1"));
    assert!(counted, "no metric counts it:\n{metrics}");
}

async fn b13_remote_is_down_for_a_while(kind: Kind) {
    let scene = Scene::isolated("b13-while", &[]).await;
    let synced = scene.synced(kind, json!({"deletionPolicy": "Delete"})).await;
    synced.remote.stop().await;
    scene.delete("VaultSecret", "app").await;
    let waiting = scene.until("VaultSecret", "app", "says that it waits", |app| app.ready().reason == "Deleting").await;
    assert!(waiting.ready().message.contains(&synced.entry), "{waiting:?}");
    assert!(waiting.has_finalizer());
    synced.remote.restart().await;
    scene.gone("VaultSecret", "app").await;
    assert_eq!(synced.remote.value(&synced.entry), None);
}

/// The deadline counts from the deletion, not from the start of the process.
#[tokio::test]
async fn b13_deadline_goes_on_over_a_restart() {
    let scene = Scene::isolated("b13-restart", &["--finalizer-deadline=8s"]).await;
    let synced = scene.synced(Kind::Kelvin, json!({"deletionPolicy": "Delete"})).await;
    synced.remote.stop().await;
    scene.delete("VaultSecret", "app").await;
    scene.operator.restart().await;
    assert!(scene.expect("VaultSecret", "app").await.has_finalizer());
    scene.gone("VaultSecret", "app").await;
}

for_each_remote!(b13_remote_is_down_past_the_deadline, b13_remote_is_down_for_a_while);
