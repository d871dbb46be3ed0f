//! The manifests, and what the user says besides.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::draft::Reference;
use super::fields::Fields;
use super::report::Report;
use crate::cli::plan::read::Document;

/// What the user says.
#[derive(Default)]
pub struct Wishes {
    /// Namespace of objects that name none.
    pub namespace: Option<String>,
    /// The connection for what has no counterpart of its own.
    pub connection: Option<Reference>,
    /// Fields of entries of which a manifest takes all, by the entry's name.
    pub fields: BTreeMap<String, Vec<String>>,
    /// Whether everything is written with `suspend`.
    pub suspend: bool,
}

/// A manifest of another operator.
#[derive(Clone)]
pub struct Source {
    /// Its kind.
    pub kind: String,
    /// Group and version.
    pub api_version: String,
    /// Its namespace, if it or the user names one.
    pub namespace: Option<String>,
    /// Its name.
    pub name: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its spec.
    pub spec: Fields,
}

impl Source {
    fn of(document: &Document, wishes: &Wishes) -> Self {
        let namespace = Some(document.text("/metadata/namespace").to_owned()).filter(|name| !name.is_empty());
        let labels = Fields::new("metadata", &document.value["metadata"]).map("labels");
        Self {
            kind: document.text("/kind").to_owned(),
            api_version: document.text("/apiVersion").to_owned(),
            namespace: namespace.or_else(|| wishes.namespace.clone()),
            name: document.text("/metadata/name").to_owned(),
            labels,
            spec: Fields::new("spec", &document.value["spec"]),
        }
    }

    /// The API group.
    #[must_use]
    pub fn group(&self) -> &str {
        self.api_version.split('/').next().unwrap_or_default()
    }

    /// The namespace, by name.
    #[must_use]
    pub fn space(&self) -> &str {
        self.namespace.as_deref().unwrap_or("default")
    }

    /// What is left of it: nothing yet.
    #[must_use]
    pub fn report(&self) -> Report {
        let is_cluster = self.kind.starts_with("Cluster");
        let space = self.namespace.as_ref().filter(|_| !is_cluster).map(|n| format!("{n}/")).unwrap_or_default();
        Report::of(format!("{} {space}{}", self.kind, self.name))
    }
}

/// All manifests.
pub struct World {
    /// Those of other operators, in order.
    pub sources: Vec<Source>,
    /// Keys of Secrets, by namespace and name. What is in them is not kept.
    secrets: BTreeMap<(String, String), BTreeSet<String>>,
    /// What the user says.
    pub wishes: Wishes,
}

impl World {
    /// Sorts the documents.
    #[must_use]
    pub fn new(documents: &[Document], wishes: Wishes) -> Self {
        let groups =
            ["external-secrets.io", "generators.external-secrets.io", "secrets.hashicorp.com", "secrets.infisical.com"];
        let mut sources = Vec::new();
        let mut secrets = BTreeMap::new();
        for document in documents {
            let source = Source::of(document, &wishes);
            if groups.contains(&source.group()) {
                sources.push(source);
            } else if source.kind == "Secret" && source.api_version == "v1" {
                let keys = ["data", "stringData"].iter().filter_map(|part| document.value[*part].as_object());
                let keys: BTreeSet<String> = keys.flat_map(|fields| fields.keys().cloned()).collect();
                secrets.insert((source.space().to_owned(), source.name.clone()), keys);
            }
        }
        Self { sources, secrets, wishes }
    }

    /// The manifest of that kind, in that namespace, of that name.
    #[must_use]
    pub fn find(&self, group: &str, kind: &str, namespace: &str, name: &str) -> Option<&Source> {
        let is_cluster = kind.starts_with("Cluster");
        let right = |s: &&Source| s.group() == group && s.kind == kind && s.name == name;
        self.sources.iter().filter(right).find(|s| is_cluster || s.space() == namespace)
    }

    /// The keys of a Secret, if it is in the manifests.
    #[must_use]
    pub fn keys(&self, namespace: &str, name: &str) -> Option<&BTreeSet<String>> {
        self.secrets.get(&(namespace.to_owned(), name.to_owned()))
    }

    /// The fields of an entry, as the user says.
    #[must_use]
    pub fn fields_of(&self, entry: &str) -> Option<&Vec<String>> {
        self.wishes.fields.get(entry.trim_matches('/'))
    }
}

/// What the manifests become.
#[derive(Default)]
pub struct Made {
    /// Connections, by namespace, kind and name, with their specs.
    pub connections: BTreeMap<(Option<String>, Reference), Value>,
    /// VaultSecrets.
    pub secrets: Vec<Value>,
    /// What is left.
    pub left: Vec<super::report::Left>,
}

impl Made {
    /// Has a connection polled at least this often.
    pub fn polled(&mut self, id: &(Option<String>, Reference), every: &str) {
        let Some(spec) = self.connections.get_mut(id) else { return };
        let span = |text: &str| crate::api::duration::parse(text).ok().filter(|span| span.as_secs() >= 5);
        let Some(wanted) = span(every) else { return };
        if spec["probeInterval"].as_str().and_then(span).is_none_or(|now| wanted < now) {
            spec["probeInterval"] = every.into();
        }
    }
}
