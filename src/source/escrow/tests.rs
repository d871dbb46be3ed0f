#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeMap;

use k8s_openapi::ByteString;
use proptest::prelude::*;
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use serde_json::json;

use super::*;
use crate::api::vault_secret::{Bytes, DeletionPolicy, Generate, Password};

pub(super) fn owner(uid: &str, delete_policy: DeletionPolicy) -> Owner {
    Owner { name: "checkout".into(), namespace: "shop".into(), uid: uid.into(), delete_policy }
}

pub(super) const NOW: Timestamp = Timestamp::UNIX_EPOCH;

fn entry(remote_name: &str) -> EntryId {
    EntryId { connection: "VaultConnection/kelvin".into(), remote_name: remote_name.into() }
}

pub(super) fn wanted(key: &str, epoch: i64) -> WantedValue {
    let generate = Generate { bytes: Some(Bytes::default()), epoch: Some(epoch), ..Generate::default() };
    WantedValue { key: key.into(), generate, entries: vec![entry(key)], arrived: true }
}

fn unmeetable(key: &str, epoch: i64) -> WantedValue {
    let password = Password { length: Some(1000), allow_repeat: Some(false), ..Password::default() };
    WantedValue {
        generate: Generate { password: Some(password), epoch: Some(epoch), ..Generate::default() },
        ..wanted(key, epoch)
    }
}

pub(super) fn planned(
    existing: Option<&Secret>,
    wanted: &[WantedValue],
    owner: &Owner,
    seed: u64,
) -> Result<Planned, EscrowError> {
    plan(existing, wanted, owner, &BTreeMap::new(), &|_| false, NOW, &mut StdRng::seed_from_u64(seed))
}

/// What the API server holds after the step.
pub(super) fn stored(step: EscrowPlan) -> Secret {
    let (mut secret, version) = match step {
        EscrowPlan::Create(secret) => (*secret, "1".to_owned()),
        EscrowPlan::Replace(secret) => {
            let version = secret.metadata.resource_version.clone().expect("guarded");
            (*secret, format!("{version}1"))
        }
        EscrowPlan::Keep(_) => panic!("a write was expected"),
    };
    secret.metadata.resource_version = Some(version);
    secret
}

pub(super) fn kept(existing: &Secret, wanted: &[WantedValue], owner: &Owner) -> Held {
    match planned(Some(existing), wanted, owner, 99).unwrap().step {
        EscrowPlan::Keep(held) => held,
        other => panic!("{other:?}"),
    }
}

pub(super) fn retain() -> Owner {
    owner("uid-1", DeletionPolicy::Retain)
}

fn made(wanted: &[WantedValue]) -> Secret {
    stored(planned(None, wanted, &retain(), 1).unwrap().step)
}

#[test]
fn a_new_escrow_says_whose_it_is_and_what_for() {
    let secret = made(&[wanted("A", 1), wanted("B", 0)]);
    let meta = &secret.metadata;
    assert_eq!(meta.name.as_deref(), Some("checkout-escrow"));
    assert_eq!(meta.namespace.as_deref(), Some("shop"));
    assert_eq!(meta.labels.as_ref().unwrap()[names::ROLE], "escrow");
    assert_eq!(meta.annotations.as_ref().unwrap()[names::MADE_FOR], "checkout/uid-1");
    assert_eq!(meta.owner_references, None, "under Retain it outlives the VaultSecret");
    let index: serde_json::Value =
        serde_json::from_str(&meta.annotations.as_ref().unwrap()[names::ESCROW_INDEX]).unwrap();
    assert_eq!(
        index["keys"]["A"],
        json!({"epoch": 1, "entries": [{"connection": "VaultConnection/kelvin", "remoteName": "A"}],
               "madeAt": "1970-01-01T00:00:00Z"})
    );
    let held = kept(&secret, &[wanted("A", 1), wanted("B", 0)], &retain());
    assert_eq!(held.values.len(), 2);
    assert!(held.previous.is_empty() && held.inherited.is_empty());
}

#[test]
fn only_another_epoch_makes_another_value_and_the_old_one_is_kept() {
    let first = made(&[wanted("A", 1)]);
    let before = kept(&first, &[wanted("A", 1)], &retain()).values["A"].clone();

    let mut other_policy = wanted("A", 1);
    other_policy.generate.bytes = Some(Bytes { length: Some(5), encoding: None });
    assert_eq!(kept(&first, &[other_policy], &retain()).values["A"], before);

    let second = stored(planned(Some(&first), &[wanted("A", 2)], &retain(), 2).unwrap().step);
    let held = kept(&second, &[wanted("A", 2)], &retain());
    assert_ne!(held.values["A"], before);
    assert_eq!(held.previous["A"], before);
    assert_eq!(kept(&second, &[wanted("A", 2)], &retain()), held);
}

#[test]
fn no_epoch_is_epoch_0() {
    let mut value = wanted("A", 0);
    value.generate.epoch = None;
    let secret = made(std::slice::from_ref(&value));
    assert_eq!(kept(&secret, &[wanted("A", 0)], &retain()), kept(&secret, &[value], &retain()));
}

#[test]
fn a_policy_that_cannot_be_met_refuses_its_own_key_only() {
    let both = [unmeetable("A", 0), wanted("B", 0)];
    let first = planned(None, &both, &retain(), 1).unwrap();
    assert_eq!(first.refused.keys().collect::<Vec<_>>(), ["A"]);
    let secret = stored(first.step);
    assert_eq!(kept(&secret, &both, &retain()).values.keys().collect::<Vec<_>>(), ["B"]);
    assert_eq!(planned(None, &both[..1], &retain(), 1).unwrap().step, EscrowPlan::Keep(Held::default()));

    // A rotation that cannot be made leaves the old value where it is, and does not pass it off as the new one.
    let secret = made(&[wanted("A", 1)]);
    let rotated = planned(Some(&secret), &[unmeetable("A", 2)], &retain(), 1).unwrap();
    assert!(matches!(rotated.step, EscrowPlan::Keep(held) if held.values.is_empty()));
    assert!(rotated.refused.contains_key("A"));
    // And where a value is there already, the policy is not asked.
    assert!(planned(Some(&secret), &[unmeetable("A", 1)], &retain(), 1).unwrap().refused.is_empty());
}

#[test]
fn a_key_that_leaves_and_comes_back_has_its_value_again() {
    let secret = made(&[wanted("A", 1), wanted("B", 1)]);
    let before = kept(&secret, &[wanted("A", 1), wanted("B", 1)], &retain()).values["A"].clone();
    let without = stored(planned(Some(&secret), &[wanted("B", 1)], &retain(), 2).unwrap().step);
    let index = read(&without);
    assert!(index.keys["A"].entries.is_empty(), "it goes to no entry any more");
    let both = [wanted("A", 1), wanted("B", 1)];
    let back = stored(planned(Some(&without), &both, &retain(), 3).unwrap().step);
    assert_eq!(kept(&back, &both, &retain()).values["A"], before);
}

fn read(secret: &Secret) -> Index {
    serde_json::from_str(&secret.metadata.annotations.as_ref().unwrap()[names::ESCROW_INDEX]).unwrap()
}

#[test]
fn a_secret_that_is_not_our_escrow_is_left_alone() {
    let ours = made(&[wanted("A", 1)]);
    let change = |change: fn(&mut Secret)| {
        let mut secret = ours.clone();
        change(&mut secret);
        planned(Some(&secret), &[wanted("A", 2)], &retain(), 1)
    };
    let foreign: [fn(&mut Secret); 5] = [
        |s| s.metadata.labels = None,
        |s| drop(s.metadata.labels.as_mut().unwrap().insert(names::ROLE.into(), "target".into())),
        |s| s.metadata.annotations = None,
        |s| drop(s.metadata.annotations.as_mut().unwrap().insert(names::MADE_FOR.into(), "checkout2/uid-1".into())),
        |s| {
            let other = json!([{"apiVersion": "v1", "kind": "ConfigMap", "name": "x", "uid": "u", "controller": true}]);
            s.metadata.owner_references = serde_json::from_value(other).unwrap();
        },
    ];
    for alter in foreign {
        let error = change(alter).unwrap_err();
        assert!(matches!(error, EscrowError::Conflict { .. }), "{error:?}");
        assert!(error.to_string().contains("\"checkout-escrow\" in namespace shop"));
    }
    let foreign = Secret::default();
    assert!(matches!(planned(Some(&foreign), &[], &retain(), 1).unwrap().step, EscrowPlan::Keep(_)));
    let terminating = |s: &mut Secret| {
        s.metadata.deletion_timestamp = Some(serde_json::from_value(json!("2026-01-01T00:00:00Z")).unwrap());
    };
    assert!(matches!(change(terminating), Err(EscrowError::Terminating { .. })));
    assert!(matches!(change(|s| s.immutable = Some(true)), Err(EscrowError::Immutable { .. })));
    let torn = |s: &mut Secret| {
        s.metadata.annotations.as_mut().unwrap().insert(names::ESCROW_INDEX.into(), "{\"keys\": hunter2".into());
    };
    let error = change(torn).unwrap_err();
    assert!(matches!(error, EscrowError::Index { .. }) && !format!("{error} {error:?}").contains("hunter2"));
}

#[test]
fn a_lost_index_costs_no_value() {
    let mut secret = made(&[wanted("A", 1)]);
    let before = secret.data.clone();
    secret.metadata.annotations.as_mut().unwrap().remove(names::ESCROW_INDEX);
    let mended = stored(planned(Some(&secret), &[wanted("A", 7)], &retain(), 2).unwrap().step);
    assert_eq!(mended.data, before);
    assert_eq!(read(&mended).keys["A"].epoch, 7);
}

#[test]
fn what_is_lost_is_rebuilt_from_what_was_verified() {
    let salvage = BTreeMap::from([("A".to_owned(), SecretValue::from("from the target"))]);
    let mut rng = StdRng::seed_from_u64(1);
    let both = [wanted("A", 1), wanted("B", 1)];
    let secret = stored(plan(None, &both, &retain(), &salvage, &|_| false, NOW, &mut rng).unwrap().step);
    let held = kept(&secret, &both, &retain());
    assert_eq!(held.values["A"], SecretValue::from("from the target"));
    assert_eq!(held.values["B"].len(), 44);
    // What the escrow holds comes before what was salvaged.
    let other = BTreeMap::from([("A".to_owned(), SecretValue::from("other"))]);
    assert!(matches!(
        plan(Some(&secret), &both, &retain(), &other, &|_| false, NOW, &mut rng).unwrap().step,
        EscrowPlan::Keep(_)
    ));
}

#[test]
fn a_vault_secret_of_the_same_name_picks_the_escrow_up() {
    let first = made(&[wanted("A", 1)]);
    let value = kept(&first, &[wanted("A", 1)], &retain()).values["A"].clone();
    let next = owner("uid-2", DeletionPolicy::Retain);
    let second = stored(planned(Some(&first), &[wanted("A", 1)], &next, 2).unwrap().step);
    assert_eq!(second.metadata.annotations.as_ref().unwrap()[names::MADE_FOR], "checkout/uid-2");
    // Still so at the next look, because a crash may come before the ledger says it.
    let held = kept(&second, &[wanted("A", 1)], &next);
    assert_eq!(held.values["A"], value);
    assert_eq!(held.inherited, BTreeSet::from([entry("A")]));
    // What the second never went to is not passed on to a third.
    let mut none = wanted("A", 1);
    none.entries.clear();
    let second = stored(planned(Some(&second), std::slice::from_ref(&none), &next, 3).unwrap().step);
    let third_owner = owner("uid-3", DeletionPolicy::Retain);
    let third = stored(planned(Some(&second), &[wanted("A", 1)], &third_owner, 4).unwrap().step);
    assert!(kept(&third, &[wanted("A", 1)], &third_owner).inherited.is_empty());
}

#[test]
fn the_deletion_policy_decides_whether_it_goes_with_its_owner() {
    let first = made(&[wanted("A", 1)]);
    let delete = owner("uid-1", DeletionPolicy::Delete);
    let second = stored(planned(Some(&first), &[wanted("A", 1)], &delete, 2).unwrap().step);
    let reference = &second.metadata.owner_references.as_ref().unwrap()[0];
    assert_eq!((reference.uid.as_str(), reference.controller), ("uid-1", Some(true)));
    assert_eq!(second.data, first.data);
    kept(&second, &[wanted("A", 1)], &delete);
    let third = stored(planned(Some(&second), &[wanted("A", 1)], &retain(), 3).unwrap().step);
    assert_eq!(third.metadata.owner_references, None);

    // Under Delete the entries went with the earlier one; what has their names now is somebody else's.
    let next = owner("uid-2", DeletionPolicy::Delete);
    let fourth = stored(planned(Some(&second), &[wanted("A", 1)], &next, 4).unwrap().step);
    assert_eq!(fourth.metadata.owner_references.as_ref().unwrap().len(), 1);
    assert!(kept(&fourth, &[wanted("A", 1)], &next).inherited.is_empty());
}

#[test]
fn nothing_shows_a_value() {
    let secret = made(&[wanted("A", 1)]);
    let value = kept(&secret, &[wanted("A", 1)], &retain()).values["A"].expose_str().unwrap().to_owned();
    let index = serde_json::to_string(&secret.metadata).unwrap();
    let planned = planned(None, &[wanted("A", 1)], &retain(), 1).unwrap();
    for text in [index, format!("{planned:?}"), format!("{:?}", kept(&secret, &[wanted("A", 1)], &retain()))] {
        assert!(!text.contains(&value) && !text.contains("ByteString"), "{text}");
    }
}

#[test]
fn an_escrow_that_would_be_too_large_says_so() {
    let mut secret = made(&[wanted("A", 1)]);
    secret.data.as_mut().unwrap().insert("B".into(), ByteString(vec![0; 1024 * 1024]));
    let error = planned(Some(&secret), &[wanted("A", 2)], &retain(), 1).unwrap_err();
    assert!(matches!(error, EscrowError::TooLarge { .. }), "{error:?}");
}

proptest! {
    /// Through any series of edits: what is planned is kept when planned again, a value changes only with its epoch, and what
    /// others added stays.
    #[test]
    fn values_change_only_with_their_epoch(
        edits in proptest::collection::vec((proptest::collection::btree_map("[ABC]", 0_i64..3, 0..4), any::<bool>(), any::<bool>(), any::<u64>()), 1..8),
    ) {
        let mut secret: Option<Secret> = None;
        let mut known: BTreeMap<String, (i64, SecretValue)> = BTreeMap::new();
        for (keys, delete, second, seed) in edits {
            let policy = if delete { DeletionPolicy::Delete } else { DeletionPolicy::Retain };
            let owner = owner(if second { "uid-2" } else { "uid-1" }, policy);
            let wanted: Vec<_> = keys.iter().map(|(key, epoch)| wanted(key, *epoch)).collect();
            match planned(secret.as_ref(), &wanted, &owner, seed).unwrap().step {
                EscrowPlan::Keep(_) => {}
                step => secret = Some(stored(step)),
            }
            let Some(secret) = secret.as_mut() else { continue };
            let held = kept(secret, &wanted, &owner);
            for (key, epoch) in keys {
                let value = held.values[&key].clone();
                if let Some((old_epoch, old)) = known.insert(key.clone(), (epoch, value.clone())) {
                    prop_assert_eq!(old_epoch == epoch, old == value);
                    if old_epoch != epoch {
                        prop_assert_eq!(&held.previous[&key], &old);
                    }
                }
            }
            secret.metadata.labels.as_mut().unwrap().insert("team".into(), "a".into());
            kept(secret, &wanted, &owner);
        }
    }
}
