//! Keyed fingerprints of values: equal values under two names, or in two VaultSecrets, have different ones.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::value::SecretValue;

/// Domain tag: a key that is used for something else one day makes other fingerprints.
const DOMAIN: &[u8] = b"vaultsecret.dev/fingerprint/v1";

/// Bytes that are kept of the code.
const LENGTH: usize = 16;

/// The keys that fingerprints are made with; the first is for new ones.
#[derive(Clone)]
pub struct KeyRing {
    keys: Vec<(String, SecretValue)>,
}

impl std::fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.keys.iter().map(|(id, _)| id)).finish()
    }
}

impl KeyRing {
    /// A ring of keys by id, the one for new fingerprints first. `None` without any key.
    #[must_use]
    pub fn new(keys: Vec<(String, SecretValue)>) -> Option<Self> {
        (!keys.is_empty()).then_some(Self { keys })
    }

    /// Fingerprint of a value under the first key: `<key id>:<base64url of 16 bytes>`.
    #[must_use]
    pub fn fingerprint(&self, uid: &str, remote_name: &str, value: &[u8]) -> String {
        let (id, key) = &self.keys[0];
        code(id, key, uid, remote_name, value)
    }

    /// Fingerprint of a value, under the key that `recorded` was made with where the ring still has it: so that a new key
    /// makes no value look changed.
    #[must_use]
    pub fn fingerprint_like(&self, recorded: Option<&str>, uid: &str, remote_name: &str, value: &[u8]) -> String {
        let known = recorded
            .and_then(|r| r.split_once(':'))
            .and_then(|(id, _)| self.keys.iter().find(|(known, _)| known == id));
        match known {
            Some((id, key)) => code(id, key, uid, remote_name, value),
            None => self.fingerprint(uid, remote_name, value),
        }
    }
}

fn code(id: &str, key: &SecretValue, uid: &str, remote_name: &str, value: &[u8]) -> String {
    // HMAC takes keys of any length, so this cannot fail; an empty code would match nothing.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key.expose()) else { return String::new() };
    for field in [DOMAIN, uid.as_bytes(), remote_name.as_bytes(), value] {
        mac.update(&(field.len() as u64).to_be_bytes());
        mac.update(field);
    }
    let bytes = mac.finalize().into_bytes();
    format!("{id}:{}", URL_SAFE_NO_PAD.encode(&bytes[..LENGTH]))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    fn ring(ids: &[&str]) -> KeyRing {
        KeyRing::new(ids.iter().map(|id| ((*id).to_owned(), SecretValue::from(format!("key of {id}")))).collect())
            .expect("keys")
    }

    #[test]
    fn equal_values_elsewhere_have_other_fingerprints() {
        let r = ring(&["k1"]);
        let one = r.fingerprint("uid-1", "name", b"value");
        assert!(one.starts_with("k1:"), "{one}");
        assert_eq!(one.len(), "k1:".len() + 22);
        assert_eq!(one, r.fingerprint("uid-1", "name", b"value"));
        assert_ne!(one, r.fingerprint("uid-2", "name", b"value"));
        assert_ne!(one, r.fingerprint("uid-1", "other", b"value"));
        assert_ne!(one, r.fingerprint("uid-1", "name", b"value2"));
        assert_ne!(r.fingerprint("ab", "c", b"d"), r.fingerprint("a", "bc", b"d"), "fields are length-prefixed");
    }

    #[test]
    fn a_new_key_makes_no_value_look_changed() {
        let before = ring(&["k1"]).fingerprint("u", "n", b"v");
        let after = ring(&["k2", "k1"]);
        assert_eq!(after.fingerprint_like(Some(&before), "u", "n", b"v"), before);
        assert!(after.fingerprint("u", "n", b"v").starts_with("k2:"));
        assert_ne!(ring(&["k3"]).fingerprint_like(Some(&before), "u", "n", b"v"), before, "a lost key");
    }

    #[test]
    fn debug_shows_no_key() {
        assert_eq!(format!("{:?}", ring(&["k1"])), "[\"k1\"]");
    }
}
