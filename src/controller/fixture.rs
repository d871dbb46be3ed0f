//! A context without watches, against an API server in memory: what the watches would show, a test puts there itself.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc};

use super::context::{Context, Settings};
use super::events::Events;
use super::keys::{ConnectionKey, Wake};
use crate::api::names;
use crate::clock::Clock;
use crate::metrics::Metrics;
use crate::remote::lane::ObjectKey;
use crate::source::fake_api::FakeApi;
use crate::sync::fingerprint::KeyRing;
use crate::value::SecretValue;

/// A context, the API server that it speaks to.
pub(crate) struct Fixture {
    pub(crate) ctx: Arc<Context>,
    pub(crate) api: FakeApi,
    _woken: mpsc::UnboundedReceiver<ObjectKey>,
    _connections: mpsc::UnboundedReceiver<ConnectionKey>,
    _clusters: mpsc::UnboundedReceiver<Arc<str>>,
}

impl Fixture {
    /// Nothing is there yet.
    pub(crate) async fn start() -> Self {
        let api = FakeApi::start().await;
        let client = api.client();
        let (objects, _woken) = mpsc::unbounded_channel();
        let (connections, _connections) = mpsc::unbounded_channel();
        let (clusters, _clusters) = mpsc::unbounded_channel();
        let settings = Settings {
            vault_token_file: std::path::PathBuf::new(),
            operator_namespace: "system".to_owned(),
            namespaces: Vec::new(),
            finalizer_deadline: Duration::from_secs(900),
            max_retry_after: Duration::from_secs(3600),
            workers: 4,
            safety_net: Duration::from_secs(3600),
        };
        let ctx = Arc::new(Context {
            sealing: crate::controller::sealing::Sealing::default(),
            leadership: crate::leader::Leadership::alone(),
            restarts: crate::controller::restart::RestartBudget::new(60),
            events: Events::new(client.clone(), names::OPERATOR, None),
            client,
            clock: Clock::start(),
            keys: KeyRing::new(vec![("k1".to_owned(), SecretValue::from("a key of the ring"))]).unwrap(),
            vault_secrets: Arc::default(),
            vault_connections: Arc::default(),
            cluster_connections: Arc::default(),
            namespaces: super::namespaces::Namespaces::default(),
            objects: super::object::Objects::default(),
            entries: super::entries::Entries::default(),
            refs: super::refs::Refs::default(),
            selected: super::selected::Selected::default(),
            connections: super::connections::Connections::default(),
            remotes: Mutex::new(HashMap::new()),
            cluster_vault_secrets: Arc::default(),
            clusters: super::cluster::Clusters::default(),
            wake: Wake { objects, connections, clusters },
            metrics: Metrics::new(),
            workers: Semaphore::new(settings.workers),
            wiring: tokio::sync::RwLock::new(()),
            settings,
        });
        Self { ctx, api, _woken, _connections, _clusters }
    }

    /// Shows an object as a watch would.
    pub(crate) fn show_vault_secret(&self, manifest: serde_json::Value) -> ObjectKey {
        let vs: crate::api::VaultSecret = serde_json::from_value(manifest).unwrap();
        let key = super::key_of(&vs);
        self.ctx.vault_secrets.insert(key.clone(), Arc::new(vs));
        key
    }

    /// Shows a connection as a watch would.
    pub(crate) fn show_connection(&self, manifest: serde_json::Value) -> ConnectionKey {
        let object: crate::api::VaultConnection = serde_json::from_value(manifest).unwrap();
        let key = super::changes::connection_key(crate::api::vault_secret::ConnectionKind::VaultConnection, &object);
        self.ctx.vault_connections.insert(key.object.clone(), Arc::new(object));
        key
    }
}
