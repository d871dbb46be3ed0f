//! Looks at the entries that are read whenever that is due, through the remote's lane, and tells what became of it.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;

use super::listing::wait_until;
use super::sources::Sight;
use super::{Event, ProbeHealth, RemoteHandle, max_age};
use crate::api::ConnectionReason;
use crate::remote::lane::{Outcome, Waiting};
use crate::remote::{CallError, ErrorClass, Operation};

/// How many looks wait for the remote at one time.
const AT_ONCE: usize = 8;
/// Limit of one look, which may wait for the budget.
const LOOK_LIMIT: Duration = Duration::from_secs(60);

impl RemoteHandle {
    /// Looks at the entries that are read, for ever; tells `on` whom to wake.
    pub async fn watch_sources(self: Arc<Self>, on: impl Fn(Event) + Send + Sync) {
        let mut lane_changed = self.lane.changed();
        let mut under_way = FuturesUnordered::new();
        loop {
            while under_way.len() < AT_ONCE {
                let Some(name) = self.sources.take_due(self.clock.now(), self.interval()) else { break };
                under_way.push(self.look(name, &on));
            }
            let room = under_way.len() < AT_ONCE;
            let due = self.sources.next_due();
            tokio::select! {
                () = self.end.cancelled() => return,
                Some(()) = under_way.next(), if !under_way.is_empty() => {}
                () = wait_until(self.clock, due), if room => {}
                () = self.sources.notify.notified() => {}
                changed = lane_changed.changed() => {
                    if changed.is_err() { return; }
                    self.sources.resume();
                }
            }
        }
    }

    async fn look(&self, name: Arc<str>, on: &(impl Fn(Event) + Send + Sync)) {
        let age = self.interval().map_or(Duration::MAX, max_age);
        let slot = match self.lane.pace().await {
            Ok(slot) => Arc::new(slot),
            Err(why) => {
                let wake = self.sources.hold(&name, waits_for(&why), self.clock.now(), age);
                if !wake.is_empty() {
                    on(Event::Sources(wake));
                }
                return;
            }
        };
        let (config, client) = self.client_as_built();
        let looked = tokio::time::timeout(LOOK_LIMIT, client.look(&name, slot.pages())).await;
        let result = looked.unwrap_or_else(|_| Err(too_long()));
        slot.report(Outcome::of(&result));
        drop(slot);
        if self.config() != config {
            return; // It is due again with the client that has taken over.
        }
        match &result {
            Err(error) if error.class == ErrorClass::Authentication => self.lane_report(error),
            Err(error) if error.class.is_transient() => self.fails_to_show(error, on),
            // A refusal of this one is an answer.
            _ => self.answers(on),
        }
        let wake = self.sources.saw(&name, &result, self.clock.now(), self.interval(), age);
        if !wake.is_empty() {
            on(Event::Sources(wake));
        }
    }

    /// Where nothing is listed, health is what the looks show.
    fn answers(&self, on: &impl Fn(Event)) {
        let now = self.clock.now();
        let mut state = self.lock();
        state.answered = true;
        if !state.reads_only {
            // It was listed before anybody read from it, and that is not allowed: perhaps nobody needs a list.
            let denied = matches!(state.health, ProbeHealth::Bad(ConnectionReason::PermissionDenied, _));
            if denied && !std::mem::replace(&mut state.reconsidered, true) {
                state.last_began = None;
                state.retry_at = None;
                drop(state);
                self.notify.notify_one();
            }
            return;
        }
        let changed = state.went_well(now);
        drop(state);
        if changed {
            on(Event::Changed);
        }
    }

    fn fails_to_show(&self, error: &CallError, on: &impl Fn(Event)) {
        if self.lock().reads_only {
            self.went_wrong(error, on);
        }
    }

    /// Nobody needs a list: nothing is pushed there, entries are only read.
    pub(super) fn rests_from_lists(&self, on: &impl Fn(Event)) {
        let now = self.clock.now();
        let mut state = self.lock();
        state.reads_only = true;
        state.last_began = Some(now);
        state.snapshot = None;
        state.retry_at = None;
        if state.answered && state.health != ProbeHealth::Good {
            state.health = ProbeHealth::Good;
            drop(state);
            on(Event::Changed);
        }
    }

    /// Notes whether the credential may read values. Returns whether that is news.
    pub fn learn_reading(&self, may: bool) -> bool {
        let mut state = self.lock();
        // Of several entries some may be barred: that is said where they are wanted.
        let may = may || state.reads_values == Some(true);
        state.reads_values.replace(may) != Some(may)
    }

    /// Whether the credential may read values; `None` when nobody has tried.
    #[must_use]
    pub fn reads_values(&self) -> Option<bool> {
        self.lock().reads_values
    }

    /// Why entries cannot be read, whatever a list would say. Where it turned, those who read have to look again.
    #[must_use]
    pub fn unreadable(&self) -> Option<String> {
        match &self.lock().health {
            ProbeHealth::Bad(ConnectionReason::AuthenticationFailed, text) => {
                Some(format!("{}: {text}", ConnectionReason::AuthenticationFailed.as_str()))
            }
            _ => None,
        }
    }

    /// Those who read entries, when it has turned whether they can be.
    #[must_use]
    pub fn readers_to_tell(&self) -> Vec<crate::remote::lane::ObjectKey> {
        let unreadable = self.unreadable().is_some();
        if std::mem::replace(&mut self.lock().told_unreadable, unreadable) == unreadable {
            return Vec::new();
        }
        self.sources.users()
    }

    /// The version of an entry's value, as the last look showed it.
    #[must_use]
    pub fn source_version(&self, name: &str) -> Option<Arc<str>> {
        match self.sources.seen(name)?.sight {
            Sight::Live(version) => Some(version),
            _ => None,
        }
    }
}

fn waits_for(why: &Waiting) -> &'static str {
    match why {
        Waiting::Budget | Waiting::InFlight => "it waits for the budget of requests",
        Waiting::Limited { .. } => "the remote asked us to wait",
        Waiting::BreakerOpen { .. } => "the remote failed too often in a row and rests",
        Waiting::Paused => "the credential was refused",
    }
}

fn too_long() -> CallError {
    CallError {
        operation: Operation::Look,
        class: ErrorClass::Timeout,
        status: None,
        retry_after: None,
        message: "looking at the metadata took too long".to_owned(),
    }
}
