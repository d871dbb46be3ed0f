//! The controllers: watches come in, objects and connections are reconciled.

pub mod backoff;
pub mod changes;
pub mod choose;
pub mod connection;
pub mod connection_status;
pub mod connections;
pub mod context;
pub mod credentials;
pub mod desired;
pub mod entries;
pub mod events;
pub mod guard;
pub mod keys;
pub mod namespaces;
pub mod object;
pub mod outcome;
pub mod pass;
pub mod prober;
pub mod project;
pub mod queue;
pub mod reconcile;
pub mod refs;
pub mod report;
pub mod route;
pub mod save;
pub mod scrape;
pub mod send;
pub mod store;
pub mod values;
pub mod watch_metadata;
pub mod watch_remote;
pub mod worker;

use std::sync::Arc;

use kube::ResourceExt as _;

use crate::api::VaultSecret;
use crate::api::vault_secret::ConnectionKind;
use context::Context;
use entries::{Claim, EntryId};
use keys::ConnectionKey;

use crate::remote::lane::ObjectKey;
use crate::sync::conflict::{Claimant, Hold};
use crate::sync::plan::after;

/// Key of an object.
#[must_use]
pub fn key_of(vs: &VaultSecret) -> ObjectKey {
    ObjectKey::new(vs.namespace().unwrap_or_default(), vs.name_any())
}

/// Whether a VaultSecret names a connection, or has rows of it.
fn concerns(vs: &VaultSecret, key: &ConnectionKey, display: &str) -> bool {
    let same_place = key.kind == ConnectionKind::ClusterVaultConnection
        || vs.metadata.namespace.as_deref() == Some(&*key.object.namespace);
    same_place
        && (vs.spec.connection_ref.display() == display
            || vs.status.as_ref().is_some_and(|s| s.entries.iter().any(|r| r.connection == display)))
}

/// VaultSecrets that name a connection or have rows of it.
#[must_use]
pub fn objects_of(ctx: &Context, key: &ConnectionKey) -> Vec<ObjectKey> {
    let display = key.display();
    ctx.vault_secrets.all().iter().filter(|vs| concerns(vs, key, &display)).map(|vs| key_of(vs)).collect()
}

/// Number of entries that are ours through a connection.
#[must_use]
pub fn rows_of(ctx: &Context, key: &ConnectionKey) -> usize {
    let display = key.display();
    if ctx.connections.get(key).is_some() {
        return ctx.entries.owned_through(&key.object.namespace, &display);
    }
    let all = ctx.vault_secrets.all();
    all.iter()
        .filter(|vs| concerns(vs, key, &display))
        .filter_map(|vs| vs.status.as_ref())
        .flat_map(|s| &s.entries)
        .filter(|r| r.connection == display && r.is_ours())
        .count()
}

/// Puts the ledgers of all VaultSecrets of a connection into the index, and the names that they want, before any of them is
/// reconciled through it: who holds an entry, and who is the oldest that wants it, has to be known before anybody claims it.
pub fn index_objects_of(ctx: &Context, key: &ConnectionKey) {
    let display = key.display();
    let now = ctx.clock.now();
    for vs in ctx.vault_secrets.all().iter().filter(|vs| concerns(vs, key, &display)) {
        let object = key_of(vs);
        let mut claims = ledger_claims(ctx, vs, now);
        let wanted = pass::wanted_claims(ctx, vs, now);
        claims.extend(
            wanted.into_iter().filter(|w| !claims.iter().any(|held| held.entry == w.entry)).collect::<Vec<_>>(),
        );
        if !claims.is_empty() {
            let mut freed = ctx.entries.set(&object, claims);
            if ctx.vault_secrets.get(&object).is_none() {
                // It went just now, and was taken out of the index before it was put in.
                freed.extend(ctx.entries.remove(&object, now));
            }
            for freed in freed {
                ctx.wake.object(freed);
            }
        }
    }
}

/// What a ledger holds, without looking at the spec.
fn ledger_claims(ctx: &Context, vs: &VaultSecret, now: jiff::Timestamp) -> Vec<Claim> {
    let object = key_of(vs);
    let rows = vs.status.as_ref().map(|s| s.entries.as_slice()).unwrap_or_default();
    rows.iter()
        .filter(|row| row.holds())
        .filter_map(|row| {
            let connection = ConnectionKey::parse(&row.connection, &object.namespace)?;
            let handle = ctx.connections.get_even_retired(&connection)?;
            (handle.incarnation == row.incarnation).then(|| Claim {
                entry: EntryId { remote: Arc::clone(&handle.remote.base), name: row.remote_name.as_str().into() },
                claimant: Claimant {
                    created: vs.metadata.creation_timestamp.as_ref().map(|t| t.0),
                    uid: vs.uid().unwrap_or_default(),
                    name: object.to_string(),
                    hold: if row.is_ours() { Hold::Ours } else { Hold::Claimed },
                    prefix: 0,
                },
                connection: row.connection.as_str().into(),
                // The first list after a start is judged by this: a freeze must not be missed.
                expects: pass::expects(row, handle.remote.client().drift_signal()),
                read_at: now,
                lingers_until: row.unsettled_since().map(|since| after(since, handle.settle)),
            })
        })
        .collect()
}
