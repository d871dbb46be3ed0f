//! What an object names and holds, for the index of entries: who has which, and what its rows expect of the next list.

use std::sync::Arc;

use jiff::Timestamp;
use kube::ResourceExt as _;

use super::Pass;
use super::rows::names_at;
use crate::api::{Reason, VaultSecret};
use crate::controller::context::Context;
use crate::controller::desired::{self, Issue};
use crate::controller::entries::{Claim, EntryId, Expects};
use crate::controller::key_of;
use crate::controller::route::Route;
use crate::remote::DriftSignal;
use crate::sync::conflict::{Claimant, Hold};
use crate::sync::ledger::{EntryState, Row};
use crate::sync::plan::after;

impl Pass<'_> {
    /// Tells the index what the object names and holds, and wakes those for whom something became free.
    pub fn register_claims(&mut self) {
        let claims = self.claims();
        for freed in self.ctx.entries.set(self.key, claims) {
            self.ctx.wake.object(freed);
        }
    }

    fn claims(&mut self) -> Vec<Claim> {
        let uid = self.uid();
        let created = self.vs.metadata.creation_timestamp.as_ref().map(|t| t.0);
        let name = format!("{}/{}", self.key.namespace, self.key.name);
        let mut claims = Vec::with_capacity(self.rows.len());
        for row in &self.rows {
            let Some(handle) = self.handle_of(row) else {
                // Not to be written through now, but held all the same.
                claims.extend(crate::controller::ledger_claim(self.ctx, &self.vs, row, self.now));
                continue;
            };
            let hold = if row.is_ours() {
                Hold::Ours
            } else if row.holds() {
                Hold::Claimed
            } else if row.key.is_some() {
                Hold::Named
            } else {
                continue;
            };
            let memo = self.state.memo(&row.connection, &row.remote_name, self.read_at);
            let (read_at, not_updated) = (memo.read_at, memo.update_refused >= 2);
            let prefix = handle.prefix.as_deref().map_or(0, |p| desired::render_prefix(p, &self.key.namespace).len());
            let settle = handle.settle;
            claims.push(Claim {
                entry: EntryId { remote: Arc::clone(&handle.remote.base), name: row.remote_name.as_str().into() },
                claimant: Claimant { created, uid: uid.clone(), name: name.clone(), hold, prefix },
                connection: row.connection.as_str().into(),
                // Whoever deletes an entry that cannot be updated has it made anew.
                expects: expects(row, handle.remote.client().drift_signal())
                    .or_else(|| (not_updated && row.state == EntryState::Failed).then_some(Expects::Foreign)),
                read_at,
                leaving: row.key.is_none(),
                lingers_until: lingers(row).map(|since| after(since, settle)),
            });
        }
        claims
    }

    /// Marks entries that another VaultSecret has.
    pub fn check_owners(&mut self) {
        let uid = self.uid();
        let mut waits = Vec::new();
        for want in &mut self.wants {
            let Some(row) = want.row else { continue };
            let Some(handle) = self.route.handle.as_ref() else { continue };
            let id =
                EntryId { remote: Arc::clone(&handle.remote.base), name: self.rows[row].remote_name.as_str().into() };
            if let Some(taken) = self.ctx.entries.taken(self.key, &uid, &id, self.now) {
                let key = &self.vs.spec.data[want.index].key;
                want.issue = Some(Issue::new(
                    Reason::OwnedByAnother,
                    format!(
                        "key {key}: the entry {:?} at {} belongs to VaultSecret {}",
                        id.name, handle.display, taken.by
                    ),
                ));
                self.rows[row].state = EntryState::Conflict;
                self.rows[row].message = format!("belongs to VaultSecret {}", taken.by);
                waits.extend(taken.until);
            }
        }
        for at in waits {
            self.look_again(after(at, std::time::Duration::from_millis(1)));
        }
    }
}

/// Since when a write of ours may still land, for entries whose object goes away.
fn lingers(row: &Row) -> Option<Timestamp> {
    let open = row.attempt.as_ref().filter(|a| a.open).and_then(|a| a.at);
    row.unsettled_since().max(open)
}

/// What a row expects of the next list.
#[must_use]
pub fn expects(row: &Row, signal: DriftSignal) -> Option<Expects> {
    let version = || match signal {
        DriftSignal::Presence => None,
        DriftSignal::Timestamp | DriftSignal::Version => row.remote_version.as_deref().map(Into::into),
    };
    // Whatever of ours is under way or may still land, an entry that was ours is there.
    let is_there = (row.is_ours() && row.fingerprint.is_some() && row.key.is_some()).then_some(Expects::Listed);
    if row.unsettled_since().is_some() || row.is_open() {
        return is_there;
    }
    match row.state {
        EntryState::InSync if row.is_ours() => Some(Expects::Present(version())),
        EntryState::Drifted => Some(Expects::Moved(version())),
        EntryState::Missing => Some(Expects::Absent),
        EntryState::Conflict => Some(Expects::Foreign),
        EntryState::Unknown => Some(Expects::Any),
        EntryState::Failed if row.is_ours() => Some(Expects::Listed),
        EntryState::Leaving => None,
        _ => is_there,
    }
}

/// What an object wants by its spec alone, before its first pass through a connection that was just read.
#[must_use]
pub fn wanted_claims(ctx: &Context, vs: &VaultSecret, now: Timestamp) -> Vec<Claim> {
    let key = key_of(vs);
    let route = Route::find(ctx, &key, vs);
    let Some(handle) = route.handle.as_ref().filter(|_| vs.metadata.deletion_timestamp.is_none()) else {
        return Vec::new();
    };
    let claimant = Claimant {
        created: vs.metadata.creation_timestamp.as_ref().map(|t| t.0),
        uid: vs.uid().unwrap_or_default(),
        name: key.to_string(),
        hold: Hold::Named,
        prefix: handle.prefix.as_deref().map_or(0, |p| desired::render_prefix(p, &key.namespace).len()),
    };
    let names = names_at(ctx, &route, handle, vs, &key.namespace).into_iter().flatten().filter_map(Result::ok);
    let claim = |name: String| Claim {
        entry: EntryId { remote: Arc::clone(&handle.remote.base), name: name.into() },
        claimant: claimant.clone(),
        connection: Arc::clone(&handle.display),
        expects: None,
        read_at: now,
        leaving: false,
        lingers_until: None,
    };
    names.map(claim).collect()
}
