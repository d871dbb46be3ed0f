//! Who can be woken, and the channels that wake them.

use std::sync::Arc;

use tokio::sync::mpsc;

use crate::api::vault_secret::ConnectionKind;
use crate::remote::lane::ObjectKey;

/// A connection by kind, namespace (empty for a cluster connection) and name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnectionKey {
    /// Its kind.
    pub kind: ConnectionKind,
    /// Namespace and name.
    pub object: ObjectKey,
}

impl ConnectionKey {
    /// The connection that a VaultSecret in `namespace` names.
    #[must_use]
    pub fn new(kind: ConnectionKind, namespace: &str, name: &str) -> Self {
        let namespace = if kind == ConnectionKind::ClusterVaultConnection { "" } else { namespace };
        Self { kind, object: ObjectKey::new(namespace, name) }
    }

    /// Reads `<kind>/<name>`, as a ledger row of a VaultSecret in `namespace` names it.
    #[must_use]
    pub fn parse(display: &str, namespace: &str) -> Option<Self> {
        let (kind, name) = display.split_once('/')?;
        let kind = match kind {
            "VaultConnection" => ConnectionKind::VaultConnection,
            "ClusterVaultConnection" => ConnectionKind::ClusterVaultConnection,
            _ => return None,
        };
        Some(Self::new(kind, namespace, name))
    }

    /// `<kind>/<name>`, as ledger rows name it.
    #[must_use]
    pub fn display(&self) -> String {
        format!("{}/{}", self.kind.as_str(), self.object.name)
    }
}

impl ConnectionKey {
    /// The connection as metrics name it: with its namespace, where it has one.
    #[must_use]
    pub fn metric_name(&self) -> String {
        if self.object.namespace.is_empty() { self.object.name.to_string() } else { self.object.to_string() }
    }
}

/// Somebody who wants to know of changes.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Waker {
    /// A VaultSecret.
    Object(ObjectKey),
    /// A connection.
    Connection(ConnectionKey),
    /// A ClusterVaultSecret, by name.
    Cluster(Arc<str>),
}

/// The sending ends of the channels that wake objects and connections.
#[derive(Clone, Debug)]
pub struct Wake {
    /// Wakes VaultSecrets; lanes have a copy of it.
    pub objects: mpsc::UnboundedSender<ObjectKey>,
    /// Wakes connections.
    pub connections: mpsc::UnboundedSender<ConnectionKey>,
    /// Wakes ClusterVaultSecrets.
    pub clusters: mpsc::UnboundedSender<Arc<str>>,
}

impl Wake {
    /// Wakes everybody in the list.
    pub fn all(&self, who: impl IntoIterator<Item = Waker>) {
        for one in who {
            match one {
                Waker::Object(key) => self.object(key),
                Waker::Connection(key) => self.connection(key),
                Waker::Cluster(name) => self.cluster(name),
            }
        }
    }

    /// Wakes a VaultSecret. A channel without a receiver means that the process is ending.
    pub fn object(&self, key: ObjectKey) {
        let _ = self.objects.send(key);
    }

    /// Wakes a connection.
    pub fn connection(&self, key: ConnectionKey) {
        let _ = self.connections.send(key);
    }

    /// Wakes a ClusterVaultSecret.
    pub fn cluster(&self, name: Arc<str>) {
        let _ = self.clusters.send(name);
    }
}
