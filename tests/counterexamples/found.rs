//! Found by the random model of this repository, and by reading.

use crate::protocol::{
    D, Hand, LONGEST, SKEW, absent, acknowledged, at, ours, present, refused, stamped, timeout, unsettled,
};
use crate::{A, creating, hand, waits_for_list};
use vaultsecret_operator::sync::ledger::EntryState;
use vaultsecret_operator::sync::plan::Decision::{Create, Delete, Drifted, Forget, Missing, Settle, Update};
use vaultsecret_operator::sync::plan::{Adoption, Cause, Departure, Drift, Parting};
use vaultsecret_operator::sync::transition::{Outcome, Write, settle};

#[test]
fn s1_a_push_that_was_asked_for_is_not_repeated_blindly_after_a_404() {
    for (asked, row) in [(true, ours(false)), (false, unsettled(ours(false), 0))] {
        let mut hand = Hand::new(row, false);
        hand.case.asked = asked;
        let cause = if asked { Cause::Asked } else { Cause::Confirm };
        assert_eq!(hand.decide(2 * D, A), Update(cause));
        hand.send(2 * D, Write::Update, Some(cause));
        hand.answer(2 * D + 1, A, &Outcome::NotFound);
        hand.case.contradicted = true;
        assert!(waits_for_list(&hand.decide(2 * D + 2, A)));
    }
}

#[test]
fn s2_a_409_on_a_create_of_ours_sends_the_value_also_where_names_alone_are_shown() {
    let mut hand = hand(false);
    hand.list(10, 11, absent(10));
    assert_eq!(hand.decide(12, A), Create(Cause::Reassert));
    hand.send(12, Write::Create, Some(Cause::Reassert));
    hand.answer(13, A, &Outcome::Exists);
    hand.restart(20);
    hand.list(21, 22, present(21));
    assert_eq!(
        hand.decide(23, A),
        Update(Cause::Changed),
        "InSync would be wrong for ever: it holds a stranger's value"
    );
}

#[test]
fn s3_a_claim_of_which_nothing_was_processed_begins_anew_with_its_next_create() {
    let mut hand = creating(true);
    hand.answer(10, A, &refused());
    hand.send(20_000, Write::Create, Some(Cause::New));
    hand.answer(20_010, A, &timeout());
    // Made after the first intent and before the second: nothing of ours can have made it.
    hand.list(30_000, 30_001, stamped(30_000, 15_000, 15_000));
    assert!(waits_for_list(&hand.decide(30_002, A)), "his, and not overwritten");
}

#[test]
fn s4_a_create_that_did_not_land_within_d_gives_no_claim_on_a_later_entry() {
    let mut hand = creating(true);
    hand.answer(10, A, &timeout());
    hand.list(10 + D, 11 + D, absent(10 + D));
    assert_eq!(hand.decide(12 + D, A), Settle);
    settle(&mut hand.row);
    assert!(hand.row.claimed && hand.row.unsettled_since().is_none());
    assert_eq!(hand.decide(12 + D, A), Create(Cause::New));
    hand.send(12 + D, Write::Create, Some(Cause::New));
    hand.answer(13 + D, A, &Outcome::Exists);
    assert_eq!(hand.row.state, EntryState::Conflict, "F2 again: nothing of ours was unsettled");
}

#[test]
fn s5_our_own_late_create_of_an_entry_that_was_ours_is_deleted_with_us() {
    let mut hand = hand(true);
    hand.list(10, 11, absent(10));
    assert_eq!(hand.decide(12, A), Create(Cause::Reassert));
    hand.send(12, Write::Create, Some(Cause::Reassert));
    hand.answer(20, A, &timeout());
    hand.case.departure = Departure::Delete;
    hand.list(20 + D, 21 + D, stamped(20 + D, 15, 15));
    assert_eq!(hand.decide(22 + D, None), Delete, "created later than our version, and by us: no orphan");
    // The same when the process ended before the answer.
    let mut hand = Hand::new(ours(true), true);
    hand.list(10, 11, absent(10));
    hand.send(12, Write::Create, Some(Cause::Reassert));
    hand.restart(20);
    hand.case.departure = Departure::Delete;
    hand.list(20 + D, 21 + D, stamped(20 + D, 15, 15));
    assert_eq!(hand.decide(22 + D, None), Delete, "removed, made again by us, and cut off by a crash");
    // But a delete whose answer was lost says nothing of who made it anew.
    let mut hand = Hand::new(ours(true), true);
    hand.send(2 * D, Write::Delete, None);
    hand.answer(2 * D + 1, None, &timeout());
    hand.case.departure = Departure::Delete;
    hand.list(4 * D, 4 * D + 1, stamped(4 * D, 2 * D + 5, 2 * D + 5));
    assert_eq!(hand.decide(4 * D + 2, None), Forget(Parting::Stranger));
}

#[test]
fn s6_a_request_of_a_process_that_ended_is_given_its_timeout_before_d() {
    let mut hand = hand(false);
    hand.send(0, Write::Update, Some(Cause::Changed));
    hand.restart(D);
    assert_eq!(hand.row.unsettled_since(), Some(at(LONGEST)), "it may have been cut that late");
    let mut hand = Hand::new(ours(false), false);
    hand.send(0, Write::Update, Some(Cause::Changed));
    hand.restart(5);
    assert_eq!(hand.row.unsettled_since(), Some(at(5)), "and no later than we read it");
}

#[test]
fn s7_a_fight_ends_also_when_it_began_with_a_timeout() {
    let mut hand = hand(true);
    hand.send(10, Write::Update, Some(Cause::Changed));
    hand.answer(20, A, &timeout());
    hand.send(30, Write::Update, Some(Cause::Changed));
    hand.answer(31, A, &acknowledged(31));
    let late = 20 + D;
    hand.list(late, late + 1, stamped(late, 0, late - 1));
    assert_eq!(hand.decide(late + 2, A), Update(Cause::LateWrite));
    hand.send(late + 2, Write::Update, Some(Cause::LateWrite));
    hand.answer(late + 3, A, &acknowledged(late + 3));
    hand.case.reasserted = 5;
    hand.list(late + 10, late + 11, stamped(late + 10, 0, late + 9));
    assert_eq!(hand.decide(late + 12, A), Drifted { contested: true }, "nothing of ours can land any more");
}

#[test]
fn s8_an_entry_missing_under_report_does_not_stay_unsettled_for_ever() {
    let mut hand = Hand::new(unsettled(ours(true), 0), true);
    hand.case.drift = Drift::Report;
    hand.list(D, D + 1, absent(D));
    assert_eq!(hand.decide(D + 2, A), Create(Cause::LateWrite));
    hand.send(D + 2, Write::Create, Some(Cause::LateWrite));
    hand.answer(D + 3, A, &acknowledged(D + 3));
    assert_eq!(hand.row.unsettled_since(), None, "it was sent when nothing could land any more");
    hand.list(D + 10, D + 11, absent(D + 10));
    assert_eq!(hand.decide(D + 12, A), Missing { contested: false }, "now it is somebody else's doing");
}

/// A key goes and its delete has no answer; the key comes back and is sent; then the delete lands.
#[test]
fn s9_our_own_late_delete_is_not_reported_as_somebody_elses() {
    for stamps in [true, false] {
        let mut hand = Hand::new(ours(stamps), stamps);
        hand.case.drift = Drift::Report;
        hand.send(10, Write::Delete, None);
        hand.answer(20, None, &timeout());
        hand.send(30, Write::Update, Some(Cause::Changed));
        hand.answer(31, A, &acknowledged(31));
        hand.list(40, 41, absent(40));
        assert_eq!(hand.decide(42, A), Create(Cause::LateWrite));
        hand.send(42, Write::Create, Some(Cause::LateWrite));
        hand.answer(43, A, &acknowledged(43));
        assert!(hand.row.unsettled_since().is_some(), "and it may land once more");
    }
}

#[test]
fn an_adoption_that_was_not_answered_still_finds_our_earlier_create() {
    let mut hand = creating(true);
    hand.answer(10, A, &timeout());
    hand.case.adoption = Adoption::TakeOver;
    hand.list(10 + D, 11 + D, stamped(10 + D, -SKEW - 1, -SKEW - 1));
    assert_eq!(hand.decide(12 + D, A), Update(Cause::Adopted));
    hand.send(12 + D, Write::Update, Some(Cause::Adopted));
    assert!(hand.row.is_ours() && !hand.row.claimed);
    hand.answer(13 + D, A, &acknowledged(13 + D));
    assert_eq!(hand.row.state, EntryState::InSync);
}
