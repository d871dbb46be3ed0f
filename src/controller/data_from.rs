//! From `spec.dataFrom` to entries as they would stand in `spec.data`, so that everything else knows entries only. Pure.

mod collisions;
mod rewrite;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use super::desired::Issue;
use crate::api::Reason;
use crate::api::vault_secret::{Bundle, DataEntry, DataFrom, KeyRef, Member, ValueFrom, VaultSecretSpec};
use crate::remote::spec::{Rules, default_field};
use rewrite::Rewriter;

/// The most keys of a VaultSecret, those of `spec.data` included.
pub const MOST_KEYS: usize = 256;
/// The most Secrets that the selectors of a VaultSecret may select.
pub const MOST_SECRETS: usize = 64;

/// A Secret of one of the items of `spec.dataFrom`, and the keys that it has.
#[derive(Clone, Copy, Debug)]
pub struct Source<'a> {
    /// Which item.
    pub item: usize,
    /// Name of the Secret.
    pub secret: &'a str,
    /// All of its keys; or those that an item wants.
    pub keys: &'a [String],
}

/// The remote that the entries go to.
#[derive(Clone, Copy, Debug)]
pub struct Remote<'a> {
    /// What it takes.
    pub rules: &'a Rules,
    /// The connection, for messages.
    pub connection: &'a str,
}

/// What `spec.dataFrom` comes to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Expansion {
    /// `spec.data`, and what is added to it.
    pub data: Vec<DataEntry>,
    /// The keys that are wanted of each Secret.
    pub keys: BTreeMap<String, BTreeSet<String>>,
}

/// A key of a Secret that an item wants.
struct Found<'a> {
    item: usize,
    secret: &'a str,
    source_key: &'a str,
    /// Its key here.
    key: String,
    /// Its name at the remote, or in a bundle.
    name: String,
}

/// Where an entry is from, for messages.
struct Origin(String);

/// Makes entries of whole Secrets. A key that stands in `spec.data` is what stands there.
///
/// # Errors
/// When an expression or a template is wrong, when a key or a name would be there twice, or when there are too many: nothing may be
/// written then, because it is not known what is wanted.
pub fn expand(spec: &VaultSecretSpec, sources: &[Source<'_>], remote: Option<Remote<'_>>) -> Result<Expansion, Issue> {
    let rewriters: Vec<Rewriter> =
        spec.data_from.iter().enumerate().map(|(item, from)| Rewriter::of(item, from)).collect::<Result<_, _>>()?;
    let mut found = wanted(spec, sources, &rewriters);
    let all = spec.data.len() + found.len();
    if all > MOST_KEYS {
        let text = format!(
            "data and dataFrom have {all} keys together, and a VaultSecret takes {MOST_KEYS}; leave some out with match, or make a \
             second VaultSecret"
        );
        return Err(Issue::new(Reason::ValueRefused, text));
    }
    for one in &mut found {
        one.name = rewriters[one.item].name(one.source_key, one.secret)?;
    }
    let fields = remote.is_some_and(|remote| default_field(remote.rules.provider()).is_some());
    let mut expansion = Expansion { data: spec.data.clone(), keys: BTreeMap::new() };
    let mut origins: Vec<Origin> = spec.data.iter().map(|entry| Origin(format!("key {} of data", entry.key))).collect();
    for (item, from) in spec.data_from.iter().enumerate() {
        let of_item: Vec<&Found<'_>> = found.iter().filter(|one| one.item == item).collect();
        if let Some(bundle) = &from.remote_name {
            collisions::in_bundle(bundle, &of_item)?;
        }
        for one in &of_item {
            expansion.keys.entry(one.secret.to_owned()).or_default().insert(one.source_key.to_owned());
            if let Some(entry) = entry_of(from, one, fields) {
                expansion.data.push(entry);
                origins.push(Origin(format!("key {} of Secret {} (dataFrom[{item}])", one.source_key, one.secret)));
            }
        }
        if let Some(document) = document_of(from, &of_item, fields) {
            expansion.data.push(document);
            origins.push(Origin(format!("the bundle of dataFrom[{item}]")));
        }
    }
    collisions::keys(&expansion.data, &origins, spec.data.len())?;
    // Without a remote it is not known what becomes one name there.
    if remote.is_some() {
        collisions::names(&expansion.data, &origins, spec.data.len(), remote)?;
    }
    Ok(expansion)
}

/// The keys that the items want, in a fixed order: item, Secret, key.
fn wanted<'a>(spec: &VaultSecretSpec, sources: &[Source<'a>], rewriters: &[Rewriter]) -> Vec<Found<'a>> {
    let explicit: BTreeSet<&str> = spec.data.iter().map(|entry| entry.key.as_str()).collect();
    let mut unique: BTreeMap<(usize, &str, &str), Found<'a>> = BTreeMap::new();
    for source in sources {
        let (Some(from), Some(rewriter)) = (spec.data_from.get(source.item), rewriters.get(source.item)) else {
            continue;
        };
        for source_key in source.keys.iter().filter(|key| rewriter.wants(key)) {
            let key = key_of(from, source.secret, source_key);
            if explicit.contains(key.as_str()) {
                continue;
            }
            let (item, secret) = (source.item, source.secret);
            let one = Found { item, secret, source_key, key, name: String::new() };
            unique.insert((item, secret, source_key), one);
        }
    }
    unique.into_values().collect()
}

/// The key here. What no Secret shows, of Secrets that nobody has named, is told apart by the Secret.
fn key_of(from: &DataFrom, secret: &str, key: &str) -> String {
    if from.selector.is_some() && !from.projects() { format!("{secret}.{key}") } else { key.to_owned() }
}

/// What is one key of one Secret.
fn entry_of(from: &DataFrom, one: &Found<'_>, fields: bool) -> Option<DataEntry> {
    let (bundled, pushes) = (from.remote_name.is_some(), from.pushes());
    let as_field = bundled && fields;
    if bundled && !as_field && !from.projects() {
        return None;
    }
    let reference = KeyRef { name: one.secret.to_owned(), key: one.source_key.to_owned() };
    Some(DataEntry {
        key: one.key.clone(),
        remote_name: if bundled { from.remote_name.clone() } else { Some(one.name.clone()) },
        remote_field: as_field.then(|| one.name.clone()),
        value: None,
        value_from: Some(ValueFrom { secret_key_ref: Some(reference), ..ValueFrom::default() }),
        push: Some(pushes && (!bundled || as_field)),
        project: Some(from.projects()),
        encoding: from.encoding,
    })
}

/// The object of a bundle; none where nobody has any use for it, and none of nothing.
fn document_of(from: &DataFrom, of_item: &[&Found<'_>], fields: bool) -> Option<DataEntry> {
    let name = from.remote_name.as_ref()?;
    let push = from.pushes() && !fields;
    let project = from.projects() && from.key.is_some();
    if of_item.is_empty() || !(push || project) {
        return None;
    }
    let member = |one: &&Found<'_>| Member {
        name: one.name.clone(),
        secret: one.secret.to_owned(),
        key: one.source_key.to_owned(),
    };
    let bundle = Bundle { members: of_item.iter().map(member).collect(), encoding: from.encoding.unwrap_or_default() };
    Some(DataEntry {
        key: from.key.clone().unwrap_or_else(|| name.clone()),
        remote_name: Some(name.clone()),
        remote_field: None,
        value: None,
        value_from: Some(ValueFrom { bundle: Some(bundle), ..ValueFrom::default() }),
        push: Some(push),
        project: Some(project),
        encoding: None,
    })
}
