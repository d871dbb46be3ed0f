//! Watches of what is not ours: metadata of Secrets, ConfigMaps and Namespaces. Nothing is kept but name and resourceVersion,
//! and that only of what somebody refers to.

use std::collections::HashSet;
use std::sync::Arc;

use futures::StreamExt as _;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Secret};
use kube::api::{Api, PartialObjectMeta};
use kube::core::NamespaceResourceScope;
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Resource, ResourceExt as _};
use serde::de::DeserializeOwned;
use tokio_util::sync::CancellationToken;

use super::backoff::WatchBackoff;
use super::context::Context;
use super::keys::Waker;
use super::refs::{Known, Ref, RefKind};
use crate::remote::lane::ObjectKey;

/// A dead connection is noticed after this many seconds: kube's default of 290 is long for secrets.
const WATCH_SECONDS: u32 = 120;

/// Options of all watches.
#[must_use]
pub fn config() -> watcher::Config {
    watcher::Config::default().timeout(WATCH_SECONDS).page_size(250)
}

/// Watches the objects of a kind, in one namespace or in all, for ever. Tells `listed` once the first list is complete.
pub async fn watch_refs<K>(
    ctx: Arc<Context>,
    kind: RefKind,
    namespace: Option<String>,
    listed: tokio::sync::mpsc::UnboundedSender<()>,
    end: CancellationToken,
) where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + DeserializeOwned
        + std::fmt::Debug
        + Send
        + 'static,
{
    let api: Api<PartialObjectMeta<K>> = match &namespace {
        Some(namespace) => Api::namespaced(ctx.client.clone(), namespace),
        None => Api::all(ctx.client.clone()),
    };
    let stream = watcher(api, config()).backoff(WatchBackoff::default());
    let mut stream = std::pin::pin!(stream.take_until(end.cancelled_owned()));
    let mut held: HashSet<(Arc<str>, Arc<str>)> = HashSet::new();
    while let Some(event) = stream.next().await {
        match event {
            Ok(Event::Init) => {
                held.clear();
                if kind == RefKind::Secret {
                    ctx.selected.list_begins(namespace.as_deref());
                    ctx.clusters.copies.list_begins();
                }
            }
            Ok(Event::InitApply(object)) => {
                if let Some(of) = observe(&ctx, kind, &object) {
                    held.insert((of.namespace, of.name));
                }
            }
            Ok(Event::Apply(object)) => drop(observe(&ctx, kind, &object)),
            Ok(Event::Delete(object)) => {
                let of = reference(kind, &object);
                if kind == RefKind::Secret {
                    ctx.wake.all(ctx.selected.observe(&of.namespace, &of.name, None));
                    let copy = ObjectKey::new(&*of.namespace, &*of.name);
                    ctx.wake.all(ctx.clusters.copies.gone(&copy, &object.metadata).map(Waker::Cluster));
                }
                ctx.wake.all(ctx.refs.observe(&of, Known::Gone));
            }
            Ok(Event::InitDone) => {
                if kind == RefKind::Secret {
                    ctx.wake.all(ctx.selected.list_ends(namespace.as_deref()));
                    if namespace.is_none() {
                        ctx.wake.all(ctx.clusters.copies.list_ends().into_iter().map(Waker::Cluster));
                    }
                }
                ctx.wake.all(ctx.refs.listed(kind, namespace.as_deref(), &held));
                held = HashSet::new();
                let _ = listed.send(());
            }
            Err(error) => tracing::warn!(?kind, error = %watch_error(&error), "a watch failed; it is tried again"),
        }
    }
}

fn reference<K>(kind: RefKind, object: &PartialObjectMeta<K>) -> Ref
where
    K: Resource,
{
    Ref {
        kind,
        namespace: object.metadata.namespace.as_deref().unwrap_or_default().into(),
        name: object.metadata.name.as_deref().unwrap_or_default().into(),
    }
}

/// Takes over what a watch shows; `None` when nobody refers to it.
fn observe<K: Resource>(ctx: &Context, kind: RefKind, object: &PartialObjectMeta<K>) -> Option<Ref> {
    let namespace = object.metadata.namespace.as_deref().unwrap_or_default();
    let name = object.metadata.name.as_deref().unwrap_or_default();
    if kind == RefKind::Secret {
        ctx.wake.all(ctx.selected.observe(namespace, name, Some(object.labels())));
        let copy = ctx.clusters.copies.observe(namespace, name, &object.metadata);
        ctx.wake.all(copy.map(Waker::Cluster));
    }
    if !ctx.refs.is_referred_to(kind, namespace, name) {
        return None;
    }
    let of = reference(kind, object);
    let version = object.metadata.resource_version.as_deref().unwrap_or_default();
    ctx.wake.all(ctx.refs.observe(&of, Known::At(version.into())));
    Some(of)
}

/// What a watch's error may say: kube's own text can hold a piece of what the server sent.
#[must_use]
pub fn watch_error(error: &watcher::Error) -> String {
    let (step, source) = match error {
        watcher::Error::InitialListFailed(e) => ("the list failed", Some(e)),
        watcher::Error::WatchStartFailed(e) => ("the watch was not started", Some(e)),
        watcher::Error::WatchFailed(e) => ("the watch broke", Some(e)),
        watcher::Error::WatchError(status) => return format!("the API server ended the watch with {}", status.code),
        watcher::Error::NoResourceVersion => ("the list has no resourceVersion", None),
    };
    match source {
        Some(kube::Error::Api(status)) => format!("{step}: {} {}", status.code, status.reason),
        _ => step.to_owned(),
    }
}

/// Watches one kind of reference in each namespace that the operator works in.
pub fn spawn_refs(
    ctx: &Arc<Context>,
    listed: &tokio::sync::mpsc::UnboundedSender<()>,
    end: &CancellationToken,
) -> usize {
    let places: Vec<Option<String>> = if ctx.settings.is_cluster_wide() {
        vec![None]
    } else {
        ctx.settings.namespaces.iter().cloned().map(Some).collect()
    };
    let count = places.len() * 2;
    for place in places {
        tokio::spawn(watch_refs::<Secret>(
            Arc::clone(ctx),
            RefKind::Secret,
            place.clone(),
            listed.clone(),
            end.clone(),
        ));
        tokio::spawn(watch_refs::<ConfigMap>(Arc::clone(ctx), RefKind::ConfigMap, place, listed.clone(), end.clone()));
    }
    count
}

/// Watches namespaces and their labels, for ever; the connections that ask for them are looked at again when they change.
pub async fn watch_namespaces(
    ctx: Arc<Context>,
    listed: tokio::sync::mpsc::UnboundedSender<()>,
    end: CancellationToken,
) {
    let api: Api<PartialObjectMeta<Namespace>> = Api::all(ctx.client.clone());
    let stream = watcher(api, config()).backoff(WatchBackoff::default());
    let mut stream = std::pin::pin!(stream.take_until(end.cancelled_owned()));
    let mut held = HashSet::new();
    let mut ready = false;
    while let Some(event) = stream.next().await {
        let news = match event {
            Ok(Event::Init) => {
                held.clear();
                false
            }
            Ok(Event::InitApply(object)) => {
                held.insert(object.name_any());
                observe_namespace(&ctx, &object)
            }
            Ok(Event::Apply(object)) => observe_namespace(&ctx, &object),
            Ok(Event::Delete(object)) => ctx.namespaces.gone(&object.name_any()),
            Ok(Event::InitDone) => {
                ctx.namespaces.retain(|name| held.contains(name));
                ready = true;
                let _ = listed.send(());
                true
            }
            Err(error) => {
                tracing::warn!(error = %watch_error(&error), "the watch of namespaces failed; it is tried again");
                false
            }
        };
        if news && ready {
            for connection in ctx.connections.all().iter().filter(|c| c.allowed.is_some()) {
                super::connection::wake_objects(&ctx, &connection.key);
            }
            super::cluster::wake_all(&ctx);
        }
    }
}

/// Takes over what a watch shows. Returns whether it is news.
fn observe_namespace(ctx: &Context, object: &PartialObjectMeta<Namespace>) -> bool {
    let name = object.name_any();
    let going = ctx.namespaces.going(&name, object.metadata.deletion_timestamp.is_some());
    ctx.namespaces.observe(&name, object.labels().clone()) || going
}
