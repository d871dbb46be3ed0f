//! What failed, and when it is tried again. Pure but for the jitter.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::api::NamespaceReason;
use crate::controller::backoff::{Backoff, Pace, jittered};
use crate::controller::refs::Known;

/// Why something was not done.
pub(super) struct Failed {
    pub reason: NamespaceReason,
    pub message: String,
    pub pace: Pace,
}

/// A step that failed.
pub(super) struct Failure {
    backoff: Backoff,
    pub reason: NamespaceReason,
    pub message: String,
    /// Generation of the object then; one that was edited since is tried at once.
    generation: Option<i64>,
    /// What was known of the object in the way before the step was tried.
    in_the_way: Known,
}

/// Steps that failed, by what they were for.
pub(super) struct Failures<K>(BTreeMap<K, Failure>);

impl<K> Default for Failures<K> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<K: Ord> Failures<K> {
    /// Until when a step has to wait.
    pub fn waits(&self, key: &K, generation: Option<i64>, now: Timestamp) -> Option<Timestamp> {
        let failure = self.0.get(key).filter(|failure| failure.generation == generation)?;
        failure.backoff.waits_until(now, None)
    }

    /// The same of a step that something was in the way of, which is known to be so now: once that has changed or gone, there is
    /// nothing to wait for.
    pub fn barred(&self, key: &K, generation: Option<i64>, now: Timestamp, known: &Known) -> Option<Timestamp> {
        let moved = |f: &Failure| {
            f.reason == NamespaceReason::TargetConflict && *known != Known::Unseen && f.in_the_way != *known
        };
        if self.0.get(key).is_some_and(moved) { None } else { self.waits(key, generation, now) }
    }

    pub fn fail(&mut self, key: K, failed: Failed, generation: Option<i64>, now: Timestamp, in_the_way: Known) {
        let failure = self.0.entry(key).or_insert_with(|| Failure {
            backoff: Backoff::default(),
            reason: failed.reason,
            message: String::new(),
            generation,
            in_the_way: Known::Unseen,
        });
        if failure.generation != generation {
            failure.backoff.reset();
        }
        (failure.reason, failure.message, failure.generation) = (failed.reason, failed.message, generation);
        failure.in_the_way = in_the_way;
        let _ = failure.backoff.failed(failed.pace, now, jittered);
    }

    pub fn get(&self, key: &K) -> Option<&Failure> {
        self.0.get(key)
    }

    pub fn remove(&mut self, key: &K) {
        self.0.remove(key);
    }

    pub fn retain(&mut self, stays: impl Fn(&K) -> bool) {
        self.0.retain(|key, _| stays(key));
    }

    pub fn iter(&self) -> impl Iterator<Item = (&K, &Failure)> {
        self.0.iter()
    }

    /// When each of them is tried again, if that is still to come.
    pub fn next(&self, now: Timestamp) -> impl Iterator<Item = Timestamp> {
        self.0.values().filter_map(move |failure| failure.backoff.waits_until(now, None))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use crate::controller::backoff::TARGET;

    fn at(version: &str) -> Known {
        Known::At(version.into())
    }

    fn failed(reason: NamespaceReason, in_the_way: Known) -> (Failures<String>, Timestamp) {
        let now = Timestamp::from_second(1_000).unwrap();
        let mut failures = Failures::default();
        let failed = Failed { reason, message: "no".to_owned(), pace: TARGET };
        failures.fail("shop".to_owned(), failed, Some(1), now, in_the_way);
        (failures, now)
    }

    #[test]
    fn an_edit_is_tried_at_once() {
        let (failures, now) = failed(NamespaceReason::WriteFailed, Known::Unseen);
        let key = "shop".to_owned();
        assert!(failures.waits(&key, Some(1), now).is_some());
        assert_eq!(failures.waits(&key, Some(2), now), None);
    }

    #[test]
    fn what_was_in_the_way_and_has_moved_is_not_waited_for() {
        let key = "shop".to_owned();
        let (failures, now) = failed(NamespaceReason::TargetConflict, at("7"));
        assert!(failures.barred(&key, Some(1), now, &at("7")).is_some(), "it is still there");
        assert_eq!(failures.barred(&key, Some(1), now, &at("8")), None, "it was changed");
        assert_eq!(failures.barred(&key, Some(1), now, &Known::Gone), None, "it is gone");
        let (unseen, now) = failed(NamespaceReason::TargetConflict, Known::Unseen);
        assert!(unseen.barred(&key, Some(1), now, &Known::Unseen).is_some());
        assert_eq!(unseen.barred(&key, Some(1), now, &Known::Gone), None);
        let (other, now) = failed(NamespaceReason::WriteFailed, at("7"));
        assert!(other.barred(&key, Some(1), now, &Known::Gone).is_some(), "another reason");
    }
}
