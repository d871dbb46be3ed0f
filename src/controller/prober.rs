//! The remote behind one budget identity: its client, its lane, and the list of its entries, read once for all.

mod health;
mod listing;
mod looking;
pub mod sources;

use std::collections::{HashMap, HashSet};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::api::ConnectionReason;
use crate::clock::Clock;
use crate::remote::lane::{Lane, ObjectKey};
use crate::remote::{Listed, Remote};
use crate::sync::snapshot::Span;
pub use listing::Users;
use sources::Sources;

/// Wait after the credential was refused: a person has to mend it, and a new credential is taken up at once.
const AUTH_RETRY: Duration = Duration::from_secs(60);

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
    /// Nobody pushes there: nothing is listed, entries are only read.
    reads_only: bool,
    /// A look at an entry that is read was answered.
    answered: bool,
    /// It was judged anew whether a list that is not allowed is needed at all.
    reconsidered: bool,
    /// Whether the credential may read values, once somebody has tried.
    reads_values: Option<bool>,
    /// That nothing can be read was told to those who do.
    told_unreadable: bool,
}

impl State {
    /// The remote answered as it should. Returns whether that is news.
    fn went_well(&mut self, now: Timestamp) -> bool {
        self.failures = 0;
        self.last_good = Some(now);
        self.told_stale = false;
        let news = self.health != ProbeHealth::Good;
        if news {
            self.health = ProbeHealth::Good;
            self.recovered_at = Some(now);
        }
        news
    }
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
    /// Entries that are read.
    pub sources: Sources,
}

/// What a list led to, for the owner of the prober.
#[derive(Debug)]
pub enum Event {
    /// A complete list. Not visible to anybody before [`RemoteHandle::publish`].
    Listed(Arc<Snapshot>),
    /// A list failed.
    Failed,
    /// Health, breaker or limit changed.
    Changed,
    /// Entries that these read are not what they were.
    Sources(Vec<ObjectKey>),
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
                reads_only: false,
                answered: false,
                reconsidered: false,
                reads_values: None,
                told_unreadable: false,
            }),
            made: clock.now(),
            notify: Notify::new(),
            clock,
            end: CancellationToken::new(),
            started: AtomicBool::new(false),
            excused: Mutex::new(HashSet::new()),
            sources: Sources::default(),
        }
    }

    /// The client.
    #[must_use]
    pub fn client(&self) -> Arc<dyn Remote> {
        Arc::clone(&self.client.read().unwrap_or_else(PoisonError::into_inner).1)
    }

    /// The client, and how it was built.
    fn client_as_built(&self) -> (Arc<str>, Arc<dyn Remote>) {
        let client = self.client.read().unwrap_or_else(PoisonError::into_inner);
        (Arc::clone(&client.0), Arc::clone(&client.1))
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
        state.answered = false;
        state.reconsidered = false;
        state.reads_values = None;
        drop(state);
        self.lane.resume();
        self.notify.notify_one();
        self.sources.reset();
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

    /// How often the list is read, and every entry that is read looked at.
    fn interval(&self) -> Option<Duration> {
        self.lock().interval
    }

    /// The last complete list.
    #[must_use]
    pub fn snapshot(&self) -> Option<Arc<Snapshot>> {
        self.lock().snapshot.clone()
    }

    /// When the list began that is looked at; without one, the list that is being read.
    #[must_use]
    pub fn list_began(&self) -> Option<Timestamp> {
        let state = self.lock();
        state.snapshot.as_ref().map(|snapshot| snapshot.span.began).or(state.last_began)
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
        let mut state = self.lock();
        state.barred.insert(key.clone());
        let lists_anew = state.reads_only;
        drop(state);
        if lists_anew {
            self.notify.notify_one();
        }
    }

    /// Who is to be woken because something may be written again.
    #[must_use]
    pub fn admit(&self) -> HashSet<ObjectKey> {
        if self.not_ready().is_some() { HashSet::new() } else { std::mem::take(&mut self.lock().barred) }
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
}
