//! The remote behind one budget identity: its client, its lane, and the list of its entries, read once for all.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::backoff::jittered;
use crate::api::ConnectionReason;
use crate::clock::Clock;
use crate::remote::lane::{BreakerState, Lane, ObjectKey, Outcome, Waiting};
use crate::remote::{CallError, ErrorClass, Listed, Named, Operation, Remote};
use crate::sync::snapshot::Span;

/// How long demands for a list are collected before it is read, so that objects that come together share one.
const GATHER: Duration = Duration::from_millis(25);
/// First wait after a failed list; doubles up to [`MAX_RETRY`].
const MIN_RETRY: Duration = Duration::from_secs(1);
/// Longest wait after a failed list.
const MAX_RETRY: Duration = Duration::from_secs(60);
/// Wait after the credential was refused: a person has to mend it, and a new credential is taken up at once.
const AUTH_RETRY: Duration = Duration::from_secs(60);
/// Limit of a whole list with all its pages, which wait for the budget.
const LIST_LIMIT: Duration = Duration::from_secs(300);
/// A limit that ends sooner is not told in the condition.
const WORTH_TELLING: Duration = Duration::from_secs(5);

/// A complete list of a remote's entries.
#[derive(Debug)]
pub struct Snapshot {
    /// When it was read.
    pub span: Span,
    /// Entries by name.
    pub entries: HashMap<String, Listed>,
    /// Names that are there and were not looked at: of these it says nothing.
    pub unread: HashSet<String>,
    /// How far the remote's clock may be from ours.
    pub skew: Duration,
}

/// For how long a list is believed that is to be read this often.
#[must_use]
pub fn max_age(interval: Duration) -> Duration {
    interval.saturating_mul(3) + Duration::from_secs(30)
}

/// How the last list went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProbeHealth {
    /// None has been answered yet.
    Connecting,
    /// It was complete.
    Good,
    /// It failed.
    Bad(ConnectionReason, String),
}

struct State {
    snapshot: Option<Arc<Snapshot>>,
    health: ProbeHealth,
    /// Who waits for a list that began no earlier than that.
    wants: HashMap<ObjectKey, Timestamp>,
    interval: Option<Duration>,
    last_began: Option<Timestamp>,
    /// When the last list that was complete had arrived; for the metric.
    last_good: Option<Timestamp>,
    /// When trouble ended last: what failed before may be tried again at once.
    recovered_at: Option<Timestamp>,
    retry_at: Option<Timestamp>,
    failures: u32,
    /// Our own names at the remote, from its answers to our writes.
    principals: HashSet<String>,
    /// Who could write nothing, and is to be woken when that is over.
    barred: HashSet<ObjectKey>,
    /// That there has been no list for long was told.
    told_stale: bool,
}

/// The remote behind one budget identity.
pub struct RemoteHandle {
    /// The remote, without any credential: provider, URL and account. The first half of an entry's identity.
    pub base: Arc<str>,
    /// Its lane.
    pub lane: Arc<Lane>,
    client: RwLock<(Arc<str>, Arc<dyn Remote>)>,
    state: Mutex<State>,
    notify: Notify,
    made: Timestamp,
    clock: Clock,
    /// Ends the prober when no connection goes to the remote any more.
    pub end: CancellationToken,
    /// Whether the prober runs.
    pub started: AtomicBool,
    /// Entries that were off when somebody approved, and have not been seen right since: they do not freeze again.
    pub excused: Mutex<HashSet<(Arc<str>, Arc<str>)>>,
}

/// What a list led to, for the owner of the prober.
#[derive(Debug)]
pub enum Event {
    /// A complete list. Not visible to anybody before [`RemoteHandle::publish`].
    Listed(Arc<Snapshot>),
    /// Health, breaker or limit changed.
    Changed,
}

impl RemoteHandle {
    /// A remote that has not been listed yet. `config` identifies how the client was built.
    #[must_use]
    pub fn new(base: Arc<str>, lane: Arc<Lane>, config: Arc<str>, client: Arc<dyn Remote>, clock: Clock) -> Self {
        Self {
            base,
            lane,
            client: RwLock::new((config, client)),
            state: Mutex::new(State {
                snapshot: None,
                health: ProbeHealth::Connecting,
                wants: HashMap::new(),
                interval: None,
                last_began: None,
                last_good: None,
                recovered_at: None,
                retry_at: None,
                failures: 0,
                principals: HashSet::new(),
                barred: HashSet::new(),
                told_stale: false,
            }),
            made: clock.now(),
            notify: Notify::new(),
            clock,
            end: CancellationToken::new(),
            started: AtomicBool::new(false),
            excused: Mutex::new(HashSet::new()),
        }
    }

    /// The client.
    #[must_use]
    pub fn client(&self) -> Arc<dyn Remote> {
        Arc::clone(&self.client.read().unwrap_or_else(PoisonError::into_inner).1)
    }

    /// How the client was built.
    #[must_use]
    pub fn config(&self) -> Arc<str> {
        Arc::clone(&self.client.read().unwrap_or_else(PoisonError::into_inner).0)
    }

    /// Takes another client, after a credential or TLS changed: it has to show a list before anything is written with it,
    /// because it may open another account.
    pub fn set_client(&self, config: Arc<str>, client: Arc<dyn Remote>) {
        *self.client.write().unwrap_or_else(PoisonError::into_inner) = (config, client);
        let mut state = self.lock();
        state.health = ProbeHealth::Connecting;
        state.snapshot = None;
        state.retry_at = None;
        state.failures = 0;
        state.last_began = None;
        drop(state);
        self.lane.resume();
        self.notify.notify_one();
    }

    /// How often the list is read; `None`: only on demand.
    pub fn set_interval(&self, interval: Option<Duration>) {
        let mut state = self.lock();
        if state.interval != interval {
            state.interval = interval;
            drop(state);
            self.notify.notify_one();
        }
    }

    /// The last complete list.
    #[must_use]
    pub fn snapshot(&self) -> Option<Arc<Snapshot>> {
        self.lock().snapshot.clone()
    }

    /// Asks for a list that began no earlier than that; the object is woken when it is there.
    pub fn want_snapshot(&self, key: &ObjectKey, not_before: Timestamp) {
        let mut state = self.lock();
        let entry = state.wants.entry(key.clone()).or_insert(not_before);
        *entry = (*entry).max(not_before);
        drop(state);
        self.notify.notify_one();
    }

    /// An object could write nothing; it is woken when that is over.
    pub fn bar(&self, key: &ObjectKey) {
        self.lock().barred.insert(key.clone());
    }

    /// Who is to be woken because something may be written again.
    #[must_use]
    pub fn admit(&self) -> HashSet<ObjectKey> {
        if self.not_ready().is_some() { HashSet::new() } else { std::mem::take(&mut self.lock().barred) }
    }

    /// When there will have been no list for so long that nothing can be relied on; `None` once that was told.
    fn stale_at(&self) -> Option<Timestamp> {
        let state = self.lock();
        let age = state.interval.map(max_age)?;
        let since = state.last_good.unwrap_or(self.made);
        (!state.told_stale)
            .then(|| crate::sync::plan::after(crate::sync::plan::after(since, age), Duration::from_millis(2)))
    }

    /// Whether there has been no list for longer than `age`, said once until there is one again.
    #[must_use]
    pub fn grows_stale(&self, age: Duration) -> bool {
        let now = self.clock.now();
        let mut state = self.lock();
        let since = state.last_good.unwrap_or(self.made);
        let news = !state.told_stale && crate::sync::plan::after(since, age) < now;
        state.told_stale |= news;
        news
    }

    /// When trouble ended last.
    #[must_use]
    pub fn recovered_at(&self) -> Option<Timestamp> {
        self.lock().recovered_at
    }

    /// When the last complete list had arrived.
    #[must_use]
    pub fn last_good(&self) -> Option<Timestamp> {
        self.lock().last_good
    }

    /// Notes under which name the remote knows us.
    pub fn learn_principal(&self, name: Option<String>) {
        if let Some(name) = name {
            self.lock().principals.insert(name);
        }
    }

    /// Whether the list says that we made an entry; `None` when it does not say or we do not know our own name.
    #[must_use]
    pub fn is_us(&self, name: Option<&str>) -> Option<bool> {
        let state = self.lock();
        let name = name?;
        (!state.principals.is_empty()).then(|| state.principals.contains(name))
    }

    /// Tells the lane of a login that failed before a write.
    pub fn lane_report(&self, error: &CallError) {
        if error.class == ErrorClass::Authentication {
            let mut state = self.lock();
            state.health = ProbeHealth::Bad(ConnectionReason::AuthenticationFailed, error.message.clone());
            state.retry_at = Some(crate::sync::plan::after(self.clock.now(), jittered(AUTH_RETRY)));
            drop(state);
            self.lane.pause("the credential was refused");
        }
    }

    /// Until when nothing is sent: the remote asked us to wait, or it failed too often in a row.
    #[must_use]
    pub fn shut_until(&self) -> Option<Timestamp> {
        let health = self.lane.state().health;
        let open = match health.breaker {
            BreakerState::Open { until } => Some(until),
            BreakerState::Closed | BreakerState::HalfOpen => None,
        };
        health.limited_until.max(open)
    }

    /// Why nothing may be sent now, for VaultSecrets: no list yet, or a credential that was refused. A remote in passing
    /// trouble is the lane's affair.
    #[must_use]
    pub fn not_ready(&self) -> Option<(ConnectionReason, String)> {
        let state = self.lock();
        match &state.health {
            ProbeHealth::Bad(reason, message)
                if state.snapshot.is_none()
                    || matches!(
                        reason,
                        ConnectionReason::AuthenticationFailed | ConnectionReason::PermissionDenied
                    ) =>
            {
                Some((*reason, message.clone()))
            }
            ProbeHealth::Connecting | ProbeHealth::Good if state.snapshot.is_none() => {
                Some((ConnectionReason::Connecting, "the remote has not been listed yet".to_owned()))
            }
            _ => None,
        }
    }

    /// What the connection's condition says of the remote.
    #[must_use]
    pub fn condition(&self) -> (ConnectionReason, String) {
        let health = self.lock().health.clone();
        if let ProbeHealth::Bad(
            reason @ (ConnectionReason::AuthenticationFailed | ConnectionReason::PermissionDenied),
            text,
        ) = &health
        {
            return (*reason, text.clone());
        }
        let lane = self.lane.state().health;
        if !matches!(lane.breaker, BreakerState::Closed) {
            let text = match &health {
                ProbeHealth::Bad(_, text) => format!("too many failures in a row, it rests: {text}"),
                _ => "too many failures in a row, it rests before it is tried again".to_owned(),
            };
            return (ConnectionReason::CircuitOpen, text);
        }
        if lane.limited_until.is_some_and(|until| self.clock.until(until) > WORTH_TELLING) {
            return (ConnectionReason::RateLimited, "the remote asked us to wait".to_owned());
        }
        match health {
            ProbeHealth::Connecting => (ConnectionReason::Connecting, "the remote has not been listed yet".to_owned()),
            ProbeHealth::Good => (ConnectionReason::Connected, "the remote was listed".to_owned()),
            ProbeHealth::Bad(reason, text) => (reason, text),
        }
    }

    /// Makes a list visible. Returns who waited for it.
    #[must_use]
    pub fn publish(&self, snapshot: &Arc<Snapshot>) -> Vec<ObjectKey> {
        let mut state = self.lock();
        let began = snapshot.span.began;
        state.snapshot = Some(Arc::clone(snapshot));
        let served: Vec<ObjectKey> =
            state.wants.iter().filter(|(_, not_before)| **not_before < began).map(|(k, _)| k.clone()).collect();
        for key in &served {
            state.wants.remove(key);
        }
        served
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// When the next list is due.
    fn due(&self) -> Option<Timestamp> {
        let state = self.lock();
        let regular = match (state.last_began, state.interval) {
            (None, _) => Some(Timestamp::MIN),
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

    /// Lists the remote whenever that is due, for ever; tells `on` what came of it. `named` are the entries that somebody names.
    pub async fn run(self: Arc<Self>, named: Named, on: impl Fn(Event) + Send) {
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
            self.probe(&named, &on).await;
        }
    }

    async fn probe(&self, named: &Named, on: &impl Fn(Event)) {
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
        let (config, client) = {
            let client = self.client.read().unwrap_or_else(PoisonError::into_inner);
            (Arc::clone(&client.0), Arc::clone(&client.1))
        };
        let began = self.clock.now();
        self.lock().last_began = Some(began);
        let listed = tokio::time::timeout(LIST_LIMIT, client.list_naming(slot.pages(), Arc::clone(named))).await;
        let result = listed.unwrap_or_else(|_| {
            Err(CallError {
                operation: Operation::List,
                class: ErrorClass::Timeout,
                status: None,
                retry_after: None,
                message: "the list was not complete in time".to_owned(),
            })
        });
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
            Err(error) => self.went_wrong(&error, on),
        }
    }

    fn went_well(&self, now: Timestamp, on: &impl Fn(Event)) {
        let mut state = self.lock();
        state.failures = 0;
        state.retry_at = None;
        state.last_good = Some(now);
        state.told_stale = false;
        let changed = state.health != ProbeHealth::Good;
        if changed {
            state.health = ProbeHealth::Good;
            state.recovered_at = Some(now);
        }
        drop(state);
        if changed {
            on(Event::Changed);
        }
    }

    fn went_wrong(&self, error: &CallError, on: &impl Fn(Event)) {
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

async fn wait_until(clock: Clock, due: Option<Timestamp>) {
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
