//! A thin operator around the pure core, in the order that the protocol prescribes.

use std::time::Duration;

use vaultsecret_operator::sync::ledger::{EntryState, Row};
use vaultsecret_operator::sync::plan::{Cause, Decision, Departure, Facts, Parting, Seen, decide};
use vaultsecret_operator::sync::snapshot::Trace;
use vaultsecret_operator::sync::transition::{
    After, Answer, Intent, Outcome, Write, begin, record, recover, settle, withdraw,
};

use super::lists::{List, Snapshot};
use super::world::{ABANDON, D, Request, SKEW, TIMEOUT, World, ts, value_of};

/// How long a reassertion is remembered.
const HOUR: i64 = 400;

/// What the process is in the middle of; it holds the entry's lock unless it is idle.
#[derive(Clone, Debug, Default)]
pub enum Phase {
    #[default]
    Idle,
    /// The intent is in the ledger, the request was not sent yet.
    Intended(Box<Plan>),
    /// The request is under way; its index among the requests of the world.
    Waiting(Box<Plan>),
    /// The answer is recorded in memory and not in the ledger yet.
    Answered { cr: usize, at: i64 },
}

#[derive(Clone, Debug)]
pub struct Plan {
    pub cr: usize,
    pub cause: Option<Cause>,
    pub number: u64,
    pub fingerprint: Option<String>,
    pub at: i64,
    pub request: Request,
}

/// One process of the operator that holds the lease: its memory.
pub struct Operator {
    pub rows: [Option<Row>; 2],
    pub uids: [u32; 2],
    pub rvs: [u64; 2],
    pub trace: Trace,
    pub list: Option<List>,
    pub snapshot: Option<Snapshot>,
    pub phase: Phase,
    pub contradicted: bool,
    pub update_refused: u32,
    reasserted: Vec<i64>,
    /// The lock is kept until then for an entry of a VaultSecret that was deleted under Retain.
    locked_until: i64,
    leaving: [Option<i64>; 2],
    pub counted: i64,
    /// Decisions that wait for nothing, at the last look.
    pub rest: [bool; 2],
}

impl Operator {
    /// A process that won the lease reads the ledger consistently.
    pub fn start(world: &World) -> Self {
        let mut operator = Operator {
            rows: [None, None],
            uids: [0, 0],
            rvs: [0, 0],
            trace: Trace::default(),
            list: None,
            snapshot: None,
            phase: Phase::Idle,
            contradicted: false,
            update_refused: 0,
            reasserted: Vec::new(),
            locked_until: 0,
            leaving: [None, None],
            counted: world.now,
            rest: [false, false],
        };
        operator.load(world, 0);
        operator.load(world, 1);
        operator
    }

    fn load(&mut self, world: &World, cr: usize) {
        let c = &world.crs[cr];
        self.rows[cr].clone_from(&c.row);
        self.uids[cr] = c.uid;
        self.rvs[cr] = c.rv;
        self.trace.read_at = Some(ts(world.now));
        if let Some(row) = self.rows[cr].as_mut() {
            recover(row, ts(world.now), Duration::from_millis((ABANDON + TIMEOUT).unsigned_abs()));
        }
    }

    fn store(&mut self, world: &mut World, cr: usize, fails: bool) -> bool {
        if !fails && world.store(cr, self.rvs[cr], self.rows[cr].clone()) {
            self.rvs[cr] += 1;
            return true;
        }
        world.say(|| format!("operator: write to the ledger of cr{cr} fails"));
        self.load(world, cr);
        false
    }

    /// Looks at one VaultSecret and does what is due, up to the intent.
    pub fn reconcile(&mut self, world: &mut World, cr: usize, fails: bool) {
        if !matches!(self.phase, Phase::Idle) {
            return;
        }
        self.rest[cr] = false;
        if self.uids[cr] != world.crs[cr].uid || (!world.crs[cr].exists && self.rows[cr].is_some()) {
            if self.rows[cr].take().is_some_and(|r| r.unsettled_since().is_some()) {
                // Deleted under Retain: what is under way may still land.
                self.locked_until = world.now + D;
            }
            self.load(world, cr);
        }
        let c = world.crs[cr].clone();
        if world.now < self.locked_until {
            return;
        }
        let wanted = c.wants.filter(|_| c.exists && !c.deleting).map(|value| format!("{}:{value}", c.uid));
        if wanted.is_some() {
            self.leaving[cr] = None;
        } else if self.leaving[cr].is_none() {
            self.leaving[cr] = Some(world.now);
        }
        if wanted.is_none() && self.rows[cr].is_none() {
            self.rest[cr] = true;
            if c.deleting && world.store(cr, self.rvs[cr], None) {
                let rv = world.crs[cr].rv;
                world.crs[cr] = super::world::Cr { uid: c.uid, rv, ..Default::default() };
                self.rvs[cr] = rv;
            }
            return;
        }
        if !self.is_owner(world, cr) {
            // OwnedByAnother: a row that holds nothing says no more than that.
            self.rest[cr] = wanted.is_some() && self.rows[cr].is_none();
            if self.rows[cr].take().is_some() {
                self.store(world, cr, fails);
            }
            return;
        }
        let seen = self.seen(world);
        self.reasserted.retain(|at| world.now - at < HOUR);
        let facts = Facts {
            row: self.rows[cr].as_ref(),
            wanted: wanted.as_deref(),
            seen: &seen,
            stamps: world.config.stamps,
            adoption: world.config.adoption,
            departure: world.config.departure,
            drift: world.config.drift,
            asked: c.asked,
            reasserted: u32::try_from(self.reasserted.len()).unwrap_or(u32::MAX),
            contradicted: self.contradicted,
            update_refused: self.update_refused,
            now: ts(world.now),
            settle: Duration::from_millis(D.unsigned_abs()),
            skew: Duration::from_millis(SKEW.unsigned_abs()),
            leaving_since: self.leaving[cr].map(ts),
        };
        let decision = decide(&facts);
        self.act(world, cr, &decision, wanted, &seen, fails);
    }

    fn act(
        &mut self,
        world: &mut World,
        cr: usize,
        decision: &Decision,
        wanted: Option<String>,
        seen: &Seen,
        fails: bool,
    ) {
        let state = match decision {
            Decision::Create(cause) => return self.intend(world, cr, Write::Create, Some(*cause), wanted, seen, fails),
            Decision::Update(cause) => return self.intend(world, cr, Write::Update, Some(*cause), wanted, seen, fails),
            Decision::Delete => return self.intend(world, cr, Write::Delete, None, None, seen, fails),
            Decision::Settle => {
                if let Some(row) = self.rows[cr].as_mut() {
                    settle(row);
                }
                world.say(|| format!("cr{cr}: settled"));
                return self.reconcile(world, cr, fails);
            }
            Decision::Forget(parting) => {
                world.say(|| format!("cr{cr}: forgets its row, {parting:?}"));
                let held = self.rows[cr].take().is_some_and(|r| r.holds());
                // Admitted: on a Presence remote nothing shows whose a claimed entry is; it is left, with a Warning.
                let left = *parting == Parting::Left && !world.config.stamps;
                if self.store(world, cr, fails) && held && (left || world.config.departure == Departure::Retain) {
                    world.release();
                }
                return;
            }
            Decision::UpdateUnsupported => {
                // Admitted: a stranger who removes and makes it anew around two updates; an hour later it is tried again.
                if !world.config.strangers {
                    world.violate(|| "a remote that updates is said not to".to_owned());
                }
                return;
            }
            Decision::InSync => EntryState::InSync,
            Decision::Unknown => EntryState::Unknown,
            Decision::Conflict => EntryState::Conflict,
            Decision::Drifted { .. } => EntryState::Drifted,
            Decision::Missing { .. } => EntryState::Missing,
            Decision::Wait { state, .. } => *state,
        };
        self.rest[cr] = !matches!(decision, Decision::Wait { .. });
        let row = self.rows[cr].get_or_insert_default();
        if *decision == Decision::Conflict {
            withdraw(row);
        }
        row.state = state;
        // Written only when it differs from what the ledger says.
        if self.rows[cr] != world.crs[cr].row {
            world.say(|| format!("cr{cr}: {decision:?}"));
            self.store(world, cr, fails);
        }
    }

    #[allow(clippy::too_many_arguments)]
    fn intend(
        &mut self,
        world: &mut World,
        cr: usize,
        write: Write,
        cause: Option<Cause>,
        fingerprint: Option<String>,
        seen: &Seen,
        fails: bool,
    ) {
        let row = self.rows[cr].get_or_insert_default();
        let (was_ours, stamped) = (row.is_ours(), row.remote_version.is_some());
        let anew = write == Write::Create && row.unsettled_since().is_none();
        let id = match seen {
            Seen::Present(sighting) => sighting.id.clone(),
            _ => row.remote_id.clone(),
        };
        let expected = match seen {
            Seen::Present(sighting) => sighting.version.clone(),
            _ => row.remote_version.clone(),
        };
        begin(row, Intent { write, cause, at: ts(world.now) });
        let number = row.attempt_number();
        world.say(|| format!("cr{cr}: intends {write:?} for {cause:?}, {fingerprint:?}, attempt {number}"));
        if !self.store(world, cr, fails) {
            return;
        }
        if anew {
            world.crs[cr].window = Some((world.now, world.now));
        }
        let value = fingerprint.as_deref().and_then(value_of).unwrap_or(0);
        let read = match seen {
            Seen::Nothing { .. } => None,
            Seen::Absent { .. } | Seen::Present(_) => self.snapshot.as_ref().map(|s| s.read),
        };
        self.phase = Phase::Intended(Box::new(Plan {
            cr,
            cause,
            number,
            fingerprint,
            at: world.now,
            request: Request {
                cr,
                uid: self.uids[cr],
                write,
                value,
                id: id.and_then(|id| id.parse().ok()),
                expected,
                sent: 0,
                was_ours,
                stamped,
                seen: read,
                window: world.crs[cr].window,
                ends: None,
                answer: None,
                released: false,
            },
        }));
    }

    /// The lane grants the slot: the request leaves, unless its intent is too old.
    pub fn send(&mut self, world: &mut World) {
        let Phase::Intended(mut plan) = std::mem::take(&mut self.phase) else { return };
        if world.crs[plan.cr].uid != plan.request.uid || !world.crs[plan.cr].exists {
            return;
        }
        if world.now - plan.at > ABANDON {
            return self.answer(world, plan, &Outcome::NotSent);
        }
        plan.request.sent = world.now;
        super::check::at_send(world, &plan);
        world.requests.push(plan.request.clone());
        world.writes += 1;
        self.trace.sent();
        if plan.cause == Some(Cause::Reassert) {
            self.reasserted.push(world.now);
        }
        self.phase = Phase::Waiting(plan);
    }

    /// The request that this process waits for.
    pub fn waiting(&self, world: &World) -> Option<usize> {
        matches!(self.phase, Phase::Waiting(_)).then(|| world.requests.iter().position(|r| r.ends.is_none()))?
    }

    /// When the request under way has waited for too long.
    pub fn deadline(&self, world: &World) -> Option<i64> {
        self.waiting(world).map(|i| world.requests[i].sent + TIMEOUT)
    }

    /// The request is answered, or ends without an answer.
    pub fn finish(&mut self, world: &mut World, outcome: &Outcome) {
        let Some(index) = self.waiting(world) else { return };
        let Phase::Waiting(plan) = std::mem::take(&mut self.phase) else { return };
        self.trace.over(ts(world.now));
        world.say(|| format!("operator: {:?} is {}", plan.request.write, super::world::name(outcome)));
        if matches!(outcome, Outcome::Unknown { .. }) {
            world.cut(index);
        } else {
            world.requests.remove(index);
        }
        if !world.crs[plan.cr].exists || world.crs[plan.cr].uid != plan.request.uid {
            // Deleted under Retain while the write was under way: the lock is kept.
            self.locked_until = world.now + D;
            return;
        }
        match outcome {
            Outcome::NotFound if plan.request.write == Write::Update => {
                self.update_refused += 1;
                self.contradicted = true;
                world.causes += 1;
            }
            Outcome::Exists | Outcome::Stale => {
                self.contradicted = true;
                world.causes += 1;
            }
            Outcome::Clean { .. } | Outcome::NotFound => world.causes += 1,
            Outcome::Acknowledged { .. } => {
                self.update_refused = 0;
                world.crs[plan.cr].asked = false;
                world.crs[plan.cr].acked_sent = Some(plan.request.sent);
            }
            _ => {}
        }
        self.answer(world, plan, outcome);
    }

    fn answer(&mut self, world: &mut World, plan: Box<Plan>, outcome: &Outcome) {
        self.phase = Phase::Answered { cr: plan.cr, at: plan.at };
        self.record(world, &plan, outcome);
    }

    /// Records an answer in memory.
    pub fn record(&mut self, world: &World, plan: &Plan, outcome: &Outcome) {
        let Some(row) = self.rows[plan.cr].as_mut() else { return };
        let answer = Answer {
            write: plan.request.write,
            number: plan.number,
            outcome,
            fingerprint: plan.fingerprint.as_deref(),
            source_version: None,
            sent_at: ts(plan.request.sent),
            now: ts(world.now),
            settle: Duration::from_millis(D.unsigned_abs()),
        };
        if record(row, &answer) == After::Drop {
            self.rows[plan.cr] = None;
        }
    }

    /// The outcome reaches the ledger; a failed write is tried again.
    pub fn flush(&mut self, world: &mut World, fails: bool) {
        let Phase::Answered { cr, .. } = self.phase else { return };
        if fails {
            return;
        }
        if world.crs[cr].uid == self.uids[cr] && world.crs[cr].exists {
            self.store(world, cr, false);
        } else if self.rows[cr].as_ref().is_some_and(|r| r.unsettled_since().is_some()) {
            // Deleted under Retain while its outcome waited to be written.
            self.locked_until = world.now + D;
        }
        self.phase = Phase::Idle;
    }

    /// An hour goes by.
    pub fn rest_an_hour(&mut self) {
        self.reasserted.clear();
        self.update_refused = 0;
    }
}
