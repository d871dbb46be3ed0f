//! What a user sees of objects that wait for their turn at a remote.

use serde_json::json;

use crate::common::{Kind, Scene, inline};

fn spec(name: &str) -> serde_json::Value {
    json!({"connectionRef": {"name": "mixpeek"}, "data": [inline("VALUE", name, "a value")]})
}

/// A remote that allows little: who waits long says so, with how many are ahead of it, once.
#[tokio::test]
async fn a_long_wait_is_told() {
    let scene = Scene::new("turns-long").await;
    let remote = scene.remote(Kind::Mixpeek).await;
    let limits = json!({"requestsPerMinute": 20, "burst": 3, "maxInFlight": 1});
    scene.connect_as("mixpeek", &remote, json!({"limits": limits, "probeInterval": "10m"})).await;
    scene.connection_is("mixpeek", "Connected").await;
    let mark = scene.mark();
    let names: Vec<_> = (0..8).map(|number| format!("app-{number}")).collect();
    for name in &names {
        scene.vault_secret(name, spec(name)).await;
    }
    let is_told = |object: &crate::common::Object| {
        let ready = object.ready();
        ready.reason == "Queued" && ready.message.contains(" ahead, its turn is likely at ")
    };
    scene.until("VaultSecret", "app-7", "says how many are ahead", is_told).await;
    for name in &names {
        scene.ready(name).await;
    }
    let writes = scene.writes_since(mark);
    for name in &names {
        let of_it: Vec<_> =
            writes.iter().filter(|write| write.resource == "vaultsecrets" && write.name == *name).collect();
        assert!(of_it.len() <= 3, "intent, outcome, and the wait told once: {of_it:#?}");
    }
}

/// A crowd of new objects at a remote that answers: nobody stops to say that he waits.
#[tokio::test]
async fn a_crowd_costs_no_writes() {
    let scene = Scene::new("turns-crowd").await;
    let remote = scene.remote(Kind::Mixpeek).await;
    remote.set_latency(std::time::Duration::from_millis(200));
    scene.connect_as("mixpeek", &remote, json!({"limits": {"maxInFlight": 1}, "probeInterval": "10m"})).await;
    scene.connection_is("mixpeek", "Connected").await;
    let mark = scene.mark();
    let names: Vec<_> = (0..20).map(|number| format!("app-{number}")).collect();
    for name in &names {
        scene.vault_secret(name, spec(name)).await;
    }
    for name in &names {
        scene.ready(name).await;
    }
    let statuses = || {
        let mut writes = scene.writes_since(mark);
        writes.retain(|write| write.resource == "vaultsecrets");
        writes
    };
    scene.eventually("the writes are in the audit log", async || statuses().len() >= 2 * names.len()).await;
    assert_eq!(statuses().len(), 2 * names.len(), "intent and outcome: {:#?}", statuses());
}
