//! Who would have an entry that several VaultSecrets name: those of the manifests, and the others of the cluster.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::link::{self, Link};
use super::whole;
use super::world::World;
use crate::api::VaultSecret;
use crate::api::vault_secret::{DeletionPolicy, VaultSecretSpec};
use crate::controller::desired::{self, Issue, Naming, Prefix};
use crate::controller::keys::ConnectionKey;
use crate::remote::lane::ObjectKey;
use crate::sync::conflict::{Claimant, Hold, owner};

/// An entry: the remote, and the name there.
type EntryId = (Arc<str>, String);

/// An entry that a VaultSecret has and would have no more.
pub struct Left {
    /// `<namespace>/<name>` of the VaultSecret.
    pub by: String,
    /// Whether it would be deleted, and not left at the remote.
    pub deleted: bool,
}

/// Who has an entry that another names too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taken<'c> {
    /// `<namespace>/<name>` of the VaultSecret.
    pub by: &'c str,
    /// Whether its ledger has the entry. Otherwise it names it and comes first, and may be refused it itself.
    pub held: bool,
}

/// All claims.
#[derive(Default)]
pub struct Claims {
    claimants: HashMap<EntryId, Vec<Claimant>>,
    left: HashMap<EntryId, Left>,
}

/// Connections that were judged already: many objects have the same one.
type Links = HashMap<ConnectionKey, Option<Link>>;

/// The entries that a VaultSecret wants, as its spec is to be: what the operator would make of it before it looks at any name or
/// value. Whatever expands a spec has its place here.
#[must_use]
pub fn effective<'a>(
    world: &World,
    key: &ObjectKey,
    spec: &'a VaultSecretSpec,
    link: Option<&Link>,
) -> whole::Effective<'a> {
    whole::expand(world, key, spec, link)
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
    naming(world, namespace, link, |naming| desired::names(spec, naming))
}

/// What names through a connection are judged by.
pub fn naming<T>(world: &World, namespace: &str, link: &Link, judge: impl FnOnce(&Naming<'_>) -> T) -> T {
    let allows = |other: &str| {
        world.namespaces.exists(other)
            && link.allowed.as_ref().is_some_and(|allowed| world.namespaces.allows(allowed, other))
    };
    let prefix = link.prefix.as_deref().map(|template| Prefix { template, namespace, allows: &allows });
    judge(&Naming { rules: &link.rules, prefix, connection: &link.display })
}

impl Claims {
    /// Gathers them. `pruned` would be deleted.
    #[must_use]
    pub fn gather(world: &World, pruned: &[ObjectKey]) -> Self {
        let mut claims = Self::default();
        let mut links = Links::new();
        let none = std::collections::BTreeMap::new();
        let live = world.cluster.as_ref().map_or(&none, |cluster| &cluster.vault_secrets);
        for (key, vs) in &world.wanted {
            claims.add(world, &mut links, key, Some(&vs.spec), live.get(key));
        }
        for (key, vs) in live.iter().filter(|(key, _)| !world.wanted.contains_key(*key)) {
            let spec = (!pruned.contains(key)).then_some(&vs.spec);
            claims.add(world, &mut links, key, spec, Some(vs));
        }
        claims
    }

    fn add(
        &mut self,
        world: &World,
        links: &mut Links,
        key: &ObjectKey,
        spec: Option<&VaultSecretSpec>,
        live: Option<&VaultSecret>,
    ) {
        let mut link_of = |key: ConnectionKey| {
            let judge = |key: &ConnectionKey| link::of(world, world.connection(key)?).ok();
            links.entry(key.clone()).or_insert_with(|| judge(&key)).clone()
        };
        let claimant = |hold, prefix| Claimant {
            created: live.and_then(|vs| vs.metadata.creation_timestamp.as_ref()).map(|at| at.0),
            uid: uid(world, key),
            name: key.to_string(),
            hold,
            prefix,
        };
        let deleting = live.is_some_and(|vs| vs.metadata.deletion_timestamp.is_some());
        let mut named: Option<HashSet<EntryId>> = spec.is_none().then(HashSet::new);
        if let Some(spec) = spec.filter(|_| !deleting) {
            let of = &spec.connection_ref;
            let link = link_of(ConnectionKey::new(of.kind(), &key.namespace, &of.name));
            let allows = |link: &Link| {
                link.allowed.as_ref().is_none_or(|allowed| world.namespaces.allows(allowed, &key.namespace))
            };
            if let Some(link) = link.filter(allows) {
                let prefix = link.prefix_length(&key.namespace);
                let effective = effective(world, key, spec, Some(&link));
                let names = names(world, &key.namespace, &effective.spec, &link).into_iter().flatten();
                let ids = names.filter_map(Result::ok).map(|name| (Arc::clone(&link.base), name));
                let ids: HashSet<EntryId> = ids.collect();
                ids.iter().for_each(|id| self.put(id.clone(), claimant(Hold::Named, prefix)));
                // What the manifests do not speak of goes on as it is.
                let is_known = effective.refused.is_none() && effective.incomplete.is_none();
                named = (is_known && world.wanted.contains_key(key)).then_some(ids);
            }
        }
        let policy = spec.or(live.map(|live| &live.spec)).map(VaultSecretSpec::deletion);
        for row in live.and_then(|vs| vs.status.as_ref()).into_iter().flat_map(|status| &status.entries) {
            let hold = if row.is_ours() {
                Hold::Ours
            } else if row.holds() {
                Hold::Claimed
            } else {
                continue;
            };
            let link = ConnectionKey::parse(&row.connection, &key.namespace).and_then(&mut link_of);
            let Some(link) = link else { continue };
            let prefix = link.prefix_length(&key.namespace);
            let id = (link.base, row.remote_name.clone());
            if named.as_ref().is_some_and(|named| !named.contains(&id)) {
                let deleted = policy == Some(DeletionPolicy::Delete);
                self.left.insert(id, Left { by: key.to_string(), deleted });
            } else {
                self.put(id, claimant(hold, prefix));
            }
        }
    }

    fn put(&mut self, id: EntryId, claimant: Claimant) {
        let all = self.claimants.entry(id).or_default();
        match all.iter_mut().find(|known| known.uid == claimant.uid) {
            Some(known) => known.hold = known.hold.max(claimant.hold),
            None => all.push(claimant),
        }
    }

    /// Another VaultSecret that has the entry, or comes before this one.
    #[must_use]
    pub fn taken(&self, base: &Arc<str>, name: &str, uid: &str) -> Option<Taken<'_>> {
        let all = self.claimants.get(&(Arc::clone(base), name.to_owned()))?;
        let owner = owner(all).filter(|owner| owner.uid != uid)?;
        Some(Taken { by: &owner.name, held: owner.hold != Hold::Named })
    }

    /// Another VaultSecret that has the entry and would give it up.
    #[must_use]
    pub fn left(&self, base: &Arc<str>, name: &str) -> Option<&Left> {
        self.left.get(&(Arc::clone(base), name.to_owned()))
    }
}
