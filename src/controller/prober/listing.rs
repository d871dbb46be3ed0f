//! Reading the list: when one is due, how it is read, and when the next try is.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::{AUTH_RETRY, Event, ProbeHealth, RemoteHandle, Snapshot};
use crate::api::ConnectionReason;
use crate::clock::Clock;
use crate::controller::backoff::jittered;
use crate::remote::lane::{BreakerState, Outcome, Waiting};
use crate::remote::{CallError, ErrorClass, Named, Operation};
use crate::sync::snapshot::Span;

/// How long demands for a list are collected before it is read, so that objects that come together share one.
const GATHER: Duration = Duration::from_millis(25);
/// First wait after a failed list; doubles up to [`MAX_RETRY`].
const MIN_RETRY: Duration = Duration::from_secs(1);
/// Longest wait after a failed list.
const MAX_RETRY: Duration = Duration::from_secs(60);
/// Limit of a whole list with all its pages, which wait for the budget.
const LIST_LIMIT: Duration = Duration::from_secs(300);

/// What a prober has to know of those who use its remote.
pub struct Users {
    /// The entries that somebody names.
    pub named: Named,
    /// Whether any row names an entry there.
    pub holds: Box<dyn Fn() -> bool + Send + Sync>,
    /// Whether entries are read there and none is pushed: nothing is listed then.
    pub reads_only: Box<dyn Fn() -> bool + Send + Sync>,
}

impl RemoteHandle {
    /// When the next list is due.
    fn due(&self) -> Option<Timestamp> {
        let state = self.lock();
        let regular = match (state.last_began, state.interval) {
            (None, _) => Some(Timestamp::MIN),
            // Somebody wants to push where entries were only read so far.
            (Some(_), _) if state.reads_only && !state.barred.is_empty() => Some(Timestamp::MIN),
            (Some(last), interval) if state.reads_only => {
                interval.map(|interval| crate::sync::plan::after(last, interval))
            }
            // A client that took over while the old one was listing: its own first list is due.
            (Some(_), _) if state.health == ProbeHealth::Connecting => Some(Timestamp::MIN),
            (Some(last), Some(interval)) => Some(crate::sync::plan::after(last, interval)),
            (Some(_), None) if state.health != ProbeHealth::Good => Some(Timestamp::MIN),
            (Some(_), None) => None,
        };
        // Strictly later than what it is wanted after: the clock is coarse.
        let wanted = state.wants.values().min().map(|at| crate::sync::plan::after(*at, Duration::from_millis(1)));
        let due = match (regular, wanted) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (one, other) => one.or(other),
        }?;
        Some(due.max(state.retry_at.unwrap_or(Timestamp::MIN)))
    }

    /// Lists the remote whenever that is due, for ever; tells `on` what came of it.
    pub async fn run(self: Arc<Self>, users: Users, on: impl Fn(Event) + Send) {
        let mut lane_changed = self.lane.changed();
        loop {
            let due = self.due();
            tokio::select! {
                () = self.end.cancelled() => return,
                () = wait_until(self.clock, due) => {}
                () = self.notify.notified() => continue,
                () = wait_until(self.clock, self.stale_at()) => {
                    on(Event::Changed);
                    // Said once, also when no connection was there to hear it.
                    self.lock().told_stale = true;
                    continue;
                }
                changed = lane_changed.changed() => {
                    if changed.is_err() { return; }
                    let closed = self.lane.state().health.breaker == BreakerState::Closed;
                    if closed { self.lock().recovered_at = Some(self.clock.now()); }
                    on(Event::Changed);
                    continue;
                }
            }
            if !self.lock().wants.is_empty() {
                tokio::time::sleep(GATHER).await;
            }
            let (wanted, first) = {
                let mut state = self.lock();
                state.reads_only = false;
                (!state.wants.is_empty() || !state.barred.is_empty(), state.last_began.is_none())
            };
            // Who is to read has not come to it yet, at first; later, a list is what tells whether the credential is any good.
            if !wanted && (first || !self.sources.is_empty()) && (users.reads_only)() {
                if self.lane.state().health.paused.is_some() {
                    self.lane.resume();
                }
                self.rests_from_lists(&on);
                continue;
            }
            self.probe(&users, &on).await;
        }
    }

    async fn probe(&self, users: &Users, on: &impl Fn(Event)) {
        if self.lane.state().health.paused.is_some() {
            self.lane.resume();
        }
        let slot = match self.lane.pace().await {
            Ok(slot) => Arc::new(slot),
            Err(why) => {
                let until = match why {
                    Waiting::Limited { until } | Waiting::BreakerOpen { until } => until,
                    _ => crate::sync::plan::after(self.clock.now(), MIN_RETRY),
                };
                self.lock().retry_at = Some(crate::sync::plan::after(until, Duration::from_millis(1)));
                return;
            }
        };
        let (config, client) = self.client_as_built();
        let began = self.clock.now();
        self.lock().last_began = Some(began);
        let listed = tokio::time::timeout(LIST_LIMIT, client.list_naming(slot.pages(), Arc::clone(&users.named))).await;
        let result = listed.unwrap_or_else(|_| {
            Err(CallError {
                operation: Operation::List,
                class: ErrorClass::Timeout,
                status: None,
                retry_after: None,
                message: "the list was not complete in time".to_owned(),
            })
        });
        // Nobody can tell an empty account from an answer without its list: with something at stake it is the second.
        let result =
            result.and_then(|listing| if listing.doubtful && (users.holds)() { Err(null_list()) } else { Ok(listing) });
        slot.report(Outcome::of(&result));
        drop(slot);
        if self.config() != config {
            return; // Another client has taken over meanwhile: what the old one saw may be another account.
        }
        let ended = self.clock.now();
        match result {
            Ok(listing) => {
                let skew = skew(listing.remote_time, began, ended);
                let entries = listing.entries.into_iter().map(|e| (e.name.clone(), e)).collect();
                // Judged before health says that all is well: what a freeze would forbid must not slip through between.
                on(Event::Listed(Arc::new(Snapshot {
                    span: Span { began, ended },
                    entries,
                    unread: listing.unread,
                    skew,
                })));
                self.went_well(ended, on);
            }
            Err(error) => {
                on(Event::Failed);
                self.went_wrong(&error, on);
            }
        }
    }

    fn went_well(&self, now: Timestamp, on: &impl Fn(Event)) {
        let mut state = self.lock();
        state.retry_at = None;
        let changed = state.went_well(now);
        drop(state);
        if changed {
            on(Event::Changed);
        }
    }

    pub(super) fn went_wrong(&self, error: &CallError, on: &impl Fn(Event)) {
        let reason = match error.class {
            ErrorClass::Authentication => ConnectionReason::AuthenticationFailed,
            ErrorClass::Forbidden => ConnectionReason::PermissionDenied,
            ErrorClass::RateLimited | ErrorClass::NoCredits => ConnectionReason::RateLimited,
            _ => ConnectionReason::Unreachable,
        };
        let mut state = self.lock();
        state.failures = state.failures.saturating_add(1);
        let wait = if matches!(reason, ConnectionReason::AuthenticationFailed | ConnectionReason::PermissionDenied) {
            AUTH_RETRY
        } else {
            MIN_RETRY.saturating_mul(1 << state.failures.min(6).saturating_sub(1)).min(MAX_RETRY)
        };
        state.retry_at = Some(crate::sync::plan::after(self.clock.now(), jittered(wait)));
        let same = matches!(&state.health, ProbeHealth::Bad(before, _) if *before == reason);
        state.health = ProbeHealth::Bad(reason, error.message.clone());
        drop(state);
        if reason == ConnectionReason::AuthenticationFailed {
            self.lane.pause("the credential was refused");
        }
        // One more failure of the same kind is no news, and wakes nobody.
        if !same {
            on(Event::Changed);
        }
    }
}

fn null_list() -> CallError {
    CallError {
        operation: Operation::List,
        class: ErrorClass::Unreadable,
        status: None,
        retry_after: None,
        message: "list failed: the answer holds no list, or an endless empty one, and entries of ours should be in it"
            .to_owned(),
    }
}

pub(super) async fn wait_until(clock: Clock, due: Option<Timestamp>) {
    match due {
        Some(at) => tokio::time::sleep(clock.until(at)).await,
        None => std::future::pending().await,
    }
}

/// How far the remote's clock may be from ours: what its `Date` header (whole seconds) shows, and a little.
fn skew(remote: Option<Timestamp>, began: Timestamp, ended: Timestamp) -> Duration {
    const LITTLE: Duration = Duration::from_secs(2);
    const UNKNOWN: Duration = Duration::from_secs(30);
    let Some(remote) = remote else { return UNKNOWN };
    let behind = began.duration_since(remote);
    let ahead = remote.duration_since(ended);
    let off = behind.max(ahead);
    Duration::try_from(off).unwrap_or(Duration::ZERO) + LITTLE
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn skew_is_what_the_date_header_shows() {
        let at = |s: i64| Timestamp::from_second(s).unwrap();
        assert_eq!(skew(Some(at(100)), at(100), at(101)), Duration::from_secs(2));
        assert_eq!(skew(Some(at(40)), at(100), at(101)), Duration::from_secs(62));
        assert_eq!(skew(Some(at(161)), at(100), at(101)), Duration::from_secs(62));
        assert_eq!(skew(None, at(100), at(101)), Duration::from_secs(30));
    }
}
