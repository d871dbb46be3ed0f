//! Rows that no key wants any more, and rows that hold nothing.

use super::*;

#[test]
fn leaving_under_delete() {
    let since = 10_000;
    let settled = since + D;
    for stamps in [true, false] {
        let case = |seen| Case::leaving(ours(stamps), seen, stamps);
        let open = |seen| Case::leaving(unanswered(ours(stamps), since), seen, stamps);
        let unlisted = if stamps { snapshot(None, EntryState::Leaving) } else { Delete };
        let early = if stamps { snapshot(Some(settled), EntryState::Leaving) } else { Delete };
        let taken = Row { adopted: true, fingerprint: None, ..ours(stamps) };
        check(vec![
            ("present: delete", case(unmoved(LATER, stamps)), Delete),
            ("no list", case(nothing()), unlisted),
            ("absent, begun D after the last attempt: done", case(absent(D)), Forget(Parting::Clean)),
            ("absent, begun a millisecond earlier: delete all the same", case(absent(D - 1)), Delete),
            (
                "unsettled, before D: wait (C8)",
                Case { now: settled - 1, ..open(nothing()) },
                until(settled, EntryState::Leaving),
            ),
            (
                "unsettled, at D, absent in a list begun at D: done",
                Case { now: settled, ..open(absent(settled)) },
                Forget(Parting::Clean),
            ),
            ("unsettled, at D, absent in an earlier list", Case { now: settled, ..open(absent(settled - 1)) }, early),
            ("unsettled, present at D: delete", open(unmoved(settled, stamps)), Delete),
            (
                "taken over and never written: it stays",
                Case::leaving(taken.clone(), present(LATER), stamps),
                Forget(Parting::Clean),
            ),
            (
                "taken over, a write may have landed: delete",
                Case::leaving(unanswered(taken, since), present(settled), stamps),
                Delete,
            ),
        ]);
    }
    let case = |seen| Case::leaving(ours(true), seen, true);
    let before = Case { leaving_since: Some(LATER + 1), ..case(stamped(LATER, 0, 0)) };
    let by_id = Row { remote_id: Some("7".to_owned()), ..ours(false) };
    let create_lost = Row { claimed_at: Some(at(5_000)), ..unanswered(ours(true), since) };
    check(vec![
        ("changed by somebody, made by us: delete", case(stamped(LATER, 0, 77)), Delete),
        ("made at the time of our version: delete", case(stamped(LATER, 0, 0)), Delete),
        ("made a millisecond later: a stranger's (F6)", case(stamped(LATER, 1, 1)), Forget(Parting::Stranger)),
        ("marked as another's: a stranger's", case(marked(&stamped(LATER, 0, 0))), Forget(Parting::Stranger)),
        ("a list from before it left: another", before, snapshot(Some(LATER + 1), EntryState::Leaving)),
        (
            "by id: a 404 proves nothing without a list",
            Case::leaving(by_id, nothing(), false),
            snapshot(None, EntryState::Leaving),
        ),
        (
            "made later by a create of ours without an answer: delete",
            Case::leaving(create_lost.clone(), stamped(settled, 6_000, 6_000), true),
            Delete,
        ),
        (
            "made later than that create can land: a stranger's",
            Case::leaving(create_lost, stamped(LATER, settled + SKEW + 1, LATER - 1), true),
            Forget(Parting::Stranger),
        ),
    ]);
}

#[test]
fn leaving_under_retain() {
    let since = 10_000;
    let settled = since + D;
    for stamps in [true, false] {
        let retain = |row, now| Case { departure: Departure::Retain, now, ..Case::leaving(row, nothing(), stamps) };
        for row in [ours(stamps), claimed()] {
            let open = unanswered(row.clone(), since);
            check(vec![
                ("settled: forget at once", retain(row, 1), Forget(Parting::Clean)),
                (
                    "unsettled, a millisecond before D: wait (F10)",
                    retain(open.clone(), settled - 1),
                    until(settled, EntryState::Leaving),
                ),
                ("unsettled, at D: forget", retain(open, settled), Forget(Parting::Clean)),
            ]);
        }
    }
}

#[test]
fn leaving_and_only_claimed() {
    let since = 10_000;
    let settled = since + D;
    for stamps in [true, false] {
        let there = if stamps { stamped(settled, 5, 5) } else { present(settled) };
        let judged = if stamps { Delete } else { Forget(Parting::Left) };
        let open = |seen| Case::leaving(unanswered(claimed(), since), seen, stamps);
        let again = snapshot(Some(settled), EntryState::Leaving);
        check(vec![
            (
                "settled: forget, no Delete (F5)",
                Case::leaving(claimed(), there.clone(), stamps),
                Forget(Parting::Clean),
            ),
            (
                "a millisecond before D: wait (F4)",
                Case { now: settled - 1, ..open(there.clone()) },
                until(settled, EntryState::Leaving),
            ),
            ("no list: wait for one", open(nothing()), again.clone()),
            ("a list begun a millisecond before D: another", open(absent(settled - 1)), again),
            ("absent in a list begun at D: done", open(absent(settled)), Forget(Parting::Clean)),
            ("present in a list begun at D", open(there), judged),
        ]);
    }
    let open = |seen| Case::leaving(unanswered(claimed(), since), seen, true);
    check(vec![
        ("made before the claim: a stranger's, it stays", open(stamped(settled, -SKEW - 1, 5)), Forget(Parting::Clean)),
        ("made at the claim minus skew: ours", open(stamped(settled, -SKEW, 5)), Delete),
        (
            "made by another, as the list says: it stays",
            open(made_by_us(&stamped(settled, 5, 5), false)),
            Forget(Parting::Clean),
        ),
    ]);
}

#[test]
fn a_row_that_holds_nothing_is_forgotten() {
    for stamps in [true, false] {
        let conflict = Row { state: EntryState::Conflict, ..Row::default() };
        check(vec![("in conflict", Case::leaving(conflict, present(LATER), stamps), Forget(Parting::Clean))]);
    }
}
