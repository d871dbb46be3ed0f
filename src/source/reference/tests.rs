#![allow(clippy::unwrap_used, clippy::expect_used)]

use super::*;
use crate::source::fake_api::FakeApi;
use serde_json::json;

fn at(kind: SourceKind, name: &str, key: &str) -> SourceRef {
    SourceRef { kind, name: name.into(), key: key.into() }
}

#[tokio::test]
async fn every_object_is_read_once_and_every_key_has_its_own_answer() {
    let api = FakeApi::start().await;
    api.put(
        "secrets",
        json!({"metadata": {"name": "stripe-source", "namespace": "shop"}, "data": {"a": "QQ==", "b": "/w=="}}),
    );
    api.put(
        "configmaps",
        json!({"metadata": {"name": "c", "namespace": "shop"}, "data": {"t": "x"}, "binaryData": {"b": "/w=="}}),
    );
    let wanted = [
        at(SourceKind::Secret, "stripe-source", "a"),
        at(SourceKind::Secret, "stripe-source", "b"),
        at(SourceKind::Secret, "stripe-source", "c"),
        at(SourceKind::ConfigMap, "c", "t"),
        at(SourceKind::ConfigMap, "c", "b"),
        at(SourceKind::ConfigMap, "stripe-source", "a"),
    ];
    let sources = read_all(&Namespaced::new(api.client(), "shop"), wanted.clone()).await;
    let value = |n: usize| sources.get(&wanted[n]).unwrap().as_ref().map(|s| s.value.expose().to_vec());
    assert_eq!(value(0).unwrap(), b"A");
    assert_eq!(value(1).unwrap(), b"\xff");
    assert_eq!(value(3).unwrap(), b"x");
    assert_eq!(value(4).unwrap(), b"\xff");
    let text = |n: usize| sources.get(&wanted[n]).unwrap().as_ref().unwrap_err().to_string();
    assert_eq!(text(2), "Secret \"stripe-source\" in namespace shop has no key \"c\"");
    assert_eq!(text(5), "ConfigMap \"stripe-source\" not found in namespace shop");
    assert!(!sources.get(&wanted[0]).unwrap().as_ref().unwrap().resource_version.is_empty());
    assert_eq!(api.requests().len(), 3, "{:?}", api.requests());
}

#[tokio::test]
async fn a_name_that_leads_out_of_the_namespace_is_never_asked_for() {
    let api = FakeApi::start().await;
    api.put("secrets", json!({"metadata": {"name": "x", "namespace": "kube-system"}, "data": {"a": "QQ=="}}));
    let names = ["../../kube-system/secrets/x", "x/status", "x?watch=true", "X", "", ".", "..", "x%2fy", "é"];
    let wanted: Vec<_> = names.iter().map(|n| at(SourceKind::Secret, n, "a")).collect();
    let sources = read_all(&Namespaced::new(api.client(), "shop"), wanted).await;
    assert_eq!(sources.iter().count(), names.len());
    assert!(sources.iter().all(|(_, found)| matches!(found, Err(SourceError::InvalidName { .. }))));
    assert!(api.requests().is_empty());
}

/// What opens sealed values, and what fingerprints are made with, is nobody's source.
#[tokio::test]
async fn what_the_operator_keeps_for_itself_is_no_source() {
    let api = FakeApi::start().await;
    let secret = |name: &str, role: &str| json!({"metadata": {"name": name, "namespace": "shop", "labels": {"vaultsecret.dev/role": role}}, "data": {"k": "QQ=="}});
    for (name, role) in
        [("vaultsecret-sealing-identities", "any"), ("restored-ring", "key-ring"), ("a-target", "target")]
    {
        api.put("secrets", secret(name, role));
    }
    let wanted = ["vaultsecret-key-ring", "vaultsecret-sealing-identities", "restored-ring", "a-target"]
        .map(|name| at(SourceKind::Secret, name, "k"));
    let sources = read_all(&Namespaced::new(api.client(), "shop"), wanted.clone()).await;
    let found = wanted.each_ref().map(|one| sources.get(one).unwrap().as_ref().map_err(ToString::to_string));
    for (one, found) in wanted.iter().zip(&found[..3]) {
        let text = format!("Secret \"{}\" in namespace shop is the operator's own and never a source", one.name);
        assert_eq!(found.as_ref().unwrap_err(), &text);
    }
    assert!(found[3].is_ok(), "what one VaultSecret shows may be the source of another");
}

#[tokio::test]
async fn a_read_that_is_not_allowed_is_told_from_one_that_failed() {
    let api = FakeApi::start().await;
    api.fail_next(
        "GET",
        403,
        "secrets \"a\" is forbidden: User \"u\" cannot get resource \"secrets\" in API group \"\"",
    );
    let namespaced = Namespaced::new(api.client(), "shop");
    let wanted = at(SourceKind::Secret, "a", "k");
    let sources = read_all(&namespaced, [wanted.clone()]).await;
    let error = sources.get(&wanted).unwrap().as_ref().unwrap_err();
    assert!(error.is_forbidden() && error.is_missing());
    assert_eq!(
        error.to_string(),
        "cannot read Secret \"a\" in namespace shop: forbidden (status 403): the operator's role does not allow it to get secrets; \
         add the rule {apiGroups: [\"\"], resources: [secrets], verbs: [get]} to the role of its service account in namespace shop"
    );
    api.fail_next("GET", 500, "etcd hunter2");
    let sources = read_all(&namespaced, [wanted.clone()]).await;
    let error = sources.get(&wanted).unwrap().as_ref().unwrap_err();
    assert!(
        matches!(error, SourceError::Api(_)) && !error.is_missing() && !error.to_string().contains("hunter2"),
        "{error}"
    );
}
