//! What a row says when nothing is written.

use jiff::Timestamp;

use super::Choice;
use super::seen::wait;
use crate::api::Reason;
use crate::controller::connections::ConnectionHandle;
use crate::controller::desired::Issue;
use crate::controller::pass::Pass;
use crate::sync::ledger::{EntryState, Row};
use crate::sync::plan::{self, Awaiting, Decision, Seen, Sighting};
use crate::sync::transition;

#[allow(clippy::too_many_arguments)]
pub(super) fn settle_without_writing(
    pass: &mut Pass<'_>,
    index: usize,
    want: usize,
    decision: Decision,
    seen: &Seen,
    handle: &ConnectionHandle,
    choice: &mut Choice,
    oldest_reassertion: Option<Timestamp>,
) {
    let contested_until = oldest_reassertion.map(|at| plan::after(at, std::time::Duration::from_secs(3600)));
    let show = |pass: &mut Pass<'_>, state: EntryState, message: String| {
        pass.rows[index].state = state;
        pass.rows[index].message = message;
    };
    match decision {
        Decision::InSync => {
            let known = !matches!(seen, Seen::Nothing { .. });
            let row = &pass.rows[index];
            // What a list showed stays until another one shows otherwise.
            if known || !matches!(row.state, EntryState::Drifted | EntryState::Missing | EntryState::Unknown) {
                show(pass, EntryState::InSync, String::new());
            }
            if let (Some(age), true) = (handle.max_age, matches!(seen, Seen::Nothing { stale: false })) {
                let since = handle.remote.last_good().unwrap_or(pass.now);
                pass.look_again(plan::after(plan::after(since, age), std::time::Duration::from_millis(1)));
            }
        }
        Decision::Unknown => show(pass, EntryState::Unknown, String::new()),
        Decision::Wait { on, state } => {
            wait(pass, index, on, handle);
            if matches!(on, Awaiting::Snapshot { .. }) && state == EntryState::Pending {
                choice.undecided = true;
                if let Some(problem) = pass.route.problem.as_ref().map(|p| p.issue.clone()) {
                    pass.wants[want].issue.get_or_insert(problem);
                }
            }
            if pass.rows[index].state != EntryState::Failed || state == EntryState::Confirming {
                show(pass, state, String::new());
            }
        }
        Decision::Conflict => {
            transition::withdraw(&mut pass.rows[index]);
            let whose = match seen {
                Seen::Present(Sighting { another: Some(owner), .. }) if !owner.is_empty() => {
                    format!("belongs to VaultSecret {owner}")
                }
                _ => "is not ours".to_owned(),
            };
            let name = pass.entry(&pass.wants[want]).remote_name();
            let message = format!(
                "an entry of this name exists and {whose}; set adoptionPolicy: TakeOver or the annotation \
                 vaultsecret.dev/adopt={name} to take it over"
            );
            show(pass, EntryState::Conflict, message);
        }
        Decision::Drifted { contested } | Decision::Missing { contested } => {
            let drifted = matches!(decision, Decision::Drifted { .. });
            let done = if drifted { "changed" } else { "removed" };
            let message = if contested {
                if let Some(at) = contested_until {
                    pass.look_again(at);
                }
                format!(
                    "somebody else keeps writing: it was {done} again after it was put right five times within an hour"
                )
            } else {
                format!("somebody else {done} it, and driftPolicy is Report{}", who(handle, &pass.rows[index]))
            };
            show(pass, if drifted { EntryState::Drifted } else { EntryState::Missing }, message);
        }
        Decision::UpdateUnsupported => {
            let message = "the remote lists the entry and answers 404 to its update: this version of it cannot update. Delete the \
                           entry at the remote to have it created anew"
                .to_owned();
            let key = pass.entry(&pass.wants[want]).key.clone();
            let text = format!("key {key}, entry {:?} at {}: {message}", pass.rows[index].remote_name, handle.display);
            pass.wants[want].issue = Some(Issue::new(Reason::UpdateUnsupported, text));
            show(pass, EntryState::Failed, message);
        }
        Decision::Settle | Decision::Create(_) | Decision::Update(_) | Decision::Delete | Decision::Forget(_) => {}
    }
}

fn who(handle: &ConnectionHandle, row: &Row) -> String {
    let snapshot = handle.remote.snapshot();
    let listed = snapshot.as_ref().and_then(|s| s.entries.get(&row.remote_name));
    listed.and_then(|l| l.updated_by.as_deref()).map(|who| format!(" (by {who})")).unwrap_or_default()
}
