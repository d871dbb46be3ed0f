//! Strangers who write at the remote, and users who edit their VaultSecrets.

use vaultsecret_operator::sync::ledger::Row;
use vaultsecret_operator::sync::plan::Departure;

use super::world::{Cr, Entry, World};

impl World {
    /// A stranger creates, changes or deletes the entry.
    pub fn stranger(&mut self, what: u32) {
        let value = self.fresh();
        let clock = self.now + self.config.offset;
        match (what % 3, self.entry.as_mut()) {
            (0, Some(entry)) => {
                entry.value = value;
                entry.version = clock;
                entry.writer = None;
            }
            (1, Some(_)) => self.entry = None,
            (_, Some(_)) => return,
            (_, None) => {
                let id = self.fresh();
                self.entry = Some(Entry {
                    id,
                    born: self.now,
                    created: clock,
                    version: clock,
                    value,
                    writer: None,
                    maker: None,
                    foreign: true,
                    released: false,
                });
            }
        }
        self.causes += 1;
        self.disturbed = self.now;
        self.strangers = true;
        let shown = self.entry.as_ref().map(|e| e.value);
        self.say(|| format!("stranger: the entry is now {shown:?}"));
    }

    /// A user edits a VaultSecret.
    pub fn user(&mut self, cr: usize, what: u32) {
        let value = self.fresh();
        let uid = self.fresh();
        let now = self.now;
        let c = &mut self.crs[cr];
        if !c.exists {
            if c.row.is_none() {
                *c = Cr {
                    exists: true,
                    uid,
                    created: now,
                    wants: Some(value),
                    before: value,
                    rv: c.rv + 1,
                    ..Cr::default()
                };
            }
        } else if c.deleting {
            return;
        } else {
            match (what % 8, c.wants) {
                (0..=2, Some(old)) => (c.wants, c.before) = (Some(value), old),
                (3, Some(old)) => (c.wants, c.before) = (Some(c.before), old),
                (4, Some(old)) => (c.wants, c.before) = (None, old),
                (5, Some(_)) => c.asked = true,
                (6 | 7, _) => self.delete_cr(cr),
                (_, None) => c.wants = Some(c.before),
                _ => {}
            }
        }
        self.causes += 1;
        let c = &self.crs[cr];
        let text = format!(
            "user: cr{cr} uid {} exists {} deleting {} wants {:?} asked {}",
            c.uid, c.exists, c.deleting, c.wants, c.asked
        );
        self.say(|| text);
    }

    fn delete_cr(&mut self, cr: usize) {
        if self.config.departure == Departure::Delete {
            self.crs[cr].deleting = true;
            return;
        }
        // Under Retain there is no finalizer: the object and its ledger are gone at once, and the entry is left on purpose.
        let uid = self.crs[cr].uid;
        let held = self.crs[cr].row.as_ref().is_some_and(Row::holds);
        self.crs[cr] = Cr { uid, rv: self.crs[cr].rv + 1, ..Cr::default() };
        if held {
            self.release();
        }
        for request in self.requests.iter_mut().filter(|r| r.uid == uid) {
            request.released = true;
        }
    }
}
