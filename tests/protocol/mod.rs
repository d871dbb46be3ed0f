//! Words for the tests of the pure core: rows, lists, facts, and an operator of one entry that is led by hand.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used)]

use std::time::Duration;

use jiff::Timestamp;
use vaultsecret_operator::sync::ledger::{Attempt, Row};
use vaultsecret_operator::sync::plan::{Adoption, Cause, Decision, Departure, Drift, Facts, Seen, Sighting, decide};
use vaultsecret_operator::sync::snapshot::{Span, Trace, counts};
use vaultsecret_operator::sync::transition::{self, After, Answer, Intent, Outcome, Write};

/// D, in milliseconds.
pub const D: i64 = 60_000;
/// How far the remote's clock may be from ours.
pub const SKEW: i64 = 2_000;
/// From an intent to the timeout of its request, at most.
pub const LONGEST: i64 = 11_000;

/// A time, in milliseconds since some day.
pub fn at(ms: i64) -> Timestamp {
    Timestamp::from_millisecond(1_700_000_000_000 + ms).expect("a time")
}

/// The stamp of a write at that time.
pub fn stamp(ms: i64) -> Option<String> {
    Some(at(ms).to_string())
}

pub fn nothing() -> Seen {
    Seen::Nothing { stale: false }
}

pub fn absent(began: i64) -> Seen {
    Seen::Absent { began: at(began) }
}

/// A list of names alone.
pub fn present(began: i64) -> Seen {
    Seen::Present(Sighting { began: at(began), id: None, version: None, created: None, by_us: None, another: None })
}

/// The version that a write of that time got on a remote that counts them.
pub fn version(number: u64, ms: i64) -> Option<String> {
    Some(format!("{number}@{}", at(ms)))
}

/// A list with versions: when the entry was made, and which version it has since when.
pub fn versioned(began: i64, created: i64, number: u64, changed: i64) -> Seen {
    let created = Some(at(created));
    let version = version(number, changed);
    Seen::Present(Sighting { began: at(began), id: None, version, created, by_us: None, another: None })
}

/// A list with times: when the entry was made, and changed last.
pub fn stamped(began: i64, created: i64, changed: i64) -> Seen {
    let created = Some(at(created));
    Seen::Present(Sighting { began: at(began), id: None, version: stamp(changed), created, by_us: None, another: None })
}

/// The same list, which also says whether we made the entry.
pub fn made_by_us(seen: &Seen, by_us: bool) -> Seen {
    match seen {
        Seen::Present(sighting) => Seen::Present(Sighting { by_us: Some(by_us), ..sighting.clone() }),
        other => other.clone(),
    }
}

/// The same list, where a mark on the entry names another VaultSecret.
pub fn marked(seen: &Seen) -> Seen {
    match seen {
        Seen::Present(sighting) => {
            let another = Some("shop/other".to_owned());
            Seen::Present(Sighting { by_us: Some(false), another, ..sighting.clone() })
        }
        other => other.clone(),
    }
}

/// A claim of time 0 of which nothing was processed.
pub fn claimed() -> Row {
    Row {
        claimed: true,
        claimed_at: Some(at(0)),
        attempt: Some(Attempt { number: 1, at: Some(at(0)), open: false, unsettled_since: None }),
        ..Row::default()
    }
}

/// An entry that is ours, acknowledged at time 0 with the value "a".
pub fn ours(stamps: bool) -> Row {
    Row {
        fingerprint: Some("a".to_owned()),
        remote_version: if stamps { stamp(0) } else { None },
        attempt: Some(Attempt { number: 1, at: Some(at(0)), open: false, unsettled_since: None }),
        ..Row::default()
    }
}

/// The row with a write of ours that may still land, given up at that time.
pub fn unsettled(mut row: Row, since: i64) -> Row {
    if let Some(attempt) = row.attempt.as_mut() {
        attempt.unsettled_since = Some(at(since));
    }
    row
}

/// The row with a value that was not acknowledged.
pub fn unanswered(row: Row, since: i64) -> Row {
    Row { resend: true, ..unsettled(row, since) }
}

/// Everything that a decision depends on, with the usual policies.
#[derive(Clone, Debug)]
pub struct Case {
    pub row: Option<Row>,
    pub wanted: Option<&'static str>,
    pub seen: Seen,
    pub stamps: bool,
    pub adoption: Adoption,
    pub departure: Departure,
    pub drift: Drift,
    pub asked: bool,
    pub reasserted: u32,
    pub contradicted: bool,
    pub update_refused: u32,
    pub now: i64,
    pub leaving_since: Option<i64>,
}

impl Case {
    /// The value "a" is wanted, long after time 0.
    pub fn new(row: Option<Row>, seen: Seen, stamps: bool) -> Case {
        Case {
            row,
            wanted: Some("a"),
            seen,
            stamps,
            adoption: Adoption::Refuse,
            departure: Departure::Retain,
            drift: Drift::Reassert,
            asked: false,
            reasserted: 0,
            contradicted: false,
            update_refused: 0,
            now: 10 * D,
            leaving_since: None,
        }
    }

    /// No key wants the entry, and it is to be deleted.
    pub fn leaving(row: Row, seen: Seen, stamps: bool) -> Case {
        Case { wanted: None, departure: Departure::Delete, ..Case::new(Some(row), seen, stamps) }
    }

    pub fn decide(&self) -> Decision {
        decide(&Facts {
            row: self.row.as_ref(),
            wanted: self.wanted,
            seen: &self.seen,
            stamps: self.stamps,
            adoption: self.adoption,
            departure: self.departure,
            drift: self.drift,
            asked: self.asked,
            reasserted: self.reasserted,
            contradicted: self.contradicted,
            update_refused: self.update_refused,
            now: at(self.now),
            settle: Duration::from_millis(D.unsigned_abs()),
            skew: Duration::from_millis(SKEW.unsigned_abs()),
            leaving_since: self.leaving_since.map(at),
        })
    }
}

/// One process and one entry of one VaultSecret, led by hand.
pub struct Hand {
    /// The row as the ledger holds it.
    pub row: Row,
    pub trace: Trace,
    /// What a list showed last, and when it was read.
    pub list: Option<(Span, Seen)>,
    pub case: Case,
    sent: Option<(Write, i64)>,
}

impl Hand {
    pub fn new(row: Row, stamps: bool) -> Hand {
        let trace = Trace { read_at: Some(at(-1)), ..Trace::default() };
        Hand { row, trace, list: None, case: Case::new(None, nothing(), stamps), sent: None }
    }

    /// A complete list arrived.
    pub fn list(&mut self, began: i64, ended: i64, seen: Seen) {
        self.list = Some((Span { began: at(began), ended: at(ended) }, seen));
    }

    pub fn decide(&mut self, now: i64, wanted: Option<&'static str>) -> Decision {
        assert!(!self.row.is_open(), "a row with an open attempt is recovered first");
        let seen = self.list.as_ref().filter(|(span, _)| counts(*span, &self.trace)).map(|(_, seen)| seen.clone());
        self.case =
            Case { row: Some(self.row.clone()), wanted, seen: seen.unwrap_or_else(nothing), now, ..self.case.clone() };
        self.case.decide()
    }

    /// The intent reaches the ledger.
    pub fn intend(&mut self, now: i64, write: Write, cause: Option<Cause>) {
        transition::begin(&mut self.row, Intent { write, cause, at: at(now) });
        self.sent = Some((write, now));
    }

    /// The intent reaches the ledger and the request leaves.
    pub fn send(&mut self, now: i64, write: Write, cause: Option<Cause>) {
        self.intend(now, write, cause);
        self.trace.sent();
    }

    /// The answer, or its absence, is recorded.
    pub fn answer(&mut self, now: i64, fingerprint: Option<&str>, outcome: &Outcome) -> After {
        self.trace.over(at(now));
        self.late_answer(self.row.attempt_number(), now, fingerprint, outcome)
    }

    /// An answer of that attempt is recorded.
    pub fn late_answer(&mut self, number: u64, now: i64, fingerprint: Option<&str>, outcome: &Outcome) -> After {
        let (write, sent) = self.sent.expect("a request");
        let answer = Answer {
            write,
            number,
            outcome,
            fingerprint,
            source_version: None,
            sent_at: at(sent),
            now: at(now),
            settle: Duration::from_millis(D.unsigned_abs()),
        };
        transition::record(&mut self.row, &answer)
    }

    /// The process ends and another reads the ledger; lists are lost with it.
    pub fn restart(&mut self, now: i64) {
        self.trace = Trace { read_at: Some(at(now)), ..Trace::default() };
        self.list = None;
        transition::recover(&mut self.row, at(now), Duration::from_millis(LONGEST.unsigned_abs()));
    }
}

/// The remote acknowledged, with the stamp of that time.
pub fn acknowledged(ms: i64) -> Outcome {
    Outcome::Acknowledged { id: None, version: stamp(ms) }
}

/// The remote acknowledged, and shows no stamps.
pub fn acknowledged_unstamped() -> Outcome {
    Outcome::Acknowledged { id: None, version: None }
}

pub fn timeout() -> Outcome {
    Outcome::Unknown { message: "timeout".to_owned() }
}

/// Refused, because somebody else wrote first.
pub fn stale() -> Outcome {
    Outcome::Stale
}

pub fn refused() -> Outcome {
    Outcome::Clean { message: "403".to_owned() }
}
