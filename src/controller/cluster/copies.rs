//! The Secrets that were copied into namespaces: which there are, by the metadata that the watch of Secrets shows, and which are
//! to be written or to go. A copy is known by the reference of its controller; its values are in nobody's memory.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kube::core::ObjectMeta;
use sha2::{Digest as _, Sha256};

use crate::projection::owner::{OwnerKind, controller};
use crate::remote::lane::ObjectKey;

/// A copy as it was seen last.
struct Seen {
    /// Name of its ClusterVaultSecret.
    owner: Arc<str>,
    uid: Arc<str>,
    version: Arc<str>,
    /// It is gone; kept so that a note of an earlier write does not bring it back.
    gone: bool,
}

#[derive(Default)]
struct State {
    seen: HashMap<ObjectKey, Seen>,
    listed: HashSet<ObjectKey>,
}

/// All copies.
#[derive(Default)]
pub struct Copies {
    state: Mutex<State>,
}

impl Copies {
    /// A Secret is there. Returns the ClusterVaultSecret that it is news for.
    pub fn observe(&self, namespace: &str, name: &str, meta: &ObjectMeta) -> Option<Arc<str>> {
        let owner = controller(meta).filter(|r| OwnerKind::ClusterVaultSecret.is_of(r));
        let mut state = self.lock();
        if owner.is_none() && state.seen.is_empty() {
            return None;
        }
        let key = &ObjectKey::new(namespace, name);
        let Some(owner) = owner else {
            // It was ours, and somebody took it.
            return state.seen.remove(key).filter(|before| !before.gone).map(|before| before.owner);
        };
        state.listed.insert(key.clone());
        let version = meta.resource_version.as_deref().unwrap_or_default();
        let before = state.seen.get(key);
        if before.is_some_and(|b| !b.gone && *b.uid == *owner.uid && !is_later(version, &b.version)) {
            return None;
        }
        let seen = Seen {
            owner: owner.name.as_str().into(),
            uid: owner.uid.as_str().into(),
            version: version.into(),
            gone: false,
        };
        let wake = Arc::clone(&seen.owner);
        state.seen.insert(key.clone(), seen);
        Some(wake)
    }

    /// A Secret is gone. Returns the ClusterVaultSecret that it is news for.
    pub fn gone(&self, key: &ObjectKey, meta: &ObjectMeta) -> Option<Arc<str>> {
        let mut state = self.lock();
        let seen = state.seen.get_mut(key)?;
        let version = meta.resource_version.as_deref().unwrap_or_default();
        if is_later(version, &seen.version) {
            seen.version = version.into();
        }
        let news = !seen.gone;
        seen.gone = true;
        news.then(|| Arc::clone(&seen.owner))
    }

    /// A complete list begins.
    pub fn list_begins(&self) {
        self.lock().listed.clear();
    }

    /// It has ended: what it did not hold is gone. Returns whom that is news for.
    pub fn list_ends(&self) -> BTreeSet<Arc<str>> {
        let mut state = self.lock();
        let listed = std::mem::take(&mut state.listed);
        let mut wake = BTreeSet::new();
        state.seen.retain(|key, seen| {
            let kept = listed.contains(key);
            if !kept && !seen.gone {
                wake.insert(Arc::clone(&seen.owner));
            }
            kept
        });
        wake
    }

    /// Our own write made this version of a copy; the watch may show it later.
    pub fn note(&self, key: &ObjectKey, owner: &str, uid: &str, version: &str) {
        let mut state = self.lock();
        if state.seen.get(key).is_none_or(|seen| is_later(version, &seen.version)) {
            let seen = Seen { owner: owner.into(), uid: uid.into(), version: version.into(), gone: false };
            state.listed.insert(key.clone());
            state.seen.insert(key.clone(), seen);
        }
    }

    /// The copies of a ClusterVaultSecret, with their versions.
    #[must_use]
    pub fn of(&self, uid: &str) -> BTreeMap<ObjectKey, Arc<str>> {
        let state = self.lock();
        let ours = state.seen.iter().filter(|(_, seen)| !seen.gone && *seen.uid == *uid);
        ours.map(|(key, seen)| (key.clone(), Arc::clone(&seen.version))).collect()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a resourceVersion is later than another; as texts where they are no numbers, any other one is.
fn is_later(version: &str, than: &str) -> bool {
    match (version.parse::<u128>(), than.parse::<u128>()) {
        (Ok(version), Ok(than)) => version > than,
        _ => version != than,
    }
}

/// A copy as it was last written or found to be right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Copied {
    /// Its version.
    pub version: Arc<str>,
    /// What it was made from.
    pub made_from: Arc<str>,
}

/// What is to be done.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Namespaces whose copy is to be looked at, and written if it is not right.
    pub write: BTreeSet<String>,
    /// Copies that are to go.
    pub remove: BTreeSet<ObjectKey>,
}

/// Decides. Without a set of values to show (`made_from`) nothing is written, and what is not wanted goes all the same. A copy of
/// an earlier name goes once the one that follows it is right: somebody may be using it.
#[must_use]
pub fn plan(
    wanted: &BTreeSet<String>,
    name: &str,
    seen: &BTreeMap<ObjectKey, Arc<str>>,
    copied: &BTreeMap<String, Copied>,
    made_from: Option<&str>,
    is_alive: impl Fn(&str) -> bool,
) -> Plan {
    let right = |namespace: &str| {
        let shown = seen.get(&ObjectKey::new(namespace, name));
        let copy = copied.get(namespace).filter(|copy| Some(&*copy.made_from) == made_from);
        copy.is_some_and(|copy| Some(&copy.version) == shown)
    };
    let stays = |key: &ObjectKey| wanted.contains(&*key.namespace) && (*key.name == *name || !right(&key.namespace));
    let remove = seen.keys().filter(|key| !stays(key) && is_alive(&key.namespace)).cloned().collect();
    let write = wanted.iter().filter(|namespace| made_from.is_some() && !right(namespace)).cloned().collect();
    Plan { write, remove }
}

/// Names the copies that are right, and what they were made from, in a few characters. After a restart it tells that all are as
/// they were, without a look at any.
#[must_use]
pub fn digest(copied: &BTreeMap<String, Copied>) -> String {
    let mut digest = Sha256::new();
    for (namespace, copy) in copied {
        for part in [namespace.as_str(), &copy.version, &copy.made_from] {
            digest.update(part.as_bytes());
            digest.update([0]);
        }
    }
    hex(digest)
}

/// Names the set of values that copies are made from, and the labels and annotations that they get.
#[must_use]
pub fn made_from(uid: &str, version: &str, metadata: &str) -> String {
    let mut digest = Sha256::new();
    for part in [uid, version, metadata] {
        digest.update(part.as_bytes());
        digest.update([0]);
    }
    hex(digest)
}

fn hex(digest: Sha256) -> String {
    digest.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use serde_json::json;

    use super::*;

    fn key(namespace: &str) -> ObjectKey {
        ObjectKey::new(namespace, "app")
    }

    fn meta(version: &str, uid: Option<&str>) -> ObjectMeta {
        let owner = uid.map(|uid| {
            json!([{"apiVersion": "vaultsecret.dev/v1alpha1", "kind": "ClusterVaultSecret", "name": "db", "uid": uid,
                    "controller": true}])
        });
        serde_json::from_value(json!({"resourceVersion": version, "ownerReferences": owner})).unwrap()
    }

    #[test]
    fn only_news_wakes_and_a_note_does_not_bring_back_what_is_gone() {
        let copies = Copies::default();
        assert_eq!(copies.observe("a", "app", &meta("1", None)), None, "somebody else's");
        assert_eq!(copies.observe("a", "app", &meta("2", Some("u1"))).as_deref(), Some("db"));
        assert_eq!(copies.observe("a", "app", &meta("2", Some("u1"))), None);
        copies.note(&key("a"), "db", "u1", "5");
        assert_eq!(copies.observe("a", "app", &meta("4", Some("u1"))), None, "older than our own write");
        assert_eq!(copies.of("u1"), BTreeMap::from([(key("a"), "5".into())]));
        assert_eq!(copies.gone(&key("a"), &meta("6", Some("u1"))).as_deref(), Some("db"));
        copies.note(&key("a"), "db", "u1", "5");
        assert!(copies.of("u1").is_empty());
        copies.note(&key("a"), "db", "u1", "7");
        assert_eq!(copies.of("u1").len(), 1);
        assert_eq!(copies.observe("a", "app", &meta("8", None)).as_deref(), Some("db"), "somebody took it");
        assert!(copies.of("u1").is_empty() && copies.of("u2").is_empty());
    }

    #[test]
    fn a_list_without_it_means_gone() {
        let copies = Copies::default();
        copies.list_begins();
        let _ = copies.observe("a", "app", &meta("1", Some("u1")));
        let _ = copies.observe("b", "app", &meta("1", Some("u1")));
        assert!(copies.list_ends().is_empty());
        copies.list_begins();
        let _ = copies.observe("b", "app", &meta("1", Some("u1")));
        assert_eq!(copies.list_ends(), BTreeSet::from(["db".into()]));
        assert_eq!(copies.of("u1").len(), 1);
    }

    fn planned(seen: &[(&str, &str)], copied: &[(&str, &str, &str)], made_from: Option<&str>) -> (String, String) {
        let wanted = ["a", "b"].map(str::to_owned).into();
        let seen = seen.iter().map(|(namespace, version)| (key(namespace), (*version).into())).collect();
        let copied = copied.iter().map(|(namespace, version, from)| {
            ((*namespace).to_owned(), Copied { version: (*version).into(), made_from: (*from).into() })
        });
        let plan = plan(&wanted, "app", &seen, &copied.collect(), made_from, |name| name != "dying");
        let write: Vec<_> = plan.write.into_iter().collect();
        let remove: Vec<_> = plan.remove.iter().map(|key| key.namespace.to_string()).collect();
        (write.join(","), remove.join(","))
    }

    #[test]
    fn copies_follow_their_source_and_the_namespaces() {
        let pair = |write: &str, remove: &str| (write.to_owned(), remove.to_owned());
        assert_eq!(planned(&[], &[], Some("s1")), pair("a,b", ""));
        let both = [("a", "1"), ("b", "2")];
        let right = [("a", "1", "s1"), ("b", "2", "s1")];
        assert_eq!(planned(&both, &right, Some("s1")), pair("", ""), "at rest");
        assert_eq!(planned(&both, &right, Some("s2")), pair("a,b", ""), "the source changed");
        assert_eq!(planned(&[("a", "9"), ("b", "2")], &right, Some("s1")), pair("a", ""), "somebody changed one");
        assert_eq!(planned(&[("b", "2")], &right, Some("s1")), pair("a", ""), "somebody deleted one");
        assert_eq!(planned(&both, &[], Some("s1")), pair("a,b", ""), "nothing is known of them");
        assert_eq!(planned(&[("a", "1"), ("c", "3"), ("dying", "4")], &[], None), pair("", "c"), "no set to show");
    }

    #[test]
    fn a_copy_of_an_earlier_name_goes_once_the_new_one_is_right() {
        let (old, new) = (ObjectKey::new("a", "before"), key("a"));
        let removed = |new_version: &str, made_from: Option<&str>, wanted: &str| {
            let seen = BTreeMap::from([(old.clone(), "1".into()), (new.clone(), new_version.into())]);
            let copied = BTreeMap::from([("a".to_owned(), Copied { version: "5".into(), made_from: "s2".into() })]);
            let wanted = BTreeSet::from([wanted.to_owned()]);
            plan(&wanted, "app", &seen, &copied, made_from, |_| true).remove
        };
        assert_eq!(removed("5", Some("s2"), "a"), BTreeSet::from([old.clone()]));
        assert_eq!(removed("4", Some("s2"), "a"), BTreeSet::new(), "the new one is not as it should be");
        assert_eq!(removed("5", Some("s3"), "a"), BTreeSet::new(), "the new one shows an earlier set");
        assert_eq!(removed("5", None, "a"), BTreeSet::new(), "there is no set to show");
        assert_eq!(removed("5", None, "b"), BTreeSet::from([old.clone(), new.clone()]), "not chosen any more");
        let seen = BTreeMap::from([(old.clone(), "1".into())]);
        let planned = plan(&BTreeSet::from(["a".to_owned()]), "app", &seen, &BTreeMap::new(), Some("s2"), |_| true);
        assert_eq!(planned, Plan { write: BTreeSet::from(["a".to_owned()]), remove: BTreeSet::new() });
    }

    #[test]
    fn a_digest_names_versions_and_source() {
        let one = |version: &str, from: &str| {
            digest(&BTreeMap::from([("a".to_owned(), Copied { version: version.into(), made_from: from.into() })]))
        };
        assert_eq!(one("1", "s"), one("1", "s"));
        assert!(one("1", "s") != one("2", "s") && one("1", "s") != one("1", "t"));
        assert!(made_from("u", "1", "{}") != made_from("u", "2", "{}"));
    }
}
