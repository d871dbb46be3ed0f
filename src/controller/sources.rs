//! What `spec.dataFrom` stands for in a pass: which Secrets there are, and which keys they have.
//!
//! At rest, and after a restart, nothing is read: the status has the keys of each Secret and the version that has them, and the
//! watches tell whether it still is that version. What cannot be told reads as "not known" and never as "gone": a Secret that is
//! named and missing keeps its entries, and one that is not selected any more is asked itself before they leave.

mod bundle;
mod find;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::core::Selector;
use tokio::sync::SemaphorePermit;

use super::context::Context;
use super::data_from::{self, Remote, Source};
use super::desired::Issue;
use super::keys::Waker;
use super::pass::Pass;
use super::refs::{Known, Ref};
use super::templates;
use super::values::ReadError;
use crate::api::vault_secret::{Bundle, CreationPolicy, DataFrom, SourceStatus, VaultSecretSpec};
use crate::api::{Reason, VaultSecret};
use crate::source::escrow::escrow_name;
use crate::source::reference::{Object, SourceKind, Sources, is_object_name};

pub use bundle::{reference, value as bundle_value, version as bundle_version};

/// The keys of a Secret, as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listing {
    /// Its resourceVersion.
    pub version: String,
    /// Its keys.
    pub keys: Vec<String>,
    /// The generation of the spec that wants these keys, where it is not known whether there are others.
    pub wanted_by: Option<i64>,
}

/// What a pass knows of `spec.dataFrom`.
#[derive(Debug, Default)]
pub struct Observed {
    /// The object with its spec as it was written: that of the pass has an entry for every key.
    pub written: Option<Arc<VaultSecret>>,
    /// What the status is to say of the Secrets; `None`: as before.
    pub recorded: Option<Vec<SourceStatus>>,
    /// The Secrets that were read in this pass.
    pub read: BTreeMap<String, Object>,
    /// What is not as it should be about them.
    pub issues: Vec<Issue>,
    /// It is not known what is wanted: nothing is written, and nothing leaves.
    pub refused: bool,
    /// A Secret is missing that was never read: what has no key may be from it, and does not leave.
    pub incomplete: bool,
}

/// Which Secrets each item has.
type Members = Vec<BTreeSet<String>>;

/// Finds out what `spec.dataFrom` stands for, and puts the entries that it comes to into the spec that the pass works on.
///
/// # Errors
/// When the API server fails: nothing is known then, and nothing may be decided.
pub async fn observe<'c>(
    pass: &mut Pass<'_>,
    ctx: &'c Context,
    permit: &mut Option<SemaphorePermit<'c>>,
) -> Result<(), ReadError> {
    let who = Waker::Object(pass.key.clone());
    if pass.vs.spec.data_from.is_empty() {
        ctx.selected.set(&who, &pass.key.namespace, &[]);
        pass.state.listings.clear();
        pass.sources.recorded = Some(Vec::new());
        return Ok(());
    }
    if pass.is_deleting() {
        return Ok(());
    }
    let selectors = match selectors(&pass.vs.spec, &pass.key.name) {
        Ok(selectors) => selectors,
        Err(issue) => {
            refuse(pass, issue);
            return Ok(());
        }
    };
    let all: Vec<Selector> = selectors.iter().flatten().cloned().collect();
    ctx.selected.set(&who, &pass.key.namespace, &all);
    recall(pass);
    let mut found = find::Found::new(pass, &selectors);
    found.select(pass, ctx, permit).await?;
    if let Some(issue) = found.confirm(pass, ctx, permit).await? {
        refuse(pass, issue);
        return Ok(());
    }
    let selected: BTreeSet<&String> =
        found.members.iter().zip(&selectors).filter(|(_, s)| s.is_some()).flat_map(|(names, _)| names).collect();
    if let Some(issue) = too_many(selected.len()) {
        refuse(pass, issue);
        return Ok(());
    }
    found.read(pass, ctx, permit).await?;
    let find::Found { members, missing, .. } = found;
    expand(pass, &members, &missing).await
}

/// Why as many Secrets as are selected are not taken.
#[must_use]
pub fn too_many(selected: usize) -> Option<Issue> {
    let most = data_from::MOST_SECRETS;
    let text = || {
        format!(
            "dataFrom selects {selected} Secrets, and a VaultSecret takes {most}; select fewer, or make a second VaultSecret"
        )
    };
    (selected > most).then(|| Issue::new(Reason::ValueRefused, text()))
}

/// The selector of each item that has one, of the VaultSecret called `own`; what the schema refuses too is refused here.
///
/// # Errors
/// The first item that is wrong.
pub fn selectors(spec: &VaultSecretSpec, own: &str) -> Result<Vec<Option<Selector>>, Issue> {
    let of = |(item, from): (usize, &DataFrom)| {
        let refused = |text: String| Err(Issue::new(Reason::ValueRefused, format!("dataFrom[{item}]: {text}")));
        match (&from.secret_ref, &from.selector) {
            (Some(secret), None) if is_own(spec, own, &secret.name) => {
                refused(format!("Secret {} is what this VaultSecret writes; name another one", secret.name))
            }
            (Some(_), None) => Ok(None),
            (None, Some(selector)) if no_label(selector).is_some() => {
                let word = no_label(selector).unwrap_or_default();
                refused(format!("selector: {word:?} can be no label, or no value of one"))
            }
            (None, Some(selector)) => match Selector::try_from(selector.clone()) {
                Ok(selector) if selector.selects_all() => refused(
                    "an empty selector would select every Secret of the namespace; name at least one label".to_owned(),
                ),
                Ok(selector) => Ok(Some(selector)),
                Err(error) => refused(format!("selector: {error}")),
            },
            _ => refused("exactly one of secretRef and selector must be set".to_owned()),
        }
    };
    spec.data_from.iter().enumerate().map(of).collect()
}

/// What the API server would not take in a selector: a list by it would never come.
fn no_label(selector: &LabelSelector) -> Option<&str> {
    let plain = |text: &str| {
        let edges = [text.chars().next(), text.chars().next_back()];
        let inner = text.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c));
        text.len() <= 63 && inner && edges.iter().flatten().all(char::is_ascii_alphanumeric)
    };
    let label = |text: &str| {
        let (prefix, name) = text.rsplit_once('/').unwrap_or(("prefix", text));
        !name.is_empty() && plain(name) && is_object_name(prefix)
    };
    let pairs = selector.match_labels.iter().flatten();
    let wanted = selector.match_expressions.iter().flatten();
    let keys = pairs.clone().map(|(key, _)| key).chain(wanted.clone().map(|one| &one.key));
    let values = pairs.map(|(_, value)| value).chain(wanted.flat_map(|one| one.values.iter().flatten()));
    keys.filter(|key| !label(key)).chain(values.filter(|value| !plain(value))).map(String::as_str).next()
}

/// Whether a Secret is the target of the very object called `own`, or its escrow: what is made of it would come back.
#[must_use]
pub fn is_own(spec: &VaultSecretSpec, own: &str, name: &str) -> bool {
    let target = spec.creation_policy() != CreationPolicy::None;
    target && spec.target_name(own) == name || escrow_name(own) == name
}

/// After a restart, what the status says is what is known.
fn recall(pass: &mut Pass<'_>) {
    if !pass.state.listings.is_empty() {
        return;
    }
    let Some(status) = &pass.vs.status else { return };
    let listing = |source: &SourceStatus| Listing {
        version: source.resource_version.clone(),
        keys: source.keys.clone(),
        // Without a version they were not known to be all, and are not now.
        wanted_by: status.observed_generation.filter(|_| !source.resource_version.is_empty()).or(Some(-1)),
    };
    pass.state.listings = status.sources.iter().map(|source| (source.name.clone(), listing(source))).collect();
}

/// It is not known what is wanted. What the status says of the Secrets must not pass for what this generation wants of them.
fn refuse(pass: &mut Pass<'_>, issue: Issue) {
    pass.sources.refused = true;
    pass.sources.issues = vec![issue];
    let Some(status) = &pass.vs.status else { return };
    if status.observed_generation != pass.vs.metadata.generation {
        let doubted = |source: &SourceStatus| SourceStatus { resource_version: String::new(), ..source.clone() };
        pass.sources.recorded = Some(status.sources.iter().map(doubted).collect());
    }
}

async fn expand(pass: &mut Pass<'_>, members: &Members, missing: &BTreeMap<String, String>) -> Result<(), ReadError> {
    let listings = &pass.state.listings;
    let generation = pass.vs.metadata.generation;
    let is_whole = |listing: &Listing| listing.wanted_by.is_none_or(|wanted_by| Some(wanted_by) == generation);
    let with_item = || members.iter().enumerate().flat_map(|(item, names)| names.iter().map(move |name| (item, name)));
    let mut told = BTreeSet::new();
    for (item, name) in with_item() {
        let Some(why) = missing.get(name).filter(|_| told.insert(name)) else { continue };
        let text = format!("dataFrom[{item}]: {why}; what came from it stays as it is");
        pass.sources.issues.push(Issue::new(Reason::SourceMissing, text));
        pass.sources.incomplete |= !listings.get(name).is_some_and(is_whole);
    }
    let known: Vec<(usize, String, Vec<String>)> = with_item()
        .filter_map(|(item, secret)| Some((item, secret.clone(), listings.get(secret)?.keys.clone())))
        .collect();
    let names: BTreeSet<String> = known.iter().map(|(_, secret, _)| secret.clone()).collect();
    let (written, handle) = (Arc::clone(&pass.vs), pass.route.handle.clone());
    let vs = Arc::clone(&written);
    // Hundreds of names by templates of somebody else's are work that no other object should wait for.
    let expanding = tokio::task::spawn_blocking(move || {
        let sources: Vec<Source<'_>> =
            known.iter().map(|(item, secret, keys)| Source { item: *item, secret, keys }).collect();
        let remote = handle.as_ref().map(|handle| Remote { rules: &handle.rules, connection: &handle.display });
        data_from::expand(&vs.spec, &sources, remote)
    });
    let expansion = match expanding.await.map_err(|_| ReadError::Api("dataFrom could not be worked out".to_owned()))? {
        Ok(expansion) => expansion,
        Err(issue) => {
            refuse(pass, issue);
            return Ok(());
        }
    };
    let listings = &pass.state.listings;
    let record = |name: &String| {
        let keys = expansion.keys.get(name).map(|keys| keys.iter().cloned().collect()).unwrap_or_default();
        // Keys that may not be all are not to pass for all after a restart.
        let resource_version = Some(listings.get(name)?).filter(|of| is_whole(of)).map(|of| of.version.clone());
        Some(SourceStatus { name: name.clone(), resource_version: resource_version.unwrap_or_default(), keys })
    };
    pass.sources.recorded = Some(names.iter().filter_map(record).collect());
    pass.state.listings.retain(|name, _| names.contains(name));
    let mut vs = (*written).clone();
    pass.sources.written = Some(written);
    vs.spec.data = expansion.data;
    pass.vs = Arc::new(vs);
    pass.templates = templates::judged(&pass.vs);
    pass.register_refs(&BTreeSet::new());
    Ok(())
}

/// A Secret is another one now than its keys were taken from: half of this and half of that is no set.
///
/// # Errors
/// When it is so.
pub fn check_versions(pass: &Pass<'_>, sources: &Sources) -> Result<(), ReadError> {
    if pass.sources.written.is_none() {
        return Ok(());
    }
    for (reference, source) in sources.iter() {
        let listing = pass.state.listings.get(&reference.name).filter(|_| reference.kind == SourceKind::Secret);
        match (source, listing) {
            (Ok(source), Some(listing)) if source.resource_version != listing.version => {
                return Err(ReadError::Moved(reference.name.clone()));
            }
            (Err(error), _) if !error.is_missing() => return Err(ReadError::Api(error.to_string())),
            _ => {}
        }
    }
    Ok(())
}

/// The version of a bundle, as far as it is known without reading anything.
#[must_use]
pub fn known_bundle_version(pass: &Pass<'_>, bundle: &Bundle) -> Option<Arc<str>> {
    let of = |secret: &str| match pass.ctx.refs.known(&Ref::secret(&pass.key.namespace, secret)) {
        Known::At(version) => Some(version.to_string()),
        Known::Unseen | Known::Gone => None,
    };
    bundle::version(bundle, of).map(Into::into)
}
