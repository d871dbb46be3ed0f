//! Sources, escrow and projection against a real API server.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::{BTreeMap, BTreeSet};

use devkit::controlplane::ControlPlane;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams};
use serde_json::json;
use vaultsecret_operator::api::vault_secret::{CreationPolicy, DeletionPolicy, Generate, Password};
use vaultsecret_operator::projection::apply::{Applied, Hint, ProjectionError, Removed, apply, remove};
use vaultsecret_operator::projection::owner::Owner;
use vaultsecret_operator::projection::target::Desired;
use vaultsecret_operator::source::escrow::{self, EntryId, WantedValue};
use vaultsecret_operator::source::reference::{Namespaced, SourceError, SourceKind, SourceRef, read_all};
use vaultsecret_operator::value::SecretValue;

fn owner(uid: &str) -> Owner {
    Owner::vault_secret("checkout", uid)
}

fn desired(namespace: &str, policy: CreationPolicy, data: &[(&str, &str)]) -> Desired {
    Desired {
        name: "creds".into(),
        namespace: namespace.into(),
        type_: "Opaque".into(),
        immutable: false,
        data: data.iter().map(|(k, v)| ((*k).to_owned(), SecretValue::from(*v))).collect(),
        labels: BTreeMap::new(),
        annotations: BTreeMap::new(),
        policy,
        rivals: BTreeSet::new(),
    }
}

fn texts(secret: &Secret) -> BTreeMap<String, String> {
    secret.data.clone().unwrap_or_default().into_iter().map(|(k, v)| (k, String::from_utf8(v.0).unwrap())).collect()
}

fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
}

#[tokio::test]
async fn the_target_is_what_is_desired() {
    let cp = ControlPlane::shared().await;
    let ns = cp.namespace("target").await;
    let client = cp.admin_client();
    let secrets: Api<Secret> = Api::namespaced(client.clone(), &ns);
    let go = async |d: &Desired, uid: &str, hint: Hint| -> Result<Applied, ProjectionError> {
        apply(client.clone(), d, &owner(uid), hint).await
    };

    let mut wanted = desired(&ns, CreationPolicy::Orphan, &[("A", "1")]);
    wanted.labels = map(&[("team", "a")]);
    assert!(go(&wanted, "u1", Hint::Absent).await.unwrap().wrote);
    assert!(!go(&wanted, "u1", Hint::Absent).await.unwrap().wrote);
    assert!(!go(&wanted, "u1", Hint::Unknown).await.unwrap().wrote);
    let foreign = json!({"metadata": {"labels": {"argo": "x"}}, "data": {"X": "eA=="}});
    secrets.patch("creds", &PatchParams::default(), &Patch::Merge(foreign)).await.unwrap();
    wanted.labels.clear();
    wanted.policy = CreationPolicy::Owner;
    assert!(go(&wanted, "u1", Hint::Unknown).await.unwrap().wrote);
    let now = secrets.get("creds").await.unwrap();
    assert_eq!(texts(&now), map(&[("A", "1")]));
    let labels = now.metadata.labels.unwrap();
    assert!(labels.contains_key("argo") && !labels.contains_key("team"));
    assert!(!go(&wanted, "u1", Hint::Unknown).await.unwrap().wrote);

    // Empty data, then back.
    wanted.data.clear();
    assert!(go(&wanted, "u1", Hint::Unknown).await.unwrap().wrote);
    assert!(!go(&wanted, "u1", Hint::Unknown).await.unwrap().wrote);

    wanted.immutable = true;
    wanted.data.insert("A".into(), SecretValue::from("2"));
    assert_eq!(go(&wanted, "u1", Hint::Unknown).await.unwrap().recreated, None);
    assert!(!go(&wanted, "u1", Hint::Unknown).await.unwrap().wrote);
    wanted.data.insert("A".into(), SecretValue::from("3"));
    assert!(go(&wanted, "u1", Hint::Unknown).await.unwrap().recreated.is_some());
    assert!(!go(&wanted, "u1", Hint::Unknown).await.unwrap().wrote);
    let now = secrets.get("creds").await.unwrap();
    assert_eq!((texts(&now), now.immutable), (map(&[("A", "3")]), Some(true)));

    // A type that the data does not fit: refused before the old one is deleted.
    wanted.type_ = "kubernetes.io/tls".into();
    let error = go(&wanted, "u1", Hint::Unknown).await.unwrap_err();
    assert!(
        matches!(&error, ProjectionError::Invalid(m) if m.ends_with("look at data[tls.crt], data[tls.key]")),
        "{error}"
    );
    assert_eq!(secrets.get("creds").await.unwrap().metadata.uid, now.metadata.uid);
    wanted.type_ = "example.com/x".into();
    let recreated = go(&wanted, "u1", Hint::Unknown).await.unwrap().recreated;
    assert_eq!(recreated.as_deref(), Some("its type changes from Opaque to example.com/x"));
    assert!(matches!(go(&wanted, "u2", Hint::Unknown).await.unwrap_err(), ProjectionError::Conflict(_)));
    assert_eq!(remove(client.clone(), &ns, "creds", &owner("u2")).await.unwrap(), Removed::Kept);
    assert_eq!(remove(client.clone(), &ns, "creds", &owner("u1")).await.unwrap(), Removed::Deleted);
    assert_eq!(remove(client.clone(), &ns, "creds", &owner("u1")).await.unwrap(), Removed::Absent);
}

#[tokio::test]
async fn merge_is_account_of_its_own_keys() {
    let cp = ControlPlane::shared().await;
    let ns = cp.namespace("merge").await;
    let client = cp.admin_client();
    let secrets: Api<Secret> = Api::namespaced(client.clone(), &ns);
    let a = owner("u1");
    let b = Owner::vault_secret("billing", "u2");
    let mut wanted = desired(&ns, CreationPolicy::Merge, &[("A", "1"), ("tls.crt", "2")]);
    assert!(matches!(
        apply(client.clone(), &wanted, &a, Hint::Unknown).await.unwrap_err(),
        ProjectionError::Missing(_)
    ));
    let foreign: Secret = serde_json::from_value(
        json!({"metadata": {"name": "creds", "labels": {"x": "y"}}, "data": {"THEIRS": "eA==", "A": "b2xk"}}),
    )
    .unwrap();
    secrets.create(&PostParams::default(), &foreign).await.unwrap();
    assert!(apply(client.clone(), &wanted, &a, Hint::Unknown).await.unwrap().wrote);
    assert!(!apply(client.clone(), &wanted, &a, Hint::Unknown).await.unwrap().wrote);
    let mut theirs = desired(&ns, CreationPolicy::Merge, &[("B", "3")]);
    theirs.rivals.insert("checkout".into());
    assert!(apply(client.clone(), &theirs, &b, Hint::Unknown).await.unwrap().wrote);
    assert!(!apply(client.clone(), &wanted, &a, Hint::Unknown).await.unwrap().wrote);
    theirs.data.insert("tls.crt".into(), SecretValue::from("mine"));
    let error = apply(client.clone(), &theirs, &b, Hint::Unknown).await.unwrap_err();
    assert!(matches!(error, ProjectionError::Conflict(_)));
    wanted.data.remove("tls.crt");
    assert!(apply(client.clone(), &wanted, &a, Hint::Unknown).await.unwrap().wrote);
    let now = secrets.get("creds").await.unwrap();
    assert_eq!(texts(&now), map(&[("A", "1"), ("B", "3"), ("THEIRS", "x")]));
    assert_eq!(now.metadata.labels, Some(map(&[("x", "y")])));
    assert_eq!(now.metadata.annotations, None);
    assert_eq!(remove(client.clone(), &ns, "creds", &a).await.unwrap(), Removed::Withdrawn);
    let now = secrets.get("creds").await.unwrap();
    assert_eq!(texts(&now), map(&[("B", "3"), ("THEIRS", "x")]));

    // An apply that names the uid of one that has gone makes none, and one of another uid is refused.
    let old = now.metadata.clone();
    secrets.delete("creds", &DeleteParams::default()).await.unwrap();
    let patch = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "creds", "uid": old.uid, "resourceVersion": old.resource_version}, "data": {"A": "MQ=="}});
    let error = secrets.patch("creds", &PatchParams::apply("x").force(), &Patch::Apply(&patch)).await.unwrap_err();
    assert!(matches!(error, kube::Error::Api(s) if s.code == 409));
    secrets.create(&PostParams::default(), &foreign).await.unwrap();
    let error = secrets.patch("creds", &PatchParams::apply("x").force(), &Patch::Apply(&patch)).await.unwrap_err();
    assert!(matches!(error, kube::Error::Api(s) if s.code == 409));
}

#[tokio::test]
async fn the_escrow_holds() {
    let cp = ControlPlane::shared().await;
    let ns = cp.namespace("escrow").await;
    let client = cp.admin_client();
    let owner = |name: &str, uid: &str, delete_policy| escrow::Owner {
        name: name.into(),
        namespace: ns.clone(),
        uid: uid.into(),
        delete_policy,
    };
    let wanted = |key: &str, epoch| WantedValue {
        arrived: true,
        key: key.into(),
        generate: Generate { password: Some(Password::default()), epoch: Some(epoch), ..Generate::default() },
        entries: vec![EntryId { connection: "VaultConnection/k".into(), remote_name: key.into() }],
    };
    let long = "k".repeat(253);
    let keys = [wanted("A", 1), wanted("A.previous", 1), wanted(".", 1), wanted("..x", 1), wanted(&long, 1)];
    for name in ["checkout".to_owned(), format!("{}.{}", "a".repeat(212), "b".repeat(40))] {
        let one = owner(&name, "u1", DeletionPolicy::Retain);
        let all = futures::future::join_all(
            (0..6).map(|_| escrow::ensure(client.clone(), &one, &keys, &(), jiff::Timestamp::UNIX_EPOCH)),
        )
        .await;
        let all: Vec<_> = all.into_iter().map(Result::unwrap).collect();
        assert_eq!(all[0].values.len(), 5);
        assert!(all.iter().all(|e| e.values == all[0].values));
        assert_eq!(all.iter().filter(|e| e.wrote).count(), 1);
        let rotated: Vec<_> = keys.iter().map(|w| wanted(&w.key, 2)).collect();
        let many = futures::future::join_all(
            (0..4).map(|_| escrow::ensure(client.clone(), &one, &rotated, &(), jiff::Timestamp::UNIX_EPOCH)),
        )
        .await;
        let many: Vec<_> = many.into_iter().map(Result::unwrap).collect();
        assert!(many.iter().all(|e| e.values == many[0].values && e.previous == all[0].values));
        let two = owner(&name, "u2", DeletionPolicy::Retain);
        let picked = escrow::ensure(client.clone(), &two, &rotated, &(), jiff::Timestamp::UNIX_EPOCH).await.unwrap();
        assert_eq!((picked.values, picked.made_for_entries.len()), (many[0].values.clone(), 5));
        let again = escrow::ensure(client.clone(), &two, &rotated, &(), jiff::Timestamp::UNIX_EPOCH).await.unwrap();
        assert!(!again.wrote && again.made_for_entries.len() == 5);
        let three = owner(&name, "u2", DeletionPolicy::Delete);
        assert!(
            escrow::ensure(client.clone(), &three, &rotated, &(), jiff::Timestamp::UNIX_EPOCH).await.unwrap().wrote
        );
        assert!(
            !escrow::ensure(client.clone(), &three, &rotated, &(), jiff::Timestamp::UNIX_EPOCH).await.unwrap().wrote
        );
    }
}

#[tokio::test]
async fn a_reference_says_what_is_missing() {
    let cp = ControlPlane::shared().await;
    let ns = cp.namespace("refs").await;
    let wanted = SourceRef { kind: SourceKind::ConfigMap, name: "c".into(), key: "k".into() };
    let sources = read_all(&Namespaced::new(cp.admin_client(), ns), [wanted.clone()]).await;
    assert!(matches!(sources.get(&wanted).unwrap(), Err(SourceError::ObjectMissing { .. })));
}
