//! `VaultSecret`: entries at a remote, and the Secret that shows the same values to workloads.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use super::data_from::{Bundle, DataFrom, KeyMatch, Member, RegexpRewrite, Rewrite, SecretRef, SourceStatus};
use super::duration::GoDuration;
pub use super::target::{CreationPolicy, RestartKind, RestartTarget, Target, TargetTemplate, TemplateMetadata, When};
pub use super::value::{
    Bytes, BytesEncoding, Curve, Day, EcKey, Encoding, Generate, InlineValue, KeyRef, Password, RemoteRef,
    RotationWindow, RsaKey, SshKey, SshKeyType, TemplateText, Uuid, ValueFrom,
};
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
#[x_kube(
    validation = Rule::new("(has(self.data) && size(self.data) > 0) || (has(self.dataFrom) && size(self.dataFrom) > 0)").message("at least one of data and dataFrom must be set"),
    validation = Rule::new("!has(self.data) || !self.data.exists(entry, has(entry.push) && !entry.push && has(entry.project) && !entry.project) || self.data.exists(entry, has(entry.valueFrom) && has(entry.valueFrom.template)) || (has(self.target) && has(self.target.template) && has(self.target.template.data))").message("push and project are both false: the value would go nowhere; set one of them to true or remove the key"),
    validation = Rule::new("!has(self.data) || !has(self.target) || !has(self.target.template) || !has(self.target.template.data) || self.data.all(entry, !(entry.key in self.target.template.data))").message("a key of target.template.data is in data already; one of the two must go")
)]
pub struct VaultSecretSpec {
    /// The connection that the entries go to.
    pub connection_ref: ConnectionRef,
    /// The values, each with the key that it has in the projected Secret.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["key"]))]
    pub data: Vec<DataEntry>,
    /// Whole Secrets: their keys, as if each stood in `data`. A key that stands in `data` too is what `data` says. Together at
    /// most 256.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub data_from: Vec<DataFrom>,
    /// The Secret that shows the values to workloads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<Target>,
    /// What happens when an entry of that name exists already and is not ours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub adoption_policy: Option<AdoptionPolicy>,
    /// What happens at the remote when an entry, or the whole VaultSecret, goes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deletion_policy: Option<DeletionPolicy>,
    /// What happens when somebody else changes or removes an entry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drift_policy: Option<DriftPolicy>,
    /// Pushes every value again at this interval, such as 24h, for a remote that shows no change at all. At least 5s; 0: off.
    /// Default: off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("self.matches('^([0-9]+(\\\\.[0-9]+)?(ns|us|ms|s|m|h))+$|^0$') && (duration(self) == duration('0s') || duration(self) >= duration('5s'))").message("must be a duration of at least 5s, such as 24h, or 0 for off"))]
    #[schemars(length(max = 32))]
    pub reassert_interval: Option<GoDuration>,
    /// Workloads that are restarted once the Secret shows changed values; never for anything else.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["kind", "name"]))]
    pub rollout_restart_targets: Vec<RestartTarget>,
    /// Stops writing. Does not stop deletion. Default: false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suspend: Option<bool>,
}

/// Names a connection.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ConnectionRef {
    /// Its kind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<ConnectionKind>,
    /// Name of the connection.
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[a-z0-9]([-.a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
}

/// VaultConnection: one in the same namespace. ClusterVaultConnection: one for every namespace that it allows. Default:
/// VaultConnection.
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
#[x_kube(validation = Rule::new("has(self.value) != has(self.valueFrom)").message("exactly one of value and valueFrom must be set"))]
#[x_kube(validation = Rule::new("self.key != '.' && !self.key.startsWith('..')").message("a key of a Secret is not '.' and does not begin with '..'; choose another key"))]
pub struct DataEntry {
    /// Key in the projected Secret.
    #[schemars(regex(pattern = r"^[-._a-zA-Z0-9]{1,253}$"), length(max = 253))]
    pub key: String,
    /// Name of the entry at the remote. Default: `key`. Never rewritten: a name that the provider does not take is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 255))]
    pub remote_name: Option<String>,
    /// Field of the entry that holds the value, where entries have fields (Vault). Default: value. Keys with one `remoteName` and
    /// different fields are one entry, written in one piece.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253), regex(pattern = r"^[-._a-zA-Z0-9]{1,253}$"))]
    pub remote_field: Option<String>,
    /// The value itself, for what is not secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<InlineValue>,
    /// Where the value comes from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value_from: Option<ValueFrom>,
    /// Whether the value goes to the remote. Default: true. With `project: false` too, the key is there for templates only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub push: Option<bool>,
    /// Whether the value goes into the Secret. Default: true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project: Option<bool>,
    /// How the bytes become text for the remote.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encoding: Option<Encoding>,
}

/// What happens when an entry of that name exists already and is not ours. Refuse: nothing is written. TakeOver: it is
/// overwritten, and ours from then on. Default: Refuse.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum AdoptionPolicy {
    /// Nothing is written.
    #[default]
    Refuse,
    /// It is overwritten and ours from then on.
    TakeOver,
}

/// What happens at the remote when an entry, or the whole VaultSecret, goes. Retain: the entry stays. Delete: it is deleted.
/// Default: Retain.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum DeletionPolicy {
    /// It stays.
    #[default]
    Retain,
    /// It is deleted.
    Delete,
}

/// What happens when somebody else changes or removes an entry. Reassert: our value is written again. Report: it is said, and
/// left so. Default: Reassert.
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
    /// The Secrets of `spec.dataFrom` as they were read last.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub sources: Vec<SourceStatus>,
    /// When the next generated value is due to be made anew, by its `rotateEvery`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_rotation: Option<jiff::Timestamp>,
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
    /// Names the set of values that it shows, where workloads are to be restarted when it changes: a keyed fingerprint.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub values: Option<String>,
    /// The set that the workloads were restarted for last, or that they began with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub restarted: Option<String>,
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
    /// Whether any value goes to the remote.
    #[must_use]
    pub fn pushes(&self) -> bool {
        self.data.iter().any(DataEntry::pushes) || self.data_from.iter().any(|from| from.push != Some(false))
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
    /// Keys that only the target has, each with its template; none without a target.
    pub fn target_templates(&self) -> impl Iterator<Item = (&str, &str)> {
        let shown = self.target.as_ref().filter(|_| self.creation_policy() != CreationPolicy::None);
        let data = shown.and_then(|t| t.template.as_ref()).map(|t| &t.data);
        data.into_iter().flatten().map(|(key, template)| (key.as_str(), template.0.as_str()))
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
    /// The template that the value is made with, if it is.
    #[must_use]
    pub fn template(&self) -> Option<&str> {
        self.value_from.as_ref()?.template.as_ref().map(|template| template.0.as_str())
    }
    /// The entry at a remote that the value is read from, if it is.
    #[must_use]
    pub fn remote(&self) -> Option<&RemoteRef> {
        self.value_from.as_ref()?.remote.as_ref()
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
