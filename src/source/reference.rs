//! Values that are read from Secrets and ConfigMaps.
//!
//! Every read goes through [`Namespaced`], which has one namespace and no way to another. The names of objects are
//! checked first: they become part of a URL's path, where `../` would lead out.

use std::collections::{BTreeMap, BTreeSet};

use futures::stream::{self, StreamExt as _};
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::{Api, Client};

use super::api_error::{ApiError, ApiFailure};
use crate::api::names;
use crate::api::vault_secret::{KeyRef, ValueFrom};
use crate::value::SecretValue;

/// Objects that are read at the same time, for one VaultSecret.
const AT_ONCE: usize = 8;

/// A client that reaches one namespace only.
#[derive(Clone)]
pub struct Namespaced {
    client: Client,
    namespace: String,
}

impl Namespaced {
    /// Reads in this namespace from here on.
    #[must_use]
    pub fn new(client: Client, namespace: impl Into<String>) -> Self {
        Self { client, namespace: namespace.into() }
    }

    /// The namespace.
    #[must_use]
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// The Secrets of the namespace.
    #[must_use]
    pub fn secrets(&self) -> Api<Secret> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// The ConfigMaps of the namespace.
    #[must_use]
    pub fn config_maps(&self) -> Api<ConfigMap> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }
}

/// Kinds of object that hold values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SourceKind {
    /// A Secret.
    Secret,
    /// A ConfigMap.
    ConfigMap,
}

impl SourceKind {
    /// The kind as it is written in a manifest.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Secret => "Secret",
            Self::ConfigMap => "ConfigMap",
        }
    }
}

/// One key of one object.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SourceRef {
    /// Kind of the object.
    pub kind: SourceKind,
    /// Its name.
    pub name: String,
    /// The key in its data.
    pub key: String,
}

impl SourceRef {
    /// What a spec refers to; `None` for a generated value.
    #[must_use]
    pub fn of(from: &ValueFrom) -> Option<Self> {
        let make = |kind, r: &KeyRef| Self { kind, name: r.name.clone(), key: r.key.clone() };
        let secret = from.secret_key_ref.as_ref().map(|r| make(SourceKind::Secret, r));
        secret.or_else(|| from.config_map_key_ref.as_ref().map(|r| make(SourceKind::ConfigMap, r)))
    }
}

/// A value that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// The bytes.
    pub value: SecretValue,
    /// resourceVersion of the object they were in.
    pub resource_version: String,
}

/// Why there is no value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SourceError {
    /// The object does not exist.
    #[error("{kind} \"{name}\" not found in namespace {namespace}", kind = kind.as_str())]
    ObjectMissing {
        /// Its kind.
        kind: SourceKind,
        /// Its name.
        name: String,
        /// Where it was looked for.
        namespace: String,
    },
    /// The object exists without the key.
    #[error("{kind} \"{name}\" in namespace {namespace} has no key \"{key}\"", kind = kind.as_str())]
    KeyMissing {
        /// Kind of the object.
        kind: SourceKind,
        /// Its name.
        name: String,
        /// The key.
        key: String,
        /// Its namespace.
        namespace: String,
    },
    /// No object can have that name.
    #[error("\"{name}\" cannot be the name of a {kind}", kind = kind.as_str())]
    InvalidName {
        /// Kind of the object.
        kind: SourceKind,
        /// The name.
        name: String,
    },
    /// The key ring, or the identities that open sealed values.
    #[error("Secret \"{name}\" in namespace {namespace} is the operator's own and never a source")]
    Own {
        /// Its name.
        name: String,
        /// Its namespace.
        namespace: String,
    },
    /// The operator may not read it.
    #[error("{error}; {}", rule(*kind, namespace))]
    Forbidden {
        /// Kind of the object.
        kind: SourceKind,
        /// Its namespace.
        namespace: String,
        /// What the API server said.
        error: ApiError,
    },
    /// Reading failed; another try may succeed.
    #[error("{0}")]
    Api(ApiError),
}

impl SourceError {
    /// Whether something is missing that only a person can provide, so that trying again without a change is of no use.
    #[must_use]
    pub fn is_missing(&self) -> bool {
        !matches!(self, Self::Api(_))
    }

    /// Whether nothing wakes the operator when it is mended: no watch shows a right that is granted.
    #[must_use]
    pub fn is_forbidden(&self) -> bool {
        matches!(self, Self::Forbidden { .. })
    }
}

/// What lets the operator read objects of a kind.
fn rule(kind: SourceKind, namespace: &str) -> String {
    let resource = match kind {
        SourceKind::Secret => "secrets",
        SourceKind::ConfigMap => "configmaps",
    };
    format!(
        "add the rule {{apiGroups: [\"\"], resources: [{resource}], verbs: [get]}} to the role of its service account in namespace {namespace}"
    )
}

/// What was read for a set of references.
#[derive(Clone, Debug, Default)]
pub struct Sources(BTreeMap<SourceRef, Result<Source, SourceError>>);

impl FromIterator<(SourceRef, Result<Source, SourceError>)> for Sources {
    fn from_iter<I: IntoIterator<Item = (SourceRef, Result<Source, SourceError>)>>(read: I) -> Self {
        Self(read.into_iter().collect())
    }
}

impl Sources {
    /// What was read for a reference; `None` when it was not among those asked for.
    #[must_use]
    pub fn get(&self, reference: &SourceRef) -> Option<&Result<Source, SourceError>> {
        self.0.get(reference)
    }

    /// All of it, in the order of the references.
    pub fn iter(&self) -> impl Iterator<Item = (&SourceRef, &Result<Source, SourceError>)> {
        self.0.iter()
    }
}

/// Reads every object once, however many of its keys are wanted, and looks the keys up in what was read.
pub async fn read_all(namespaced: &Namespaced, references: impl IntoIterator<Item = SourceRef>) -> Sources {
    read_others(namespaced, references, &BTreeMap::new()).await
}

/// The same where some Secrets were read before.
pub async fn read_others(
    namespaced: &Namespaced,
    references: impl IntoIterator<Item = SourceRef>,
    secrets: &BTreeMap<String, Object>,
) -> Sources {
    let references: BTreeSet<SourceRef> = references.into_iter().collect();
    let before = |kind: SourceKind, name: &str| secrets.get(name).filter(|_| kind == SourceKind::Secret);
    let objects: BTreeSet<(SourceKind, String)> =
        references.iter().filter(|r| before(r.kind, &r.name).is_none()).map(|r| (r.kind, r.name.clone())).collect();
    let read: BTreeMap<(SourceKind, String), Result<Object, SourceError>> = stream::iter(objects)
        .map(|(kind, name)| async move {
            let object = read_object(namespaced, kind, &name).await;
            ((kind, name), object)
        })
        .buffer_unordered(AT_ONCE)
        .collect()
        .await;
    let look_up = |reference: &SourceRef| match (
        before(reference.kind, &reference.name),
        read.get(&(reference.kind, reference.name.clone())),
    ) {
        (Some(object), _) | (None, Some(Ok(object))) => object.key(namespaced.namespace(), reference),
        (None, Some(Err(error))) => Err(error.clone()),
        (None, None) => Err(missing(namespaced.namespace(), reference.kind, &reference.name)),
    };
    Sources(references.iter().map(|r| (r.clone(), look_up(r))).collect())
}

/// What an object holds, whatever its kind.
#[derive(Clone, Debug)]
pub struct Object {
    /// Its values by key.
    pub data: BTreeMap<String, SecretValue>,
    /// Its resourceVersion.
    pub resource_version: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
}

/// Reads a Secret as a whole.
///
/// # Errors
/// When there is none, or it cannot be read.
pub async fn read_secret(namespaced: &Namespaced, name: &str) -> Result<Object, SourceError> {
    read_object(namespaced, SourceKind::Secret, name).await
}

impl Object {
    /// Whether it is the key ring or the identities, also under another name.
    fn is_own(&self) -> bool {
        matches!(self.labels.get(names::ROLE).map(String::as_str), Some("key-ring" | "sealing"))
    }

    fn key(&self, namespace: &str, reference: &SourceRef) -> Result<Source, SourceError> {
        let SourceRef { kind, name, key } = reference.clone();
        match self.data.get(&key) {
            Some(value) => Ok(Source { value: value.clone(), resource_version: self.resource_version.clone() }),
            None => Err(SourceError::KeyMissing { kind, name, key, namespace: namespace.to_owned() }),
        }
    }
}

impl From<Secret> for Object {
    fn from(secret: Secret) -> Self {
        let data = secret.data.unwrap_or_default().into_iter().map(|(k, v)| (k, SecretValue::new(v.0))).collect();
        let labels = secret.metadata.labels.unwrap_or_default();
        Self { data, resource_version: secret.metadata.resource_version.unwrap_or_default(), labels }
    }
}

impl From<ConfigMap> for Object {
    fn from(map: ConfigMap) -> Self {
        // The API server does not let a key be in both.
        let text = map.data.unwrap_or_default().into_iter().map(|(k, v)| (k, SecretValue::from(v)));
        let binary = map.binary_data.unwrap_or_default().into_iter().map(|(k, v)| (k, SecretValue::new(v.0)));
        let labels = map.metadata.labels.unwrap_or_default();
        let resource_version = map.metadata.resource_version.unwrap_or_default();
        Self { data: text.chain(binary).collect(), resource_version, labels }
    }
}

async fn read_object(namespaced: &Namespaced, kind: SourceKind, name: &str) -> Result<Object, SourceError> {
    if !is_object_name(name) {
        return Err(SourceError::InvalidName { kind, name: name.to_owned() });
    }
    let own = || SourceError::Own { name: name.to_owned(), namespace: namespaced.namespace().to_owned() };
    if kind == SourceKind::Secret && [names::KEY_RING, names::SEALING_IDENTITIES].contains(&name) {
        return Err(own());
    }
    let read = match kind {
        SourceKind::Secret => namespaced.secrets().get(name).await.map(Object::from),
        SourceKind::ConfigMap => namespaced.config_maps().get(name).await.map(Object::from),
    };
    // Whoever could have them pushed or projected would open every sealed value, and guess at every fingerprint.
    if read.as_ref().is_ok_and(|object| kind == SourceKind::Secret && object.is_own()) {
        return Err(own());
    }
    read.map_err(|error| {
        let doing = format!("read {} \"{name}\" in namespace {}", kind.as_str(), namespaced.namespace());
        let error = ApiError::new(doing, &error);
        match error.failure {
            ApiFailure::NotFound => missing(namespaced.namespace(), kind, name),
            ApiFailure::Forbidden => {
                SourceError::Forbidden { kind, namespace: namespaced.namespace().to_owned(), error }
            }
            _ => SourceError::Api(error),
        }
    })
}

fn missing(namespace: &str, kind: SourceKind, name: &str) -> SourceError {
    SourceError::ObjectMissing { kind, name: name.to_owned(), namespace: namespace.to_owned() }
}

/// Whether an object can have that name: a DNS subdomain of at most 253 characters.
#[must_use]
pub fn is_object_name(name: &str) -> bool {
    let edge = |c: Option<char>| c.is_some_and(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
    let label = |l: &str| {
        edge(l.chars().next())
            && edge(l.chars().last())
            && l.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
    };
    name.len() <= 253 && name.split('.').all(label)
}

#[cfg(test)]
mod tests;
