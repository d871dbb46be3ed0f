//! A VaultSecret in each namespace.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures::future::BoxFuture;
use futures::{FutureExt as _, StreamExt as _, stream};
use jiff::Timestamp;
use kube::ResourceExt as _;
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams, Preconditions};

use super::decide::{self, Plan, World};
use super::failures::Failed;
use super::stamp::Stamp;
use super::status::{Observed, Place};
use super::{ClusterState, Held, Left, held};
use crate::api::{ClusterVaultSecret, NamespaceReason, VaultSecret, names};
use crate::controller::backoff::{REFUSED, TRANSIENT};
use crate::controller::context::Context;
use crate::controller::namespaces::Chosen;
use crate::controller::refs::Known;
use crate::kube_error::{ApiError, ApiErrorKind, within};
use crate::remote::lane::ObjectKey;

/// Writes at one time.
const AT_ONCE: usize = 8;
/// What is said of one that is to go.
const KIND: &str = "VaultSecret";

/// Brings the VaultSecrets to what is wanted, and says what holds in each namespace.
pub(super) async fn observe(
    ctx: &Arc<Context>,
    state: &mut ClusterState,
    cluster: &ClusterVaultSecret,
    stamp: &Stamp,
    chosen: &Chosen,
    next: &mut Option<Timestamp>,
) -> Observed {
    super::share::withdraw(ctx, state, cluster, stamp, &BTreeSet::new(), None).await;
    let held = held(ctx, cluster, chosen.there.len());
    let places = stand(ctx, state, cluster, stamp, &chosen.there, held.as_ref(), next).await;
    Observed { places, problem: held.map(|held| (held.reason, held.message)), ..Observed::default() }
}

/// Creates, changes and deletes VaultSecrets so that there is one in each wanted namespace and in no other. Returns what holds
/// there. While something holds it (`held`: why), nothing is made or changed.
pub(super) async fn stand(
    ctx: &Arc<Context>,
    state: &mut ClusterState,
    cluster: &ClusterVaultSecret,
    stamp: &Stamp,
    wanted: &BTreeSet<String>,
    held: Option<&Held>,
    next: &mut Option<Timestamp>,
) -> Vec<Place> {
    let now = ctx.clock.now();
    let generation = cluster.metadata.generation;
    let seen = seen(ctx, state, stamp, wanted, now);
    let plan = decide::plan(&World {
        stamp,
        wanted,
        held: held.is_some(),
        seen: &seen,
        is_alive: &|namespace| ctx.namespaces.is_alive(namespace),
        is_futile: &|vs| state.futile.holds(vs, generation, now),
    });
    let conflicts = act(ctx, state, cluster, stamp, plan).await;
    let now = ctx.clock.now();
    let place = |namespace: &String| {
        if let Some((reason, text)) = conflicts.get(namespace) {
            state.failed.remove(namespace);
            return Place::not_ready(namespace, *reason, text.clone());
        }
        let child = state.child(ctx, &ObjectKey::new(namespace.as_str(), stamp.name.as_str()), now);
        if child.as_ref().is_some_and(|vs| stamp.is_in_place(vs)) {
            // An earlier write whose answer was lost, perhaps.
            state.failed.remove(namespace);
        }
        if let Some(failure) = state.failed.get(namespace) {
            return Place::not_ready(namespace, failure.reason, failure.message.clone());
        }
        match (child, held) {
            (Some(vs), _) => {
                let futile = state.futile.holds(&vs, generation, now);
                decide::place(namespace, &vs, stamp, held.is_some(), futile)
            }
            (None, Some(held)) => Place::not_ready(namespace, held.place, held.message.clone()),
            (None, None) => Place::not_ready(namespace, NamespaceReason::Pending, "the VaultSecret is being made"),
        }
    };
    let places = wanted.iter().map(place).collect();
    *next = (*next).into_iter().chain(wanted.iter().filter_map(|ns| state.failed.waits(ns, generation, now))).min();
    places
}

/// VaultSecrets that are ours, and those that have the name in a wanted namespace.
fn seen(
    ctx: &Context,
    state: &mut ClusterState,
    stamp: &Stamp,
    wanted: &BTreeSet<String>,
    now: Timestamp,
) -> Vec<Arc<VaultSecret>> {
    let concerns = |vs: &VaultSecret| {
        let named = vs.name_any() == stamp.name && wanted.contains(&vs.namespace().unwrap_or_default());
        named || stamp.owner.controls(&vs.metadata)
    };
    let shown = ctx.vault_secrets.all();
    let shown = shown.iter().filter(|vs| concerns(vs)).map(|vs| key_of(vs));
    let keys: BTreeSet<ObjectKey> = shown.chain(state.written.keys().cloned()).collect();
    keys.iter().filter_map(|key| state.child(ctx, key, now)).collect()
}

fn key_of(vs: &VaultSecret) -> ObjectKey {
    crate::controller::key_of(vs)
}

/// Does several things at a time.
pub(super) async fn several<T>(steps: Vec<BoxFuture<'_, T>>) -> Vec<T> {
    stream::iter(steps).buffer_unordered(AT_ONCE).collect().await
}

enum Action {
    Create(ObjectKey),
    Change(Arc<VaultSecret>),
    Delete(Arc<VaultSecret>),
}

/// Takes the steps, several at a time; one namespace that fails holds no other. Returns the conflicts.
async fn act(
    ctx: &Arc<Context>,
    state: &mut ClusterState,
    cluster: &ClusterVaultSecret,
    stamp: &Stamp,
    plan: Plan,
) -> BTreeMap<String, (NamespaceReason, String)> {
    let now = ctx.clock.now();
    let generation = cluster.metadata.generation;
    state.deleted.retain(|key, _| ctx.vault_secrets.get(key).is_some());
    state.futile.retain(|key| ctx.vault_secrets.get(key).is_some() || state.written.contains_key(key));
    let create = plan.create.iter().map(|ns| Action::Create(ObjectKey::new(ns.as_str(), stamp.name.as_str())));
    let change = plan.change.into_iter().map(Action::Change);
    let is_deleted = |vs: &Arc<VaultSecret>| state.deleted.get(&key_of(vs)) == vs.metadata.uid.as_ref();
    let leaving: BTreeSet<_> = plan.delete.iter().map(|vs| left_of(&key_of(vs))).collect();
    state.left.retain(|left| !left.1.starts_with(KIND) || leaving.contains(left));
    let delete = plan.delete.into_iter().filter(|vs| !is_deleted(vs)).map(Action::Delete);
    let due = |action: &Action| match action {
        Action::Delete(vs) => state.left.waits(&left_of(&key_of(vs)), generation, now).is_none(),
        _ => state.failed.waits(&action.key().namespace.to_string(), generation, now).is_none(),
    };
    let actions: Vec<Action> = create.chain(change).chain(delete).filter(due).collect();
    let mut steps = Vec::with_capacity(actions.len());
    for action in &actions {
        steps.push(async move { (action, take(ctx, stamp, action).await) }.boxed());
    }
    let taken = several(steps).await;
    let now = ctx.clock.now();
    for (action, result) in taken {
        let key = action.key();
        let namespace = key.namespace.to_string();
        match (result, action) {
            (Ok(_), Action::Delete(vs)) => {
                state.left.remove(&left_of(&key));
                state.written.remove(&key);
                state.deleted.insert(key, vs.uid().unwrap_or_default());
            }
            (Ok(vs), _) => {
                if let Some(vs) = vs {
                    state.futile.note(&vs, stamp.is_in_place(&vs), generation, now);
                    state.written.insert(key, (now, Arc::new(vs)));
                }
                state.failed.remove(&namespace);
            }
            (Err(error), Action::Delete(_)) => {
                tracing::warn!(namespace, name = %key.name, %error, "a VaultSecret is left; it is tried again");
                state.left.fail(left_of(&key), failed(&error), generation, now, Known::Unseen);
            }
            (Err(error), _) => {
                tracing::debug!(namespace, name = %key.name, %error, "a VaultSecret was not written");
                state.failed.fail(namespace, failed(&error), generation, now, Known::Unseen);
            }
        }
    }
    plan.conflicts
}

/// What a VaultSecret that is to go is remembered as.
fn left_of(key: &ObjectKey) -> Left {
    (key.namespace.to_string(), format!("{KIND} \"{}\"", key.name))
}

impl Action {
    fn key(&self) -> ObjectKey {
        match self {
            Self::Create(key) => key.clone(),
            Self::Change(vs) | Self::Delete(vs) => key_of(vs),
        }
    }
}

/// Takes one step. `None`: there is nothing to remember of it.
async fn take(ctx: &Context, stamp: &Stamp, action: &Action) -> Result<Option<VaultSecret>, ApiError> {
    let key = action.key();
    let api: Api<VaultSecret> = Api::namespaced(ctx.client.clone(), &key.namespace);
    let clean = |mut vs: VaultSecret| {
        vs.metadata.managed_fields = None;
        Some(vs)
    };
    match action {
        Action::Create(key) => {
            ctx.metrics.api_write("create", "vaultsecrets");
            let params = PostParams { field_manager: Some(names::CLUSTER_MANAGER.to_owned()), ..PostParams::default() };
            let fresh = stamp.fresh(&key.namespace);
            within("creating the VaultSecret", api.create(&params, &fresh)).await.map(clean)
        }
        Action::Change(seen) => {
            ctx.metrics.api_write("patch", "vaultsecrets");
            let params =
                PatchParams { field_manager: Some(names::CLUSTER_MANAGER.to_owned()), ..PatchParams::default() };
            let patch = Patch::Merge(stamp.patch(seen));
            within("changing the VaultSecret", api.patch(&key.name, &params, &patch)).await.map(clean)
        }
        Action::Delete(seen) => {
            ctx.metrics.api_write("delete", "vaultsecrets");
            let seen = Preconditions { uid: seen.uid(), resource_version: None };
            let params = DeleteParams::background().preconditions(seen);
            match within("deleting the VaultSecret", api.delete(&key.name, &params)).await {
                Ok(_) => Ok(None),
                Err(error) if matches!(error.kind, ApiErrorKind::NotFound | ApiErrorKind::Conflict) => Ok(None),
                Err(error) => Err(error),
            }
        }
    }
}

/// How a write that failed is told, and when it is tried again.
fn failed(error: &ApiError) -> Failed {
    let passes = matches!(
        error.kind,
        ApiErrorKind::NotFound | ApiErrorKind::Conflict | ApiErrorKind::Refused | ApiErrorKind::Unknown
    );
    let (reason, pace) =
        if passes { (NamespaceReason::Pending, TRANSIENT) } else { (NamespaceReason::WriteFailed, REFUSED) };
    Failed { reason, message: error.to_string(), pace }
}
