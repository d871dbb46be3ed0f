//! A VaultSecret in the making.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::fields::{object, texts};
use super::report::Report;
use super::template::{self, Dialect};

/// A connection, by kind and name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Reference {
    /// VaultConnection or ClusterVaultConnection.
    pub kind: &'static str,
    /// Its name.
    pub name: String,
}

impl Reference {
    /// One in the namespace of whoever names it.
    #[must_use]
    pub fn namespaced(name: impl Into<String>) -> Self {
        Self { kind: "VaultConnection", name: name.into() }
    }

    /// One of the cluster.
    #[must_use]
    pub fn cluster(name: impl Into<String>) -> Self {
        Self { kind: "ClusterVaultConnection", name: name.into() }
    }

    /// As it stands in a manifest.
    #[must_use]
    pub fn value(&self) -> Value {
        match self.kind {
            "VaultConnection" => json!({"name": self.name}),
            kind => json!({"kind": kind, "name": self.name}),
        }
    }
}

/// The Secret that is shown.
#[derive(Clone, Default)]
pub struct Shows {
    /// Its name, if it is another than the VaultSecret's.
    pub name: Option<String>,
    /// Whose it is, unless Owner.
    pub creation: Option<String>,
    /// Its type, unless Opaque.
    pub type_: Option<String>,
    /// Whether it is immutable.
    pub immutable: bool,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its annotations.
    pub annotations: BTreeMap<String, String>,
}

/// A VaultSecret in the making.
pub struct Draft {
    /// Its namespace, if the manifest names one.
    pub namespace: Option<String>,
    /// Its name.
    pub name: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Where it goes.
    pub connection: Reference,
    /// `dataFrom`.
    pub data_from: Vec<Value>,
    /// The Secret.
    pub target: Shows,
    /// Whether it takes entries over.
    pub takes_over: bool,
    /// Whether it deletes entries.
    pub deletes: bool,
    /// Workloads to restart.
    pub restarts: Vec<Value>,
    data: Vec<Value>,
    keys: BTreeSet<String>,
    templates: BTreeMap<String, String>,
}

/// A value that is shown under a key.
#[derive(Clone)]
pub struct Shown {
    /// The key.
    pub key: String,
    /// `valueFrom`.
    pub from: Value,
    /// A filter that decodes it, where it is encoded.
    pub decode: Option<&'static str>,
}

/// The Go templates of a Secret's keys.
#[derive(Default)]
pub struct Templates {
    /// Each with its key.
    pub data: BTreeMap<String, String>,
    /// Where they stand.
    pub path: String,
    /// Whether the Secret has these keys alone.
    pub alone: bool,
}

impl Draft {
    /// One of that name.
    #[must_use]
    pub fn new(namespace: Option<String>, name: impl Into<String>, connection: Reference) -> Self {
        Self {
            namespace,
            name: name.into(),
            labels: BTreeMap::new(),
            connection,
            data_from: Vec::new(),
            target: Shows::default(),
            takes_over: false,
            deletes: false,
            restarts: Vec::new(),
            data: Vec::new(),
            keys: BTreeSet::new(),
            templates: BTreeMap::new(),
        }
    }

    /// Whether it has nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.data.is_empty() && self.data_from.is_empty()
    }

    /// Adds an item of `data`, under a key that no other has; gives the key.
    pub fn add(&mut self, key: &str, fields: Value) -> String {
        let tries = std::iter::once(key.to_owned()).chain((2..).map(|n| format!("{key}.{n}")));
        let key = tries.into_iter().find(|key| !self.keys.contains(key)).unwrap_or_default();
        let mut item = Map::from_iter([("key".to_owned(), Value::String(key.clone()))]);
        item.extend(fields.as_object().cloned().unwrap_or_default());
        self.data.push(Value::Object(item));
        self.keys.insert(key.clone());
        key
    }

    /// Adds values that are only shown, and the templates that are made of them.
    pub fn show(&mut self, values: Vec<Shown>, templates: &Templates, dialect: Dialect, report: &mut Report) {
        // Of two with one key the later wins.
        let mut known: Vec<Shown> = Vec::new();
        for value in values {
            known.retain(|other| other.key != value.key);
            known.push(value);
        }
        let names: BTreeSet<&str> = known.iter().map(|value| &*value.key).collect();
        // A key that is a value and a template: the value needs another name, unless the template is the value itself.
        let same = |key: &str, text: &str| {
            template::convert(text, dialect, str::to_owned).is_ok_and(|c| c.text.trim() == template::plain(key))
        };
        let passed: BTreeSet<&str> = templates
            .data
            .iter()
            .filter(|(k, text)| names.contains(&***k) && same(k, text))
            .map(|(k, _)| &**k)
            .collect();
        let rename = |name: &str| {
            let taken = templates.data.contains_key(name) && !passed.contains(name);
            if taken { format!("{name}.source") } else { name.to_owned() }
        };
        let mut used = BTreeSet::new();
        let mut made = BTreeMap::new();
        for (key, text) in templates.data.iter().filter(|(key, _)| !passed.contains(&***key)) {
            let path = format!("{}[{key}]", templates.path);
            match template::convert(text, dialect, rename) {
                Err(why) => report.left(path, why),
                Ok(c) if c.refs.iter().any(|name| !names.contains(&**name)) => {
                    report.left(path, "it names a value that is not known; name the fields with --fields");
                }
                Ok(c) => {
                    used.extend(c.refs);
                    made.insert(key.clone(), c.text);
                }
            }
        }
        for Shown { key, from, decode } in &known {
            let shown = passed.contains(&**key) || (!templates.alone && rename(key) == *key);
            if !shown && !used.contains(key) {
                continue;
            }
            let project = if shown { None } else { Some(Value::Bool(false)) };
            let item =
                |from, project| object([("push", Some(false.into())), ("project", project), ("valueFrom", Some(from))]);
            match decode {
                None => drop(self.add(&rename(key), item(from.clone(), project))),
                Some(filter) => {
                    let inner = self.add(&format!("{key}.encoded"), item(from.clone(), Some(false.into())));
                    let text = format!("{{{{ {} | {filter} }}}}", template::variable(&inner));
                    self.add(&rename(key), item(json!({"template": text}), project));
                }
            }
        }
        self.templates.extend(made);
    }

    /// Keeps values out of the Secret; templates may still be made of them.
    pub fn hide(&mut self, keys: &BTreeSet<String>) {
        for item in &mut self.data {
            if item["key"].as_str().is_some_and(|key| keys.contains(key)) {
                item["project"] = false.into();
            }
        }
    }

    /// The manifest.
    #[must_use]
    pub fn finish(self, suspend: bool) -> Value {
        let list = |items: Vec<Value>| (!items.is_empty()).then_some(Value::Array(items));
        let some = |value: Value| value.as_object().is_some_and(|fields| !fields.is_empty()).then_some(value);
        let Shows { name, creation, type_, immutable, labels, annotations } = self.target;
        let metadata = object([("labels", texts(labels)), ("annotations", texts(annotations))]);
        let template = object([("metadata", some(metadata)), ("data", texts(self.templates))]);
        let target = object([
            ("name", name.filter(|name| *name != self.name).map(Value::String)),
            ("creationPolicy", creation.filter(|policy| policy != "Owner").map(Value::String)),
            ("type", type_.filter(|kind| kind != "Opaque").map(Value::String)),
            ("immutable", immutable.then(|| true.into())),
            ("template", some(template)),
        ]);
        let spec = object([
            ("connectionRef", Some(self.connection.value())),
            ("data", list(self.data)),
            ("dataFrom", list(self.data_from)),
            ("target", some(target)),
            ("adoptionPolicy", self.takes_over.then(|| "TakeOver".into())),
            ("deletionPolicy", self.deletes.then(|| "Delete".into())),
            ("rolloutRestartTargets", list(self.restarts)),
            ("suspend", suspend.then(|| true.into())),
        ]);
        manifest("VaultSecret", self.namespace, &self.name, self.labels, spec)
    }
}

/// A manifest of ours.
#[must_use]
pub fn manifest(
    kind: &str,
    namespace: Option<String>,
    name: &str,
    labels: BTreeMap<String, String>,
    spec: Value,
) -> Value {
    let metadata =
        object([("name", Some(name.into())), ("namespace", namespace.map(Value::String)), ("labels", texts(labels))]);
    json!({"apiVersion": "vaultsecret.dev/v1alpha1", "kind": kind, "metadata": metadata, "spec": spec})
}
