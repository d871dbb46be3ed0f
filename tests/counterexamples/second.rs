//! Found by a model of the protocol as first revised.

use crate::protocol::{D, SKEW, absent, present, refused, stamped, timeout};
use crate::{A, B, creating, hand, waits_for_list, waits_until};
use vaultsecret_operator::sync::ledger::EntryState;
use vaultsecret_operator::sync::plan::Decision::{Conflict, Create, Delete, Forget, Update, UpdateUnsupported};
use vaultsecret_operator::sync::plan::{Cause, Departure, Parting};
use vaultsecret_operator::sync::transition::{Outcome, Write, withdraw};

#[test]
fn f2_after_a_clean_refusal_a_409_is_somebody_elses() {
    for stamps in [true, false] {
        let mut hand = creating(stamps);
        hand.answer(10, A, &refused());
        assert!(hand.row.claimed, "the claim stays");
        hand.list(20, 21, absent(20));
        assert_eq!(hand.decide(22, A), Create(Cause::New));
        hand.send(22, Write::Create, Some(Cause::New));
        hand.answer(30, A, &Outcome::Exists);
        assert_eq!(hand.row.state, EntryState::Conflict);
        hand.list(40, 41, if stamps { stamped(40, 25, 25) } else { present(40) });
        assert_eq!(hand.decide(42, A), Conflict, "nothing of ours was ever processed, whatever its number");
    }
}

#[test]
fn f2_after_a_timeout_a_409_may_be_ours() {
    let mut hand = creating(true);
    hand.answer(10, A, &timeout());
    hand.list(20, 21, absent(20));
    assert_eq!(hand.decide(22, A), Create(Cause::New));
    hand.send(22, Write::Create, Some(Cause::New));
    hand.answer(30, A, &Outcome::Exists);
    assert!(hand.row.claimed);
    hand.list(40, 41, stamped(40, 25, 25));
    assert_eq!(hand.decide(42, A), Update(Cause::Changed));
}

#[test]
fn f3_an_unsettled_claim_is_withdrawn_only_when_our_create_cannot_land() {
    let mut hand = creating(true);
    hand.answer(10, A, &timeout());
    let his = |began| stamped(began, -SKEW - 1, -SKEW - 1);
    hand.list(20, 21, his(20));
    assert!(waits_for_list(&hand.decide(22, A)));
    hand.list(10 + D - 1, 10 + D, his(10 + D - 1));
    assert!(waits_for_list(&hand.decide(10 + D, A)), "a millisecond too early");
    hand.list(10 + D, 11 + D, his(10 + D));
    assert_eq!(hand.decide(12 + D, A), Conflict);
    withdraw(&mut hand.row);
    assert!(!hand.row.holds());
}

#[test]
fn f4_a_claim_that_leaves_waits_until_it_is_settled() {
    let mut hand = creating(true);
    hand.answer(10, A, &timeout());
    hand.case.departure = Departure::Delete;
    let his = |began| stamped(began, -SKEW - 1, -SKEW - 1);
    hand.list(20, 21, his(20));
    assert!(waits_until(&hand.decide(22, None), 10 + D), "no Delete of his, and no finalizer gone");
    hand.list(10 + D, 11 + D, his(10 + D));
    assert_eq!(hand.decide(12 + D, None), Forget(Parting::Clean));
    hand.list(10 + D, 11 + D, stamped(10 + D, 5, 5));
    assert_eq!(hand.decide(12 + D, None), Delete, "ours landed");
}

#[test]
fn f5_a_claim_of_which_nothing_was_processed_deletes_nothing() {
    for stamps in [true, false] {
        let mut hand = creating(stamps);
        hand.answer(10, A, &refused());
        hand.case.departure = Departure::Delete;
        hand.list(20, 21, if stamps { stamped(20, 15, 15) } else { present(20) });
        assert_eq!(hand.decide(22, None), Forget(Parting::Clean));
    }
}

#[test]
fn f6_what_a_stranger_made_anew_is_not_deleted_with_us() {
    let mut hand = hand(true);
    hand.case.departure = Departure::Delete;
    hand.list(2 * D, 2 * D + 1, stamped(2 * D, 50, 50));
    assert_eq!(hand.decide(2 * D + 2, None), Forget(Parting::Stranger));
    hand.list(2 * D, 2 * D + 1, stamped(2 * D, 0, 50));
    assert_eq!(hand.decide(2 * D + 2, None), Delete, "only changed: it is ours");
}

#[test]
fn f7_update_is_unsupported_only_after_two_404_with_a_list_between() {
    let mut hand = hand(true);
    hand.list(10, 11, stamped(10, 0, 0));
    for refusals in 0..2 {
        hand.case.update_refused = refusals;
        assert_eq!(hand.decide(12, B), Update(Cause::Changed));
    }
    hand.case.update_refused = 2;
    assert_eq!(hand.decide(12, B), UpdateUnsupported);
    hand.list(10, 11, absent(10));
    assert_eq!(hand.decide(12, B), Create(Cause::Changed), "gone is not unsupported");
}

#[test]
fn f10_a_key_removed_under_retain_is_forgotten_once_settled() {
    let mut hand = creating(true);
    hand.answer(10, A, &timeout());
    assert!(waits_until(&hand.decide(20, None), 10 + D));
    // The key is back before that: the row still knows that the create may be ours.
    hand.list(30, 31, stamped(30, 5, 5));
    assert_eq!(hand.decide(32, A), Update(Cause::Changed), "no conflict with ourselves");
    assert_eq!(hand.decide(10 + D, None), Forget(Parting::Clean));
}
