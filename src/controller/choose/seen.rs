//! What a list shows of an entry, and what is waited for when none shows it.

use std::sync::Arc;

use jiff::Timestamp;

use crate::controller::connections::ConnectionHandle;
use crate::controller::entries::EntryId;
use crate::controller::pass::Pass;
use crate::controller::prober::Snapshot;
use crate::remote::Listed;
use crate::sync::plan::{self, Awaiting, Seen, Sighting};
use crate::sync::snapshot::counts;

/// What a list shows of an entry, if it counts for its row.
pub(super) fn see(pass: &mut Pass<'_>, row: usize, handle: &ConnectionHandle) -> (Seen, Option<Arc<Snapshot>>) {
    let uid = pass.uid();
    let row = &pass.rows[row];
    let id = EntryId { remote: Arc::clone(&handle.remote.base), name: row.remote_name.as_str().into() };
    let read_at = pass.state.memo(&row.connection, &row.remote_name, pass.read_at).read_at;
    let trace = pass.ctx.entries.trace(&id, read_at);
    let snapshot = handle.remote.snapshot();
    let too_old = |since: Option<Timestamp>| {
        handle.max_age.is_some_and(|age| since.is_some_and(|at| plan::after(at, age) < pass.now))
    };
    match snapshot {
        Some(snapshot)
            if counts(snapshot.span, &trace)
                && !too_old(Some(snapshot.span.ended))
                && !snapshot.unread.contains(&row.remote_name) =>
        {
            let seen = match snapshot.entries.get(&row.remote_name) {
                None => Seen::Absent { began: snapshot.span.began },
                Some(listed) => Seen::Present(sighting(&snapshot, listed, handle, &uid)),
            };
            (seen, Some(snapshot))
        }
        other => {
            let since = handle.remote.last_good().or(Some(read_at));
            (Seen::Nothing { stale: too_old(since) }, other)
        }
    }
}

fn sighting(snapshot: &Snapshot, listed: &Listed, handle: &ConnectionHandle, uid: &str) -> Sighting {
    // What a mark says is worth more than who made it: every VaultSecret here writes under the same name.
    let marked = listed.owner.as_ref().map(|owner| owner.uid == uid);
    Sighting {
        began: snapshot.span.began,
        id: listed.id.clone(),
        version: listed.version.clone(),
        created: listed.created,
        by_us: marked.or_else(|| handle.remote.is_us(listed.created_by.as_deref())),
        another: listed.owner.as_ref().filter(|owner| owner.uid != uid).map(|owner| owner.name.clone()),
    }
}

pub(super) fn wait(pass: &mut Pass<'_>, index: usize, on: Awaiting, handle: &ConnectionHandle) {
    match on {
        Awaiting::Until(at) => pass.look_again(plan::after(at, std::time::Duration::from_millis(1))),
        Awaiting::Snapshot { not_before } => {
            let row = &pass.rows[index];
            let id = EntryId { remote: Arc::clone(&handle.remote.base), name: row.remote_name.as_str().into() };
            let read_at = pass.state.memo(&row.connection, &row.remote_name, pass.read_at).read_at;
            let trace = pass.ctx.entries.trace(&id, read_at);
            let not_before = not_before.max(Some(read_at)).max(trace.last_write_over).unwrap_or(pass.now);
            handle.remote.want_snapshot(pass.key, not_before);
        }
    }
}

pub(super) fn sighted_version(seen: &Seen) -> Option<String> {
    match seen {
        Seen::Present(sighting) => sighting.version.clone(),
        _ => None,
    }
}

pub(super) fn sighted_id(seen: &Seen) -> Option<String> {
    match seen {
        Seen::Present(sighting) => sighting.id.clone(),
        _ => None,
    }
}
