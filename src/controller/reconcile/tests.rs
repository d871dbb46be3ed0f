//! Passes over an object that is not as it was any more.
#![allow(clippy::unwrap_used, clippy::expect_used)]
use serde_json::json;

use super::*;
use crate::api::names;
use crate::controller::backoff::OVERTAKEN;
use crate::controller::fixture::Fixture;

fn app(finalizer: Option<&str>) -> serde_json::Value {
    json!({
        "apiVersion": "vaultsecret.dev/v1alpha1", "kind": "VaultSecret",
        "metadata": {"name": "app", "namespace": "shop", "uid": "u1", "generation": 1, "resourceVersion": "0",
                     "finalizers": finalizer.into_iter().collect::<Vec<_>>()},
        "spec": {"connectionRef": {"name": "kelvin"}, "deletionPolicy": "Delete",
                 "data": [{"key": "A", "value": "v"}]},
    })
}

async fn pass(fixture: &Fixture, key: &ObjectKey) -> Duration {
    let shown = fixture.ctx.vault_secrets.get(key).unwrap();
    reconcile(&fixture.ctx, key, shown).await
}

/// The watch lags, for minutes perhaps: the object is read, and the next pass decides on what it is.
#[tokio::test]
async fn an_overtaken_pass_reads_the_object_once() {
    let fixture = Fixture::start().await;
    let key = fixture.show_vault_secret(app(None));
    fixture.api.put("vaultsecrets", app(None));
    assert!(pass(&fixture, &key).await < Duration::from_secs(1));
    assert_eq!(fixture.api.requests(), ["PATCH app", "GET app"]);
    fixture.api.forget();
    pass(&fixture, &key).await;
    let requests = fixture.api.requests();
    assert_eq!(requests[0], "PATCH app", "what was read is decided on");
    assert!(!requests.contains(&"GET app".to_owned()), "{requests:?}");
    let stored = fixture.api.get("vaultsecrets", "shop", "app").unwrap();
    assert_eq!(stored["metadata"]["finalizers"], json!([names::FINALIZER]));
}

/// What cannot be read either is tried ever more slowly.
#[tokio::test]
async fn an_overtaken_pass_that_can_read_nothing_waits_ever_longer() {
    let fixture = Fixture::start().await;
    let key = fixture.show_vault_secret(app(None));
    fixture.api.put("vaultsecrets", app(None));
    let mut waits = Vec::new();
    for _ in 0..12 {
        fixture.api.fail_next("GET", 500, "away");
        waits.push(pass(&fixture, &key).await);
        tokio::time::pause();
        tokio::time::advance(*waits.last().unwrap()).await;
        tokio::time::resume();
    }
    assert!(waits[0] < Duration::from_millis(100) && waits[11] > OVERTAKEN.longest / 2, "{waits:?}");
    assert!(waits.iter().all(|wait| *wait <= OVERTAKEN.longest * 6 / 5), "{waits:?}");
    assert_eq!(fixture.api.requests().iter().filter(|r| *r == "GET app").count(), 12, "one read a pass");
}
