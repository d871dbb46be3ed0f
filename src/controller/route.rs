//! From a VaultSecret to its connection, or to the reason why it has none.

use std::sync::Arc;

use super::connections::ConnectionHandle;
use super::context::Context;
use super::desired::Issue;
use super::keys::ConnectionKey;
use crate::api::vault_secret::{ConnectionKind, ConnectionRef, CreationPolicy, DataEntry};
use crate::api::{ConnectionReason, Reason, VaultSecret};
use crate::remote::lane::ObjectKey;

/// Why nothing may be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// For the status.
    pub issue: Issue,
    /// It will pass in a moment, and is not worth a write of the status.
    pub passing: bool,
    /// Even an object that is in sync says so.
    pub always: bool,
}

/// The connection of a VaultSecret.
pub struct Route {
    /// The connection, when it was read and may be used.
    pub handle: Option<Arc<ConnectionHandle>>,
    /// Why nothing may be written.
    pub problem: Option<Problem>,
    /// The connection was edited, and has not been read since: whom it allows may be another by now.
    pub behind: bool,
}

impl Route {
    /// Finds the connection that the spec names.
    #[must_use]
    pub fn find(ctx: &Context, object: &ObjectKey, vs: &VaultSecret) -> Self {
        let mut route = Self::through(ctx, object, &vs.spec.connection_ref);
        // Before anything is pushed, and not when it comes to writing the Secret.
        if route.handle.is_some()
            && route.problem.is_none()
            && let Some(text) = source_is_target(vs, &object.name)
        {
            route.problem =
                Some(Problem { issue: Issue::new(Reason::TargetConflict, text), passing: false, always: true });
        }
        route
    }

    /// Finds a connection that an object refers to.
    #[must_use]
    pub fn through(ctx: &Context, object: &ObjectKey, reference: &ConnectionRef) -> Self {
        let key = ConnectionKey::new(reference.kind(), &object.namespace, &reference.name);
        let display = key.display();
        let without = |issue, passing| Self {
            handle: None,
            problem: Some(Problem { issue, passing, always: true }),
            behind: false,
        };
        if key.kind == ConnectionKind::ClusterVaultConnection && !ctx.settings.is_cluster_wide() {
            let text =
                format!("{display}: the operator works in a list of namespaces only, without ClusterVaultConnections");
            return without(Issue::new(Reason::NotAllowed, text), false);
        }
        let Some(generation) = generation_of(ctx, &key) else {
            return without(Issue::new(Reason::ConnectionMissing, missing(ctx, object, &key, &display)), false);
        };
        let reading = || Issue::new(Reason::ConnectionNotReady, format!("{display} is being read"));
        let Some(handle) = ctx.connections.get(&key) else {
            return match ctx.connections.blocked(&key).filter(|b| b.generation == generation) {
                Some(why) => {
                    let text = format!("{display}: {}: {}", why.reason.as_str(), why.message);
                    without(Issue::new(Reason::ConnectionNotReady, text), false)
                }
                None => without(reading(), true),
            };
        };
        if let Some(allowed) = &handle.allowed
            && !ctx.namespaces.allows(allowed, &object.namespace)
        {
            let text = format!("{display} does not allow namespace {} (spec.allowedNamespaces)", object.namespace);
            return without(Issue::new(Reason::NotAllowed, text), false);
        }
        let problem = if handle.generation != generation {
            Some(Problem { issue: reading(), passing: true, always: false })
        } else if let Some(freeze) = handle.frozen() {
            let text = format!("{display} is frozen: {}", freeze.reason);
            Some(Problem { issue: Issue::new(Reason::RemoteDiverged, text), passing: false, always: true })
        } else {
            handle.not_ready().map(|(reason, text)| Problem {
                issue: Issue::new(Reason::ConnectionNotReady, format!("{display}: {}: {text}", reason.as_str())),
                passing: reason == ConnectionReason::Connecting,
                always: false,
            })
        };
        Self { behind: handle.generation != generation, handle: Some(handle), problem }
    }

    /// Whether the connection allows another namespace, which exists.
    #[must_use]
    pub fn allows(&self, ctx: &Context, namespace: &str) -> bool {
        let allowed = self.handle.as_ref().and_then(|handle| handle.allowed.as_ref());
        allowed.is_some_and(|allowed| ctx.namespaces.exists(namespace) && ctx.namespaces.allows(allowed, namespace))
    }
}

/// There is no such connection; perhaps the other kind was meant.
fn missing(ctx: &Context, object: &ObjectKey, key: &ConnectionKey, display: &str) -> String {
    let there = |kind| generation_of(ctx, &ConnectionKey::new(kind, &object.namespace, &key.object.name)).is_some();
    match key.kind {
        ConnectionKind::VaultConnection if there(ConnectionKind::ClusterVaultConnection) => format!(
            "{display} does not exist in namespace {}, and a ClusterVaultConnection of that name does: did you mean \
             connectionRef.kind: ClusterVaultConnection?",
            object.namespace
        ),
        ConnectionKind::VaultConnection => format!("{display} does not exist in namespace {}", object.namespace),
        ConnectionKind::ClusterVaultConnection if there(ConnectionKind::VaultConnection) => format!(
            "{display} does not exist, and a VaultConnection of that name does in namespace {}: did you mean \
             connectionRef.kind: VaultConnection?",
            object.namespace
        ),
        ConnectionKind::ClusterVaultConnection => format!("{display} does not exist"),
    }
}

/// The target would be a Secret that values come from. Under Merge that may be, where our keys are put beside those.
#[must_use]
pub fn source_is_target(vs: &VaultSecret, own_name: &str) -> Option<String> {
    let target = vs.spec.target_name(own_name);
    let from_target = |entry: &DataEntry| {
        let of = entry.value_from.as_ref().and_then(|from| from.secret_key_ref.as_ref());
        of.is_some_and(|of| of.name == target)
    };
    let mut sources = vs.spec.data.iter().filter(|entry| from_target(entry));
    match vs.spec.creation_policy() {
        CreationPolicy::None => None,
        CreationPolicy::Owner | CreationPolicy::Orphan => sources.next().map(|entry| {
            format!(
                "Secret {target:?} cannot be the target, because key {} comes from it: set spec.target.name to another name",
                entry.key
            )
        }),
        CreationPolicy::Merge => sources.find_map(|entry| {
            let of = entry.value_from.as_ref()?.secret_key_ref.as_ref()?;
            let other = |e: &DataEntry| e.key != entry.key && e.key == of.key && e.projects();
            let written = vs.spec.data.iter().any(other) || vs.spec.target_templates().any(|(key, _)| key == of.key);
            written.then(|| {
                format!(
                    "key {} comes from {:?} of Secret {target:?}, which is the target and would have that key written: use \
                     another key, or set spec.target.name to another name",
                    entry.key, of.key
                )
            })
        }),
    }
}

/// Generation of a connection, as the watch shows it; `None` when it does not exist.
fn generation_of(ctx: &Context, key: &ConnectionKey) -> Option<i64> {
    let generation = match key.kind {
        ConnectionKind::VaultConnection => ctx.vault_connections.get(&key.object)?.metadata.generation,
        ConnectionKind::ClusterVaultConnection => ctx.cluster_connections.get(&key.object)?.metadata.generation,
    };
    Some(generation.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use serde_json::{Value, json};

    use super::*;

    fn told(target: Value) -> Option<String> {
        let entry = json!({"key": "API_KEY", "valueFrom": {"secretKeyRef": {"name": "source", "key": "raw"}}});
        let spec = json!({"connectionRef": {"name": "c"}, "target": target,
                          "data": [entry, {"key": "more", "value": "v"}]});
        source_is_target(&VaultSecret::new("app", serde_json::from_value(spec).unwrap()), "app")
    }

    #[test]
    fn a_source_is_no_target() {
        assert_eq!(told(json!({})), None);
        let text = told(json!({"name": "source"})).unwrap();
        assert!(text.contains("key API_KEY comes from it: set spec.target.name"), "{text}");
        assert!(told(json!({"name": "source", "creationPolicy": "Orphan"})).is_some());
        assert_eq!(told(json!({"name": "source", "creationPolicy": "None"})), None);
    }

    #[test]
    fn merging_into_a_source_is_for_other_keys() {
        let merged =
            |data: Value| told(json!({"name": "source", "creationPolicy": "Merge", "template": {"data": data}}));
        assert_eq!(merged(json!({})), None);
        assert_eq!(merged(json!({"other": "x"})), None);
        assert!(merged(json!({"raw": "{{ API_KEY }}x"})).unwrap().contains("key API_KEY comes from \"raw\""));
    }
}
