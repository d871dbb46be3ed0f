//! Every state that the Secrets of a namespace were in, as a watch shows them: which values the escrows held for which epoch, and
//! which ones the Secrets showed.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use futures::{StreamExt as _, TryStreamExt as _};
use kube::ResourceExt as _;
use kube::api::{ListParams, WatchEvent, WatchParams};
use serde_json::Value;

use crate::common::{Object, Scene};

/// A VaultSecret and one of its keys.
pub type Key = (String, String);

/// A value as an escrow held it. No `Debug`: a failed assertion names keys and numbers, not values.
#[derive(Clone, PartialEq)]
pub struct Held {
    /// The epoch that the escrow says it was made for.
    pub epoch: i64,
    /// When it was made, as the escrow says.
    pub made_at: jiff::Timestamp,
    /// The value.
    pub value: String,
    /// The one before it.
    pub previous: Option<String>,
}

/// What was seen, each state once and in its order.
#[derive(Default)]
pub struct Seen {
    /// By the escrows.
    pub escrow: BTreeMap<Key, Vec<Held>>,
    /// In the Secrets that workloads read: the value, and what is shown as the one before it.
    pub shown: BTreeMap<Key, Vec<(String, Option<String>)>>,
}

/// A watch of the namespace's Secrets from its beginning.
pub struct Watched {
    seen: Arc<Mutex<Seen>>,
    task: tokio::task::JoinHandle<()>,
}

impl Watched {
    /// Begins where the namespace is now.
    pub async fn begin(scene: &Scene) -> Self {
        let secrets = scene.api("Secret");
        let listed = secrets.list(&ListParams::default()).await.unwrap();
        let mut version = listed.metadata.resource_version.unwrap();
        let seen = Arc::new(Mutex::new(Seen::default()));
        let noting = Arc::clone(&seen);
        let task = tokio::spawn(async move {
            loop {
                let mut events = secrets.watch(&WatchParams::default(), &version).await.unwrap().boxed();
                // A watch ends by itself after some minutes and is begun again where it ended: nothing is left out.
                while let Ok(Some(event)) = events.try_next().await {
                    match event {
                        WatchEvent::Added(object) | WatchEvent::Modified(object) | WatchEvent::Deleted(object) => {
                            version = object.resource_version().unwrap();
                            let object = Object(serde_json::to_value(object).unwrap());
                            noting.lock().unwrap_or_else(PoisonError::into_inner).note(&object);
                        }
                        WatchEvent::Bookmark(mark) => version = mark.metadata.resource_version,
                        WatchEvent::Error(status) => panic!("the watch of the Secrets failed: {status:?}"),
                    }
                }
            }
        });
        Self { seen, task }
    }

    /// Looks at what was seen so far.
    pub fn look<T>(&self, at: impl FnOnce(&Seen) -> T) -> T {
        assert!(!self.task.is_finished(), "the watch of the Secrets has ended; see above");
        at(&self.seen.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The epoch of the value that an escrow holds; none if it holds none.
    pub fn epoch(&self, key: &Key) -> Option<i64> {
        self.look(|seen| Some(seen.escrow.get(key)?.last()?.epoch))
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Seen {
    fn note(&mut self, secret: &Object) {
        let text = |key: &str| secret.secret_value(key).map(|value| String::from_utf8(value).unwrap());
        let index = secret.text("/metadata/annotations/vaultsecret.dev~1escrow-index");
        if let Some(app) = secret.name().strip_suffix("-escrow") {
            let index: Value = serde_json::from_str(index).unwrap();
            for (key, known) in index["keys"].as_object().unwrap() {
                let (epoch, made_at) = (known["epoch"].as_i64().unwrap(), known["madeAt"].as_str().unwrap());
                let (value, previous) = (text(key).unwrap(), text(&format!("{key}.previous")));
                let held = Held { epoch, made_at: made_at.parse().unwrap(), value, previous };
                noted(self.escrow.entry((app.to_owned(), key.clone())).or_default(), held);
            }
        } else if secret.text("/metadata/labels/vaultsecret.dev~1role") == "target" {
            for key in secret.keys().into_iter().filter(|key| !key.ends_with(".previous")) {
                let state = (text(&key).unwrap(), text(&format!("{key}.previous")));
                noted(self.shown.entry((secret.name().to_owned(), key)).or_default(), state);
            }
        }
    }
}

fn noted<T: PartialEq>(states: &mut Vec<T>, state: T) {
    if states.last() != Some(&state) {
        states.push(state);
    }
}
