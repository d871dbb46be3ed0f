//! Where a value comes from, and how it becomes text.
#![allow(
    dead_code,
    reason = "what the derive makes of a struct does not read the fields that a manifest does not have"
)]

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::data_from::Bundle;
use super::duration::GoDuration;
use super::vault_secret::ConnectionRef;

/// A value in the spec. Its `Debug` output shows nothing, because people put secrets there all the same.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct InlineValue(#[schemars(length(min = 1, max = 65536))] pub String);

impl std::fmt::Debug for InlineValue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("InlineValue(redacted)")
    }
}

/// A template in the spec. Its `Debug` output shows nothing, for the same reason.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct TemplateText(#[schemars(length(min = 1, max = 32768))] pub String);

impl std::fmt::Debug for TemplateText {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TemplateText(redacted)")
    }
}

/// Where a value comes from: exactly one member.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("[has(self.secretKeyRef), has(self.configMapKeyRef), has(self.generate), has(self.sealed), has(self.template), has(self.remote)].filter(x, x).size() == 1").message("exactly one of secretKeyRef, configMapKeyRef, generate, sealed, template and remote must be set"))]
// Not on the field itself: the API server would repeat what is there, which may be the value by mistake.
#[x_kube(validation = Rule::new("!has(self.sealed) || self.sealed.startsWith('-----BEGIN AGE ENCRYPTED FILE-----')").message("sealed must be what vaultsecret seal printed, all of its lines"))]
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
    /// What `vaultsecret seal` printed: a ciphertext that only the operator opens, and only for this key of this VaultSecret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 98_304))]
    pub sealed: Option<String>,
    /// Made of the values of the other keys: `{{ KEY }}` is the value of KEY.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template: Option<TemplateText>,
    /// Many keys as one JSON object: what a bundle of `spec.dataFrom` becomes, and no field of a manifest.
    #[serde(skip)]
    pub bundle: Option<Bundle>,
    /// A field of an entry at a remote that gives values back (Vault, OpenBao).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remote: Option<RemoteRef>,
}

/// A field of an entry at a remote.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RemoteRef {
    /// The connection that it is read through. Default: the one of the VaultSecret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connection_ref: Option<ConnectionRef>,
    /// Name of the entry below the connection's mount and path, such as `db` or `db/creds`. The connection's `remoteNamePrefix` goes
    /// before it.
    #[schemars(length(min = 1, max = 512), regex(pattern = r"^[^/]+(/[^/]+)*$"))]
    pub name: String,
    /// Field of the entry that holds the value. Default: value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub field: Option<String>,
}

impl RemoteRef {
    /// The connection that it is read through; `default` is that of its VaultSecret.
    #[must_use]
    pub fn connection<'r>(&'r self, default: &'r ConnectionRef) -> &'r ConnectionRef {
        self.connection_ref.as_ref().unwrap_or(default)
    }

    /// The field that holds the value.
    #[must_use]
    pub fn field(&self) -> &str {
        self.field.as_deref().unwrap_or("value")
    }
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
#[x_kube(validation = Rule::new("[has(self.password), has(self.uuid), has(self.bytes), has(self.sshKey), has(self.rsaKey), has(self.ecKey)].filter(x, x).size() == 1").message("exactly one of password, uuid, bytes, sshKey, rsaKey and ecKey must be set"))]
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
    /// A private key for SSH, in OpenSSH form. Another key has its public half: `template: "{{ KEY | public_key }}"`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ssh_key: Option<SshKey>,
    /// A private RSA key, in PKCS#8 PEM form. Another key has its public half: `template: "{{ KEY | public_key }}"`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rsa_key: Option<RsaKey>,
    /// A private key on an elliptic curve, in PKCS#8 PEM form. Another key has its public half: `template: "{{ KEY | public_key }}"`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ec_key: Option<EcKey>,
    /// Another number asks for another value. Nothing but this and `rotateEvery` does. Default: 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub epoch: Option<i64>,
    /// Makes the value anew at this interval, such as 720h, up to a tenth earlier. At least 10s; 0: off. Default: off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("self.matches('^([0-9]+(\\\\.[0-9]+)?(ns|us|ms|s|m|h))+$|^0$') && (duration(self) == duration('0s') || duration(self) >= duration('10s'))").message("must be a duration of at least 10s, such as 720h, or 0 for off"))]
    #[schemars(length(max = 32))]
    pub rotate_every: Option<GoDuration>,
    /// When `rotateEvery` may make a value anew, in UTC. A new `epoch` does not wait for them. Default: at any time.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub rotation_windows: Vec<RotationWindow>,
    /// Whether the Secret shows the value before the last rotation too, as `<key>.previous`. Default: false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project_previous: Option<bool>,
}

/// A time of the week.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct RotationWindow {
    /// Days on which it opens: Mon, Tue, Wed, Thu, Fri, Sat, Sun. Default: every day.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 7))]
    pub days: Vec<Day>,
    /// When it opens, in UTC, such as `02:30`.
    #[schemars(regex(pattern = r"^([01][0-9]|2[0-3]):[0-5][0-9]$"))]
    pub start: String,
    /// How long it stays open, at most 24h.
    #[x_kube(validation = Rule::new("self.matches('^([0-9]+(\\\\.[0-9]+)?(ns|us|ms|s|m|h))+$') && duration(self) > duration('0s') && duration(self) <= duration('24h')").message("must be a duration of more than 0 and at most 24h, such as 2h"))]
    #[schemars(length(max = 32))]
    pub duration: GoDuration,
}

/// Days of the week.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Day {
    Mon,
    Tue,
    Wed,
    Thu,
    Fri,
    Sat,
    Sun,
}

/// Policy of a generated password; the fields of the External Secrets Operator's generator.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!(has(self.allowRepeat) && !self.allowRepeat && has(self.digits) && self.digits > 10)").message("there are 10 different digits; set allowRepeat: true or lower digits"))]
#[x_kube(validation = Rule::new("(has(self.digits) ? self.digits : 0) + (has(self.symbols) ? self.symbols : 0) <= (has(self.length) ? self.length : 24)").message("digits and symbols together must not be more than length"))]
pub struct Password {
    /// Number of characters. Default: 24.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1024))]
    pub length: Option<u32>,
    /// How many of them are digits. Default: a quarter; at most 10 where no character may come twice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = 1024))]
    pub digits: Option<u32>,
    /// How many of them are symbols. Default: a quarter; at most as many as there are where no character may come twice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = 1024))]
    pub symbols: Option<u32>,
    /// The symbols to choose from. Default: `~!@#$%^&*()_+`, a backquote, and `-={}|[]\:"<>?,./`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128))]
    pub symbol_characters: Option<String>,
    /// Without upper-case letters. Default: false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub no_upper: Option<bool>,
    /// Whether a character may come twice. Default: false as in ESO, as long as there are enough different ones; then true.
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
    /// How they become text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encoding: Option<BytesEncoding>,
}

/// A key for SSH; the fields of the External Secrets Operator's generator.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.keySize) || (has(self.keyType) && self.keyType == 'rsa')").message("keySize is for keyType rsa; an ed25519 key has one size"))]
pub struct SshKey {
    /// Kind of key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_type: Option<SshKeyType>,
    /// Bits of an RSA key: 2048, 3072 or 4096. Default: 3072.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("self in [2048, 3072, 4096]").message("must be 2048, 3072 or 4096"))]
    pub key_size: Option<u32>,
    /// Comment at the end of the public half. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 255), regex(pattern = r"^[ -~]*$"))]
    pub comment: Option<String>,
}

/// Kind of key. ed25519: short, fast, taken everywhere today. rsa: for servers that take nothing else. Default: ed25519.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum SshKeyType {
    /// Short, fast, taken everywhere today.
    #[default]
    Ed25519,
    /// For servers that take nothing else.
    Rsa,
}

/// An RSA key.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct RsaKey {
    /// Bits: 2048, 3072 or 4096. Default: 3072.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("self in [2048, 3072, 4096]").message("must be 2048, 3072 or 4096"))]
    pub key_size: Option<u32>,
}

/// A key on an elliptic curve.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EcKey {
    /// The curve.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub curve: Option<Curve>,
}

/// The curve. P256: NIST P-256 (ES256). P384: NIST P-384 (ES384). Default: P256.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Curve {
    /// NIST P-256 (ES256).
    #[default]
    P256,
    /// NIST P-384 (ES384).
    P384,
}

/// How the bytes become text. Base64: standard alphabet, padded. Base64Url: URL-safe alphabet, not padded. Hex: lower-case
/// hexadecimal. Default: Base64.
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

/// How the bytes become text for the remote. UTF8: as they are, and bytes that are not UTF-8 are refused. Base64: standard
/// alphabet, padded. Base64Url: URL-safe alphabet, not padded. The Secret shows the bytes themselves. Default: UTF8.
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
