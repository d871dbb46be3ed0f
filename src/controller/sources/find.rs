//! Which Secrets there are, and what they hold.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures::stream::{self, StreamExt as _};
use kube::api::ListParams;
use kube::core::Selector;
use tokio::sync::SemaphorePermit;

use super::{Listing, Members, is_own};
use crate::api::Reason;
use crate::api::names;
use crate::controller::context::Context;
use crate::controller::desired::Issue;
use crate::controller::pass::Pass;
use crate::controller::reconcile::take_permit;
use crate::controller::refs::{Known, Ref};
use crate::controller::selected::selects;
use crate::controller::values::{ReadError, limited};
use crate::source::api_error::ApiError;
use crate::source::reference::{Namespaced, Object, SourceError, SourceKind, read_secret};
use crate::sync::plan::after;

/// Secrets that are read at the same time, for one VaultSecret.
const AT_ONCE: usize = 8;
/// How long the watch may be behind what a Secret itself shows.
const LAG: std::time::Duration = std::time::Duration::from_secs(5);
/// Nothing wakes the operator when a right is granted.
const FORBIDDEN_FOR: std::time::Duration = std::time::Duration::from_secs(60);

/// What is found out, step by step.
pub(super) struct Found<'s> {
    selectors: &'s [Option<Selector>],
    /// The Secrets of each item.
    pub members: Members,
    /// Secrets that are wanted and cannot be had, with the reason.
    pub missing: BTreeMap<String, String>,
}

impl<'s> Found<'s> {
    /// The Secrets that are named.
    pub fn new(pass: &Pass<'_>, selectors: &'s [Option<Selector>]) -> Self {
        let named =
            |from: &crate::api::vault_secret::DataFrom| from.secret_ref.iter().map(|s| s.name.clone()).collect();
        Self { selectors, members: pass.vs.spec.data_from.iter().map(named).collect(), missing: BTreeMap::new() }
    }

    /// The Secrets that are selected; listed where no list of them was seen yet.
    pub async fn select<'c>(
        &mut self,
        pass: &Pass<'_>,
        ctx: &'c Context,
        permit: &mut Option<SemaphorePermit<'c>>,
    ) -> Result<(), ReadError> {
        let namespace = &pass.key.namespace;
        for (item, selector) in self.selectors.iter().enumerate() {
            let Some(selector) = selector else { continue };
            let known = match ctx.selected.names(namespace, selector) {
                Some(known) => known,
                None => {
                    take_permit(ctx, permit).await;
                    let listed = list(pass, selector).await?;
                    ctx.selected.listed(namespace, selector, listed.iter().cloned());
                    ctx.selected.names(namespace, selector).unwrap_or(listed)
                }
            };
            let own = |name: &String| is_own(&pass.vs.spec, &pass.key.name, name);
            self.members[item] = known.iter().map(ToString::to_string).filter(|name| !own(name)).collect();
        }
        Ok(())
    }

    /// What was selected before and is not any more may be gone, or have lost its label, or a watch may be behind: the Secret itself
    /// tells, before anything of it leaves.
    pub async fn confirm<'c>(
        &mut self,
        pass: &mut Pass<'_>,
        ctx: &'c Context,
        permit: &mut Option<SemaphorePermit<'c>>,
    ) -> Result<Option<Issue>, ReadError> {
        let known = self.all();
        let gone: BTreeSet<String> =
            pass.state.listings.keys().filter(|name| !known.contains(*name)).cloned().collect();
        if gone.is_empty() {
            return Ok(None);
        }
        let own = |name: &str| is_own(&pass.vs.spec, &pass.key.name, name);
        if self.selectors.iter().any(Option::is_some)
            && let Some(name) = gone.iter().find(|name| own(name))
        {
            // Not left out by anybody: its entries must not leave for a slip in the target's name.
            let text = format!(
                "Secret {name} was a source of dataFrom and is what this VaultSecret writes now; name another target"
            );
            return Ok(Some(Issue::new(Reason::ValueRefused, text)));
        }
        let asked: BTreeSet<String> = gone.iter().filter(|name| !own(name)).cloned().collect();
        if self.selectors.iter().all(Option::is_none) || asked.is_empty() {
            gone.iter().for_each(|name| drop(pass.state.listings.remove(name)));
            return Ok(None);
        }
        take_permit(ctx, permit).await;
        for (name, read) in get_all(pass, &asked).await? {
            match read {
                Ok(object) if self.add(&name, &object) => {
                    note(pass, &name, object);
                    pass.look_again(after(pass.now, LAG));
                }
                Ok(_) | Err(SourceError::ObjectMissing { .. } | SourceError::InvalidName { .. }) => {
                    pass.state.listings.remove(&name);
                }
                Err(error) => self.keep(pass, &name, &error),
            }
        }
        pass.state.listings.retain(|name, _| !gone.contains(name) || asked.contains(name));
        Ok(None)
    }

    /// Reads those of which it is not known which keys they have.
    pub async fn read<'c>(
        &mut self,
        pass: &mut Pass<'_>,
        ctx: &'c Context,
        permit: &mut Option<SemaphorePermit<'c>>,
    ) -> Result<(), ReadError> {
        let mut unknown = BTreeSet::new();
        for name in self.all() {
            if pass.sources.read.contains_key(&name) || self.missing.contains_key(&name) {
                continue;
            }
            match pass.ctx.refs.known(&Ref::secret(&pass.key.namespace, &name)) {
                Known::At(version) if is_known(pass, &name, &version) => {}
                Known::Gone if self.is_named_only(&name) => {
                    let error = SourceError::ObjectMissing {
                        kind: SourceKind::Secret,
                        namespace: pass.key.namespace.to_string(),
                        name: name.clone(),
                    };
                    self.missing.insert(name, error.to_string());
                }
                _ => drop(unknown.insert(name)),
            }
        }
        if unknown.is_empty() {
            return Ok(());
        }
        take_permit(ctx, permit).await;
        for (name, read) in get_all(pass, &unknown).await? {
            match read {
                Ok(object) => {
                    self.remove_unselected(&name, Some(&object));
                    if self.all().contains(&name) {
                        note(pass, &name, object);
                    } else {
                        pass.state.listings.remove(&name);
                    }
                }
                Err(error @ SourceError::ObjectMissing { .. }) => {
                    self.remove_unselected(&name, None);
                    if self.all().contains(&name) {
                        self.missing.insert(name, error.to_string());
                    } else {
                        pass.state.listings.remove(&name);
                    }
                }
                Err(error) => self.keep(pass, &name, &error),
            }
        }
        Ok(())
    }

    /// Every Secret of any item.
    fn all(&self) -> BTreeSet<String> {
        self.members.iter().flatten().cloned().collect()
    }

    /// Whether no selector has selected a Secret.
    fn is_named_only(&self, name: &str) -> bool {
        self.members.iter().zip(self.selectors).all(|(names, selector)| selector.is_none() || !names.contains(name))
    }

    /// A Secret is selected after all, if its labels say so.
    fn add(&mut self, name: &str, object: &Object) -> bool {
        let mut added = false;
        for (names, selector) in self.members.iter_mut().zip(self.selectors) {
            if selector.as_ref().is_some_and(|selector| selects(selector, &object.labels)) {
                names.insert(name.to_owned());
                added = true;
            }
        }
        added
    }

    /// A Secret is not selected by those whose labels it does not have; by none when it is not there.
    fn remove_unselected(&mut self, name: &str, object: Option<&Object>) {
        for (names, selector) in self.members.iter_mut().zip(self.selectors) {
            let Some(selector) = selector else { continue };
            if !object.is_some_and(|object| selects(selector, &object.labels)) {
                names.remove(name);
            }
        }
    }

    /// It cannot be read, so what is known of it holds.
    fn keep(&mut self, pass: &mut Pass<'_>, name: &str, error: &SourceError) {
        if !self.all().contains(name) {
            // It was selected, by which of them is not known: by all, which comes to the same or is refused as a collision.
            for (names, _) in self.members.iter_mut().zip(self.selectors).filter(|(_, selector)| selector.is_some()) {
                names.insert(name.to_owned());
            }
        }
        self.missing.insert(name.to_owned(), error.to_string());
        pass.look_again(after(pass.now, FORBIDDEN_FOR));
    }
}

/// Whether the keys are known that a Secret has in this version.
fn is_known(pass: &Pass<'_>, name: &str, version: &str) -> bool {
    pass.state.listings.get(name).is_some_and(|listing| {
        let whole = listing.wanted_by.is_none_or(|generation| Some(generation) == pass.vs.metadata.generation);
        whole && listing.version == version
    })
}

/// Takes over what was read.
fn note(pass: &mut Pass<'_>, name: &str, object: Object) {
    let keys = object.data.keys().cloned().collect();
    let listing = Listing { version: object.resource_version.clone(), keys, wanted_by: None };
    pass.state.listings.insert(name.to_owned(), listing);
    pass.sources.read.insert(name.to_owned(), object);
}

/// Reads Secrets, and notes their versions unless a watch has shown others meanwhile.
async fn get_all(
    pass: &Pass<'_>,
    names: &BTreeSet<String>,
) -> Result<Vec<(String, Result<Object, SourceError>)>, ReadError> {
    pass.register_refs(names);
    let namespaced = Namespaced::new(pass.ctx.client.clone(), &*pass.key.namespace);
    let reads = names.iter().map(|name| {
        let (of, namespaced) = (Ref::secret(&pass.key.namespace, name), &namespaced);
        async move {
            let before = pass.ctx.refs.known(&of);
            let read = read_secret(namespaced, name).await;
            match &read {
                Ok(object) => {
                    pass.ctx.refs.note(&of, &before, Known::At(object.resource_version.as_str().into()));
                }
                Err(SourceError::ObjectMissing { .. }) => pass.ctx.refs.note(&of, &before, Known::Gone),
                Err(_) => {}
            }
            (name.clone(), read)
        }
    });
    let reads: Vec<_> = reads.collect();
    let read: Vec<_> = limited(stream::iter(reads).buffer_unordered(AT_ONCE).collect()).await?;
    match read.iter().find_map(|(_, read)| read.as_ref().err().filter(|error| !error.is_missing())) {
        Some(error) => Err(ReadError::Api(error.to_string())),
        None => Ok(read),
    }
}

/// The names of the Secrets with a selector's labels, as the API server has them now.
async fn list(pass: &Pass<'_>, selector: &Selector) -> Result<BTreeSet<Arc<str>>, ReadError> {
    let api = Namespaced::new(pass.ctx.client.clone(), &*pass.key.namespace).secrets();
    let params = ListParams::default().labels_from(selector);
    let listed = limited(api.list_metadata(&params)).await?.map_err(|error| {
        let doing = format!("list Secrets by label in namespace {}", pass.key.namespace);
        ReadError::Api(ApiError::new(doing, &error).to_string())
    })?;
    let made_by_us = |labels: &Option<BTreeMap<String, String>>| labels.iter().any(|l| l.contains_key(names::ROLE));
    let others = listed.items.into_iter().filter(|secret| !made_by_us(&secret.metadata.labels));
    Ok(others.filter_map(|secret| secret.metadata.name).map(Into::into).collect())
}
