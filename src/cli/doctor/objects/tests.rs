#![allow(clippy::unwrap_used, clippy::expect_used)]
use serde_json::{Value, json};

use super::super::model::State;
use super::*;

fn now() -> Timestamp {
    "2026-11-26T18:00:00Z".parse().unwrap()
}

fn vault_secret(name: &str, change: Value) -> VaultSecret {
    let mut object = json!({"apiVersion": "vaultsecret.dev/v1alpha1", "kind": "VaultSecret",
        "metadata": {"name": name, "namespace": "shop", "generation": 1, "creationTimestamp": "2026-11-26T17:00:00Z"},
        "spec": {"connectionRef": {"name": "kelvin"}, "data": [{"key": "A", "value": "a"}]}});
    for (field, value) in change.as_object().unwrap() {
        match object[field].as_object_mut() {
            Some(fields) => fields.extend(value.as_object().unwrap().clone()),
            None => object[field] = value.clone(),
        }
    }
    serde_json::from_value(object).unwrap()
}

fn ready(reason: &str) -> Value {
    let status = if reason == "Synced" { "True" } else { "False" };
    json!({"status": {"observedGeneration": 1, "conditions": [{"type": "Ready", "status": status, "reason": reason, "message": "why",
        "lastTransitionTime": "2026-11-26T17:30:00Z"}]}})
}

fn judged(all: &[VaultSecret]) -> Vec<Finding> {
    let mut objects = Objects::default();
    for vs in all {
        objects.all.insert(ObjectKey::new(vs.namespace().unwrap(), vs.name_any()), vs.clone());
    }
    objects.terminating.insert("shop".to_owned());
    let mut connections = Connections::default();
    let key = ConnectionKey::new(crate::api::vault_secret::ConnectionKind::VaultConnection, "shop", "kelvin");
    let object = json!({"apiVersion": "vaultsecret.dev/v1alpha1", "kind": "VaultConnection", "metadata": {"name": "kelvin"},
        "spec": {"mixpeek": {"auth": {"apiKeyRef": {"name": "key", "key": "key"}}}}});
    let object: crate::api::VaultConnection = serde_json::from_value(object).unwrap();
    connections.shown.insert(key.clone(), crate::controller::shown::AsShown::as_shown(&object, &key));
    judge(&objects, &connections, now())
}

#[test]
fn states_are_counted_and_those_that_need_somebody_are_named() {
    let found = judged(&[
        vault_secret("a", ready("Synced")),
        vault_secret("b", ready("Synced")),
        vault_secret("c", ready("RemoteEntryExists")),
        vault_secret("d", json!({})),
        vault_secret("e", json!({"metadata": {"creationTimestamp": "2026-11-26T17:59:30Z"}})),
        vault_secret("f", ready("Queued")),
    ]);
    assert_eq!(found[0].message, "6 VaultSecrets: 1 Queued, 1 RemoteEntryExists, 2 Synced, 1 never looked at, 1 new");
    let of = |word: &str| found.iter().find(|f| f.subject == word);
    let exists = of("RemoteEntryExists").unwrap();
    assert_eq!((exists.state, exists.message.as_str()), (State::Failed, "shop/c: why"));
    assert!(
        exists.mend.as_deref().unwrap().contains("kubectl annotate vsec c -n shop vaultsecret.dev/adopt='*'"),
        "{exists:?}"
    );
    assert_eq!(of("never looked at").unwrap().state, State::Failed);
    assert!(of("Queued").is_none() && of("new").is_none() && of("Synced").is_none());
}

#[test]
fn every_reason_that_stays_has_something_to_do() {
    let passes = ["Synced", "Queued", "Pushing", "Suspended", "Deleting"];
    for reason in Reason::ALL.iter().map(|reason| reason.as_str()) {
        let found = judged(&[vault_secret("a", ready(reason))]);
        assert_eq!(found.len(), if passes.contains(&reason) { 1 } else { 2 }, "{reason}: {found:?}");
        assert!(found.iter().skip(1).all(|f| f.mend.is_some()), "{found:?}");
    }
}

#[test]
fn a_connection_that_is_not_there_is_told_once() {
    let elsewhere = json!({"spec": {"connectionRef": {"name": "lost"}}});
    let found = judged(&[vault_secret("a", elsewhere.clone()), vault_secret("b", elsewhere)]);
    let lost: Vec<&Finding> = found.iter().filter(|f| f.subject == "VaultConnection shop/lost").collect();
    assert_eq!(lost.len(), 1);
    assert!(lost[0].message.contains("shop/a, shop/b wait for it"), "{lost:?}");
}

#[test]
fn one_that_is_going_says_what_it_holds_and_how_to_let_it_go() {
    let going = json!({"metadata": {"deletionTimestamp": "2026-11-26T17:30:00Z", "finalizers": [names::FINALIZER]}});
    let found = judged(&[vault_secret("a", going)]);
    let held = found.iter().find(|f| f.subject == "shop/a").unwrap();
    assert!(
        held.state == State::Failed && held.message.contains("30m") && held.message.contains("holds its namespace"),
        "{held:?}"
    );
    assert!(held.mend.as_deref().unwrap().contains(r#"-p '{"metadata": {"finalizers": null}}'"#), "{held:?}");
    let idle = judged(&[vault_secret("b", json!({"metadata": {"finalizers": [names::FINALIZER]}}))]);
    assert!(idle.iter().any(|f| f.subject == "finalizers" && f.message.starts_with("shop/b")), "{idle:?}");
}

#[test]
fn a_secret_that_two_want_is_told_and_one_that_two_merge_into_is_not() {
    let target = |name: &str, policy: &str| {
        let target = json!({"name": "app", "creationPolicy": policy});
        vault_secret(name, json!({"spec": {"target": target}}))
    };
    let found = judged(&[target("a", "Owner"), target("b", "Orphan"), target("c", "Merge")]);
    let twice = found.iter().find(|f| f.subject == "Secret shop/app").unwrap();
    assert!(twice.message.contains("is wanted by a, b,"), "{twice:?}");
    let found = judged(&[target("a", "Merge"), target("b", "Merge"), target("c", "None")]);
    assert!(found.iter().all(|f| f.subject != "Secret shop/app"), "{found:?}");
}

#[test]
fn what_could_not_be_listed_is_skipped() {
    let objects = Objects { unseen: Some("you may not".to_owned()), ..Objects::default() };
    let found = judge(&objects, &Connections::default(), now());
    assert_eq!(found.iter().map(|f| f.state).collect::<Vec<_>>(), [State::Skipped]);
    assert_eq!(used(&objects), None);
}
