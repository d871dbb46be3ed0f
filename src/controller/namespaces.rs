//! Namespaces and their labels, for `allowedNamespaces` and prefixes.

use std::collections::BTreeMap;
use std::sync::{PoisonError, RwLock};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::core::{Selector, SelectorExt as _};

use crate::api::connection::AllowedNamespaces;

/// Namespaces by name.
#[derive(Default)]
pub struct Namespaces {
    labels: RwLock<BTreeMap<String, BTreeMap<String, String>>>,
}

impl Namespaces {
    /// A namespace exists with these labels. Returns whether that is news.
    pub fn observe(&self, name: &str, labels: BTreeMap<String, String>) -> bool {
        let mut all = self.labels.write().unwrap_or_else(PoisonError::into_inner);
        all.insert(name.to_owned(), labels.clone()) != Some(labels)
    }

    /// A namespace is gone. Returns whether that is news.
    pub fn gone(&self, name: &str) -> bool {
        self.labels.write().unwrap_or_else(PoisonError::into_inner).remove(name).is_some()
    }

    /// Keeps only those namespaces, after a complete list.
    pub fn retain(&self, keep: impl Fn(&str) -> bool) {
        self.labels.write().unwrap_or_else(PoisonError::into_inner).retain(|name, _| keep(name));
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
}
