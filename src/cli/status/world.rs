//! What `status` looks at: VaultSecrets and connections, listed in pages, and kept up to date by watches.

use std::collections::{BTreeMap, BTreeSet};

use kube::api::{Api, ListParams};
use kube::runtime::watcher::Event;
use kube::{Resource, ResourceExt as _};
use serde::de::DeserializeOwned;

use super::estimate::Connections;
use super::view::{ObjectView, Standing};
use crate::api::vault_secret::ConnectionKind;
use crate::api::{ClusterVaultConnection, VaultConnection, VaultSecret};
use crate::cli::cluster::{Target, every_page, within};
use crate::controller::guard::Guarded;
use crate::controller::keys::ConnectionKey;
use crate::controller::shown::AsShown;
use crate::kube_error::{ApiError, ApiErrorKind};
use crate::remote::lane::ObjectKey;

/// What a watch brings.
pub(super) enum Change {
    /// Of VaultSecrets.
    Object(Event<Guarded<VaultSecret>>),
    /// Of VaultConnections.
    Connection(Event<Guarded<VaultConnection>>),
    /// Of ClusterVaultConnections.
    ClusterConnection(Event<Guarded<ClusterVaultConnection>>),
}

/// What there is.
#[derive(Default)]
pub(super) struct World {
    objects: BTreeMap<ObjectKey, ObjectView>,
    sources: BTreeMap<ObjectKey, VaultSecret>,
    /// Connections that may be looked at.
    pub(super) connections: Connections,
    /// What could not be looked at.
    pub(super) notes: Vec<String>,
    /// What a list that is being read anew has shown so far.
    seen: BTreeSet<ObjectKey>,
    seen_connections: BTreeSet<ConnectionKey>,
}

async fn list<K>(call: &'static str, api: &Api<K>) -> Result<Vec<K>, ApiError>
where
    K: Clone + DeserializeOwned + std::fmt::Debug,
{
    every_page(ListParams::default(), async |params| within(call, api.list(params)).await).await
}

/// Where VaultSecrets and VaultConnections are looked for.
pub(super) fn api<K>(target: &Target, all: bool) -> Api<K>
where
    K: Resource<Scope = kube::core::NamespaceResourceScope, DynamicType = ()>,
{
    if all { Api::all(target.client.clone()) } else { target.namespaced() }
}

impl World {
    /// Looks at one VaultSecret, at those of the namespace or at all.
    ///
    /// # Errors
    /// One sentence that says what to do.
    pub(super) async fn observe(target: &Target, name: Option<&str>, all: bool) -> anyhow::Result<Self> {
        let mut world = Self::default();
        let objects: Vec<Guarded<VaultSecret>> = match name {
            Some(name) => vec![target.vault_secret(name).await?],
            None => list("listing VaultSecrets", &api(target, all)).await.map_err(|error| {
                target.explain(&error, "list", "VaultSecrets", Some(&*target.namespace).filter(|_| !all))
            })?,
        };
        world.observe_connections(target, all).await;
        for object in objects {
            world.take(object);
        }
        if let Some(name) = name.filter(|_| world.objects.is_empty()) {
            anyhow::bail!("VaultSecret {name:?} is of another version of the definitions: it cannot be understood");
        }
        Ok(world)
    }

    async fn observe_connections(&mut self, target: &Target, all: bool) {
        let read = list("listing VaultConnections", &api::<Guarded<VaultConnection>>(target, all)).await;
        self.take_connections(read, ConnectionKind::VaultConnection);
        let read =
            list("listing ClusterVaultConnections", &target.of_cluster::<Guarded<ClusterVaultConnection>>()).await;
        self.take_connections(read, ConnectionKind::ClusterVaultConnection);
    }

    fn take_connections<K>(&mut self, read: Result<Vec<Guarded<K>>, ApiError>, kind: ConnectionKind)
    where
        K: Resource + AsShown,
    {
        match read {
            Ok(found) => found.into_iter().for_each(|one| drop(self.take_connection(one, kind))),
            Err(error) => {
                let why = if error.kind == ApiErrorKind::Forbidden {
                    "you may not list them".to_owned()
                } else {
                    error.to_string()
                };
                self.notes.push(format!("{}s could not be looked at: {why}", kind.as_str()));
            }
        }
    }

    fn take_connection<K: Resource + AsShown>(&mut self, one: Guarded<K>, kind: ConnectionKind) -> ConnectionKey {
        let namespace = one.meta().namespace.clone().unwrap_or_default();
        let name = one.meta().name.clone().unwrap_or_default();
        let key = ConnectionKey::new(kind, &namespace, &name);
        if let Ok(object) = one.0 {
            self.connections.insert(key.clone(), object.as_shown(&key));
        }
        key
    }

    /// Takes in an object. Returns its key if it can be understood.
    fn take(&mut self, object: Guarded<VaultSecret>) -> Option<ObjectKey> {
        let key = ObjectKey::new(object.namespace().unwrap_or_default(), object.name_any());
        match object.0 {
            Ok(mut vs) => {
                vs.metadata.managed_fields = None;
                self.sources.insert(key.clone(), vs);
                self.judge(&key);
                Some(key)
            }
            Err(_) => {
                let note =
                    format!("VaultSecret {key} is of another version of the definitions: it cannot be understood");
                if !self.notes.contains(&note) {
                    self.notes.push(note);
                }
                None
            }
        }
    }

    fn judge(&mut self, key: &ObjectKey) {
        let Some(vs) = self.sources.get(key) else { return };
        let reference = &vs.spec.connection_ref;
        let connection = ConnectionKey::new(reference.kind(), &key.namespace, &reference.name);
        let view = ObjectView::new(vs, self.connections.get(&connection));
        self.objects.insert(key.clone(), view);
    }

    fn forget(&mut self, key: &ObjectKey) {
        self.sources.remove(key);
        self.objects.remove(key);
    }

    /// All of them, in order.
    pub(super) fn views(&self) -> Vec<ObjectView> {
        self.objects.values().cloned().collect()
    }

    /// All of them, as they are.
    pub(super) fn all(&self) -> impl Iterator<Item = &ObjectView> {
        self.objects.values()
    }

    /// Whether all of them are as their specs want it.
    pub(super) fn is_ready(&self) -> bool {
        self.all().all(|view| view.standing == Standing::Ready)
    }

    /// One of them.
    pub(super) fn view(&self, key: &ObjectKey) -> Option<&ObjectView> {
        self.objects.get(key)
    }

    /// Takes in a change. Returns the objects that it may have changed.
    pub(super) fn apply(&mut self, change: Change) -> Vec<ObjectKey> {
        match change {
            Change::Object(event) => self.apply_object(event),
            Change::Connection(event) => self.apply_connection(event, ConnectionKind::VaultConnection),
            Change::ClusterConnection(event) => self.apply_connection(event, ConnectionKind::ClusterVaultConnection),
        }
    }

    fn apply_object(&mut self, event: Event<Guarded<VaultSecret>>) -> Vec<ObjectKey> {
        match event {
            Event::Apply(object) => self.take(object).into_iter().collect(),
            Event::Delete(object) => {
                let key = ObjectKey::new(object.namespace().unwrap_or_default(), object.name_any());
                self.forget(&key);
                vec![key]
            }
            Event::Init => {
                self.seen.clear();
                Vec::new()
            }
            Event::InitApply(object) => {
                let key = self.take(object);
                self.seen.extend(key.clone());
                key.into_iter().collect()
            }
            Event::InitDone => {
                let gone: Vec<ObjectKey> =
                    self.objects.keys().filter(|key| !self.seen.contains(*key)).cloned().collect();
                gone.iter().for_each(|key| self.forget(key));
                gone
            }
        }
    }

    fn apply_connection<K: Resource + AsShown>(
        &mut self,
        event: Event<Guarded<K>>,
        kind: ConnectionKind,
    ) -> Vec<ObjectKey> {
        let changed = match event {
            Event::Apply(one) => vec![self.take_connection(one, kind)],
            Event::Delete(one) => {
                let key = self.take_connection(one, kind);
                self.connections.remove(&key);
                vec![key]
            }
            Event::Init => {
                self.seen_connections.retain(|key| key.kind != kind);
                Vec::new()
            }
            Event::InitApply(one) => {
                let key = self.take_connection(one, kind);
                self.seen_connections.insert(key.clone());
                vec![key]
            }
            Event::InitDone => {
                let gone = |key: &&ConnectionKey| key.kind == kind && !self.seen_connections.contains(*key);
                let gone: Vec<ConnectionKey> = self.connections.keys().filter(gone).cloned().collect();
                gone.iter().for_each(|key| drop(self.connections.remove(key)));
                gone
            }
        };
        let behind = |view: &&ObjectView| changed.contains(&view.key);
        let keys: Vec<ObjectKey> = self
            .objects
            .values()
            .filter(behind)
            .map(|view| ObjectKey::new(view.namespace.as_str(), view.name.as_str()))
            .collect();
        keys.iter().for_each(|key| self.judge(key));
        keys
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::super::tests::vault_secret;
    use super::*;

    fn object(name: &str, reason: &str) -> Guarded<VaultSecret> {
        Guarded(Ok(vault_secret(name, "kelvin", reason, &["Queued"])))
    }

    #[test]
    fn a_watch_that_begins_anew_forgets_what_went_meanwhile() {
        let mut world = World::default();
        for event in [
            Event::Init,
            Event::InitApply(object("a", "Queued")),
            Event::InitApply(object("b", "Queued")),
            Event::InitDone,
        ] {
            world.apply(Change::Object(event));
        }
        assert_eq!(world.views().len(), 2);
        world.apply(Change::Object(Event::Apply(object("a", "Synced"))));
        assert_eq!(world.view(&ObjectKey::new("shop", "a")).unwrap().standing, Standing::Ready);
        // The watch expired; while it was away `b` went.
        world.apply(Change::Object(Event::Init));
        world.apply(Change::Object(Event::InitApply(object("a", "Synced"))));
        assert_eq!(world.views().len(), 2, "nothing goes before the list is complete");
        assert_eq!(world.apply(Change::Object(Event::InitDone)), [ObjectKey::new("shop", "b")]);
        assert_eq!(world.views().len(), 1);
        world.apply(Change::Object(Event::Delete(object("a", "Synced"))));
        assert!(world.views().is_empty());
    }
}
