//! Whose a Secret is. The uid decides, never a name or a label alone.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::Resource as _;

use crate::api::{VaultSecret, names};

/// The VaultSecret that a Secret is made for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// Its name.
    pub name: String,
    /// Its uid.
    pub uid: String,
}

impl Owner {
    /// The reference that makes the garbage collector take the Secret with the VaultSecret.
    ///
    /// Without `blockOwnerDeletion`, which would need a right to change the finalizers of VaultSecrets.
    #[must_use]
    pub fn reference(&self) -> OwnerReference {
        OwnerReference {
            api_version: VaultSecret::api_version(&()).into_owned(),
            kind: VaultSecret::kind(&()).into_owned(),
            name: self.name.clone(),
            uid: self.uid.clone(),
            controller: Some(true),
            block_owner_deletion: None,
        }
    }

    /// `<name>/<uid>`, for the annotation [`names::MADE_FOR`].
    #[must_use]
    pub fn made_for(&self) -> String {
        format!("{}/{}", self.name, self.uid)
    }

    /// Whether this very VaultSecret controls the object.
    #[must_use]
    pub fn controls(&self, meta: &ObjectMeta) -> bool {
        !self.uid.is_empty() && controller(meta).is_some_and(|r| is_vault_secret(r) && r.uid == self.uid)
    }
}

/// The reference to the controller of an object.
#[must_use]
pub fn controller(meta: &ObjectMeta) -> Option<&OwnerReference> {
    meta.owner_references.as_deref().unwrap_or_default().iter().find(|r| r.controller == Some(true))
}

/// Whether a reference is to a VaultSecret, of whatever version.
#[must_use]
pub fn is_vault_secret(reference: &OwnerReference) -> bool {
    let group = reference.api_version.split_once('/').map_or("", |(group, _)| group);
    group == names::GROUP && reference.kind == VaultSecret::kind(&())
}

/// Name and uid in the annotation [`names::MADE_FOR`].
#[must_use]
pub fn made_for(meta: &ObjectMeta) -> Option<Owner> {
    let (name, uid) = meta.annotations.as_ref()?.get(names::MADE_FOR)?.split_once('/')?;
    Some(Owner { name: name.to_owned(), uid: uid.to_owned() })
}

/// The label [`names::ROLE`].
#[must_use]
pub fn role(meta: &ObjectMeta) -> Option<&str> {
    meta.labels.as_ref()?.get(names::ROLE).map(String::as_str)
}
