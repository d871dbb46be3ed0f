//! Whole Secrets at once: every key of a Secret, or of the Secrets with a label, as if it stood in `spec.data`.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::value::Encoding;

/// Secrets whose keys are wanted.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.secretRef) != has(self.selector)").message("exactly one of secretRef and selector must be set"))]
#[x_kube(validation = Rule::new("!has(self.key) || has(self.remoteName)").message("key names the document of a bundle; it needs remoteName"))]
#[x_kube(validation = Rule::new("!has(self.selector) || (has(self.selector.matchLabels) && size(self.selector.matchLabels) > 0) || (has(self.selector.matchExpressions) && size(self.selector.matchExpressions) > 0)").message("an empty selector would select every Secret of the namespace; name at least one label"))]
pub struct DataFrom {
    /// A Secret in the same namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<SecretRef>,
    /// The Secrets with these labels in the same namespace; never those that the operator made. At most 64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<LabelSelector>,
    /// Which of their keys. Default: all.
    #[serde(default, rename = "match", skip_serializing_if = "Option::is_none")]
    pub matches: Option<KeyMatch>,
    /// What makes the name at the remote of the key, one after the other. Default: the key as it is.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub rewrite: Vec<Rewrite>,
    /// Bundle: all of the keys are one entry of this name, a JSON object (at a Vault: one field each). `rewrite` makes the names
    /// in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 255))]
    pub remote_name: Option<String>,
    /// Key of the projected Secret that shows the JSON object of a bundle, beside its keys. Default: it is not shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^[-._a-zA-Z0-9]{1,253}$"), length(max = 253))]
    pub key: Option<String>,
    /// Whether the values go to the remote. Default: true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub push: Option<bool>,
    /// Whether the values go into the Secret, each under its key. Default: true. With a selector and `project: false` the keys are
    /// told apart as `<secret>.<key>`, so that several Secrets may have the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project: Option<bool>,
    /// How the bytes of each value become text for the remote. Default: UTF8, which refuses bytes that are not UTF-8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encoding: Option<Encoding>,
}

/// Names a Secret.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecretRef {
    /// Name of the Secret.
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[a-z0-9]([-.a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
}

/// Which keys.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct KeyMatch {
    /// Those in which this regular expression is found, such as `^DB_`.
    #[schemars(length(min = 1, max = 1024))]
    pub regexp: String,
}

/// One step from a key to its name at the remote.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.regexp) != has(self.template)").message("exactly one of regexp and template must be set"))]
pub struct Rewrite {
    /// Replaces what is found; a name in which nothing is found stays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub regexp: Option<RegexpRewrite>,
    /// Makes the name: `{{ key }}` is the name so far, `{{ secret }}` the name of the Secret that it is from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4096))]
    pub template: Option<String>,
}

/// A replacement.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RegexpRewrite {
    /// Regular expression to find.
    #[schemars(length(min = 1, max = 1024))]
    pub source: String,
    /// What stands there instead; `$1` or `${1}` is the first group.
    #[schemars(length(max = 1024))]
    pub target: String,
}

/// A Secret of `spec.dataFrom` as it was read last: what is wanted of it is known without reading it again.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SourceStatus {
    /// Its name.
    #[schemars(length(max = 253))]
    pub name: String,
    /// Its resourceVersion.
    pub resource_version: String,
    /// Its keys that are wanted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    pub keys: Vec<String>,
}

/// Keys of Secrets that become one JSON object. Made by the operator; no field of a manifest.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bundle {
    /// What is in it.
    pub members: Vec<Member>,
    /// How each value becomes text.
    pub encoding: Encoding,
}

/// One value of a bundle.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Member {
    /// Its name in the object.
    pub name: String,
    /// The Secret that it is from.
    pub secret: String,
    /// The key there.
    pub key: String,
}

impl DataFrom {
    /// Whether the values go to the remote.
    #[must_use]
    pub fn pushes(&self) -> bool {
        self.push.unwrap_or(true)
    }
    /// Whether the values go into the Secret.
    #[must_use]
    pub fn projects(&self) -> bool {
        self.project.unwrap_or(true)
    }
}
