#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;

use super::*;
use crate::source::fake_api::FakeApi;
use crate::value::SecretValue;

fn owner() -> Owner {
    Owner::vault_secret("checkout", "u1")
}

fn desired(policy: CreationPolicy, value: &str) -> Desired {
    Desired {
        name: "creds".into(),
        namespace: "shop".into(),
        type_: "Opaque".into(),
        immutable: false,
        data: BTreeMap::from([("A".to_owned(), SecretValue::from(value))]),
        labels: BTreeMap::new(),
        annotations: BTreeMap::new(),
        policy,
        rivals: BTreeSet::new(),
    }
}

async fn done(api: &FakeApi, desired: &Desired, hint: Hint) -> Applied {
    api.forget();
    apply(api.client(), desired, &owner(), hint).await.unwrap()
}

#[tokio::test]
async fn one_write_when_something_changes_and_none_when_nothing_does() {
    let api = FakeApi::start().await;
    let wanted = desired(CreationPolicy::Owner, "1");
    let made = done(&api, &wanted, Hint::Absent).await;
    assert!(made.wrote && !made.resource_version.is_empty());
    assert_eq!(api.requests(), ["POST creds"]);
    let same = done(&api, &wanted, Hint::Unknown).await;
    assert_eq!((same.wrote, same.resource_version), (false, made.resource_version));
    assert_eq!(api.requests(), ["GET creds"]);
    // The index lagged: the Secret is there.
    assert!(!done(&api, &wanted, Hint::Absent).await.wrote);
    assert_eq!(api.requests(), ["POST creds", "GET creds"]);
    assert!(done(&api, &desired(CreationPolicy::Owner, "2"), Hint::Unknown).await.wrote);
    assert_eq!(api.requests(), ["GET creds", "PUT creds"]);
    assert_eq!(api.get("secrets", "shop", "creds").unwrap()["data"], json!({"A": "Mg=="}));
}

#[tokio::test]
async fn what_somebody_else_writes_meanwhile_is_seen() {
    let api = FakeApi::start().await;
    done(&api, &desired(CreationPolicy::Owner, "1"), Hint::Absent).await;
    let mut edited = api.get("secrets", "shop", "creds").unwrap();
    edited["metadata"]["labels"]["team"] = json!("a");
    api.before_next("PUT", move |store| store.put("secrets", edited));
    assert!(done(&api, &desired(CreationPolicy::Owner, "2"), Hint::Unknown).await.wrote);
    assert_eq!(api.requests(), ["GET creds", "PUT creds", "GET creds", "PUT creds"]);
    assert_eq!(api.get("secrets", "shop", "creds").unwrap()["metadata"]["labels"]["team"], "a");

    // Deleted by hand while it was being replaced: made again.
    api.before_next("PUT", |store| store.remove("secrets", "shop", "creds"));
    assert!(done(&api, &desired(CreationPolicy::Owner, "3"), Hint::Unknown).await.wrote);
    assert_eq!(api.requests().last().unwrap(), "POST creds");

    // A stranger's, made between our read and our create, is not touched.
    api.before_next("PUT", |store| {
        store.remove("secrets", "shop", "creds");
        store.put("secrets", json!({"metadata": {"name": "creds", "namespace": "shop"}, "data": {"X": "eA=="}}));
    });
    let error = apply(api.client(), &desired(CreationPolicy::Owner, "4"), &owner(), Hint::Unknown).await.unwrap_err();
    assert!(matches!(error, ProjectionError::Conflict(_)), "{error:?}");
    assert_eq!(api.get("secrets", "shop", "creds").unwrap()["data"], json!({"X": "eA=="}));
}

#[tokio::test]
async fn an_immutable_secret_is_replaced_only_if_the_new_one_would_be_taken() {
    let api = FakeApi::start().await;
    let frozen = |value: &str| Desired { immutable: true, ..desired(CreationPolicy::Owner, value) };
    done(&api, &frozen("1"), Hint::Absent).await;

    api.fail_next("DRYRUN", 403, "admission webhook \"deny.example\" denied the request: Mg==");
    let error = apply(api.client(), &frozen("2"), &owner(), Hint::Unknown).await.unwrap_err();
    assert!(matches!(error, ProjectionError::Forbidden(_)), "{error:?}");
    assert!(error.to_string().ends_with("admission webhook deny.example refused it"), "{error}");
    assert_eq!(api.get("secrets", "shop", "creds").unwrap()["data"], json!({"A": "MQ=="}), "the old one stays");

    let made = done(&api, &frozen("2"), Hint::Unknown).await;
    assert_eq!(made.recreated.as_deref(), Some("it is immutable and its data changes"));
    assert_eq!(api.requests(), ["GET creds", "DRYRUN creds", "DELETE creds", "POST creds"]);
    assert_eq!(api.get("secrets", "shop", "creds").unwrap()["data"], json!({"A": "Mg=="}));

    // A finalizer of somebody else's holds it: said, and nothing is forced.
    let mut held = api.get("secrets", "shop", "creds").unwrap();
    held["metadata"]["finalizers"] = json!(["example.com/hold"]);
    api.put("secrets", held);
    let error = apply(api.client(), &frozen("3"), &owner(), Hint::Unknown).await.unwrap_err();
    assert!(matches!(&error, ProjectionError::Conflict(m) if m.contains("is being deleted")), "{error:?}");
}

#[tokio::test]
async fn merge_makes_no_secret_even_if_it_vanishes() {
    let api = FakeApi::start().await;
    let wanted = desired(CreationPolicy::Merge, "1");
    let put = || json!({"metadata": {"name": "creds", "namespace": "shop"}, "data": {"X": "eA=="}});
    api.put("secrets", put());
    api.before_next("PATCH", |store| store.remove("secrets", "shop", "creds"));
    let error = apply(api.client(), &wanted, &owner(), Hint::Unknown).await.unwrap_err();
    assert!(matches!(error, ProjectionError::Missing(_)), "{error:?}");
    api.put("secrets", put());
    assert!(done(&api, &wanted, Hint::Unknown).await.wrote);
    assert_eq!(api.get("secrets", "shop", "creds").unwrap()["data"], json!({"A": "MQ==", "X": "eA=="}));
    assert!(!done(&api, &wanted, Hint::Unknown).await.wrote);
    let namesake = Owner::cluster(owner().name, "u9");
    assert_eq!(remove(api.client(), "shop", "creds", &namesake).await.unwrap(), Removed::Kept, "of another kind");
    assert!(!done(&api, &wanted, Hint::Unknown).await.wrote);
    let removed = remove(api.client(), "shop", "creds", &owner()).await.unwrap();
    assert_eq!(removed, Removed::Withdrawn);
    assert_eq!(api.get("secrets", "shop", "creds").unwrap()["data"], json!({"X": "eA=="}));
    assert_eq!(remove(api.client(), "shop", "creds", &owner()).await.unwrap(), Removed::Kept);
}

#[tokio::test]
async fn only_a_secret_that_is_ours_is_removed() {
    let api = FakeApi::start().await;
    assert_eq!(remove(api.client(), "shop", "creds", &owner()).await.unwrap(), Removed::Absent);
    done(&api, &desired(CreationPolicy::Orphan, "1"), Hint::Absent).await;
    assert_eq!(remove(api.client(), "shop", "creds", &owner()).await.unwrap(), Removed::Kept);
    done(&api, &desired(CreationPolicy::Owner, "1"), Hint::Unknown).await;
    let other = Owner { uid: "u2".into(), ..owner() };
    assert_eq!(remove(api.client(), "shop", "creds", &other).await.unwrap(), Removed::Kept);

    // Replaced by a stranger's between read and delete: the precondition holds it off.
    api.before_next("DELETE", |store| {
        store.remove("secrets", "shop", "creds");
        store.put("secrets", json!({"metadata": {"name": "creds", "namespace": "shop"}, "data": {"X": "eA=="}}));
    });
    assert_eq!(remove(api.client(), "shop", "creds", &owner()).await.unwrap(), Removed::Kept);
    assert!(api.get("secrets", "shop", "creds").is_some());

    let renamed = Desired { name: "old".into(), ..desired(CreationPolicy::Owner, "1") };
    done(&api, &renamed, Hint::Absent).await;
    assert_eq!(remove(api.client(), "shop", "old", &owner()).await.unwrap(), Removed::Deleted);
    assert!(api.get("secrets", "shop", "old").is_none());
}

#[tokio::test]
async fn what_the_api_server_echoes_is_not_repeated() {
    let api = FakeApi::start().await;
    for (code, kind) in [(422, "Invalid"), (403, "Forbidden"), (500, "Api"), (413, "Invalid")] {
        api.fail_next("POST", code, "hunter2 aHVudGVyMg==");
        let error =
            apply(api.client(), &desired(CreationPolicy::Owner, "hunter2"), &owner(), Hint::Absent).await.unwrap_err();
        let shown = format!("{error} {error:?}");
        assert!(!shown.contains("hunter2") && !shown.contains("aHVudGVyMg"), "{shown}");
        assert!(shown.contains("create Secret \\\"creds\\\" in namespace shop") && shown.contains(kind), "{shown}");
    }
}
