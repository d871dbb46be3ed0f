//! What is to be done to the VaultSecrets of a ClusterVaultSecret. Pure: what is there and what is wanted go in, steps come out.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use kube::ResourceExt as _;

use super::stamp::Stamp;
use crate::api::VaultSecret;
use crate::projection::owner::controller;

/// What there is, and what is wanted of it.
pub struct World<'a> {
    /// What each of them should be.
    pub stamp: &'a Stamp,
    /// The namespaces that are to have one.
    pub wanted: &'a BTreeSet<String>,
    /// Nothing is made or changed for now.
    pub held: bool,
    /// VaultSecrets that are ours, wherever they are, and those that have the name in a wanted namespace.
    pub seen: &'a [Arc<VaultSecret>],
    /// Whether something can be made and deleted in a namespace.
    pub is_alive: &'a dyn Fn(&str) -> bool,
    /// Whether one that is not as it should be was left so by our own write.
    pub is_futile: &'a dyn Fn(&VaultSecret) -> bool,
}

/// The steps, in no order.
#[derive(Debug, Default)]
pub struct Plan {
    /// Namespaces in which one is to be created.
    pub create: BTreeSet<String>,
    /// Those that are to be changed.
    pub change: Vec<Arc<VaultSecret>>,
    /// Those that are to be deleted.
    pub delete: Vec<Arc<VaultSecret>>,
    /// Namespaces in which somebody else's is in the way, with what to do.
    pub conflicts: BTreeMap<String, String>,
}

/// Decides. One that this very ClusterVaultSecret did not make is never touched.
#[must_use]
pub fn plan(world: &World<'_>) -> Plan {
    let mut plan = Plan::default();
    let mut taken = BTreeSet::new();
    for seen in world.seen {
        let namespace = seen.namespace().unwrap_or_default();
        let ours = world.stamp.owner.controls(&seen.metadata);
        let going = seen.metadata.deletion_timestamp.is_some();
        if world.wanted.contains(&namespace) && seen.name_any() == world.stamp.name {
            if !ours {
                plan.conflicts.insert(namespace.clone(), conflict(world.stamp, seen));
            } else if !going && !world.held && !world.stamp.is_in_place(seen) && !(world.is_futile)(seen) {
                plan.change.push(Arc::clone(seen));
            }
            taken.insert(namespace);
        } else if ours && !going && (world.is_alive)(&namespace) {
            plan.delete.push(Arc::clone(seen));
        }
    }
    if !world.held {
        plan.create = world.wanted.difference(&taken).cloned().collect();
    }
    plan
}

fn conflict(stamp: &Stamp, seen: &VaultSecret) -> String {
    let which = format!("VaultSecret \"{}\"", stamp.name);
    match controller(&seen.metadata) {
        Some(other) if stamp.owner.kind.is_of(other) && other.name == stamp.owner.name => format!(
            "{which} belongs to an earlier ClusterVaultSecret of this name; waiting until the garbage collector has taken it"
        ),
        Some(other) => {
            format!("{which} is controlled by {} \"{}\"; choose another vaultSecretName", other.kind, other.name)
        }
        None => format!(
            "{which} is there already and was not made by this ClusterVaultSecret; delete it, or choose another vaultSecretName"
        ),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use serde_json::json;

    use super::*;
    use crate::api::ClusterVaultSecret;

    fn stamp(uid: &str, key: &str) -> Stamp {
        let cluster: ClusterVaultSecret = serde_json::from_value(json!({
            "metadata": {"name": "app", "uid": uid},
            "spec": {"namespaces": {}, "sharing": "PerNamespace", "template": {
                "connectionRef": {"kind": "ClusterVaultConnection", "name": "kelvin"},
                "data": [{"key": key, "value": "v"}]}},
        }))
        .unwrap();
        Stamp::of(&cluster)
    }

    fn of(stamp: &Stamp, namespace: &str) -> VaultSecret {
        stamp.fresh(namespace)
    }

    fn foreign(namespace: &str) -> VaultSecret {
        let mut foreign = of(&stamp("u1", "A"), namespace);
        foreign.metadata.owner_references = None;
        foreign
    }

    fn going(mut vs: VaultSecret) -> VaultSecret {
        vs.metadata.deletion_timestamp =
            Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time("2026-01-01T00:00:00Z".parse().unwrap()));
        vs
    }

    fn places(all: &[Arc<VaultSecret>]) -> String {
        all.iter().map(|vs| vs.namespace().unwrap()).collect::<Vec<_>>().join(",")
    }

    /// `create`, `change`, `delete` and conflicts, as namespaces.
    fn planned(seen: Vec<VaultSecret>, wanted: &[&str], held: bool) -> [String; 4] {
        let stamp = stamp("u1", "A");
        let wanted = wanted.iter().map(|&name| name.to_owned()).collect();
        let seen: Vec<_> = seen.into_iter().map(Arc::new).collect();
        let world = World {
            stamp: &stamp,
            wanted: &wanted,
            held,
            seen: &seen,
            is_alive: &|name| name != "dying",
            is_futile: &|vs| vs.namespace().as_deref() == Some("futile"),
        };
        let plan = plan(&world);
        let join = |names: Vec<String>| names.join(",");
        [
            join(plan.create.into_iter().collect()),
            places(&plan.change),
            places(&plan.delete),
            join(plan.conflicts.into_keys().collect()),
        ]
    }

    fn steps(create: &str, change: &str, delete: &str, conflicts: &str) -> [String; 4] {
        [create, change, delete, conflicts].map(str::to_owned)
    }

    #[test]
    fn every_wanted_namespace_gets_one_and_no_other_keeps_one() {
        let ours = stamp("u1", "A");
        assert_eq!(planned(vec![], &["a", "b"], false), steps("a,b", "", "", ""));
        assert_eq!(planned(vec![of(&ours, "a"), of(&ours, "old")], &["a", "b"], false), steps("b", "", "old", ""));
        assert_eq!(planned(vec![of(&ours, "a")], &["a"], false), steps("", "", "", ""), "at rest");
        assert_eq!(planned(vec![], &[], false), steps("", "", "", ""));
    }

    #[test]
    fn one_that_differs_is_changed_unless_that_came_to_nothing() {
        let edited = |namespace: &str| of(&stamp("u1", "B"), namespace);
        assert_eq!(planned(vec![edited("a"), edited("futile")], &["a", "futile"], false), steps("", "a", "", ""));
    }

    #[test]
    fn what_is_not_ours_is_left_alone() {
        let earlier = of(&stamp("u0", "A"), "b");
        let seen = vec![foreign("a"), earlier.clone(), foreign("elsewhere")];
        assert_eq!(planned(seen, &["a", "b", "c"], false), steps("c", "", "", "a,b"));
        assert_eq!(planned(vec![earlier], &[], false), steps("", "", "", ""));
        let ours = stamp("u1", "A");
        assert!(conflict(&ours, &of(&stamp("u0", "A"), "b")).contains("earlier ClusterVaultSecret"));
        assert!(conflict(&ours, &foreign("a")).contains("was not made by this"));
    }

    #[test]
    fn one_that_goes_is_waited_for_and_a_namespace_that_goes_is_left_alone() {
        let ours = stamp("u1", "A");
        assert_eq!(planned(vec![going(of(&ours, "a")), going(of(&ours, "b"))], &["a"], false), steps("", "", "", ""));
        assert_eq!(planned(vec![of(&ours, "dying")], &[], false), steps("", "", "", ""));
    }

    #[test]
    fn while_it_is_held_nothing_is_made_or_changed() {
        let seen = vec![of(&stamp("u1", "B"), "a"), of(&stamp("u1", "A"), "old")];
        assert_eq!(planned(seen, &["a", "b"], true), steps("", "", "old", ""));
    }

    #[test]
    fn after_a_rename_the_old_ones_go() {
        let mut old = of(&stamp("u1", "A"), "a");
        old.metadata.name = Some("before".to_owned());
        assert_eq!(planned(vec![old], &["a"], false), steps("a", "", "a", ""));
    }
}
