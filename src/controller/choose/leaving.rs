//! Entries that no key of the spec wants any more.

use super::seen::{see, sighted_id, sighted_version, wait};
use super::{Choice, Due, departure};
use crate::controller::pass::Pass;
use crate::remote::DriftSignal;
use crate::sync::plan::{self, Adoption, Decision, Departure, Drift, Facts, Parting};
use crate::sync::transition::Write;

pub(super) fn choose_leaving(pass: &mut Pass<'_>, index: usize, choice: &mut Choice) {
    let row = pass.rows[index].clone();
    let deadline = pass.ctx.settings.finalizer_deadline;
    let Some(handle) = pass.handle_of(&row) else {
        if !row.holds() || departure(pass) == Departure::Retain && row.unsettled_since().is_none() {
            choice.forgotten.push(index);
            return;
        }
        // Nothing is known of its connection. A live object gives the row up after the deadline; one that is going does so
        // with its finalizer.
        let since = row.leaving_since.unwrap_or(pass.now);
        let until = plan::after(since, deadline);
        if until <= pass.now && !pass.is_deleting() {
            let text = format!("entry {:?} at {} is left: its connection is gone", row.remote_name, row.connection);
            choice.left(&row, text);
            choice.forgotten.push(index);
        } else {
            pass.look_again(until.max(plan::after(pass.now, std::time::Duration::from_secs(1))));
        }
        pass.rows[index].message = "its connection is gone".to_owned();
        return;
    };
    if handle.frozen().is_some() {
        // Perhaps it is not the remote that the entry is at: nothing that it shows is believed.
        pass.rows[index].message = "the connection is frozen".to_owned();
        return;
    }
    let (seen, snapshot) = see(pass, index, &handle);
    let memo = pass.state.memo(&row.connection, &row.remote_name, pass.read_at);
    let leaving_since = memo.leaving_since;
    let held = memo.backoff.waits_until(pass.now, handle.remote.recovered_at());
    let facts = Facts {
        row: Some(&row),
        wanted: None,
        seen: &seen,
        stamps: handle.remote.client().drift_signal() != DriftSignal::Presence,
        adoption: Adoption::Refuse,
        departure: departure(pass),
        drift: Drift::Reassert,
        asked: false,
        reasserted: 0,
        contradicted: false,
        update_refused: 0,
        now: pass.now,
        settle: handle.settle,
        skew: snapshot.as_ref().map_or(std::time::Duration::from_secs(30), |s| s.skew),
        leaving_since,
    };
    match plan::decide(&facts) {
        Decision::Delete => {
            if let Some(id) = sighted_id(&seen) {
                pass.rows[index].remote_id = Some(id);
            }
            if let Some(at) = held {
                pass.look_again(at);
                return;
            }
            choice.due.push(Due {
                fields: Vec::new(),
                // Where a version can be looked at once more before the delete, it has to be this one still.
                expected: sighted_version(&seen),
                note: None,
                row: index,
                write: Write::Delete,
                cause: None,
                value: None,
                fingerprint: None,
                source_version: None,
                handle,
            });
        }
        Decision::Wait { on, .. } => wait(pass, index, on, &handle),
        Decision::Forget(parting) => {
            let entry = format!("entry {:?} at {}", row.remote_name, row.connection);
            match parting {
                Parting::Clean => {}
                Parting::Stranger => {
                    choice.left(&row, format!("{entry} was made anew by somebody else; it is left as it is"));
                }
                Parting::Left => choice.left(&row, format!("{entry} is left: nothing shows whether it is ours")),
            }
            choice.forgotten.push(index);
        }
        _ => {}
    }
}
