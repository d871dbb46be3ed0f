//! A connection of either kind, as the watch shows it, or as we wrote or read it since.

use kube::api::{Api, ObjectMeta};

use super::context::Context;
use super::keys::ConnectionKey;
use crate::api::connection::{AllowedNamespaces, ConnectionSpec, ConnectionStatus};
use crate::api::vault_secret::ConnectionKind;
use crate::api::{ClusterVaultConnection, VaultConnection};
use crate::kube_error::within;

/// A connection of either kind.
#[derive(Clone)]
pub struct Shown {
    /// Its key.
    pub key: ConnectionKey,
    /// Its metadata.
    pub metadata: ObjectMeta,
    /// What both kinds have.
    pub spec: ConnectionSpec,
    /// Only on a ClusterVaultConnection.
    pub allowed: Option<AllowedNamespaces>,
    /// Only on a ClusterVaultConnection.
    pub prefix: Option<String>,
    /// Its status.
    pub status: ConnectionStatus,
}

/// Either kind of connection.
pub trait AsShown {
    /// What both kinds have, and what only one has.
    fn as_shown(&self, key: &ConnectionKey) -> Shown;
}

impl AsShown for VaultConnection {
    fn as_shown(&self, key: &ConnectionKey) -> Shown {
        Shown {
            key: key.clone(),
            metadata: self.metadata.clone(),
            spec: self.spec.connection.clone(),
            allowed: None,
            prefix: None,
            status: self.status.clone().unwrap_or_default(),
        }
    }
}

impl AsShown for ClusterVaultConnection {
    fn as_shown(&self, key: &ConnectionKey) -> Shown {
        Shown {
            key: key.clone(),
            metadata: self.metadata.clone(),
            spec: self.spec.connection.clone(),
            allowed: Some(self.spec.allowed_namespaces.clone().unwrap_or_default()),
            prefix: self.spec.remote_name_prefix.clone().filter(|p| !p.is_empty()),
            status: self.status.clone().unwrap_or_default(),
        }
    }
}

impl Shown {
    /// The connection as the watch shows it, or as we wrote or read it after that.
    #[must_use]
    pub fn get(ctx: &Context, key: &ConnectionKey) -> Option<Self> {
        let shown = match key.kind {
            ConnectionKind::VaultConnection => ctx.vault_connections.get(&key.object)?.as_shown(key),
            ConnectionKind::ClusterVaultConnection => ctx.cluster_connections.get(&key.object)?.as_shown(key),
        };
        Some(ctx.connections.newest(shown))
    }

    /// The connection as the API server has it, from the store and not from a cache; `None` when it cannot be read.
    pub async fn read(ctx: &Context, key: &ConnectionKey) -> Option<Self> {
        const CALL: &str = "reading the connection";
        let name = &key.object.name;
        let read = match key.kind {
            ConnectionKind::VaultConnection => {
                let api: Api<VaultConnection> = Api::namespaced(ctx.client.clone(), &key.object.namespace);
                within(CALL, api.get(name)).await.map(|found| found.as_shown(key))
            }
            ConnectionKind::ClusterVaultConnection => {
                let api: Api<ClusterVaultConnection> = Api::all(ctx.client.clone());
                within(CALL, api.get(name)).await.map(|found| found.as_shown(key))
            }
        };
        read.inspect_err(|error| tracing::debug!(connection = %key.object, %error, "not read again")).ok()
    }

    /// Namespace of the credentials: the connection's own, or the operator's for a ClusterVaultConnection.
    #[must_use]
    pub fn credentials_namespace<'a>(&'a self, ctx: &'a Context) -> &'a str {
        match self.key.kind {
            ConnectionKind::VaultConnection => &self.key.object.namespace,
            ConnectionKind::ClusterVaultConnection => &ctx.settings.operator_namespace,
        }
    }
}
