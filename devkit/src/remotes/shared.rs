//! What the three remotes share: their state, their clock, and the trait that a provider fills in.

use std::sync::{Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::sync::watch;

use super::accounts::{Accounts, Caller, TokenKind};
use super::faults::{Faults, Hint, Partial, Subject};
use super::http::{Answer, Call};
use super::log::{AuthKind, Log, Op, Request};
use super::server::Listen;
use super::store::{Stamp, Store};

/// Everything that changes.
#[derive(Default)]
pub(crate) struct State {
    pub(crate) store: Store,
    pub(crate) accounts: Accounts,
    pub(crate) log: Log,
    pub(crate) latency: Duration,
    clock: SignedDuration,
}

impl State {
    /// The remote's clock.
    pub(crate) fn now(&self) -> Timestamp {
        Timestamp::now().checked_add(self.clock).unwrap_or(Timestamp::MAX)
    }

    pub(crate) fn shift_clock(&mut self, by: SignedDuration) {
        self.clock = self.clock.saturating_add(by);
    }

    /// A write of this caller, now.
    pub(crate) fn stamp(&self, by: &str) -> Stamp {
        Stamp { at: self.now(), by: by.to_owned() }
    }

    pub(crate) fn expire(&mut self, kind: TokenKind) {
        let now = self.now();
        self.accounts.expire(kind, now);
    }
}

/// What a call is about, found before anything is checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct About {
    pub(crate) op: Op,
    /// Name as the remote stores it.
    pub(crate) name: Option<String>,
    pub(crate) page: Option<u32>,
}

impl About {
    pub(crate) fn new(op: Op, name: Option<String>) -> Self {
        Self { op, name, page: (op == Op::List).then_some(1) }
    }
}

/// Which remote it is, as seen from outside.
pub trait Variant: Send + Sync + 'static {
    /// Its switches.
    type Options: Clone + Send + Sync + 'static;
}

/// The part that differs between the remotes: pure functions of the state and a call.
pub(crate) trait Provider: Variant {
    /// Name, for messages.
    const NAME: &'static str;

    /// Address to listen at.
    fn listen(options: &Self::Options) -> Listen;
    /// Credentials that are there from the start.
    fn seed(options: &Self::Options, state: &mut State);
    /// What a call is about.
    fn about(state: &State, call: &Call) -> About;
    /// Who calls; none if that cannot be told or is not good enough.
    fn caller(options: &Self::Options, state: &State, call: &Call) -> Option<Caller>;
    /// Does what is asked.
    fn handle(options: &Self::Options, state: &mut State, call: &Call) -> Answer;
    /// An error in the provider's form. `echo` are texts that a careless server would repeat.
    fn error(options: &Self::Options, status: u16, hint: Option<&Hint>, echo: &[String]) -> Answer;
    /// Makes a good list a wrong one.
    fn spoil(call: &Call, list: Answer, how: Partial) -> Answer;
    /// How the remote spells a name.
    fn stored(name: &str) -> String;
    /// The secret that a call submits.
    fn submitted(call: &Call) -> Option<String>;
}

/// A remote's state with all that watches it.
pub(crate) struct Core<P: Provider> {
    pub(crate) options: RwLock<P::Options>,
    state: Mutex<State>,
    pub(crate) changes: watch::Sender<u64>,
}

impl<P: Provider> Core<P> {
    pub(crate) fn new(options: P::Options) -> Self {
        let mut state = State::default();
        P::seed(&options, &mut state);
        Self { options: RwLock::new(options), state: Mutex::new(state), changes: watch::Sender::new(0) }
    }

    pub(crate) fn options(&self) -> P::Options {
        self.options.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks at the state.
    pub(crate) fn read<T>(&self, look: impl FnOnce(&State) -> T) -> T {
        look(&self.lock())
    }

    /// Changes the state and tells those who wait.
    pub(crate) fn write<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let result = change(&mut self.lock());
        self.changes.send_modify(|count| *count += 1);
        result
    }

    /// Records the arrival of a call.
    pub(crate) fn arrive(&self, call: &Call, faults: &Faults) -> Arrival {
        let options = self.options();
        self.write(|state| {
            let about = P::about(state, call);
            let caller = P::caller(&options, state, call);
            let subject = Subject {
                op: about.op,
                name: about.name.as_deref(),
                page: about.page,
                credential: caller.as_ref().map(|caller| caller.credential.as_str()),
            };
            let released = faults.released();
            let fault = faults.pick(subject, P::stored);
            let is_list = about.op == Op::List;
            let seq = state.log.begin(Request {
                seq: 0,
                at: Timestamp::now(),
                op: about.op,
                name: about.name,
                line: format!("{} {}", call.method, call.path),
                query: call.raw_query.clone().filter(|_| is_list),
                page: about.page,
                status: None,
                outcome: None,
                credential: caller.as_ref().map(|caller| caller.credential.clone()),
                tenant: caller.map(|caller| caller.tenant),
                processed: false,
                auth: if about.op == Op::Token { AuthKind::Form } else { call.auth_kind() },
                fault: fault.as_ref().map(super::faults::Action::label),
                done: false,
            });
            Arrival { seq, op: about.op, fault, released, latency: state.latency }
        })
    }

    /// Does what a call asks for and records whether it was done.
    pub(crate) fn process(&self, seq: u64, call: &Call) -> Answer {
        let options = self.options();
        self.write(|state| {
            let answer = P::handle(&options, state, call);
            if let Some(request) = state.log.find(seq) {
                request.processed = answer.processed;
                request.outcome = Some(answer.status);
            }
            answer
        })
    }
}

/// A call that was recorded, with the fault that is meant for it.
pub(crate) struct Arrival {
    pub(crate) seq: u64,
    pub(crate) op: Op,
    pub(crate) fault: Option<super::faults::Action>,
    pub(crate) released: watch::Receiver<u64>,
    pub(crate) latency: Duration,
}
