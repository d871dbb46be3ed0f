//! Generated values: what the escrow is asked for and what is told of it, and what it says of entries.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use jiff::Timestamp;

use super::{ReadError, Values, limited};
use crate::api::Reason;
use crate::api::vault_secret::DataEntry;
use crate::controller::choose::Due;
use crate::controller::connections::ConnectionHandle;
use crate::controller::desired::Issue;
use crate::controller::entries::EntryId;
use crate::controller::fields;
use crate::controller::keys::ConnectionKey;
use crate::controller::pass::{Pass, Want};
use crate::controller::refs::{Known, Ref};
use crate::kube_error::CALL_LIMIT;
use crate::source::api_error::{ApiError, ApiFailure};
use crate::source::encoding::encode;
use crate::source::escrow::{self, EntryId as EscrowEntry, EscrowError, WantedValue, escrow_name};
use crate::source::reference::{Namespaced, SourceError, SourceKind, SourceRef, read_all};
use crate::sync::ledger::{EntryState, Row};
use crate::sync::snapshot::counts;
use crate::sync::transition::Write;
use crate::value::SecretValue;

/// Whether a generated value is about to leave for an entry that the escrow does not name yet: a list has come, or it was taken over,
/// since the values were read. A later object of this name would not know it for its own.
#[must_use]
pub fn leaves_unnamed(pass: &Pass<'_>, values: &Values, due: &[Due]) -> bool {
    due.iter().filter(|one| one.write != Write::Delete).any(|one| {
        let row = &pass.rows[one.row];
        let entry = pass.vs.spec.data.iter().find(|e| Some(&e.key) == row.key.as_ref());
        let generated = entry.and_then(|e| e.value_from.as_ref()).is_some_and(|from| from.generate.is_some());
        generated && !values.named.iter().any(|e| (&*e.connection, &*e.remote_name) == row.id())
    })
}

pub(super) fn generated(entry: &DataEntry, escrow: Option<&escrow::Escrow>) -> Result<(SecretValue, String), Issue> {
    let Some(escrow) = escrow else {
        return Err(Issue::new(Reason::ValueRefused, format!("key {}: no value", entry.key)));
    };
    if let Some(error) = escrow.refused.get(&entry.key) {
        return Err(Issue::new(Reason::ValueRefused, format!("key {}: {error}", entry.key)));
    }
    match escrow.values.get(&entry.key) {
        Some(value) => Ok((value.clone(), escrow.resource_version.clone().unwrap_or_default())),
        None => Err(Issue::new(Reason::ValueRefused, format!("key {}: the escrow holds no value", entry.key))),
    }
}

pub(super) async fn ensure(pass: &Pass<'_>, wanted: &[WantedValue]) -> Result<Option<escrow::Escrow>, ReadError> {
    if wanted.is_empty() {
        return Ok(None);
    }
    let owner = escrow_owner(pass);
    let of = Ref::secret(&pass.key.namespace, &escrow_name(&pass.key.name));
    let before = pass.ctx.refs.known(&of);
    let ledger = Ledger(pass);
    let ensured = escrow::ensure(pass.ctx.client.clone(), &owner, wanted, &ledger, crate::clock::to_seconds(pass.now));
    let made = tokio::time::timeout(CALL_LIMIT, ensured)
        .await
        .map_err(|_| ReadError::Api("the API server did not answer in time".to_owned()))??;
    if let Some(version) = &made.resource_version {
        pass.ctx.refs.note(&of, &before, Known::At(version.as_str().into()));
    }
    Ok(Some(made))
}

fn escrow_owner(pass: &Pass<'_>) -> escrow::Owner {
    escrow::Owner {
        name: pass.key.name.to_string(),
        namespace: pass.key.namespace.to_string(),
        uid: pass.uid(),
        delete_policy: pass.vs.spec.deletion(),
    }
}

/// Rows are about to go out of the ledger, these and those that another remote behind their connection has put out already: what
/// the escrow says of their entries must not outlive them.
///
/// # Errors
/// When the API server fails: the rows stay then.
pub async fn give_up(pass: &Pass<'_>, going: impl Iterator<Item = usize>) -> Result<(), ReadError> {
    let there: HashSet<(&str, &str)> = pass.rows.iter().map(Row::id).collect();
    let before = ledger(pass).iter().map(Row::id).filter(|id| !there.contains(id));
    let going: Vec<(&str, &str)> = going.map(|row| pass.rows[row].id()).chain(before).collect();
    if going.is_empty() || pass.is_deleting() {
        // The index of an object that goes is the next one's, of the same name, to read.
        return Ok(());
    }
    let owner = escrow_owner(pass);
    let settled = |entry: &EscrowEntry| going.contains(&(&*entry.connection, &*entry.remote_name));
    match limited(escrow::give_up(pass.ctx.client.clone(), &owner, &settled)).await? {
        // A Secret that is not ours to read, or none of ours, makes nothing ours.
        Err(EscrowError::Api(error)) if error.failure == ApiFailure::Forbidden => Ok(()),
        Err(error @ (EscrowError::Api(_) | EscrowError::Contended { .. })) => Err(error.into()),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// The ledger as it was read.
fn ledger<'p>(pass: &'p Pass<'_>) -> &'p [Row] {
    pass.vs.status.as_ref().map(|status| status.entries.as_slice()).unwrap_or_default()
}

/// Whether an entry that was picked up with an escrow is in this object's own ledger by now, or gone.
fn is_settled(pass: &Pass<'_>, entry: &EscrowEntry) -> bool {
    let id = (&*entry.connection, &*entry.remote_name);
    if pass.rows.iter().chain(ledger(pass)).any(|row| row.id() == id && row.holds()) {
        return true;
    }
    let connection = ConnectionKey::parse(&entry.connection, &pass.key.namespace);
    let handle = connection.and_then(|key| pass.ctx.connections.get(&key)).filter(|c| c.frozen().is_none());
    handle.is_some_and(|handle| is_gone(pass, &handle, &entry.remote_name, pass.state.known_since))
}

/// Whether a list that counts for what was read at that time shows that there is no such entry.
fn is_gone(pass: &Pass<'_>, handle: &ConnectionHandle, name: &str, read_at: Option<Timestamp>) -> bool {
    let Some(read_at) = read_at else { return false };
    let id = EntryId { remote: Arc::clone(&handle.remote.base), name: name.into() };
    let trace = pass.ctx.entries.trace(&id, read_at);
    handle.remote.snapshot().is_some_and(|list| counts(list.span, &trace) && !list.entries.contains_key(name))
}

pub(super) fn wanted_values(pass: &Pass<'_>) -> Vec<WantedValue> {
    pass.wants
        .iter()
        .filter_map(|want| {
            let entry = pass.entry(want);
            let generate = entry.value_from.as_ref()?.generate.clone()?;
            let row = want.row.map(|i| &pass.rows[i]).filter(|_| want.issue.is_none());
            // A later VaultSecret of this name may take the entries named here for its own, so they are named no sooner than
            // it is known that nobody else has them.
            let entries = row
                .filter(|r| r.holds() || is_absent(pass, r))
                .map(|r| EscrowEntry { connection: r.connection.clone(), remote_name: r.remote_name.clone() });
            let entries = entries.into_iter().collect();
            Some(WantedValue { key: entry.key.clone(), generate, entries, arrived: has_arrived(pass, want) })
        })
        .collect()
}

/// Whether the remote has acknowledged the value that the escrow holds, and takes another one.
fn has_arrived(pass: &Pass<'_>, want: &Want) -> bool {
    if !pass.entry(want).pushes() {
        return true;
    }
    let ready = pass.route.problem.is_none() && want.issue.is_none();
    let row = want.row.map(|row| &pass.rows[row]).filter(|_| ready);
    row.is_some_and(|row| row.is_ours() && row.state == EntryState::InSync && !row.is_open() && !row.resend)
}

/// Whether a list that counts shows that there is no such entry.
fn is_absent(pass: &Pass<'_>, row: &Row) -> bool {
    let Some(handle) = pass.route.handle.as_ref().filter(|_| row.state != EntryState::Conflict) else { return false };
    let memo = pass.state.memos.get(&(row.connection.clone(), row.remote_name.clone()));
    is_gone(pass, handle, &row.remote_name, memo.map(|memo| memo.read_at))
}

/// What the ledger, the list and the target say of an escrow.
struct Ledger<'p>(&'p Pass<'p>);

impl escrow::Witness for Ledger<'_> {
    fn is_settled(&self, entry: &EscrowEntry) -> bool {
        is_settled(self.0, entry)
    }

    /// Generated values that the target still shows, of an escrow that was deleted or edited by hand: only those whose fingerprint
    /// is the ledger's.
    async fn salvage(&self, lost: &[String]) -> Result<BTreeMap<String, SecretValue>, ApiError> {
        let pass = self.0;
        let mut found = BTreeMap::new();
        let name = pass.vs.spec.target_name(&pass.key.name).to_owned();
        let pushed_before = lost.iter().filter_map(|key| {
            let row = pass.rows.iter().find(|r| r.key.as_ref() == Some(key) && r.fingerprint.is_some())?;
            let entry = pass.vs.spec.data.iter().find(|e| e.key == *key)?;
            Some((key, row, entry))
        });
        let candidates: Vec<(&String, &Row, &DataEntry)> = pushed_before.collect();
        if candidates.is_empty() {
            return Ok(found);
        }
        let namespaced = Namespaced::new(pass.ctx.client.clone(), &*pass.key.namespace);
        let refs: Vec<SourceRef> = candidates
            .iter()
            .map(|(key, _, _)| SourceRef { kind: SourceKind::Secret, name: name.clone(), key: (*key).clone() })
            .collect();
        let read = read_all(&namespaced, refs).await;
        for (reference, source) in read.iter() {
            let Some((key, row, entry)) = candidates.iter().find(|(k, _, _)| **k == reference.key) else { continue };
            match source {
                Ok(source) => {
                    let Ok(text) = encode(source.value.expose(), entry.encoding()) else { continue };
                    // Of an entry with further fields nothing can be said from one of them.
                    let text = pass
                        .route
                        .handle
                        .as_ref()
                        .map_or(text.clone(), |h| fields::text_of_one(h.rules.provider(), entry, &text));
                    let recorded = row.fingerprint.as_deref();
                    let print = pass.ctx.keys.fingerprint_like(recorded, &pass.uid(), &row.remote_name, text.expose());
                    if recorded == Some(&print) {
                        found.insert((*key).clone(), source.value.clone());
                    }
                }
                // A new value is made only where it is known that there is no old one.
                Err(SourceError::Api(error) | SourceError::Forbidden { error, .. }) => return Err(error.clone()),
                Err(_) => {}
            }
        }
        Ok(found)
    }
}
