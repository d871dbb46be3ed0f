#![allow(clippy::unwrap_used, clippy::expect_used)]
use serde_json::{Value, json};

use super::super::model::State;
use super::*;

fn connection(spec: Value, status: Value) -> Connections {
    let base = json!({"kelvin": {"url": "https://acme.example", "auth": {"accessTokenRef": {"name": "token", "key": "token"}}}});
    let spec = if spec.is_null() { base } else { spec };
    let object = json!({"apiVersion": "vaultsecret.dev/v1alpha1", "kind": "VaultConnection",
        "metadata": {"name": "kelvin", "namespace": "shop", "generation": 2}, "spec": spec, "status": status});
    let object: VaultConnection = serde_json::from_value(object).unwrap();
    let key = ConnectionKey::new(ConnectionKind::VaultConnection, "shop", "kelvin");
    let mut all = Connections::default();
    all.shown.insert(key.clone(), object.as_shown(&key));
    let keys = ["token".to_owned()].into();
    all.keys.insert((SourceKind::Secret, "shop".to_owned(), "token".to_owned()), Seen::Here(keys));
    all
}

fn ready(status: &str, reason: &str, message: &str) -> Value {
    json!({"observedGeneration": 2, "provider": "Kelvin", "entries": 3, "conditions": [{"type": "Ready", "status": status,
        "reason": reason, "message": message, "lastTransitionTime": "2026-11-26T18:00:00Z"}]})
}

fn judged(all: &Connections) -> Vec<Finding> {
    judge(all, Some(&BTreeSet::new()), "ops")
}

#[test]
fn a_good_one_says_what_it_holds_and_whether_it_is_used() {
    let found = judged(&connection(Value::Null, ready("True", "Connected", "")));
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].message, "Connected, Kelvin, 3 entries of ours; no VaultSecret names it");
    assert_eq!((found[0].state, found[0].subject.as_str()), (State::Passed, "shop/kelvin"));
}

#[test]
fn a_frozen_one_comes_with_the_command() {
    let mut status = ready("False", "RemoteDiverged", "too much is gone");
    status["freeze"] = json!({"token": "ab12", "reason": "12 of 12 entries are gone"});
    let found = judged(&connection(Value::Null, status));
    assert!(found[0].message.contains("12 of 12 entries are gone"), "{found:?}");
    let mend = found[0].mend.as_deref().unwrap();
    assert!(
        mend.contains("kubectl annotate vconn kelvin -n shop --overwrite vaultsecret.dev/approve=ab12=same"),
        "{mend}"
    );
}

#[test]
fn missing_credentials_are_named_once_with_what_makes_them() {
    let mut all = connection(Value::Null, ready("False", "CredentialsMissing", "Secret \"token\" not found"));
    all.keys.insert((SourceKind::Secret, "shop".to_owned(), "token".to_owned()), Seen::Absent);
    let found = judged(&all);
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0].mend.as_deref(), Some("kubectl create secret generic token -n shop --from-file=token=FILE"));
    // Gone since the last look.
    let mut all = connection(Value::Null, ready("True", "Connected", ""));
    all.keys.insert((SourceKind::Secret, "shop".to_owned(), "token".to_owned()), Seen::Here(BTreeSet::new()));
    let found = judged(&all);
    assert!(found[1].state == State::Failed && found[1].message.contains("has no key token"), "{found:?}");
    all.keys.insert((SourceKind::Secret, "shop".to_owned(), "token".to_owned()), Seen::Forbidden);
    assert_eq!(judged(&all)[1].state, State::Skipped);
}

#[test]
fn every_reason_that_is_not_good_says_what_to_do() {
    for reason in ConnectionReason::ALL.iter().filter(|reason| **reason != ConnectionReason::Connected) {
        let found = judged(&connection(Value::Null, ready("False", reason.as_str(), "why")));
        assert!(matches!(found[0].state, State::Failed | State::Warning) && found[0].mend.is_some(), "{found:?}");
        assert!(found[0].message.contains(reason.as_str()), "{found:?}");
    }
    let old = judged(&connection(Value::Null, json!({"observedGeneration": 1})));
    assert!(old[0].state == State::Failed && old[0].message.contains("has not looked"), "{old:?}");
}

#[test]
fn plain_http_is_a_warning_that_shows_no_user_of_the_url() {
    let spec = json!({"allowInsecureUrl": true, "kelvin": {"url": "http://me:secret@acme.example/x",
        "auth": {"accessTokenRef": {"name": "token", "key": "token"}}}});
    let found = judged(&connection(spec, ready("True", "Connected", "")));
    assert_eq!(found[1].message, "sends credentials and values in the clear to acme.example");
}

#[test]
fn a_cluster_connection_for_nobody_is_a_warning() {
    let object = json!({"apiVersion": "vaultsecret.dev/v1alpha1", "kind": "ClusterVaultConnection", "metadata": {"name": "all"},
        "spec": {"mixpeek": {"auth": {"apiKeyRef": {"name": "key", "key": "key"}}}, "allowedNamespaces": {"selector": {}}},
        "status": ready("True", "Connected", "")});
    let object: ClusterVaultConnection = serde_json::from_value(object).unwrap();
    let key = ConnectionKey::new(ConnectionKind::ClusterVaultConnection, "", "all");
    let mut all = Connections::default();
    all.shown.insert(key.clone(), object.as_shown(&key));
    all.keys.insert((SourceKind::Secret, "ops".to_owned(), "key".to_owned()), Seen::Absent);
    let found = judged(&all);
    assert!(
        found.iter().any(|f| f.message.contains("Secret ops/key")),
        "its credentials are in the operator's namespace: {found:?}"
    );
    assert!(found.iter().any(|f| f.state == State::Warning && f.message.contains("allows no namespace")), "{found:?}");
}

#[test]
fn what_could_not_be_listed_is_skipped() {
    let mut all = Connections::default();
    all.unseen.insert(ConnectionKind::VaultConnection, "you may not list VaultConnections".to_owned());
    assert_eq!(judged(&all)[0].state, State::Skipped);
    assert_eq!(judged(&Connections::default())[0].state, State::Passed);
}
