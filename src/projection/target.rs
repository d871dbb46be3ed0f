//! What the target Secret should be. Pure: what exists and what is wanted go in, one step comes out.
//!
//! A Secret that this VaultSecret did not make is never overwritten. Under Owner the uid of the controller decides; under
//! Orphan, where nothing controls it, our label and the annotation that names the VaultSecret; under Merge the Secret stays
//! somebody else's, and server-side apply keeps account of which keys are ours.

mod check;
mod merge;

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use serde::{Deserialize, Serialize};

pub use merge::{field_manager, withdrawal};

use super::owner::{self, Owner, OwnerKind, controller, is_ours};
use crate::api::names;
use crate::api::vault_secret::CreationPolicy;
use crate::value::SecretValue;

/// Annotation on a target: which labels and annotations came from the template, so that they can go when they leave it.
pub const MANAGED_METADATA: &str = "vaultsecret.dev/managed-metadata";

/// The Secret that the spec asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Desired {
    /// Its name.
    pub name: String,
    /// Its namespace: that of the VaultSecret.
    pub namespace: String,
    /// Its type; empty is Opaque.
    pub type_: String,
    /// Whether its data is frozen.
    pub immutable: bool,
    /// Values, by key of the spec.
    pub data: BTreeMap<String, SecretValue>,
    /// Labels of the template.
    pub labels: BTreeMap<String, String>,
    /// Annotations of the template.
    pub annotations: BTreeMap<String, String>,
    /// Whose the Secret is.
    pub policy: CreationPolicy,
    /// Names of the other VaultSecrets that merge into the same Secret. A key that one of them writes is not taken from it.
    pub rivals: BTreeSet<String>,
}

/// What is to be done. `Debug` shows no Secret.
#[derive(Clone, PartialEq)]
pub enum TargetPlan {
    /// Nothing.
    InPlace,
    /// Create it.
    Create(Box<Secret>),
    /// Replace it, guarded by the uid and the resourceVersion that it carries.
    Replace(Box<Secret>),
    /// Delete the one that was seen, then create it anew, because what changed cannot be changed in place.
    Recreate {
        /// uid of the one that was seen.
        uid: String,
        /// Its resourceVersion.
        resource_version: String,
        /// What is created then.
        secret: Box<Secret>,
        /// What changed.
        why: String,
    },
    /// Apply our keys to somebody else's Secret, guarded by the uid and the resourceVersion that it carries.
    Merge {
        /// Our keys and nothing else.
        secret: Box<Secret>,
        /// Field manager that they are applied as.
        manager: String,
    },
    /// The Secret is not ours.
    Conflict {
        /// Which one, and the way out.
        message: String,
    },
    /// The Secret to merge into is not there (yet).
    Missing {
        /// Which one.
        message: String,
    },
    /// The spec asks for what no Secret can be, or must not be.
    Invalid {
        /// What to change.
        message: String,
    },
}

impl std::fmt::Debug for TargetPlan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::InPlace => f.write_str("InPlace"),
            Self::Create(_) => f.write_str("Create"),
            Self::Replace(_) => f.write_str("Replace"),
            Self::Recreate { why, .. } => write!(f, "Recreate({why})"),
            Self::Merge { .. } => f.write_str("Merge"),
            Self::Conflict { message } => write!(f, "Conflict({message})"),
            Self::Missing { message } => write!(f, "Missing({message})"),
            Self::Invalid { message } => write!(f, "Invalid({message})"),
        }
    }
}

/// Decides what is to be done to the target.
///
/// Planning on what the step leaves behind gives [`TargetPlan::InPlace`].
#[must_use]
pub fn plan(existing: Option<&Secret>, desired: &Desired, owner: &Owner) -> TargetPlan {
    if desired.policy == CreationPolicy::None {
        return TargetPlan::InPlace;
    }
    if let Err(message) = check::desired(desired) {
        return TargetPlan::Invalid { message };
    }
    if desired.policy == CreationPolicy::Merge {
        return merge::plan(existing, desired, owner);
    }
    let Some(existing) = existing else {
        return TargetPlan::Create(Box::new(shaped(Secret::default(), desired, owner)));
    };
    if let Err(message) = ours(existing, desired, owner) {
        return TargetPlan::Conflict { message };
    }
    let secret = shaped(existing.clone(), desired, owner);
    if let Err(message) = check::annotations(&secret.metadata) {
        return TargetPlan::Invalid { message };
    }
    if let Some(why) = frozen(existing, &secret) {
        return TargetPlan::Recreate {
            uid: existing.metadata.uid.clone().unwrap_or_default(),
            resource_version: existing.metadata.resource_version.clone().unwrap_or_default(),
            secret: Box::new(anew(secret)),
            why,
        };
    }
    if secret == *existing { TargetPlan::InPlace } else { TargetPlan::Replace(Box::new(secret)) }
}

/// Whether a Secret was made by this operator as something else than a target.
pub(super) fn is_internal(meta: &ObjectMeta) -> bool {
    matches!(owner::role(meta), Some("escrow" | "key-ring" | "sealing"))
        || meta.annotations.as_ref().is_some_and(|a| a.contains_key(names::ESCROW_INDEX))
}

/// Whether the Secret may be written, and if not, why and what to do.
fn ours(existing: &Secret, desired: &Desired, owner: &Owner) -> Result<(), String> {
    let meta = &existing.metadata;
    let which = format!("Secret \"{}\" in namespace {}", desired.name, desired.namespace);
    if is_internal(meta) {
        return Err(format!("{which} is one of the operator's own; choose another target.name"));
    }
    let made_for = owner::made_for(meta).filter(|_| owner::role(meta) == Some("target"));
    match controller(meta) {
        Some(_) if owner.controls(meta) => {}
        Some(other) if owner.kind.is_of(other) && other.name == owner.name => {
            return Err(format!(
                "{which} belongs to an earlier {} of this name; waiting until the garbage collector has taken it",
                owner.kind.as_str()
            ));
        }
        Some(other) => {
            return Err(format!(
                "{which} is controlled by {} \"{}\"; choose another target.name",
                other.kind, other.name
            ));
        }
        None => match made_for {
            // No copy is without its owner: one that the garbage collector has just let go stays let go.
            _ if owner.kind == OwnerKind::ClusterVaultSecret => {
                return Err(format!(
                    "{which} exists already and is not controlled by this ClusterVaultSecret; delete it, or choose another template.target.name"
                ));
            }
            // Ours from a time when the policy was Orphan: the uid says so.
            Some(made_for) if made_for == *owner => {}
            Some(made_for) if made_for.is_namesake(owner) && desired.policy == CreationPolicy::Orphan => {}
            Some(made_for) if made_for.is_namesake(owner) => {
                return Err(format!(
                    "{which} was left by an earlier VaultSecret of this name; delete it, or take it over with target.creationPolicy: Orphan"
                ));
            }
            _ => {
                return Err(format!(
                    "{which} exists already and was not made by this VaultSecret; delete it, choose another target.name, or set target.creationPolicy: Merge"
                ));
            }
        },
    }
    if meta.deletion_timestamp.is_some() {
        return Err(format!("{which} is being deleted; waiting until it is gone"));
    }
    Ok(())
}

/// Why the change cannot be made in place.
fn frozen(existing: &Secret, wanted: &Secret) -> Option<String> {
    let type_of = |s: &Secret| s.type_.clone().unwrap_or_else(|| "Opaque".to_owned());
    if type_of(existing) != type_of(wanted) {
        return Some(format!("its type changes from {} to {}", type_of(existing), type_of(wanted)));
    }
    if existing.immutable != Some(true) {
        return None;
    }
    if wanted.immutable != Some(true) {
        return Some("it is immutable and is not to be any more".to_owned());
    }
    let data = |s: &Secret| s.data.clone().unwrap_or_default();
    (data(existing) != data(wanted)).then(|| "it is immutable and its data changes".to_owned())
}

/// What is ours is as desired, what is foreign stays as it is.
fn shaped(mut secret: Secret, desired: &Desired, owner: &Owner) -> Secret {
    let meta = &mut secret.metadata;
    meta.name = Some(desired.name.clone());
    meta.namespace = Some(desired.namespace.clone());

    template_metadata(meta, &desired.labels, &desired.annotations);
    let labels = meta.labels.get_or_insert_default();
    labels.insert(names::ROLE.into(), "target".into());
    labels.insert(names::MANAGED_BY.into(), names::OPERATOR.into());
    meta.annotations.get_or_insert_default().insert(names::MADE_FOR.into(), owner.made_for());
    meta.owner_references = references(meta, desired, owner);

    let data = desired.data.iter().map(|(key, value)| (key.clone(), ByteString(value.expose().to_vec()))).collect();
    if secret.data.as_ref().is_none_or(|existing| *existing != data) {
        secret.data = (!data.is_empty() || secret.data.as_ref().is_some_and(|d| !d.is_empty())).then_some(data);
    }
    secret.type_ = Some(if desired.type_.is_empty() { "Opaque".to_owned() } else { desired.type_.clone() });
    if secret.immutable.unwrap_or(false) != desired.immutable {
        secret.immutable = desired.immutable.then_some(true);
    }
    secret
}

/// Our reference under Owner, none of a VaultSecret of our name under Orphan; those of others stay.
fn references(meta: &ObjectMeta, desired: &Desired, owner: &Owner) -> Option<Vec<OwnerReference>> {
    let mut all = meta.owner_references.clone().unwrap_or_default();
    let wanted = desired.policy == CreationPolicy::Owner;
    let controlled = wanted && owner.controls(meta);
    let stays = |r: &OwnerReference| {
        let own = owner.kind.is_of(r) && (r.uid == owner.uid || r.name == owner.name);
        !own || (controlled && r.uid == owner.uid)
    };
    all.retain(stays);
    if wanted && !controlled {
        all.push(owner.reference());
    }
    (!all.is_empty()).then_some(all)
}

/// The same Secret, as something to create.
fn anew(secret: Secret) -> Secret {
    let ObjectMeta { name, namespace, labels, annotations, owner_references, .. } = secret.metadata;
    Secret {
        metadata: ObjectMeta { name, namespace, labels, annotations, owner_references, ..ObjectMeta::default() },
        ..secret
    }
}

/// Labels and annotations that came from the template.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct Managed {
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    labels: BTreeSet<String>,
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    annotations: BTreeSet<String>,
}

/// Puts the labels and annotations of a template in, takes out those that have left it, and leaves those of others.
pub fn template_metadata(
    meta: &mut ObjectMeta,
    template_labels: &BTreeMap<String, String>,
    template_annotations: &BTreeMap<String, String>,
) {
    let before = Managed::read(meta);
    let now = Managed {
        labels: template_labels.keys().cloned().collect(),
        annotations: template_annotations.keys().cloned().collect(),
    };
    let labels = meta.labels.get_or_insert_default();
    labels.retain(|key, _| !before.labels.contains(key) || now.labels.contains(key));
    labels.extend(template_labels.clone());
    let annotations = meta.annotations.get_or_insert_default();
    annotations.retain(|key, _| !before.annotations.contains(key) || now.annotations.contains(key));
    annotations.extend(template_annotations.clone());
    match now.note() {
        Some(note) => annotations.insert(MANAGED_METADATA.into(), note),
        None => annotations.remove(MANAGED_METADATA),
    };
}

impl Managed {
    /// What an earlier plan noted. A note that cannot be read is none: then nothing goes.
    fn read(meta: &ObjectMeta) -> Self {
        let note = meta.annotations.as_ref().and_then(|a| a.get(MANAGED_METADATA));
        note.and_then(|note| serde_json::from_str(note).ok()).unwrap_or_default()
    }

    fn note(&self) -> Option<String> {
        let anything = !self.labels.is_empty() || !self.annotations.is_empty();
        anything.then(|| serde_json::to_string(self).ok()).flatten()
    }
}

#[cfg(test)]
mod merge_tests;
#[cfg(test)]
mod tests;
