//! `VaultSecret`: entries at a remote, and the Secret that shows the same values to workloads.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::duration::GoDuration;
use crate::sync::ledger::Row;

/// What is wanted: values, where they go at the remote, and the Secret that shows them.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "vaultsecret.dev",
    version = "v1alpha1",
    kind = "VaultSecret",
    plural = "vaultsecrets",
    doc = "Entries at a remote secrets API, and the Secret that shows the same values to workloads.",
    shortname = "vsec",
    namespaced,
    status = "VaultSecretStatus",
    derive = "PartialEq",
    printcolumn(name = "Connection", type_ = "string", json_path = ".spec.connectionRef.name"),
    printcolumn(name = "Synced", type_ = "string", json_path = ".status.synced"),
    printcolumn(name = "Ready", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].status"#),
    printcolumn(name = "Reason", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].reason"#),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Target", type_ = "string", json_path = ".status.target.name", priority = 1),
    printcolumn(
        name = "Message",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Ready")].message"#,
        priority = 1
    )
)]
#[serde(rename_all = "camelCase")]
pub struct VaultSecretSpec {
    /// The connection that the entries go to.
    pub connection_ref: ConnectionRef,
    /// The values, each with the key that it has in the projected Secret.
    #[schemars(length(min = 1, max = 256), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["key"]))]
    pub data: Vec<DataEntry>,
    /// The Secret that shows the values to workloads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<Target>,
    /// What happens when an entry of that name exists already and is not ours. Default: Refuse.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub adoption_policy: Option<AdoptionPolicy>,
    /// What happens at the remote when an entry, or the whole VaultSecret, goes. Default: Retain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deletion_policy: Option<DeletionPolicy>,
    /// What happens when somebody else changes or removes an entry. Default: Reassert.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drift_policy: Option<DriftPolicy>,
    /// Pushes every value again at this interval, for a remote that shows no change at all. At least 5s; 0 or absent: off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("self.matches('^([0-9]+(\\\\.[0-9]+)?(ns|us|ms|s|m|h))+$|^0$') && (duration(self) == duration('0s') || duration(self) >= duration('5s'))").message("must be a duration of at least 5s, such as 24h, or 0 for off"))]
    #[schemars(length(max = 32))]
    pub reassert_interval: Option<GoDuration>,
    /// Stops writing. Does not stop deletion.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suspend: Option<bool>,
}

/// Names a connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ConnectionRef {
    /// Default: VaultConnection, in the same namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<ConnectionKind>,
    /// Name of the connection.
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[a-z0-9]([-.a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
}

/// The two kinds of connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum ConnectionKind {
    /// In the namespace of the VaultSecret.
    #[default]
    VaultConnection,
    /// For the namespaces that it allows.
    ClusterVaultConnection,
}

/// One value.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.value) != has(self.valueFrom)").message("exactly one of value and valueFrom must be set"),
    validation = Rule::new("!(has(self.push) && !self.push && has(self.project) && !self.project)").message("push and project are both false: the value would go nowhere; set one of them to true or remove the key")
)]
pub struct DataEntry {
    /// Key in the projected Secret.
    #[schemars(regex(pattern = r"^[-._a-zA-Z0-9]{1,253}$"), length(max = 253))]
    pub key: String,
    /// Name of the entry at the remote. Default: `key`. Never rewritten: a name that the provider does not take is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 255))]
    pub remote_name: Option<String>,
    /// The value itself, for what is not secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<InlineValue>,
    /// Where the value comes from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value_from: Option<ValueFrom>,
    /// Whether the value goes to the remote. Default: true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub push: Option<bool>,
    /// Whether the value goes into the Secret. Default: true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project: Option<bool>,
    /// How the bytes become text for the remote. Default: UTF8, which refuses bytes that are not UTF-8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encoding: Option<Encoding>,
}

/// A value in the spec. Its `Debug` output shows nothing, because people put secrets there all the same.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct InlineValue(#[schemars(length(min = 1, max = 65536))] pub String);

impl std::fmt::Debug for InlineValue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("InlineValue(redacted)")
    }
}

/// Where a value comes from: exactly one member.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("[has(self.secretKeyRef), has(self.configMapKeyRef), has(self.generate)].filter(x, x).size() == 1").message("exactly one of secretKeyRef, configMapKeyRef and generate must be set"))]
pub struct ValueFrom {
    /// A key of a Secret in the same namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_key_ref: Option<KeyRef>,
    /// A key of a ConfigMap in the same namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_map_key_ref: Option<KeyRef>,
    /// Made by the operator and kept in the escrow Secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generate: Option<Generate>,
}

/// A key of an object.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct KeyRef {
    /// Name of the object.
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[a-z0-9]([-.a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
    /// Key in its data.
    #[schemars(length(min = 1, max = 253))]
    pub key: String,
}

/// A value that the operator makes: exactly one kind.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("[has(self.password), has(self.uuid), has(self.bytes)].filter(x, x).size() == 1").message("exactly one of password, uuid and bytes must be set"))]
pub struct Generate {
    /// A password with a policy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<Password>,
    /// A random UUID (version 4).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uuid: Option<Uuid>,
    /// Random bytes, encoded as text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<Bytes>,
    /// Another number asks for another value. Nothing else does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub epoch: Option<i64>,
}

/// Policy of a generated password; the fields of the External Secrets Operator's generator.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("(has(self.digits) ? self.digits : 0) + (has(self.symbols) ? self.symbols : 0) <= (has(self.length) ? self.length : 24)").message("digits and symbols together must not be more than length"))]
pub struct Password {
    /// Number of characters. Default: 24.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1024))]
    pub length: Option<u32>,
    /// How many of them are digits. Default: a quarter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = 1024))]
    pub digits: Option<u32>,
    /// How many of them are symbols. Default: a quarter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = 1024))]
    pub symbols: Option<u32>,
    /// The symbols to choose from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128))]
    pub symbol_characters: Option<String>,
    /// Without upper-case letters. Default: false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub no_upper: Option<bool>,
    /// Whether a character may come twice. Default: false, as in ESO.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allow_repeat: Option<bool>,
}

/// No options.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Uuid {}

/// Random bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Bytes {
    /// Number of bytes before they are encoded. Default: 32.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 4096))]
    pub length: Option<u32>,
    /// How they become text. Default: Base64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encoding: Option<BytesEncoding>,
}

/// Text forms of generated bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum BytesEncoding {
    /// Standard alphabet, padded.
    #[default]
    Base64,
    /// URL-safe alphabet, not padded.
    Base64Url,
    /// Lower-case hexadecimal.
    Hex,
}

/// How a value becomes text for the remote.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Encoding {
    /// As it is; must be UTF-8.
    #[default]
    UTF8,
    /// Standard alphabet, padded.
    Base64,
    /// URL-safe alphabet, not padded.
    Base64Url,
}

/// The Secret that shows the values.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Target {
    /// Default: the name of the VaultSecret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 253),
        regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$")
    )]
    pub name: Option<String>,
    /// Default: Owner.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub creation_policy: Option<CreationPolicy>,
    /// Default: AfterPush.
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
    /// Labels and annotations of the Secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template: Option<TargetTemplate>,
}

/// What else the Secret holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TargetTemplate {
    /// Its labels and annotations.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<TemplateMetadata>,
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

/// Who the Secret belongs to.
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

/// When the Secret shows a set of values.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum When {
    /// Once the remote has acknowledged all of them; until then the last good set stays.
    #[default]
    AfterPush,
    /// At once.
    Immediately,
}

/// What happens to an entry that exists and is not ours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum AdoptionPolicy {
    /// Nothing is written.
    #[default]
    Refuse,
    /// It is overwritten and ours from then on.
    TakeOver,
}

/// What happens at the remote when an entry goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum DeletionPolicy {
    /// It stays.
    #[default]
    Retain,
    /// It is deleted.
    Delete,
}

/// What happens when somebody else changed an entry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum DriftPolicy {
    /// Our value is written again.
    #[default]
    Reassert,
    /// It is reported and stays.
    Report,
}

/// What holds now.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct VaultSecretStatus {
    /// Generation that the status speaks of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Ready, Pushed, Projected; Reconciling and Stalled for kstatus.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
    /// The ledger: what is known of each entry at the remote.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["connection", "remoteName"]))]
    pub entries: Vec<Row>,
    /// Entries in sync.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub synced_entries: Option<u32>,
    /// Entries that the spec wants at the remote.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total_entries: Option<u32>,
    /// `<synced>/<total>`, for the printer column.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub synced: Option<String>,
    /// The Secret as it was written last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<TargetStatus>,
    /// Value of the force-push annotation that was dealt with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_handled_force_push: Option<String>,
    /// Value of the adopt annotation that was dealt with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_handled_adopt: Option<String>,
}

/// The Secret as it was written last.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct TargetStatus {
    /// Its name.
    pub name: String,
    /// Its resourceVersion after our write.
    pub resource_version: String,
    /// resourceVersions of the sources, and the generation, that it was made from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub made_from: Option<String>,
}

impl VaultSecretSpec {
    /// The adoption policy, with its default.
    #[must_use]
    pub fn adoption(&self) -> AdoptionPolicy {
        self.adoption_policy.unwrap_or_default()
    }
    /// The deletion policy, with its default.
    #[must_use]
    pub fn deletion(&self) -> DeletionPolicy {
        self.deletion_policy.unwrap_or_default()
    }
    /// The drift policy, with its default.
    #[must_use]
    pub fn drift(&self) -> DriftPolicy {
        self.drift_policy.unwrap_or_default()
    }
    /// Whether writing is stopped.
    #[must_use]
    pub fn suspended(&self) -> bool {
        self.suspend.unwrap_or(false)
    }
    /// The creation policy of the target, with its default.
    #[must_use]
    pub fn creation_policy(&self) -> CreationPolicy {
        self.target.as_ref().and_then(|t| t.creation_policy).unwrap_or_default()
    }
    /// When the target shows a set, with its default.
    #[must_use]
    pub fn when(&self) -> When {
        self.target.as_ref().and_then(|t| t.when).unwrap_or_default()
    }
    /// Name of the target, for a VaultSecret of that name.
    #[must_use]
    pub fn target_name<'a>(&'a self, own_name: &'a str) -> &'a str {
        self.target.as_ref().and_then(|t| t.name.as_deref()).unwrap_or(own_name)
    }
}

impl DataEntry {
    /// Whether the value goes to the remote.
    #[must_use]
    pub fn pushes(&self) -> bool {
        self.push.unwrap_or(true)
    }
    /// Whether the value goes into the Secret.
    #[must_use]
    pub fn projects(&self) -> bool {
        self.project.unwrap_or(true)
    }
    /// Name at the remote as the spec has it, without a prefix.
    #[must_use]
    pub fn remote_name(&self) -> &str {
        self.remote_name.as_deref().unwrap_or(&self.key)
    }
    /// How the bytes become text.
    #[must_use]
    pub fn encoding(&self) -> Encoding {
        self.encoding.unwrap_or_default()
    }
}

impl ConnectionRef {
    /// The kind, with its default.
    #[must_use]
    pub fn kind(&self) -> ConnectionKind {
        self.kind.unwrap_or_default()
    }
    /// `<kind>/<name>`, as ledger rows name it.
    #[must_use]
    pub fn display(&self) -> String {
        format!("{}/{}", self.kind().as_str(), self.name)
    }
}

impl ConnectionKind {
    /// The kind as it is written in a manifest.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::VaultConnection => "VaultConnection",
            Self::ClusterVaultConnection => "ClusterVaultConnection",
        }
    }
}
