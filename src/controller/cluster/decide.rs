//! What is to be done to the VaultSecrets of a ClusterVaultSecret. Pure: what is there and what is wanted go in, steps come out.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use kube::ResourceExt as _;

use super::stamp::Stamp;
use super::status::Place;
use crate::api::cluster_vault_secret::Sharing;
use crate::api::{NamespaceReason, VaultSecret};
use crate::controller::key_of;
use crate::projection::owner::controller;
use crate::remote::lane::ObjectKey;
use crate::sync::plan::after;

/// How long a VaultSecret that something changes back is left alone; an edit of it or of the template is tried at once.
const FUTILE: Duration = Duration::from_secs(900);

/// VaultSecrets that our own write left as they should not be: a webhook changes them, or their definition does not know a field.
#[derive(Default)]
pub struct Futile(HashMap<ObjectKey, Tried>);

struct Tried {
    /// Generation of the VaultSecret.
    seen: Option<i64>,
    /// Generation of the ClusterVaultSecret.
    wanted: Option<i64>,
    until: Timestamp,
}

impl Futile {
    /// Notes what a write left behind.
    pub fn note(&mut self, vs: &VaultSecret, in_place: bool, wanted: Option<i64>, now: Timestamp) {
        if in_place {
            self.0.remove(&key_of(vs));
        } else {
            let tried = Tried { seen: vs.metadata.generation, wanted, until: after(now, FUTILE) };
            self.0.insert(key_of(vs), tried);
        }
    }

    /// Whether that very write would be repeated.
    #[must_use]
    pub fn holds(&self, vs: &VaultSecret, wanted: Option<i64>, now: Timestamp) -> bool {
        let tried = self.0.get(&key_of(vs));
        tried.is_some_and(|t| t.seen == vs.metadata.generation && t.wanted == wanted && t.until > now)
    }

    /// Forgets those that are gone.
    pub fn retain(&mut self, is_there: impl Fn(&ObjectKey) -> bool) {
        self.0.retain(|key, _| is_there(key));
    }
}

/// What holds where a VaultSecret of ours is.
#[must_use]
pub fn place(namespace: &str, vs: &VaultSecret, stamp: &Stamp, held: bool, futile: bool) -> Place {
    if held || vs.metadata.deletion_timestamp.is_some() || stamp.is_in_place(vs) {
        return Place::of(namespace, vs);
    }
    if !futile {
        return Place::not_ready(namespace, NamespaceReason::Pending, "the VaultSecret is being changed");
    }
    let text = "the VaultSecret is not as the template says: something changes it back (a webhook, or an older definition of VaultSecret)";
    Place::not_ready(namespace, NamespaceReason::WriteFailed, text)
}

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
    /// Namespaces in which somebody else's is in the way: whether it goes by itself, and what to do.
    pub conflicts: BTreeMap<String, (NamespaceReason, String)>,
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

fn conflict(stamp: &Stamp, seen: &VaultSecret) -> (NamespaceReason, String) {
    let which = format!("VaultSecret \"{}\"", stamp.name);
    // Neither the name nor the way of sharing can be changed.
    let way_out = match stamp.sharing {
        Sharing::PerNamespace => {
            "make another ClusterVaultSecret with another vaultSecretName, or exclude the namespace"
        }
        Sharing::Shared => "make another ClusterVaultSecret with another vaultSecretName",
    };
    let text = match controller(&seen.metadata) {
        Some(other) if stamp.owner.kind.is_of(other) && other.name == stamp.owner.name => {
            let text = format!(
                "{which} belongs to an earlier ClusterVaultSecret of this name; waiting until the garbage collector has taken it"
            );
            return (NamespaceReason::Pending, text);
        }
        Some(other) => format!("{which} is controlled by {} \"{}\"; {way_out}", other.kind, other.name),
        None => {
            format!("{which} is there already and was not made by this ClusterVaultSecret; delete it, or {way_out}")
        }
    };
    (NamespaceReason::VaultSecretConflict, text)
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
        let (reason, text) = conflict(&ours, &of(&stamp("u0", "A"), "b"));
        assert!(reason == NamespaceReason::Pending && text.contains("earlier ClusterVaultSecret"), "it goes by itself");
        let (reason, text) = conflict(&ours, &foreign("a"));
        assert!(reason == NamespaceReason::VaultSecretConflict && text.contains("was not made by this"));
    }

    /// What the schema would refuse is not advised.
    #[test]
    fn a_conflict_names_a_way_out_that_there_is() {
        let (_, told) = conflict(&stamp("u1", "A"), &foreign("a"));
        assert!(
            told.ends_with("make another ClusterVaultSecret with another vaultSecretName, or exclude the namespace")
        );
        let mut shared = stamp("u1", "A");
        shared.sharing = Sharing::Shared;
        assert!(
            conflict(&shared, &foreign("a")).1.ends_with("with another vaultSecretName"),
            "home cannot be excluded"
        );
    }

    /// Under a webhook that changes every VaultSecret, each edit of the template reaches it once, and none is told to be in place.
    #[test]
    fn one_that_something_changes_back_is_told_and_tried_again_after_an_edit() {
        let now = Timestamp::from_second(1_000).unwrap();
        let wanted = stamp("u1", "B");
        let mut seen = of(&stamp("u1", "A"), "a");
        seen.metadata.generation = Some(4);
        seen.status = serde_json::from_value(json!({"observedGeneration": 4, "conditions": [{"type": "Ready",
            "status": "True", "reason": "Synced", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"}]}))
        .unwrap();
        let mut futile = Futile::default();
        futile.note(&seen, wanted.is_in_place(&seen), Some(1), now);
        assert!(futile.holds(&seen, Some(1), now));
        assert!(!futile.holds(&seen, Some(2), now), "the template was edited");
        assert!(!futile.holds(&seen, Some(1), after(now, FUTILE)), "perhaps the webhook is gone");
        let told = place("a", &seen, &wanted, false, true);
        assert_eq!((told.ready, &*told.reason), (false, "WriteFailed"));
        assert!(told.message.contains("something changes it back"));
        assert_eq!(place("a", &seen, &wanted, false, false).reason, "Pending");
        assert!(place("a", &seen, &wanted, true, false).ready, "while it is held it stays as it is");
        assert!(place("a", &seen, &stamp("u1", "A"), false, false).ready);
        seen.metadata.generation = Some(5);
        assert!(!futile.holds(&seen, Some(1), now), "somebody edited it");
        futile.note(&seen, true, Some(1), now);
        assert!(!futile.holds(&seen, Some(1), now));
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
