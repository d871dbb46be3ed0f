//! What is referred to: Secrets and ConfigMaps by name, with their resourceVersion, only where somebody refers to them.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use super::keys::Waker;

/// Kinds of object that values, credentials and targets are in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RefKind {
    /// A Secret.
    Secret,
    /// A ConfigMap.
    ConfigMap,
}

/// An object that somebody refers to.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ref {
    /// Its kind.
    pub kind: RefKind,
    /// Its namespace.
    pub namespace: Arc<str>,
    /// Its name.
    pub name: Arc<str>,
}

impl Ref {
    /// A reference to a Secret.
    #[must_use]
    pub fn secret(namespace: &str, name: &str) -> Self {
        Self { kind: RefKind::Secret, namespace: namespace.into(), name: name.into() }
    }

    /// A reference to a ConfigMap.
    #[must_use]
    pub fn config_map(namespace: &str, name: &str) -> Self {
        Self { kind: RefKind::ConfigMap, namespace: namespace.into(), name: name.into() }
    }
}

/// What is known of an object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Known {
    /// Nobody has looked since somebody began to refer to it.
    #[default]
    Unseen,
    /// It exists in this version.
    At(Arc<str>),
    /// It does not exist.
    Gone,
}

#[derive(Default)]
struct Entry {
    known: Known,
    /// One of the users told it, and the watch has not yet: the other users do not know.
    noted: bool,
    users: BTreeSet<Waker>,
}

impl Entry {
    /// Takes over what a watch showed. Whether it is news to anybody: for what one of several noted, to the others.
    fn show(&mut self, known: Known) -> bool {
        let untold = std::mem::take(&mut self.noted) && self.users.len() > 1;
        let other = self.known != known;
        self.known = known;
        other || untold
    }
}

#[derive(Default)]
struct State {
    entries: HashMap<Ref, Entry>,
    by_user: HashMap<Waker, Vec<Ref>>,
}

/// The index.
#[derive(Default)]
pub struct Refs {
    state: Mutex<State>,
}

impl Refs {
    /// Says what somebody refers to from now on; what it referred to before is forgotten where nobody else does.
    pub fn set(&self, user: &Waker, refs: Vec<Ref>) {
        let mut guard = self.lock();
        let state = &mut *guard;
        for new in &refs {
            if let Some(entry) = state.entries.get_mut(new) {
                entry.users.insert(user.clone());
                continue;
            }
            let mut entry = Entry::default();
            entry.users.insert(user.clone());
            state.entries.insert(new.clone(), entry);
        }
        let old =
            if refs.is_empty() { state.by_user.remove(user) } else { state.by_user.insert(user.clone(), refs.clone()) };
        for gone in old.into_iter().flatten().filter(|o| !refs.contains(o)) {
            if let Some(entry) = state.entries.get_mut(&gone) {
                entry.users.remove(user);
                if entry.users.is_empty() {
                    state.entries.remove(&gone);
                }
            }
        }
    }

    /// What is known of an object.
    #[must_use]
    pub fn known(&self, of: &Ref) -> Known {
        self.lock().entries.get(of).map(|e| e.known.clone()).unwrap_or_default()
    }

    /// Notes what a read or a write of ours showed, unless a watch has shown something since `before` was looked up: the watch
    /// has woken whoever needs it then. An object that nobody refers to is not kept.
    pub fn note(&self, of: &Ref, before: &Known, known: Known) {
        if let Some(entry) = self.lock().entries.get_mut(of).filter(|e| e.known == *before && e.known != known) {
            entry.known = known;
            entry.noted = true;
        }
    }

    /// Takes over what a watch showed. Returns who is to be woken: nobody when it is known already.
    #[must_use]
    pub fn observe(&self, of: &Ref, known: Known) -> Vec<Waker> {
        let mut state = self.lock();
        let Some(entry) = state.entries.get_mut(of) else { return Vec::new() };
        if entry.show(known) { entry.users.iter().cloned().collect() } else { Vec::new() }
    }

    /// A complete list has arrived: what it did not hold is gone. Returns who is to be woken.
    #[must_use]
    pub fn listed(&self, kind: RefKind, namespace: Option<&str>, held: &HashSet<(Arc<str>, Arc<str>)>) -> Vec<Waker> {
        let mut state = self.lock();
        let mut wake = BTreeSet::new();
        for (of, entry) in &mut state.entries {
            let ours = of.kind == kind && namespace.is_none_or(|n| *n == *of.namespace);
            if !ours || held.contains(&(Arc::clone(&of.namespace), Arc::clone(&of.name))) {
                continue;
            }
            if entry.show(Known::Gone) {
                wake.extend(entry.users.iter().cloned());
            }
        }
        wake.into_iter().collect()
    }

    /// Whether anybody refers to an object.
    #[must_use]
    pub fn is_referred_to(&self, kind: RefKind, namespace: &str, name: &str) -> bool {
        let of = Ref { kind, namespace: namespace.into(), name: name.into() };
        self.lock().entries.contains_key(&of)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use crate::remote::lane::ObjectKey;

    fn user(name: &str) -> Waker {
        Waker::Object(ObjectKey::new("ns", name))
    }

    fn at(rv: &str) -> Known {
        Known::At(rv.into())
    }

    #[test]
    fn only_what_is_referred_to_is_kept_and_only_news_wakes() {
        let refs = Refs::default();
        let source = Ref::secret("ns", "source");
        assert!(refs.observe(&source, at("1")).is_empty());
        assert_eq!(refs.known(&source), Known::Unseen, "nobody refers to it");
        refs.set(&user("a"), vec![source.clone()]);
        assert_eq!(refs.observe(&source, at("1")), vec![user("a")]);
        assert!(refs.observe(&source, at("1")).is_empty(), "no news");
        assert_eq!(refs.observe(&source, at("2")), vec![user("a")]);
        refs.note(&source, &at("2"), at("3"));
        assert!(refs.observe(&source, at("3")).is_empty(), "the echo of our own write");
        refs.note(&source, &at("2"), at("2"));
        assert_eq!(refs.known(&source), at("3"), "what a watch showed meanwhile is not overwritten");
        assert_eq!(refs.observe(&source, Known::Gone), vec![user("a")]);
        refs.set(&user("a"), vec![]);
        assert!(!refs.is_referred_to(RefKind::Secret, "ns", "source"));
    }

    /// A Secret that one object projects and another, or a connection, takes values from.
    #[test]
    fn what_one_noted_is_news_to_the_others() {
        let refs = Refs::default();
        let shared = Ref::secret("ns", "shared");
        refs.set(&user("writer"), vec![shared.clone()]);
        refs.set(&user("reader"), vec![shared.clone()]);
        let both = vec![user("reader"), user("writer")];
        assert_eq!(refs.observe(&shared, Known::Gone), both);
        refs.note(&shared, &Known::Gone, at("1"));
        assert_eq!(refs.observe(&shared, at("1")), both, "the reader has not heard of it");
        assert!(refs.observe(&shared, at("1")).is_empty(), "and now it has");
        refs.note(&shared, &at("1"), at("1"));
        assert!(refs.observe(&shared, at("1")).is_empty(), "a read of what the watch has shown");
        refs.note(&shared, &at("1"), Known::Gone);
        assert_eq!(refs.listed(RefKind::Secret, None, &HashSet::new()), both);
        refs.note(&shared, &Known::Gone, at("2"));
        assert_eq!(refs.observe(&shared, at("3")), both);
        assert!(refs.observe(&shared, at("3")).is_empty());
    }

    #[test]
    fn a_list_without_it_means_gone() {
        let refs = Refs::default();
        let (source, other) = (Ref::secret("ns", "source"), Ref::secret("elsewhere", "source"));
        refs.set(&user("a"), vec![source.clone(), other.clone()]);
        assert!(!refs.observe(&source, at("1")).is_empty());
        assert_eq!(refs.listed(RefKind::Secret, Some("ns"), &HashSet::new()), vec![user("a")]);
        assert_eq!(refs.known(&source), Known::Gone);
        assert_eq!(refs.known(&other), Known::Unseen, "another namespace's list says nothing of it");
    }

    #[test]
    fn a_list_that_holds_it_changes_nothing() {
        let refs = Refs::default();
        let source = Ref::secret("ns", "source");
        refs.set(&user("a"), vec![source.clone()]);
        let _ = refs.observe(&source, at("1"));
        let held = HashSet::from([("ns".into(), "source".into())]);
        assert!(refs.listed(RefKind::Secret, None, &held).is_empty());
        assert_eq!(refs.known(&source), at("1"));
    }
}
