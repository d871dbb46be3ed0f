//! Watches the identities and their recipients, makes them at first start, and publishes the recipients.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::ResourceExt as _;
use kube::api::{Api, ObjectMeta, PostParams};
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{self, Event, watcher};
use tokio_util::sync::CancellationToken;

use super::{NoRing, State, lost, no_rights, unreadable};
use crate::api::names;
use crate::controller::backoff::WatchBackoff;
use crate::controller::context::Context;
use crate::controller::watch_metadata::{config, watch_error};
use crate::kube_error::{ApiError, ApiErrorKind, within};
use crate::remote::lane::ObjectKey;
use crate::source::sealed::{Ring, generate};
use crate::value::SecretValue;

/// The shortest time between two writes: somebody else who keeps writing makes no storm.
const PACE: Duration = Duration::from_secs(2);

/// What is kept of one object that is watched by name; `None` until the first list.
struct One<T> {
    now: Option<Option<T>>,
    listing: Option<T>,
}

impl<T> Default for One<T> {
    fn default() -> Self {
        Self { now: None, listing: None }
    }
}

impl<T> One<T> {
    fn take<K>(&mut self, event: Event<K>, keep: impl Fn(K) -> T) {
        match event {
            Event::Init => self.listing = None,
            Event::InitApply(object) => self.listing = Some(keep(object)),
            Event::InitDone => self.now = Some(self.listing.take()),
            Event::Apply(object) => self.now = Some(Some(keep(object))),
            Event::Delete(_) => self.now = Some(None),
        }
    }
}

/// The identities of the Secret, if there are any, and its keys that hold none.
type Read = (Option<Ring>, Vec<String>);

#[derive(Default)]
struct Watched {
    secret: One<Read>,
    config_map: One<ConfigMap>,
    told: Vec<String>,
    wrote: Option<tokio::time::Instant>,
}

impl Watched {
    /// How long the next write has to wait, if it does.
    fn too_soon(&self) -> Option<Duration> {
        self.wrote.map(|at| PACE.saturating_sub(at.elapsed())).filter(|wait| !wait.is_zero())
    }
}

/// Watches the two objects for ever, makes them at first start, and keeps the ConfigMap as it should be. Tells `listed` once
/// it is known which identities there are, or that there are none to be had.
pub async fn watch(ctx: Arc<Context>, listed: tokio::sync::mpsc::UnboundedSender<()>, end: CancellationToken) {
    let namespace = ctx.settings.operator_namespace.clone();
    let one = |name: &str| config().fields(&format!("metadata.name={name}"));
    let secrets: Api<Secret> = Api::namespaced(ctx.client.clone(), &namespace);
    let config_maps: Api<ConfigMap> = Api::namespaced(ctx.client.clone(), &namespace);
    let secrets = watcher(secrets, one(names::SEALING_IDENTITIES)).backoff(WatchBackoff::default());
    let config_maps = watcher(config_maps, one(names::SEALING_RECIPIENTS)).backoff(WatchBackoff::default());
    let (mut secrets, mut config_maps) = (std::pin::pin!(secrets), std::pin::pin!(config_maps));
    let mut watched = Watched::default();
    let mut listed = FirstLook(Some(listed));
    let mut again: Option<tokio::time::Instant> = None;
    loop {
        let failed = tokio::select! {
            Some(event) = secrets.next() => event.map(|e| watched.secret.take(e, read)).err(),
            Some(event) = config_maps.next() => event.map(|e| watched.config_map.take(e, |found| found)).err(),
            () = async { tokio::time::sleep_until(again.unwrap_or_else(tokio::time::Instant::now)).await },
                if again.is_some() => None,
            () = end.cancelled() => return,
            else => return,
        };
        if let Some(error) = failed {
            if is_forbidden(&error) && (watched.secret.now.is_none() || watched.config_map.now.is_none()) {
                // Said once; it may stay so for as long as nobody needs sealed values.
                tell(&ctx, State::Unusable(no_rights(&namespace).into()));
                listed.done();
            } else {
                let error = watch_error(&error);
                tracing::warn!(%error, "the watch of the sealing identities failed; it is tried again");
            }
            continue;
        }
        again =
            settle(&ctx, &namespace, &mut watched, &mut listed).await.map(|wait| tokio::time::Instant::now() + wait);
    }
}

/// Told once.
struct FirstLook(Option<tokio::sync::mpsc::UnboundedSender<()>>);

impl FirstLook {
    fn done(&mut self) {
        if let Some(listed) = self.0.take() {
            let _ = listed.send(());
        }
    }
}

/// Brings state and ConfigMap in line with what was seen. Returns when to try again what did not succeed.
async fn settle(
    ctx: &Arc<Context>,
    namespace: &str,
    watched: &mut Watched,
    listed: &mut FirstLook,
) -> Option<Duration> {
    let (Some(secret), Some(config_map)) = (watched.secret.now.clone(), watched.config_map.now.clone()) else {
        return None;
    };
    if let Some(wait) = watched.too_soon().filter(|_| secret.is_none() && config_map.is_none()) {
        return Some(wait);
    }
    let (ring, bad) = match (secret, &config_map) {
        (Some(found), _) => found,
        (None, Some(_)) => {
            tell(ctx, State::Unusable(lost(namespace).into()));
            listed.done();
            return None;
        }
        (None, None) => {
            watched.wrote = Some(tokio::time::Instant::now());
            match make(ctx, namespace).await {
                Ok(made) => {
                    let made = read(made);
                    watched.secret.now = Some(Some(made.clone()));
                    made
                }
                // Another replica was faster: the watch shows what it made.
                Err(error) if error.kind == ApiErrorKind::Conflict => return None,
                Err(error) => {
                    tracing::warn!(%error, "the sealing identities cannot be made; it is tried again");
                    if error.kind == ApiErrorKind::Forbidden {
                        tell(ctx, State::Unusable(no_rights(namespace).into()));
                        listed.done();
                    }
                    return Some(PACE);
                }
            }
        }
    };
    if !bad.is_empty() && watched.told != bad {
        let keys = bad.join(", ");
        tracing::warn!(secret = names::SEALING_IDENTITIES, keys, "keys of the sealing identities cannot be used");
    }
    watched.told = bad;
    let Some(ring) = ring else {
        tell(ctx, State::Unusable(unreadable(namespace).into()));
        listed.done();
        return None;
    };
    let wanted = recipients_of(&ring);
    tell(ctx, State::Ready(Arc::new(ring)));
    listed.done();
    publish(ctx, namespace, watched, wanted).await
}

/// Writes the recipients, if the ConfigMap does not have them.
async fn publish(
    ctx: &Context,
    namespace: &str,
    watched: &mut Watched,
    wanted: BTreeMap<String, String>,
) -> Option<Duration> {
    let found = watched.config_map.now.clone().flatten();
    if found.as_ref().is_some_and(|f| f.data.as_ref() == Some(&wanted)) {
        return None;
    }
    if let Some(wait) = watched.too_soon().filter(|_| found.is_some()) {
        return Some(wait);
    }
    watched.wrote = Some(tokio::time::Instant::now());
    let api: Api<ConfigMap> = Api::namespaced(ctx.client.clone(), namespace);
    let params = PostParams { field_manager: Some(names::OPERATOR.to_owned()), ..PostParams::default() };
    let written = match found {
        Some(mut found) => {
            found.data = Some(wanted);
            found.binary_data = None;
            ctx.metrics.api_write("update", "configmaps");
            within("writing the recipients", api.replace(names::SEALING_RECIPIENTS, &params, &found)).await
        }
        None => {
            let made = ConfigMap {
                metadata: metadata(namespace, names::SEALING_RECIPIENTS),
                data: Some(wanted),
                ..ConfigMap::default()
            };
            ctx.metrics.api_write("create", "configmaps");
            within("making the recipients", api.create(&params, &made)).await
        }
    };
    match written {
        Ok(written) => {
            watched.config_map.now = Some(Some(written));
            None
        }
        Err(error) => {
            tracing::warn!(%error, "the recipients for sealing are not published; it is tried again");
            let for_a_person = matches!(error.kind, ApiErrorKind::Forbidden | ApiErrorKind::Invalid);
            Some(if for_a_person { PACE * 30 } else { PACE })
        }
    }
}

/// Makes the Secret with one identity. Create-only: what exists is never overwritten.
async fn make(ctx: &Context, namespace: &str) -> Result<Secret, ApiError> {
    let api: Api<Secret> = Api::namespaced(ctx.client.clone(), namespace);
    let secret = Secret {
        metadata: metadata(namespace, names::SEALING_IDENTITIES),
        data: Some(BTreeMap::from([("i1".to_owned(), ByteString(generate().expose().to_vec()))])),
        type_: Some("Opaque".to_owned()),
        ..Secret::default()
    };
    let params = PostParams { field_manager: Some(names::OPERATOR.to_owned()), ..PostParams::default() };
    ctx.metrics.api_write("create", "secrets");
    let made = within("making the sealing identities", api.create(&params, &secret)).await?;
    tracing::info!(secret = names::SEALING_IDENTITIES, "made the sealing identities");
    Ok(made)
}

fn metadata(namespace: &str, name: &str) -> ObjectMeta {
    let label = |k: &str, v: &str| (k.to_owned(), v.to_owned());
    ObjectMeta {
        name: Some(name.to_owned()),
        namespace: Some(namespace.to_owned()),
        labels: Some(BTreeMap::from([label(names::MANAGED_BY, names::OPERATOR), label(names::ROLE, "sealing")])),
        ..ObjectMeta::default()
    }
}

/// The identities in the Secret.
#[must_use]
fn read(secret: Secret) -> Read {
    Ring::read(secret.data.unwrap_or_default().into_iter().map(|(id, bytes)| (id, SecretValue::new(bytes.0))))
}

/// What the ConfigMap holds: each recipient under the id of its identity, and the newest once more.
fn recipients_of(ring: &Ring) -> BTreeMap<String, String> {
    let all = ring.recipients().map(|(id, recipient)| (id.to_owned(), recipient));
    let newest = (names::NEWEST_RECIPIENT.to_owned(), ring.newest().to_string());
    all.chain(std::iter::once(newest)).collect()
}

/// Takes over what there is, and wakes whoever has a sealed value if it is news.
fn tell(ctx: &Context, state: State) {
    if let State::Unusable(why) = &state
        && ctx.sealing.ring() != Err(NoRing::Unusable(Arc::clone(why)))
    {
        tracing::error!("sealed values cannot be opened: {why}");
    }
    if !ctx.sealing.set(state) {
        return;
    }
    for vs in ctx.vault_secrets.all() {
        if vs.spec.data.iter().any(|e| e.value_from.as_ref().is_some_and(|f| f.sealed.is_some())) {
            ctx.wake.object(ObjectKey::new(vs.namespace().unwrap_or_default(), vs.name_any()));
        }
    }
}

fn is_forbidden(error: &watcher::Error) -> bool {
    let (watcher::Error::InitialListFailed(source) | watcher::Error::WatchStartFailed(source)) = error else {
        return false;
    };
    matches!(source, kube::Error::Api(status) if status.code == 403)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn a_list_without_the_object_means_that_it_is_gone() {
        let mut one = One::default();
        let mut take = |event: Event<u8>| {
            one.take(event, |object| object * 10);
            one.now
        };
        take(Event::Init);
        assert_eq!(take(Event::InitApply(1)), None, "not before the list is complete");
        assert_eq!(take(Event::InitDone), Some(Some(10)));
        assert_eq!(take(Event::Init), Some(Some(10)));
        assert_eq!(take(Event::InitDone), Some(None));
        assert_eq!(take(Event::Apply(2)), Some(Some(20)));
        assert_eq!(take(Event::Delete(2)), Some(None));
    }

    #[test]
    fn recipients_are_public_and_the_newest_is_named() {
        let (old, new) = (generate(), generate());
        let ring = Ring::read([("i1".to_owned(), old), ("i2".to_owned(), new)]).0.unwrap();
        let data = recipients_of(&ring);
        assert_eq!(data.keys().collect::<Vec<_>>(), ["i1", "i2", "newest"]);
        assert_eq!(data["newest"], data["i2"]);
        assert!(data.values().all(|text| text.starts_with("age1")));
    }
}
