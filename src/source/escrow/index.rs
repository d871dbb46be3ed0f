//! What the escrow says about the values it holds, and the data keys that it holds them under. Names only, never a value.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// An entry at a remote, as ledger rows name it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EntryId {
    /// `<kind>/<name>` of the connection.
    pub connection: String,
    /// Name of the entry, as the remote stores it.
    pub remote_name: String,
}

/// The annotation `vaultsecret.dev/escrow-index`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Index {
    /// By key of the spec.
    pub keys: BTreeMap<String, KeyIndex>,
    /// Entries of an earlier VaultSecret of this name, whose escrow this was.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub inherited: BTreeSet<EntryId>,
}

/// What is known of one value.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct KeyIndex {
    /// Number of the rotation that it was made for.
    pub epoch: i64,
    /// Entries that it was made for; empty when the key has left the spec.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub entries: BTreeSet<EntryId>,
    /// When it was made; not known of a value that was made before this was kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub made_at: Option<Timestamp>,
    /// Data key, where it is not the key itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slot: Option<String>,
}

const PREVIOUS: &str = ".previous";
const HASHED: &str = "hashed-";

/// Name of the escrow of a VaultSecret: `<name>-escrow`, and where that is too long a cut name that ends in a hash.
///
/// No two names have the same escrow: one form ends in `-escrow`, the other in 32 hexadecimal digits of the whole name.
#[must_use]
pub fn escrow_name(name: &str) -> String {
    let plain = format!("{name}-escrow");
    if plain.len() <= 253 {
        return plain;
    }
    let hash = hex(name, 16);
    let room = 253 - "-escrow-".len() - hash.len();
    let cut: String = name.chars().take(room).collect();
    // A cut behind a dot or a dash would not be a name.
    format!("{}-escrow-{hash}", cut.trim_end_matches(['.', '-']))
}

/// Data key of the current value.
///
/// Injective over the keys and their previous values: a key that would leave no room for `.previous`, that looks like
/// another key's previous value or like a hashed one, or that no data key may be, is hashed.
#[must_use]
pub fn slot(key: &str) -> String {
    let plain = key.len() + PREVIOUS.len() <= 253
        && !key.ends_with(PREVIOUS)
        && !key.starts_with(HASHED)
        && !key.starts_with("..")
        && key != ".";
    if plain { key.to_owned() } else { format!("{HASHED}{}", hex(key, 32)) }
}

/// Data key of the value before the current one.
#[must_use]
pub fn previous_slot(key: &str) -> String {
    format!("{}{PREVIOUS}", slot(key))
}

fn hex(text: &str, bytes: usize) -> String {
    Sha256::digest(text.as_bytes()).iter().take(bytes).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use proptest::prelude::*;

    use super::*;
    use crate::source::reference::is_object_name;

    #[test]
    fn the_name_of_an_escrow_fits() {
        assert_eq!(escrow_name("checkout"), "checkout-escrow");
        assert_eq!(escrow_name(&"a".repeat(246)).len(), 253);
        let (long, other) = (format!("{}b", "a".repeat(252)), format!("{}c", "a".repeat(252)));
        assert_ne!(escrow_name(&long), escrow_name(&other));
        let dotted = format!("{}.{}", "a".repeat(212), "b".repeat(40));
        for name in [long, other, dotted] {
            let escrow = escrow_name(&name);
            assert!(is_object_name(&escrow) && escrow.contains("-escrow-"), "{escrow}");
        }
    }

    #[test]
    fn data_keys_do_not_collide() {
        let hashed = slot(&"k".repeat(253));
        let keys = ["A", "A.previous", "A.previous.previous", ".", "..", "..x", "hashed-1", &hashed, &"k".repeat(253)];
        let slots: BTreeSet<String> = keys.iter().flat_map(|k| [slot(k), previous_slot(k)]).collect();
        assert_eq!(slots.len(), keys.len() * 2);
        assert_eq!((slot("A"), previous_slot("A")), ("A".to_owned(), "A.previous".to_owned()));
    }

    proptest! {
        #[test]
        fn every_data_key_is_one_that_the_api_server_takes(key in "[-._a-zA-Z0-9]{1,253}", other in "[-._a-z]{1,12}") {
            for slot in [slot(&key), previous_slot(&key)] {
                prop_assert!(slot.len() <= 253 && !slot.starts_with("..") && slot != ".");
            }
            if key != other {
                prop_assert_ne!(slot(&key), slot(&other));
            }
            prop_assert_ne!(slot(&key), previous_slot(&other));
        }
    }
}
