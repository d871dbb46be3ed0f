//! What the tests of these modules are made of, and those of the view.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use serde_json::{Value, json};

use super::view::{ObjectView, Standing, standing_of};
use crate::api::vault_secret::ConnectionKind;
use crate::api::{Reason, VaultConnection, VaultSecret};
use crate::controller::keys::ConnectionKey;
use crate::controller::shown::{AsShown as _, Shown};

const EPOCH: &str = "1970-01-01T00:00:00Z";

/// A connection in namespace `shop` with that reason.
pub(super) fn connection(name: &str, reason: &str, limits: Value) -> (ConnectionKey, Shown) {
    let status = if reason == "Connected" { "True" } else { "False" };
    let freeze = (reason == "RemoteDiverged").then(|| json!({"token": "ab12", "reason": "many are missing"}));
    let object: VaultConnection = serde_json::from_value(json!({
        "apiVersion": "vaultsecret.dev/v1alpha1", "kind": "VaultConnection", "metadata": {"name": name, "namespace": "shop"},
        "spec": {"kelvin": {"url": "https://acme.kelvin.ai", "auth": {"accessTokenRef": {"name": "t", "key": "t"}}}, "limits": limits},
        "status": {"provider": "Kelvin", "freeze": freeze, "conditions": [
            {"type": "Ready", "status": status, "reason": reason, "message": "its message", "lastTransitionTime": EPOCH}]},
    }))
    .unwrap();
    let key = ConnectionKey::new(ConnectionKind::VaultConnection, "shop", name);
    (key.clone(), object.as_shown(&key))
}

/// A VaultSecret in namespace `shop` as the API server has it.
pub(super) fn vault_secret(name: &str, connection: &str, reason: &str, states: &[&str]) -> VaultSecret {
    let ready = if reason == "Synced" { "True" } else { "False" };
    let data: Vec<Value> = (0..states.len())
        .map(|n| json!({"key": format!("KEY{n}"), "remoteName": format!("name-{n}"), "value": "a-value"}))
        .collect();
    let rows: Vec<Value> = states
        .iter()
        .enumerate()
        .map(|(n, state)| {
            let message = if *state == "InSync" { "" } else { "HTTP 500; next attempt at 1970-01-01T00:01:30Z" };
            json!({"connection": format!("VaultConnection/{connection}"), "remoteName": format!("name-{n}"),
                   "key": format!("KEY{n}"), "state": state, "message": message,
                   "attempt": {"number": 2, "at": EPOCH}})
        })
        .collect();
    let synced = states.iter().filter(|state| **state == "InSync").count();
    serde_json::from_value(json!({
        "apiVersion": "vaultsecret.dev/v1alpha1", "kind": "VaultSecret",
        "metadata": {"name": name, "namespace": "shop", "generation": 2, "creationTimestamp": EPOCH},
        "spec": {"connectionRef": {"name": connection}, "data": data},
        "status": {"observedGeneration": 2, "entries": rows, "syncedEntries": synced, "totalEntries": states.len(),
            "conditions": [{"type": "Ready", "status": ready, "reason": reason, "message": "the message",
                            "lastTransitionTime": EPOCH}]},
    }))
    .unwrap()
}

/// What is told of it.
pub(super) fn object(name: &str, connection_name: &str, reason: &str, states: &[&str]) -> ObjectView {
    let (_, shown) = connection(connection_name, "Connected", json!({}));
    ObjectView::new(&vault_secret(name, connection_name, reason, states), Some(&shown))
}

#[test]
fn what_the_operator_has_not_looked_at_is_queued_and_not_ready() {
    let mut vs = vault_secret("a", "kelvin", "Synced", &["InSync", "InSync"]);
    assert_eq!(ObjectView::new(&vs, None).standing, Standing::Ready);
    vs.metadata.generation = Some(3);
    let view = ObjectView::new(&vs, None);
    assert_eq!((view.standing, view.ready.as_str()), (Standing::Queued, "Unknown"));
    assert!(view.message.contains("has not looked at the present spec"), "{}", view.message);
    vs.status = None;
    let view = ObjectView::new(&vs, None);
    assert_eq!((view.reason(), view.total, view.waiting), ("<none>", 2, 2));
    assert!(view.next.contains("no operator runs"), "{}", view.next);
}

#[test]
fn a_value_of_a_spec_is_not_taken_over() {
    let view = object("a", "kelvin", "RemoteError", &["Failed", "Pending", "Queued"]);
    assert!(!serde_json::to_string(&view).unwrap().contains("a-value"));
    assert_eq!((view.standing, view.waiting, view.held), (Standing::Failing, 1, 1));
    assert_eq!(view.entries[0].next_attempt.as_deref(), Some("1970-01-01T00:01:30Z"));
    assert_eq!(view.entries[0].message, "HTTP 500");
}

#[test]
fn every_reason_stands_somewhere() {
    let ready: Vec<_> = Reason::ALL.iter().filter(|reason| standing_of(**reason) == Standing::Ready).collect();
    assert_eq!(ready, [&Reason::Synced]);
}
