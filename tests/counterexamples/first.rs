//! Found by a model of an earlier protocol.

use crate::protocol::{
    D, Hand, LONGEST, SKEW, absent, acknowledged, acknowledged_unstamped, at, claimed, made_by_us, present, stamped,
    timeout,
};
use crate::{A, B, creating, hand, waits_for_list, waits_until};
use vaultsecret_operator::sync::conflict::{Claimant, Hold, owner};
use vaultsecret_operator::sync::ledger::{EntryState, Row};
use vaultsecret_operator::sync::plan::Decision::{Conflict, Create, Drifted, Forget, InSync, Missing, Settle, Update};
use vaultsecret_operator::sync::plan::{Cause, Departure, Drift, Parting};
use vaultsecret_operator::sync::snapshot::{Span, counts};
use vaultsecret_operator::sync::transition::{After, Outcome, Write};

#[test]
fn c1_a_list_that_began_before_the_answer_does_not_count() {
    for stamps in [true, false] {
        let mut hand = creating(stamps);
        hand.list(5, 20, absent(5));
        let span = Span { began: at(5), ended: at(20) };
        assert!(!counts(span, &hand.trace), "a write of ours is under way");
        hand.answer(10, A, &acknowledged(7));
        assert!(!counts(span, &hand.trace), "it began before the answer");
        assert_eq!(hand.decide(21, A), InSync, "no second create");
        hand.list(11, 22, absent(11));
        assert_eq!(hand.decide(23, A), Create(Cause::Reassert), "a list that began after the answer counts");
        // And a clean 409 on an entry that is ours is no conflict with ourselves.
        hand.send(24, Write::Create, Some(Cause::Reassert));
        hand.answer(25, A, &Outcome::Exists);
        assert!(hand.row.is_ours());
        hand.list(26, 27, if stamps { stamped(26, 7, 7) } else { present(26) });
        assert_eq!(hand.decide(28, A), Update(Cause::Changed));
    }
}

#[test]
fn c2_a_clean_409_on_the_first_create_is_somebody_elses_whatever_the_times_say() {
    for stamps in [true, false] {
        let mut hand = creating(stamps);
        assert_eq!(hand.answer(10, A, &Outcome::Exists), After::Keep);
        assert_eq!(hand.row.state, EntryState::Conflict);
        assert!(!hand.row.holds(), "the claim is withdrawn in the ledger");
        hand.list(20, 21, if stamps { stamped(20, 5, 5) } else { present(20) });
        assert_eq!(hand.decide(22, A), Conflict);
        hand.case.departure = Departure::Delete;
        assert_eq!(hand.decide(22, None), Forget(Parting::Clean), "and it is not deleted with us");
    }
}

#[test]
fn c3_a_creator_in_the_list_closes_the_claim_window_and_nothing_else_does() {
    let mut hand = Hand::new(Row::default(), true);
    hand.intend(0, Write::Create, Some(Cause::New));
    hand.restart(100);
    let his = stamped(200, 150, 150);
    hand.list(200, 201, his.clone());
    assert_eq!(hand.decide(202, A), Update(Cause::Changed), "cannot be told from ours: the docs say so");
    hand.list(200, 201, made_by_us(&his, false));
    assert!(waits_for_list(&hand.decide(202, A)), "the creator tells; ours may still land");
    // The window ends: what was made later than a request of ours can land is a stranger's, however long we were away.
    let mut hand = Hand::new(Row::default(), true);
    hand.intend(0, Write::Create, Some(Cause::New));
    hand.restart(10 * D);
    let last = LONGEST + D + SKEW;
    hand.list(20 * D, 20 * D + 1, stamped(20 * D, last, last));
    assert_eq!(hand.decide(20 * D + 2, A), Update(Cause::Changed));
    hand.list(20 * D, 20 * D + 1, stamped(20 * D, last + 1, last + 1));
    assert_eq!(hand.decide(20 * D + 2, A), Conflict);
}

#[test]
fn c4_an_update_without_outcome_is_never_taken_for_the_old_value() {
    for stamps in [true, false] {
        let mut hand = hand(stamps);
        assert_eq!(hand.decide(10, B), Update(Cause::Changed));
        hand.send(10, Write::Update, Some(Cause::Changed));
        hand.restart(20);
        // The user goes back to "a", whose fingerprint is the recorded one.
        assert_eq!(hand.decide(21, A), Update(Cause::Changed), "\"same, present\" would be wrong for ever");
        hand.send(21, Write::Update, Some(Cause::Changed));
        hand.answer(22, A, &acknowledged(22));
        assert_eq!(hand.row.state, EntryState::Confirming, "the update of the old process may still land");
        let decision = hand.decide(23, A);
        assert!(waits_until(&decision, 20 + D), "{decision:?}");
    }
}

#[test]
fn c5_a_late_write_is_found_by_its_stamp_or_confirmed_away() {
    for stamps in [true, false] {
        let mut hand = hand(stamps);
        hand.send(10, Write::Update, Some(Cause::Changed));
        hand.answer(20, B, &timeout());
        assert_eq!(hand.decide(21, Some("c")), Update(Cause::Changed), "the newer value is sent at once");
        hand.send(21, Write::Update, Some(Cause::Changed));
        hand.answer(22, Some("c"), &if stamps { acknowledged(22) } else { acknowledged_unstamped() });
        let settled = 20 + D;
        assert!(waits_until(&hand.decide(23, Some("c")), settled), "the answer alone settles nothing");
        if stamps {
            hand.list(30, 31, stamped(30, 0, 29));
            assert_eq!(hand.decide(32, Some("c")), Update(Cause::LateWrite));
            hand.list(settled - 1, settled + 5, stamped(settled - 1, 0, 22));
            assert!(waits_for_list(&hand.decide(settled + 6, Some("c"))), "begun before D: it may land while we look");
            hand.list(settled, settled + 5, stamped(settled, 0, 22));
            assert_eq!(hand.decide(settled + 6, Some("c")), Settle);
        } else {
            hand.list(settled, settled + 5, present(settled));
            assert_eq!(hand.decide(settled + 6, Some("c")), Update(Cause::Confirm), "a list of names proves nothing");
            hand.send(settled + 6, Write::Update, Some(Cause::Confirm));
            hand.answer(settled + 7, Some("c"), &acknowledged_unstamped());
            assert_eq!(hand.decide(settled + 8, Some("c")), InSync, "one confirming write, no second");
        }
    }
}

#[test]
fn c5_a_confirming_write_sent_a_millisecond_too_early_settles_nothing() {
    for (sent, state) in [(20 + D - 1, EntryState::Confirming), (20 + D, EntryState::InSync)] {
        let mut hand = hand(false);
        hand.send(10, Write::Update, Some(Cause::Changed));
        hand.answer(20, B, &timeout());
        hand.send(sent, Write::Update, Some(Cause::Changed));
        hand.answer(sent + 500, B, &acknowledged_unstamped());
        assert_eq!(hand.row.state, state, "it counts when it was sent, not when it was answered");
    }
}

#[test]
fn c6_absent_and_changed_is_created_whenever_the_probe_ran() {
    let mut hand = hand(true);
    hand.case.drift = Drift::Report;
    hand.list(20, 21, absent(20));
    assert_eq!(hand.decide(22, A), Missing { contested: false });
    assert_eq!(hand.decide(22, B), Create(Cause::Changed), "the probe ran before");
    hand.list = None;
    assert_eq!(hand.decide(22, B), Update(Cause::Changed), "the probe did not run");
    hand.send(22, Write::Update, Some(Cause::Changed));
    hand.answer(23, B, &Outcome::NotFound);
    hand.list(24, 25, absent(24));
    assert_eq!(hand.decide(26, B), Create(Cause::Changed));
}

#[test]
fn c7_after_a_contradiction_the_list_is_read_before_the_next_write() {
    let mut hand = hand(true);
    hand.send(10, Write::Update, Some(Cause::Changed));
    hand.answer(11, B, &Outcome::NotFound);
    hand.case.contradicted = true;
    assert!(waits_for_list(&hand.decide(12, B)), "not the same write again, for ever");
    hand.list(13, 14, stamped(13, 12, 12));
    assert_eq!(hand.decide(15, B), Update(Cause::Changed));
}

#[test]
fn c8_a_delete_waits_until_our_create_cannot_land() {
    for stamps in [true, false] {
        let mut hand = creating(stamps);
        hand.answer(10, A, &timeout());
        hand.case.departure = Departure::Delete;
        hand.list(20, 21, absent(20));
        assert!(waits_until(&hand.decide(22, None), 10 + D));
        assert!(waits_for_list(&hand.decide(10 + D, None)), "that absence proves nothing: it may have landed since");
        hand.list(10 + D, 11 + D, absent(10 + D));
        assert_eq!(hand.decide(12 + D, None), Forget(Parting::Clean));
    }
}

#[test]
fn c9_f8_whoever_holds_the_entry_keeps_it_also_while_it_leaves() {
    let claimant = |uid: &str, created, row: Option<&Row>| Claimant {
        created: Some(at(created)),
        uid: uid.to_owned(),
        name: uid.to_owned(),
        hold: row.map_or(Hold::Named, |r| if r.is_ours() { Hold::Ours } else { Hold::Claimed }),
        prefix: 0,
    };
    let older = claimant("older", 0, None);
    // CR0's Delete times out: the row is unsettled, it holds the entry, and CR1 may not claim.
    let mut leaving = hand(true);
    leaving.send(D, Write::Delete, None);
    assert_eq!(leaving.answer(D + 10, None, &timeout()), After::Keep);
    assert!(leaving.row.holds());
    let who = |claimants: &[Claimant]| owner(claimants).map(|c| c.uid.clone());
    assert_eq!(who(&[older.clone(), claimant("leaving", 9, Some(&leaving.row))]).as_deref(), Some("leaving"));
    assert_eq!(who(&[older, claimant("claims", 9, Some(&claimed()))]).as_deref(), Some("claims"));
    // Only when the delete is known to be over does the row go.
    leaving.case.departure = Departure::Delete;
    assert!(waits_until(&leaving.decide(D + 20, None), 2 * D + 10));
    leaving.list(2 * D + 10, 2 * D + 11, absent(2 * D + 10));
    assert_eq!(leaving.decide(2 * D + 12, None), Forget(Parting::Clean));
}

#[test]
fn f8_an_edit_away_and_back_while_its_delete_is_lost_sends_the_value_again() {
    let mut hand = hand(true);
    hand.send(D, Write::Delete, None);
    hand.answer(D + 10, None, &timeout());
    assert_eq!(hand.decide(D + 20, A), Update(Cause::Changed), "the recorded fingerprint is no proof");
    hand.send(D + 20, Write::Update, Some(Cause::Changed));
    hand.answer(D + 21, A, &acknowledged(D + 21));
    hand.list(D + 30, D + 31, absent(D + 30));
    assert_eq!(hand.decide(D + 32, A), Create(Cause::LateWrite), "our delete landed late");
}

#[test]
fn c12_an_outcome_of_another_attempt_is_not_recorded() {
    let mut hand = creating(true);
    hand.restart(5);
    let recovered = hand.row.clone();
    assert_eq!(hand.late_answer(1, 6, A, &acknowledged(3)), After::Stale, "the attempt was closed by the new leader");
    hand.send(10, Write::Update, Some(Cause::Changed));
    let open = hand.row.clone();
    assert_eq!(hand.late_answer(1, 11, A, &Outcome::Exists), After::Stale, "a Conflict over a good row");
    assert_eq!(hand.row, open);
    assert_ne!(hand.row, recovered);
    assert_eq!(hand.answer(12, A, &acknowledged(12)), After::Keep);
    assert!(hand.row.is_ours());
}

#[test]
fn r2_a_row_is_known_by_its_connection_and_name_not_by_its_key() {
    let row = |connection: &str, name: &str, key: &str| Row {
        connection: connection.to_owned(),
        remote_name: name.to_owned(),
        key: Some(key.to_owned()),
        ..Row::default()
    };
    assert_eq!(
        row("VaultConnection/a", "n", "ONE").id(),
        row("VaultConnection/a", "n", "TWO").id(),
        "keys are swapped"
    );
    assert_ne!(row("VaultConnection/a", "n", "ONE").id(), row("VaultConnection/b", "n", "ONE").id());
    assert_ne!(row("VaultConnection/a", "n", "ONE").id(), row("VaultConnection/a", "m", "ONE").id());
}

#[test]
fn r4_the_longest_matching_prefix_owns_the_name() {
    let named = |uid: &str, created, prefix: &str, hold| Claimant {
        created: Some(at(created)),
        uid: uid.to_owned(),
        name: uid.to_owned(),
        hold,
        prefix: prefix.len(),
    };
    let team = named("team", 0, "team-", Hold::Named);
    let team_a = named("team-a", 9, "team-a-", Hold::Named);
    assert_eq!(owner(&[team, team_a.clone()]).map(|c| c.uid.as_str()), Some("team-a"));
    let holds = named("team", 0, "team-", Hold::Ours);
    assert_eq!(owner(&[holds, team_a]).map(|c| c.uid.as_str()), Some("team"), "the ledger's holder is not turned out");
}

#[test]
fn r8_ours_stays_ours_when_a_stranger_makes_it_anew() {
    let mut hand = hand(true);
    hand.send(10, Write::Update, Some(Cause::Changed));
    hand.answer(11, B, &Outcome::NotFound);
    hand.case.contradicted = true;
    hand.case.update_refused = 1;
    hand.list(12, 13, absent(12));
    assert_eq!(hand.decide(14, B), Create(Cause::Changed));
    hand.send(14, Write::Create, Some(Cause::Changed));
    hand.answer(15, B, &Outcome::Exists);
    assert!(hand.row.is_ours() && !hand.row.claimed, "no conflict with ourselves");
    hand.list(16, 17, stamped(16, 14, 14));
    assert_eq!(hand.decide(18, B), Update(Cause::Changed), "with the id that this list shows");
}

#[test]
fn r9_after_the_fifth_reassertion_in_an_hour_it_is_drifted() {
    let mut hand = hand(true);
    for time in 0..7 {
        let now = 1_000 * (time + 1);
        hand.list(now, now + 1, stamped(now, 0, now - 1));
        hand.case.reasserted = u32::try_from(time).expect("small");
        if time >= 5 {
            assert_eq!(hand.decide(now + 2, A), Drifted { contested: true });
            continue;
        }
        assert_eq!(hand.decide(now + 2, A), Update(Cause::Reassert));
        hand.send(now + 2, Write::Update, Some(Cause::Reassert));
        hand.answer(now + 3, A, &acknowledged(now + 3));
    }
}
