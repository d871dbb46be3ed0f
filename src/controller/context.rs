//! What reconciles share.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use kube::Client;
use tokio::sync::Semaphore;

use super::cluster::Clusters;
use super::connections::Connections;
use super::entries::Entries;
use super::events::Events;
use super::keys::Wake;
use super::namespaces::Namespaces;
use super::object::Objects;
use super::prober::RemoteHandle;
use super::refs::Refs;
use super::restart::RestartBudget;
use super::sealing::Sealing;
use super::selected::Selected;
use super::store::Store;
use crate::api::{ClusterVaultConnection, ClusterVaultSecret, VaultConnection, VaultSecret};
use crate::clock::Clock;
use crate::leader::Leadership;
use crate::metrics::Metrics;
use crate::sync::fingerprint::KeyRing;

/// What `vaultsecret run` was started with.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The operator's own namespace.
    pub operator_namespace: String,
    /// Namespaces to work in; empty: all.
    pub namespaces: Vec<String>,
    /// How long an object that is going waits for its entries to be deleted.
    pub finalizer_deadline: Duration,
    /// Cap on what a remote may ask for with `Retry-After`.
    pub max_retry_after: Duration,
    /// Reconciles that read from and write to the API server at one time.
    pub workers: usize,
    /// How often at the latest an object is looked at again, in case a change was missed.
    pub safety_net: Duration,
    /// The token that tells a Vault who the operator is.
    pub vault_token_file: PathBuf,
}

impl Settings {
    /// Whether the operator works in every namespace, and so sees ClusterVaultConnections and ClusterVaultSecrets.
    #[must_use]
    pub fn is_cluster_wide(&self) -> bool {
        self.namespaces.is_empty()
    }
}

/// What reconciles share.
pub struct Context {
    /// The API server.
    pub client: Client,
    /// Flags.
    pub settings: Settings,
    /// The right to write.
    pub leadership: Leadership,
    /// Time.
    pub clock: Clock,
    /// Keys of fingerprints.
    pub keys: KeyRing,
    /// VaultSecrets as the watch shows them.
    pub vault_secrets: Arc<Store<VaultSecret>>,
    /// VaultConnections as the watch shows them.
    pub vault_connections: Arc<Store<VaultConnection>>,
    /// ClusterVaultConnections as the watch shows them.
    pub cluster_connections: Arc<Store<ClusterVaultConnection>>,
    /// ClusterVaultSecrets as the watch shows them.
    pub cluster_vault_secrets: Arc<Store<ClusterVaultSecret>>,
    /// What is remembered of them, and the Secrets that were copied for them.
    pub clusters: Clusters,
    /// Namespaces and their labels; empty unless cluster-wide.
    pub namespaces: Namespaces,
    /// What is remembered of VaultSecrets.
    pub objects: Objects,
    /// Entries and who has them.
    pub entries: Entries,
    /// Secrets and ConfigMaps that somebody refers to.
    pub refs: Refs,
    /// Secrets that somebody selects by label.
    pub selected: Selected,
    /// What opens sealed values.
    pub sealing: Sealing,
    /// Connections that were read.
    pub connections: Connections,
    /// Remotes by budget identity.
    pub remotes: Mutex<HashMap<String, Arc<RemoteHandle>>>,
    /// How many workloads may be restarted.
    pub restarts: RestartBudget,
    /// Wakes objects and connections.
    pub wake: Wake,
    /// Events.
    pub events: Events,
    /// Metrics.
    pub metrics: Arc<Metrics>,
    /// Bounds work at the API server.
    pub workers: Semaphore,
    /// Held for reading from the moment that a connection looks up its remote until it is published with it; for writing while
    /// remotes that no connection uses are ended.
    pub wiring: tokio::sync::RwLock<()>,
}

impl Context {
    /// The remotes by budget identity.
    pub fn remotes(&self) -> std::sync::MutexGuard<'_, HashMap<String, Arc<RemoteHandle>>> {
        self.remotes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
