//! Everything that a plan is made from: the manifests, and what the cluster holds, as far as it may be looked at.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::read::Document;
use super::schema::Schemas;
use crate::api::vault_secret::{ConnectionKind, RestartTarget};
use crate::api::{ClusterVaultConnection, VaultConnection, VaultSecret, names};
use crate::controller::keys::ConnectionKey;
use crate::controller::namespaces::Namespaces;
use crate::controller::shown::{AsShown as _, Shown};
use crate::remote::lane::ObjectKey;
use crate::source::reference::{SourceError, SourceKind, SourceRef};
use crate::source::sealed::Ring;
use crate::sync::fingerprint::KeyRing;
use crate::value::SecretValue;

/// The version of a source that is not at the API server yet: it is equal to no version.
pub const NEW_VERSION: &str = "?new";

/// What was looked for.
#[derive(Clone)]
pub enum Observed<T> {
    /// It is there.
    Here(T),
    /// It is not.
    Absent,
    /// It could not be looked at; says why.
    Unseen(&'static str),
}

impl<T> Observed<T> {
    /// What is there.
    pub fn here(&self) -> Option<&T> {
        match self {
            Self::Here(found) => Some(found),
            _ => None,
        }
    }
}

/// A Secret or ConfigMap. Without `Debug`, because that of a Secret shows what is in it.
#[derive(Clone, Default)]
pub struct Blob {
    /// What it holds.
    pub data: BTreeMap<String, SecretValue>,
    /// Its resourceVersion.
    pub version: String,
    /// The whole of a Secret of the cluster.
    pub secret: Option<Box<Secret>>,
}

impl From<Secret> for Blob {
    fn from(secret: Secret) -> Self {
        let mut data: BTreeMap<String, SecretValue> =
            secret.data.iter().flatten().map(|(key, value)| (key.clone(), SecretValue::new(value.0.clone()))).collect();
        data.extend(secret.string_data.iter().flatten().map(|(k, v)| (k.clone(), SecretValue::from(v.as_str()))));
        let version = secret.metadata.resource_version.clone().unwrap_or_default();
        Self { data, version, secret: Some(Box::new(secret)) }
    }
}

impl From<ConfigMap> for Blob {
    fn from(map: ConfigMap) -> Self {
        let text = map.data.unwrap_or_default().into_iter().map(|(k, v)| (k, SecretValue::from(v)));
        let binary = map.binary_data.unwrap_or_default().into_iter().map(|(k, v)| (k, SecretValue::new(v.0)));
        let version = map.metadata.resource_version.unwrap_or_default();
        Self { data: text.chain(binary).collect(), version, secret: None }
    }
}

/// Where a Secret or ConfigMap is.
pub type At = (SourceKind, String, String);

/// A manifest of one of our kinds.
#[derive(Clone)]
pub struct Manifest {
    /// Its kind.
    pub kind: &'static str,
    /// Its namespace; empty for a ClusterVaultConnection.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// As it was written, with its namespace.
    pub document: Document,
    /// What its schema and rules refuse.
    pub problems: Vec<String>,
}

/// What the cluster holds.
#[derive(Default)]
pub struct Cluster {
    /// VaultSecrets.
    pub vault_secrets: BTreeMap<ObjectKey, VaultSecret>,
    /// Connections.
    pub connections: BTreeMap<ConnectionKey, Shown>,
    /// Kinds of connection that could not be looked at.
    pub unseen: BTreeSet<ConnectionKind>,
    /// Secrets and ConfigMaps that something refers to.
    pub objects: BTreeMap<At, Observed<Blob>>,
    /// Secrets by name, without what is in them, of namespaces in which a selector looks for some.
    pub labels: BTreeMap<String, Observed<BTreeMap<String, ObjectMeta>>>,
    /// Workloads that are to be restarted: whether they are there.
    pub workloads: BTreeMap<(String, RestartTarget), Observed<()>>,
    /// What the API server says of a manifest, by kind, namespace and name.
    pub refusals: BTreeMap<(&'static str, String, String), String>,
    /// The keys of fingerprints, where they may be read.
    pub keys: Option<KeyRing>,
    /// The identities that open sealed values, where they may be read.
    pub ring: Option<Ring>,
    /// The labels of namespaces could not be looked at.
    pub labels_unseen: bool,
    /// What could not be found out, for the reader.
    pub notes: Vec<String>,
}

/// Everything.
pub struct World {
    /// Manifests of our kinds, in order.
    pub manifests: Vec<Manifest>,
    /// VaultSecrets of the manifests that are as they have to be, in order.
    pub wanted: BTreeMap<ObjectKey, VaultSecret>,
    /// Connections of the manifests that are as they have to be.
    pub connections: BTreeMap<ConnectionKey, Shown>,
    /// Secrets and ConfigMaps of the manifests.
    pub objects: BTreeMap<At, Blob>,
    /// Namespaces, of the manifests and the cluster.
    pub namespaces: Namespaces,
    /// The cluster; `None` offline.
    pub cluster: Option<Cluster>,
    /// The operator's namespace.
    pub operator_namespace: String,
    /// Now.
    pub now: Timestamp,
    /// What else the reader should know.
    pub notes: Vec<String>,
}

impl World {
    /// Reads the objects of the manifests; those without a namespace are in `default`. Nothing of a cluster is known yet.
    #[must_use]
    pub fn new(documents: Vec<Document>, default: &str, operator_namespace: &str, now: Timestamp) -> Self {
        let mut world = Self {
            manifests: Vec::new(),
            wanted: BTreeMap::new(),
            connections: BTreeMap::new(),
            objects: BTreeMap::new(),
            namespaces: Namespaces::default(),
            cluster: None,
            operator_namespace: operator_namespace.to_owned(),
            now,
            notes: Vec::new(),
        };
        let schemas = Schemas::default();
        for document in documents {
            world.take(document, default, &schemas);
        }
        world
    }

    fn take(&mut self, mut document: Document, default: &str, schemas: &Schemas) {
        let (group, _) = document.text("/apiVersion").split_once('/').unwrap_or_default();
        let kind = match (group, document.text("/kind")) {
            (names::GROUP, "VaultSecret") => "VaultSecret",
            (names::GROUP, "VaultConnection") => "VaultConnection",
            (names::GROUP, "ClusterVaultConnection") => "ClusterVaultConnection",
            ("", kind @ ("Secret" | "ConfigMap" | "Namespace")) => {
                let kind = kind.to_owned();
                return self.take_core(&document, &kind, default);
            }
            _ => return,
        };
        let name = document.text("/metadata/name").to_owned();
        let namespace = match document.text("/metadata/namespace") {
            _ if kind == "ClusterVaultConnection" => String::new(),
            "" => default.to_owned(),
            own => own.to_owned(),
        };
        if !namespace.is_empty()
            && let Some(metadata) = document.value["metadata"].as_object_mut()
        {
            metadata.insert("namespace".to_owned(), namespace.clone().into());
        }
        let mut problems = schemas.check(kind, &document.value);
        let twice = self.manifests.iter().find(|m| m.kind == kind && m.namespace == namespace && m.name == name);
        if let Some(other) = twice.filter(|_| !name.is_empty()) {
            problems.push(format!("it is in the manifests twice, in {} too", other.document.file));
        }
        if problems.is_empty() && !self.decode(kind, &namespace, &name, &document) {
            problems.push("it does not have the form of its kind".to_owned());
        }
        self.manifests.push(Manifest { kind, namespace, name, document, problems });
    }

    /// Whether it could be decoded.
    fn decode(&mut self, kind: &str, namespace: &str, name: &str, document: &Document) -> bool {
        let mut value = document.value.clone();
        if let Some(fields) = value.as_object_mut() {
            fields.remove("status");
        }
        // The error would quote what it does not understand.
        match kind {
            "VaultSecret" => match serde_json::from_value::<VaultSecret>(value) {
                Ok(read) => drop(self.wanted.insert(ObjectKey::new(namespace, name), read)),
                Err(_) => return false,
            },
            "VaultConnection" => match serde_json::from_value::<VaultConnection>(value) {
                Ok(read) => {
                    let key = ConnectionKey::new(ConnectionKind::VaultConnection, namespace, name);
                    self.connections.insert(key.clone(), read.as_shown(&key));
                }
                Err(_) => return false,
            },
            _ => match serde_json::from_value::<ClusterVaultConnection>(value) {
                Ok(read) => {
                    let key = ConnectionKey::new(ConnectionKind::ClusterVaultConnection, "", name);
                    self.connections.insert(key.clone(), read.as_shown(&key));
                }
                Err(_) => return false,
            },
        }
        true
    }

    fn take_core(&mut self, document: &Document, kind: &str, default: &str) {
        let name = document.text("/metadata/name").to_owned();
        if kind == "Namespace" {
            let labels = document.value.pointer("/metadata/labels").cloned().unwrap_or_default();
            self.namespaces.observe(&name, serde_json::from_value(labels).unwrap_or_default());
            return;
        }
        let namespace = document.text("/metadata/namespace");
        let namespace = if namespace.is_empty() { default.to_owned() } else { namespace.to_owned() };
        let (source, blob) = match kind {
            "Secret" => (SourceKind::Secret, secret_of(document).map(Blob::from)),
            _ => (
                SourceKind::ConfigMap,
                serde_json::from_value::<ConfigMap>(document.value.clone()).ok().map(Blob::from),
            ),
        };
        match blob {
            Some(blob) => drop(self.objects.insert((source, namespace, name), blob)),
            None => self.notes.push(format!(
                "{kind} {namespace}/{name} in {} does not have the form of a {kind}; its values are not known",
                document.file
            )),
        }
    }

    /// The live version of a VaultSecret.
    #[must_use]
    pub fn live(&self, key: &ObjectKey) -> Option<&VaultSecret> {
        self.cluster.as_ref()?.vault_secrets.get(key)
    }

    /// A Secret of the cluster, as it is.
    #[must_use]
    pub fn live_object(&self, kind: SourceKind, namespace: &str, name: &str) -> Observed<&Blob> {
        let Some(cluster) = &self.cluster else { return Observed::Unseen("there is no cluster to look at") };
        match cluster.objects.get(&(kind, namespace.to_owned(), name.to_owned())) {
            Some(Observed::Here(blob)) => Observed::Here(blob),
            Some(Observed::Absent) => Observed::Absent,
            Some(Observed::Unseen(why)) => Observed::Unseen(why),
            None => Observed::Unseen("it was not looked at"),
        }
    }

    /// Whether the manifests hold such an object.
    #[must_use]
    pub fn declares(&self, kind: SourceKind, namespace: &str, name: &str) -> bool {
        self.objects.contains_key(&(kind, namespace.to_owned(), name.to_owned()))
    }

    /// The value that a reference would have once the manifests are applied, with its version.
    ///
    /// # Errors
    /// That it is missing, or why it is not known.
    pub fn value(&self, namespace: &str, of: &SourceRef) -> Result<(SecretValue, String), Gap> {
        let at = (of.kind, namespace.to_owned(), of.name.clone());
        let declared = self.objects.get(&at);
        let live = self.live_object(of.kind, namespace, &of.name);
        let in_cluster = live.here().and_then(|blob| Some((blob.data.get(&of.key)?, &blob.version)));
        if let Some(value) = declared.and_then(|blob| blob.data.get(&of.key)) {
            let same = in_cluster.filter(|(live, _)| *live == value);
            let version = same.map_or_else(|| NEW_VERSION.to_owned(), |(_, version)| version.clone());
            return Ok((value.clone(), version));
        }
        // What others put into an object stays there when it is applied.
        if let Some((value, version)) = in_cluster {
            return Ok((value.clone(), version.clone()));
        }
        let (kind, name, namespace) = (of.kind, of.name.clone(), namespace.to_owned());
        match (live, declared) {
            (Observed::Unseen(_), Some(_)) => {
                Err(Gap::Unseen(format!("{} \"{name}\" in the manifests has no key \"{}\"", kind.as_str(), of.key)))
            }
            (Observed::Unseen(why), None) => Err(Gap::Unseen(format!("{} \"{name}\": {why}", kind.as_str()))),
            (Observed::Absent, None) => Err(Gap::Missing(SourceError::ObjectMissing { kind, name, namespace })),
            _ => Err(Gap::Missing(SourceError::KeyMissing { kind, name, key: of.key.clone(), namespace })),
        }
    }

    /// A connection as it would be.
    #[must_use]
    pub fn connection(&self, key: &ConnectionKey) -> Option<&Shown> {
        self.connections.get(key).or_else(|| self.cluster.as_ref()?.connections.get(key))
    }
}

/// Why a value is not at hand.
#[derive(Clone, Debug, PartialEq)]
pub enum Gap {
    /// It is missing.
    Missing(SourceError),
    /// It is not known; says why.
    Unseen(String),
}

/// A Secret of the manifests. Line breaks in base64 are taken, as kubectl does.
fn secret_of(document: &Document) -> Option<Secret> {
    let mut value = document.value.clone();
    let data = value.get_mut("data").map(serde_json::Value::take);
    let mut secret: Secret = serde_json::from_value(value).ok()?;
    for (key, text) in data.as_ref().and_then(serde_json::Value::as_object).into_iter().flatten() {
        let text: String = text.as_str()?.split_whitespace().collect();
        let bytes = STANDARD.decode(text).ok()?;
        secret.data.get_or_insert_default().insert(key.clone(), k8s_openapi::ByteString(bytes));
    }
    Some(secret)
}
