//! Every entry that some VaultSecret names or holds, by entry identity: who has it, what we know of our own writes to it,
//! and what its row expects to see in a list.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;

use crate::remote::lane::ObjectKey;
use crate::sync::conflict::{self, Claimant, Hold};
use crate::sync::plan::after;
use crate::sync::snapshot::Trace;

/// An entry's identity: the remote (provider, URL, account) and the name as the remote stores it. No credential is part of it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EntryId {
    /// The remote: provider, URL and account.
    pub remote: Arc<str>,
    /// The name as the remote stores it.
    pub name: Arc<str>,
}

/// What a row expects of the next list. `None` of [`Claim::expects`]: the row has no expectation, or is busy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expects {
    /// In sync: present, with this stamp where there is one.
    Present(Option<Arc<str>>),
    /// Known to be changed by somebody else: present, with any stamp but ours.
    Moved(Option<Arc<str>>),
    /// Known to be missing, under a policy that leaves it so.
    Absent,
    /// Somebody else's: present.
    Foreign,
    /// No list has shown it for long; any list is news.
    Any,
    /// Ours, and a write of it is due, was refused, or may still land: present, with any stamp. That it is gone may be what was
    /// waited for, and it may be one of many.
    Listed,
}

/// One VaultSecret's interest in an entry.
#[derive(Clone, Debug)]
pub struct Claim {
    /// Which entry.
    pub entry: EntryId,
    /// Who, and how firmly.
    pub claimant: Claimant,
    /// Connection that it goes through, as rows name it.
    pub connection: Arc<str>,
    /// What the next list is expected to show.
    pub expects: Option<Expects>,
    /// When this process read the row as it now is.
    pub read_at: Timestamp,
    /// No key wants the entry any more.
    pub leaving: bool,
    /// A write of ours may still land until then: the entry is held that long even if its VaultSecret is gone.
    pub lingers_until: Option<Timestamp>,
}

#[derive(Default)]
struct Entry {
    claims: Vec<(ObjectKey, Claim)>,
    /// Held for VaultSecrets that are gone, until a write of theirs cannot land any more.
    ghosts: Vec<(Timestamp, Claimant)>,
    trace: Trace,
}

impl Entry {
    /// A write of ours is remembered also when nobody names the entry any more: whoever names it next must not be shown a list
    /// from before it.
    fn is_unused(&self) -> bool {
        self.claims.is_empty() && self.ghosts.is_empty() && self.trace == Trace::default()
    }

    /// Forgets our last write, once every list that can be looked at began after it.
    fn forget_write(&mut self, listed_since: Option<Timestamp>) {
        if self.claims.is_empty() && self.trace.in_flight == 0 && self.trace.last_write_over < listed_since {
            self.trace = Trace::default();
        }
    }
}

#[derive(Default)]
struct State {
    entries: HashMap<EntryId, Entry>,
    by_object: HashMap<ObjectKey, Vec<EntryId>>,
}

/// The index.
#[derive(Default)]
pub struct Entries {
    state: Mutex<State>,
}

/// Why an entry cannot be had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taken {
    /// `<namespace>/<name>` of the VaultSecret that has it.
    pub by: String,
    /// Held for one that is gone, until then.
    pub until: Option<Timestamp>,
}

impl Entries {
    /// Replaces what a VaultSecret names and holds. Returns the others whose entries it gave up.
    #[must_use]
    pub fn set(&self, key: &ObjectKey, claims: Vec<Claim>) -> HashSet<ObjectKey> {
        let mut guard = self.lock();
        let kept: HashSet<EntryId> = claims.iter().map(|c| c.entry.clone()).collect();
        let mut freed = HashSet::new();
        let old = guard.by_object.remove(key).unwrap_or_default();
        for id in old.into_iter().filter(|id| !kept.contains(id)) {
            guard.withdraw(key, &id, &mut freed);
        }
        let mut ids: Vec<EntryId> = Vec::with_capacity(claims.len());
        for claim in claims {
            let id = claim.entry.clone();
            let entry = guard.entries.entry(id.clone()).or_default();
            match entry.claims.iter_mut().find(|(k, c)| k == key && c.connection == claim.connection) {
                Some((_, old)) => {
                    if old.claimant.hold > claim.claimant.hold {
                        freed.extend(entry.claims.iter().map(|(k, _)| k.clone()).filter(|k| k != key));
                        if let Some((_, old)) =
                            entry.claims.iter_mut().find(|(k, c)| k == key && c.connection == claim.connection)
                        {
                            *old = claim;
                        }
                    } else {
                        *old = claim;
                    }
                }
                None => entry.claims.push((key.clone(), claim)),
            }
            if !ids.contains(&id) {
                ids.push(id);
            }
        }
        if !ids.is_empty() {
            guard.by_object.insert(key.clone(), ids);
        }
        freed
    }

    /// A VaultSecret is gone. What a write of its may still change stays held. Returns the others that may have its entries.
    #[must_use]
    pub fn remove(&self, key: &ObjectKey, now: Timestamp) -> HashSet<ObjectKey> {
        let mut guard = self.lock();
        let mut freed = HashSet::new();
        for id in guard.by_object.remove(key).unwrap_or_default() {
            if let Some(entry) = guard.entries.get_mut(&id) {
                let lingering = entry.claims.iter().filter(|(k, _)| k == key).filter_map(|(_, c)| {
                    c.lingers_until.filter(|until| *until > now).map(|until| (until, c.claimant.clone()))
                });
                let lingering: Vec<_> = lingering.collect();
                entry.ghosts.extend(lingering);
            }
            guard.withdraw(key, &id, &mut freed);
        }
        freed
    }

    /// Who else has an entry; `None` when this VaultSecret has it.
    #[must_use]
    pub fn taken(&self, key: &ObjectKey, uid: &str, id: &EntryId, now: Timestamp) -> Option<Taken> {
        self.lock().taken(key, uid, id, now)
    }

    /// Takes entries for a write that is about to be intended: all of them, or none. From then on nobody else can take
    /// them, so ownership is read and the claim is made in one step (C10). Should the VaultSecret be gone before the write is
    /// answered, they stay held for `settle`.
    ///
    /// # Errors
    /// The first entry that somebody else has.
    pub fn take(
        &self,
        key: &ObjectKey,
        uid: &str,
        ids: &[EntryId],
        now: Timestamp,
        settle: Duration,
    ) -> Result<(), (EntryId, Taken)> {
        let mut state = self.lock();
        for id in ids {
            if let Some(taken) = state.taken(key, uid, id, now) {
                return Err((id.clone(), taken));
            }
        }
        for id in ids {
            let Some(entry) = state.entries.get_mut(id) else { continue };
            for (_, claim) in entry.claims.iter_mut().filter(|(k, _)| k == key) {
                claim.claimant.hold = claim.claimant.hold.max(Hold::Claimed);
                claim.expects = claim.expects.take().and_then(|before| while_written(before, claim.claimant.hold));
                claim.lingers_until = claim.lingers_until.max(Some(after(now, settle)));
            }
        }
        Ok(())
    }

    /// A write was not answered: it may still land until then, whether or not its VaultSecret is still there.
    pub fn linger(&self, id: &EntryId, uid: &str, until: Timestamp) {
        let mut state = self.lock();
        let Some(entry) = state.entries.get_mut(id) else { return };
        for (held, _) in entry.ghosts.iter_mut().filter(|(_, ghost)| ghost.uid == uid) {
            *held = (*held).max(until);
        }
        for (_, claim) in entry.claims.iter_mut().filter(|(_, claim)| claim.claimant.uid == uid) {
            claim.lingers_until = claim.lingers_until.max(Some(until));
        }
    }

    /// A write is about to be sent.
    pub fn sent(&self, id: &EntryId) {
        self.lock().entries.entry(id.clone()).or_default().trace.sent();
    }

    /// A write was answered, or timed out.
    pub fn over(&self, id: &EntryId, now: Timestamp) {
        let mut state = self.lock();
        let Some(entry) = state.entries.get_mut(id) else { return };
        entry.trace.over(now);
        if entry.is_unused() {
            state.entries.remove(id);
        }
    }

    /// A write of an object that is gone may still change an entry: it is held until then.
    pub fn haunt(&self, id: &EntryId, claimant: Claimant, until: Timestamp) {
        self.lock().entries.entry(id.clone()).or_default().ghosts.push((until, claimant));
    }

    /// Forgets entries that were held for objects that are gone, once nothing of theirs can land any more, and what was written to
    /// entries of a remote that nobody names any more, once every list of it that can be looked at began at `listed_since` or later.
    pub fn prune(&self, now: Timestamp, remote: &str, listed_since: Option<Timestamp>) {
        self.lock().entries.retain(|id, entry| {
            entry.ghosts.retain(|(until, _)| *until > now);
            if *id.remote == *remote {
                entry.forget_write(listed_since);
            }
            !entry.is_unused()
        });
    }

    /// What we know of our own writes to an entry, for a row read at that time.
    #[must_use]
    pub fn trace(&self, id: &EntryId, read_at: Timestamp) -> Trace {
        let trace = self.lock().entries.get(id).map(|e| e.trace.clone()).unwrap_or_default();
        Trace { read_at: Some(read_at), ..trace }
    }

    /// Number of entries that are ours through a connection.
    #[must_use]
    pub fn owned_through(&self, namespace: &str, connection: &str) -> usize {
        let state = self.lock();
        state
            .entries
            .values()
            .flat_map(|e| &e.claims)
            .filter(|(k, c)| {
                c.claimant.hold == Hold::Ours
                    && *c.connection == *connection
                    && (namespace.is_empty() || *k.namespace == *namespace)
            })
            .count()
    }

    /// Whether something would be lost if a remote were thought empty: an entry of ours, or one that may have come of a claim that is
    /// leaving. Of any other claim the next create finds out.
    #[must_use]
    pub fn any_at_stake(&self, remote: &str) -> bool {
        let mut found = false;
        self.for_each(remote, |_, claim, _| {
            let hold = claim.claimant.hold;
            found |= hold == Hold::Ours || (hold == Hold::Claimed && claim.leaving);
        });
        found
    }

    /// Looks at every claim on entries of a remote, with what we know of our own writes.
    pub fn for_each(&self, remote: &str, mut look: impl FnMut(&ObjectKey, &Claim, &Trace)) {
        let state = self.lock();
        for (id, entry) in &state.entries {
            if *id.remote != *remote {
                continue;
            }
            for (key, claim) in &entry.claims {
                look(key, claim, &entry.trace);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is expected of an entry from the moment that it is written until its object's pass is over: one that was ours is there,
/// whatever becomes of the write. A delete is of a row that expects nothing.
fn while_written(before: Expects, hold: Hold) -> Option<Expects> {
    let was_there = matches!(before, Expects::Present(_) | Expects::Moved(_) | Expects::Listed | Expects::Any);
    (hold == Hold::Ours && was_there).then_some(Expects::Listed)
}

impl State {
    fn taken(&mut self, key: &ObjectKey, uid: &str, id: &EntryId, now: Timestamp) -> Option<Taken> {
        let entry = self.entries.get_mut(id)?;
        entry.ghosts.retain(|(until, _)| *until > now);
        if let Some((until, ghost)) = entry.ghosts.iter().find(|(_, g)| g.uid != uid) {
            let held = entry.claims.iter().any(|(k, c)| k == key && c.claimant.hold > Hold::Named);
            if !held {
                return Some(Taken { by: format!("{} (deleted)", ghost.name), until: Some(*until) });
            }
        }
        let claimants: Vec<Claimant> = entry.claims.iter().map(|(_, c)| c.claimant.clone()).collect();
        let owner = conflict::owner(&claimants)?;
        (owner.uid != uid).then(|| Taken { by: owner.name.clone(), until: None })
    }

    fn withdraw(&mut self, key: &ObjectKey, id: &EntryId, freed: &mut HashSet<ObjectKey>) {
        let Some(entry) = self.entries.get_mut(id) else { return };
        entry.claims.retain(|(k, _)| k != key);
        freed.extend(entry.claims.iter().map(|(k, _)| k.clone()));
        // The trace stays: a write that is under way is still to be answered, and a list from before one says nothing.
        if entry.is_unused() {
            self.entries.remove(id);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    /// What an empty list that may be none would take away.
    #[test]
    fn a_claim_is_at_stake_when_it_leaves() {
        let at_stake = |hold, leaving| {
            let entries = Entries::default();
            let claim = Claim {
                entry: EntryId { remote: "remote".into(), name: "a".into() },
                claimant: Claimant { created: None, uid: "u".into(), name: "ns/app".into(), hold, prefix: 0 },
                connection: "VaultConnection/c".into(),
                expects: None,
                read_at: Timestamp::UNIX_EPOCH,
                leaving,
                lingers_until: None,
            };
            let _ = entries.set(&ObjectKey { namespace: "ns".into(), name: "app".into() }, vec![claim]);
            assert!(!entries.any_at_stake("another"));
            entries.any_at_stake("remote")
        };
        assert!(at_stake(Hold::Ours, false) && at_stake(Hold::Ours, true) && at_stake(Hold::Claimed, true));
        assert!(!at_stake(Hold::Claimed, false) && !at_stake(Hold::Named, false));
    }

    /// A list that comes between the answers of a pass and its end must not overlook that everything is gone.
    #[test]
    fn what_was_there_is_expected_while_it_is_written() {
        for before in [Expects::Present(None), Expects::Moved(None), Expects::Listed, Expects::Any] {
            assert_eq!(while_written(before.clone(), Hold::Ours), Some(Expects::Listed), "{before:?}");
            assert_eq!(while_written(before, Hold::Claimed), None, "a create may be under way");
        }
        assert_eq!(while_written(Expects::Absent, Hold::Ours), None);
        assert_eq!(while_written(Expects::Foreign, Hold::Ours), None);
    }
}
