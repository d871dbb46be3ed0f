//! ClusterVaultSecrets: a VaultSecret in each of many namespaces, or one and copies of its Secret (docs/design/cluster-vault-secret.md).
//!
//! Nothing here speaks to a remote, and nothing here reads a value but for copying it: what the VaultSecrets ask for is done by
//! the reconciles of those.

pub mod copies;
pub mod decide;
mod failures;
mod share;
mod spread;
pub mod stamp;
pub mod status;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use kube::api::{Api, PostParams};
use kube::core::Selector;
use kube::{Resource as _, ResourceExt as _};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::backoff::{Backoff, OVERTAKEN, TRANSIENT, jittered};
use super::changes::Changes;
use super::context::Context;
use super::definitions::Definitions;
use super::guard::Guarded;
use super::keys::{ConnectionKey, Waker};
use super::namespaces::Chosen;
use super::object::is_newer;
use super::shown::Shown;
use super::store::watch;
use super::worker::NEVER;
use crate::api::cluster_vault_secret::{ClusterVaultSecretStatus, Sharing};
use crate::api::condition::{self, types};
use crate::api::vault_secret::ConnectionKind;
use crate::api::{ClusterReason, ClusterVaultSecret, NamespaceReason, VaultSecret, names};
use crate::kube_error::{ApiErrorKind, within};
use crate::projection::owner::{OwnerKind, controller};
use crate::remote::lane::ObjectKey;
use crate::sync::plan::after;
use copies::{Copied, Copies};
use decide::Futile;
use failures::Failures;
use stamp::Stamp;
use status::{Observed, Place, Told};

/// For how long a write of ours is believed that the watch has not shown.
const BELIEVED: Duration = Duration::from_secs(10);
/// How long an object that was Ready may be on its way before it is told: a rotation passes in a moment.
const PATIENCE: Duration = Duration::from_secs(2);

/// What is remembered of a ClusterVaultSecret between reconciles. Nothing here is needed for correctness after a restart.
#[derive(Default)]
pub struct ClusterState {
    uid: String,
    /// The object after our own last write, until the watch has shown it.
    latest: Option<Arc<ClusterVaultSecret>>,
    /// VaultSecrets as our own write left them, until the watch has shown them.
    written: HashMap<ObjectKey, (Timestamp, Arc<VaultSecret>)>,
    /// uids of those that we have deleted.
    deleted: HashMap<ObjectKey, String>,
    /// Those that our write left as they should not be (an admission webhook).
    futile: Futile,
    /// What was to be made or changed, by namespace.
    failed: Failures<String>,
    /// What is to go and is still there.
    left: Failures<Left>,
    /// The set of values that was copied last, as it was read.
    set: Option<share::Set>,
    /// Why there is nothing to copy from, though the VaultSecret has shown a set.
    changed: Option<String>,
    /// Copies that are right, by namespace.
    copied: BTreeMap<String, Copied>,
    /// Whether what the status says of the copies was looked at.
    recalled: bool,
    /// When the status was written last.
    told_at: Option<Timestamp>,
    /// Since when an object that was Ready is on its way.
    moving_since: Option<Timestamp>,
    backoff: Backoff,
    overtaken: Backoff,
}

impl ClusterState {
    fn newest(&mut self, shown: Arc<ClusterVaultSecret>) -> Arc<ClusterVaultSecret> {
        let uid = shown.uid().unwrap_or_default();
        if self.uid != uid {
            *self = Self { uid, ..Self::default() };
        }
        let latest = self.latest.take().filter(|latest| is_newer(&latest.metadata, &shown.metadata));
        self.latest.clone_from(&latest);
        latest.unwrap_or(shown)
    }

    /// A VaultSecret as the watch shows it, or as our own write left it after that.
    fn child(&mut self, ctx: &Context, key: &ObjectKey, now: Timestamp) -> Option<Arc<VaultSecret>> {
        let shown = ctx.vault_secrets.get(key);
        let (at, written) = self.written.get(key).cloned().unzip();
        let believed = written.filter(|written| match &shown {
            Some(shown) => is_newer(&written.metadata, &shown.metadata),
            None => at.is_some_and(|at| after(at, BELIEVED) > now),
        });
        if believed.is_none() {
            self.written.remove(key);
        }
        believed.or(shown)
    }
}

/// Something in a namespace that is to go: the namespace, and what it is.
type Left = (String, String);

/// What is remembered of all ClusterVaultSecrets.
#[derive(Default)]
pub struct Clusters {
    states: Mutex<HashMap<Arc<str>, ClusterState>>,
    /// The Secrets that were copied for them.
    pub copies: Copies,
}

impl Clusters {
    fn take(&self, name: &str) -> ClusterState {
        self.states.lock().unwrap_or_else(PoisonError::into_inner).remove(name).unwrap_or_default()
    }

    fn put(&self, name: &Arc<str>, state: ClusterState) {
        self.states.lock().unwrap_or_else(PoisonError::into_inner).insert(Arc::clone(name), state);
    }
}

/// Watches ClusterVaultSecrets, in an operator for all namespaces. Last of all watches, as what they stand on has to be known, and
/// waited for by nobody: a cluster with the definitions or the rights of an older version has none.
pub fn spawn_watch(ctx: &Arc<Context>, changes: Arc<Changes>, end: &CancellationToken) {
    if !ctx.settings.is_cluster_wide() {
        return;
    }
    let api: Api<Guarded<ClusterVaultSecret>> = Api::all(ctx.client.clone());
    let (store, listed) = (Arc::clone(&ctx.cluster_vault_secrets), mpsc::unbounded_channel().0);
    let definitions = Arc::new(Definitions::optional());
    tokio::spawn(watch(api, None, store, move |change| changes.cluster(change), listed, definitions, end.clone()));
}

/// Wakes those that a VaultSecret concerns: the one that made it, and those that want one of its name.
pub fn wake_for(ctx: &Context, vs: &VaultSecret) {
    let name = vs.metadata.name.as_deref().unwrap_or_default();
    let owner = controller(&vs.metadata).filter(|r| OwnerKind::ClusterVaultSecret.is_of(r));
    for cluster in ctx.cluster_vault_secrets.all() {
        let own_name = cluster.name_any();
        if owner.is_some_and(|owner| owner.name == own_name) || cluster.spec.child_name(&own_name) == name {
            ctx.wake.cluster(own_name.into());
        }
    }
}

/// Wakes all of them: namespaces came, went or have other labels.
pub fn wake_all(ctx: &Context) {
    for cluster in ctx.cluster_vault_secrets.all() {
        ctx.wake.cluster(cluster.name_any().into());
    }
}

/// Wakes those whose VaultSecrets use a connection.
pub fn wake_users(ctx: &Context, connection: &str) {
    for cluster in ctx.cluster_vault_secrets.all() {
        let of = &cluster.spec.template.connection_ref;
        if of.kind() == ConnectionKind::ClusterVaultConnection && of.name == connection {
            ctx.wake.cluster(cluster.name_any().into());
        }
    }
}

/// Reconciles a ClusterVaultSecret. Returns when to look at it again.
pub async fn reconcile(ctx: &Arc<Context>, name: &Arc<str>) -> Duration {
    let key = ObjectKey::new("", Arc::clone(name));
    let mut state = ctx.clusters.take(name);
    let Some(shown) = ctx.cluster_vault_secrets.get(&key) else {
        ctx.refs.set(&Waker::Cluster(Arc::clone(name)), Vec::new());
        return NEVER;
    };
    let began = tokio::time::Instant::now();
    let permit = ctx.workers.acquire().await;
    let cluster = state.newest(shown);
    let (outcome, wait) = run(ctx, &mut state, &cluster).await;
    drop(permit);
    ctx.metrics.reconcile("clustervaultsecret", outcome, began.elapsed());
    ctx.clusters.put(name, state);
    wait
}

async fn run(
    ctx: &Arc<Context>,
    state: &mut ClusterState,
    cluster: &Arc<ClusterVaultSecret>,
) -> (&'static str, Duration) {
    if cluster.metadata.deletion_timestamp.is_some() {
        // What was made for it goes with it: the garbage collector sees to that.
        return ("ok", ctx.settings.safety_net);
    }
    let mut chosen = ctx.namespaces.choose(&cluster.spec.namespaces);
    let mut next = None;
    let mut observed = match unusable(cluster) {
        Some(message) => {
            chosen = Chosen::default();
            Observed { problem: Some((ClusterReason::Invalid, message)), ..Observed::default() }
        }
        None => {
            forget(ctx, state, cluster, &chosen.there);
            let stamp = Stamp::of(cluster);
            match cluster.spec.sharing {
                Sharing::PerNamespace => spread::observe(ctx, state, cluster, &stamp, &chosen, &mut next).await,
                Sharing::Shared => share::observe(ctx, state, cluster, &stamp, &chosen, &mut next).await,
            }
        }
    };
    let missing = chosen.missing.iter().map(|name| {
        Place::not_ready(name, NamespaceReason::NamespaceMissing, "there is no such namespace, or it is being deleted")
    });
    observed.places.extend(missing);
    let left = state.left.iter().map(|((namespace, what), failure)| {
        (namespace.as_str(), format!("{what} is to go and is still there: {}", failure.message))
    });
    status::add_left(&mut observed.places, left);
    let now = ctx.clock.now();
    let told = status::tell(&observed);
    let (outcome, wait) = tell(ctx, state, cluster, &observed, &told).await;
    let waits = state.failed.next(now).chain(state.left.next(now));
    let unseen = state.written.values().map(|(at, _)| after(*at, BELIEVED)).filter(|at| *at > now);
    let next = waits.chain(unseen).chain(next).min();
    (outcome, next.map_or(wait, |at| wait.min(ctx.clock.until(at).max(Duration::from_millis(10)))))
}

/// Drops what failed in namespaces that are not there any more, or not to have it any more.
fn forget(ctx: &Context, state: &mut ClusterState, cluster: &ClusterVaultSecret, wanted: &BTreeSet<String>) {
    let home = (cluster.spec.sharing == Sharing::Shared).then_some(&ctx.settings.operator_namespace);
    state.failed.retain(|ns| ctx.namespaces.is_alive(ns) && (wanted.contains(ns) || home == Some(ns)));
    state.left.retain(|(ns, _)| ctx.namespaces.is_alive(ns));
}

/// What the schema refuses, too, and what it cannot.
fn unusable(cluster: &ClusterVaultSecret) -> Option<String> {
    if let Err(message) = cluster.spec.check() {
        return Some(message.to_owned());
    }
    let selector = cluster.spec.namespaces.selector.clone()?;
    // What the operator of a label selector wants is not in the schema.
    Selector::try_from(selector)
        .err()
        .map(|_| "namespaces.selector is no label selector; see matchExpressions".to_owned())
}

/// Why nothing may be made in any namespace, if so.
pub(super) struct Held {
    reason: ClusterReason,
    place: NamespaceReason,
    message: String,
}

/// Whether the namespaces can be told apart at the remote. Asked before anything is made: of two that want one entry, which one
/// gets it would be chance.
fn held(ctx: &Context, cluster: &ClusterVaultSecret, namespaces: usize) -> Option<Held> {
    let of = &cluster.spec.template.connection_ref;
    if !cluster.spec.template.pushes() {
        return None;
    }
    let Some(connection) = Shown::get(ctx, &ConnectionKey::new(of.kind(), "", &of.name)) else {
        let message = format!("{} does not exist", of.display());
        let (reason, place) = (ClusterReason::ConnectionMissing, NamespaceReason::ConnectionMissing);
        return Some(Held { reason, place, message });
    };
    let apart = connection.prefix.as_deref().is_some_and(super::desired::tells_namespaces_apart);
    (namespaces > 1 && !apart).then(|| Held {
        reason: ClusterReason::NamesCollide,
        place: NamespaceReason::NamesCollide,
        message: format!(
            "{} gives every namespace the same entries; put {{{{ namespace }}}} into its remoteNamePrefix, or use sharing: Shared",
            of.display()
        ),
    })
}

/// Writes the status, if it says something else, and when that is due.
async fn tell(
    ctx: &Arc<Context>,
    state: &mut ClusterState,
    cluster: &Arc<ClusterVaultSecret>,
    observed: &Observed,
    told: &Told,
) -> (&'static str, Duration) {
    let now = ctx.clock.now();
    let before = cluster.status.clone().unwrap_or_default();
    let status = status::compose(&before, &cluster.metadata, observed, told, now);
    if told.reason != ClusterReason::Progressing {
        state.moving_since = None;
    }
    if status == before {
        return ("ok", ctx.settings.safety_net);
    }
    if let Some(due) = due(state, &before, &status, told, now, observed.places.len()).filter(|due| *due > now) {
        return ("waiting", ctx.clock.until(due).max(Duration::from_millis(10)));
    }
    let mut object = (**cluster).clone();
    object.status = Some(status);
    let api: Api<ClusterVaultSecret> = Api::all(ctx.client.clone());
    let params = PostParams { field_manager: Some(names::OPERATOR.to_owned()), ..PostParams::default() };
    ctx.metrics.api_write("update", "clustervaultsecrets/status");
    match within("writing the status", api.replace_status(&cluster.name_any(), &params, &object)).await {
        Ok(mut written) => {
            written.meta_mut().managed_fields = None;
            state.latest = Some(Arc::new(written));
            state.told_at = Some(now);
            (state.backoff, state.overtaken) = (Backoff::default(), Backoff::default());
            announce(ctx, cluster, &before, told).await;
            ("ok", ctx.settings.safety_net)
        }
        Err(error) if error.kind == ApiErrorKind::NotFound => ("ok", ctx.settings.safety_net),
        Err(error) if error.kind == ApiErrorKind::Conflict => {
            state.latest = None;
            let next = state.overtaken.failed(OVERTAKEN, now, jittered);
            ("waiting", ctx.clock.until(next))
        }
        Err(error) => {
            tracing::warn!(name = %cluster.name_any(), %error, "the status of a ClusterVaultSecret was not written; it is tried again");
            let next = state.backoff.failed(TRANSIENT, now, jittered);
            ("error", ctx.clock.until(next))
        }
    }
}

/// When a status that differs is to be written: at once where `Ready` or the spec differ, and seldom where only counts do.
fn due(
    state: &mut ClusterState,
    before: &ClusterVaultSecretStatus,
    status: &ClusterVaultSecretStatus,
    told: &Told,
    now: Timestamp,
    places: usize,
) -> Option<Timestamp> {
    if status::same_ready(before, status) {
        let every = PATIENCE + Duration::from_millis(20) * u32::try_from(places).unwrap_or(u32::MAX);
        return state.told_at.map(|at| after(at, every.min(Duration::from_secs(60))));
    }
    let ready = condition::find(&before.conditions, types::READY);
    let was_ready =
        ready.is_some_and(|c| c.status == "True") && before.observed_generation == status.observed_generation;
    if was_ready && told.reason == ClusterReason::Progressing {
        return Some(after(*state.moving_since.get_or_insert(now), PATIENCE));
    }
    None
}

/// One event a transition: when something is wrong, and when it is well again.
async fn announce(ctx: &Context, cluster: &ClusterVaultSecret, before: &ClusterVaultSecretStatus, told: &Told) {
    let was = condition::find(&before.conditions, types::READY);
    let same = was.is_some_and(|c| c.reason == told.reason.as_str());
    let was_wrong = was.is_some_and(|c| c.status != "True" && c.reason != ClusterReason::Progressing.as_str());
    if same || told.reason == ClusterReason::Progressing || (told.is_ready() && !was_wrong) {
        return;
    }
    tracing::info!(name = %cluster.name_any(), reason = told.reason.as_str(), text = %told.message, "ClusterVaultSecret");
    let about = cluster.object_ref(&());
    ctx.events.publish(about, !told.is_ready(), told.reason.as_str(), told.message.clone()).await;
}
