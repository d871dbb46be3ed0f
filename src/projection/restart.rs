//! Restarts workloads once the Secret shows changed values.
//!
//! A restart is an annotation on the pod template that names the set of values, so asking twice for the same set (after a
//! crash, by two passes) changes nothing. What it names is a keyed fingerprint, which tells nobody what the values are.

use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, StatefulSet};
use kube::Client;
use kube::api::{Api, ApiResource, DynamicObject, GroupVersionKind, Patch, PatchParams};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::api::names;
use crate::api::vault_secret::{RestartKind, RestartTarget};
use crate::source::api_error::{ApiError, ApiFailure};

/// What became of one workload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Restarted {
    /// It is restarting, or was for this set before.
    Done,
    /// There is none: when it comes, it starts with the new values.
    Absent,
}

/// The annotation that names the set of values of a VaultSecret: one for each VaultSecret that a workload may use.
#[must_use]
pub fn annotation(vault_secret: &str) -> String {
    // The part after the slash has at most 63 characters.
    let fits = vault_secret.len() <= 63;
    let hash =
        || Sha256::digest(vault_secret.as_bytes()).iter().take(16).map(|b| format!("{b:02x}")).collect::<String>();
    format!("{}{}", names::RESTART_PREFIX, if fits { vault_secret.to_owned() } else { hash() })
}

/// The patch that restarts a workload with a pod template, unless it was restarted for that set already.
#[must_use]
pub fn patch(annotation: &str, set: &str) -> Value {
    json!({"spec": {"template": {"metadata": {"annotations": {annotation: set}}}}})
}

/// The patch that restarts an Argo Rollout, whose pod template may stand in another object; `None` when it was restarted for
/// that set already.
#[must_use]
pub fn rollout_patch(seen: &DynamicObject, annotation: &str, set: &str, now: jiff::Timestamp) -> Option<Value> {
    let done = seen.metadata.annotations.as_ref().and_then(|a| a.get(annotation)).is_some_and(|of| of == set);
    let at = now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    (!done).then(|| {
        json!({
            "metadata": {"annotations": {annotation: set}, "resourceVersion": seen.metadata.resource_version},
            "spec": {"restartAt": at},
        })
    })
}

/// Restarts one workload for a set of values.
///
/// # Errors
/// When the API server refuses or fails.
pub async fn restart(
    client: Client,
    namespace: &str,
    target: &RestartTarget,
    annotation: &str,
    set: &str,
    now: jiff::Timestamp,
) -> Result<Restarted, ApiError> {
    let name = target.name.as_str();
    let params = PatchParams { field_manager: Some(names::OPERATOR.to_owned()), ..PatchParams::default() };
    let patch = Patch::Merge(patch(annotation, set));
    let done = match target.kind {
        RestartKind::Deployment => {
            Api::<Deployment>::namespaced(client, namespace).patch_metadata(name, &params, &patch).await.map(drop)
        }
        RestartKind::StatefulSet => {
            Api::<StatefulSet>::namespaced(client, namespace).patch_metadata(name, &params, &patch).await.map(drop)
        }
        RestartKind::DaemonSet => {
            Api::<DaemonSet>::namespaced(client, namespace).patch_metadata(name, &params, &patch).await.map(drop)
        }
        RestartKind::Rollout => rollout(client, namespace, name, &params, annotation, set, now).await,
    };
    match done {
        Ok(()) => Ok(Restarted::Done),
        Err(error) => {
            let error =
                ApiError::new(format!("restart {} {name:?} in namespace {namespace}", target.kind.as_str()), &error);
            match error.failure {
                ApiFailure::NotFound => Ok(Restarted::Absent),
                _ => Err(error),
            }
        }
    }
}

async fn rollout(
    client: Client,
    namespace: &str,
    name: &str,
    params: &PatchParams,
    annotation: &str,
    set: &str,
    now: jiff::Timestamp,
) -> kube::Result<()> {
    let kind = ApiResource::from_gvk(&GroupVersionKind::gvk("argoproj.io", "v1alpha1", "Rollout"));
    let rollouts: Api<DynamicObject> = Api::namespaced_with(client, namespace, &kind);
    let seen = rollouts.get(name).await?;
    match rollout_patch(&seen, annotation, set, now) {
        Some(patch) => rollouts.patch(name, params, &Patch::Merge(patch)).await.map(drop),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;

    #[test]
    fn the_annotation_of_a_long_name_is_a_valid_one_and_its_own() {
        assert_eq!(annotation("checkout"), "restart.vaultsecret.dev/checkout");
        let (a, b) = (annotation(&"a".repeat(253)), annotation(&"a".repeat(252)));
        assert_ne!(a, b);
        assert!(a.split_once('/').unwrap().1.len() <= 63);
    }

    #[test]
    fn a_rollout_is_restarted_once_a_set() {
        let now: jiff::Timestamp = "2026-11-26T10:00:00.5Z".parse().unwrap();
        let seen = |annotations: Value| -> DynamicObject {
            serde_json::from_value(
                json!({"metadata": {"name": "r", "annotations": annotations, "resourceVersion": "7"}}),
            )
            .unwrap()
        };
        let patch = rollout_patch(&seen(json!({})), "restart.vaultsecret.dev/a", "k1:x", now).unwrap();
        assert_eq!(patch["spec"]["restartAt"], "2026-11-26T10:00:00Z");
        assert_eq!(patch["metadata"]["resourceVersion"], "7");
        let done = seen(json!({"restart.vaultsecret.dev/a": "k1:x"}));
        assert!(rollout_patch(&done, "restart.vaultsecret.dev/a", "k1:x", now).is_none());
        assert!(rollout_patch(&done, "restart.vaultsecret.dev/a", "k1:y", now).is_some());
    }
}
