//! Namespaces and their labels, for `allowedNamespaces` and prefixes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{PoisonError, RwLock};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::core::{Selector, SelectorExt as _};

use crate::api::cluster_vault_secret::NamespaceSelection;
use crate::api::connection::AllowedNamespaces;

/// Namespaces by name.
#[derive(Default)]
pub struct Namespaces {
    labels: RwLock<BTreeMap<String, BTreeMap<String, String>>>,
    /// Those that are being deleted: nothing can be made in them any more.
    going: RwLock<BTreeSet<String>>,
}

/// The namespaces that a selection comes to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Chosen {
    /// They are there, and stay.
    pub there: BTreeSet<String>,
    /// They are named, and are not there or are going.
    pub missing: BTreeSet<String>,
}

impl Namespaces {
    /// A namespace exists with these labels. Returns whether that is news.
    pub fn observe(&self, name: &str, labels: BTreeMap<String, String>) -> bool {
        let mut all = self.labels.write().unwrap_or_else(PoisonError::into_inner);
        all.insert(name.to_owned(), labels.clone()) != Some(labels)
    }

    /// A namespace is being deleted, or is not. Returns whether that is news.
    pub fn going(&self, name: &str, going: bool) -> bool {
        let mut all = self.going.write().unwrap_or_else(PoisonError::into_inner);
        if going { all.insert(name.to_owned()) } else { all.remove(name) }
    }

    /// Whether something can be made in a namespace.
    #[must_use]
    pub fn is_alive(&self, name: &str) -> bool {
        self.exists(name) && !self.going.read().unwrap_or_else(PoisonError::into_inner).contains(name)
    }

    /// The namespaces that a selection comes to.
    #[must_use]
    pub fn choose(&self, selection: &NamespaceSelection) -> Chosen {
        let excluded = |name: &&String| selection.exclude.contains(name);
        let mut chosen = Chosen::default();
        for name in selection.names.iter().filter(|name| !excluded(name)) {
            let place = if self.is_alive(name) { &mut chosen.there } else { &mut chosen.missing };
            place.insert(name.clone());
        }
        if let Some(selector) = &selection.selector {
            let all = self.labels.read().unwrap_or_else(PoisonError::into_inner);
            let going = self.going.read().unwrap_or_else(PoisonError::into_inner);
            let selected = all.iter().filter(|(name, labels)| !going.contains(*name) && selects(selector, labels));
            chosen.there.extend(selected.map(|(name, _)| name).filter(|name| !excluded(name)).cloned());
        }
        chosen
    }

    /// A namespace is gone. Returns whether that is news.
    pub fn gone(&self, name: &str) -> bool {
        self.going(name, false);
        self.labels.write().unwrap_or_else(PoisonError::into_inner).remove(name).is_some()
    }

    /// Keeps only those namespaces, after a complete list.
    pub fn retain(&self, keep: impl Fn(&str) -> bool) {
        self.labels.write().unwrap_or_else(PoisonError::into_inner).retain(|name, _| keep(name));
        self.going.write().unwrap_or_else(PoisonError::into_inner).retain(|name| keep(name));
    }

    /// Whether a connection allows a namespace.
    #[must_use]
    pub fn allows(&self, allowed: &AllowedNamespaces, namespace: &str) -> bool {
        allowed.names.iter().any(|n| n == namespace)
            || allowed.selector.as_ref().is_some_and(|selector| {
                let all = self.labels.read().unwrap_or_else(PoisonError::into_inner);
                all.get(namespace).is_some_and(|labels| selects(selector, labels))
            })
    }

    /// Whether there is such a namespace.
    #[must_use]
    pub fn exists(&self, namespace: &str) -> bool {
        self.labels.read().unwrap_or_else(PoisonError::into_inner).contains_key(namespace)
    }
}

/// Whether a selector selects these labels. An empty selector selects nothing here: "neither: no namespace".
fn selects(selector: &LabelSelector, labels: &BTreeMap<String, String>) -> bool {
    let empty = selector.match_labels.as_ref().is_none_or(BTreeMap::is_empty)
        && selector.match_expressions.as_ref().is_none_or(Vec::is_empty);
    !empty && Selector::try_from(selector.clone()).is_ok_and(|s| s.matches(labels))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn neither_names_nor_selector_allows_nobody() {
        let all = Namespaces::default();
        all.observe("shop", BTreeMap::from([("team".to_owned(), "a".to_owned())]));
        all.observe("other", BTreeMap::new());
        let allowed = |json: serde_json::Value| serde_json::from_value::<AllowedNamespaces>(json).unwrap();
        assert!(!all.allows(&allowed(serde_json::json!({})), "shop"));
        assert!(!all.allows(&allowed(serde_json::json!({"selector": {}})), "shop"));
        assert!(all.allows(&allowed(serde_json::json!({"names": ["shop"]})), "shop"));
        let by_label = allowed(serde_json::json!({"selector": {"matchLabels": {"team": "a"}}}));
        assert!(all.allows(&by_label, "shop") && !all.allows(&by_label, "other"));
        assert!(all.exists("shop") && !all.exists("elsewhere"));
    }

    #[test]
    fn a_selection_is_names_and_labels_without_what_is_left_out() {
        let all = Namespaces::default();
        for (name, team) in [("shop", "a"), ("blog", "a"), ("other", "b"), ("leaving", "a")] {
            all.observe(name, BTreeMap::from([("team".to_owned(), team.to_owned())]));
        }
        assert!(all.going("leaving", true) && !all.going("leaving", true));
        let choose = |json: serde_json::Value| {
            let chosen = all.choose(&serde_json::from_value(json).unwrap());
            let list = |names: BTreeSet<String>| names.into_iter().collect::<Vec<_>>().join(",");
            (list(chosen.there), list(chosen.missing))
        };
        let pair = |there: &str, missing: &str| (there.to_owned(), missing.to_owned());
        assert_eq!(choose(serde_json::json!({})), pair("", ""));
        assert_eq!(choose(serde_json::json!({"selector": {}})), pair("", ""));
        let team = serde_json::json!({"matchLabels": {"team": "a"}});
        assert_eq!(choose(serde_json::json!({"selector": team})), pair("blog,shop", ""));
        assert_eq!(choose(serde_json::json!({"selector": team, "exclude": ["blog"]})), pair("shop", ""));
        let named = serde_json::json!({"names": ["other", "leaving", "nowhere"], "exclude": ["shop"]});
        assert_eq!(choose(named), pair("other", "leaving,nowhere"));
        assert!(all.gone("leaving") && all.observe("leaving", BTreeMap::new()) && all.is_alive("leaving"));
    }
}
