//! `ClusterVaultSecret`: one object for many namespaces, each with a value of its own or all with the same.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, LabelSelector};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::names;
use super::target::{CreationPolicy, TemplateMetadata};
use super::vault_secret::{ConnectionKind, VaultSecretSpec};

/// What is wanted: which namespaces, and the VaultSecret that they are given.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "vaultsecret.dev",
    version = "v1alpha1",
    kind = "ClusterVaultSecret",
    plural = "clustervaultsecrets",
    doc = "One VaultSecret for many namespaces: a value of its own for each, or the same for all.",
    shortname = "cvsec",
    status = "ClusterVaultSecretStatus",
    derive = "PartialEq",
    printcolumn(name = "Sharing", type_ = "string", json_path = ".spec.sharing"),
    printcolumn(name = "Namespaces", type_ = "string", json_path = ".status.readyNamespaces"),
    printcolumn(name = "Ready", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].status"#),
    printcolumn(name = "Reason", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].reason"#),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(
        name = "Message",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Ready")].message"#,
        priority = 1
    )
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self.sharing == oldSelf.sharing && has(self.vaultSecretName) == has(oldSelf.vaultSecretName) && (!has(self.vaultSecretName) || self.vaultSecretName == oldSelf.vaultSecretName)").message("sharing and vaultSecretName cannot be changed: the entries at the remote belong to the VaultSecrets that are there; make another ClusterVaultSecret"),
    validation = Rule::new("self.sharing != 'PerNamespace' || (has(self.template.connectionRef.kind) && self.template.connectionRef.kind == 'ClusterVaultConnection')").message("template.connectionRef.kind must be ClusterVaultConnection under sharing: PerNamespace: no other connection is there for every namespace"),
    validation = Rule::new("self.sharing != 'Shared' || !has(self.template.target) || !has(self.template.target.creationPolicy) || self.template.target.creationPolicy == 'Owner'").message("template.target.creationPolicy must be Owner under sharing: Shared: what the namespaces get is a copy of that Secret"),
    validation = Rule::new("self.sharing != 'Shared' || !has(self.template.rolloutRestartTargets) || size(self.template.rolloutRestartTargets) == 0").message("template.rolloutRestartTargets is for sharing: PerNamespace: it names workloads in the namespace of the VaultSecret")
)]
pub struct ClusterVaultSecretSpec {
    /// The namespaces that get it.
    pub namespaces: NamespaceSelection,
    /// PerNamespace: a VaultSecret in each namespace, with entries and values of its own. Shared: one VaultSecret, in the operator's
    /// namespace, and a copy of its Secret in each namespace. Cannot be changed.
    pub sharing: Sharing,
    /// Name of the VaultSecret. Default: the name of the ClusterVaultSecret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 253),
        regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$")
    )]
    pub vault_secret_name: Option<String>,
    /// Labels and annotations of the VaultSecret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vault_secret_metadata: Option<TemplateMetadata>,
    /// The spec of the VaultSecret.
    pub template: VaultSecretSpec,
}

/// PerNamespace: a VaultSecret in each namespace, with entries and values of its own. Shared: one VaultSecret, in the operator's
/// namespace, and a copy of its Secret in each namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Sharing {
    /// A VaultSecret in each namespace.
    PerNamespace,
    /// One VaultSecret, and a copy of its Secret in each namespace.
    Shared,
}

/// Namespaces by name, by label, or both. Neither: none.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct NamespaceSelection {
    /// By name. One that does not exist is told of in the status.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 1024))]
    pub names: Vec<String>,
    /// By label. An empty selector selects none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub selector: Option<LabelSelector>,
    /// Left out, whatever else says that they get it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 1024))]
    pub exclude: Vec<String>,
}

/// What holds now.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ClusterVaultSecretStatus {
    /// Generation that the status speaks of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Ready; Reconciling and Stalled for kstatus.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
    /// Namespaces that are to have it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub matching: Option<u32>,
    /// Those that have it as it should be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ready: Option<u32>,
    /// `<ready>/<matching>`, for the printer column.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ready_namespaces: Option<String>,
    /// The namespaces one by one, those that are not as they should be first. Where there are more than 100, the rest is in the
    /// counts alone.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub namespaces: Vec<NamespaceStatus>,
    /// Names what the copies were last seen as, and what they were made from: no copy is read while it holds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub copies: Option<String>,
}

/// What holds in one namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct NamespaceStatus {
    /// Its name.
    pub name: String,
    /// Whether it has what it should.
    pub ready: bool,
    /// Why, in a word.
    pub reason: String,
    /// One sentence for a person, never with a value.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub message: String,
}

impl ClusterVaultSecretSpec {
    /// Name of the VaultSecrets, for a ClusterVaultSecret of that name.
    #[must_use]
    pub fn child_name<'a>(&'a self, own_name: &'a str) -> &'a str {
        self.vault_secret_name.as_deref().unwrap_or(own_name)
    }

    /// What the schema refuses, too; a definition can be older than the operator.
    ///
    /// # Errors
    /// What to change.
    pub fn check(&self) -> Result<(), &'static str> {
        if self.vault_secret_metadata.as_ref().is_some_and(has_own_keys) {
            return Err(
                "vaultSecretMetadata must not have keys of the operator's (vaultsecret.dev/…, app.kubernetes.io/managed-by): set them on a VaultSecret where they are meant",
            );
        }
        match self.sharing {
            Sharing::PerNamespace if self.template.connection_ref.kind() != ConnectionKind::ClusterVaultConnection => {
                Err("template.connectionRef.kind must be ClusterVaultConnection under sharing: PerNamespace")
            }
            Sharing::Shared if self.template.creation_policy() != CreationPolicy::Owner => {
                Err("template.target.creationPolicy must be Owner under sharing: Shared")
            }
            Sharing::Shared if !self.template.rollout_restart_targets.is_empty() => {
                Err("template.rolloutRestartTargets is for sharing: PerNamespace")
            }
            _ => Ok(()),
        }
    }
}

/// Whether there are labels or annotations that say something to the operator, or that it sets itself. An order as to adopt what is
/// at the remote is for one VaultSecret and one moment: here it would hold in every namespace that comes later.
fn has_own_keys(metadata: &TemplateMetadata) -> bool {
    let mut keys = metadata.labels.keys().chain(metadata.annotations.keys());
    let is_own = |key: &str| {
        let prefix = key.split_once('/').map(|(prefix, _)| prefix);
        prefix == Some(names::GROUP) || key == names::MANAGED_BY
    };
    keys.any(|key| is_own(key))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn what_speaks_to_the_operator_is_not_for_every_namespace() {
        let is_refused = |metadata: Value| {
            let spec: ClusterVaultSecretSpec = serde_json::from_value(json!({
                "namespaces": {}, "sharing": "Shared", "vaultSecretMetadata": metadata,
                "template": {"connectionRef": {"name": "c"}, "data": [{"key": "A", "value": "a"}]},
            }))
            .unwrap();
            spec.check().is_err_and(|message| message.contains("vaultSecretMetadata"))
        };
        assert!(is_refused(json!({"annotations": {"vaultsecret.dev/adopt": "app"}})));
        assert!(is_refused(json!({"labels": {"team": "a", "vaultsecret.dev/role": "target"}})));
        assert!(is_refused(json!({"labels": {"app.kubernetes.io/managed-by": "helm"}})));
        assert!(!is_refused(json!({"labels": {"team": "a", "app.kubernetes.io/part-of": "shop"},
                                   "annotations": {"example.org/vaultsecret.dev": "x"}})));
    }
}
