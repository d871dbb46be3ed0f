//! The Secret that shows the values to workloads.

use std::collections::BTreeMap;

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::value::TemplateText;

/// The Secret that shows the values to workloads. Default: one of the VaultSecret's name, which belongs to it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Target {
    /// Name of the Secret. Default: the name of the VaultSecret. A Secret that values come from cannot be the target too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 253),
        regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$")
    )]
    pub name: Option<String>,
    /// Whose the Secret is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub creation_policy: Option<CreationPolicy>,
    /// When the Secret shows a set of values.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when: Option<When>,
    /// Type of the Secret. Default: Opaque. A change replaces the Secret.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new("!(self in ['kubernetes.io/service-account-token', 'bootstrap.kubernetes.io/token'])").message("Secrets of this type give rights to whoever makes them; choose another type"))]
    pub type_: Option<String>,
    /// Whether the Secret is immutable; a new set of values replaces it. Default: false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub immutable: Option<bool>,
    /// Labels, annotations and further keys of the Secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template: Option<TargetTemplate>,
}

/// What else the Secret holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct TargetTemplate {
    /// Its labels and annotations.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<TemplateMetadata>,
    /// Further keys of the Secret, each with the template of its value. They see every key of `spec.data`, also those that are
    /// not projected, and go to no remote.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 64))]
    #[x_kube(validation = Rule::new("self.all(key, key.matches('^[-._a-zA-Z0-9]{1,253}$'))").message("a key of a Secret has 1 to 253 letters, digits, '-', '.' or '_'"))]
    pub data: BTreeMap<String, TemplateText>,
}

/// Labels and annotations.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TemplateMetadata {
    /// Labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Annotations.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// Whose the Secret is. Owner: made by the operator, and goes with the VaultSecret. Orphan: made by the operator, and stays.
/// Merge: somebody else's, in which only our keys are written. None: there is no Secret. Default: Owner.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum CreationPolicy {
    /// Made by us, goes with the VaultSecret.
    #[default]
    Owner,
    /// Made by us, stays when the VaultSecret goes.
    Orphan,
    /// Somebody else's: only our keys are written.
    Merge,
    /// No Secret.
    None,
}

/// When the Secret shows a set of values. AfterPush: once the remote has acknowledged all of them; until then the last complete
/// set stays. Immediately: at once. Default: AfterPush.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum When {
    /// Once the remote has acknowledged all of them; until then the last good set stays.
    #[default]
    AfterPush,
    /// At once.
    Immediately,
}

/// A workload in the namespace of the VaultSecret.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RestartTarget {
    /// Its kind: Deployment, StatefulSet, DaemonSet, or Rollout where Argo Rollouts is installed.
    pub kind: RestartKind,
    /// Its name.
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[a-z0-9]([-.a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
}

/// Kinds of workload that can be restarted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum RestartKind {
    /// `apps/v1`.
    Deployment,
    /// `apps/v1`.
    StatefulSet,
    /// `apps/v1`.
    DaemonSet,
    /// `argoproj.io/v1alpha1`, where Argo Rollouts is installed.
    Rollout,
}

impl RestartKind {
    /// The kind as it is written in a manifest.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Deployment => "Deployment",
            Self::StatefulSet => "StatefulSet",
            Self::DaemonSet => "DaemonSet",
            Self::Rollout => "Rollout",
        }
    }
}
