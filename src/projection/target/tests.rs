#![allow(clippy::unwrap_used, clippy::expect_used)]

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::source::fake_api::apply_data;

pub(super) fn owner(uid: &str) -> Owner {
    Owner::vault_secret("checkout", uid)
}

pub(super) fn desired(policy: CreationPolicy, data: &[(&str, &str)]) -> Desired {
    Desired {
        name: "creds".into(),
        namespace: "shop".into(),
        type_: "Opaque".into(),
        immutable: false,
        data: data.iter().map(|(k, v)| ((*k).to_owned(), SecretValue::from(*v))).collect(),
        labels: BTreeMap::new(),
        annotations: BTreeMap::new(),
        policy,
        rivals: BTreeSet::new(),
    }
}

pub(super) fn secret(value: Value) -> Secret {
    serde_json::from_value(value).unwrap()
}

/// What the API server holds after the step.
pub(super) fn after(existing: Option<&Secret>, plan: TargetPlan) -> Option<Secret> {
    let guard = |s: &Secret| {
        let seen = existing.expect("guarded writes are of what exists");
        assert_eq!(s.metadata.uid, seen.metadata.uid);
        assert_eq!(s.metadata.resource_version, seen.metadata.resource_version);
        assert!(seen.metadata.resource_version.is_some());
    };
    let version = existing.and_then(|s| s.metadata.resource_version.clone()).unwrap_or_default() + "1";
    let stamp = |mut s: Secret, uid: String| {
        s.metadata.resource_version = Some(version.clone());
        s.metadata.uid = Some(uid);
        Some(s)
    };
    match plan {
        TargetPlan::Create(secret) => {
            assert!(existing.is_none());
            stamp(*secret, "s1".into())
        }
        TargetPlan::Replace(secret) => {
            guard(&secret);
            let uid = secret.metadata.uid.clone().unwrap();
            stamp(*secret, uid)
        }
        TargetPlan::Recreate { uid, resource_version, secret, .. } => {
            let seen = &existing.unwrap().metadata;
            assert_eq!((Some(uid.clone()), Some(resource_version)), (seen.uid.clone(), seen.resource_version.clone()));
            assert!(secret.metadata.uid.is_none() && secret.metadata.resource_version.is_none());
            stamp(*secret, uid + "n")
        }
        TargetPlan::Merge { secret, manager } => {
            guard(&secret);
            let applied = serde_json::to_value(&secret).unwrap();
            let seen = serde_json::to_value(existing.unwrap()).unwrap();
            let uid = secret.metadata.uid.clone().unwrap();
            stamp(serde_json::from_value(apply_data(seen, &applied, &manager)).unwrap(), uid)
        }
        TargetPlan::InPlace => existing.cloned(),
        other => panic!("{other:?}"),
    }
}

/// Plans, writes, and makes sure that there is nothing to do then.
pub(super) fn settle(existing: Option<&Secret>, desired: &Desired, owner: &Owner) -> Secret {
    let secret = after(existing, plan(existing, desired, owner)).expect("a Secret");
    assert_eq!(plan(Some(&secret), desired, owner), TargetPlan::InPlace);
    secret
}

pub(super) fn texts(secret: &Secret) -> BTreeMap<String, String> {
    let text = |v: &ByteString| String::from_utf8(v.0.clone()).unwrap();
    secret.data.iter().flatten().map(|(k, v)| (k.clone(), text(v))).collect()
}

pub(super) fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
}

pub(super) fn message(plan: TargetPlan) -> (&'static str, String) {
    match plan {
        TargetPlan::Conflict { message } => ("Conflict", message),
        TargetPlan::Missing { message } => ("Missing", message),
        TargetPlan::Invalid { message } => ("Invalid", message),
        other => panic!("{other:?}"),
    }
}

#[test]
fn owner_makes_a_secret_that_goes_with_the_vault_secret() {
    let made = settle(None, &desired(CreationPolicy::Owner, &[("A", "1")]), &owner("u1"));
    assert_eq!(texts(&made), map(&[("A", "1")]));
    assert_eq!(made.type_.as_deref(), Some("Opaque"));
    let reference = &made.metadata.owner_references.as_ref().unwrap()[0];
    assert_eq!(
        (reference.api_version.as_str(), reference.kind.as_str(), reference.uid.as_str(), reference.controller),
        ("vaultsecret.dev/v1alpha1", "VaultSecret", "u1", Some(true))
    );
    assert_eq!(made.metadata.labels.as_ref().unwrap()[names::ROLE], "target");
    assert_eq!(made.metadata.annotations.as_ref().unwrap()[names::MADE_FOR], "checkout/u1");
}

#[test]
fn edits_are_repaired_and_what_others_added_stays() {
    let wanted = desired(CreationPolicy::Owner, &[("A", "1"), ("B", "2")]);
    let mut edited = settle(None, &wanted, &owner("u1"));
    edited.data = Some(BTreeMap::from([
        ("A".to_owned(), ByteString(b"edited".to_vec())),
        ("FOREIGN".to_owned(), ByteString(b"x".to_vec())),
    ]));
    let meta = &mut edited.metadata;
    meta.labels = Some(map(&[("argocd.argoproj.io/instance", "shop")]));
    meta.annotations.as_mut().unwrap().insert("reloader.stakater.com/match".into(), "true".into());
    meta.finalizers = Some(vec!["example.com/hold".into()]);
    let repaired = settle(Some(&edited), &wanted, &owner("u1"));
    assert_eq!(texts(&repaired), map(&[("A", "1"), ("B", "2")]));
    let labels = repaired.metadata.labels.as_ref().unwrap();
    assert_eq!((labels["argocd.argoproj.io/instance"].as_str(), labels[names::ROLE].as_str()), ("shop", "target"));
    assert_eq!(repaired.metadata.annotations.as_ref().unwrap()["reloader.stakater.com/match"], "true");
    assert_eq!(repaired.metadata.finalizers, edited.metadata.finalizers);
}

#[test]
fn labels_of_the_template_go_with_it_and_those_of_others_stay() {
    let mut wanted = desired(CreationPolicy::Owner, &[("A", "1")]);
    wanted.labels = map(&[("team", "pay"), ("tier", "1")]);
    wanted.annotations = map(&[("example.com/note", "x")]);
    let mut made = settle(None, &wanted, &owner("u1"));
    made.metadata.labels.as_mut().unwrap().insert("foreign".into(), "y".into());
    wanted.labels = map(&[("team", "shop")]);
    wanted.annotations.clear();
    let made = settle(Some(&made), &wanted, &owner("u1"));
    let labels = made.metadata.labels.as_ref().unwrap();
    assert_eq!((labels["team"].as_str(), labels["foreign"].as_str(), labels.get("tier")), ("shop", "y", None));
    assert!(!made.metadata.annotations.as_ref().unwrap().contains_key("example.com/note"));
    wanted.labels.clear();
    let made = settle(Some(&made), &wanted, &owner("u1"));
    assert_eq!(made.metadata.labels.as_ref().unwrap().len(), 3, "ours and the foreign one");
    assert!(!made.metadata.annotations.as_ref().unwrap().contains_key(MANAGED_METADATA));
}

#[test]
fn the_policy_may_change_and_change_back() {
    let (own, orphan) = (desired(CreationPolicy::Owner, &[("A", "1")]), desired(CreationPolicy::Orphan, &[("A", "1")]));
    let owned = settle(None, &own, &owner("u1"));
    let orphaned = settle(Some(&owned), &orphan, &owner("u1"));
    assert_eq!(orphaned.metadata.owner_references, None);
    let owned = settle(Some(&orphaned), &own, &owner("u1"));
    assert!(owner("u1").controls(&owned.metadata));
}

#[test]
fn an_orphan_is_taken_up_by_name_and_an_owned_one_never() {
    let orphan = desired(CreationPolicy::Orphan, &[("A", "2")]);
    let left = settle(None, &desired(CreationPolicy::Orphan, &[("A", "1")]), &owner("u1"));
    let taken = settle(Some(&left), &orphan, &owner("u2"));
    assert_eq!(taken.metadata.annotations.as_ref().unwrap()[names::MADE_FOR], "checkout/u2");
    assert_eq!(texts(&taken), map(&[("A", "2")]));

    let (kind, text) = message(plan(Some(&left), &desired(CreationPolicy::Owner, &[("A", "1")]), &owner("u2")));
    assert!(kind == "Conflict" && text.contains("creationPolicy: Orphan"), "{text}");

    let owned = settle(None, &desired(CreationPolicy::Owner, &[("A", "1")]), &owner("u1"));
    for policy in [CreationPolicy::Owner, CreationPolicy::Orphan] {
        let (kind, text) = message(plan(Some(&owned), &desired(policy, &[("A", "1")]), &owner("u2")));
        assert!(kind == "Conflict" && text.contains("garbage collector"), "{text}");
    }
}

#[test]
fn a_secret_that_is_not_ours_is_a_conflict_whatever_it_says_of_itself() {
    let base = json!({"metadata": {"name": "creds", "namespace": "shop", "uid": "s", "resourceVersion": "1"}, "type": "Opaque"});
    let reference = |api: &str, kind: &str, uid: &str, controller: bool| json!([{"apiVersion": api, "kind": kind, "name": "checkout", "uid": uid, "controller": controller}]);
    let labels = json!({names::ROLE: "target", names::MANAGED_BY: names::OPERATOR});
    let cases: Vec<(&str, Value, Value, Value)> = vec![
        ("plain", json!({}), json!({}), Value::Null),
        ("labels alone", labels.clone(), json!({}), Value::Null),
        ("annotation alone", json!({}), json!({names::MADE_FOR: "checkout/u1"}), Value::Null),
        ("of another name", labels.clone(), json!({names::MADE_FOR: "other/u1"}), Value::Null),
        ("of another uid", labels.clone(), json!({}), reference("vaultsecret.dev/v1alpha1", "VaultSecret", "u9", true)),
        ("another kind with our uid", labels.clone(), json!({}), reference("v1", "ConfigMap", "u1", true)),
        ("another group", labels.clone(), json!({}), reference("other.dev/v1", "VaultSecret", "u1", true)),
        (
            "owned without control",
            labels.clone(),
            json!({}),
            reference("vaultsecret.dev/v1alpha1", "VaultSecret", "u1", false),
        ),
        (
            "an escrow of ours",
            json!({names::ROLE: "escrow"}),
            json!({}),
            reference("vaultsecret.dev/v1alpha1", "VaultSecret", "u1", true),
        ),
        (
            "an escrow without its label",
            json!({}),
            json!({names::ESCROW_INDEX: "{}"}),
            reference("vaultsecret.dev/v1alpha1", "VaultSecret", "u1", true),
        ),
        ("the key ring", json!({names::ROLE: "key-ring"}), json!({}), Value::Null),
    ];
    for (what, labels, annotations, references) in cases {
        let mut object = base.clone();
        object["metadata"]["labels"] = labels;
        object["metadata"]["annotations"] = annotations;
        object["metadata"]["ownerReferences"] = references;
        for policy in [CreationPolicy::Owner, CreationPolicy::Orphan] {
            let (kind, text) =
                message(plan(Some(&secret(object.clone())), &desired(policy, &[("A", "1")]), &owner("u1")));
            assert!(kind == "Conflict" && text.starts_with("Secret \"creds\" in namespace shop"), "{what}: {text}");
        }
    }
    // An object without uid owns nothing.
    let mut object = base;
    object["metadata"]["ownerReferences"] = reference("vaultsecret.dev/v1alpha1", "VaultSecret", "", true);
    assert_eq!(message(plan(Some(&secret(object)), &desired(CreationPolicy::Owner, &[]), &owner(""))).0, "Conflict");
}

#[test]
fn none_makes_nothing_and_touches_nothing() {
    let wanted = desired(CreationPolicy::None, &[("A", "1")]);
    assert_eq!(plan(None, &wanted, &owner("u1")), TargetPlan::InPlace);
    let owned = settle(None, &desired(CreationPolicy::Owner, &[("A", "0")]), &owner("u1"));
    assert_eq!(plan(Some(&owned), &wanted, &owner("u1")), TargetPlan::InPlace);
}

#[test]
fn what_cannot_be_changed_in_place_is_made_anew_with_its_reason() {
    let mut wanted = desired(CreationPolicy::Owner, &[("A", "1")]);
    wanted.immutable = true;
    let mut made = settle(None, &wanted, &owner("u1"));
    assert_eq!(made.immutable, Some(true));
    made.metadata.labels.as_mut().unwrap().insert("foreign".into(), "y".into());

    let why = |existing: &Secret, wanted: &Desired| match plan(Some(existing), wanted, &owner("u1")) {
        TargetPlan::Recreate { why, secret, .. } => {
            assert_eq!(secret.metadata.labels.as_ref().unwrap()["foreign"], "y");
            why
        }
        other => panic!("{other:?}"),
    };
    let mut changed = wanted.clone();
    changed.data.insert("A".into(), SecretValue::from("2"));
    assert_eq!(why(&made, &changed), "it is immutable and its data changes");
    settle(Some(&made), &changed, &owner("u1"));
    let mut thawed = wanted.clone();
    thawed.immutable = false;
    assert_eq!(why(&made, &thawed), "it is immutable and is not to be any more");
    let mut typed = wanted.clone();
    typed.type_ = "example.com/creds".into();
    assert_eq!(why(&made, &typed), "its type changes from Opaque to example.com/creds");
    settle(Some(&made), &typed, &owner("u1"));

    // Metadata may change in place, and so may the first freeze.
    let mut labelled = wanted.clone();
    labelled.labels = map(&[("team", "a")]);
    assert!(matches!(plan(Some(&made), &labelled, &owner("u1")), TargetPlan::Replace(_)));
    let plain = settle(None, &desired(CreationPolicy::Owner, &[("A", "1")]), &owner("u1"));
    assert!(matches!(plan(Some(&plain), &changed, &owner("u1")), TargetPlan::Replace(_)));
}

#[test]
fn what_no_secret_can_be_is_said_before_the_api_server_says_it() {
    type Alter = fn(&mut Desired);
    let cases: [(Alter, &str); 12] = [
        (|d| d.type_ = "kubernetes.io/service-account-token".into(), "never made"),
        (|d| d.type_ = "bootstrap.kubernetes.io/token".into(), "never made"),
        (|d| drop(d.data.insert("B".into(), SecretValue::new(vec![0; 1024 * 1024]))), "1048577 bytes together"),
        (|d| drop(d.data.insert("..x".into(), SecretValue::from("1"))), "\"..x\" cannot be a key"),
        (|d| drop(d.data.insert("a/b".into(), SecretValue::from("1"))), "\"a/b\" cannot be a key"),
        (|d| d.labels = map(&[("team", "a b")]), "label team"),
        (|d| d.labels = map(&[("-x", "a")]), "cannot be the key of a label"),
        (|d| d.labels = map(&[(names::ROLE, "escrow")]), "operator's own"),
        (|d| d.annotations = map(&[("a//b", "x")]), "cannot be the key of an annotation"),
        (|d| d.annotations = map(&[(names::MADE_FOR, "x/y")]), "operator's own"),
        (|d| d.annotations = BTreeMap::from([("a".to_owned(), "x".repeat(262_144))]), "262145 bytes"),
        (|d| d.name = "../x".into(), "target.name"),
    ];
    for policy in [CreationPolicy::Owner, CreationPolicy::Orphan, CreationPolicy::Merge] {
        for (alter, text) in &cases {
            let mut wanted = desired(policy, &[("A", "h")]);
            alter(&mut wanted);
            let (kind, said) = message(plan(None, &wanted, &owner("u1")));
            assert!(kind == "Invalid" && said.contains(text), "{said}");
        }
    }
}

pub(super) fn foreign() -> Secret {
    secret(json!({
        "metadata": {"name": "creds", "namespace": "shop", "uid": "f", "resourceVersion": "5", "labels": {"app": "x"}, "annotations": {"a": "b"}},
        "type": "example.com/x", "data": {"THEIRS": "eA==", "A": "b2xk"}
    }))
}

#[test]
fn nothing_shows_a_value() {
    let wanted = desired(CreationPolicy::Owner, &[("A", "hunter2")]);
    let made = settle(None, &wanted, &owner("u1"));
    let metadata = serde_json::to_string(&made.metadata).unwrap();
    let shown = format!(
        "{metadata} {wanted:?} {:?} {:?}",
        plan(None, &wanted, &owner("u1")),
        plan(Some(&made), &desired(CreationPolicy::Owner, &[]), &owner("u1"))
    );
    assert!(!shown.contains("hunter2") && !shown.contains("ByteString"), "{shown}");
}

fn any_desired() -> impl Strategy<Value = Desired> {
    let pairs = || proptest::collection::btree_map("[a-d]", "[xyz]", 0..4);
    (pairs(), pairs(), pairs(), any::<bool>(), any::<bool>(), any::<bool>()).prop_map(
        |(data, labels, annotations, immutable, typed, orphan)| Desired {
            data: data.into_iter().map(|(k, v)| (k, SecretValue::from(v))).collect(),
            labels,
            annotations,
            immutable,
            type_: if typed { "example.com/t".into() } else { String::new() },
            ..desired(if orphan { CreationPolicy::Orphan } else { CreationPolicy::Owner }, &[])
        },
    )
}

proptest! {
    /// Through any series of edits of the spec: one step suffices, the data is exactly ours, what others added stays.
    #[test]
    fn one_step_leads_to_what_is_desired(edits in proptest::collection::vec(any_desired(), 1..6)) {
        let mut now: Option<Secret> = None;
        for wanted in edits {
            let made = settle(now.as_ref(), &wanted, &owner("u1"));
            let expected: BTreeMap<String, Vec<u8>> = wanted.data.iter().map(|(k, v)| (k.clone(), v.expose().to_vec())).collect();
            let shown: BTreeMap<String, Vec<u8>> = made.data.clone().unwrap_or_default().into_iter().map(|(k, v)| (k, v.0)).collect();
            prop_assert_eq!(shown, expected);
            let labels = made.metadata.labels.as_ref().unwrap();
            prop_assert_eq!(labels.len(), wanted.labels.len() + 2 + usize::from(now.is_some()));
            prop_assert!(now.is_none() || labels["foreign.example/l"] == "1");
            let annotations = made.metadata.annotations.as_ref().unwrap();
            prop_assert!(now.is_none() || annotations["foreign.example/a"] == "1");
            prop_assert!(wanted.labels.iter().all(|(k, v)| labels.get(k) == Some(v)));
            prop_assert!(wanted.annotations.iter().all(|(k, v)| annotations.get(k) == Some(v)));
            prop_assert_eq!(owner("u1").controls(&made.metadata), wanted.policy == CreationPolicy::Owner);
            let mut seen = made;
            seen.metadata.labels.as_mut().unwrap().insert("foreign.example/l".into(), "1".into());
            seen.metadata.annotations.as_mut().unwrap().insert("foreign.example/a".into(), "1".into());
            now = Some(seen);
        }
    }

    /// Whatever a foreign Secret looks like, it is left alone, and under Merge only our keys change in it.
    #[test]
    fn nothing_foreign_ever_changes(
        wanted in any_desired(),
        data in proptest::collection::btree_map("[a-h]", "[xyz]", 0..6),
        labels in proptest::collection::btree_map("[a-h]", "[xyz]", 0..4),
    ) {
        let mut theirs = foreign();
        theirs.data = Some(data.iter().map(|(k, v)| (k.clone(), ByteString(v.clone().into_bytes()))).collect());
        theirs.metadata.labels = Some(labels);
        prop_assert_eq!(message(plan(Some(&theirs), &wanted, &owner("u1"))).0, "Conflict");

        let merge = Desired { policy: CreationPolicy::Merge, ..wanted };
        let merged = settle(Some(&theirs), &merge, &owner("u1"));
        prop_assert_eq!(&merged.metadata.labels, &theirs.metadata.labels);
        prop_assert_eq!(&merged.metadata.annotations, &theirs.metadata.annotations);
        for (key, value) in texts(&merged) {
            let ours = merge.data.get(&key).map(|v| v.expose_str().unwrap().to_owned());
            prop_assert_eq!(Some(value), ours.or(data.get(&key).cloned()));
        }
        prop_assert!(merge.data.keys().chain(data.keys()).all(|k| merged.data.as_ref().unwrap().contains_key(k)));
    }
}

/// A copy without the reference of its ClusterVaultSecret is anybody's, whatever its annotation says.
#[test]
fn a_copy_that_was_orphaned_is_not_taken_back() {
    let owner = Owner::cluster("checkout", "u1");
    let desired = desired(CreationPolicy::Owner, &[("A", "1")]);
    let copy = after(None, plan(None, &desired, &owner)).unwrap();
    assert_eq!(plan(Some(&copy), &desired, &owner), TargetPlan::InPlace);
    let mut orphan = copy;
    orphan.metadata.owner_references = None;
    for uid in ["u1", "u2"] {
        let TargetPlan::Conflict { message } = plan(Some(&orphan), &desired, &Owner::cluster("checkout", uid)) else {
            panic!("it is a conflict");
        };
        assert!(message.contains("is not controlled by this ClusterVaultSecret"), "{message}");
        assert!(!message.contains("Orphan"), "{message}");
    }
}
