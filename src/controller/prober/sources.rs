//! Entries that are read: who wants their values, and what their metadata showed last. Each is looked at once an interval, for
//! all of its users together; its value is read by those who need it, when another version is seen. No value is kept here.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::Notify;

use crate::controller::backoff::jittered;
use crate::remote::lane::ObjectKey;
use crate::remote::{CallError, ErrorClass, Sighted};
use crate::sync::plan::after;

/// First wait after a look that failed; doubles.
const MIN_RETRY: Duration = Duration::from_secs(1);
/// Longest wait after a look that failed. What a policy refuses is looked at this often, too: a person may mend it.
const MAX_RETRY: Duration = Duration::from_secs(60);

/// What an entry's metadata showed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sight {
    /// It was not answered yet, and perhaps this is why.
    Unseen(Option<Arc<str>>),
    /// There is a value of this version.
    Live(Arc<str>),
    /// There is none, and this is why.
    Gone(Arc<str>),
    /// The remote does not let us look, and this is what it says.
    Refused(Arc<str>),
}

/// What is known of an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// What was seen last.
    pub sight: Sight,
    /// Why it cannot be looked at, when that has lasted for so long that what was seen may not hold any more.
    pub trouble: Option<Arc<str>>,
}

struct Source {
    users: BTreeSet<ObjectKey>,
    seen: Seen,
    /// When it was last seen, or first wanted.
    since: Timestamp,
    due: Option<Timestamp>,
    failures: u32,
}

#[derive(Default)]
struct State {
    sources: HashMap<Arc<str>, Source>,
    by_user: HashMap<ObjectKey, BTreeSet<Arc<str>>>,
    schedule: BTreeSet<(Timestamp, Arc<str>)>,
    /// Those that the lane did not let through.
    held: BTreeSet<Arc<str>>,
}

/// The entries of a remote that are read.
#[derive(Default)]
pub struct Sources {
    state: Mutex<State>,
    pub(super) notify: Notify,
}

impl Sources {
    /// Says which entries somebody reads from now on. What nobody reads is forgotten.
    pub fn set(&self, user: &ObjectKey, names: &BTreeSet<String>, now: Timestamp) {
        let mut state = self.lock();
        let old = state.by_user.get(user);
        if old
            .map_or(names.is_empty(), |old| old.len() == names.len() && old.iter().all(|name| names.contains(&**name)))
        {
            return;
        }
        let old = state.by_user.remove(user).unwrap_or_default();
        for gone in old.iter().filter(|name| !names.contains(&***name)) {
            state.leave(user, gone);
        }
        let mut all = BTreeSet::new();
        for name in names {
            let name: Arc<str> = name.as_str().into();
            all.insert(Arc::clone(&name));
            if let Some(known) = state.sources.get_mut(&name) {
                known.users.insert(user.clone());
                continue;
            }
            let seen = Seen { sight: Sight::Unseen(None), trouble: None };
            let users = BTreeSet::from([user.clone()]);
            state.sources.insert(Arc::clone(&name), Source { users, seen, since: now, due: None, failures: 0 });
            state.schedule(&name, Some(Timestamp::MIN));
        }
        if !all.is_empty() {
            state.by_user.insert(user.clone(), all);
        }
        drop(state);
        self.notify.notify_one();
    }

    /// What is known of an entry that somebody reads.
    #[must_use]
    pub fn seen(&self, name: &str) -> Option<Seen> {
        self.lock().sources.get(name).map(|source| source.seen.clone())
    }

    /// A read of the value showed more than the last look. Returns who else is to be woken.
    #[must_use]
    pub fn note(&self, name: &str, sight: Sight, by: &ObjectKey, now: Timestamp) -> Vec<ObjectKey> {
        let mut state = self.lock();
        let Some(source) = state.sources.get_mut(name).filter(|source| source.seen.sight != sight) else {
            return Vec::new();
        };
        source.seen = Seen { sight, trouble: None };
        source.since = now;
        source.users.iter().filter(|user| *user != by).cloned().collect()
    }

    /// Whether anything is read.
    pub(super) fn is_empty(&self) -> bool {
        self.lock().sources.is_empty()
    }

    /// Everybody who reads something.
    #[must_use]
    pub fn users(&self) -> Vec<ObjectKey> {
        self.lock().by_user.keys().cloned().collect()
    }

    /// Another client: what the old one saw may be another account.
    pub(super) fn reset(&self) {
        let mut state = self.lock();
        let names: Vec<Arc<str>> = state.sources.keys().cloned().collect();
        for name in names {
            if let Some(source) = state.sources.get_mut(&name) {
                source.seen = Seen { sight: Sight::Unseen(None), trouble: None };
                source.failures = 0;
            }
            state.schedule(&name, Some(Timestamp::MIN));
        }
        state.held.clear();
        drop(state);
        self.notify.notify_one();
    }

    /// When the next entry is due.
    pub(super) fn next_due(&self) -> Option<Timestamp> {
        self.lock().schedule.first().map(|(due, _)| *due)
    }

    /// An entry that is due; it is due again an interval later.
    pub(super) fn take_due(&self, now: Timestamp, interval: Option<Duration>) -> Option<Arc<str>> {
        let mut state = self.lock();
        let name = state.schedule.first().filter(|(due, _)| *due <= now).map(|(_, name)| Arc::clone(name))?;
        state.schedule(&name, interval.map(|interval| after(now, interval)));
        Some(name)
    }

    /// The lane did not let a look through: it is due again when that changes, and after a while in any case.
    /// Returns who is to be woken.
    pub(super) fn hold(&self, name: &Arc<str>, why: &str, now: Timestamp, max_age: Duration) -> Vec<ObjectKey> {
        let mut state = self.lock();
        let Some(source) = state.sources.get_mut(name) else { return Vec::new() };
        let news = source.fails(why, after(source.since, max_age) <= now);
        let wake = if news { source.users.iter().cloned().collect() } else { Vec::new() };
        state.held.insert(Arc::clone(name));
        state.schedule(name, Some(after(now, jittered(MAX_RETRY))));
        wake
    }

    /// The lane changed: what it held is due.
    pub(super) fn resume(&self) {
        let mut state = self.lock();
        for name in std::mem::take(&mut state.held) {
            state.schedule(&name, Some(Timestamp::MIN));
        }
    }

    /// Takes over what a look showed. Returns who is to be woken: nobody, when it is what was known.
    pub(super) fn saw(
        &self,
        name: &Arc<str>,
        result: &Result<Sighted, CallError>,
        now: Timestamp,
        interval: Option<Duration>,
        max_age: Duration,
    ) -> Vec<ObjectKey> {
        let mut state = self.lock();
        // Nobody reads it any more.
        let Some(source) = state.sources.get_mut(name) else { return Vec::new() };
        let before = source.seen.clone();
        let answered = |sight| Seen { sight, trouble: None };
        let retry = match result {
            Ok(Sighted::Live(version)) => {
                source.seen = answered(Sight::Live(version.as_str().into()));
                None
            }
            Ok(Sighted::Gone(why)) => {
                source.seen = answered(Sight::Gone(why.as_str().into()));
                None
            }
            Err(error) if error.class == ErrorClass::Authentication || error.class.is_transient() => {
                let stale = after(source.since, max_age) <= now || error.class == ErrorClass::Authentication;
                source.fails(&error.message, stale);
                source.failures = source.failures.saturating_add(1);
                Some(MIN_RETRY.saturating_mul(1 << source.failures.min(6)).min(MAX_RETRY))
            }
            Err(error) if matches!(error.class, ErrorClass::RateLimited | ErrorClass::NoCredits) => Some(MIN_RETRY),
            Err(error) => {
                source.seen = answered(Sight::Refused(error.message.as_str().into()));
                Some(MAX_RETRY)
            }
        };
        if retry.is_none() || matches!(source.seen.sight, Sight::Refused(_)) {
            source.since = now;
            source.failures = 0;
        }
        let unseen = |seen: &Seen| matches!(seen.sight, Sight::Unseen(_));
        // One failure after another to see it for the first time is no news.
        let news = source.seen != before && !(unseen(&source.seen) && unseen(&before));
        let wake = if news { source.users.iter().cloned().collect() } else { Vec::new() };
        if let Some(wait) = retry {
            let wait = interval.map_or(wait, |interval| wait.min(interval));
            state.schedule(name, Some(after(now, jittered(wait))));
        }
        wake
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Source {
    /// It could not be looked at. Returns whether that is to be told: once, and not to those who wait for the first sight.
    fn fails(&mut self, why: &str, stale: bool) -> bool {
        match &self.seen.sight {
            Sight::Unseen(_) => self.seen.sight = Sight::Unseen(Some(why.into())),
            _ if stale && self.seen.trouble.is_none() => {
                self.seen.trouble = Some(why.into());
                return true;
            }
            _ => {}
        }
        false
    }
}

impl State {
    /// When an entry is looked at next; `None`: not by itself.
    fn schedule(&mut self, name: &Arc<str>, due: Option<Timestamp>) {
        let Some(source) = self.sources.get_mut(name) else { return };
        if let Some(old) = std::mem::replace(&mut source.due, due) {
            self.schedule.remove(&(old, Arc::clone(name)));
        }
        if let Some(due) = due {
            self.schedule.insert((due, Arc::clone(name)));
        }
    }

    fn leave(&mut self, user: &ObjectKey, name: &Arc<str>) {
        let Some(source) = self.sources.get_mut(name) else { return };
        source.users.remove(user);
        if source.users.is_empty() {
            self.schedule(name, None);
            self.sources.remove(name);
            self.held.remove(name);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use crate::remote::Operation;

    const INTERVAL: Option<Duration> = Some(Duration::from_secs(60));
    const AGE: Duration = Duration::from_secs(210);

    fn user(name: &str) -> ObjectKey {
        ObjectKey::new("ns", name)
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn live(version: &str) -> Result<Sighted, CallError> {
        Ok(Sighted::Live(version.to_owned()))
    }

    fn failed(class: ErrorClass) -> Result<Sighted, CallError> {
        let message = "it failed".to_owned();
        Err(CallError { operation: Operation::Look, class, status: None, retry_after: None, message })
    }

    /// The entry `db`, read by `a` and `b`.
    fn two() -> (Sources, Arc<str>) {
        let sources = Sources::default();
        for name in ["a", "b"] {
            sources.set(&user(name), &BTreeSet::from(["db".to_owned()]), at(0));
        }
        (sources, "db".into())
    }

    #[test]
    fn an_entry_is_looked_at_once_for_all_and_only_news_wakes() {
        let (sources, db) = two();
        assert_eq!(sources.take_due(at(0), INTERVAL).as_deref(), Some("db"));
        assert_eq!(sources.take_due(at(59), INTERVAL), None, "one look, whoever reads it");
        let saw = |version: &str, now| sources.saw(&db, &live(version), at(now), INTERVAL, AGE);
        assert_eq!(saw("1@x", 0), [user("a"), user("b")]);
        assert!(sources.take_due(at(60), INTERVAL).is_some());
        assert!(saw("1@x", 60).is_empty(), "as it was");
        assert_eq!(saw("2@x", 120).len(), 2);
        assert!(sources.note("db", Sight::Live("2@x".into()), &user("a"), at(121)).is_empty());
        assert_eq!(sources.note("db", Sight::Live("3@x".into()), &user("a"), at(122)), [user("b")]);
        assert!(saw("3@x", 180).is_empty(), "a read has shown it");
    }

    #[test]
    fn what_nobody_reads_is_not_looked_at() {
        let (sources, db) = two();
        sources.set(&user("a"), &BTreeSet::new(), at(0));
        assert!(sources.next_due().is_some());
        sources.set(&user("b"), &BTreeSet::from(["other".to_owned()]), at(0));
        assert_eq!(sources.seen("db"), None);
        assert_eq!(sources.take_due(at(0), INTERVAL).as_deref(), Some("other"));
        assert_eq!(sources.take_due(at(0), INTERVAL), None);
        assert!(sources.saw(&db, &live("1@x"), at(0), INTERVAL, AGE).is_empty());
        sources.set(&user("b"), &BTreeSet::new(), at(0));
        assert_eq!((sources.next_due(), sources.users()), (None, Vec::new()));
    }

    #[test]
    fn what_was_seen_holds_until_it_is_old() {
        let (sources, db) = two();
        let saw = |result: &Result<Sighted, CallError>, now| sources.saw(&db, result, at(now), INTERVAL, AGE);
        assert!(saw(&failed(ErrorClass::Timeout), 0).is_empty(), "still the first sight is waited for");
        assert_eq!(sources.seen("db").unwrap().sight, Sight::Unseen(Some("it failed".into())));
        assert!(sources.next_due().unwrap() < at(10), "tried again soon");
        assert_eq!(saw(&live("1@x"), 1).len(), 2);
        assert!(saw(&failed(ErrorClass::Unavailable), 60).is_empty());
        assert_eq!(saw(&failed(ErrorClass::Unavailable), 300).len(), 2, "told once");
        assert!(saw(&failed(ErrorClass::Unavailable), 360).is_empty());
        let seen = sources.seen("db").unwrap();
        assert_eq!((seen.sight, seen.trouble.as_deref()), (Sight::Live("1@x".into()), Some("it failed")));
        assert_eq!(saw(&live("1@x"), 400).len(), 2, "its end is told");
        assert!(sources.hold(&db, "the remote rests", at(401), AGE).is_empty());
        assert_eq!(sources.hold(&db, "the remote rests", at(900), AGE).len(), 2);
        sources.resume();
        assert_eq!(sources.take_due(at(900), INTERVAL).as_deref(), Some("db"), "at once when the lane is open again");
    }

    #[test]
    fn a_refusal_is_an_answer_and_another_client_begins_anew() {
        let (sources, db) = two();
        let saw = |result: &Result<Sighted, CallError>, now| sources.saw(&db, result, at(now), INTERVAL, AGE);
        assert_eq!(saw(&failed(ErrorClass::Forbidden), 0).len(), 2);
        assert_eq!(sources.seen("db").unwrap().sight, Sight::Refused("it failed".into()));
        assert_eq!(saw(&Ok(Sighted::Gone("deleted".into())), 60).len(), 2);
        assert!(sources.take_due(at(100), INTERVAL).is_some());
        assert_eq!(sources.take_due(at(100), INTERVAL), None);
        sources.reset();
        assert_eq!(sources.seen("db").unwrap().sight, Sight::Unseen(None));
        assert_eq!(sources.take_due(at(100), INTERVAL).as_deref(), Some("db"));
    }
}
