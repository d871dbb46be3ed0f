//! `VaultConnection` and `ClusterVaultConnection`: how to reach a remote, and with which credential.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, LabelSelector};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::duration::GoDuration;
use super::http::HttpSpec;
pub use super::vault_provider::{AppRoleSpec, KubernetesAuthSpec, VaultAuthSpec, VaultSpec};
use super::vault_secret::KeyRef;

/// How to reach a remote; for the VaultSecrets of one namespace.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "vaultsecret.dev",
    version = "v1alpha1",
    kind = "VaultConnection",
    plural = "vaultconnections",
    doc = "How to reach a remote secrets API; for the VaultSecrets of its namespace.",
    shortname = "vconn",
    namespaced,
    status = "ConnectionStatus",
    derive = "PartialEq",
    validation = Rule::new("[has(self.spec.kelvin), has(self.spec.dreadnode), has(self.spec.mixpeek), has(self.spec.vault), has(self.spec.http)].filter(x, x).size() == 1").message("exactly one provider must be set: kelvin, dreadnode, mixpeek, vault or http"),
    validation = Rule::new("(has(self.spec.allowInsecureUrl) && self.spec.allowInsecureUrl) || (!(has(self.spec.kelvin) && self.spec.kelvin.url.startsWith('http://')) && !(has(self.spec.dreadnode) && has(self.spec.dreadnode.url) && self.spec.dreadnode.url.startsWith('http://')) && !(has(self.spec.mixpeek) && has(self.spec.mixpeek.url) && self.spec.mixpeek.url.startsWith('http://')) && !(has(self.spec.vault) && self.spec.vault.url.startsWith('http://')) && !(has(self.spec.http) && self.spec.http.url.startsWith('http://')))").message("an http:// url sends secrets in the clear; use https://, or set allowInsecureUrl: true for a test"),
    validation = Rule::new("!(has(self.spec.vault) && has(self.spec.vault.auth.kubernetes))").message("vault.auth.kubernetes is for a ClusterVaultConnection: it shows the operator's own identity to the url"),
    printcolumn(name = "Provider", type_ = "string", json_path = ".status.provider"),
    printcolumn(name = "Entries", type_ = "integer", json_path = ".status.entries"),
    printcolumn(name = "Ready", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].status"#),
    printcolumn(name = "Reason", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].reason"#),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Message", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].message"#, priority = 1)
)]
#[serde(rename_all = "camelCase")]
pub struct VaultConnectionSpec {
    /// Everything that both kinds of connection have.
    #[serde(flatten)]
    pub connection: ConnectionSpec,
}

/// How to reach a remote; for the namespaces that it allows. Its credentials are in the operator's namespace.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "vaultsecret.dev",
    version = "v1alpha1",
    kind = "ClusterVaultConnection",
    plural = "clustervaultconnections",
    doc = "How to reach a remote secrets API; for the namespaces that it allows.",
    shortname = "cvconn",
    status = "ConnectionStatus",
    derive = "PartialEq",
    validation = Rule::new("[has(self.spec.kelvin), has(self.spec.dreadnode), has(self.spec.mixpeek), has(self.spec.vault), has(self.spec.http)].filter(x, x).size() == 1").message("exactly one provider must be set: kelvin, dreadnode, mixpeek, vault or http"),
    validation = Rule::new("(has(self.spec.allowInsecureUrl) && self.spec.allowInsecureUrl) || (!(has(self.spec.kelvin) && self.spec.kelvin.url.startsWith('http://')) && !(has(self.spec.dreadnode) && has(self.spec.dreadnode.url) && self.spec.dreadnode.url.startsWith('http://')) && !(has(self.spec.mixpeek) && has(self.spec.mixpeek.url) && self.spec.mixpeek.url.startsWith('http://')) && !(has(self.spec.vault) && self.spec.vault.url.startsWith('http://')) && !(has(self.spec.http) && self.spec.http.url.startsWith('http://')))").message("an http:// url sends secrets in the clear; use https://, or set allowInsecureUrl: true for a test"),
    printcolumn(name = "Provider", type_ = "string", json_path = ".status.provider"),
    printcolumn(name = "Entries", type_ = "integer", json_path = ".status.entries"),
    printcolumn(name = "Ready", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].status"#),
    printcolumn(name = "Reason", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].reason"#),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Message", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].message"#, priority = 1)
)]
#[serde(rename_all = "camelCase")]
pub struct ClusterVaultConnectionSpec {
    /// Everything that both kinds of connection have.
    #[serde(flatten)]
    pub connection: ConnectionSpec,
    /// The namespaces whose VaultSecrets may use it. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allowed_namespaces: Option<AllowedNamespaces>,
    /// Put before every name at the remote; `{{ namespace }}` stands for the VaultSecret's namespace. Default: nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 200))]
    pub remote_name_prefix: Option<String>,
}

/// Namespaces by name, by label, or both.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct AllowedNamespaces {
    /// By name.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 1024))]
    pub names: Vec<String>,
    /// By label. An empty selector selects none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub selector: Option<LabelSelector>,
}

/// What both kinds of connection have.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ConnectionSpec {
    /// Kelvin.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kelvin: Option<KelvinSpec>,
    /// Dreadnode.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dreadnode: Option<DreadnodeSpec>,
    /// Mixpeek.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mixpeek: Option<MixpeekSpec>,
    /// HashiCorp Vault or OpenBao, a KV secrets engine of version 2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vault: Option<VaultSpec>,
    /// Any other REST API, described.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http: Option<HttpSpec>,
    /// Names the account that the credential opens; tells two accounts at one URL apart. Default: who the credential says it is
    /// (a client's id, a user), where it says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub account: Option<String>,
    /// How the server is verified, and how we show who we are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<TlsSpec>,
    /// Allows `http://`, which sends secrets in the clear: for a test. Default: false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allow_insecure_url: Option<bool>,
    /// What the remote is asked at most. Defaults by provider.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<LimitsSpec>,
    /// How often the list of entries is read. At least 5s; 0 switches the regular list off. Default: 5m.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    #[x_kube(validation = Rule::new("self.matches('^([0-9]+(\\\\.[0-9]+)?(ns|us|ms|s|m|h))+$|^0$') && (duration(self) == duration('0s') || duration(self) >= duration('5s'))").message("must be a duration of at least 5s, such as 5m, or 0 for off"))]
    pub probe_interval: Option<GoDuration>,
}

/// Kelvin behind Keycloak.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct KelvinSpec {
    /// Base URL of the tenant, e.g. `https://acme.kelvin.ai`.
    #[schemars(length(max = 2048))]
    #[x_kube(validation = Rule::new("isURL(self) && (self.startsWith('https://') || self.startsWith('http://'))").message("url must be an http or https URL, such as https://acme.kelvin.ai"))]
    pub url: String,
    /// Keycloak realm. Default: kelvin.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub realm: Option<String>,
    /// How tokens are had.
    pub auth: KelvinAuthSpec,
}

/// Ways to a Kelvin token: exactly one.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("[has(self.clientCredentials), has(self.password), has(self.accessTokenRef)].filter(x, x).size() == 1").message("exactly one of clientCredentials, password and accessTokenRef must be set"))]
pub struct KelvinAuthSpec {
    /// A service account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_credentials: Option<ClientCredentialsSpec>,
    /// A user with a password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<PasswordAuthSpec>,
    /// A token that somebody else renews.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access_token_ref: Option<KeyRef>,
}

/// A Keycloak service account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClientCredentialsSpec {
    /// Where the client id is.
    pub client_id_ref: KeyRef,
    /// Where its secret is.
    pub client_secret_ref: KeyRef,
}

/// A Keycloak user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PasswordAuthSpec {
    /// Where the user name is.
    pub username_ref: KeyRef,
    /// Where the password is.
    pub password_ref: KeyRef,
    /// The public client to log in with. Default: kelvin-client.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub client_id: Option<String>,
}

/// Dreadnode.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct DreadnodeSpec {
    /// Base URL. Default: `https://app.dreadnode.io`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 2048))]
    #[x_kube(validation = Rule::new("isURL(self) && (self.startsWith('https://') || self.startsWith('http://'))").message("url must be an http or https URL, such as https://app.dreadnode.io"))]
    pub url: Option<String>,
    /// The credential.
    pub auth: DreadnodeAuthSpec,
}

/// Ways to authenticate to Dreadnode: exactly one.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.apiKeyRef) != has(self.bearerTokenRef)").message("exactly one of apiKeyRef and bearerTokenRef must be set"))]
pub struct DreadnodeAuthSpec {
    /// An API key, sent as `X-API-Key`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_key_ref: Option<KeyRef>,
    /// A token, sent as `Authorization: Bearer`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bearer_token_ref: Option<KeyRef>,
}

/// Mixpeek.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct MixpeekSpec {
    /// Base URL. Default: `https://api.mixpeek.com`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 2048))]
    #[x_kube(validation = Rule::new("isURL(self) && (self.startsWith('https://') || self.startsWith('http://'))").message("url must be an http or https URL, such as https://api.mixpeek.com"))]
    pub url: Option<String>,
    /// The credential.
    pub auth: MixpeekAuthSpec,
}

/// Mixpeek's static key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MixpeekAuthSpec {
    /// A key with the admin permission.
    pub api_key_ref: KeyRef,
}

/// TLS.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!(has(self.caBundle) && has(self.caRef))").message("caBundle and caRef exclude each other"))]
pub struct TlsSpec {
    /// Base64 of a PEM bundle of certificate authorities to trust. Default: the public ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 262_144))]
    pub ca_bundle: Option<String>,
    /// The same from a ConfigMap or a Secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_ref: Option<CaRef>,
    /// A `kubernetes.io/tls` Secret, for mutual TLS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_certificate_ref: Option<NameRef>,
    /// Name to expect in the server's certificate. Default: the host of the URL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub server_name: Option<String>,
}

/// Where a CA bundle is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CaRef {
    /// Its kind: ConfigMap or Secret.
    pub kind: CaKind,
    /// Name of the object.
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[a-z0-9]([-.a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
    /// Key in its data.
    #[schemars(length(min = 1, max = 253))]
    pub key: String,
}

/// Kinds that can hold a CA bundle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum CaKind {
    /// A ConfigMap.
    ConfigMap,
    /// A Secret.
    Secret,
}

/// Names an object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NameRef {
    /// Name of the object.
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[a-z0-9]([-.a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
}

/// What the remote is asked at most.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct LimitsSpec {
    /// Requests a minute, on the average. Default: 600; Mixpeek 10, Vault 6000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub requests_per_minute: Option<u32>,
    /// Requests at once after a pause. Default: 20; Mixpeek 10, Vault 100.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100_000))]
    pub burst: Option<u32>,
    /// Requests under way at one time. Default: 8; Mixpeek 5, Vault 16.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000))]
    pub max_in_flight: Option<u32>,
    /// Limit of one request, between 100ms and 10m. Default: 10s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    #[x_kube(validation = Rule::new("self.matches('^([0-9]+(\\\\.[0-9]+)?(ns|us|ms|s|m|h))+$') && duration(self) >= duration('100ms') && duration(self) <= duration('10m')").message("must be a duration between 100ms and 10m, such as 10s"))]
    pub timeout: Option<GoDuration>,
    /// How long a request that timed out may still land. Default: the longer of 60s and three times the timeout.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    #[x_kube(validation = Rule::new("self.matches('^([0-9]+(\\\\.[0-9]+)?(ns|us|ms|s|m|h))+$') && duration(self) >= duration('1s') && duration(self) <= duration('24h')").message("must be a duration between 1s and 24h, such as 60s"))]
    pub settle: Option<GoDuration>,
}

/// What holds of a connection. Written on a transition, not on a probe.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ConnectionStatus {
    /// Generation that the status speaks of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Ready; Reconciling and Stalled for kstatus.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
    /// Kelvin, Dreadnode, Mixpeek, Vault or Http.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provider: Option<String>,
    /// What the remote can do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub capabilities: Option<Capabilities>,
    /// Entries that are ours.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entries: Option<u32>,
    /// The remote that the ledgers speak of: provider, URL and account, without any credential.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remote: Option<String>,
    /// Counts up when the connection is pointed at another remote.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub incarnation: Option<u64>,
    /// Present while nothing is written, until somebody approves.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub freeze: Option<Freeze>,
    /// Value of the adopt annotation that was dealt with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_handled_adopt: Option<String>,
    /// Value of the approve annotation that was dealt with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_handled_approve: Option<String>,
}

/// Why nothing is written, and the token that releases it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Freeze {
    /// To be named in the approve annotation.
    pub token: String,
    /// What was seen.
    pub reason: String,
}

/// What a remote can do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Capabilities {
    /// Whether values can be read back.
    pub read_values: bool,
    /// Timestamp, Presence or Version.
    pub drift_signal: String,
}

/// Labels as a selector sees them.
pub type Labels = BTreeMap<String, String>;
