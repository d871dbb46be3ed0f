//! The status of a connection: written on a transition, not on a probe.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::api::{Api, Patch, PatchParams};
use kube::core::NamespaceResourceScope;
use kube::{Resource, ResourceExt as _};
use serde::de::DeserializeOwned;

use super::connections::COUNT_EVERY;
use super::context::Context;
use super::shown::{AsShown, Shown};
use crate::api::condition::{self, Wanted, types};
use crate::api::connection::ConnectionStatus;
use crate::api::vault_secret::ConnectionKind;
use crate::api::{ClusterVaultConnection, ConnectionReason, VaultConnection, names};
use crate::kube_error::{ApiErrorKind, within};
use crate::sync::plan::after;

/// What came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// The API server has what was wanted.
    Done,
    /// Only the number of entries differs, and it is written after that time.
    Later(Duration),
    /// It was not written; look at the connection again.
    Overtaken,
}

/// Whether a person goes by the message, which names what to mend, so that it is written whenever it says something else. Those of
/// a remote in trouble differ with each attempt.
fn is_mended_by_its_message(reason: ConnectionReason) -> bool {
    matches!(
        reason,
        ConnectionReason::CredentialsMissing | ConnectionReason::Invalid | ConnectionReason::RemoteDiverged
    )
}

/// Writes the status if something but the number of entries differs, or the number does and it is time.
pub async fn write(
    ctx: &Arc<Context>,
    shown: &Shown,
    status: &mut ConnectionStatus,
    reason: ConnectionReason,
    message: &str,
) -> Written {
    let old = condition::find(&shown.status.conditions, types::READY);
    let ready = ready(reason);
    let generation = shown.metadata.generation;
    let same_reason = old.is_some_and(|c| c.status == ready && c.reason == reason.as_str());
    // Connecting is told to those who see the connection for the first time only: after a restart it passes in a moment.
    if reason == ConnectionReason::Connecting && old.is_some() && status_differs(status, &shown.status).is_none() {
        return Written::Done;
    }
    let keeps = same_reason
        && says_what_becomes(&shown.status.conditions, reason)
        && old.is_some_and(|c| c.message == message || !is_mended_by_its_message(reason))
        && shown.status.observed_generation == generation;
    status.entries = Some(u32::try_from(super::rows_of(ctx, &shown.key)).unwrap_or(u32::MAX));
    let now = ctx.clock.now();
    if keeps && status_differs(status, &shown.status).is_none() {
        if status.entries == shown.status.entries {
            // One more look after a count was written: what changed since was not told.
            let last = ctx.connections.counted_at(&shown.key).map(|at| after(at, COUNT_EVERY));
            return last.filter(|at| *at > now).map_or(Written::Done, |at| Written::Later(ctx.clock.until(at)));
        }
        let due = ctx.connections.counted_at(&shown.key).map(|at| after(at, COUNT_EVERY));
        if let Some(due) = due.filter(|due| *due > now) {
            return Written::Later(ctx.clock.until(due));
        }
    }
    ctx.connections.count_written(&shown.key, now);
    status.observed_generation = generation;
    let now = jiff::Timestamp::from_second(now.as_second()).unwrap_or(now);
    conditions(&mut status.conditions, reason, message, generation, now);
    let written = match shown.key.kind {
        ConnectionKind::VaultConnection => {
            let api: Api<VaultConnection> = namespaced(ctx, &shown.key.object.namespace);
            patch(ctx, &api, shown, status).await
        }
        ConnectionKind::ClusterVaultConnection => {
            let api: Api<ClusterVaultConnection> = Api::all(ctx.client.clone());
            patch(ctx, &api, shown, status).await
        }
    };
    if written && !same_reason {
        announce(ctx, shown, old.map(|c| c.reason.clone()), reason, message).await;
    }
    if written { Written::Later(COUNT_EVERY) } else { Written::Overtaken }
}

fn ready(reason: ConnectionReason) -> &'static str {
    if reason == ConnectionReason::Connected { "True" } else { "False" }
}

/// What kstatus is told beside Ready: that it goes on by itself, or only when a person sees to it; nothing when all is well.
fn becomes(reason: ConnectionReason) -> Option<&'static str> {
    match reason {
        ConnectionReason::Connected => None,
        stalled if stalled.is_stalled() => Some(types::STALLED),
        _ => Some(types::RECONCILING),
    }
}

/// Whether the conditions say so already: those of an earlier version do not.
fn says_what_becomes(conditions: &[Condition], reason: ConnectionReason) -> bool {
    let said = |kind| condition::find(conditions, kind).is_some() == (becomes(reason) == Some(kind));
    said(types::STALLED) && said(types::RECONCILING)
}

fn conditions(
    list: &mut Vec<Condition>,
    reason: ConnectionReason,
    message: &str,
    generation: Option<i64>,
    now: jiff::Timestamp,
) {
    let wanted = |kind, status| Wanted { kind, status, reason: reason.as_str(), message: message.to_owned() };
    condition::upsert(list, wanted(types::READY, ready(reason)), generation, now);
    for kind in [types::RECONCILING, types::STALLED] {
        if becomes(reason) == Some(kind) {
            condition::upsert(list, wanted(kind, "True"), generation, now);
        } else {
            condition::remove(list, kind);
        }
    }
}

fn namespaced<K>(ctx: &Context, namespace: &str) -> Api<K>
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
{
    Api::namespaced(ctx.client.clone(), namespace)
}

async fn patch<K>(ctx: &Context, api: &Api<K>, shown: &Shown, status: &ConnectionStatus) -> bool
where
    K: Resource<DynamicType = ()> + AsShown + Clone + DeserializeOwned + std::fmt::Debug,
{
    let mut body = serde_json::to_value(status).unwrap_or_default();
    // A merge patch takes away only what is named.
    for field in ["freeze", "lastHandledAdopt", "lastHandledApprove"] {
        if let Some(map) = body.as_object_mut() {
            map.entry(field).or_insert(serde_json::Value::Null);
        }
    }
    let body = serde_json::json!({"metadata": {"resourceVersion": shown.metadata.resource_version}, "status": body});
    let params = PatchParams { field_manager: Some(names::OPERATOR.to_owned()), ..PatchParams::default() };
    ctx.metrics.api_write("patch", "connections/status");
    match within(
        "writing the connection's status",
        api.patch_status(&shown.key.object.name, &params, &Patch::Merge(&body)),
    )
    .await
    {
        Ok(written) => {
            tracing::debug!(connection = %shown.key.object, version = ?written.resource_version(), "status written");
            ctx.connections.know(written.as_shown(&shown.key));
            true
        }
        Err(error) if matches!(error.kind, ApiErrorKind::Conflict | ApiErrorKind::NotFound) => false,
        Err(error) => {
            tracing::warn!(connection = %shown.key.object, %error, "the connection's status was not written");
            false
        }
    }
}

/// What differs besides conditions and the number of entries.
fn status_differs(new: &ConnectionStatus, old: &ConnectionStatus) -> Option<()> {
    let same = new.remote == old.remote
        && new.incarnation == old.incarnation
        && new.freeze == old.freeze
        && new.last_handled_adopt == old.last_handled_adopt
        && new.last_handled_approve == old.last_handled_approve
        && new.provider == old.provider
        && new.capabilities == old.capabilities;
    (!same).then_some(())
}

/// One event a transition.
async fn announce(ctx: &Context, shown: &Shown, before: Option<String>, reason: ConnectionReason, message: &str) {
    let about = match shown.key.kind {
        ConnectionKind::VaultConnection => VaultConnection::new(&shown.key.object.name, empty_spec()).object_ref(&()),
        ConnectionKind::ClusterVaultConnection => {
            let spec = crate::api::connection::ClusterVaultConnectionSpec {
                connection: shown.spec.clone(),
                allowed_namespaces: None,
                remote_name_prefix: None,
            };
            ClusterVaultConnection::new(&shown.key.object.name, spec).object_ref(&())
        }
    };
    let about = k8s_openapi::api::core::v1::ObjectReference {
        uid: shown.metadata.uid.clone(),
        namespace: shown.metadata.namespace.clone(),
        ..about
    };
    let good = reason == ConnectionReason::Connected;
    // That a new connection works is what everybody expects.
    if reason == ConnectionReason::Connecting
        || (good && before.is_none_or(|b| b == ConnectionReason::Connecting.as_str()))
    {
        return;
    }
    tracing::info!(connection = %shown.key.object, reason = reason.as_str(), text = %message, "connection");
    ctx.events.publish(about, !good, reason.as_str(), message.to_owned()).await;
}

fn empty_spec() -> crate::api::connection::VaultConnectionSpec {
    crate::api::connection::VaultConnectionSpec { connection: crate::api::ConnectionSpec::default() }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    fn told(list: &[Condition]) -> Vec<(&str, &str, &str)> {
        list.iter().map(|c| (&*c.type_, &*c.status, &*c.reason)).collect()
    }

    #[test]
    fn kstatus_is_told_what_only_a_person_can_end() {
        let mut list = Vec::new();
        for (reason, wanted) in [
            (ConnectionReason::Connecting, vec![("Ready", "False"), ("Reconciling", "True")]),
            (ConnectionReason::AuthenticationFailed, vec![("Ready", "False"), ("Stalled", "True")]),
            (ConnectionReason::Unreachable, vec![("Ready", "False"), ("Reconciling", "True")]),
            (ConnectionReason::RemoteDiverged, vec![("Ready", "False"), ("Stalled", "True")]),
            (ConnectionReason::Connected, vec![("Ready", "True")]),
        ] {
            assert!(!says_what_becomes(&list, reason), "each is another case than the one before");
            conditions(&mut list, reason, "why", Some(3), jiff::Timestamp::UNIX_EPOCH);
            let wanted: Vec<_> = wanted.into_iter().map(|(kind, status)| (kind, status, reason.as_str())).collect();
            assert_eq!(told(&list), wanted);
            assert!(says_what_becomes(&list, reason));
        }
    }

    /// An operator that told kstatus nothing wrote Ready alone.
    #[test]
    fn what_an_earlier_version_did_not_say_is_said() {
        let mut list = Vec::new();
        conditions(&mut list, ConnectionReason::PermissionDenied, "why", Some(3), jiff::Timestamp::UNIX_EPOCH);
        condition::remove(&mut list, types::STALLED);
        assert!(!says_what_becomes(&list, ConnectionReason::PermissionDenied));
        condition::remove(&mut list, types::READY);
        conditions(&mut list, ConnectionReason::Connected, "why", Some(3), jiff::Timestamp::UNIX_EPOCH);
        assert!(says_what_becomes(&list, ConnectionReason::Connected));
    }
}
