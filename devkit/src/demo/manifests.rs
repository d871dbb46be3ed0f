//! Reading the repository's manifests, and the few changes that let them be tried on this machine.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::error::Failure;

/// How often the list of entries is read, so that a change at a remote is seen soon.
const PROBE_INTERVAL: &str = "5s";
/// How long an unanswered write counts as under way. A stand-in on loopback loses nothing.
const SETTLE: &str = "5s";
/// A stand-in takes more than the real Mixpeek, and probes every few seconds would use up the ten requests a minute there.
const REQUESTS_PER_MINUTE: u32 = 600;

/// The providers' names in a connection's spec.
const PROVIDERS: [&str; 3] = ["kelvin", "dreadnode", "mixpeek"];

/// The repository's folder.
pub(crate) fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The objects of all manifests in a folder, in the order of the files' names.
pub(crate) fn folder(path: &Path) -> Result<Vec<Value>, Failure> {
    let failed = |source| Failure::io(format!("reading the folder {}", path.display()), source);
    let mut files = Vec::new();
    for entry in fs::read_dir(path).map_err(failed)? {
        let file = entry.map_err(failed)?.path();
        if file.extension().is_some_and(|extension| extension == "yaml") {
            files.push(file);
        }
    }
    files.sort();
    let objects: Vec<Vec<Value>> = files.iter().map(|file| read(file)).collect::<Result<_, _>>()?;
    Ok(objects.into_iter().flatten().collect())
}

/// What `kubectl apply -k` takes from a folder: the resources, without patches and images.
pub(crate) fn kustomization(path: &Path) -> Result<Vec<Value>, Failure> {
    let mut objects = Vec::new();
    for document in read(&path.join("kustomization.yaml"))? {
        for resource in document["resources"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            let resource = path.join(resource);
            objects.extend(if resource.is_dir() { kustomization(&resource)? } else { read(&resource)? });
        }
    }
    Ok(objects)
}

fn read(path: &Path) -> Result<Vec<Value>, Failure> {
    let text = fs::read_to_string(path).map_err(|source| Failure::io(format!("reading {}", path.display()), source))?;
    parse(&text).map_err(|why| Failure::Manifest { path: path.to_owned(), why })
}

fn parse(text: &str) -> Result<Vec<Value>, String> {
    let documents: Vec<Value> = serde_saphyr::from_multiple(text).map_err(|error| error.to_string())?;
    Ok(documents.into_iter().filter(|document| !document.is_null()).collect())
}

/// The object's kind.
pub(crate) fn kind(object: &Value) -> &str {
    object["kind"].as_str().unwrap_or_default()
}

/// A string at a JSON pointer, or nothing.
pub(crate) fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// Lets a connection lead to a stand-in at `url`, and be quick.
pub(crate) fn point_at(connection: &mut Value, url: &str) {
    let spec = &mut connection["spec"];
    for provider in PROVIDERS {
        if spec.get(provider).is_some() {
            spec[provider]["url"] = json!(url);
        }
    }
    spec["allowInsecureUrl"] = json!(true);
    spec["probeInterval"] = json!(PROBE_INTERVAL);
    spec["limits"]["settle"] = json!(SETTLE);
    spec["limits"]["requestsPerMinute"] = json!(REQUESTS_PER_MINUTE);
}

/// An entry that a VaultSecret wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Key in the projected Secret.
    pub(crate) key: String,
    /// Name at the remote.
    pub(crate) remote_name: String,
    /// Secret and key that the value comes from, if it does.
    pub(crate) source: Option<(String, String)>,
    /// Whether the operator makes the value.
    pub(crate) generated: bool,
}

/// What the demo has to know of a VaultSecret.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Outline {
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) connection: String,
    pub(crate) target: String,
    pub(crate) entries: Vec<Entry>,
}

/// Reads a VaultSecret with the defaults that are documented.
pub(crate) fn outline(object: &Value) -> Outline {
    let name = text(object, "/metadata/name");
    let or = |text: &str, default: &str| if text.is_empty() { default.to_owned() } else { text.to_owned() };
    let entry = |item: &Value| Entry {
        key: text(item, "/key").to_owned(),
        remote_name: or(text(item, "/remoteName"), text(item, "/key")),
        source: item
            .pointer("/valueFrom/secretKeyRef")
            .map(|from| (text(from, "/name").to_owned(), text(from, "/key").to_owned())),
        generated: item.pointer("/valueFrom/generate").is_some(),
    };
    Outline {
        namespace: text(object, "/metadata/namespace").to_owned(),
        name: name.to_owned(),
        connection: text(object, "/spec/connectionRef/name").to_owned(),
        target: or(text(object, "/spec/target/name"), name),
        entries: object["spec"]["data"].as_array().into_iter().flatten().map(entry).collect(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn a_connection_is_pointed_at_the_stand_in_and_keeps_the_rest() {
        let mut connection = json!({"kind": "VaultConnection", "spec": {
            "kelvin": {"url": "https://acme.kelvin.ai", "realm": "acme", "auth": {"accessTokenRef": {"name": "a"}}},
            "limits": {"burst": 3},
        }});
        point_at(&mut connection, "http://127.0.0.1:1");
        assert_eq!(
            connection["spec"],
            json!({
                "kelvin": {"url": "http://127.0.0.1:1", "realm": "acme", "auth": {"accessTokenRef": {"name": "a"}}},
                "limits": {"burst": 3, "settle": "5s", "requestsPerMinute": 600},
                "allowInsecureUrl": true,
                "probeInterval": "5s",
            })
        );
    }

    #[test]
    fn a_url_that_is_left_to_the_default_is_set() {
        let mut connection = json!({"spec": {"mixpeek": {"auth": {}}}});
        point_at(&mut connection, "http://127.0.0.1:2");
        assert_eq!(connection["spec"]["mixpeek"], json!({"auth": {}, "url": "http://127.0.0.1:2"}));
        assert!(connection["spec"].get("kelvin").is_none());
    }

    #[test]
    fn an_outline_has_the_documented_defaults() {
        let text = "
kind: VaultSecret
metadata: {name: agent, namespace: demo}
spec:
  connectionRef: {name: dreadnode}
  data:
    - key: A
      valueFrom: {secretKeyRef: {name: source, key: a}}
    - {key: B, remoteName: b, value: x}
    - {key: C, valueFrom: {generate: {uuid: {}}}}
---
";
        let objects = parse(text).unwrap();
        assert_eq!(objects.len(), 1, "an empty document is no object");
        let outline = outline(&objects[0]);
        let entry = |key: &str, remote_name: &str| Entry {
            key: key.into(),
            remote_name: remote_name.into(),
            source: None,
            generated: false,
        };
        assert_eq!((outline.name.as_str(), outline.target.as_str()), ("agent", "agent"));
        assert_eq!((outline.namespace.as_str(), outline.connection.as_str()), ("demo", "dreadnode"));
        assert_eq!(
            outline.entries,
            [
                Entry { source: Some(("source".into(), "a".into())), ..entry("A", "A") },
                entry("B", "b"),
                Entry { generated: true, ..entry("C", "C") },
            ]
        );
    }

    #[test]
    fn the_cluster_installation_has_definitions_rights_and_a_deployment() {
        let objects = kustomization(&repository().join("deploy/cluster")).unwrap();
        let kinds: Vec<&str> = objects.iter().map(kind).collect();
        assert_eq!(kinds.iter().filter(|kind| **kind == "CustomResourceDefinition").count(), 4);
        for wanted in ["Namespace", "ServiceAccount", "ClusterRole", "ClusterRoleBinding", "Deployment"] {
            assert!(kinds.contains(&wanted), "{wanted} is not among {kinds:?}");
        }
    }

    #[test]
    fn every_example_has_a_connection_a_source_and_a_generated_value() {
        for provider in PROVIDERS {
            let objects = folder(&repository().join("examples").join(provider)).unwrap();
            let mut connections = objects.iter().filter(|object| kind(object) == "VaultConnection").cloned();
            let mut connection = connections.next().unwrap();
            point_at(&mut connection, "http://127.0.0.1:3");
            assert_eq!(text(&connection, &format!("/spec/{provider}/url")), "http://127.0.0.1:3");
            let outline = outline(objects.iter().find(|object| kind(object) == "VaultSecret").unwrap());
            assert_eq!(outline.connection, text(&connection, "/metadata/name"));
            assert!(outline.entries.iter().any(|entry| entry.source.is_some()), "{outline:?}");
            assert!(outline.entries.iter().any(|entry| entry.generated), "{outline:?}");
        }
    }
}
