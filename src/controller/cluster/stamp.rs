//! The VaultSecret that a ClusterVaultSecret asks for. Pure.
//!
//! It is created with create-only and changed by a merge patch that carries the resourceVersion that was seen. Server-side apply
//! would do both in one, and would take over a VaultSecret that somebody makes in the same moment.

use std::collections::BTreeMap;

use kube::ResourceExt as _;
use kube::core::ObjectMeta;
use serde_json::{Map, Value, json};

use crate::api::cluster_vault_secret::Sharing;
use crate::api::{ClusterVaultSecret, VaultSecret, VaultSecretSpec, names};
use crate::projection::owner::Owner;
use crate::projection::target::template_metadata;

/// What the VaultSecrets of a ClusterVaultSecret have in common.
#[derive(Clone, Debug)]
pub struct Stamp {
    /// Their name.
    pub name: String,
    /// The ClusterVaultSecret.
    pub owner: Owner,
    /// One of all, or one each.
    pub sharing: Sharing,
    labels: BTreeMap<String, String>,
    annotations: BTreeMap<String, String>,
    spec: VaultSecretSpec,
}

impl Stamp {
    /// From what is wanted.
    #[must_use]
    pub fn of(cluster: &ClusterVaultSecret) -> Self {
        let own_name = cluster.name_any();
        let metadata = cluster.spec.vault_secret_metadata.clone().unwrap_or_default();
        Self {
            name: cluster.spec.child_name(&own_name).to_owned(),
            owner: Owner::cluster(own_name.clone(), cluster.uid().unwrap_or_default()),
            sharing: cluster.spec.sharing,
            labels: metadata.labels,
            annotations: metadata.annotations,
            spec: cluster.spec.template.clone(),
        }
    }

    /// The one of a namespace, to be created.
    #[must_use]
    pub fn fresh(&self, namespace: &str) -> VaultSecret {
        let mut fresh = VaultSecret::new(&self.name, self.spec.clone());
        fresh.metadata.namespace = Some(namespace.to_owned());
        fresh.metadata.owner_references = Some(vec![self.owner.reference()]);
        self.mark(&mut fresh.metadata);
        fresh
    }

    fn mark(&self, meta: &mut ObjectMeta) {
        template_metadata(meta, &self.labels, &self.annotations);
        meta.labels.get_or_insert_default().insert(names::MANAGED_BY.into(), names::OPERATOR.into());
        meta.annotations = meta.annotations.take().filter(|annotations| !annotations.is_empty());
    }

    /// One that is there, as it should be: the spec is the template's, labels and annotations of others stay.
    fn shaped(&self, seen: &VaultSecret) -> VaultSecret {
        let mut shaped = seen.clone();
        self.mark(&mut shaped.metadata);
        shaped.spec = self.spec.clone();
        shaped
    }

    /// Whether one that is there is as it should be.
    #[must_use]
    pub fn is_in_place(&self, seen: &VaultSecret) -> bool {
        self.shaped(seen) == *seen
    }

    /// The merge patch that makes one that is there as it should be, and fails when it is not as it was seen.
    #[must_use]
    pub fn patch(&self, seen: &VaultSecret) -> Value {
        let shown = |vs: &VaultSecret| {
            json!({
                "metadata": {"labels": vs.metadata.labels, "annotations": vs.metadata.annotations},
                "spec": vs.spec,
            })
        };
        let mut patch = difference(&shown(seen), &shown(&self.shaped(seen))).unwrap_or_else(|| json!({}));
        patch["metadata"]["resourceVersion"] = json!(seen.resource_version());
        patch
    }
}

/// The merge patch that makes one value of another: `None` when they are the same.
fn difference(from: &Value, to: &Value) -> Option<Value> {
    if from == to {
        return None;
    }
    let (Value::Object(from), Value::Object(to)) = (from, to) else { return Some(to.clone()) };
    let gone = from.keys().filter(|name| !to.contains_key(*name)).map(|name| (name.clone(), Value::Null));
    let changed = to.iter().filter_map(|(name, value)| {
        let change = match from.get(name) {
            Some(before) => difference(before, value)?,
            None => value.clone(),
        };
        Some((name.clone(), change))
    });
    Some(Value::Object(gone.chain(changed).collect::<Map<_, _>>()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    fn cluster(more: Value) -> ClusterVaultSecret {
        let mut spec = json!({
            "namespaces": {}, "sharing": "PerNamespace",
            "template": {"connectionRef": {"kind": "ClusterVaultConnection", "name": "kelvin"},
                         "data": [{"key": "A", "value": "a"}], "reassertInterval": "24h"},
        });
        for (name, value) in more.as_object().unwrap() {
            spec[name] = value.clone();
        }
        serde_json::from_value(json!({"metadata": {"name": "app", "uid": "u1"}, "spec": spec})).unwrap()
    }

    /// What the API server makes of a merge patch.
    fn patched(seen: &VaultSecret, patch: &Value) -> VaultSecret {
        fn merge(into: &mut Value, patch: &Value) {
            let Value::Object(patch) = patch else { return into.clone_from(patch) };
            for (name, value) in patch {
                match value {
                    Value::Null => drop(into.as_object_mut().unwrap().remove(name)),
                    value => merge(&mut into[name], value),
                }
            }
        }
        let mut object = serde_json::to_value(seen).unwrap();
        merge(&mut object, patch);
        serde_json::from_value(object).unwrap()
    }

    #[test]
    fn what_was_made_is_in_place_and_says_whose_it_is() {
        let metadata = json!({"labels": {"team": "a"}, "annotations": {"note": "n"}});
        let stamp = Stamp::of(&cluster(json!({"vaultSecretName": "db", "vaultSecretMetadata": metadata})));
        let fresh = stamp.fresh("shop");
        assert!(stamp.is_in_place(&fresh) && stamp.owner.controls(&fresh.metadata));
        let head = json!(fresh.metadata);
        assert_eq!(
            (&head["name"], &head["namespace"], &head["labels"]["team"]),
            (&json!("db"), &json!("shop"), &json!("a"))
        );
        assert_eq!(head["ownerReferences"][0]["kind"], "ClusterVaultSecret");
        assert_eq!(head["ownerReferences"][0].get("blockOwnerDeletion"), None);
    }

    #[test]
    fn a_patch_brings_what_is_there_to_what_is_wanted() {
        let metadata = json!({"labels": {"team": "a", "old": "x"}});
        let before = Stamp::of(&cluster(json!({"vaultSecretMetadata": metadata})));
        let mut seen = before.fresh("shop");
        seen.metadata.resource_version = Some("7".to_owned());
        // Of others, and stays.
        seen.labels_mut().insert("theirs".to_owned(), "t".to_owned());
        assert!(before.is_in_place(&seen));
        let now = Stamp::of(&cluster(json!({
            "vaultSecretMetadata": {"labels": {"team": "b"}},
            "template": {"connectionRef": {"kind": "ClusterVaultConnection", "name": "kelvin"},
                         "data": [{"key": "B", "value": "b"}], "deletionPolicy": "Delete"},
        })));
        assert!(!now.is_in_place(&seen));
        let patch = now.patch(&seen);
        assert_eq!(patch["metadata"]["resourceVersion"], "7");
        assert_eq!(patch["spec"]["reassertInterval"], Value::Null);
        let after = patched(&seen, &patch);
        assert!(now.is_in_place(&after), "{patch}");
        let labels = json!(after.metadata.labels);
        assert_eq!((&labels["team"], &labels["theirs"], labels.get("old")), (&json!("b"), &json!("t"), None));
    }

    /// An edit of the spec by somebody else is put right.
    #[test]
    fn a_spec_is_the_templates() {
        let stamp = Stamp::of(&cluster(json!({})));
        let mut seen = stamp.fresh("shop");
        seen.spec.suspend = Some(true);
        assert!(!stamp.is_in_place(&seen));
        assert!(stamp.is_in_place(&patched(&seen, &stamp.patch(&seen))));
    }
}
