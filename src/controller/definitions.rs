//! Which of our CustomResourceDefinitions are not installed: told once and shown in `/readyz`, until they are.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use kube::Resource;
use kube::runtime::watcher;

use crate::server::Gate;

/// What installs them.
const INSTALL: &str = "vaultsecret crd | kubectl apply -f -";

/// The definitions that a watch has found missing.
#[derive(Debug)]
pub struct Definitions {
    /// `None`: what is missing is not served until it is there, and nothing else waits for it.
    gate: Option<Gate>,
    missing: Mutex<BTreeSet<String>>,
}

impl Definitions {
    /// None is known to be missing; the gate stays as it is until there is something to say.
    #[must_use]
    pub fn new(gate: Gate) -> Self {
        Self { gate: Some(gate), missing: Mutex::default() }
    }

    /// The same for kinds that a newer version of the operator brought: a cluster that has only the definitions and the rights of an
    /// older one goes on as before.
    #[must_use]
    pub fn optional() -> Self {
        Self { gate: None, missing: Mutex::default() }
    }

    /// A watch of a kind may not list it, though it is optional: told once. Returns whether that is so.
    pub fn is_refused<K: Resource<DynamicType = ()>>(&self, error: &watcher::Error) -> bool {
        let watcher::Error::InitialListFailed(kube::Error::Api(status)) = error else { return false };
        let refused = self.gate.is_none() && status.code == 403;
        if refused && self.missing().insert(name_of::<K>()) {
            tracing::warn!("{} may not be listed, and are not served: update the operator's role", name_of::<K>());
        }
        refused
    }

    /// A watch of a kind failed because its definition is not installed.
    pub fn is_missing<K: Resource<DynamicType = ()>>(&self) {
        let name = name_of::<K>();
        let mut missing = self.missing();
        // Every further attempt of every watch of the kind finds the same.
        if missing.insert(name.clone()) {
            match &self.gate {
                Some(gate) => {
                    tracing::warn!("CRD {name} is not installed: {INSTALL}");
                    gate.fail(told(&missing));
                }
                None => tracing::warn!("CRD {name} is not installed, and nothing of it is served: {INSTALL}"),
            }
        }
    }

    /// A watch of a kind has listed it.
    pub fn is_there<K: Resource<DynamicType = ()>>(&self) {
        let name = name_of::<K>();
        let mut missing = self.missing();
        if missing.remove(&name) {
            tracing::info!("{name} can be listed now");
            self.show(&missing);
        }
    }

    /// Every kind was listed.
    pub fn all_listed(&self) {
        self.show(&self.missing());
    }

    fn show(&self, missing: &BTreeSet<String>) {
        match &self.gate {
            Some(gate) if missing.is_empty() => gate.pass(),
            Some(gate) => gate.fail(told(missing)),
            None => {}
        }
    }

    fn missing(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.missing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where a watch came to know that the API server does not know the kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unknown {
    /// It was to be listed; the list is tried again.
    Listed,
    /// It was listed before, and was to be watched.
    Watched,
}

/// Whether a watch failed because the API server does not know the kind. A list of a namespace that does not exist is empty.
#[must_use]
pub fn of_unknown_kind(error: &watcher::Error) -> Option<Unknown> {
    let (kube::Error::Api(status), unknown) = (match error {
        watcher::Error::InitialListFailed(error) => (error, Unknown::Listed),
        watcher::Error::WatchStartFailed(error) => (error, Unknown::Watched),
        _ => return None,
    }) else {
        return None;
    };
    (status.code == 404).then_some(unknown)
}

fn name_of<K: Resource<DynamicType = ()>>() -> String {
    format!("{}.{}", K::plural(&()), K::group(&()))
}

fn told(missing: &BTreeSet<String>) -> String {
    let names: Vec<&str> = missing.iter().map(String::as_str).collect();
    match names.as_slice() {
        [one] => format!("CRD {one} is not installed: {INSTALL}"),
        several => format!("CRDs {} are not installed: {INSTALL}", several.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use crate::api::{VaultConnection, VaultSecret};
    use crate::server::Readiness;

    #[test]
    fn what_is_missing_is_named_until_it_is_there() {
        let readiness = Readiness::new();
        let text = || readiness.report(false).1;
        let definitions = Definitions::new(readiness.gate("definitions installed"));
        definitions.is_missing::<VaultConnection>();
        definitions.is_missing::<VaultConnection>();
        let one = "CRD vaultconnections.vaultsecret.dev is not installed: vaultsecret crd | kubectl apply -f -";
        assert!(text().contains(one), "{}", text());
        definitions.is_missing::<VaultSecret>();
        let two = "CRDs vaultconnections.vaultsecret.dev, vaultsecrets.vaultsecret.dev are not installed";
        assert!(text().contains(two), "{}", text());
        definitions.is_there::<VaultSecret>();
        assert!(text().contains(one) && !readiness.is_ready(), "{}", text());
        definitions.is_there::<VaultConnection>();
        assert!(readiness.is_ready());
    }

    #[test]
    fn only_an_answer_of_404_says_so() {
        let status = |code| kube::Error::Api(Box::new(kube::core::Status { code, ..kube::core::Status::default() }));
        assert_eq!(of_unknown_kind(&watcher::Error::InitialListFailed(status(404))), Some(Unknown::Listed));
        assert_eq!(of_unknown_kind(&watcher::Error::WatchStartFailed(status(404))), Some(Unknown::Watched));
        assert_eq!(of_unknown_kind(&watcher::Error::InitialListFailed(status(403))), None);
        assert_eq!(of_unknown_kind(&watcher::Error::NoResourceVersion), None);
    }
}
