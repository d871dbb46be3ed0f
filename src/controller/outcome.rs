//! The end of a reconcile: ledger and conditions are written, the object is released, and events tell of transitions.

use std::collections::{BTreeSet, HashSet};

use kube::ResourceExt as _;

use super::deadline;
use super::desired::Issue;
use super::keys::ConnectionKey;
use super::object::is_on_its_way;
use super::pass::Pass;
use super::project::Projection;
use super::reconcile::ReconcileError;
use super::refs::{Known, Ref};
use super::report::{self, Findings, Kept};
use super::save::SaveError;
use crate::api::Reason;
use crate::api::vault_secret::{CreationPolicy, TargetStatus, VaultSecretStatus, When};
use crate::remote::DriftSignal;
use crate::sync::conflict::{Claimant, Hold};
use crate::sync::ledger::{EntryState, Row};
use crate::sync::plan::after;

/// Writes the outcome: ledger, counts, conditions. Returns whether the object is done with for good.
pub async fn finish(
    pass: &mut Pass<'_>,
    base: VaultSecretStatus,
    projection: &Projection,
) -> Result<bool, ReconcileError> {
    // What the intent turned to False has not turned again when it is False for another reason now.
    let base = VaultSecretStatus { conditions: pass.old_status().conditions, ..base };
    if pass.is_deleting() {
        return finish_deletion(pass, base).await;
    }
    pass.doubt_unverified();
    let findings = findings(pass, projection);
    let mut status = VaultSecretStatus { entries: pass.rows.clone(), ..base };
    if let Some(target) = &projection.status {
        status.target = Some(target.clone()).filter(|t| !t.name.is_empty());
    }
    let generation = pass.vs.metadata.generation;
    report::conditions(&mut status, &findings, generation, now_in_seconds(pass));
    save_or_keep(pass, status).await?;
    Ok(false)
}

/// The status with the intent: the ledger as it is before the requests leave, and conditions that say so.
pub fn intent_status(pass: &mut Pass<'_>, base: &VaultSecretStatus) -> VaultSecretStatus {
    if pass.is_deleting() {
        return VaultSecretStatus { entries: pass.rows.clone(), ..base.clone() };
    }
    pass.doubt_unverified();
    let projection =
        Projection { done: pass.target_is_in_place(), issue: pass.target_refusal(), ..Projection::default() };
    let findings = findings(pass, &projection);
    let mut status = VaultSecretStatus { entries: pass.rows.clone(), ..base.clone() };
    let generation = pass.vs.metadata.generation;
    report::conditions(&mut status, &findings, generation, now_in_seconds(pass));
    status
}

async fn save_or_keep(pass: &mut Pass<'_>, status: VaultSecretStatus) -> Result<(), ReconcileError> {
    note_transition(pass, &status);
    match pass.save_outcome(status).await {
        Ok(()) => {
            pass.state.unsaved.clear();
            pass.state.dropped.clear();
            Ok(())
        }
        Err(error) => {
            keep_outcomes(pass);
            pass.notes.clear();
            if error == SaveError::Gone {
                hold_entries(pass);
            }
            Err(error.into())
        }
    }
}

/// Outcomes that the ledger does not have are kept for the next pass.
pub fn keep_outcomes(pass: &mut Pass<'_>) {
    pass.state.unsaved = pass.rows.iter().filter(|r| r.attempt.is_some()).cloned().collect();
}

/// The object went while a write of its was under way: what may still land is held against others until it cannot.
fn hold_entries(pass: &Pass<'_>) {
    let uid = pass.uid();
    for row in &pass.rows {
        let (Some(since), Some(handle), Some(id)) = (row.unsettled_since(), pass.handle_of(row), pass.entry_id(row))
        else {
            continue;
        };
        let claimant =
            Claimant { created: None, uid: uid.clone(), name: pass.key.to_string(), hold: Hold::Claimed, prefix: 0 };
        pass.ctx.entries.haunt(&id, claimant, after(since, handle.settle));
    }
}

/// Conditions have whole seconds, as everywhere in Kubernetes.
fn now_in_seconds(pass: &Pass<'_>) -> jiff::Timestamp {
    let now = pass.ctx.clock.now();
    jiff::Timestamp::from_second(now.as_second()).unwrap_or(now)
}

fn findings(pass: &Pass<'_>, projection: &Projection) -> Findings {
    let mut push = Vec::new();
    let suspended = pass.vs.spec.suspended();
    if suspended {
        push.push(Issue::new(Reason::Suspended, "spec.suspend is set: nothing is written"));
    }
    if let Some(problem) = pass.route.problem.as_ref().filter(|p| p.always && !suspended) {
        push.push(problem.issue.clone());
    }
    push.extend(pass.sources.issues.iter().cloned());
    let mut unknown = false;
    let mut told = HashSet::new();
    // Several keys can be fields of one entry.
    let mut together = 0;
    for want in &pass.wants {
        let first = want.row.is_none_or(|row| told.insert(row));
        together += usize::from(!first);
        let row = want.row.map(|r| &pass.rows[r]).filter(|_| first);
        if let Some(issue) = &want.issue {
            push.push(issue.clone());
        } else if let Some(issue) = row.and_then(report::issue_of) {
            unknown |= row.is_some_and(|r| r.state == EntryState::Unknown);
            push.push(issue);
        } else if pass.entry(want).pushes() && want.row.is_none() && pass.route.problem.is_none() {
            push.push(Issue::new(Reason::Queued, format!("key {}: not pushed yet", pass.entry(want).key)));
        }
    }
    let leaving = pass.rows.iter().filter(|r| r.key.is_none() && !r.message.is_empty());
    for row in leaving {
        let text = format!("entry {:?} at {} is leaving: {}", row.remote_name, row.connection, row.message);
        push.push(Issue::new(Reason::Deleting, text));
    }
    let presence =
        pass.route.handle.as_ref().is_some_and(|h| h.remote.client().drift_signal() == DriftSignal::Presence);
    let mut total = pass.vs.spec.data.iter().filter(|e| e.pushes()).count() - together;
    if pass.sources.refused {
        total = total.max(pass.rows.iter().filter(|row| row.key.is_some()).count());
    }
    Findings {
        push,
        target: projection.issue.clone(),
        projected: projection.done,
        kept: kept(pass),
        at_once: pass.vs.spec.when() == When::Immediately,
        no_target: pass.vs.spec.creation_policy() == CreationPolicy::None,
        presence,
        connection: pass.vs.spec.connection_ref.display(),
        total: u32::try_from(total).unwrap_or(u32::MAX),
        unknown,
    }
}

/// What the target holds as it is.
fn kept(pass: &Pass<'_>) -> Kept {
    let recorded = pass.vs.status.as_ref().and_then(|s| s.target.as_ref()).filter(|t| !t.name.is_empty());
    let there = |t: &&TargetStatus| pass.ctx.refs.known(&Ref::secret(&pass.key.namespace, &t.name)) != Known::Gone;
    match recorded.filter(there) {
        Some(_) => Kept::LastSet,
        None if pass.vs.spec.creation_policy() == CreationPolicy::Merge => Kept::NoKeys,
        None => Kept::NoSecret,
    }
}

/// The object is going: its entries are being deleted, or it is released.
async fn finish_deletion(pass: &mut Pass<'_>, base: VaultSecretStatus) -> Result<bool, ReconcileError> {
    let left: Vec<String> = pass.rows.iter().map(|r| format!("{:?} at {}", r.remote_name, r.connection)).collect();
    let deadline = if left.is_empty() { pass.now } else { deadline_of(pass).await };
    if pass.now < deadline {
        pass.look_again(deadline);
        let mut status = VaultSecretStatus { entries: pass.rows.clone(), ..base };
        let text = format!("{} still to be deleted at the remote: {}", left.len(), left.join(", "));
        let why: Vec<&str> = pass.rows.iter().map(|r| r.message.as_str()).filter(|m| !m.is_empty()).collect();
        let text = if why.is_empty() { text } else { format!("{text} ({})", why.join("; ")) };
        let findings = Findings {
            push: vec![Issue::new(Reason::Deleting, text)],
            projected: true,
            connection: pass.vs.spec.connection_ref.display(),
            total: status.total_entries.unwrap_or_default(),
            ..Findings::default()
        };
        let generation = pass.vs.metadata.generation;
        report::conditions(&mut status, &findings, generation, now_in_seconds(pass));
        save_or_keep(pass, status).await?;
        return Ok(false);
    }
    if !left.is_empty() {
        pass.warn(
            "CleanupAbandoned",
            format!("the deadline for deleting at the remote has passed; left there: {}", left.join(", ")),
        );
        let key = |row: &Row| ConnectionKey::parse(&row.connection, &pass.key.namespace);
        let connections: BTreeSet<String> = pass.rows.iter().filter_map(key).map(|key| key.metric_name()).collect();
        connections.iter().for_each(|connection| pass.ctx.metrics.cleanup_abandoned(connection));
    }
    pass.withdraw_merged().await;
    // What is left is told before nothing knows of it any more.
    publish(pass).await;
    pass.set_finalizer(false).await?;
    Ok(true)
}

/// When what is left is given up.
async fn deadline_of(pass: &mut Pass<'_>) -> jiff::Timestamp {
    let deleted = pass.vs.metadata.deletion_timestamp.as_ref().map_or(pass.now, |t| t.0);
    let first_seen = *pass.state.going_since.get_or_insert(pass.now);
    let ahead = deadline::server_ahead(pass.ctx).await;
    deadline::deadline(deleted, pass.ctx.settings.finalizer_deadline, ahead, first_seen)
}

/// An event where `Ready` became something that a person should know of, and where that ended.
fn note_transition(pass: &mut Pass<'_>, new: &VaultSecretStatus) {
    let Some(ready) = crate::api::condition::find(&new.conditions, "Ready") else { return };
    let (status, reason, message) = (ready.status.clone(), ready.reason.clone(), ready.message.clone());
    // What was told last, and not what was written last: between two failures the status says Pushing, and an intent may have been
    // written with the reason already.
    if is_on_its_way(&reason) || pass.state.announced.as_ref() == Some(&reason) {
        return;
    }
    let before = pass.state.announced.replace(reason.clone());
    let Some(known) = Reason::ALL.iter().find(|r| r.as_str() == reason) else { return };
    if status == "True" {
        // The first sync is what everybody expects: it is worth no event. The end of trouble is.
        if before.is_some() {
            pass.notes.push(super::pass::Note { warning: false, reason: known.as_str(), text: message, entry: None });
        }
    } else {
        pass.notes.push(super::pass::Note {
            warning: *known != Reason::Suspended,
            reason: known.as_str(),
            text: message,
            entry: None,
        });
    }
}

/// Publishes what the pass has noted.
pub async fn publish(pass: &mut Pass<'_>) {
    use kube::Resource as _;
    let notes = std::mem::take(&mut pass.notes);
    if notes.is_empty() {
        return;
    }
    let about = pass.vs.object_ref(&());
    for note in notes {
        tracing::info!(
            namespace = %pass.key.namespace, name = %pass.vs.name_any(), reason = note.reason, text = %note.text, "event"
        );
        // Within six minutes, events with one reason about one place are one, which keeps its first note.
        let place = note.entry.map(|entry| format!("status.entries{{{entry}}}"));
        let about = k8s_openapi::api::core::v1::ObjectReference { field_path: place, ..about.clone() };
        pass.ctx.events.publish(about, note.warning, note.reason, note.text).await;
    }
}
