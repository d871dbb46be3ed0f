//! Who would have an entry that several VaultSecrets name: those of the manifests, and the others of the cluster.

use std::collections::HashMap;
use std::sync::Arc;

use super::link::{self, Link};
use super::world::World;
use crate::api::VaultSecret;
use crate::api::vault_secret::VaultSecretSpec;
use crate::controller::desired::{self, Issue, Naming, Prefix};
use crate::controller::keys::ConnectionKey;
use crate::remote::lane::ObjectKey;
use crate::sync::conflict::{Claimant, Hold, owner};

/// An entry: the remote, and the name there.
type EntryId = (Arc<str>, String);

/// All claims.
#[derive(Default)]
pub struct Claims(HashMap<EntryId, Vec<Claimant>>);

/// The entries that a VaultSecret wants, as its spec is to be: what the operator would make of it before it looks at any name or
/// value. Whatever expands a spec has its place here.
#[must_use]
pub fn effective(spec: &VaultSecretSpec) -> &VaultSecretSpec {
    spec
}

/// The uid of a VaultSecret as it would be; made up for one that is not there yet, in the order of the manifests.
#[must_use]
pub fn uid(world: &World, key: &ObjectKey) -> String {
    let live = world.live(key).and_then(|vs| vs.metadata.uid.clone());
    live.unwrap_or_else(|| {
        let is = |m: &super::world::Manifest| {
            m.kind == "VaultSecret" && m.namespace == *key.namespace && m.name == *key.name
        };
        format!("new-{:06}", world.manifests.iter().position(is).unwrap_or(usize::MAX))
    })
}

/// The names at the remote of what a spec wants, in its order.
#[must_use]
pub fn names(
    world: &World,
    namespace: &str,
    spec: &VaultSecretSpec,
    link: &Link,
) -> Vec<Option<Result<String, Issue>>> {
    let allows = |other: &str| {
        world.namespaces.exists(other)
            && link.allowed.as_ref().is_some_and(|allowed| world.namespaces.allows(allowed, other))
    };
    let prefix = link.prefix.as_deref().map(|template| Prefix { template, namespace, allows: &allows });
    desired::names(spec, &Naming { rules: &link.rules, prefix, connection: &link.display })
}

impl Claims {
    /// Gathers them.
    #[must_use]
    pub fn gather(world: &World) -> Self {
        let mut claims = Self::default();
        let none = std::collections::BTreeMap::new();
        let live = world.cluster.as_ref().map_or(&none, |cluster| &cluster.vault_secrets);
        for (key, vs) in &world.wanted {
            claims.add(world, key, &vs.spec, live.get(key));
        }
        for (key, vs) in live.iter().filter(|(key, _)| !world.wanted.contains_key(*key)) {
            claims.add(world, key, &vs.spec, Some(vs));
        }
        claims
    }

    fn add(&mut self, world: &World, key: &ObjectKey, spec: &VaultSecretSpec, live: Option<&VaultSecret>) {
        let link = link::find(world, &key.namespace, &spec.connection_ref).ok();
        let claimant = |hold, prefix| Claimant {
            created: live.and_then(|vs| vs.metadata.creation_timestamp.as_ref()).map(|at| at.0),
            uid: uid(world, key),
            name: key.to_string(),
            hold,
            prefix,
        };
        for row in live.and_then(|vs| vs.status.as_ref()).into_iter().flat_map(|status| &status.entries) {
            let hold = if row.is_ours() {
                Hold::Ours
            } else if row.holds() {
                Hold::Claimed
            } else {
                continue;
            };
            let connection = ConnectionKey::parse(&row.connection, &key.namespace);
            let shown = connection.and_then(|connection| world.connection(&connection));
            if let Some(link) = shown.and_then(|shown| link::of(world, shown).ok()) {
                let prefix = link.prefix_length(&key.namespace);
                self.put((link.base, row.remote_name.clone()), claimant(hold, prefix));
            }
        }
        let deleting = live.is_some_and(|vs| vs.metadata.deletion_timestamp.is_some());
        if let Some(link) = link.filter(|_| !deleting) {
            let prefix = link.prefix_length(&key.namespace);
            let names = names(world, &key.namespace, effective(spec), &link);
            for name in names.into_iter().flatten().filter_map(Result::ok) {
                self.put((Arc::clone(&link.base), name), claimant(Hold::Named, prefix));
            }
        }
    }

    fn put(&mut self, id: EntryId, claimant: Claimant) {
        let all = self.0.entry(id).or_default();
        match all.iter_mut().find(|known| known.uid == claimant.uid) {
            Some(known) => known.hold = known.hold.max(claimant.hold),
            None => all.push(claimant),
        }
    }

    /// `<namespace>/<name>` of another VaultSecret that has the entry.
    #[must_use]
    pub fn taken(&self, base: &Arc<str>, name: &str, uid: &str) -> Option<&str> {
        let all = self.0.get(&(Arc::clone(base), name.to_owned()))?;
        owner(all).filter(|owner| owner.uid != uid).map(|owner| owner.name.as_str())
    }
}
