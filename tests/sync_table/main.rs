//! The decision table of the protocol, row by row, for remotes that show stamps and for remotes that show names alone.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod leaving;
#[path = "../protocol/mod.rs"]
mod protocol;

use protocol::{
    Case, D, SKEW, absent, at, claimed, made_by_us, marked, nothing, ours, present, stamped, unanswered, unsettled,
};
use vaultsecret_operator::sync::ledger::{EntryState, Row};
use vaultsecret_operator::sync::plan::Decision::{
    Conflict, Create, Delete, Drifted, Forget, InSync, Missing, Settle, Unknown, Update, UpdateUnsupported, Wait,
};
use vaultsecret_operator::sync::plan::{Adoption, Awaiting, Cause, Decision, Departure, Drift, Parting, Seen};

type Line = (&'static str, Case, Decision);

/// Long after anything of the row.
const LATER: i64 = 5 * D;

#[track_caller]
fn check(lines: Vec<Line>) {
    let wrong: Vec<String> = lines
        .into_iter()
        .filter_map(|(name, case, want)| {
            let got = case.decide();
            (got != want).then(|| format!("{name} (stamps: {}): {got:?} instead of {want:?}", case.stamps))
        })
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn snapshot(not_before: Option<i64>, state: EntryState) -> Decision {
    Wait { on: Awaiting::Snapshot { not_before: not_before.map(at) }, state }
}

fn until(ms: i64, state: EntryState) -> Decision {
    Wait { on: Awaiting::Until(at(ms)), state }
}

/// The entry as the list of this kind of remote shows it, unchanged since we wrote it at time 0.
fn unmoved(began: i64, stamps: bool) -> Seen {
    if stamps { stamped(began, 0, 0) } else { present(began) }
}

#[test]
fn nothing_in_the_ledger() {
    for stamps in [true, false] {
        let case = |seen| Case::new(None, seen, stamps);
        let there = unmoved(LATER, stamps);
        let take_over = Case { adoption: Adoption::TakeOver, ..case(there.clone()) };
        let said_conflict = Row { state: EntryState::Conflict, ..Row::default() };
        check(vec![
            ("absent: claim and create", case(absent(LATER)), Create(Cause::New)),
            ("present: somebody else's", case(there.clone()), Conflict),
            ("present and TakeOver: update", take_over, Update(Cause::Adopted)),
            ("no list: wait for one", case(nothing()), snapshot(None, EntryState::Pending)),
            (
                "in conflict before, gone now: create",
                Case::new(Some(said_conflict.clone()), absent(LATER), stamps),
                Create(Cause::New),
            ),
            ("in conflict before, still there", Case::new(Some(said_conflict), there, stamps), Conflict),
        ]);
    }
}

#[test]
fn claimed_and_nothing_was_processed() {
    for stamps in [true, false] {
        let case = |seen| Case::new(Some(claimed()), seen, stamps);
        let young = if stamps { stamped(LATER, 5, 5) } else { present(LATER) };
        let take_over = Case { adoption: Adoption::TakeOver, ..case(young.clone()) };
        check(vec![
            ("no list: wait for one", case(nothing()), snapshot(None, EntryState::Pending)),
            ("absent: create", case(absent(LATER)), Create(Cause::New)),
            ("present: somebody else's, whatever its times say (C2, F2)", case(young), Conflict),
            ("present and TakeOver: update", take_over, Update(Cause::Adopted)),
        ]);
    }
}

#[test]
fn claimed_and_a_create_may_land_yet() {
    let row = || Some(unanswered(claimed(), 10_000));
    let settled = 10_000 + D;
    for stamps in [true, false] {
        let case = |seen| Case::new(row(), seen, stamps);
        check(vec![
            ("no list: wait for one", case(nothing()), snapshot(None, EntryState::Pending)),
            ("absent, begun before D: create again", case(absent(settled - 1)), Create(Cause::New)),
            ("absent, begun at D: it did not land, the claim begins anew", case(absent(settled)), Settle),
        ]);
    }
    let names = Case::new(row(), present(20_000), false);
    let case = |seen| Case::new(row(), seen, true);
    let made = |ms| stamped(20_000, ms, ms);
    let stranger = |began| stamped(began, -SKEW - 1, -SKEW - 1);
    let wait = snapshot(Some(settled), EntryState::Confirming);
    let take_over = Case { adoption: Adoption::TakeOver, ..case(stranger(settled)) };
    check(vec![
        ("present without times: ours", names, Update(Cause::Changed)),
        ("made at the claim minus skew: ours", case(made(-SKEW)), Update(Cause::Changed)),
        ("made a millisecond earlier: wait, ours may land", case(made(-SKEW - 1)), wait.clone()),
        (
            "made as late as ours can land: ours",
            case(stamped(LATER, settled + SKEW, settled + SKEW)),
            Update(Cause::Changed),
        ),
        (
            "made a millisecond later: somebody else's",
            case(stamped(LATER, settled + SKEW + 1, settled + SKEW + 1)),
            Conflict,
        ),
        ("the list says that we made it", case(made_by_us(&made(5), true)), Update(Cause::Changed)),
        ("the list says that another made it: wait", case(made_by_us(&made(5), false)), wait.clone()),
        ("somebody else's, begun a millisecond before D: wait (F3)", case(stranger(settled - 1)), wait),
        ("somebody else's, begun at D: the claim is withdrawn", case(stranger(settled)), Conflict),
        ("somebody else's, begun at D, TakeOver", take_over, Update(Cause::Adopted)),
    ]);
}

#[test]
fn ours_and_settled() {
    for stamps in [true, false] {
        let case = |wanted, seen| Case { wanted: Some(wanted), ..Case::new(Some(ours(stamps)), seen, stamps) };
        let report = |case: Case| Case { drift: Drift::Report, ..case };
        let asked = |case: Case| Case { asked: true, ..case };
        let fifth = |case: Case| Case { reasserted: 5, ..case };
        let contradicted = |case: Case| Case { contradicted: true, ..case };
        let refused = |times, case: Case| Case { update_refused: times, ..case };
        let there = unmoved(LATER, stamps);
        let stale = Seen::Nothing { stale: true };
        let forced = Row { resend: true, ..ours(stamps) };
        let wait = snapshot(None, EntryState::Pending);
        check(vec![
            ("as recorded, same: nothing", case("a", there.clone()), InSync),
            ("as recorded, differs: update", case("b", there.clone()), Update(Cause::Changed)),
            (
                "as recorded, same, push forced: update",
                Case::new(Some(forced), there.clone(), stamps),
                Update(Cause::Changed),
            ),
            ("as recorded, same, push asked for: update", asked(case("a", there.clone())), Update(Cause::Asked)),
            ("as recorded, differs, one 404: update", refused(1, case("b", there.clone())), Update(Cause::Changed)),
            (
                "as recorded, differs, two 404: not supported (F7)",
                refused(2, case("b", there.clone())),
                UpdateUnsupported,
            ),
            (
                "as recorded, asked for, two 404: not supported",
                refused(2, asked(case("a", there.clone()))),
                UpdateUnsupported,
            ),
            ("as recorded, same, two 404: nothing to do", refused(2, case("a", there)), InSync),
            ("absent, same, Reassert: create", case("a", absent(LATER)), Create(Cause::Reassert)),
            ("absent, same, Report: missing", report(case("a", absent(LATER))), Missing { contested: false }),
            (
                "absent, same, put right five times: missing",
                fifth(case("a", absent(LATER))),
                Missing { contested: true },
            ),
            ("absent, differs: create", case("b", absent(LATER)), Create(Cause::Changed)),
            ("absent, differs, Report: create too (C6)", report(case("b", absent(LATER))), Create(Cause::Changed)),
            ("absent, differs, put right five times: create", fifth(case("b", absent(LATER))), Create(Cause::Changed)),
            ("no list, same: nothing", case("a", nothing()), InSync),
            ("no list for long, same: unknown", case("a", stale.clone()), Unknown),
            ("no list, differs: update", case("b", nothing()), Update(Cause::Changed)),
            ("no list for long, differs: update", case("b", stale), Update(Cause::Changed)),
            ("no list, asked for: update", asked(case("a", nothing())), Update(Cause::Asked)),
            ("no list after a 404, differs: list first", contradicted(case("b", nothing())), wait.clone()),
            ("no list after a 404, asked for: list first", contradicted(asked(case("a", nothing()))), wait.clone()),
            ("no list after a 404, same: list first", contradicted(case("a", nothing())), wait),
        ]);
    }
}

#[test]
fn ours_and_somebody_changed_it() {
    let moved = || stamped(LATER, 0, 77);
    let case = |wanted| Case { wanted: Some(wanted), ..Case::new(Some(ours(true)), moved(), true) };
    let report = |case: Case| Case { drift: Drift::Report, ..case };
    let unstamped_row = Row { remote_version: None, ..ours(true) };
    check(vec![
        ("same, Reassert: update", case("a"), Update(Cause::Reassert)),
        ("same, Report: drifted", report(case("a")), Drifted { contested: false }),
        ("same, put right four times: update", Case { reasserted: 4, ..case("a") }, Update(Cause::Reassert)),
        ("same, put right five times: drifted (R9)", Case { reasserted: 5, ..case("a") }, Drifted { contested: true }),
        ("same, two 404: not supported", Case { update_refused: 2, ..case("a") }, UpdateUnsupported),
        ("differs: update", case("b"), Update(Cause::Changed)),
        ("differs, Report: update", report(case("b")), Update(Cause::Changed)),
        ("no stamp in our own answer: as on a Presence remote", Case::new(Some(unstamped_row), moved(), true), InSync),
        ("names alone show no change", Case::new(Some(ours(false)), moved(), false), InSync),
    ]);
}

/// A list that shows an entry as it was before our own last write lags behind; a backup that is put back later does not.
#[test]
fn ours_and_the_list_lags() {
    let old = |began| stamped(began, -D, -77);
    let report = |seen| Case { drift: Drift::Report, ..Case::new(Some(ours(true)), seen, true) };
    let open = Case::new(Some(unsettled(ours(true), 0)), old(D / 2), true);
    check(vec![
        ("older than our write, soon after it", Case::new(Some(ours(true)), old(D - 1), true), InSync),
        ("the same, Report", report(old(D - 1)), InSync),
        ("the same, another value", Case { wanted: Some("b"), ..report(old(D - 1)) }, Update(Cause::Changed)),
        ("older, and long after it", Case::new(Some(ours(true)), old(D), true), Update(Cause::Reassert)),
        ("the same, Report", report(old(D)), Drifted { contested: false }),
        ("newer, soon after it", Case::new(Some(ours(true)), stamped(1, 0, 1), true), Update(Cause::Reassert)),
        ("older, while a write of ours may still land", open, Update(Cause::LateWrite)),
    ]);
}

#[test]
fn ours_and_unsettled() {
    let since = 10_000;
    let settled = since + D;
    for stamps in [true, false] {
        let row = || Some(unsettled(ours(stamps), since));
        let open = || Some(unanswered(ours(stamps), since));
        let early = Case { now: settled - 1, ..Case::new(row(), nothing(), stamps) };
        let due = if stamps { snapshot(Some(settled), EntryState::Confirming) } else { Update(Cause::Confirm) };
        let report = |case: Case| Case { drift: Drift::Report, ..case };
        let lost = |seen| Case::new(row(), seen, stamps);
        check(vec![
            (
                "not acknowledged, no list: sent again at once",
                Case::new(open(), nothing(), stamps),
                Update(Cause::Changed),
            ),
            (
                "not acknowledged, present: sent again at once",
                Case::new(open(), unmoved(20_000, stamps), stamps),
                Update(Cause::Changed),
            ),
            ("not acknowledged, absent: created", Case::new(open(), absent(20_000), stamps), Create(Cause::Changed)),
            ("a newer value: sent at once", Case { wanted: Some("b"), ..lost(nothing()) }, Update(Cause::Changed)),
            ("acknowledged since, a millisecond before D: wait", early.clone(), until(settled, EntryState::Confirming)),
            ("acknowledged since, at D", Case { now: settled, ..early }, due),
            ("absent, begun before D: our own late delete", lost(absent(settled - 1)), Create(Cause::LateWrite)),
            (
                "absent, begun before D, Report: our own late delete too",
                report(lost(absent(settled - 1))),
                Create(Cause::LateWrite),
            ),
            ("absent, begun at D: it landed before", lost(absent(settled)), Create(Cause::LateWrite)),
            ("absent, begun at D, Report: it landed before", report(lost(absent(settled))), Create(Cause::LateWrite)),
        ]);
    }
    let case = |seen| Case::new(Some(unsettled(ours(true), since)), seen, true);
    let late = Case { now: settled, ..case(stamped(settled - 1, 0, 0)) };
    let moved = case(stamped(20_000, 0, 77));
    let unstamped = Row { remote_version: None, ..unsettled(ours(true), since) };
    let names = Case { now: settled, ..Case::new(Some(unsettled(ours(false), since)), present(settled), false) };
    check(vec![
        ("as recorded, begun at D: settled", case(stamped(settled, 0, 0)), Settle),
        (
            "as recorded, begun a millisecond before D: another list",
            late,
            snapshot(Some(settled), EntryState::Confirming),
        ),
        ("moved: our own late write", moved.clone(), Update(Cause::LateWrite)),
        (
            "moved, Report: our own late write too",
            Case { drift: Drift::Report, ..moved.clone() },
            Update(Cause::LateWrite),
        ),
        (
            "moved, put right five times: still our own late write",
            Case { reasserted: 5, ..moved },
            Update(Cause::LateWrite),
        ),
        (
            "no stamp in our own answer: confirmed by a write",
            Case::new(Some(unstamped), nothing(), true),
            Update(Cause::Confirm),
        ),
        ("names alone: no list settles, a write confirms", names, Update(Cause::Confirm)),
    ]);
}
