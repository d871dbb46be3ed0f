//! Whose a Secret is. The uid decides, never a name or a label alone.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::Resource as _;

use crate::api::{ClusterVaultSecret, VaultSecret, names};

/// What the annotation of a Secret that is made for a ClusterVaultSecret begins with; no name of an object does.
const CLUSTER: &str = "ClusterVaultSecret/";

/// Kinds of ours that Secrets are made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OwnerKind {
    /// Its target, or its escrow.
    VaultSecret,
    /// A copy for one of its namespaces.
    ClusterVaultSecret,
}

impl OwnerKind {
    /// The kind as it is written in a manifest.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::VaultSecret => "VaultSecret",
            Self::ClusterVaultSecret => "ClusterVaultSecret",
        }
    }

    /// Whether a reference is to an object of this kind, of whatever version.
    #[must_use]
    pub fn is_of(self, reference: &OwnerReference) -> bool {
        let group = reference.api_version.split_once('/').map_or("", |(group, _)| group);
        group == names::GROUP && reference.kind == self.as_str()
    }
}

/// The object that a Secret is made for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// Its kind.
    pub kind: OwnerKind,
    /// Its name.
    pub name: String,
    /// Its uid.
    pub uid: String,
}

impl Owner {
    /// A VaultSecret.
    #[must_use]
    pub fn vault_secret(name: impl Into<String>, uid: impl Into<String>) -> Self {
        Self { kind: OwnerKind::VaultSecret, name: name.into(), uid: uid.into() }
    }

    /// A ClusterVaultSecret.
    #[must_use]
    pub fn cluster(name: impl Into<String>, uid: impl Into<String>) -> Self {
        Self { kind: OwnerKind::ClusterVaultSecret, name: name.into(), uid: uid.into() }
    }

    /// The reference that makes the garbage collector take the Secret with its owner.
    ///
    /// Without `blockOwnerDeletion`, which would need a right to change the finalizers of owners.
    #[must_use]
    pub fn reference(&self) -> OwnerReference {
        let api_version = match self.kind {
            OwnerKind::VaultSecret => VaultSecret::api_version(&()),
            OwnerKind::ClusterVaultSecret => ClusterVaultSecret::api_version(&()),
        };
        OwnerReference {
            api_version: api_version.into_owned(),
            kind: self.kind.as_str().to_owned(),
            name: self.name.clone(),
            uid: self.uid.clone(),
            controller: Some(true),
            block_owner_deletion: None,
        }
    }

    /// `<name>/<uid>`, for the annotation [`names::MADE_FOR`]; of a ClusterVaultSecret with its kind before it.
    #[must_use]
    pub fn made_for(&self) -> String {
        match self.kind {
            OwnerKind::VaultSecret => format!("{}/{}", self.name, self.uid),
            OwnerKind::ClusterVaultSecret => format!("{CLUSTER}{}/{}", self.name, self.uid),
        }
    }

    /// Whether it is of the same kind and name, perhaps an earlier one.
    #[must_use]
    pub fn is_namesake(&self, other: &Self) -> bool {
        self.kind == other.kind && self.name == other.name
    }

    /// Whether this very object controls the other.
    #[must_use]
    pub fn controls(&self, meta: &ObjectMeta) -> bool {
        !self.uid.is_empty() && controller(meta).is_some_and(|r| self.kind.is_of(r) && r.uid == self.uid)
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
    OwnerKind::VaultSecret.is_of(reference)
}

/// Whether a reference is to an object that the operator makes Secrets for.
#[must_use]
pub fn is_ours(reference: &OwnerReference) -> bool {
    is_vault_secret(reference) || OwnerKind::ClusterVaultSecret.is_of(reference)
}

/// Name and uid in the annotation [`names::MADE_FOR`].
#[must_use]
pub fn made_for(meta: &ObjectMeta) -> Option<Owner> {
    let text = meta.annotations.as_ref()?.get(names::MADE_FOR)?;
    let (kind, text) = match text.strip_prefix(CLUSTER) {
        Some(rest) => (OwnerKind::ClusterVaultSecret, rest),
        None => (OwnerKind::VaultSecret, text.as_str()),
    };
    let (name, uid) = text.split_once('/')?;
    Some(Owner { kind, name: name.to_owned(), uid: uid.to_owned() })
}

/// The label [`names::ROLE`].
#[must_use]
pub fn role(meta: &ObjectMeta) -> Option<&str> {
    meta.labels.as_ref()?.get(names::ROLE).map(String::as_str)
}
