//! What the KV engine shows of its entries. Pure.

use std::collections::{BTreeMap, HashMap};

use jiff::Timestamp;
use serde::Deserialize;

use crate::remote::{Owner, stamp};

/// The mark for people.
pub(super) const OWNER: &str = "vaultsecret.dev/owner";
/// The mark that decides.
pub(super) const UID: &str = "vaultsecret.dev/uid";

/// The metadata of an entry.
#[derive(Deserialize)]
pub(super) struct Meta {
    /// 0 when only its metadata was ever written.
    pub(super) current_version: u64,
    #[serde(default)]
    versions: BTreeMap<u64, Version>,
    #[serde(default)]
    custom_metadata: Option<HashMap<String, String>>,
}

#[derive(Deserialize)]
struct Version {
    #[serde(default)]
    created_time: String,
    /// Empty: it is not deleted. May lie in the future.
    #[serde(default)]
    deletion_time: String,
    #[serde(default)]
    destroyed: bool,
}

/// What there is of an entry.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Sight {
    /// Its latest version was deleted or destroyed, or it never had one: nobody reads anything there.
    Gone,
    /// It holds a value.
    Live {
        /// `<version>@<time>`: a number alone would come again after the metadata was deleted.
        version: String,
        /// When it came into being: the oldest version that nothing deleted separates from the latest.
        created: Option<Timestamp>,
    },
}

impl Meta {
    /// What holds at that time of the remote's clock.
    pub(super) fn sight(&self, now: Timestamp) -> Sight {
        let mut alive = self.versions.range(..=self.current_version).rev().map_while(|(number, version)| {
            let deleted =
                stamp::instant(&version.deletion_time).map_or(!version.deletion_time.is_empty(), |at| at <= now);
            (!version.destroyed && !deleted).then_some((*number, version))
        });
        match alive.next() {
            Some((number, latest)) if number == self.current_version => {
                let oldest = alive.last().map_or(latest, |(_, version)| version);
                Sight::Live {
                    version: version_text(number, &latest.created_time),
                    created: stamp::instant(&oldest.created_time),
                }
            }
            _ => Sight::Gone,
        }
    }

    /// Why there is nothing to be read.
    pub(super) fn why_gone(&self) -> String {
        let number = self.current_version;
        match self.versions.get(&number) {
            None if number == 0 => "it has never had a value".to_owned(),
            Some(latest) => why_gone(number, latest.destroyed),
            None => format!("version {number}, its latest, is not there any more"),
        }
    }

    /// Whom a mark names.
    pub(super) fn owner(&self) -> Option<Owner> {
        let marks = self.custom_metadata.as_ref()?;
        let uid = marks.get(UID).filter(|uid| !uid.is_empty())?.clone();
        Some(Owner { name: marks.get(OWNER).cloned().unwrap_or_default(), uid })
    }
}

#[derive(Deserialize)]
pub(super) struct Wrapped<T> {
    pub(super) data: T,
}

/// The metadata in an answer.
pub(super) fn read(body: &[u8]) -> Option<Meta> {
    serde_json::from_slice::<Wrapped<Meta>>(body).ok().map(|wrapped| wrapped.data)
}

/// Names in a folder.
pub(super) struct Keys {
    /// Without those of folders.
    pub(super) names: Vec<String>,
    /// How many there were, folders included.
    pub(super) count: usize,
    /// The last one, where the next page begins.
    pub(super) last: Option<String>,
    /// Metadata by name, where the answer holds it.
    pub(super) details: Option<HashMap<String, Meta>>,
}

#[derive(Deserialize)]
struct KeysData {
    keys: Vec<String>,
    #[serde(default)]
    key_info: Option<HashMap<String, serde_json::Value>>,
}

/// The keys in an answer.
pub(super) fn keys(body: &[u8]) -> Option<Keys> {
    let read = serde_json::from_slice::<Wrapped<KeysData>>(body).ok()?.data;
    let (count, last) = (read.keys.len(), read.keys.last().cloned());
    let details = read.key_info.map(|all| {
        // Folders have none, or none worth the name.
        all.into_iter().filter_map(|(name, meta)| Some((name, serde_json::from_value(meta).ok()?))).collect()
    });
    Some(Keys { names: read.keys.into_iter().filter(|name| !name.ends_with('/')).collect(), count, last, details })
}

/// Whether an error says nothing: an entry, or a folder, that is not there.
pub(super) fn is_silent(body: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct Errors {
        errors: Vec<String>,
    }
    serde_json::from_slice::<Errors>(body).is_ok_and(|said| said.errors.is_empty())
}

/// What became of a version that cannot be read.
pub(super) fn why_gone(number: u64, destroyed: bool) -> String {
    format!("version {number}, its latest, was {}", if destroyed { "destroyed" } else { "deleted" })
}

#[derive(Deserialize)]
struct WrittenData {
    version: u64,
    created_time: String,
}

/// The version in the answer to a write.
pub(super) fn written(body: &[u8]) -> Option<String> {
    let data = serde_json::from_slice::<Wrapped<WrittenData>>(body).ok()?.data;
    Some(version_text(data.version, &data.created_time))
}

pub(super) fn version_text(number: u64, created: &str) -> String {
    format!("{number}@{}", stamp::canonical(created).unwrap_or_default())
}

/// The number in a version, for check-and-set.
pub(super) fn number(version: &str) -> Option<u64> {
    version.split_once('@')?.0.parse().ok()
}

/// What the server says of a mount.
#[derive(Deserialize)]
pub(super) struct Mount {
    data: MountData,
}

#[derive(Deserialize)]
struct MountData {
    #[serde(default, rename = "type")]
    kind: String,
    #[serde(default)]
    options: Option<HashMap<String, String>>,
}

impl Mount {
    /// Why nothing can be stored there, if so.
    pub(super) fn fault(&self) -> Option<&'static str> {
        let version = self.data.options.as_ref().and_then(|options| options.get("version")).map(String::as_str);
        match (self.data.kind.as_str(), version) {
            ("kv", Some("2")) | ("", _) => None,
            ("kv" | "generic", _) => Some("the mount is a KV engine of version 1; version 2 is needed"),
            _ => Some("the mount is no KV engine"),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use serde_json::json;

    use super::*;

    fn meta(current: u64, versions: &[(u64, &str, bool)]) -> Meta {
        let versions: serde_json::Map<String, serde_json::Value> = versions
            .iter()
            .map(|(number, deletion_time, destroyed)| {
                let version = json!({"created_time": format!("2026-01-01T00:00:0{number}Z"),
                                     "deletion_time": deletion_time, "destroyed": destroyed});
                (number.to_string(), version)
            })
            .collect();
        serde_json::from_value(json!({"current_version": current, "versions": versions})).unwrap()
    }

    fn live(version: &str, created: &str) -> Sight {
        Sight::Live { version: version.to_owned(), created: Some(created.parse().unwrap()) }
    }

    const PAST: &str = "2026-01-01T00:00:09Z";

    #[test]
    fn an_entry_is_there_as_long_as_its_latest_version_is() {
        let now = "2026-01-02T00:00:00Z".parse().unwrap();
        for (case, meta, sight) in [
            ("fresh", meta(1, &[(1, "", false)]), live("1@2026-01-01T00:00:01Z", "2026-01-01T00:00:01Z")),
            ("metadata alone", meta(0, &[]), Sight::Gone),
            ("deleted", meta(1, &[(1, PAST, false)]), Sight::Gone),
            ("destroyed", meta(1, &[(1, "", true)]), Sight::Gone),
            ("the latest was deleted", meta(2, &[(1, "", false), (2, PAST, false)]), Sight::Gone),
            ("the latest was pruned", meta(3, &[(1, "", false), (2, "", false)]), Sight::Gone),
            (
                "to be deleted tomorrow",
                meta(1, &[(1, "2026-01-03T00:00:00Z", false)]),
                live("1@2026-01-01T00:00:01Z", "2026-01-01T00:00:01Z"),
            ),
            (
                "the third of three",
                meta(3, &[(1, "", false), (2, "", false), (3, "", false)]),
                live("3@2026-01-01T00:00:03Z", "2026-01-01T00:00:01Z"),
            ),
            (
                "made anew over a deleted one",
                meta(3, &[(1, PAST, false), (2, "", false), (3, "", false)]),
                live("3@2026-01-01T00:00:03Z", "2026-01-01T00:00:02Z"),
            ),
        ] {
            assert_eq!(meta.sight(now), sight, "{case}");
        }
    }

    #[test]
    fn a_version_is_the_same_in_an_answer_and_in_a_list() {
        let answer = br#"{"data":{"version":1,"created_time":"2026-01-01T00:00:01.000000000Z"}}"#;
        assert_eq!(written(answer).as_deref(), Some("1@2026-01-01T00:00:01Z"));
        assert_eq!(number("12@2026-01-01T00:00:01Z"), Some(12));
        assert_eq!(number("2026-01-01T00:00:01Z"), None);
        assert_eq!(written(b"{}"), None);
    }

    #[test]
    fn folders_are_no_entries() {
        let keys = keys(br#"{"data":{"keys":["a","a/","b"]}}"#).unwrap();
        assert_eq!((keys.names, keys.count, keys.last), (vec!["a".into(), "b".into()], 3, Some("b".into())));
    }

    #[test]
    fn a_mount_of_another_kind_is_told() {
        let fault = |mount: serde_json::Value| serde_json::from_value::<Mount>(json!({"data": mount})).unwrap().fault();
        assert_eq!(fault(json!({"type": "kv", "options": {"version": "2"}})), None);
        assert!(fault(json!({"type": "kv", "options": {"version": "1"}})).unwrap().contains("version 1"));
        assert!(fault(json!({"type": "kv", "options": null})).unwrap().contains("version 1"));
        assert!(fault(json!({"type": "transit", "options": null})).unwrap().contains("no KV"));
    }
}
