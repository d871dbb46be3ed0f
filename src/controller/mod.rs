//! The controllers: watches come in, objects and connections are reconciled.

pub mod adoption;
pub mod approval;
pub mod backoff;
pub mod changes;
pub mod choose;
pub mod cluster;
pub mod connection;
pub mod connection_status;
pub mod connections;
pub mod context;
pub mod credentials;
pub mod data_from;
pub mod deadline;
pub mod definitions;
pub mod desired;
pub mod entries;
pub mod events;
pub mod fields;
#[cfg(test)]
pub(crate) mod fixture;
pub mod guard;
pub mod keys;
pub mod namespaces;
pub mod object;
pub mod outcome;
pub mod pass;
pub mod prober;
pub mod project;
pub mod queue;
pub mod readable;
pub mod reconcile;
pub mod refs;
pub mod report;
pub mod restart;
pub mod route;
pub mod save;
pub mod scrape;
pub mod sealing;
pub mod selected;
pub mod send;
pub mod shown;
pub mod source_name;
pub mod sources;
pub mod store;
pub mod templates;
pub mod unseal;
pub mod values;
pub mod watch_metadata;
pub mod watch_remote;
pub mod worker;

use std::sync::Arc;
use std::time::Duration;

use kube::ResourceExt as _;

use crate::api::VaultSecret;
use crate::api::connection::ConnectionSpec;
use crate::api::duration::GoDuration;
use crate::api::vault_secret::ConnectionKind;
use context::Context;
use entries::{Claim, EntryId};
use keys::ConnectionKey;

use crate::remote::DriftSignal;
use crate::remote::lane::ObjectKey;
use crate::sync::conflict::{Claimant, Hold};
use crate::sync::ledger::Row;
use crate::sync::plan::after;
use shown::Shown;

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

/// Puts the ledgers of all VaultSecrets into the index, and the names that they want, before anything is reconciled: who holds an
/// entry, and who is the oldest that wants it, has to be known before anybody claims it, also where the credentials that it was
/// written with are gone.
pub fn index_all(ctx: &Context) {
    index(ctx, |_| true);
}

/// The same for the VaultSecrets of a connection, which has become known.
pub fn index_objects_of(ctx: &Context, key: &ConnectionKey) {
    let display = key.display();
    index(ctx, |vs| concerns(vs, key, &display));
}

fn index(ctx: &Context, which: impl Fn(&VaultSecret) -> bool) {
    let now = ctx.clock.now();
    for vs in ctx.vault_secrets.all().iter().filter(|vs| which(vs)) {
        let object = key_of(vs);
        let mut claims = ledger_claims(ctx, vs, now);
        if is_released(vs) {
            // It is done with, and held by somebody else's finalizer: what may still land is held for it, and nothing else.
            for claim in claims {
                if let Some(until) = claim.lingers_until.filter(|until| *until > now) {
                    ctx.entries.haunt(&claim.entry, claim.claimant, until);
                }
            }
            continue;
        }
        let mut wanted = pass::wanted_claims(ctx, vs, now);
        wanted.retain(|want| !claims.iter().any(|held| held.entry == want.entry));
        claims.append(&mut wanted);
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

/// Whether an object is going without our finalizer.
fn is_released(vs: &VaultSecret) -> bool {
    let ours = vs.finalizers().iter().any(|f| f == crate::api::names::FINALIZER);
    vs.metadata.deletion_timestamp.is_some() && !ours
}

/// What a ledger holds, without looking at the spec.
fn ledger_claims(ctx: &Context, vs: &VaultSecret, now: jiff::Timestamp) -> Vec<Claim> {
    let rows = vs.status.as_ref().map(|s| s.entries.as_slice()).unwrap_or_default();
    rows.iter().filter_map(|row| ledger_claim(ctx, vs, row, now)).collect()
}

/// What a row of the ledger holds, if it is known which entry it speaks of.
fn ledger_claim(ctx: &Context, vs: &VaultSecret, row: &Row, now: jiff::Timestamp) -> Option<Claim> {
    let object = key_of(vs);
    let connection = ConnectionKey::parse(&row.connection, &object.namespace)?;
    let behind = Behind::of(ctx, &connection)?;
    (row.holds() && behind.incarnation == row.incarnation).then(|| Claim {
        entry: EntryId { remote: behind.base, name: row.remote_name.as_str().into() },
        claimant: Claimant {
            created: vs.metadata.creation_timestamp.as_ref().map(|t| t.0),
            uid: vs.uid().unwrap_or_default(),
            name: object.to_string(),
            hold: if row.is_ours() { Hold::Ours } else { Hold::Claimed },
            prefix: 0,
        },
        connection: row.connection.as_str().into(),
        // The first list after a start is judged by this: a freeze must not be missed.
        expects: pass::expects(row, behind.signal),
        read_at: now,
        leaving: row.key.is_none(),
        lingers_until: row.unsettled_since().map(|since| after(since, behind.settle)),
    })
}

/// What rows are to be known by of the remote behind a connection.
struct Behind {
    base: Arc<str>,
    incarnation: u64,
    settle: Duration,
    signal: DriftSignal,
}

impl Behind {
    /// From the connection as it was read; where it cannot be, because its credentials are gone, from what its status recorded.
    fn of(ctx: &Context, key: &ConnectionKey) -> Option<Self> {
        if let Some(handle) = ctx.connections.get_even_retired(key) {
            return Some(Self {
                base: Arc::clone(&handle.remote.base),
                incarnation: handle.incarnation,
                settle: handle.settle,
                signal: handle.remote.client().drift_signal(),
            });
        }
        let shown = Shown::get(ctx, key)?;
        let capabilities = shown.status.capabilities.unwrap_or_default();
        let presence = capabilities.drift_signal == format!("{:?}", DriftSignal::Presence);
        Some(Self {
            base: shown.status.remote?.into(),
            incarnation: shown.status.incarnation.unwrap_or_default(),
            settle: settle_at_most(&shown.spec),
            signal: if presence { DriftSignal::Presence } else { DriftSignal::Timestamp },
        })
    }
}

/// D, or longer, where it is not known which provider it is.
fn settle_at_most(spec: &ConnectionSpec) -> Duration {
    const LONG: Duration = Duration::from_secs(600);
    let limits = spec.limits.clone().unwrap_or_default();
    let timeout = limits.timeout.as_ref().map(GoDuration::get).unwrap_or_default();
    limits.settle.as_ref().map(GoDuration::get).unwrap_or_else(|| LONG.max(timeout * 3))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use serde_json::{Value, json};

    use super::fixture::Fixture;
    use super::*;

    const BASE: &str = "mixpeek https://api.mixpeek.example acme";

    fn connection(name: &str, status: Value) -> Value {
        json!({
            "apiVersion": "vaultsecret.dev/v1alpha1", "kind": "VaultConnection",
            "metadata": {"name": name, "namespace": "shop", "uid": name, "generation": 1, "resourceVersion": "1"},
            "spec": {"mixpeek": {"auth": {"apiKeyRef": {"name": "credentials", "key": "api-key"}}}},
            "status": status,
        })
    }

    /// A VaultSecret with a row for an entry that is ours.
    fn holder(more: Value) -> Value {
        let mut manifest = json!({
            "apiVersion": "vaultsecret.dev/v1alpha1", "kind": "VaultSecret",
            "metadata": {"name": "holder", "namespace": "shop", "uid": "holder", "generation": 1, "resourceVersion": "1"},
            "spec": {"connectionRef": {"name": "first"}, "data": [{"key": "A", "value": "v"}]},
            "status": {"entries": [{"connection": "VaultConnection/first", "remoteName": "A", "key": "A",
                                    "state": "InSync", "fingerprint": "k1:x", "incarnation": 2}]},
        });
        for (name, value) in more.as_object().unwrap() {
            manifest["metadata"][name] = value.clone();
        }
        manifest
    }

    fn taken(fixture: &Fixture) -> Option<String> {
        let id = EntryId { remote: BASE.into(), name: "A".into() };
        let other = ObjectKey::new("shop", "other");
        fixture.ctx.entries.taken(&other, "other", &id, fixture.ctx.clock.now()).map(|taken| taken.by)
    }

    /// Whose entries they are does not depend on whether the credentials can be read now.
    #[tokio::test]
    async fn ledgers_hold_their_entries_without_credentials() {
        let fixture = Fixture::start().await;
        fixture.show_connection(connection("first", json!({"remote": BASE, "provider": "mixpeek", "incarnation": 2})));
        let key = fixture.show_vault_secret(holder(json!({})));
        index_all(&fixture.ctx);
        assert_eq!(taken(&fixture).as_deref(), Some("shop/holder"));
        // A pass that finds no credentials either leaves it so.
        let shown = fixture.ctx.vault_secrets.get(&key).unwrap();
        let mut state = object::ObjectState::default();
        let vs = state.newest(shown);
        let mut pass = pass::Pass::begin(&fixture.ctx, &key, &mut state, vs, fixture.ctx.clock.now());
        pass.match_rows();
        pass.register_claims();
        drop(pass);
        assert_eq!(taken(&fixture).as_deref(), Some("shop/holder"));
    }

    /// An object that is going and that somebody else's finalizer holds blocks nobody, but for what may still land.
    #[tokio::test]
    async fn an_object_that_is_done_with_holds_nothing() {
        let gone = json!({"deletionTimestamp": "2026-01-01T00:00:00Z", "finalizers": ["example.com/hold"]});
        let ours = json!({"deletionTimestamp": "2026-01-01T00:00:00Z", "finalizers": [crate::api::names::FINALIZER]});
        for (more, settled, holds) in [(&gone, true, false), (&gone, false, true), (&ours, true, true)] {
            let fixture = Fixture::start().await;
            let status = json!({"remote": BASE, "provider": "mixpeek", "incarnation": 2});
            fixture.show_connection(connection("first", status));
            let mut manifest = holder(more.clone());
            if !settled {
                let since = fixture.ctx.clock.now().to_string();
                manifest["status"]["entries"][0]["attempt"] = json!({"number": 1, "unsettledSince": since});
            }
            let key = fixture.show_vault_secret(manifest);
            index_all(&fixture.ctx);
            assert_eq!(taken(&fixture).is_some(), holds, "{more}, settled: {settled}");
            let shown = fixture.ctx.vault_secrets.get(&key).unwrap();
            if is_released(&shown) {
                reconcile::reconcile(&fixture.ctx, &key, shown).await;
                assert_eq!(taken(&fixture).is_some(), holds, "after a pass: {more}, settled: {settled}");
            }
        }
    }

    /// Rows of another remote behind the same connection say nothing of this one.
    #[tokio::test]
    async fn rows_of_an_earlier_remote_hold_nothing() {
        let fixture = Fixture::start().await;
        fixture.show_connection(connection("first", json!({"remote": BASE, "provider": "mixpeek", "incarnation": 3})));
        fixture.show_vault_secret(holder(json!({})));
        index_all(&fixture.ctx);
        assert_eq!(taken(&fixture), None);
    }
}
