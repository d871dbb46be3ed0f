//! The keys of fingerprints: a Secret in the operator's namespace, made at first start.

use std::collections::BTreeMap;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, Client};
use rand::TryRngCore as _;
use rand::rngs::OsRng;

use crate::api::names;
use crate::kube_error::{ApiErrorKind, within};
use crate::sync::fingerprint::KeyRing;
use crate::value::SecretValue;

/// Length of a key in bytes.
const KEY_BYTES: usize = 32;

/// Reads the key ring, or makes it with one key.
///
/// Keys are data keys `k1`, `k2`, …; the one with the highest number is for new fingerprints. Without the ring every
/// value would look changed, so it belongs into the backup of the cluster.
///
/// # Errors
/// When the Secret can be neither read nor made, or holds no key.
pub async fn load(client: Client, namespace: &str) -> anyhow::Result<KeyRing> {
    let api: Api<Secret> = Api::namespaced(client, namespace);
    loop {
        if let Some(found) = within("reading the key ring", api.get_opt(names::KEY_RING)).await? {
            return read(&found).ok_or_else(|| {
                anyhow::anyhow!(
                    "Secret {namespace}/{} holds no key (k1, k2, …): restore it from a backup, or delete it to start with a \
                     new one, which pushes every value once more",
                    names::KEY_RING
                )
            });
        }
        let made = make(namespace)?;
        match within("making the key ring", api.create(&PostParams::default(), &made)).await {
            Ok(_) => tracing::info!(secret = names::KEY_RING, "made the key ring"),
            // Another replica was faster: read what it made.
            Err(error) if error.kind == ApiErrorKind::Conflict => {}
            Err(error) if error.kind == ApiErrorKind::NotFound => {
                anyhow::bail!(
                    "the operator's namespace {namespace} does not exist; create it, or set --operator-namespace"
                )
            }
            Err(error) => return Err(error.into()),
        }
    }
}

fn make(namespace: &str) -> anyhow::Result<Secret> {
    let mut key = vec![0; KEY_BYTES];
    OsRng.try_fill_bytes(&mut key)?;
    let label = |k: &str, v: &str| (k.to_owned(), v.to_owned());
    Ok(Secret {
        metadata: ObjectMeta {
            name: Some(names::KEY_RING.to_owned()),
            namespace: Some(namespace.to_owned()),
            labels: Some(BTreeMap::from([label(names::MANAGED_BY, names::OPERATOR), label(names::ROLE, "key-ring")])),
            ..ObjectMeta::default()
        },
        data: Some(BTreeMap::from([("k1".to_owned(), ByteString(key))])),
        type_: Some("Opaque".to_owned()),
        ..Secret::default()
    })
}

/// The keys in the Secret; `None` when it holds none.
#[must_use]
pub fn read(secret: &Secret) -> Option<KeyRing> {
    let mut keys: Vec<(u32, String, SecretValue)> = secret
        .data
        .iter()
        .flatten()
        .filter_map(|(id, bytes)| {
            let number = id.strip_prefix('k')?.parse().ok()?;
            (bytes.0.len() >= 16).then(|| (number, id.clone(), SecretValue::new(bytes.0.clone())))
        })
        .collect();
    keys.sort_by_key(|(number, _, _)| std::cmp::Reverse(*number));
    KeyRing::new(keys.into_iter().map(|(_, id, key)| (id, key)).collect())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn the_newest_key_is_for_new_fingerprints() {
        let mut secret = make("ns").unwrap();
        secret.data.as_mut().unwrap().insert("k10".to_owned(), ByteString(vec![7; 32]));
        secret.data.as_mut().unwrap().insert("note".to_owned(), ByteString(vec![7; 32]));
        assert!(read(&secret).unwrap().fingerprint("u", "n", b"v").starts_with("k10:"));
    }

    #[test]
    fn an_empty_ring_is_an_error_and_not_a_new_one() {
        let mut secret = make("ns").unwrap();
        secret.data = Some(BTreeMap::from([("k1".to_owned(), ByteString(vec![1; 3]))]));
        assert!(read(&secret).is_none());
    }
}
