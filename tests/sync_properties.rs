//! Properties of the small parts of the sync core: freeze, fingerprints, ownership, lists that count.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::time::Duration;

use jiff::Timestamp;
use proptest::prelude::*;
use vaultsecret_operator::sync::conflict::{Claimant, Hold, owner};
use vaultsecret_operator::sync::fingerprint::KeyRing;
use vaultsecret_operator::sync::freeze::{Approval, Tally, approval, tolerated};
use vaultsecret_operator::sync::ledger::{Attempt, Row};
use vaultsecret_operator::sync::plan::{after, before};
use vaultsecret_operator::sync::snapshot::{Span, Trace, counts};
use vaultsecret_operator::sync::transition::{Intent, Write, begin, recover};
use vaultsecret_operator::value::SecretValue;

fn at(ms: i64) -> Timestamp {
    Timestamp::from_millisecond(ms).expect("a time")
}

fn span(began: i64) -> Span {
    Span { began: at(began), ended: at(began + 5) }
}

fn ring(ids: &[&str]) -> KeyRing {
    KeyRing::new(ids.iter().map(|id| ((*id).to_owned(), SecretValue::from(format!("key {id}")))).collect())
        .expect("keys")
}

fn claimants() -> impl Strategy<Value = Vec<Claimant>> {
    let hold = prop_oneof![Just(Hold::Named), Just(Hold::Claimed), Just(Hold::Ours)];
    let one = (proptest::option::of(0..3_i64), hold, 0..3_usize);
    proptest::collection::vec(one, 1..6).prop_map(|list| {
        list.into_iter()
            .enumerate()
            .map(|(i, (created, hold, prefix))| Claimant {
                created: created.map(at),
                uid: format!("uid-{i}"),
                name: format!("ns/{i}"),
                hold,
                prefix,
            })
            .collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_freeze_is_more_than_five_and_more_than_a_fifth(own in 0..2_000_usize, missing in 0..1_000_usize, moved in 0..1_000_usize) {
        let off = missing + moved;
        let diverged = Tally { own, missing, moved }.diverged();
        prop_assert_eq!(diverged, off > tolerated(own));
        prop_assert_eq!(diverged, off > 5 && off as f64 > own as f64 * 0.2);
    }

    #[test]
    fn a_freeze_never_ends_by_more_going_missing(own in 0..500_usize, off in 0..500_usize) {
        let freeze = |missing| Tally { own, missing, moved: 0 }.diverged();
        prop_assert!(!freeze(off) || freeze(off + 1));
    }

    #[test]
    fn an_approval_releases_the_freeze_that_it_names_alone(token in "[a-f0-9]{8}", other in "[a-f0-9]{8}", text in ".{0,20}") {
        prop_assert_eq!(approval(&format!("{token}=same"), &token), Ok(Some(Approval::Same)));
        prop_assert_eq!(approval(&format!("{token}=new"), &token), Ok(Some(Approval::New)));
        prop_assume!(token != other);
        prop_assert_eq!(approval(&format!("{other}=same"), &token), Ok(None));
        // Whatever else is written there releases nothing.
        let said = approval(&text, &token);
        let names = text.trim_start().starts_with(&token);
        prop_assert!(names || !matches!(said, Ok(Some(_))));
    }

    #[test]
    fn fields_of_a_fingerprint_do_not_run_into_each_other(parts in proptest::collection::vec("[a-c]{0,3}", 3), cut in 0..9_usize, cut2 in 0..9_usize) {
        let ring = ring(&["k1"]);
        let all = parts.concat();
        let (first, second) = (cut.min(cut2).min(all.len()), cut.max(cut2).min(all.len()));
        let again = [&all[..first], &all[first..second], &all[second..]];
        let one = ring.fingerprint(&parts[0], &parts[1], parts[2].as_bytes());
        let two = ring.fingerprint(again[0], again[1], again[2].as_bytes());
        let equal = parts.iter().map(String::as_str).eq(again);
        prop_assert_eq!(one == two, equal);
    }

    #[test]
    fn a_new_key_changes_no_recorded_fingerprint(value in proptest::collection::vec(any::<u8>(), 0..40)) {
        let old = ring(&["k1"]).fingerprint("uid", "name", &value);
        let both = ring(&["k2", "k1"]);
        prop_assert_eq!(&both.fingerprint_like(Some(&old), "uid", "name", &value), &old);
        prop_assert!(both.fingerprint_like(None, "uid", "name", &value).starts_with("k2:"));
        prop_assert_ne!(ring(&["k2"]).fingerprint("uid", "name", &value), old);
    }

    #[test]
    fn the_owner_does_not_depend_on_the_order((list, turned) in claimants().prop_flat_map(|l| (Just(l.clone()), Just(l).prop_shuffle()))) {
        prop_assert_eq!(owner(&list), owner(&turned));
    }

    #[test]
    fn the_owner_holds_as_firmly_as_anybody(list in claimants()) {
        let best = owner(&list).expect("one");
        prop_assert!(list.iter().all(|c| c.hold <= best.hold));
        if best.hold == Hold::Named {
            prop_assert!(list.iter().all(|c| c.prefix <= best.prefix));
        }
    }

    #[test]
    fn whoever_loses_the_entry_would_not_have_it_without_the_others_either(list in claimants(), left_out in 0..6_usize) {
        // Leaving out one that is not the owner changes nothing: no two can change places for ever.
        let best = owner(&list).expect("one").clone();
        let mut fewer = list.clone();
        fewer.remove(left_out % list.len());
        if list[left_out % list.len()] != best {
            prop_assert_eq!(owner(&fewer), Some(&best));
        }
    }

    #[test]
    fn a_list_counts_only_when_it_began_after_everything(began in 0..10_i64, read in proptest::option::of(0..10_i64), over in proptest::option::of(0..10_i64), in_flight in 0..2_u32) {
        let trace = Trace { read_at: read.map(at), last_write_over: over.map(at), in_flight };
        let counted = counts(span(began), &trace);
        let later = |other: Option<i64>| other.is_none_or(|o| began > o);
        prop_assert_eq!(counted, in_flight == 0 && read.is_some() && later(read) && later(over));
    }

    #[test]
    fn a_trace_knows_the_end_of_its_last_write(times in proptest::collection::vec(0..100_i64, 1..5)) {
        let mut trace = Trace { read_at: Some(at(-1)), ..Trace::default() };
        for time in &times {
            trace.sent();
            prop_assert!(!counts(span(1_000), &trace), "a write is under way");
            trace.over(at(*time));
        }
        let last = *times.iter().max().expect("one");
        prop_assert!(!counts(span(last), &trace), "the clock is too coarse to tell which came first");
        prop_assert!(counts(span(last + 1), &trace));
    }

    #[test]
    fn recovery_takes_the_last_moment_that_a_request_can_have_been_cut(intent in 0..100_i64, now in 0..200_i64, longest in 0..50_u64, since in proptest::option::of(0..100_i64)) {
        let attempt = Attempt { number: 3, at: None, open: false, unsettled_since: since.map(at) };
        let mut row = Row { attempt: Some(attempt), ..Row::default() };
        begin(&mut row, Intent { write: Write::Update, cause: None, at: at(intent) });
        prop_assert!(row.is_open());
        prop_assert!(recover(&mut row, at(now), Duration::from_millis(longest)));
        let cut = (intent + i64::try_from(longest).expect("small")).min(now);
        prop_assert_eq!(row.unsettled_since(), Some(at(cut.max(since.unwrap_or(0)))));
        prop_assert!(row.resend && !row.is_open());
        prop_assert!(!recover(&mut row, at(now + 1), Duration::ZERO), "once");
    }
}

#[test]
fn times_are_held_at_the_ends_of_time() {
    assert_eq!(after(Timestamp::MAX, Duration::from_secs(1)), Timestamp::MAX);
    assert_eq!(before(Timestamp::MIN, Duration::from_secs(1)), Timestamp::MIN);
    assert_eq!(after(at(0), Duration::MAX), Timestamp::MAX);
}
