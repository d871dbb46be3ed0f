//! Faults on request: rules that make a remote misbehave in a chosen way.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use super::log::Op;

/// What a client is told about trying again, beside the status.
#[derive(Debug, Clone, PartialEq)]
pub enum Hint {
    /// Mixpeek: `error.details.retry_after_seconds`.
    RetryAfterSeconds(u64),
    /// Mixpeek, older: `error.details.retry_after`.
    RetryAfter(u64),
    /// Mixpeek, older nesting: `detail.error.details.retry_after_seconds`.
    NestedRetryAfterSeconds(u64),
    /// Mixpeek: `error.details.retryable` is false.
    NotRetryable,
    /// Dreadnode: a 429 whose text says that the credits are used up.
    Credit,
    /// This body, as it is.
    Body(serde_json::Value),
}

/// How a list lies while it stays valid JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Partial {
    /// The count that it states is greater than what it holds. Kelvin's cursor pages state none: the page is empty and
    /// names a next page all the same, at which the list goes on from where it was.
    CountDisagrees,
    /// The list itself is not there.
    MissingItems,
    /// The list is `null`.
    NullItems,
}

/// What goes wrong.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Nothing is processed, the provider's error body is answered.
    Status {
        /// Status code.
        code: u16,
        /// Value of `Retry-After`, written as it is.
        retry_after: Option<String>,
        /// More about trying again.
        hint: Option<Hint>,
    },
    /// Held before anything is processed, until released or for so long; then it goes on. A client that gives up before
    /// that is never processed.
    Hang(Option<Duration>),
    /// The connection is closed, nothing is processed.
    CutBefore,
    /// Processed, then the connection is closed without an answer.
    CutAfter,
    /// No answer, and the request is processed so much later, whether or not the client still waits.
    LateProcessing {
        /// When it is processed.
        delay: Duration,
        /// When the connection is closed; never if none.
        cut_after: Option<Duration>,
    },
    /// Processed at once, answered so much later.
    SlowAnswer(Duration),
    /// Processed, the body of the answer breaks off in the middle.
    TruncatedList,
    /// A list that is valid JSON and wrong. Other operations are left alone.
    PartialList(Partial),
    /// Nothing is processed; an error of this status whose body repeats what was submitted: plain, base64, URL-encoded.
    EchoValue(u16),
    /// A proxy's HTML page of this status; the request is processed only if the status is a 2xx.
    NotJson(u16),
}

impl Action {
    /// A status without more.
    pub fn status(code: u16) -> Self {
        Self::Status { code, retry_after: None, hint: None }
    }

    /// A status with a `Retry-After`.
    pub fn retry_after(code: u16, value: &str) -> Self {
        Self::Status { code, retry_after: Some(value.to_owned()), hint: None }
    }

    pub(crate) fn label(&self) -> &'static str {
        match self {
            Self::Status { .. } => "status",
            Self::Hang(_) => "hang",
            Self::CutBefore => "cut before",
            Self::CutAfter => "cut after",
            Self::LateProcessing { .. } => "late processing",
            Self::SlowAnswer(_) => "slow answer",
            Self::TruncatedList => "truncated",
            Self::PartialList(_) => "partial list",
            Self::EchoValue(_) => "echo",
            Self::NotJson(_) => "not JSON",
        }
    }
}

/// Which calls a fault is for. Everything that is not said matches.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Matcher {
    /// Operation; none is any.
    pub op: Option<Op>,
    /// Entry, in the spelling of the client or of the remote.
    pub name: Option<String>,
    /// Page of a list, from 1.
    pub page: Option<u32>,
    /// Identifier of the credential.
    pub credential: Option<String>,
}

/// A rule.
#[derive(Debug, Clone, PartialEq)]
pub struct Fault {
    /// Which calls.
    pub matcher: Matcher,
    /// How often; none is for ever.
    pub times: Option<u32>,
    /// What happens to them.
    pub action: Action,
}

impl Fault {
    /// A rule for any call, for ever.
    pub fn new(action: Action) -> Self {
        Self { matcher: Matcher::default(), times: None, action }
    }

    /// Only for this operation.
    #[must_use]
    pub fn on(mut self, op: Op) -> Self {
        self.matcher.op = Some(op);
        self
    }

    /// Only for this entry.
    #[must_use]
    pub fn named(mut self, name: &str) -> Self {
        self.matcher.name = Some(name.to_owned());
        self
    }

    /// Only for this page of a list.
    #[must_use]
    pub fn page(mut self, page: u32) -> Self {
        self.matcher.page = Some(page);
        self
    }

    /// Only for this credential.
    #[must_use]
    pub fn by(mut self, credential: &str) -> Self {
        self.matcher.credential = Some(credential.to_owned());
        self
    }

    /// Only so many times.
    #[must_use]
    pub fn times(mut self, times: u32) -> Self {
        self.times = Some(times);
        self
    }
}

/// Names a rule that was added.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FaultId(u64);

struct Rule {
    id: FaultId,
    fault: Fault,
    hits: u32,
}

/// What a rule is compared with.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Subject<'a> {
    pub(crate) op: Op,
    pub(crate) name: Option<&'a str>,
    pub(crate) page: Option<u32>,
    pub(crate) credential: Option<&'a str>,
}

/// The rules of a remote, in the order in which they were added: the first that matches and is not used up applies.
pub struct Faults {
    rules: Mutex<(u64, Vec<Rule>)>,
    released: watch::Sender<u64>,
}

impl Default for Faults {
    fn default() -> Self {
        Self { rules: Mutex::default(), released: watch::Sender::new(0) }
    }
}

impl Faults {
    /// Adds a rule behind those that are there.
    pub fn add(&self, fault: Fault) -> FaultId {
        let mut rules = self.rules.lock().unwrap_or_else(PoisonError::into_inner);
        rules.0 += 1;
        let id = FaultId(rules.0);
        rules.1.push(Rule { id, fault, hits: 0 });
        id
    }

    /// Takes a rule away; requests that it holds stay held.
    pub fn remove(&self, id: FaultId) {
        self.rules.lock().unwrap_or_else(PoisonError::into_inner).1.retain(|rule| rule.id != id);
    }

    /// Takes all rules away and lets all held requests go.
    pub fn clear(&self) {
        self.rules.lock().unwrap_or_else(PoisonError::into_inner).1.clear();
        self.release();
    }

    /// Lets all requests go that are held now.
    pub fn release(&self) {
        self.released.send_modify(|generation| *generation += 1);
    }

    /// How often a rule was applied.
    pub fn hits(&self, id: FaultId) -> u32 {
        let rules = self.rules.lock().unwrap_or_else(PoisonError::into_inner);
        rules.1.iter().find(|rule| rule.id == id).map_or(0, |rule| rule.hits)
    }

    /// The fault for a call, counted. `stored` is how the remote spells a name.
    pub(crate) fn pick(&self, call: Subject<'_>, stored: impl Fn(&str) -> String) -> Option<Action> {
        let mut rules = self.rules.lock().unwrap_or_else(PoisonError::into_inner);
        let rule = rules.1.iter_mut().find(|rule| {
            let matcher = &rule.fault.matcher;
            rule.fault.times.is_none_or(|times| rule.hits < times)
                && matcher.op.is_none_or(|op| op == call.op)
                && matcher.name.as_deref().is_none_or(|name| call.name.is_some_and(|is| stored(name) == is))
                && matcher.page.is_none_or(|page| call.page == Some(page))
                && matcher.credential.as_deref().is_none_or(|wanted| call.credential == Some(wanted))
        })?;
        rule.hits += 1;
        Some(rule.fault.action.clone())
    }

    /// A receiver that changes when held requests are let go. Taken when a rule is picked, so that no release is missed.
    pub(crate) fn released(&self) -> watch::Receiver<u64> {
        self.released.subscribe()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    fn call(op: Op, name: Option<&str>) -> Subject<'_> {
        Subject { op, name, page: None, credential: Some("key") }
    }

    #[test]
    fn the_first_rule_that_is_not_used_up_applies() {
        let faults = Faults::default();
        let first = faults.add(Fault::new(Action::status(500)).on(Op::Create).times(1));
        faults.add(Fault::new(Action::CutBefore));
        let pick = |op| faults.pick(call(op, None), str::to_owned).unwrap().label();
        assert_eq!((pick(Op::List), pick(Op::Create), pick(Op::Create)), ("cut before", "status", "cut before"));
        assert_eq!(faults.hits(first), 1);
        faults.clear();
        assert!(faults.pick(call(Op::Create, None), str::to_owned).is_none());
    }

    #[test]
    fn a_name_matches_in_either_spelling() {
        let faults = Faults::default();
        faults.add(Fault::new(Action::CutAfter).named("my_key").by("key"));
        assert!(faults.pick(call(Op::Update, Some("MY_KEY")), str::to_uppercase).is_some());
        assert!(faults.pick(call(Op::Update, Some("OTHER")), str::to_uppercase).is_none());
        assert!(faults.pick(call(Op::List, None), str::to_uppercase).is_none());
    }

    #[test]
    fn a_page_is_matched_by_its_number() {
        let faults = Faults::default();
        faults.add(Fault::new(Action::status(500)).on(Op::List).page(2));
        let page = |page| Subject { page: Some(page), ..call(Op::List, None) };
        assert!(faults.pick(page(1), str::to_owned).is_none());
        assert!(faults.pick(page(2), str::to_owned).is_some());
    }
}
