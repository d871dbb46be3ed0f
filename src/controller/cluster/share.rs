//! One VaultSecret for all namespaces, in the operator's, and a copy of its Secret in each.
//!
//! A copy is made from one read of that Secret, and only of the version that the VaultSecret itself says it has written: what
//! somebody else put into it is never spread.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures::FutureExt as _;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt as _;
use kube::api::Api;
use sha2::{Digest as _, Sha256};

use super::copies::{self, Copied};
use super::failures::Failed;
use super::spread::{several, stand};
use super::stamp::Stamp;
use super::status::{Observed, Place};
use super::{ClusterState, Left};
use crate::api::{ClusterVaultSecret, NamespaceReason, VaultSecret};
use crate::controller::backoff::{TARGET, TRANSIENT};
use crate::controller::context::Context;
use crate::controller::keys::Waker;
use crate::controller::namespaces::Chosen;
use crate::controller::project::desired_of;
use crate::controller::refs::{Known, Ref};
use crate::kube_error::{ApiError, ApiErrorKind, CALL_LIMIT, within};
use crate::projection::apply::{Applied, Hint, ProjectionError, apply, remove};
use crate::projection::owner::Owner;
use crate::projection::target::Desired;
use crate::remote::lane::ObjectKey;
use crate::value::SecretValue;

/// What is said of a copy that is to go.
const KIND: &str = "Secret";

/// The set of values that is to be shown: a version of a Secret.
struct Source {
    /// uid of the VaultSecret that it belongs to.
    uid: String,
    name: String,
    version: String,
    /// Names the set, and what else a copy is made from.
    made_from: Arc<str>,
}

/// A set as it was read: by it the Secret is known again when somebody touches what is not copied, as an annotation.
pub(super) struct Set {
    uid: String,
    version: String,
    digest: [u8; 32],
}

impl Set {
    fn of(source: &Source, secret: &Secret) -> Self {
        Self { uid: source.uid.clone(), version: source.version.clone(), digest: digest(secret) }
    }

    fn is_shown_by(&self, source: &Source, secret: &Secret) -> bool {
        self.uid == source.uid && self.version == source.version && self.digest == digest(secret)
    }
}

/// Names what is copied of a Secret.
fn digest(secret: &Secret) -> [u8; 32] {
    let mut digest = Sha256::new();
    let mut part = |bytes: &[u8]| {
        digest.update(bytes.len().to_be_bytes());
        digest.update(bytes);
    };
    part(secret.type_.as_deref().unwrap_or("Opaque").as_bytes());
    part(&[u8::from(secret.immutable.unwrap_or(false))]);
    for (key, value) in secret.data.iter().flatten() {
        part(key.as_bytes());
        part(&value.0);
    }
    digest.finalize().into()
}

/// Whether a Secret shows the set that its VaultSecret says it has written.
fn shows(secret: &Secret, source: &Source, set: Option<&Set>) -> bool {
    let owned = Owner::vault_secret("", source.uid.as_str()).controls(&secret.metadata);
    let same = secret.metadata.resource_version.as_ref() == Some(&source.version);
    let known = set.is_some_and(|set| set.is_shown_by(source, secret));
    owned && secret.metadata.deletion_timestamp.is_none() && (same || known)
}

/// Brings the one VaultSecret and the copies to what is wanted, and says what holds in each namespace.
pub(super) async fn observe(
    ctx: &Arc<Context>,
    state: &mut ClusterState,
    cluster: &ClusterVaultSecret,
    stamp: &Stamp,
    chosen: &Chosen,
    next: &mut Option<Timestamp>,
) -> Observed {
    let home = ctx.settings.operator_namespace.clone();
    let lead = stand(ctx, state, cluster, stamp, &BTreeSet::from([home.clone()]), None, next).await.pop();
    let shown = state.child(ctx, &ObjectKey::new(home.as_str(), stamp.name.as_str()), ctx.clock.now());
    let source = shown.as_ref().filter(|vs| stamp.owner.controls(&vs.metadata)).and_then(|vs| source(cluster, vs));
    // There the Secret is itself what the others have a copy of.
    let wanted: BTreeSet<String> = chosen.there.iter().filter(|namespace| **namespace != home).cloned().collect();
    recall(ctx, state, cluster, stamp, &wanted, source.as_ref());
    copy(ctx, state, cluster, stamp, &wanted, source.as_ref()).await;
    let ready_at_home = lead.as_ref().is_some_and(|lead| lead.ready);
    let places = chosen.there.iter().map(|namespace| {
        let shows = state.copied.get(namespace).map(|copy| &copy.made_from) == source.as_ref().map(|s| &s.made_from);
        match state.failed.get(namespace) {
            _ if *namespace == home && ready_at_home => Place::ready(namespace),
            Some(failure) if *namespace != home => Place::not_ready(namespace, failure.reason, failure.message.clone()),
            None if source.is_some() && shows => Place::ready(namespace),
            _ => {
                let waiting = format!("waiting for the VaultSecret in {home}");
                Place::not_ready(namespace, NamespaceReason::Pending, state.changed.clone().unwrap_or(waiting))
            }
        }
    });
    let places = places.collect();
    let copies = (!state.copied.is_empty()).then(|| copies::digest(&state.copied));
    Observed { places, lead, copies, problem: None }
}

/// The last good set of a VaultSecret, if it has shown one.
fn source(cluster: &ClusterVaultSecret, lead: &VaultSecret) -> Option<Source> {
    let target = lead.status.as_ref()?.target.as_ref()?;
    let name = cluster.spec.template.target_name(&lead.name_any()).to_owned();
    if target.name != name || target.resource_version.is_empty() {
        return None;
    }
    let uid = lead.uid()?;
    let metadata =
        cluster.spec.template.target.as_ref().and_then(|t| t.template.as_ref()).and_then(|t| t.metadata.as_ref());
    let metadata = serde_json::to_string(&metadata).unwrap_or_default();
    let made_from = copies::made_from(&uid, &target.resource_version, &metadata).into();
    Some(Source { uid, name, version: target.resource_version.clone(), made_from })
}

fn target_name(cluster: &ClusterVaultSecret, stamp: &Stamp) -> String {
    cluster.spec.template.target_name(&stamp.name).to_owned()
}

/// After a start: the copies are as the status says, or nothing is known of them.
fn recall(
    ctx: &Context,
    state: &mut ClusterState,
    cluster: &ClusterVaultSecret,
    stamp: &Stamp,
    wanted: &BTreeSet<String>,
    source: Option<&Source>,
) {
    let (false, Some(source)) = (state.recalled, source) else { return };
    state.recalled = true;
    let name = target_name(cluster, stamp);
    let seen = ctx.clusters.copies.of(&stamp.owner.uid);
    let copies = seen.into_iter().filter(|(key, _)| *key.name == *name && wanted.contains(&*key.namespace));
    let copies: BTreeMap<String, Copied> = copies
        .map(|(key, version)| (key.namespace.to_string(), Copied { version, made_from: Arc::clone(&source.made_from) }))
        .collect();
    let told = cluster.status.as_ref().and_then(|status| status.copies.as_deref());
    if told == Some(&copies::digest(&copies)) {
        state.copied = copies;
    }
}

/// Takes away every copy that is not in a wanted namespace, and those of an earlier name that have one to follow them.
pub(super) async fn withdraw(
    ctx: &Arc<Context>,
    state: &mut ClusterState,
    cluster: &ClusterVaultSecret,
    stamp: &Stamp,
    wanted: &BTreeSet<String>,
    made_from: Option<&str>,
) {
    let (now, generation) = (ctx.clock.now(), cluster.metadata.generation);
    let seen = ctx.clusters.copies.of(&stamp.owner.uid);
    let name = target_name(cluster, stamp);
    let plan = copies::plan(wanted, &name, &seen, &state.copied, made_from, |ns| ctx.namespaces.is_alive(ns));
    state.copied.retain(|namespace, _| wanted.contains(namespace));
    let leaving: BTreeSet<Left> = plan.remove.iter().map(left_of).collect();
    state.left.retain(|left| !left.1.starts_with(KIND) || leaving.contains(left));
    let owner = &stamp.owner;
    let mut steps = Vec::with_capacity(plan.remove.len());
    for key in plan.remove.iter().filter(|key| state.left.waits(&left_of(key), generation, now).is_none()) {
        ctx.metrics.api_write("delete", "secrets");
        let removed = remove(ctx.client.clone(), &key.namespace, &key.name, owner);
        steps.push(async move { (key, tokio::time::timeout(CALL_LIMIT, removed).await) }.boxed());
    }
    for (key, result) in several(steps).await {
        let message = match result {
            Ok(Ok(_)) => {
                state.left.remove(&left_of(key));
                continue;
            }
            Ok(Err(error)) => error.to_string(),
            Err(_) => "the API server did not answer in time".to_owned(),
        };
        tracing::warn!(namespace = %key.namespace, name = %key.name, error = message, "a copy is left; it is tried again");
        let failed = Failed { reason: NamespaceReason::WriteFailed, message, pace: TRANSIENT };
        state.left.fail(left_of(key), failed, generation, ctx.clock.now(), Known::Unseen);
    }
}

/// What a copy that is to go is remembered as.
fn left_of(key: &ObjectKey) -> Left {
    (key.namespace.to_string(), format!("{KIND} \"{}\"", key.name))
}

/// Writes the copies that are not right, and takes away those that are not wanted.
async fn copy(
    ctx: &Arc<Context>,
    state: &mut ClusterState,
    cluster: &ClusterVaultSecret,
    stamp: &Stamp,
    wanted: &BTreeSet<String>,
    source: Option<&Source>,
) {
    let made_from = source.map(|source| &*source.made_from);
    withdraw(ctx, state, cluster, stamp, wanted, made_from).await;
    state.changed = None;
    let now = ctx.clock.now();
    let generation = cluster.metadata.generation;
    let seen = ctx.clusters.copies.of(&stamp.owner.uid);
    let name = target_name(cluster, stamp);
    let mut plan = copies::plan(wanted, &name, &seen, &state.copied, made_from, |ns| ctx.namespaces.is_alive(ns));
    state.copied.retain(|namespace, _| made_from.is_none() || !plan.write.contains(namespace));
    plan.write.retain(|namespace| {
        let known = ctx.refs.known(&Ref::secret(namespace, &name));
        state.failed.barred(namespace, generation, now, &known).is_none()
    });
    if let (Some(source), false) = (source, plan.write.is_empty()) {
        write(ctx, state, cluster, &stamp.owner, source, &plan.write).await;
        withdraw(ctx, state, cluster, stamp, wanted, made_from).await;
    }
    // What is in the way is somebody else's: the watch tells when it goes.
    let barred = state.failed.iter().filter(|(_, failure)| failure.reason == NamespaceReason::TargetConflict);
    let refs = barred.map(|(namespace, _)| Ref::secret(namespace, &name)).collect();
    ctx.refs.set(&Waker::Cluster(stamp.owner.name.as_str().into()), refs);
}

/// Writes the copies of one version of the source, from one read of it.
async fn write(
    ctx: &Arc<Context>,
    state: &mut ClusterState,
    cluster: &ClusterVaultSecret,
    owner: &Owner,
    source: &Source,
    namespaces: &BTreeSet<String>,
) {
    let (home, generation) = (&ctx.settings.operator_namespace, cluster.metadata.generation);
    let secret = match read(ctx, home, source, state.set.as_ref()).await {
        Ok(Some(secret)) => secret,
        Ok(None) => {
            state.changed = Some(format!(
                "waiting for the VaultSecret in {home} to put Secret \"{}\" right, which somebody changed",
                source.name
            ));
            return;
        }
        Err(error) => {
            tracing::warn!(namespace = home, name = source.name, %error, "the Secret to be copied was not read");
            for namespace in namespaces {
                let failed = Failed { reason: NamespaceReason::Pending, message: error.to_string(), pace: TRANSIENT };
                state.failed.fail(namespace.clone(), failed, generation, ctx.clock.now(), Known::Unseen);
            }
            return;
        }
    };
    state.set = Some(Set::of(source, &secret));
    let data: BTreeMap<String, SecretValue> =
        secret.data.unwrap_or_default().into_iter().map(|(key, value)| (key, SecretValue::new(value.0))).collect();
    let desired = |namespace: &str| Desired {
        // As they are at home, which a change of the spec may be ahead of.
        type_: secret.type_.clone().unwrap_or_else(|| "Opaque".to_owned()),
        immutable: secret.immutable.unwrap_or(false),
        ..desired_of(&cluster.spec.template, namespace, &source.name, data.clone(), BTreeSet::new())
    };
    let seen = ctx.clusters.copies.of(&owner.uid);
    let mut steps = Vec::with_capacity(namespaces.len());
    for namespace in namespaces {
        let mut desired = desired(namespace);
        desired.name.clone_from(&source.name);
        let known = seen.contains_key(&ObjectKey::new(namespace.as_str(), source.name.as_str()));
        let hint = if known { Hint::Unknown } else { Hint::Absent };
        // Looked up before the write: what moves meanwhile is news.
        let in_the_way = ctx.refs.known(&Ref::secret(namespace, &source.name));
        let write = async move {
            let applied = apply(ctx.client.clone(), &desired, owner, hint);
            (namespace, in_the_way, tokio::time::timeout(CALL_LIMIT, applied).await)
        };
        steps.push(write.boxed());
    }
    let written = several(steps).await;
    let now = ctx.clock.now();
    for (namespace, in_the_way, result) in written {
        match result {
            Ok(Ok(applied)) => note(ctx, state, owner, source, namespace, &applied),
            Ok(Err(error)) => {
                let (reason, pace) = match error {
                    ProjectionError::Conflict(_) => (NamespaceReason::TargetConflict, TARGET),
                    ProjectionError::Contended { .. } | ProjectionError::Api(_) => {
                        (NamespaceReason::Pending, TRANSIENT)
                    }
                    _ => (NamespaceReason::WriteFailed, TARGET),
                };
                let failed = Failed { reason, message: error.to_string(), pace };
                state.failed.fail(namespace.clone(), failed, generation, now, in_the_way);
            }
            Err(_) => {
                let message = format!("writing Secret \"{}\": the API server did not answer in time", source.name);
                let failed = Failed { reason: NamespaceReason::Pending, message, pace: TRANSIENT };
                state.failed.fail(namespace.clone(), failed, generation, now, in_the_way);
            }
        }
    }
}

fn note(
    ctx: &Context,
    state: &mut ClusterState,
    owner: &Owner,
    source: &Source,
    namespace: &String,
    applied: &Applied,
) {
    if applied.wrote {
        ctx.metrics.api_write("write", "secrets");
    }
    let key = ObjectKey::new(namespace.as_str(), source.name.as_str());
    ctx.clusters.copies.note(&key, &owner.name, &owner.uid, &applied.resource_version);
    let copied = Copied { version: applied.resource_version.as_str().into(), made_from: Arc::clone(&source.made_from) };
    state.failed.remove(namespace);
    state.copied.insert(namespace.clone(), copied);
}

/// The source, if it shows the set that its VaultSecret has written. Another one is waited for: the VaultSecret puts it right,
/// says so in its status, and that wakes us.
async fn read(ctx: &Context, home: &str, source: &Source, set: Option<&Set>) -> Result<Option<Secret>, ApiError> {
    let api: Api<Secret> = Api::namespaced(ctx.client.clone(), home);
    match within("reading the Secret to be copied", api.get(&source.name)).await {
        Ok(secret) => Ok(shows(&secret, source, set).then_some(secret)),
        Err(error) if error.kind == ApiErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use serde_json::json;

    use super::*;

    fn source(version: &str) -> Source {
        Source { uid: "u1".into(), name: "app".into(), version: version.into(), made_from: "s".into() }
    }

    fn secret(version: &str, value: &str, uid: &str) -> Secret {
        let owner = Owner::vault_secret("app", uid).reference();
        serde_json::from_value(json!({"data": {"A": value}, "type": "Opaque", "metadata": {"name": "app",
            "resourceVersion": version, "ownerReferences": [owner]}}))
        .unwrap()
    }

    #[test]
    fn a_touch_of_the_metadata_at_home_holds_no_copy() {
        let written = secret("5", "YQ==", "u1");
        assert!(shows(&written, &source("5"), None));
        let mut touched = secret("6", "YQ==", "u1");
        touched.metadata.annotations = Some(BTreeMap::from([("theirs".to_owned(), "x".to_owned())]));
        assert!(!shows(&touched, &source("5"), None), "nobody has read what was written");
        let set = Set::of(&source("5"), &written);
        assert!(shows(&touched, &source("5"), Some(&set)));
        assert!(!shows(&secret("6", "Yg==", "u1"), &source("5"), Some(&set)), "somebody else's value");
        assert!(!shows(&touched, &source("7"), Some(&set)), "the VaultSecret has written another set");
        assert!(!shows(&secret("6", "YQ==", "u2"), &source("5"), Some(&set)), "another VaultSecret's");
        let frozen = Secret { immutable: Some(true), ..touched };
        assert!(!shows(&frozen, &source("5"), Some(&set)));
    }
}
