//! The remote, the network and the cluster: what the operator of the model acts on.

use jiff::Timestamp;
use vaultsecret_operator::sync::ledger::Row;
use vaultsecret_operator::sync::plan::{Adoption, Departure, Drift};
use vaultsecret_operator::sync::transition::{Outcome, Write};

/// D, in milliseconds of the model.
pub const D: i64 = 40;
/// When the operator gives up on a request.
pub const TIMEOUT: i64 = 12;
/// How far the remote's clock may be from ours.
pub const SKEW: i64 = 3;
/// An intent older than this is abandoned instead of sent.
pub const ABANDON: i64 = 5;

/// A time of the model as the core takes it.
pub fn ts(ms: i64) -> Timestamp {
    Timestamp::from_millisecond(1_000_000 + ms).expect("a time of the model")
}

/// What one run holds fixed.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// The list shows times of change (Timestamp), else names only (Presence).
    pub stamps: bool,
    /// Entries are addressed by an id that the remote makes.
    pub by_id: bool,
    /// The list says who made an entry.
    pub creators: bool,
    /// An update is refused if the entry has another stamp than the one that it was decided on (Version).
    pub cas: bool,
    /// Answers to a write may come without a stamp.
    pub lame: bool,
    /// How far the remote's clock is ahead.
    pub offset: i64,
    pub adoption: Adoption,
    pub departure: Departure,
    pub drift: Drift,
    /// Whether a second VaultSecret may name the entry.
    pub two: bool,
    /// Whether strangers write.
    pub strangers: bool,
    /// Whether anything is lost, late or crashes.
    pub faults: bool,
}

/// The one entry of the remote.
#[derive(Clone, Debug)]
pub struct Entry {
    pub id: u32,
    /// By our clock.
    pub born: i64,
    /// By the remote's clock.
    pub created: i64,
    /// By the remote's clock.
    pub version: i64,
    pub value: u32,
    /// Who wrote last: uid of a VaultSecret, or a stranger.
    pub writer: Option<u32>,
    /// Who made it.
    pub maker: Option<u32>,
    /// Made by a stranger and never rightly written by us.
    pub foreign: bool,
    /// Left at the remote on purpose.
    pub released: bool,
}

/// A request under way.
#[derive(Clone, Debug)]
pub struct Request {
    pub cr: usize,
    pub uid: u32,
    pub write: Write,
    pub value: u32,
    pub id: Option<u32>,
    /// The stamp that it was decided on.
    pub expected: Option<String>,
    pub sent: i64,
    /// The row was ours when the intent was written.
    pub was_ours: bool,
    /// The row had a stamp when the intent was written.
    pub stamped: bool,
    /// When the remote answered the list that the decision rests on.
    pub seen: Option<i64>,
    /// When a create of its claim may have been processed.
    pub window: Option<(i64, i64)>,
    /// Until when it may still be processed, once nobody waits for it.
    pub ends: Option<i64>,
    /// Its answer, once processed.
    pub answer: Option<Outcome>,
    /// Its VaultSecret was deleted under Retain.
    pub released: bool,
}

/// A VaultSecret with its ledger (one row: the model has one entry).
#[derive(Clone, Debug, Default)]
pub struct Cr {
    pub exists: bool,
    pub deleting: bool,
    pub uid: u32,
    pub created: i64,
    /// The value of the key that names the entry, while there is such a key.
    pub wants: Option<u32>,
    /// The value before, to go back to.
    pub before: u32,
    /// A push is asked for.
    pub asked: bool,
    pub row: Option<Row>,
    /// resourceVersion.
    pub rv: u64,
    /// When a create of this claim may have been processed, by our clock.
    pub window: Option<(i64, i64)>,
    /// When the last acknowledged write was sent.
    pub acked_sent: Option<i64>,
}

pub struct World {
    pub config: Config,
    pub now: i64,
    pub entry: Option<Entry>,
    pub requests: Vec<Request>,
    pub crs: [Cr; 2],
    /// Writes sent, and the number that there was cause for.
    pub writes: u32,
    pub causes: u32,
    /// When something other than an answered write of ours last changed the entry.
    pub disturbed: i64,
    /// Whether a stranger ever did something.
    pub strangers: bool,
    /// A stranger wrote or made the entry after our last write to it.
    pub serial: u32,
    pub broken: Option<String>,
    pub log: Option<Vec<String>>,
}

impl World {
    pub fn new(config: Config) -> Self {
        World {
            config,
            now: 0,
            entry: None,
            requests: Vec::new(),
            crs: [Cr::default(), Cr::default()],
            writes: 0,
            causes: 0,
            disturbed: -1,
            strangers: false,
            serial: 100,
            broken: None,
            log: None,
        }
    }

    /// A number that was never used before.
    pub fn fresh(&mut self) -> u32 {
        self.serial += 1;
        self.serial
    }

    pub fn say(&mut self, what: impl FnOnce() -> String) {
        let now = self.now;
        if let Some(log) = self.log.as_mut() {
            log.push(format!("{now:>5}  {}", what()));
        }
    }

    pub fn violate(&mut self, what: impl FnOnce() -> String) {
        if self.broken.is_none() {
            let what = what();
            self.say(|| format!("VIOLATION {what}"));
            self.broken = Some(what);
        }
    }

    /// Time goes by: requests that nobody waits for any more end one after the other.
    pub fn advance(&mut self, by: i64) {
        self.now += by;
        let now = self.now;
        self.requests.retain(|r| r.ends.is_none_or(|ends| now <= ends && r.answer.is_none()));
    }

    /// Nobody waits for this request any more: it may land until just under D later.
    pub fn cut(&mut self, index: usize) {
        let now = self.now;
        let request = &mut self.requests[index];
        request.ends = Some(now + D - 1);
        let cr = request.cr;
        let uid = request.uid;
        if self.crs[cr].uid == uid {
            self.widen(cr, now + D);
        }
        // A lost answer buys one repeat, and one confirming write where no stamp tells.
        self.causes += 1 + u32::from(!self.config.stamps || self.config.lame);
    }

    /// A create of ours may be processed until then.
    pub fn widen(&mut self, cr: usize, until: i64) {
        if let Some((_, end)) = self.crs[cr].window.as_mut() {
            *end = (*end).max(until);
        }
    }

    /// The remote processes a request.
    pub fn process(&mut self, index: usize, lame: bool) {
        if self.requests[index].answer.is_some() {
            return;
        }
        let request = self.requests[index].clone();
        let late = request.ends.is_some();
        let hit = self.entry.as_ref().is_some_and(|e| !self.config.by_id || request.id == Some(e.id));
        let clock = self.now + self.config.offset;
        let outcome = match (request.write, &self.entry) {
            (Write::Create, Some(_)) => Outcome::Exists,
            (Write::Create, None) => {
                let id = self.fresh();
                self.entry = Some(Entry {
                    id,
                    born: self.now,
                    created: clock,
                    version: clock,
                    value: request.value,
                    writer: Some(request.uid),
                    maker: Some(request.uid),
                    foreign: false,
                    released: request.released,
                });
                self.acknowledge(lame)
            }
            (Write::Update | Write::Delete, _) if !hit => Outcome::NotFound,
            (Write::Update, Some(entry))
                if self.config.cas
                    && request.expected.as_ref().is_some_and(|e| *e != ts(entry.version).to_string()) =>
            {
                Outcome::Stale
            }
            (Write::Update, _) => {
                self.check_update(&request);
                if let Some(entry) = self.entry.as_mut() {
                    entry.value = request.value;
                    entry.writer = Some(request.uid);
                    entry.version = clock;
                    entry.foreign = false;
                    entry.released = request.released;
                }
                self.acknowledge(lame)
            }
            (Write::Delete, _) => {
                self.check_delete(&request);
                self.entry = None;
                Outcome::Acknowledged { id: None, version: None }
            }
        };
        self.say(|| format!("remote: {:?} of {} -> {}", request.write, request.value, name(&outcome)));
        if late && matches!(outcome, Outcome::Acknowledged { .. }) {
            // A late write of ours: putting it right is caused.
            self.disturbed = self.now;
            self.causes += 1;
        }
        self.requests[index].answer = Some(outcome);
    }

    fn acknowledge(&self, lame: bool) -> Outcome {
        let entry = self.entry.as_ref();
        let version =
            entry.filter(|_| self.config.stamps && !(lame && self.config.lame)).map(|e| ts(e.version).to_string());
        Outcome::Acknowledged { id: entry.filter(|_| self.config.by_id).map(|e| e.id.to_string()), version }
    }

    /// Rule 3 for an update. Admitted: an entry that is ours stays ours when a stranger makes it anew (R8), and what a stranger
    /// made inside the claim window of an unsettled create cannot be told from ours (always so on a Presence remote), nor what he
    /// made between list and Update.
    fn check_update(&mut self, request: &Request) {
        let Some(entry) = self.entry.clone().filter(|e| e.foreign) else { return };
        if self.config.adoption == Adoption::TakeOver || request.was_ours {
            return;
        }
        let after_list = request.seen.is_none_or(|seen| entry.born > seen);
        if after_list || !self.config.stamps || Self::in_window(request, entry.born) {
            return;
        }
        self.violate(|| format!("rule 3: a stranger's entry of {} is overwritten", entry.born));
    }

    /// Rule 3 for a delete. Admitted: a stranger's change between list and Delete, what a stranger made while a create of ours was
    /// unsettled, and on a Presence remote (or without a stamp of our own write) a foreign delete and recreate.
    fn check_delete(&mut self, request: &Request) {
        let Some(entry) = self.entry.clone().filter(|e| e.foreign) else { return };
        if self.config.adoption == Adoption::TakeOver || !self.config.stamps {
            return;
        }
        let after_list = request.seen.is_none_or(|seen| entry.born > seen);
        if after_list || (request.was_ours && !request.stamped) || Self::in_window(request, entry.born) {
            return;
        }
        self.violate(|| format!("rule 3: a stranger's entry of {} is deleted", entry.born));
    }

    fn in_window(request: &Request, born: i64) -> bool {
        request.window.is_some_and(|(start, end)| born >= start - 2 * SKEW && born <= end + 2 * SKEW)
    }

    /// The entry is left at the remote on purpose.
    pub fn release(&mut self) {
        if let Some(entry) = self.entry.as_mut() {
            entry.released = true;
        }
    }

    /// A write to the API server under its guard; `false`: somebody wrote in between.
    pub fn store(&mut self, cr: usize, rv: u64, row: Option<Row>) -> bool {
        let c = &mut self.crs[cr];
        if c.rv != rv {
            return false;
        }
        c.rv += 1;
        c.row = row;
        true
    }
}

pub fn name(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Acknowledged { .. } => "acknowledged",
        Outcome::Exists => "409",
        Outcome::NotFound => "404",
        Outcome::Stale => "stale",
        Outcome::Clean { .. } => "refused",
        Outcome::Unknown { .. } => "unknown",
        Outcome::NotSent => "not sent",
    }
}

/// The value in a fingerprint of the model.
pub fn value_of(fingerprint: &str) -> Option<u32> {
    fingerprint.split_once(':').and_then(|(_, value)| value.parse().ok())
}
