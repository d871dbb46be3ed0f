//! What `spec.dataFrom` would stand for: the Secrets of the manifests and of the cluster, and where those may not be read the keys that
//! the status has of them. What is not known is said, and never taken for gone.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::core::Selector;

use super::link::Link;
use super::model::{Action, Verdict};
use super::values::Lack;
use super::world::{Cluster, Gap, Observed, World};
use crate::api::vault_secret::{Bundle, VaultSecretSpec};
use crate::api::{Reason, VaultSecret};
use crate::controller::data_from::{self, Remote, Source};
use crate::controller::desired::Issue;
use crate::controller::selected::selects;
use crate::controller::sources::{self, bundle_version, is_own, reference, too_many};
use crate::remote::lane::ObjectKey;
use crate::source::reference::{self as read, SourceError, SourceKind, SourceRef};
use crate::value::SecretValue;

/// What a spec comes to.
pub struct Effective<'a> {
    /// The spec, with an entry for every key that is known.
    pub spec: Cow<'a, VaultSecretSpec>,
    /// It is not known what is wanted: nothing is written, and nothing leaves.
    pub refused: Option<Issue>,
    /// What is missing, or not known.
    pub lines: Vec<Verdict>,
    /// There may be further keys; says why.
    pub incomplete: Option<String>,
}

/// Which Secrets an item has.
#[derive(Default)]
struct Members {
    names: BTreeSet<String>,
    /// Why it is not known which it selects.
    unseen: Option<&'static str>,
}

/// The keys of a Secret, as far as they are known.
#[derive(Default)]
struct Listing {
    keys: Option<Vec<String>>,
    /// It is not there, as the operator says it.
    missing: Option<String>,
    /// Why there may be others.
    unsure: Option<String>,
}

/// Expands a spec.
pub fn expand<'a>(world: &World, key: &ObjectKey, spec: &'a VaultSecretSpec, link: Option<&Link>) -> Effective<'a> {
    let mut effective = Effective { spec: Cow::Borrowed(spec), refused: None, lines: Vec::new(), incomplete: None };
    if spec.data_from.is_empty() {
        return effective;
    }
    let recorded = Recorded::of(world.live(key), spec);
    let selectors = match sources::selectors(spec, &key.name) {
        Ok(selectors) => selectors,
        Err(issue) => return Effective { refused: Some(issue), ..effective },
    };
    let mut members = members(world, world.cluster.as_ref(), key, spec, &selectors);
    recorded.select(spec, &mut members);
    let selected = members.iter().zip(&selectors).filter(|(_, selector)| selector.is_some());
    let selected: BTreeSet<&String> = selected.flat_map(|(members, _)| &members.names).collect();
    if let Some(issue) = too_many(selected.len()) {
        return Effective { refused: Some(issue), ..effective };
    }
    let mut listings: BTreeMap<&str, Listing> = BTreeMap::new();
    for (item, members) in members.iter().enumerate() {
        if let Some(why) = members.unseen {
            let text = format!("dataFrom[{item}]: which Secrets its selector selects is not known: {why}");
            effective.lines.push(Verdict::because(Action::Unknown, text.clone()));
            effective.incomplete.get_or_insert(text);
        }
        for name in &members.names {
            if listings.contains_key(name.as_str()) {
                continue;
            }
            let listing = recorded.listing(world, &key.namespace, name);
            if let Some(why) = &listing.missing {
                let text = format!("dataFrom[{item}]: {why}; what came from it stays as it is");
                effective.lines.push(Verdict::of(&Issue::new(Reason::SourceMissing, text)));
            }
            if let Some(why) = &listing.unsure {
                let text = format!("keys of Secret {name} are not known: {why}");
                if listing.missing.is_none() {
                    let line = format!("dataFrom[{item}]: {text}");
                    effective.lines.push(Verdict::because(Action::Unknown, line));
                }
                effective.incomplete.get_or_insert(text);
            }
            listings.insert(name, listing);
        }
    }
    let with_item = members.iter().enumerate().flat_map(|(item, m)| m.names.iter().map(move |name| (item, name)));
    let sources: Vec<Source<'_>> = with_item
        .filter_map(|(item, secret)| {
            Some(Source { item, secret, keys: listings.get(secret.as_str())?.keys.as_deref()? })
        })
        .collect();
    match data_from::expand(spec, &sources, remote(link)) {
        Ok(expansion) => effective.spec.to_mut().data = expansion.data,
        Err(issue) => {
            effective.lines.clear();
            effective.refused = Some(issue);
        }
    }
    effective
}

fn remote(link: Option<&Link>) -> Option<Remote<'_>> {
    link.map(|link| Remote { rules: &link.rules, connection: &link.display })
}

/// The spec of a live version as it was expanded last, as the status tells.
#[must_use]
pub fn before(live: &VaultSecret, link: Option<&Link>) -> VaultSecretSpec {
    let mut spec = live.spec.clone();
    if spec.data_from.is_empty() {
        return spec;
    }
    let recorded = Recorded::of(Some(live), &live.spec);
    let named = |from: &crate::api::vault_secret::DataFrom| from.secret_ref.iter().map(|s| s.name.clone()).collect();
    let mut members: Vec<Members> = spec
        .data_from
        .iter()
        .map(|from| Members { names: named(from), unseen: from.selector.as_ref().map(|_| "") })
        .collect();
    recorded.select(&spec, &mut members);
    let with_item = members.iter().enumerate().flat_map(|(item, m)| m.names.iter().map(move |name| (item, name)));
    let sources: Vec<Source<'_>> = with_item
        .filter_map(|(item, secret)| Some(Source { item, secret, keys: recorded.keys.get(secret.as_str())? }))
        .collect();
    if let Ok(expansion) = data_from::expand(&spec, &sources, remote(link)) {
        spec.data = expansion.data;
    }
    spec
}

/// The Secrets of the items, to be looked at.
#[must_use]
pub fn secrets(world: &World, cluster: &Cluster, key: &ObjectKey, spec: &VaultSecretSpec) -> BTreeSet<String> {
    let Ok(selectors) = sources::selectors(spec, &key.name) else { return BTreeSet::new() };
    let members = members(world, Some(cluster), key, spec, &selectors);
    let names: BTreeSet<String> = members.into_iter().flat_map(|members| members.names).collect();
    // So many are refused, and need not be read.
    if names.len() > data_from::MOST_SECRETS + spec.data_from.len() { BTreeSet::new() } else { names }
}

fn members(
    world: &World,
    cluster: Option<&Cluster>,
    key: &ObjectKey,
    spec: &VaultSecretSpec,
    selectors: &[Option<Selector>],
) -> Vec<Members> {
    let namespace: &str = &key.namespace;
    let seen = cluster.map_or(Some(&Observed::Unseen("there is no cluster to look at")), |c| c.labels.get(namespace));
    let seen = seen.unwrap_or(&Observed::Unseen("they were not looked at"));
    let unseen = match seen {
        Observed::Unseen(why) => Some(*why),
        Observed::Here(_) | Observed::Absent => None,
    };
    let mut labels: BTreeMap<&str, BTreeMap<String, String>> = BTreeMap::new();
    for (name, meta) in seen.here().into_iter().flatten() {
        labels.insert(name, meta.labels.clone().unwrap_or_default());
    }
    for ((kind, space, name), blob) in &world.objects {
        let Some(secret) = blob.secret.as_ref().filter(|_| *kind == SourceKind::Secret && space == namespace) else {
            continue;
        };
        let own = labels.entry(name).or_default();
        if let Some(meta) = seen.here().and_then(|all| all.get(name)) {
            own.retain(|label, _| stays(meta, &["f:metadata", "f:labels"], label));
        }
        own.extend(secret.metadata.labels.clone().unwrap_or_default());
    }
    let of = |(from, selector): (&crate::api::vault_secret::DataFrom, &Option<Selector>)| match selector {
        None => Members { names: from.secret_ref.iter().map(|secret| secret.name.clone()).collect(), unseen: None },
        Some(selector) => {
            let found =
                labels.iter().filter(|(name, labels)| selects(selector, labels) && !is_own(spec, &key.name, name));
            Members { names: found.map(|(name, _)| (*name).to_owned()).collect(), unseen }
        }
    };
    spec.data_from.iter().zip(selectors).map(of).collect()
}

/// What `kubectl apply` remembers by.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// Whether a field of a live object stays when a manifest without it is applied: what nobody but appliers wrote goes. What came by
/// `stringData` is under no name that an applier would look for, and stays.
fn stays(meta: &ObjectMeta, path: &[&str], name: &str) -> bool {
    let field = format!("f:{name}");
    let mut owners = meta.managed_fields.iter().flatten().filter(|owner| {
        let fields = owner.fields_v1.as_ref().map(|fields| &fields.0);
        let at = path.iter().try_fold(fields, |at, part| Some(at?.get(part))).flatten();
        at.is_some_and(|at| at.get(&field).is_some())
    });
    let last = meta.annotations.as_ref().and_then(|all| all.get(LAST_APPLIED));
    let last: Option<serde_json::Value> = last.and_then(|text| serde_json::from_str(text).ok());
    let place = path.iter().try_fold(last.as_ref(), |at, part| Some(at?.get(part.trim_start_matches("f:"))));
    let remembered = place.flatten().is_some_and(|place| place.get(name).is_some());
    let applies = |owner: &k8s_openapi::apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry| {
        owner.operation.as_deref() == Some("Apply")
            || remembered && owner.manager.as_deref() == Some("kubectl-client-side-apply")
    };
    match owners.next() {
        Some(first) => !applies(first) || !owners.all(applies),
        None => true,
    }
}

/// What the status of the live version has of the Secrets.
struct Recorded<'a> {
    keys: BTreeMap<&'a str, &'a [String]>,
    /// The keys are all that this spec wants: it wants what the one wants that was looked at.
    whole: bool,
}

impl<'a> Recorded<'a> {
    fn of(live: Option<&'a VaultSecret>, spec: &VaultSecretSpec) -> Self {
        let known = live.and_then(|live| Some((live, live.status.as_ref()?)));
        let Some((live, status)) = known else { return Self { keys: BTreeMap::new(), whole: false } };
        let kept = |key: &str| spec.data.iter().any(|entry| entry.key == key);
        let whole = status.observed_generation.is_some()
            && status.observed_generation == live.metadata.generation
            && live.spec.data_from == spec.data_from
            && live.spec.data.iter().all(|entry| kept(&entry.key));
        Self { keys: status.sources.iter().map(|s| (s.name.as_str(), s.keys.as_slice())).collect(), whole }
    }

    /// Where it cannot be seen which Secrets are selected, those are that were.
    fn select(&self, spec: &VaultSecretSpec, members: &mut [Members]) {
        let named: BTreeSet<&str> =
            spec.data_from.iter().filter_map(|from| Some(from.secret_ref.as_ref()?.name.as_str())).collect();
        let mut blind: Vec<&mut Members> = members.iter_mut().filter(|members| members.unseen.is_some()).collect();
        if let [one] = &mut blind[..] {
            let others = self.keys.keys().filter(|name| self.whole && !named.contains(*name));
            one.names.extend(others.map(|name| (*name).to_owned()));
        }
    }

    fn listing(&self, world: &World, namespace: &str, name: &str) -> Listing {
        let live = world.live_object(SourceKind::Secret, namespace, name);
        let declared = world.objects.get(&(SourceKind::Secret, namespace.to_owned(), name.to_owned()));
        let recorded = self.keys.get(name).copied();
        let known = |keys: Vec<String>| Listing { keys: Some(keys), ..Listing::default() };
        match (declared, live) {
            (Some(declared), live) => {
                let mut keys: Vec<String> = declared.data.keys().cloned().collect();
                let meta = live.here().and_then(|blob| Some((blob, &blob.secret.as_ref()?.metadata)));
                if let Some((blob, meta)) = meta {
                    let others = blob.data.keys().filter(|key| !declared.data.contains_key(*key));
                    keys.extend(others.filter(|key| stays(meta, &["f:data"], key)).cloned());
                }
                let mut listing = known(keys);
                let more = recorded.is_some_and(|all| all.iter().any(|key| !declared.data.contains_key(key)));
                if let (Observed::Unseen(why), true) = (live, more) {
                    listing.unsure = Some(format!("the manifests have not all that it had, and {why}"));
                }
                listing
            }
            (None, Observed::Here(blob)) => known(blob.data.keys().cloned().collect()),
            (None, Observed::Absent) => {
                let (kind, namespace, name) = (SourceKind::Secret, namespace.to_owned(), name.to_owned());
                let missing = SourceError::ObjectMissing { kind, namespace, name }.to_string();
                let unsure = recorded.is_none().then(|| "it is not there".to_owned());
                Listing { keys: recorded.map(<[String]>::to_vec), missing: Some(missing), unsure }
            }
            (None, Observed::Unseen(why)) => {
                let keys = recorded.map(<[String]>::to_vec);
                let unsure = (keys.is_none() || !self.whole).then(|| why.to_owned());
                Listing { keys, missing: None, unsure }
            }
        }
    }
}

/// The value of a bundle, and its version.
pub fn bundle_value(world: &World, namespace: &str, key: &str, bundle: &Bundle) -> Result<(SecretValue, String), Lack> {
    let mut all: Vec<(SourceRef, Result<read::Source, SourceError>)> = Vec::with_capacity(bundle.members.len());
    for of in bundle.members.iter().map(reference) {
        let found = match world.value(namespace, &of) {
            Ok((value, resource_version)) => Ok(read::Source { value, resource_version }),
            Err(Gap::Missing(error)) => Err(error),
            Err(Gap::Unseen(why)) => return Err(Lack::Unseen(format!("key {key}: {why}"))),
        };
        all.push((of, found));
    }
    sources::bundle_value(key, bundle, &all.into_iter().collect()).map_err(Lack::Issue)
}

/// The version of a bundle, where its Secrets may be read.
#[must_use]
pub fn version(world: &World, namespace: &str, bundle: &Bundle) -> Option<String> {
    bundle_version(bundle, |secret| {
        let member = bundle.members.iter().find(|member| member.secret == secret)?;
        world.value(namespace, &reference(member)).ok().map(|(_, version)| version)
    })
}
