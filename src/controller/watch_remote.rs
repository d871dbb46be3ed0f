//! Runs the prober of a remote, and judges each list before anybody sees it: who is to be woken, and whether so much changed
//! at once that nothing more may be written.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, PoisonError};

use super::approval::new_token;
use super::connections::{ConnectionHandle, FreezeNote};
use super::context::Context;
use super::entries::{Claim, Expects};
use super::keys::ConnectionKey;
use super::prober::{Event, RemoteHandle, Snapshot, Users};
use crate::remote::lane::ObjectKey;
use crate::sync::conflict::Hold;
use crate::sync::freeze::Tally;
use crate::sync::snapshot::{Trace, counts, lags};

/// Starts the prober of a remote, once; it ends with the process, or when no connection goes to the remote any more.
pub fn start(ctx: &Arc<Context>, remote: &Arc<RemoteHandle>) {
    if remote.started.swap(true, std::sync::atomic::Ordering::SeqCst) {
        return;
    }
    let (ctx, remote) = (Arc::clone(ctx), Arc::clone(remote));
    let (looker, reader) = (Arc::clone(&ctx), Arc::clone(&remote));
    tokio::spawn(async move {
        let of = Arc::clone(&reader);
        reader.watch_sources(move |event| heard(&looker, &of, event)).await;
    });
    tokio::spawn(async move {
        let seen = Arc::clone(&remote);
        let (asked, of) = (Arc::clone(&ctx), Arc::clone(&remote));
        let (all, base) = (Arc::clone(&ctx), Arc::clone(&remote.base));
        let named = Arc::new(move || {
            let mut names = HashSet::new();
            all.entries.for_each(&base, |_, claim, _| {
                names.insert(claim.entry.name.to_string());
            });
            names
        });
        let (holders, base) = (Arc::clone(&ctx), Arc::clone(&remote.base));
        let users = Users {
            named,
            holds: Box::new(move || holders.entries.any_at_stake(&base)),
            reads_only: Box::new(move || super::readable::only_reads(&asked, &of)),
        };
        remote.run(users, move |event| heard(&ctx, &seen, event)).await;
    });
}

fn heard(ctx: &Context, remote: &RemoteHandle, event: Event) {
    match event {
        Event::Listed(snapshot) => {
            ctx.metrics.probe(true);
            judge(ctx, remote, &snapshot);
        }
        Event::Failed => ctx.metrics.probe(false),
        Event::Changed => changed(ctx, remote),
        Event::Sources(readers) => readers.into_iter().for_each(|key| ctx.wake.object(key)),
    }
}

/// Health changed: the connections say so, and objects with something to be done are looked at again.
fn changed(ctx: &Context, remote: &RemoteHandle) {
    let connections = ctx.connections.through(remote);
    for connection in &connections {
        ctx.wake.connection(connection.key.clone());
    }
    let mut wake = remote.admit();
    wake.extend(remote.readers_to_tell());
    let age = connections.iter().filter_map(|c| c.max_age).min();
    let stale = age.is_some_and(|age| remote.grows_stale(age));
    ctx.entries.for_each(&remote.base, |key, claim, _| {
        if stale || matches!(claim.expects, None | Some(Expects::Any | Expects::Listed)) {
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
    if snapshot.unread.contains(&*claim.entry.name) {
        return None;
    }
    let listed = snapshot.entries.get(&*claim.entry.name);
    let version = listed.and_then(|l| l.version.as_deref());
    let began = snapshot.span.began;
    let moved = |ours: &Option<Arc<str>>| matches!((ours.as_deref(), version), (Some(a), Some(b)) if a != b && !lags(began, b, a));
    Some(match (claim.expects.as_ref()?, listed) {
        (Expects::Present(_) | Expects::Listed, None) => Shows::Missing,
        (Expects::Present(ours), Some(_)) if moved(ours) => Shows::Moved,
        (Expects::Present(_) | Expects::Listed, Some(_)) => Shows::AsExpected,
        (Expects::Moved(ours), Some(_)) if moved(ours) => Shows::AsExpected,
        (Expects::Absent, None) | (Expects::Foreign, Some(_)) => Shows::AsExpected,
        (Expects::Moved(_) | Expects::Absent | Expects::Foreign | Expects::Any, _) => Shows::Other,
    })
}

/// Judges the last list of a remote for a connection that goes to it from now on.
pub fn judge_for(ctx: &Context, connection: &ConnectionHandle) {
    let Some(snapshot) = connection.remote.snapshot().filter(|_| connection.frozen().is_none()) else { return };
    let mut tally = Tally::default();
    let mut excused = connection.remote.excused.lock().unwrap_or_else(PoisonError::into_inner);
    ctx.entries.for_each(&connection.remote.base, |key, claim, trace| {
        let here = connection.key.object.namespace.is_empty() || connection.key.object.namespace == key.namespace;
        if here && claim.connection == connection.display {
            count(&mut tally, &snapshot, claim, trace, &mut excused);
        }
    });
    if tally.diverged() {
        freeze(connection, &tally);
        ctx.wake.connection(connection.key.clone());
    }
}

/// Connections and names of entries that are off and known to be.
type Excused = HashSet<(Arc<str>, Arc<str>)>;

/// Counts one claim in.
fn count(tally: &mut Tally, snapshot: &Snapshot, claim: &Claim, trace: &Trace, excused: &mut Excused) {
    if claim.claimant.hold != Hold::Ours {
        return;
    }
    let trace = Trace { read_at: Some(claim.read_at), ..trace.clone() };
    if counts(snapshot.span, &trace) {
        tally.own += 1;
        let known = (Arc::clone(&claim.connection), Arc::clone(&claim.entry.name));
        match compare(snapshot, claim) {
            Some(Shows::Missing | Shows::Moved) if excused.contains(&known) => {}
            Some(Shows::AsExpected) => drop(excused.remove(&known)),
            Some(Shows::Missing) => tally.missing += 1,
            Some(Shows::Moved) => tally.moved += 1,
            _ => {}
        }
    }
}

/// Judges a list and makes it visible.
fn judge(ctx: &Context, remote: &RemoteHandle, snapshot: &Arc<Snapshot>) {
    let mut excused = remote.excused.lock().unwrap_or_else(PoisonError::into_inner);
    let mut wake: HashSet<ObjectKey> = HashSet::new();
    let mut tallies: HashMap<(String, Arc<str>), Tally> = HashMap::new();
    ctx.entries.for_each(&remote.base, |key, claim, trace| {
        let namespace = if claim.connection.starts_with("ClusterVaultConnection/") { "" } else { &key.namespace };
        let tally = tallies.entry((namespace.to_owned(), Arc::clone(&claim.connection))).or_default();
        count(tally, snapshot, claim, trace, &mut excused);
        let trace = Trace { read_at: Some(claim.read_at), ..trace.clone() };
        if counts(snapshot.span, &trace) && compare(snapshot, claim).is_some_and(|shows| shows != Shows::AsExpected) {
            wake.insert(key.clone());
        }
    });
    drop(excused);
    for connection in ctx.connections.through(remote) {
        let of = (connection.key.object.namespace.to_string(), Arc::clone(&connection.display));
        if let Some(tally) = tallies.get(&of).filter(|t| t.diverged()) {
            freeze(&connection, tally);
            ctx.wake.connection(connection.key.clone());
        }
    }
    wake.extend(remote.publish(snapshot));
    ctx.entries.prune(ctx.clock.now(), &remote.base, oldest_list(ctx, remote));
    for key in wake {
        ctx.wake.object(key);
    }
}

/// When the oldest list began that somebody may look at: each credential of a remote has lists of its own.
fn oldest_list(ctx: &Context, remote: &RemoteHandle) -> Option<jiff::Timestamp> {
    let all = ctx.remotes();
    let others = all.values().map(|other| &**other).filter(|other| other.base == remote.base);
    others.chain([remote]).filter_map(RemoteHandle::list_began).min()
}

/// Somebody approved: what is off now does not freeze again before it has been put right.
pub fn excuse(ctx: &Context, connection: &ConnectionHandle) {
    let Some(snapshot) = connection.remote.snapshot() else { return };
    let mut excused = connection.remote.excused.lock().unwrap_or_else(PoisonError::into_inner);
    ctx.entries.for_each(&connection.remote.base, |_, claim, _| {
        let off = matches!(compare(&snapshot, claim), Some(Shows::Missing | Shows::Moved));
        if off && claim.connection == connection.display {
            excused.insert((Arc::clone(&claim.connection), Arc::clone(&claim.entry.name)));
        }
    });
}

/// Ends the probers of remotes that no connection goes to any more, such as those of a key that was rotated. In the background:
/// a connection that is being read may be about to use one.
pub fn release_unused(ctx: &Arc<Context>) {
    let ctx = Arc::clone(ctx);
    tokio::spawn(async move {
        let _alone = ctx.wiring.write().await;
        release(&ctx);
    });
}

fn release(ctx: &Context) {
    let rows_of: HashSet<ConnectionKey> = ctx
        .vault_secrets
        .all()
        .iter()
        .flat_map(|vs| {
            let namespace = vs.metadata.namespace.clone().unwrap_or_default();
            let rows = vs.status.iter().flat_map(|s| &s.entries);
            rows.filter_map(|row| ConnectionKey::parse(&row.connection, &namespace)).collect::<Vec<_>>()
        })
        .collect();
    let used = ctx.connections.remotes_in_use(|key| rows_of.contains(key));
    ctx.remotes().retain(|_, remote| {
        let keep = used.iter().any(|u| Arc::ptr_eq(u, remote));
        if !keep {
            remote.end.cancel();
        }
        keep
    });
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use std::time::Duration;

    use jiff::Timestamp;

    use super::*;
    use crate::controller::entries::EntryId;
    use crate::controller::pass::expects;
    use crate::remote::{DriftSignal, Listed};
    use crate::sync::conflict::Claimant;
    use crate::sync::ledger::{Attempt, EntryState, Row};
    use crate::sync::snapshot::Span;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn row(state: EntryState, attempt: Attempt) -> Row {
        let ours = Row { key: Some("A".into()), fingerprint: Some("k1:x".into()), ..Row::default() };
        Row { state, attempt: Some(attempt), ..ours }
    }

    /// So many entries of that row, judged by a list that holds `there` of them.
    fn tally(row: &Row, entries: usize, there: usize, signal: DriftSignal) -> Tally {
        let name = |n: usize| format!("entry-{n}");
        let listed = |n: usize| Listed {
            owner: None,
            name: name(n),
            id: None,
            version: Some("of somebody".into()),
            created: None,
            created_by: None,
            updated_by: None,
        };
        let snapshot = Snapshot {
            unread: HashSet::new(),
            span: Span { began: at(100), ended: at(101) },
            entries: (0..there).map(|n| (name(n), listed(n))).collect(),
            skew: Duration::ZERO,
        };
        let mut tally = Tally::default();
        for n in 0..entries {
            let claimant =
                Claimant { created: None, uid: "u".into(), name: "ns/app".into(), hold: Hold::Ours, prefix: 0 };
            let claim = Claim {
                entry: EntryId { remote: "remote".into(), name: name(n).into() },
                claimant,
                connection: "VaultConnection/c".into(),
                expects: expects(row, signal),
                read_at: at(50),
                leaving: false,
                lingers_until: None,
            };
            count(&mut tally, &snapshot, &claim, &Trace::default(), &mut HashSet::new());
        }
        tally
    }

    /// Many requests have timed out, and then the credential opens an empty tenant: what may still land explains no absence.
    #[test]
    fn entries_that_are_not_settled_count_as_missing() {
        let unsettled = Attempt { number: 2, unsettled_since: Some(at(60)), ..Attempt::default() };
        let open = Attempt { number: 2, open: true, ..Attempt::default() };
        let calm = Attempt { number: 2, ..Attempt::default() };
        let busy = [
            row(EntryState::Failed, unsettled.clone()),
            row(EntryState::Confirming, unsettled.clone()),
            row(EntryState::Pushing, open),
            row(EntryState::Queued, calm.clone()),
            row(EntryState::Pending, calm.clone()),
            row(EntryState::Refused, calm),
        ];
        for signal in [DriftSignal::Timestamp, DriftSignal::Presence] {
            for row in &busy {
                assert!(tally(row, 25, 0, signal).diverged(), "{row:?}");
                // Changed they may be by ourselves.
                assert_eq!(tally(row, 25, 25, signal), Tally { own: 25, missing: 0, moved: 0 }, "{row:?}");
            }
        }
        // What leaves is deleted by ourselves.
        let leaving = Row { key: None, ..row(EntryState::Leaving, unsettled) };
        assert!(!tally(&leaving, 25, 0, DriftSignal::Timestamp).diverged());
    }
}
