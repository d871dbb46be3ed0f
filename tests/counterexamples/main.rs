//! What an obvious version gets wrong: each trace replayed on the pure core, with what holds instead. The names are those of the
//! design's table of counterexamples; `s…` were found by the random model of this repository.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "../protocol/mod.rs"]
mod protocol;

mod first;
mod found;
mod second;
mod versions;

use protocol::{Hand, at, ours};
use vaultsecret_operator::sync::ledger::Row;
use vaultsecret_operator::sync::plan::Decision::{self, Wait};
use vaultsecret_operator::sync::plan::{Awaiting, Cause};
use vaultsecret_operator::sync::transition::Write;

const A: Option<&str> = Some("a");
const B: Option<&str> = Some("b");

/// An entry of ours, acknowledged at time 0 with "a".
fn hand(stamps: bool) -> Hand {
    Hand::new(ours(stamps), stamps)
}

/// A claim of time 0 whose first create is under way.
fn creating(stamps: bool) -> Hand {
    let mut hand = Hand::new(Row::default(), stamps);
    hand.send(0, Write::Create, Some(Cause::New));
    hand
}

fn waits_for_list(decision: &Decision) -> bool {
    matches!(decision, Wait { on: Awaiting::Snapshot { .. }, .. })
}

fn waits_until(decision: &Decision, ms: i64) -> bool {
    matches!(decision, Wait { on: Awaiting::Until(t), .. } if *t == at(ms))
}
