//! Our own objects as the watches show them: one store a kind, however many namespaces are watched.
//!
//! kube's reflector keeps one store a watch and tells nothing of what is gone after a relist; here a list that does not hold an
//! object means that it is gone, and whoever has to clean up is told.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use futures::StreamExt as _;
use kube::api::Api;
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{Event, watcher};
use kube::{Resource, ResourceExt as _};
use serde::de::DeserializeOwned;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::backoff::{WatchBackoff, jittered};
use super::definitions::{Definitions, Unknown, of_unknown_kind};
use super::guard::Guarded;
use super::watch_metadata::{config, watch_error};
use crate::remote::lane::ObjectKey;

/// Objects of one kind.
pub struct Store<K> {
    objects: RwLock<HashMap<ObjectKey, Shown<K>>>,
}

/// An object, and when it came: it was read no later.
struct Shown<K> {
    object: Arc<K>,
    at: Instant,
}

impl<K> Default for Store<K> {
    fn default() -> Self {
        Self { objects: RwLock::new(HashMap::new()) }
    }
}

/// What became of an object.
pub enum Change<K> {
    /// It is there, perhaps as it was.
    Applied(Arc<K>),
    /// It is gone; this is how it was.
    Gone(Arc<K>),
    /// It is there and cannot be decoded; the text does not quote it.
    Undecodable(ObjectKey, String),
}

impl<K> Store<K> {
    /// An object.
    #[must_use]
    pub fn get(&self, key: &ObjectKey) -> Option<Arc<K>> {
        self.objects.read().unwrap_or_else(PoisonError::into_inner).get(key).map(|shown| Arc::clone(&shown.object))
    }

    /// When an object came as it is now: it was read no later than that.
    #[must_use]
    pub fn shown_at(&self, key: &ObjectKey) -> Option<Instant> {
        self.objects.read().unwrap_or_else(PoisonError::into_inner).get(key).map(|shown| shown.at)
    }

    /// Every object.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<K>> {
        let objects = self.objects.read().unwrap_or_else(PoisonError::into_inner);
        objects.values().map(|shown| Arc::clone(&shown.object)).collect()
    }

    pub(super) fn insert(&self, key: ObjectKey, object: Arc<K>) {
        let shown = Shown { object, at: Instant::now() };
        self.objects.write().unwrap_or_else(PoisonError::into_inner).insert(key, shown);
    }

    fn remove(&self, key: &ObjectKey) -> Option<Arc<K>> {
        self.objects.write().unwrap_or_else(PoisonError::into_inner).remove(key).map(|shown| shown.object)
    }

    /// Takes out what a complete list of a namespace (`None`: of all) did not hold.
    fn retain(&self, namespace: Option<&str>, held: &HashSet<ObjectKey>) -> Vec<Arc<K>> {
        let mut objects = self.objects.write().unwrap_or_else(PoisonError::into_inner);
        let gone: Vec<ObjectKey> = objects
            .keys()
            .filter(|k| namespace.is_none_or(|n| *n == *k.namespace) && !held.contains(k))
            .cloned()
            .collect();
        gone.iter().filter_map(|k| objects.remove(k)).map(|shown| shown.object).collect()
    }
}

/// Watches a kind through one API (one namespace, or all), for ever; tells `listed` once the first list is complete.
pub async fn watch<K>(
    api: Api<Guarded<K>>,
    namespace: Option<String>,
    store: Arc<Store<K>>,
    on: impl Fn(Change<K>) + Send,
    listed: tokio::sync::mpsc::UnboundedSender<()>,
    definitions: Arc<Definitions>,
    end: CancellationToken,
) where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + std::fmt::Debug + Send + Sync + 'static,
{
    let mut held: HashSet<ObjectKey> = HashSet::new();
    let apply = |object: Guarded<K>| {
        let key = ObjectKey::new(object.namespace().unwrap_or_default(), object.name_any());
        match object.0 {
            Ok(mut object) => {
                // Nothing is decided by it, and it is half of an object's size.
                object.meta_mut().managed_fields = None;
                let object = Arc::new(object);
                store.insert(key.clone(), Arc::clone(&object));
                on(Change::Applied(object));
            }
            Err(error) => on(Change::Undecodable(key.clone(), without_quotes(&error.error))),
        }
        key
    };
    let begin = || {
        let stream = watcher(api.clone(), config()).backoff(WatchBackoff::default());
        Box::pin(stream.take_until(end.clone().cancelled_owned()))
    };
    let mut stream = begin();
    while let Some(event) = stream.next().await {
        match event {
            Ok(Event::Init) => held.clear(),
            Ok(Event::InitApply(object)) => {
                held.insert(apply(object));
            }
            Ok(Event::Apply(object)) => drop(apply(object)),
            Ok(Event::Delete(object)) => {
                let key = ObjectKey::new(object.namespace().unwrap_or_default(), object.name_any());
                if let Some(gone) = store.remove(&key) {
                    on(Change::Gone(gone));
                }
            }
            Ok(Event::InitDone) => {
                for gone in store.retain(namespace.as_deref(), &held) {
                    on(Change::Gone(gone));
                }
                held = HashSet::new();
                definitions.is_there::<K>();
                let _ = listed.send(());
            }
            Err(error) => match of_unknown_kind(&error) {
                Some(Unknown::Listed) => definitions.is_missing::<K>(),
                // Begun anew with a list, which tells when the kind is there again; a watch that goes on tells nothing.
                Some(Unknown::Watched) => {
                    tokio::time::sleep(jittered(Duration::from_secs(1))).await;
                    stream = begin();
                }
                None if definitions.is_refused::<K>(&error) => {}
                None => {
                    let error = watch_error(&error);
                    tracing::warn!(kind = %K::kind(&()), %error, "a watch failed; it is tried again");
                }
            },
        }
    }
}

/// A decoding error without what it quotes of the object.
fn without_quotes(error: &str) -> String {
    let mut out = String::new();
    let mut quoted = false;
    for c in error.lines().next().unwrap_or_default().chars() {
        match c {
            '"' | '`' => {
                quoted = !quoted;
                out.push(c);
                if quoted {
                    out.push('…');
                }
            }
            _ if quoted => {}
            _ => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn a_decoding_error_quotes_nothing() {
        let text = without_quotes("invalid type: string \"hunter2\", expected u32 at line 1");
        assert_eq!(text, "invalid type: string \"…\", expected u32 at line 1");
    }

    #[test]
    fn a_list_of_one_namespace_says_nothing_of_others() {
        let store: Store<u8> = Store::default();
        for ns in ["a", "b"] {
            store.insert(ObjectKey::new(ns, "x"), Arc::new(1));
        }
        assert_eq!(store.retain(Some("a"), &HashSet::new()).len(), 1);
        assert!(store.get(&ObjectKey::new("a", "x")).is_none() && store.get(&ObjectKey::new("b", "x")).is_some());
        assert_eq!(store.retain(None, &HashSet::from([ObjectKey::new("b", "x")])).len(), 0);
    }
}
