//! What the operator of the model sees: lists of the remote, and who has the entry.

use vaultsecret_operator::sync::conflict::{Claimant, Hold, owner};
use vaultsecret_operator::sync::plan::{Seen, Sighting};
use vaultsecret_operator::sync::snapshot::{Span, counts};

use super::operator::Operator;
use super::world::{Entry, World, ts};

/// How long a row is taken for known without a list.
const MAX_AGE: i64 = 500;

#[derive(Clone, Debug)]
pub struct List {
    began: i64,
    /// When the remote answered, and what.
    shows: Option<(i64, Option<Entry>)>,
}

#[derive(Clone, Debug)]
pub struct Snapshot {
    began: i64,
    pub read: i64,
    ended: i64,
    shows: Option<Entry>,
}

impl Operator {
    /// A list begins, is read at the remote, or arrives.
    pub fn list(&mut self, world: &mut World, what: u32) {
        match (what % 3, self.list.as_mut()) {
            (_, None) => self.list = Some(List { began: world.now, shows: None }),
            (0, Some(list)) if list.shows.is_none() => {
                let shows = world.entry.clone();
                world.say(|| format!("list of {}: reads {:?}", list.began, shows.as_ref().map(|e| e.value)));
                list.shows = Some((world.now, shows));
            }
            (1 | 0, Some(list)) => {
                let (read, shows) = list.shows.take().unwrap_or_else(|| (world.now, world.entry.clone()));
                let (began, ended) = (list.began, world.now);
                world.say(|| format!("list of {began}: arrives, {:?}", shows.as_ref().map(|e| e.value)));
                self.snapshot = Some(Snapshot { began, read, ended, shows });
                self.list = None;
            }
            (_, Some(_)) => self.list = None,
        }
    }

    pub fn seen(&mut self, world: &World) -> Seen {
        let counting =
            self.snapshot.as_ref().filter(|s| counts(Span { began: ts(s.began), ended: ts(s.ended) }, &self.trace));
        let Some(snapshot) = counting else {
            return Seen::Nothing { stale: world.now - self.counted > MAX_AGE };
        };
        self.contradicted = false;
        self.counted = snapshot.ended;
        let began = ts(snapshot.began);
        let Some(entry) = &snapshot.shows else {
            self.update_refused = 0;
            return Seen::Absent { began };
        };
        Seen::Present(Sighting {
            began,
            id: world.config.by_id.then(|| entry.id.to_string()),
            version: world.config.stamps.then(|| ts(entry.version).to_string()),
            created: world.config.stamps.then(|| ts(entry.created)),
            by_us: world.config.creators.then_some(entry.maker.is_some()),
            another: None,
        })
    }

    /// Whether this VaultSecret has the entry.
    pub fn is_owner(&self, world: &World, cr: usize) -> bool {
        let mut claimants: Vec<Claimant> = Vec::new();
        for (i, c) in world.crs.iter().enumerate().filter(|(_, c)| c.exists) {
            let row = self.rows[i].as_ref().filter(|_| self.uids[i] == c.uid);
            let hold = match row {
                Some(row) if row.is_ours() => Hold::Ours,
                Some(row) if row.holds() => Hold::Claimed,
                _ if c.wants.is_some() && !c.deleting => Hold::Named,
                _ => continue,
            };
            let uid = c.uid.to_string();
            claimants.push(Claimant { created: Some(ts(c.created)), name: uid.clone(), uid, hold, prefix: 0 });
        }
        owner(&claimants).is_some_and(|o| o.uid == world.crs[cr].uid.to_string())
    }
}
