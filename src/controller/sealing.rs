//! The identities that open sealed values: a Secret in the operator's namespace, made at first start and never written
//! again, and beside it a ConfigMap with their recipients for everybody to read.
//!
//! The ConfigMap also tells a first start from a loss: where it is and the Secret is not, there were identities, and new ones
//! would only hide that. Whoever has no backup deletes the ConfigMap to say so.

mod watch;

use std::sync::{Arc, PoisonError, RwLock};

use crate::api::names;
use crate::source::sealed::Ring;

pub use watch::watch;

/// What is known of the identities.
#[derive(Clone, Debug, Default, PartialEq)]
enum State {
    /// Nobody has looked yet.
    #[default]
    Unseen,
    /// They are these.
    Ready(Arc<Ring>),
    /// There are none to be had, and this is why and what to do.
    Unusable(Arc<str>),
}

/// Why there is no ring.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoRing {
    /// Nobody has looked yet: soon.
    #[error("the sealing identities were not read yet")]
    Unseen,
    /// A person has to do something.
    #[error("{0}")]
    Unusable(Arc<str>),
}

/// The identities as the watch shows them.
#[derive(Default)]
pub struct Sealing(RwLock<State>);

impl Sealing {
    /// The identities.
    ///
    /// # Errors
    /// Why there are none.
    pub fn ring(&self) -> Result<Arc<Ring>, NoRing> {
        match &*self.0.read().unwrap_or_else(PoisonError::into_inner) {
            State::Unseen => Err(NoRing::Unseen),
            State::Ready(ring) => Ok(Arc::clone(ring)),
            State::Unusable(why) => Err(NoRing::Unusable(Arc::clone(why))),
        }
    }

    /// The version of every sealed value, besides the generation of its object: the set of identities that opens it. `None`
    /// while there is none.
    #[must_use]
    pub fn version(&self) -> Option<Arc<str>> {
        self.ring().ok().map(|ring| version_of(&ring).into())
    }

    /// Takes over what there is now. Returns whether it is something else than before, and not merely the first look.
    fn set(&self, new: State) -> bool {
        let mut state = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let news = *state != State::Unseen && *state != new;
        *state = new;
        news
    }
}

/// The version of what a ring opened.
#[must_use]
pub fn version_of(ring: &Ring) -> String {
    format!("sealed:{}", ring.digest())
}

fn no_rights(namespace: &str) -> String {
    format!(
        "the operator may not read and make Secret {namespace}/{} and ConfigMap {namespace}/{}: apply the roles in deploy/ of \
         its version",
        names::SEALING_IDENTITIES,
        names::SEALING_RECIPIENTS
    )
}

fn lost(namespace: &str) -> String {
    format!(
        "the operator's sealing identities are gone: there is no Secret {namespace}/{} any more. Restore it from a backup. If \
         there is none, delete ConfigMap {namespace}/{}: new ones are made then, and every value has to be sealed again",
        names::SEALING_IDENTITIES,
        names::SEALING_RECIPIENTS
    )
}

fn unreadable(namespace: &str) -> String {
    format!(
        "Secret {namespace}/{} holds no identity (keys i1, i2, …, each with one line AGE-SECRET-KEY-1…): restore it from a \
         backup, or delete it and ConfigMap {namespace}/{} to have new ones made, for which every value has to be sealed again",
        names::SEALING_IDENTITIES,
        names::SEALING_RECIPIENTS
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use crate::source::sealed::generate;

    fn ring() -> Ring {
        Ring::read([("i2".to_owned(), generate())]).0.unwrap()
    }

    #[test]
    fn only_news_wakes() {
        let sealing = Sealing::default();
        assert_eq!((sealing.ring(), sealing.version()), (Err(NoRing::Unseen), None));
        let ready = State::Ready(Arc::new(ring()));
        assert!(!sealing.set(ready.clone()), "objects are looked at anyway at the start");
        assert!(!sealing.set(ready));
        assert!(sealing.version().unwrap().starts_with("sealed:"));
        assert!(sealing.set(State::Unusable("gone".into())));
        assert_eq!(sealing.version(), None);
        assert!(sealing.set(State::Ready(Arc::new(ring()))));
        assert!(sealing.set(State::Ready(Arc::new(ring()))), "other identities");
    }

    #[test]
    fn what_is_lost_is_said_with_what_to_do() {
        for text in [lost("ops"), unreadable("ops"), no_rights("ops")] {
            assert!(text.contains("ops/vaultsecret-sealing-identities"), "{text}");
            assert!(text.contains("ops/vaultsecret-sealing-recipients"), "{text}");
        }
    }
}
