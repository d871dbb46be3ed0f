//! The `vault` part of a connection: HashiCorp Vault or OpenBao.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use super::vault_secret::KeyRef;

/// HashiCorp Vault or OpenBao, a KV secrets engine of version 2. An entry is `<mount>/<path>/<remoteName>`, its value the field
/// `value`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct VaultSpec {
    /// Base URL of the server, e.g. `https://bao.internal:8200`.
    #[schemars(length(max = 2048))]
    #[x_kube(validation = Rule::new("isURL(self) && (self.startsWith('https://') || self.startsWith('http://'))").message("url must be an http or https URL, such as https://bao.internal:8200"))]
    pub url: String,
    /// Path at which the KV engine is mounted. Default: secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    #[x_kube(validation = Rule::new("self.matches('^[^/?#%[:space:][:cntrl:]]+(/[^/?#%[:space:][:cntrl:]]+)*$') && !self.contains('..')").message("must be a path without slashes at its ends, such as secret"))]
    pub mount: Option<String>,
    /// Folder of the entries in the engine. Default: its root.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    #[x_kube(validation = Rule::new("self == '' || self.matches('^[^/?#%[:space:][:cntrl:]]+(/[^/?#%[:space:][:cntrl:]]+)*$') && !self.contains('..')").message("must be a path without slashes at its ends, such as teams/shop"))]
    pub path: Option<String>,
    /// Namespace (Vault Enterprise, OpenBao). Default: the root namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    #[x_kube(validation = Rule::new("self == '' || self.matches('^[^/?#%[:space:][:cntrl:]]+(/[^/?#%[:space:][:cntrl:]]+)*$') && !self.contains('..')").message("must be a path without slashes at its ends, such as admin/team1"))]
    pub namespace: Option<String>,
    /// How tokens are had.
    pub auth: VaultAuthSpec,
}

/// Ways to a Vault token: exactly one.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("[has(self.tokenRef), has(self.appRole), has(self.kubernetes)].filter(x, x).size() == 1").message("exactly one of tokenRef, appRole and kubernetes must be set"))]
pub struct VaultAuthSpec {
    /// A token. Renewed as long as it can be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_ref: Option<KeyRef>,
    /// AppRole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app_role: Option<AppRoleSpec>,
    /// The operator's own service account. For a ClusterVaultConnection only, since the operator shows its identity to the url.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kubernetes: Option<KubernetesAuthSpec>,
}

/// AppRole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct AppRoleSpec {
    /// The role's id, which is no secret.
    #[schemars(length(min = 1, max = 512))]
    pub role_id: String,
    /// Where its secret id is.
    pub secret_id_ref: KeyRef,
    /// Path at which the auth method is mounted. Default: approle.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    #[x_kube(validation = Rule::new("self.matches('^[^/?#%[:space:][:cntrl:]]+(/[^/?#%[:space:][:cntrl:]]+)*$') && !self.contains('..')").message("must be a path without slashes at its ends, such as approle"))]
    pub mount: Option<String>,
}

/// The Kubernetes auth method.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct KubernetesAuthSpec {
    /// The role.
    #[schemars(length(min = 1, max = 512))]
    pub role: String,
    /// Path at which the auth method is mounted. Default: kubernetes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    #[x_kube(validation = Rule::new("self.matches('^[^/?#%[:space:][:cntrl:]]+(/[^/?#%[:space:][:cntrl:]]+)*$') && !self.contains('..')").message("must be a path without slashes at its ends, such as kubernetes"))]
    pub mount: Option<String>,
}
