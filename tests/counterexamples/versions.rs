//! On a remote with versions and check-and-set: what a refused version leads to, and when a version is somebody else's.

use crate::protocol::{D, Hand, absent, marked, nothing, ours, stale, timeout, version, versioned};
use crate::{A, B, waits_for_list};
use vaultsecret_operator::sync::ledger::{EntryState, Row};
use vaultsecret_operator::sync::plan::Decision::{Conflict, Create, Delete, Drifted, Forget, InSync, Update};
use vaultsecret_operator::sync::plan::{Adoption, Cause, Departure, Drift, Parting};
use vaultsecret_operator::sync::transition::{After, Outcome, Write};

/// An entry of ours: version 1, acknowledged at time 0 with the value "a".
fn hand() -> Hand {
    Hand::new(Row { remote_version: version(1, 0), ..ours(true) }, true)
}

/// What the controller notes after an answer that contradicts what was known.
fn contradicted(hand: &mut Hand, now: i64, answer: &Outcome) {
    assert_eq!(hand.answer(now, B, answer), After::Keep);
    hand.case.contradicted = true;
}

#[test]
fn c7_a_refused_version_is_read_before_it_is_written_over() {
    let mut hand = hand();
    assert_eq!(hand.decide(1, B), Update(Cause::Changed), "no list is needed for a new value");
    hand.send(1, Write::Update, Some(Cause::Changed));
    contradicted(&mut hand, 2, &stale());
    assert!(waits_for_list(&hand.decide(3, B)), "not the recorded version again, for ever");
    assert_eq!(hand.row.remote_version, version(1, 0));
    assert_eq!(hand.row.state, EntryState::Pending);
    hand.case.contradicted = false;
    hand.list(10, 11, versioned(10, 0, 2, 1));
    assert_eq!(hand.decide(12, B), Update(Cause::Changed), "over the version that the list shows");
    hand.send(12, Write::Update, Some(Cause::Changed));
    hand.answer(13, B, &Outcome::Acknowledged { id: None, version: version(3, 13) });
    hand.list(20, 21, versioned(20, 0, 3, 13));
    assert_eq!(hand.decide(22, B), InSync);
}

#[test]
fn c7_a_list_from_before_the_refusal_does_not_count() {
    let mut hand = hand();
    hand.list(0, 1, versioned(0, 0, 1, 0));
    assert_eq!(hand.decide(2, B), Update(Cause::Changed));
    hand.send(2, Write::Update, Some(Cause::Changed));
    contradicted(&mut hand, 3, &stale());
    assert!(waits_for_list(&hand.decide(4, B)));
}

#[test]
fn a_refused_version_leaves_no_doubt_and_is_no_reason_to_send_again() {
    let mut hand = hand();
    hand.case.drift = Drift::Report;
    assert_eq!(hand.decide(1, B), Update(Cause::Changed));
    hand.send(1, Write::Update, Some(Cause::Changed));
    contradicted(&mut hand, 2, &stale());
    assert!(!hand.row.resend && hand.row.unsettled_since().is_none());
    // The value is what it was again before the list: somebody else's version is reported, not overwritten.
    hand.case.contradicted = false;
    hand.list(10, 11, versioned(10, 0, 2, 1));
    assert_eq!(hand.decide(12, A), Drifted { contested: false });
}

#[test]
fn an_update_that_landed_without_an_answer_refuses_its_own_repeat() {
    let mut hand = hand();
    hand.decide(1, B);
    hand.send(1, Write::Update, Some(Cause::Changed));
    hand.answer(2, B, &timeout());
    hand.case.now = 3;
    assert_eq!(hand.decide(3, B), Update(Cause::Changed), "sent again at once");
    hand.send(3, Write::Update, Some(Cause::Changed));
    contradicted(&mut hand, 4, &stale());
    assert!(hand.row.unsettled_since().is_some(), "what was in doubt still is");
    assert!(waits_for_list(&hand.decide(5, B)));
    hand.case.contradicted = false;
    hand.list(10, 11, versioned(10, 0, 2, 2));
    assert_eq!(hand.decide(12, B), Update(Cause::Changed), "once more: nothing shows that version 2 is ours");
    hand.send(12, Write::Update, Some(Cause::Changed));
    hand.answer(13, B, &Outcome::Acknowledged { id: None, version: version(3, 13) });
    // The late one names version 1: whenever it lands, it is refused.
    hand.list(13 + D, 14 + D, versioned(13 + D, 0, 3, 13));
    assert!(matches!(hand.decide(15 + D, B), vaultsecret_operator::sync::plan::Decision::Settle));
}

#[test]
fn a_version_counts_from_one_again_after_the_entry_was_removed_for_good() {
    let mut hand = hand();
    hand.list(10, 11, versioned(10, 5, 1, 5));
    assert_eq!(hand.decide(12, A), Update(Cause::Reassert), "version 1 of another time is another version");
    hand.case.departure = Departure::Delete;
    assert_eq!(hand.decide(13, None), Forget(Parting::Stranger), "made anew by somebody else (F6)");
}

#[test]
fn what_leaves_is_deleted_only_while_it_is_ours() {
    let mut hand = hand();
    hand.case.departure = Departure::Delete;
    hand.list(10, 11, versioned(10, 0, 2, 5));
    assert_eq!(hand.decide(12, None), Delete, "changed by somebody, made by us");
    hand.list(20, 21, marked(&versioned(20, 0, 2, 5)));
    assert_eq!(hand.decide(22, None), Forget(Parting::Stranger), "taken over by another");
}

#[test]
fn a_claim_is_not_fulfilled_by_what_another_marked() {
    let claim = || {
        let mut hand = Hand::new(Row::default(), true);
        hand.list(1, 2, absent(1));
        assert_eq!(hand.decide(3, A), Create(Cause::New));
        hand.send(3, Write::Create, Some(Cause::New));
        hand.answer(4, A, &timeout());
        hand
    };
    let mut mine = claim();
    mine.list(10, 11, versioned(10, 4, 1, 4));
    assert_eq!(mine.decide(12, A), Update(Cause::Changed), "without a mark the times decide");
    let mut theirs = claim();
    theirs.list(4 + D, 5 + D, marked(&versioned(4 + D, 4, 1, 4)));
    assert_eq!(theirs.decide(6 + D, A), Conflict);
    theirs.case.adoption = Adoption::TakeOver;
    assert_eq!(theirs.decide(7 + D, A), Update(Cause::Adopted));
}

#[test]
fn an_adoption_that_came_too_late_is_decided_over_again() {
    let mut hand = Hand::new(Row::default(), true);
    hand.case.adoption = Adoption::TakeOver;
    hand.list(1, 2, versioned(1, -9, 7, -5));
    assert_eq!(hand.decide(3, B), Update(Cause::Adopted));
    hand.send(3, Write::Update, Some(Cause::Adopted));
    contradicted(&mut hand, 4, &stale());
    hand.case.adoption = Adoption::Refuse;
    assert!(waits_for_list(&hand.decide(5, B)), "{:?}", nothing());
    hand.case.contradicted = false;
    hand.list(10, 11, versioned(10, -9, 8, 4));
    assert_eq!(hand.decide(12, B), Update(Cause::Adopted), "the intent to take it over stands in the row");
}
