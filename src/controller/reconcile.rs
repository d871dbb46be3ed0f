//! One reconcile of a VaultSecret: observe, plan, act, report.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::SemaphorePermit;

use super::adoption::{adoption_done, mark_adoption, mark_force_push};
use super::backoff::{self, jittered};
use super::choose::{Choice, Due, choose, look_again_at_interval};
use super::context::Context;
use super::keys::Waker;
use super::object::ObjectState;
use super::outcome::{finish, keep_outcomes, publish};
use super::pass::Pass;
use super::project::Projection;
use super::queue::{Ahead, ask_ahead, send_all};
use super::readable::{self, ReadValues};
use super::route::Route;
use super::save::SaveError;
use super::sources;
use super::values::{self, ReadError, Values, is_unchanged};
use super::worker::NEVER;
use crate::api::vault_secret::DeletionPolicy;
use crate::api::{Reason, VaultSecret};
use crate::remote::lane::ObjectKey;
use crate::sync::plan::after;
use crate::sync::transition::Write;

/// How long a connection that is being read is waited for before the status says so.
pub(super) const PATIENCE: Duration = Duration::from_secs(2);
/// How often a value that is overdue to be made anew is looked at.
const OVERDUE: Duration = Duration::from_secs(10);
/// The same for an object that was as it should be when it was looked at last: a start may take long, and changes nothing.
pub(super) const PATIENCE_AT_A_START: Duration = Duration::from_secs(15);
/// How long a list is waited for before the status says so, when nothing is wrong with the values: it may wait for the budget.
const PATIENCE_FOR_LISTS: Duration = Duration::from_secs(10);

/// Why a reconcile could not be carried through; it is tried again.
#[derive(Debug, thiserror::Error)]
pub enum ReconcileError {
    /// The ledger could not be written.
    #[error("writing the ledger: {0}")]
    Save(#[from] SaveError),
    /// The values could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
}

/// Reconciles a VaultSecret. Returns when to look at it again.
pub async fn reconcile(ctx: &Arc<Context>, key: &ObjectKey, shown: Arc<VaultSecret>) -> Duration {
    let mut state = ctx.objects.take(key);
    let vs = state.newest(Arc::clone(&shown));
    state.known_since.get_or_insert(ctx.clock.now());
    // What our own last write answered may be older than its spec, which somebody else has edited since.
    let read = ctx.vault_secrets.shown_at(key).filter(|_| Arc::ptr_eq(&vs, &shown));
    let read_at = read.map_or_else(|| ctx.clock.now(), |at| ctx.clock.at(at));
    let began = tokio::time::Instant::now();
    let result = run(ctx, key, &mut state, vs, read_at).await;
    let (outcome, wait) = match result {
        Ok(wait) => {
            state.overtaken.reset();
            ("ok", wait)
        }
        Err(ReconcileError::Save(SaveError::Gone)) => ("ok", ctx.settings.safety_net),
        Err(ReconcileError::Save(SaveError::Overtaken)) => {
            // Decided again on the object as it is now, which the watch may not show for long.
            state.read_again(ctx, key).await;
            let next = state.overtaken.failed(backoff::OVERTAKEN, ctx.clock.now(), jittered);
            ("waiting", ctx.clock.until(next))
        }
        Err(error) => {
            let next = state.backoff.failed(backoff::TRANSIENT, ctx.clock.now(), jittered);
            tracing::warn!(namespace = %key.namespace, name = %key.name, %error, "reconcile failed; it is tried again");
            ("error", ctx.clock.until(next))
        }
    };
    ctx.metrics.reconcile("vaultsecret", outcome, began.elapsed());
    ctx.objects.put(key, state);
    let shown = ctx.vault_secrets.get(key);
    if let Some(shown) = &shown {
        ctx.objects.shown(key, shown);
    } else {
        // It went while this pass was under way, which has put back what had been cleaned up.
        for freed in ctx.entries.remove(key, ctx.clock.now()) {
            ctx.wake.object(freed);
        }
        ctx.objects.forget(key);
        ctx.refs.set(&Waker::Object(key.clone()), Vec::new());
        ctx.selected.set(&Waker::Object(key.clone()), &key.namespace, &[]);
        readable::forget(ctx, key);
        return NEVER;
    }
    wait
}

async fn run(
    ctx: &Arc<Context>,
    key: &ObjectKey,
    state: &mut ObjectState,
    vs: Arc<VaultSecret>,
    read_at: jiff::Timestamp,
) -> Result<Duration, ReconcileError> {
    // For work at the API server only, so that an object which has to wait keeps nobody waiting.
    let mut permit = None;
    let mut pass = Pass::begin(ctx, key, state, vs, read_at);
    pass.register_refs(&BTreeSet::new());
    readable::register(&mut pass);
    if pass.is_deleting() && !pass.has_finalizer() {
        // Somebody else's finalizer holds it: nothing of ours is to be done, and nothing is pushed any more.
        pass.register_claims();
        release_claims(&pass);
        return Ok(ctx.settings.safety_net);
    }
    sources::observe(&mut pass, ctx, &mut permit).await?;
    if let Some(wait) = be_patient(&mut pass).or_else(|| readable::await_look(&mut pass)) {
        // Whoever else waits for the same list has to know of it before it is there: of two new ones the older has an entry.
        if pass.route.handle.is_some() {
            pass.match_rows();
            pass.register_claims();
        }
        return Ok(wait);
    }
    pass.match_rows();
    pass.register_claims();
    pass.check_owners();
    readable::hold(&mut pass);
    let pushes = pass.vs.spec.data.iter().any(|e| e.pushes());
    let wants_finalizer = pass.vs.spec.deletion() == DeletionPolicy::Delete && (pushes || !pass.rows.is_empty());
    if !pass.is_deleting() && pass.has_finalizer() != wants_finalizer {
        take_permit(ctx, &mut permit).await;
        pass.set_finalizer(wants_finalizer).await?;
    }
    let marks = mark_force_push(&mut pass);
    let mut choice = choose(&mut pass, None);
    if let Some(wait) = await_list(&mut pass, &choice, PATIENCE) {
        return Ok(wait);
    }
    // A turn that waits for another remote would keep others waiting.
    let ahead = if pass.state.reads { Ahead::Unknown } else { ask_ahead(&mut pass, &choice) };
    let turn = match ahead {
        Ahead::Turn(turn) => Some(turn),
        Ahead::Later(wait) => return Ok(wait),
        Ahead::Unknown => None,
    };
    let mut values = None;
    let mut read = ReadValues::default();
    if choice.needs_values || choice.unread > 0 || needs_values(&pass) {
        if pass.state.reads {
            // A remote takes as long as it pleases: no worker waits with it.
            drop(permit.take());
        }
        read = readable::read_all(&pass).await;
        take_permit(ctx, &mut permit).await;
        values = Some(values::read(&pass, &read).await?);
        choice = choose(&mut pass, values.as_ref());
    }
    if values.as_ref().is_some_and(|read| values::leaves_unnamed(&pass, read, &choice.due)) {
        values = Some(values::read(&pass, &read).await?);
        choice = choose(&mut pass, values.as_ref());
    }
    drop(read);
    note_values(&mut pass, values.as_ref());
    match &values {
        Some(Values { retry: Some(pace), .. }) => {
            let next = pass.state.source_backoff.failed(*pace, ctx.clock.now(), jittered);
            pass.look_again(next);
        }
        Some(_) => pass.state.source_backoff.reset(),
        None => {}
    }
    if let Some(wait) = await_list(&mut pass, &choice, PATIENCE_FOR_LISTS) {
        return Ok(wait);
    }
    pass.notes.append(&mut choice.notes);
    let mut base = pass.old_status();
    base.last_handled_force_push = marks.or(base.last_handled_force_push);
    base.sources = pass.sources.recorded.clone().unwrap_or(base.sources);
    pass.sources.read.clear();
    if let Some(values) = &values {
        base.next_rotation = values.next_rotation;
    }
    let forgotten = std::mem::take(&mut choice.forgotten);
    let deleted = choice.due.iter().filter(|due| due.write == Write::Delete).map(|due| due.row);
    values::give_up(&pass, forgotten.iter().copied().chain(deleted)).await?;
    let adopted_all = !choice.undecided && !pass.sources.refused;
    mark_adoption(&mut pass, &choice, &mut base);
    let forgets = !forgotten.is_empty();
    let due = forget(&mut pass, choice, forgotten);
    // What is left is told before the first write takes it out of the ledger: nothing would know of it after a crash.
    publish(&mut pass).await;
    let sent = match send_all(&mut pass, due, turn, &base, &mut permit).await {
        Ok(sent) => sent,
        Err(error) => {
            // What another lane has answered in this pass is not lost with it.
            keep_outcomes(&mut pass);
            return Err(error.into());
        }
    };
    if let Some(wait) = sent.quiet.filter(|_| !forgets) {
        return Ok(wait);
    }
    take_permit(ctx, &mut permit).await;
    let mut projection = if pass.is_deleting() || pass.vs.spec.suspended() {
        Projection { done: pass.target_is_in_place(), ..Projection::default() }
    } else {
        pass.project(values.as_ref()).await
    };
    drop(values);
    if !pass.is_deleting() && !pass.vs.spec.suspended() {
        pass.restart_workloads(&mut projection).await;
    }
    let finished = finish(&mut pass, base, &projection).await;
    drop(permit);
    let gone = finished?;
    pass.register_claims();
    if gone {
        release_claims(&pass);
    }
    tell_count(&pass);
    if adopted_all && !pass.is_deleting() {
        adoption_done(&pass);
    }
    publish(&mut pass).await;
    if gone {
        return Ok(ctx.settings.safety_net);
    }
    if sent.again {
        ctx.wake.object(key.clone());
    }
    if !pass.is_deleting() && !pass.vs.spec.suspended() {
        look_again_at_interval(&mut pass);
        look_again_at_rotation(&mut pass);
    }
    // A template is mended by an edit or by another value, and both wake the object.
    if projection.issue.as_ref().is_some_and(|issue| issue.reason != Reason::TemplateError) {
        let next = pass.state.target_backoff.failed(backoff::TARGET, ctx.clock.now(), jittered);
        pass.look_again(next);
    } else {
        pass.state.target_backoff.reset();
    }
    wait_for_remote(&mut pass);
    let rows = std::mem::take(&mut pass.rows);
    pass.state.keep_memos_of(&rows);
    let net = jittered(ctx.settings.safety_net);
    Ok(pass.next.map_or(net, |at| ctx.clock.until(at).max(Duration::from_millis(1)).min(net)))
}

/// Waits for its place among those who work at the API server, unless it has one.
pub(super) async fn take_permit<'c>(ctx: &'c Context, permit: &mut Option<SemaphorePermit<'c>>) {
    if permit.is_none() {
        // Closed only when the process ends.
        *permit = ctx.workers.acquire().await.ok();
    }
}

/// What the remote does not let through now goes on when it does.
fn wait_for_remote(pass: &mut Pass<'_>) {
    let Some(handle) = pass.route.handle.clone().filter(|_| pass.route.problem.is_some()) else { return };
    handle.remote.bar(pass.key);
    // It may have come to be ready since this pass began, with nobody there to be woken.
    if Route::find(pass.ctx, pass.key, &pass.vs).problem.is_none() {
        pass.look_again(pass.ctx.clock.now());
    }
}

/// A new entry waits for a list, and nothing else is to be done: the list is there in a moment, so nothing is written before.
fn await_list(pass: &mut Pass<'_>, choice: &Choice, patience: Duration) -> Option<Duration> {
    let nothing_else = choice.undecided
        && !choice.needs_values
        && choice.unread == 0
        && choice.due.is_empty()
        && choice.forgotten.is_empty()
        && !pass.is_deleting()
        && pass.route.problem.is_none()
        && pass.sources.issues.is_empty()
        && pass.wants.iter().all(|w| w.issue.is_none());
    if !nothing_else {
        pass.state.listing_since = None;
        return None;
    }
    let since = *pass.state.listing_since.get_or_insert(pass.now);
    let until = after(since, patience);
    (pass.now < until).then(|| pass.ctx.clock.until(until).max(Duration::from_millis(1)))
}

/// The object is done with, though somebody else's finalizer may hold it for long: its entries are free, but for what may land yet.
fn release_claims(pass: &Pass<'_>) {
    for freed in pass.ctx.entries.remove(pass.key, pass.ctx.clock.now()) {
        pass.ctx.wake.object(freed);
    }
}

/// The connection tells how many entries are ours.
fn tell_count(pass: &Pass<'_>) {
    let before = pass.owned_at_start;
    let now = pass.rows.iter().filter(|r| r.is_ours()).count();
    if before != now
        && let Some(handle) = pass.route.handle.as_ref().filter(|h| pass.ctx.connections.may_count(&h.key, pass.now))
    {
        pass.ctx.wake.connection(handle.key.clone());
    }
}

/// A connection that is about to be read wakes its objects: nothing is told before it has had the time.
fn be_patient(pass: &mut Pass<'_>) -> Option<Duration> {
    let passing = pass.route.problem.as_ref().is_some_and(|p| p.passing);
    if !passing || pass.is_deleting() {
        pass.state.waiting_since = None;
        return None;
    }
    let since = *pass.state.waiting_since.get_or_insert(pass.now);
    let until = after(since, if was_ready(pass) { PATIENCE_AT_A_START } else { PATIENCE });
    if pass.now >= until {
        return None;
    }
    // A connection that is read for the first time wakes its objects; a remote that is listed, those that are barred.
    pass.look_again(until);
    wait_for_remote(pass);
    pass.next.map(|at| pass.ctx.clock.until(at).max(Duration::from_millis(1)))
}

/// Whether the status says that this generation is as it should be.
pub(super) fn was_ready(pass: &Pass<'_>) -> bool {
    let Some(status) = &pass.vs.status else { return false };
    let ready =
        |c: &k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition| c.type_ == "Ready" && c.status == "True";
    status.observed_generation == pass.vs.metadata.generation && status.conditions.iter().any(ready)
}

/// Whether some value has to be read: a row is not known to be as it should be, or the target is not in place.
fn needs_values(pass: &Pass<'_>) -> bool {
    if pass.is_deleting() || pass.vs.spec.suspended() || pass.sources.refused {
        return false;
    }
    let unknown = pass.route.handle.is_some()
        && pass.wants.iter().any(|w| match w.row {
            Some(row) => w.issue.is_none() && !is_unchanged(pass, w, &pass.rows[row]),
            None => false,
        });
    // Without every value there is no whole set to show.
    let showable = pass.templates.target_refusal().is_none()
        && pass.wants.iter().all(|w| !w.held && w.issue.as_ref().is_none_or(|i| i.reason != Reason::TemplateError));
    unknown || rotation_is_due(pass) || (showable && !pass.target_is_in_place())
}

/// Whether a generated value may be due to be made anew.
fn rotation_is_due(pass: &Pass<'_>) -> bool {
    let next = pass.vs.status.as_ref().and_then(|s| s.next_rotation);
    pass.route.problem.is_none() && next.is_some_and(|at| at <= pass.now)
}

/// Looks again when the next value is due; one that is overdue has to arrive where it goes first.
fn look_again_at_rotation(pass: &mut Pass<'_>) {
    if let Some(next) = pass.vs.status.as_ref().and_then(|s| s.next_rotation) {
        let now = pass.ctx.clock.now();
        pass.look_again(if next > now { next } else { after(now, jittered(OVERDUE)) });
    }
}

/// Issues of values that are not pushed, and of those without a connection, which the plan has not looked at.
fn note_values(pass: &mut Pass<'_>, values: Option<&Values>) {
    let Some(values) = values else { return };
    for want in &mut pass.wants {
        // A key that a template lacks may be one of those that are not known: why is said of the source.
        if pass.sources.incomplete && pass.vs.spec.data[want.index].template().is_some() {
            continue;
        }
        if let (None, Err(issue)) = (&want.issue, &values.by_index[want.index]) {
            want.issue = Some(issue.clone());
        }
    }
}

/// Takes the rows that go out of the ledger, and what is due for them out of the list.
fn forget(pass: &mut Pass<'_>, choice: Choice, mut forgotten: Vec<usize>) -> Vec<Due> {
    forgotten.sort_unstable();
    let mut due = choice.due;
    for index in forgotten.into_iter().rev() {
        pass.remove_row(index);
        for one in &mut due {
            if one.row > index {
                one.row -= 1;
            }
        }
    }
    due
}

#[cfg(test)]
mod tests;
