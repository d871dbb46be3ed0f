//! Secrets by label: which of them a selector selects, only where somebody has one. Nothing is kept of the others.
//!
//! It tells who is to be looked at and never that something is gone for good: before the keys of a Secret that is not selected any
//! more leave, the Secret itself is asked (`sources`).

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kube::core::{Selector, SelectorExt as _};

use super::keys::Waker;
use crate::api::names;

struct Entry {
    selector: Selector,
    users: BTreeSet<Waker>,
    names: BTreeSet<Arc<str>>,
    /// A complete list was seen.
    listed: bool,
    /// What a watch has shown before that.
    shown: HashSet<Arc<str>>,
    /// What the list that a watch is reading has shown so far, if the entry was there when it began.
    fresh: Option<BTreeSet<Arc<str>>>,
}

#[derive(Default)]
struct State {
    /// By namespace and by the text of the selector.
    entries: HashMap<Arc<str>, BTreeMap<String, Entry>>,
    by_user: HashMap<Waker, (Arc<str>, BTreeSet<String>)>,
}

/// The index.
#[derive(Default)]
pub struct Selected {
    state: Mutex<State>,
}

/// Whether a selector selects a Secret with these labels. What the operator made is never selected.
#[must_use]
pub fn selects(selector: &Selector, labels: &BTreeMap<String, String>) -> bool {
    !labels.contains_key(names::ROLE) && selector.matches(labels)
}

impl Selected {
    /// Says which selectors somebody has from now on, in its namespace.
    pub fn set(&self, user: &Waker, namespace: &str, selectors: &[Selector]) {
        let mut guard = self.lock();
        let state = &mut *guard;
        if selectors.is_empty() && !state.by_user.contains_key(user) {
            return;
        }
        let namespace: Arc<str> = namespace.into();
        let texts: BTreeSet<String> = selectors.iter().map(ToString::to_string).collect();
        for selector in selectors {
            let entries = state.entries.entry(Arc::clone(&namespace)).or_default();
            let entry = entries.entry(selector.to_string()).or_insert_with(|| Entry {
                selector: selector.clone(),
                users: BTreeSet::new(),
                names: BTreeSet::new(),
                listed: false,
                shown: HashSet::new(),
                fresh: None,
            });
            entry.users.insert(user.clone());
        }
        let old = if texts.is_empty() {
            state.by_user.remove(user)
        } else {
            state.by_user.insert(user.clone(), (Arc::clone(&namespace), texts.clone()))
        };
        let Some((old_namespace, old_texts)) = old else { return };
        let Some(entries) = state.entries.get_mut(&old_namespace) else { return };
        for gone in old_texts.iter().filter(|text| old_namespace != namespace || !texts.contains(*text)) {
            if let Some(entry) = entries.get_mut(gone) {
                entry.users.remove(user);
                if entry.users.is_empty() {
                    entries.remove(gone);
                }
            }
        }
        if entries.is_empty() {
            state.entries.remove(&old_namespace);
        }
    }

    /// The Secrets that a selector selects; `None` when no complete list was seen yet.
    #[must_use]
    pub fn names(&self, namespace: &str, selector: &Selector) -> Option<BTreeSet<Arc<str>>> {
        let state = self.lock();
        let entry = state.entries.get(namespace)?.get(&selector.to_string())?;
        entry.listed.then(|| entry.names.clone())
    }

    /// A list of what a selector selects was read. What a watch has shown since somebody has the selector is newer, or is about to
    /// be overtaken by what the same watch shows next.
    pub fn listed(&self, namespace: &str, selector: &Selector, names: impl IntoIterator<Item = Arc<str>>) {
        let mut state = self.lock();
        let Some(entry) = state.entries.get_mut(namespace).and_then(|all| all.get_mut(&selector.to_string())) else {
            return;
        };
        if !entry.listed {
            let shown = std::mem::take(&mut entry.shown);
            entry.names.extend(names.into_iter().filter(|name| !shown.contains(name)));
            entry.listed = true;
        }
    }

    /// A watch shows a Secret with these labels, or that it is gone. Returns who is to be woken.
    #[must_use]
    pub fn observe(&self, namespace: &str, name: &str, labels: Option<&BTreeMap<String, String>>) -> BTreeSet<Waker> {
        let mut state = self.lock();
        let mut wake = BTreeSet::new();
        let Some(entries) = state.entries.get_mut(namespace) else { return wake };
        let name: Arc<str> = name.into();
        for entry in entries.values_mut() {
            let is_selected = labels.is_some_and(|labels| selects(&entry.selector, labels));
            if !entry.listed {
                entry.shown.insert(Arc::clone(&name));
            }
            if let Some(fresh) = entry.fresh.as_mut().filter(|_| is_selected) {
                fresh.insert(Arc::clone(&name));
            }
            let news = if is_selected { entry.names.insert(Arc::clone(&name)) } else { entry.names.remove(&name) };
            if news {
                wake.extend(entry.users.iter().cloned());
            }
        }
        wake
    }

    /// A watch begins to read a complete list, of one namespace or of all.
    pub fn list_begins(&self, namespace: Option<&str>) {
        for (_, entry) in self.lock().entries_in(namespace) {
            entry.fresh = Some(BTreeSet::new());
        }
    }

    /// It has read it. Returns who is to be woken.
    #[must_use]
    pub fn list_ends(&self, namespace: Option<&str>) -> BTreeSet<Waker> {
        let mut wake = BTreeSet::new();
        for (_, entry) in self.lock().entries_in(namespace) {
            let Some(fresh) = entry.fresh.take() else { continue };
            if fresh != entry.names || !entry.listed {
                wake.extend(entry.users.iter().cloned());
            }
            entry.names = fresh;
            entry.listed = true;
            entry.shown = HashSet::new();
        }
        wake
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn entries_in(&mut self, namespace: Option<&str>) -> impl Iterator<Item = (&String, &mut Entry)> {
        let ours = move |of: &Arc<str>| namespace.is_none_or(|namespace| *namespace == **of);
        self.entries.iter_mut().filter(move |(of, _)| ours(of)).flat_map(|(_, entries)| entries.iter_mut())
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

    fn labels(label: &str, value: &str) -> BTreeMap<String, String> {
        BTreeMap::from([(label.to_owned(), value.to_owned())])
    }

    fn selector(value: &str) -> Selector {
        labels("team", value).into_iter().collect()
    }

    fn names(of: &Selected, selector: &Selector) -> Option<Vec<String>> {
        of.names("ns", selector).map(|names| names.iter().map(ToString::to_string).collect())
    }

    fn show(of: &Selected, name: &str, value: &str) -> usize {
        of.observe("ns", name, Some(&labels("team", value))).len()
    }

    #[test]
    fn what_starts_or_stops_to_match_wakes() {
        let (index, a) = (Selected::default(), selector("a"));
        assert_eq!(show(&index, "early", "a"), 0, "nobody has a selector");
        index.set(&user("app"), "ns", std::slice::from_ref(&a));
        index.list_begins(None);
        assert_eq!(show(&index, "one", "a"), 1);
        assert_eq!(index.list_ends(None).len(), 1);
        assert_eq!(names(&index, &a), Some(vec!["one".to_owned()]));
        assert_eq!(show(&index, "one", "a"), 0, "no news");
        assert_eq!(show(&index, "two", "a"), 1);
        assert_eq!(show(&index, "two", "b"), 1, "it has another label now");
        assert_eq!(show(&index, "two", "b"), 0);
        assert_eq!(index.observe("elsewhere", "three", Some(&labels("team", "a"))).len(), 0);
        assert_eq!(index.observe("ns", "one", None).len(), 1);
        assert_eq!(names(&index, &a), Some(vec![]));
        index.set(&user("app"), "ns", &[]);
        assert_eq!(names(&index, &a), None);
        assert!(index.lock().entries.is_empty() && index.lock().by_user.is_empty());
    }

    #[test]
    fn before_a_complete_list_nothing_is_known() {
        let (index, a) = (Selected::default(), selector("a"));
        index.set(&user("app"), "ns", std::slice::from_ref(&a));
        assert_eq!(names(&index, &a), None);
        show(&index, "seen", "a");
        show(&index, "left", "b");
        assert_eq!(index.list_ends(Some("ns")).len(), 0, "it was not there when that list began");
        assert_eq!(names(&index, &a), None);
        index.listed("ns", &a, ["left".into(), "listed".into()]);
        assert_eq!(names(&index, &a), Some(vec!["listed".to_owned(), "seen".to_owned()]));
    }

    #[test]
    fn a_list_without_it_means_gone() {
        let (index, a) = (Selected::default(), selector("a"));
        index.set(&user("app"), "ns", std::slice::from_ref(&a));
        index.listed("ns", &a, ["old".into()]);
        index.list_begins(Some("elsewhere"));
        assert_eq!(index.list_ends(Some("elsewhere")).len(), 0);
        index.list_begins(Some("ns"));
        assert_eq!(show(&index, "new", "a"), 1);
        assert_eq!(names(&index, &a), Some(vec!["new".to_owned(), "old".to_owned()]), "not judged before its end");
        assert_eq!(index.list_ends(Some("ns")).len(), 1);
        assert_eq!(names(&index, &a), Some(vec!["new".to_owned()]));
    }

    #[test]
    fn what_the_operator_made_is_never_selected() {
        let mut ours = labels("team", "a");
        assert!(selects(&selector("a"), &ours));
        ours.insert(names::ROLE.to_owned(), "target".to_owned());
        assert!(!selects(&selector("a"), &ours));
    }

    #[test]
    fn another_selector_takes_the_place_of_the_old_one() {
        let (index, a, b) = (Selected::default(), selector("a"), selector("b"));
        index.set(&user("app"), "ns", std::slice::from_ref(&a));
        index.set(&user("other"), "ns", std::slice::from_ref(&a));
        index.listed("ns", &a, []);
        index.set(&user("app"), "ns", std::slice::from_ref(&b));
        assert_eq!((names(&index, &a), names(&index, &b)), (Some(vec![]), None));
        assert_eq!(index.observe("ns", "one", Some(&labels("team", "a"))), BTreeSet::from([user("other")]));
    }
}
