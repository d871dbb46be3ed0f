//! Values that are made anew because of their age.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use rand::SeedableRng as _;
use rand::rngs::StdRng;

use super::tests::{NOW, retain, wanted};
use super::*;

/// A key that is rotated every 100 s.
fn rotated(epoch: i64, arrived: bool) -> WantedValue {
    let mut value = wanted("A", epoch);
    value.generate.rotate_every = Some(serde_json::from_value("100s".into()).unwrap());
    WantedValue { arrived, ..value }
}

fn at(seconds: u64) -> Timestamp {
    NOW + Duration::from_secs(seconds)
}

/// What the API server holds after it was planned at that time, and what that says.
fn held(existing: Option<&Secret>, value: &WantedValue, now: Timestamp) -> (Secret, Held, bool) {
    let mut rng = StdRng::seed_from_u64(now.as_second().unsigned_abs());
    let wanted = [value.clone()];
    let planned = plan(existing, &wanted, &retain(), &BTreeMap::new(), &|_| false, now, &mut rng).unwrap();
    assert!(planned.refused.is_empty());
    match planned.step {
        EscrowPlan::Keep(held) => (existing.unwrap().clone(), held, false),
        EscrowPlan::Create(secret) | EscrowPlan::Replace(secret) => {
            let held = Held::read(&secret, &wanted, &retain()).unwrap();
            (*secret, held, true)
        }
    }
}

#[test]
fn a_value_is_made_anew_once_it_is_old_and_the_one_before_stays() {
    let (first, one, _) = held(None, &rotated(1, true), at(0));
    let due = one.next_rotation.unwrap();
    assert!((at(90)..=at(100)).contains(&due), "{due}");
    let (_, still, wrote) = held(Some(&first), &rotated(1, true), due - Duration::from_secs(1));
    assert!(!wrote && still.values == one.values);
    let (second, two, wrote) = held(Some(&first), &rotated(1, true), due);
    assert!(wrote && two.values["A"] != one.values["A"]);
    assert_eq!(two.previous["A"], one.values["A"]);
    assert!(two.next_rotation.unwrap() > due);
    let (_, again, wrote) = held(Some(&second), &rotated(1, true), due);
    assert!(!wrote && again.values == two.values, "decided twice at one instant, it is one rotation");
}

#[test]
fn a_value_that_has_not_arrived_is_not_made_anew_for_its_age_but_for_its_epoch() {
    let (first, one, _) = held(None, &rotated(1, true), at(0));
    let (_, still, wrote) = held(Some(&first), &rotated(1, false), at(1000));
    assert!(!wrote && still.values == one.values);
    assert!(still.next_rotation.unwrap() < at(1000), "it is overdue");
    let (_, two, wrote) = held(Some(&first), &rotated(2, false), at(1000));
    assert!(wrote && two.values["A"] != one.values["A"]);
}

#[test]
fn a_value_of_unknown_age_counts_from_when_rotation_was_asked_for() {
    let (mut first, one, _) = held(None, &wanted("A", 1), at(0));
    let index = first.metadata.annotations.as_mut().unwrap().get_mut(crate::api::names::ESCROW_INDEX).unwrap();
    *index = r#"{"keys":{"A":{"epoch":1}}}"#.to_owned();
    let (_, two, _) = held(Some(&first), &rotated(1, true), at(5000));
    assert_eq!(two.values, one.values);
    assert!(two.next_rotation.unwrap() >= at(5090));
}

#[test]
fn without_an_interval_nothing_is_ever_due() {
    let (first, one, _) = held(None, &wanted("A", 1), at(0));
    assert_eq!(one.next_rotation, None);
    let (_, still, wrote) = held(Some(&first), &wanted("A", 1), at(1_000_000));
    assert!(!wrote && still.values == one.values);
    let mut off = wanted("A", 1);
    off.generate.rotate_every = Some(serde_json::from_value("0".into()).unwrap());
    assert_eq!(held(Some(&first), &off, at(1_000_000)).1.next_rotation, None);
}
