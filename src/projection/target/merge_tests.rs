#![allow(clippy::unwrap_used, clippy::expect_used)]

use serde_json::json;

use super::tests::{after, desired, foreign, map, message, owner, settle, texts};
use super::*;

#[test]
fn merge_writes_our_keys_and_takes_them_out_again() {
    let merged = settle(Some(&foreign()), &desired(CreationPolicy::Merge, &[("A", "1"), ("B", "2")]), &owner("u1"));
    assert_eq!(texts(&merged), map(&[("A", "1"), ("B", "2"), ("THEIRS", "x")]));
    let fewer = settle(Some(&merged), &desired(CreationPolicy::Merge, &[("A", "1")]), &owner("u1"));
    assert_eq!(texts(&fewer), map(&[("A", "1"), ("THEIRS", "x")]));
    let (before, now) = (foreign(), &fewer);
    assert_eq!(
        (&now.metadata.labels, &now.metadata.annotations, &now.type_),
        (&before.metadata.labels, &before.metadata.annotations, &before.type_)
    );
    assert_eq!(now.metadata.owner_references, None);

    // One made anew under the same name goes on.
    let next = settle(Some(&fewer), &desired(CreationPolicy::Merge, &[("B", "2")]), &owner("u2"));
    assert_eq!(texts(&next), map(&[("B", "2"), ("THEIRS", "x")]));
    let (patch, manager) = withdrawal(&next, &owner("u2")).unwrap();
    let left = after(Some(&next), TargetPlan::Merge { secret: Box::new(patch), manager }).unwrap();
    assert_eq!(texts(&left), map(&[("THEIRS", "x")]));
    assert!(withdrawal(&left, &owner("u2")).is_none());
}

#[test]
fn a_key_that_is_right_already_becomes_ours_all_the_same() {
    // Otherwise it would stay when it leaves the spec.
    let merged = settle(Some(&foreign()), &desired(CreationPolicy::Merge, &[("A", "old")]), &owner("u1"));
    assert!(merged.metadata.managed_fields.is_some());
    let left = settle(Some(&merged), &desired(CreationPolicy::Merge, &[]), &owner("u1"));
    assert_eq!(texts(&left), map(&[("THEIRS", "x")]));
}

#[test]
fn two_merge_into_one_secret_and_neither_takes_from_the_other() {
    let other = Owner::vault_secret("billing", "u2");
    let mut ours = desired(CreationPolicy::Merge, &[("A", "1")]);
    ours.rivals = BTreeSet::from(["billing".to_owned()]);
    let mut theirs = desired(CreationPolicy::Merge, &[("B", "2")]);
    theirs.rivals = BTreeSet::from(["checkout".to_owned()]);
    let both = settle(Some(&settle(Some(&foreign()), &ours, &owner("u1"))), &theirs, &other);
    assert_eq!(plan(Some(&both), &ours, &owner("u1")), TargetPlan::InPlace);
    ours.data.insert("B".into(), SecretValue::from("mine"));
    let (kind, text) = message(plan(Some(&both), &ours, &owner("u1")));
    assert_eq!(
        (kind, text.as_str()),
        ("Conflict", "key \"B\" of Secret \"creds\" in namespace shop is written by VaultSecret \"billing\"")
    );
    // One that does not exist any more holds nothing.
    ours.rivals.clear();
    assert_eq!(texts(&settle(Some(&both), &ours, &owner("u1")))["B"], "mine");
    ours.data.clear();
    assert_eq!(texts(&settle(Some(&both), &ours, &owner("u1"))), map(&[("B", "2"), ("THEIRS", "x")]));
}

#[test]
fn merge_waits_for_the_secret_and_keeps_off_some() {
    let wanted = desired(CreationPolicy::Merge, &[("A", "1")]);
    let (kind, text) = message(plan(None, &wanted, &owner("u1")));
    assert!(kind == "Missing" && text.starts_with("Secret \"creds\" not found in namespace shop"), "{text}");
    let kind = |alter: fn(&mut Secret)| {
        let mut secret = foreign();
        alter(&mut secret);
        message(plan(Some(&secret), &desired(CreationPolicy::Merge, &[("A", "1")]), &owner("u1"))).0
    };
    assert_eq!(kind(|s| s.immutable = Some(true)), "Conflict");
    assert_eq!(kind(|s| s.type_ = Some("bootstrap.kubernetes.io/token".into())), "Conflict");
    assert_eq!(kind(|s| s.metadata.labels = Some(map(&[(names::ROLE, "escrow")]))), "Conflict");
    assert_eq!(kind(|s| s.metadata.owner_references = Some(vec![owner("u1").reference()])), "Conflict");
    assert_eq!(
        kind(|s| drop(s.data.as_mut().unwrap().insert("BIG".into(), ByteString(vec![0; 1024 * 1024])))),
        "Invalid"
    );
    assert_eq!(
        kind(|s| s.metadata.deletion_timestamp = Some(serde_json::from_value(json!("2026-01-01T00:00:00Z")).unwrap())),
        "Missing"
    );
    // An immutable one that shows our values already needs nothing.
    let mut frozen = foreign();
    frozen.immutable = Some(true);
    assert_eq!(
        plan(Some(&frozen), &desired(CreationPolicy::Merge, &[("A", "old")]), &owner("u1")),
        TargetPlan::InPlace
    );
}
