//! Every version that an object had, as a watch shows them: what is right for a moment only is wrong for whoever looks then.

use std::sync::{Arc, Mutex, PoisonError};

use futures::{StreamExt as _, TryStreamExt as _};
use kube::api::{WatchEvent, WatchParams};

use super::{Object, Scene};

/// The versions of one object, oldest first.
pub struct Versions {
    seen: Arc<Mutex<Vec<Object>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Versions {
    /// Watches an object that exists already, from the version in hand on; `look` is called with each version as it comes.
    pub async fn of(scene: &Scene, kind: &str, object: &Object, look: impl Fn(&Object) + Send + 'static) -> Self {
        let params = WatchParams::default().fields(&format!("metadata.name={}", object.name())).timeout(280);
        let events = scene.api(kind).watch(&params, object.version()).await.unwrap();
        let seen = Arc::new(Mutex::new(vec![object.clone()]));
        let list = Arc::clone(&seen);
        let task = tokio::spawn(async move {
            let mut events = events.boxed();
            while let Ok(Some(event)) = events.try_next().await {
                if let WatchEvent::Modified(object) | WatchEvent::Deleted(object) = event {
                    let object = Object(serde_json::to_value(object).unwrap());
                    look(&object);
                    list.lock().unwrap_or_else(PoisonError::into_inner).push(object);
                }
            }
        });
        Self { seen, task }
    }

    /// Those that were seen so far. A `look` that panicked fails the test here.
    pub async fn so_far(&self) -> Vec<Object> {
        assert!(!self.task.is_finished(), "the watch ended or found something that must not be; see above");
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until a version was seen, and gives all back.
    pub async fn up_to(&self, scene: &Scene, version: &Object) -> Vec<Object> {
        let wanted = version.version().to_owned();
        scene
            .eventually("the watch has caught up", async || {
                let all = self.so_far().await;
                all.iter().any(|object| object.version() == wanted).then_some(all)
            })
            .await
    }
}

impl Drop for Versions {
    fn drop(&mut self) {
        self.task.abort();
    }
}
