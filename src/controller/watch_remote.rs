//! Runs the prober of a remote, and judges each list before anybody sees it: who is to be woken, and whether so much changed
//! at once that nothing more may be written.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, PoisonError};

use super::connection::{Shown, new_token};
use super::connections::{ConnectionHandle, FreezeNote};
use super::context::Context;
use super::entries::{Claim, Expects};
use super::prober::{Event, RemoteHandle, Snapshot};
use crate::remote::lane::ObjectKey;
use crate::sync::conflict::Hold;
use crate::sync::freeze::Tally;
use crate::sync::snapshot::{Trace, counts};

/// Starts the prober of a remote; it ends with the process.
pub fn spawn(ctx: &Arc<Context>, remote: &Arc<RemoteHandle>) {
    let (ctx, remote) = (Arc::clone(ctx), Arc::clone(remote));
    tokio::spawn(async move {
        let seen = Arc::clone(&remote);
        remote
            .run(move |event| match event {
                Event::Listed(snapshot) => judge(&ctx, &seen, &snapshot),
                Event::Changed => changed(&ctx, &seen),
            })
            .await;
    });
}

/// Health changed: the connections say so, and objects with something to be done are looked at again.
fn changed(ctx: &Context, remote: &RemoteHandle) {
    for connection in ctx.connections.through(remote) {
        ctx.wake.connection(connection.key.clone());
    }
    let mut wake: HashSet<ObjectKey> = HashSet::new();
    ctx.entries.for_each(&remote.base, |key, claim, _| {
        if claim.expects.is_none() || claim.expects == Some(Expects::Any) {
            wake.insert(key.clone());
        }
    });
    for key in wake {
        ctx.wake.object(key);
    }
}

/// What a list shows of one claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shows {
    AsExpected,
    Missing,
    Moved,
    Other,
}

fn compare(snapshot: &Snapshot, claim: &Claim) -> Option<Shows> {
    let listed = snapshot.entries.get(&*claim.entry.name);
    let version = listed.and_then(|l| l.version.as_deref());
    let moved = |ours: &Option<Arc<str>>| matches!((ours.as_deref(), version), (Some(a), Some(b)) if a != b);
    Some(match (claim.expects.as_ref()?, listed) {
        (Expects::Present(_), None) => Shows::Missing,
        (Expects::Present(ours), Some(_)) if moved(ours) => Shows::Moved,
        (Expects::Present(_), Some(_)) => Shows::AsExpected,
        (Expects::Moved(ours), Some(_)) if moved(ours) => Shows::AsExpected,
        (Expects::Absent, None) | (Expects::Foreign, Some(_)) => Shows::AsExpected,
        (Expects::Moved(_) | Expects::Absent | Expects::Foreign | Expects::Any, _) => Shows::Other,
    })
}

/// Judges a list and makes it visible.
fn judge(ctx: &Context, remote: &RemoteHandle, snapshot: &Arc<Snapshot>) {
    let mut wake: HashSet<ObjectKey> = HashSet::new();
    let mut tallies: HashMap<(String, Arc<str>), Tally> = HashMap::new();
    ctx.entries.for_each(&remote.base, |key, claim, trace| {
        let trace = Trace { read_at: Some(claim.read_at), ..trace.clone() };
        if claim.claimant.hold == Hold::Ours {
            let namespace = if claim.connection.starts_with("ClusterVaultConnection/") { "" } else { &key.namespace };
            let tally = tallies.entry((namespace.to_owned(), Arc::clone(&claim.connection))).or_default();
            tally.own += 1;
            if counts(snapshot.span, &trace) {
                match compare(snapshot, claim) {
                    Some(Shows::Missing) => tally.missing += 1,
                    Some(Shows::Moved) => tally.moved += 1,
                    _ => {}
                }
            }
        }
        if counts(snapshot.span, &trace) && compare(snapshot, claim).is_some_and(|shows| shows != Shows::AsExpected) {
            wake.insert(key.clone());
        }
    });
    for connection in ctx.connections.through(remote) {
        let of = (connection.key.object.namespace.to_string(), Arc::clone(&connection.display));
        if let Some(tally) = tallies.get(&of).filter(|t| t.diverged()) {
            freeze(&connection, tally);
            ctx.wake.connection(connection.key.clone());
        } else if counts_others(ctx, &connection) {
            ctx.wake.connection(connection.key.clone());
        }
    }
    wake.extend(remote.publish(snapshot));
    for key in wake {
        ctx.wake.object(key);
    }
}

/// Whether the status names another number of entries than there is. Looked at with each list: the number is worth no write of
/// its own whenever an entry comes or goes.
fn counts_others(ctx: &Context, connection: &ConnectionHandle) -> bool {
    let shown = Shown::get(ctx, &connection.key).and_then(|shown| shown.status.entries);
    shown.is_some_and(|shown| usize::try_from(shown).ok() != Some(super::rows_of(ctx, &connection.key)))
}

/// Nothing more is written through the connection, from this moment on.
fn freeze(connection: &ConnectionHandle, tally: &Tally) {
    let mut note = connection.freeze.lock().unwrap_or_else(PoisonError::into_inner);
    if note.is_none() {
        let reason = format!(
            "of {} entries that are ours, {} are missing and {} were changed at once; perhaps the credential opens another account",
            tally.own, tally.missing, tally.moved
        );
        tracing::warn!(connection = %connection.key.object, %reason, "frozen");
        *note = Some(FreezeNote { token: new_token(), reason });
    }
}
