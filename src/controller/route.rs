//! From a VaultSecret to its connection, or to the reason why it has none.

use std::sync::Arc;

use super::connections::ConnectionHandle;
use super::context::Context;
use super::desired::Issue;
use super::keys::ConnectionKey;
use crate::api::vault_secret::{ConnectionKind, ConnectionRef};
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
}

impl Route {
    /// Finds the connection that the spec names.
    #[must_use]
    pub fn find(ctx: &Context, object: &ObjectKey, vs: &VaultSecret) -> Self {
        Self::through(ctx, object, &vs.spec.connection_ref)
    }

    /// Finds a connection that an object refers to.
    #[must_use]
    pub fn through(ctx: &Context, object: &ObjectKey, reference: &ConnectionRef) -> Self {
        let key = ConnectionKey::new(reference.kind(), &object.namespace, &reference.name);
        let display = key.display();
        let without = |issue, passing| Self { handle: None, problem: Some(Problem { issue, passing, always: true }) };
        if key.kind == ConnectionKind::ClusterVaultConnection && !ctx.settings.is_cluster_wide() {
            let text =
                format!("{display}: the operator works in a list of namespaces only, without ClusterVaultConnections");
            return without(Issue::new(Reason::NotAllowed, text), false);
        }
        let Some(generation) = generation_of(ctx, &key) else {
            let where_ = match key.kind {
                ConnectionKind::VaultConnection => format!(" in namespace {}", object.namespace),
                ConnectionKind::ClusterVaultConnection => String::new(),
            };
            return without(Issue::new(Reason::ConnectionMissing, format!("{display} does not exist{where_}")), false);
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
        Self { handle: Some(handle), problem }
    }

    /// Whether the connection allows another namespace, which exists.
    #[must_use]
    pub fn allows(&self, ctx: &Context, namespace: &str) -> bool {
        let allowed = self.handle.as_ref().and_then(|handle| handle.allowed.as_ref());
        allowed.is_some_and(|allowed| ctx.namespaces.exists(namespace) && ctx.namespaces.allows(allowed, namespace))
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
