//! PushSecrets of the External Secrets Operator.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::draft::{Draft, Reference};
use super::fields::{Fields, object};
use super::report::Report;
use super::stores::{Id, Store, Stores};
use super::template::{self, Dialect};
use super::world::{Made, Source, World};
use super::{generators, pull};

/// Where a PushSecret goes.
struct Way {
    reference: Reference,
    /// The connection to Vault, if it is one that was made here.
    vault: Option<(Id, Option<String>)>,
}

/// Converts one: a VaultSecret for each of its stores.
pub fn convert(source: &Source, world: &World, stores: &Stores, made: &mut Made) {
    let mut report = source.report();
    let mut spec = source.spec.clone();
    spec.pass_over(&["refreshInterval"]);
    let refs = spec.list("secretStoreRefs");
    let many = refs.len() > 1;
    let takes_over = spec.text("updatePolicy").is_none_or(|policy| policy == "Replace");
    let deletes = spec.text("deletionPolicy").is_some_and(|policy| policy == "Delete");
    for mut store in refs {
        let Some(name) = store.text("name") else {
            report
                .left(store.path("labelSelector"), "a connection is named, not selected: write a VaultSecret for each");
            continue;
        };
        let is_cluster = store.text("kind").is_some_and(|kind| kind == "ClusterSecretStore");
        let Some(way) = way(source, world, stores, is_cluster, &name, store.here(), &mut report) else { continue };
        let own = if many { format!("{}-{name}", source.name) } else { source.name.clone() };
        let mut draft = Draft::new(source.namespace.clone(), own, way.reference.clone());
        draft.labels.clone_from(&source.labels);
        (draft.takes_over, draft.deletes) = (takes_over, deletes);
        draft.target.creation = Some("None".to_owned());
        let mut fields = spec.clone();
        let mut said = source.report();
        let parts = values(&mut fields, &way, &name, source, world, &mut draft, &mut said);
        said.rest(&fields);
        // What is wrong with the values is the same for every store, and said once.
        said.left.retain(|left| !report.left.contains(left));
        report.left.extend(said.left);
        for draft in split(draft, parts, &way, made, &mut report) {
            if !draft.is_empty() {
                made.secrets.push(draft.finish(world.wishes.suspend));
            }
        }
    }
    made.left.extend(report.left);
}

/// The connection for a store: the one that it became, else the one that the user names.
fn way(
    source: &Source,
    world: &World,
    stores: &Stores,
    is_cluster: bool,
    name: &str,
    at: &str,
    report: &mut Report,
) -> Option<Way> {
    match (stores.get(is_cluster, source.space(), name), &world.wishes.connection) {
        (Some(Store::Vault { id, mount }), _) => {
            Some(Way { reference: id.1.clone(), vault: Some((id.clone(), mount.clone())) })
        }
        (_, Some(reference)) => Some(Way { reference: reference.clone(), vault: None }),
        _ => {
            report.left(at, format!("there is no connection for the store {name}: name one with --connection, or add a store for Vault to the manifests"));
            None
        }
    }
}

/// An item of `data` with its remote name.
struct Part {
    key: String,
    fields: Value,
    folder: String,
}

/// What is pushed: items of `data` by their folders, and `dataFrom` in the draft.
fn values(
    spec: &mut Fields,
    way: &Way,
    store: &str,
    source: &Source,
    world: &World,
    draft: &mut Draft,
    report: &mut Report,
) -> Vec<Part> {
    let mut selector = spec.below("selector");
    let mut secret = selector.below("secret");
    let from = secret.text("name").map(|name| ("secretRef", json!({"name": name})));
    let from = from.or_else(|| secret.take("selector").map(|selector| ("selector", selector)));
    let generated: BTreeMap<String, Value> = if selector.has("generatorRef") {
        let mut reference = selector.below("generatorRef");
        generators::values(world, "generators.external-secrets.io", source.space(), &mut reference, report)
            .into_iter()
            .collect()
    } else {
        BTreeMap::new()
    };
    let mut templates = spec.below("template");
    let texts = templates.map("data");
    let texts_at = templates.path("data");
    templates.pass_over(&["engineVersion", "mergePolicy", "metadata", "type"]);
    report.rest(&templates);
    let value_of = |key: &str| match &from {
        Some(("secretRef", secret)) => Some(json!({"secretKeyRef": {"name": secret["name"], "key": key}})),
        _ => generated.get(key).cloned(),
    };
    let mut parts = Vec::new();
    let mut helpers = BTreeSet::new();
    let items = spec.list("data");
    let pushed: BTreeSet<String> =
        items.iter().filter_map(|item| item.clone().below("match").text("secretKey")).collect();
    // What a template is made of has a key of its own where its name is taken, or may be of a VaultSecret for another folder.
    let rename = |name: &str| {
        let taken = texts.contains_key(name) || (way.vault.is_some() && pushed.contains(name));
        if taken { format!("{name}.source") } else { name.to_owned() }
    };
    for mut item in items {
        let mut found = item.below("match");
        let mut remote = found.below("remoteRef");
        let (key, entry, property) = (found.text("secretKey"), remote.text("remoteKey"), remote.text("property"));
        conversion(&mut item, report);
        report.rest(&item);
        let Some(entry) = entry else {
            report.left(item.here(), "it names no entry: write remoteRef.remoteKey");
            continue;
        };
        let Some((folder, name)) = folder_and_name(&entry, way, item.here(), report) else { continue };
        let Some(key) = key else {
            // The whole Secret as one entry: a bundle.
            match (&from, folder.is_empty()) {
                (Some((kind, secret)), true) => {
                    draft.data_from.push(object([(*kind, Some(secret.clone())), ("remoteName", Some(name.into()))]));
                }
                _ => report.left(item.here(), "write it as dataFrom with a remoteName (docs/datafrom.md)"),
            }
            continue;
        };
        if way.vault.is_some() && property.is_none() {
            report.left(item.here(), "the value becomes the field `value`, and not the whole entry: for an entry with several fields write an item for each, with remoteField");
        }
        let value = match texts.get(&key) {
            None => value_of(&key),
            Some(text) => match template::convert(text, Dialect::Eso, rename) {
                Ok(converted) => {
                    helpers.extend(converted.refs);
                    Some(json!({"template": converted.text}))
                }
                Err(why) => {
                    report.left(format!("{texts_at}[{key}]"), why);
                    continue;
                }
            },
        };
        let Some(value) = value else {
            report.left(
                item.here(),
                "the Secret that it comes from is selected by a label, or not known: name it, or use dataTo",
            );
            continue;
        };
        let fields = object([
            ("remoteName", (name != key).then(|| name.into())),
            ("remoteField", property.filter(|field| field != "value").map(Value::String)),
            ("valueFrom", Some(value)),
        ]);
        parts.push(Part { key, fields, folder });
    }
    for name in helpers {
        let key = rename(&name);
        if parts.iter().any(|part| part.key == key) {
            continue;
        }
        match value_of(&name) {
            Some(value) => parts.push(Part {
                key,
                fields: json!({"push": false, "project": false, "valueFrom": value}),
                folder: "*".to_owned(),
            }),
            None => report.left(
                texts_at.clone(),
                format!("the value {name} that a template is made of is not known: add a key for it"),
            ),
        }
    }
    for mut to in spec.list("dataTo") {
        if to.below("storeRef").text("name").is_some_and(|name| name != store) {
            continue;
        }
        let found = to.below("match").text("regexp");
        let rewrite = rewrites(&mut to, report);
        conversion(&mut to, report);
        report.rest(&to);
        match &from {
            Some((kind, secret)) => draft.data_from.push(object([
                (*kind, Some(secret.clone())),
                ("match", found.map(|regexp| json!({"regexp": regexp}))),
                ("rewrite", (!rewrite.is_empty()).then_some(Value::Array(rewrite))),
            ])),
            None => report
                .left(to.here(), "only the keys of Secrets can be taken all at once: write an item of data for each"),
        }
    }
    parts
}

fn conversion(item: &mut Fields, report: &mut Report) {
    if item.text("conversionStrategy").is_some_and(|strategy| strategy != "None") {
        report.left(item.path("conversionStrategy"), "names are not converted: write remoteName, or a rewrite");
    }
}

/// Steps from a key to a name.
fn rewrites(fields: &mut Fields, report: &mut Report) -> Vec<Value> {
    let mut steps = Vec::new();
    for mut step in fields.list("rewrite") {
        let mut regexp = step.below("regexp");
        let template = step.below("transform").text("template");
        match (regexp.text("source"), template) {
            (Some(source), _) => {
                let target = regexp.text("target").unwrap_or_default();
                steps.push(json!({"regexp": {"source": source, "target": pull::groups(&target)}}));
            }
            (None, Some(text)) => match template::convert(&text, Dialect::Name, str::to_owned) {
                Ok(converted) => steps.push(json!({"template": converted.text})),
                Err(why) => report.left(step.here(), why),
            },
            (None, None) => report.rest(&step),
        }
    }
    steps
}

/// Folder and name of an entry. Only a connection that is made here can be given a folder.
fn folder_and_name(entry: &str, way: &Way, at: &str, report: &mut Report) -> Option<(String, String)> {
    let entry = match &way.vault {
        Some((_, mount)) => {
            let Some(name) = pull::entry_name(entry, mount.as_deref()) else {
                report.left(at, "the key names another engine than the store does: make a connection for that mount");
                return None;
            };
            name
        }
        None => entry.to_owned(),
    };
    match entry.rsplit_once('/') {
        None => Some((String::new(), entry)),
        Some((folder, name)) if way.vault.is_some() => Some((folder.to_owned(), name.to_owned())),
        Some(_) => {
            report.left(at, "a remote name is one segment: choose one without a slash, or give the connection a path");
            None
        }
    }
}

/// A VaultSecret for each folder, with a connection of its own: a folder is the connection's, a name one segment.
fn split(draft: Draft, parts: Vec<Part>, way: &Way, made: &mut Made, report: &mut Report) -> Vec<Draft> {
    let folders: BTreeSet<String> =
        parts.iter().map(|part| part.folder.clone()).filter(|folder| folder != "*").collect();
    if folders.len() <= 1 && folders.first().is_none_or(String::is_empty) {
        let mut draft = draft;
        parts.iter().for_each(|part| drop(draft.add(&part.key, part.fields.clone())));
        return vec![draft];
    }
    let mut found = Vec::new();
    for folder in &folders {
        let mut reference = way.reference.clone();
        if let (Some(((space, _), _)), false) = (&way.vault, folder.is_empty()) {
            reference.name = format!("{}-{}", reference.name, dns(folder));
            let old = way.vault.as_ref().and_then(|(id, _)| made.connections.get(id)).cloned();
            if let Some(mut spec) = old {
                spec["vault"]["path"] = folder.as_str().into();
                made.connections.insert((space.clone(), reference.clone()), spec);
            }
        }
        let name = if folders.len() == 1 { draft.name.clone() } else { format!("{}-{}", draft.name, dns(folder)) };
        let name = name.trim_end_matches('-').to_owned();
        let mut one = Draft::new(draft.namespace.clone(), name, reference);
        one.labels.clone_from(&draft.labels);
        (one.takes_over, one.deletes) = (draft.takes_over, draft.deletes);
        one.target.clone_from(&draft.target);
        let own = parts.iter().filter(|part| part.folder == *folder || part.folder == "*");
        own.for_each(|part| drop(one.add(&part.key, part.fields.clone())));
        if folder.is_empty() {
            one.data_from.clone_from(&draft.data_from);
        }
        found.push(one);
    }
    if !draft.data_from.is_empty() && !folders.contains("") {
        report.whole(
            "some of it goes into folders and some does not: write a VaultSecret of its own for what is taken whole",
        );
    }
    found
}

/// A text as a part of an object's name.
fn dns(text: &str) -> String {
    let plain: String = text.to_lowercase().chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    plain.trim_matches('-').to_owned()
}
