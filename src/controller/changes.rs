//! What the watches of our own kinds change in the indexes, and whom they wake.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::{Arc, Mutex, PoisonError};

use kube::core::{ObjectMeta, Selector};
use kube::{Resource, ResourceExt as _};

use super::context::Context;
use super::keys::{ConnectionKey, Waker};
use super::store::Change;
use super::{cluster, credentials, key_of, pass};
use crate::api::condition::{self, types};
use crate::api::connection::ConnectionSpec;
use crate::api::vault_secret::ConnectionKind;
use crate::api::{ClusterVaultSecret, VaultSecret, names};
use crate::remote::lane::ObjectKey;

/// Takes changes in.
pub struct Changes {
    ctx: Arc<Context>,
    /// What was seen last of what wakes.
    hashes: Mutex<HashMap<Waker, u64>>,
    /// What ClusterVaultSecrets were told of their VaultSecrets.
    told: Mutex<HashMap<ObjectKey, u64>>,
}

impl Changes {
    /// Nothing seen yet.
    #[must_use]
    pub fn new(ctx: Arc<Context>) -> Arc<Self> {
        Arc::new(Self { ctx, hashes: Mutex::default(), told: Mutex::default() })
    }

    /// Whether something of the metadata changed that wakes.
    fn is_news(&self, who: &Waker, meta: &ObjectMeta) -> bool {
        let hash = what_wakes(meta);
        self.hashes.lock().unwrap_or_else(PoisonError::into_inner).insert(who.clone(), hash) != Some(hash)
    }

    fn forget(&self, who: &Waker) {
        self.hashes.lock().unwrap_or_else(PoisonError::into_inner).remove(who);
    }

    /// Whether something changed of a VaultSecret that a ClusterVaultSecret has to know, if one made it or may want one of its name.
    fn tells_cluster(&self, key: &ObjectKey, vs: &VaultSecret) -> bool {
        if !self.ctx.settings.is_cluster_wide() {
            return false;
        }
        let hash = what_tells(vs);
        self.told.lock().unwrap_or_else(PoisonError::into_inner).insert(key.clone(), hash) != Some(hash)
    }

    /// A ClusterVaultSecret changed.
    pub fn cluster(&self, change: Change<ClusterVaultSecret>) {
        match change {
            Change::Applied(object) => {
                let name: Arc<str> = object.name_any().into();
                if self.is_news(&Waker::Cluster(Arc::clone(&name)), &object.metadata) {
                    self.ctx.wake.cluster(name);
                }
            }
            Change::Gone(object) => {
                let name: Arc<str> = object.name_any().into();
                self.forget(&Waker::Cluster(Arc::clone(&name)));
                self.ctx.wake.cluster(name);
            }
            Change::Undecodable(key, error) => {
                tracing::error!(name = %key.name, %error, "a ClusterVaultSecret cannot be decoded; the others go on");
                self.ctx.metrics.undecodable_object("ClusterVaultSecret");
            }
        }
    }

    /// A VaultSecret changed.
    pub fn object(&self, change: Change<VaultSecret>) {
        match change {
            Change::Applied(vs) => {
                let key = key_of(&vs);
                self.ctx.objects.shown(&key, &vs);
                if self.tells_cluster(&key, &vs) {
                    cluster::wake_for(&self.ctx, &vs);
                }
                let who = Waker::Object(key.clone());
                if self.is_news(&who, &vs.metadata) {
                    self.ctx.refs.set(&who, pass::refs_of(&vs));
                    self.ctx.selected.set(&who, &key.namespace, &selectors_of(&vs));
                    self.ctx.wake.object(key);
                }
            }
            Change::Gone(vs) => {
                let key = key_of(&vs);
                let who = Waker::Object(key.clone());
                self.forget(&who);
                self.ctx.refs.set(&who, Vec::new());
                self.ctx.selected.set(&who, &key.namespace, &[]);
                super::readable::forget(&self.ctx, &key);
                for freed in self.ctx.entries.remove(&key, self.ctx.clock.now()) {
                    self.ctx.wake.object(freed);
                }
                let connection = &vs.spec.connection_ref;
                self.ctx.wake.connection(ConnectionKey::new(connection.kind(), &key.namespace, &connection.name));
                self.ctx.objects.forget(&key);
                self.told.lock().unwrap_or_else(PoisonError::into_inner).remove(&key);
                cluster::wake_for(&self.ctx, &vs);
            }
            Change::Undecodable(key, error) => {
                tracing::error!(
                    namespace = %key.namespace, name = %key.name, %error, "a VaultSecret cannot be decoded; the others go on"
                );
                self.ctx.metrics.undecodable_object("VaultSecret");
            }
        }
    }

    /// A connection changed.
    pub fn connection<K: Resource>(
        &self,
        kind: ConnectionKind,
        change: Change<K>,
        spec: impl Fn(&K) -> ConnectionSpec,
    ) {
        match change {
            Change::Applied(object) => {
                let key = connection_key(kind, &*object);
                let who = Waker::Connection(key.clone());
                if self.is_news(&who, object.meta()) {
                    let namespace = match kind {
                        ConnectionKind::VaultConnection => key.object.namespace.to_string(),
                        ConnectionKind::ClusterVaultConnection => self.ctx.settings.operator_namespace.clone(),
                    };
                    self.ctx.refs.set(&who, credentials::refs(&spec(&object), &namespace));
                    // Objects that name it wait for what becomes of it, so they are looked at too.
                    self.ctx.wake.connection(key.clone());
                    if kind == ConnectionKind::ClusterVaultConnection {
                        cluster::wake_users(&self.ctx, &key.object.name);
                    }
                    if self.ctx.connections.get(&key).is_none() {
                        super::connection::wake_objects(&self.ctx, &key);
                    }
                }
            }
            Change::Gone(object) => {
                let key = connection_key(kind, &*object);
                self.forget(&Waker::Connection(key.clone()));
                if kind == ConnectionKind::ClusterVaultConnection {
                    cluster::wake_users(&self.ctx, &key.object.name);
                }
                self.ctx.wake.connection(key);
            }
            Change::Undecodable(key, error) => {
                tracing::error!(
                    kind = kind.as_str(), namespace = %key.namespace, name = %key.name, %error,
                    "a connection cannot be decoded; the others go on"
                );
                self.ctx.metrics.undecodable_object(kind.as_str());
            }
        }
    }
}

/// The selectors of `spec.dataFrom` that can be used.
fn selectors_of(vs: &VaultSecret) -> Vec<Selector> {
    let all = vs.spec.data_from.iter().filter_map(|from| from.selector.clone());
    all.filter_map(|selector| Selector::try_from(selector).ok()).filter(|selector| !selector.selects_all()).collect()
}

/// Key of a connection.
#[must_use]
pub fn connection_key<K: Resource>(kind: ConnectionKind, object: &K) -> ConnectionKey {
    let meta = object.meta();
    ConnectionKey::new(kind, meta.namespace.as_deref().unwrap_or_default(), meta.name.as_deref().unwrap_or_default())
}

/// What of an object's metadata wakes it: not its status, which we write ourselves.
fn what_wakes(meta: &ObjectMeta) -> u64 {
    let mut hasher = DefaultHasher::new();
    meta.uid.hash(&mut hasher);
    meta.generation.hash(&mut hasher);
    meta.finalizers.hash(&mut hasher);
    meta.deletion_timestamp.as_ref().map(|t| t.0).hash(&mut hasher);
    for name in [names::FORCE_PUSH, names::ADOPT, names::APPROVE] {
        meta.annotations.as_ref().and_then(|a| a.get(name)).hash(&mut hasher);
    }
    hasher.finish()
}

/// What of a VaultSecret tells a ClusterVaultSecret something: whose and what it is, whether it is Ready, and its Secret's version.
fn what_tells(vs: &VaultSecret) -> u64 {
    let mut hasher = DefaultHasher::new();
    let meta = &vs.metadata;
    (&meta.uid, meta.generation, &meta.labels, &meta.annotations).hash(&mut hasher);
    meta.deletion_timestamp.as_ref().map(|t| t.0).hash(&mut hasher);
    for owner in meta.owner_references.iter().flatten() {
        (&owner.uid, owner.controller).hash(&mut hasher);
    }
    if let Some(status) = &vs.status {
        status.observed_generation.hash(&mut hasher);
        status.target.as_ref().map(|target| (&target.name, &target.resource_version)).hash(&mut hasher);
        let ready = condition::find(&status.conditions, types::READY);
        ready.map(|c| (&c.status, &c.reason, &c.message)).hash(&mut hasher);
    }
    hasher.finish()
}
