//! Leader election by a Lease in the operator's namespace, as client-go does it: guarded by resourceVersion, judged by our own
//! clock. A replica that does not lead watches and writes nothing.

pub mod decide;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use k8s_openapi::api::coordination::v1::{Lease as LeaseObject, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;
use kube::Client;
use kube::api::{Api, ObjectMeta, PostParams};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use self::decide::{Step, Timing, step};
use crate::api::names;
use crate::kube_error::{ApiError, ApiErrorKind};

/// Name of the Lease.
pub const LEASE: &str = "vaultsecret-operator";

/// The right to write, for as long as it holds.
#[derive(Clone, Debug)]
pub struct Leadership(Option<Arc<Held>>);

#[derive(Debug)]
struct Held {
    timing: Timing,
    /// Until when nobody else can lead, by our clock: counted from before the last renewal was sent.
    until: Mutex<Instant>,
    lost: CancellationToken,
}

impl Leadership {
    /// For a process that is the only one: it always may.
    #[must_use]
    pub fn alone() -> Self {
        Self(None)
    }

    /// Whether a request that takes up to `limit` would end while we lead. A limit of more than half of the lease is judged as
    /// half of it: it is renewed sooner than that, and a longer one could never be sent.
    #[must_use]
    pub fn covers(&self, limit: Duration) -> bool {
        let Some(held) = &self.0 else { return true };
        let needed = limit.min(held.timing.duration / 2);
        !held.lost.is_cancelled() && held.left() >= needed
    }

    /// Ends when the lease is lost; never for a process that is the only one.
    pub async fn lost(&self) {
        match &self.0 {
            Some(held) => held.lost.cancelled().await,
            None => std::future::pending().await,
        }
    }
}

impl Held {
    fn left(&self) -> Duration {
        self.until.lock().unwrap_or_else(PoisonError::into_inner).saturating_duration_since(Instant::now())
    }

    fn renewed(&self, sent: Instant) {
        *self.until.lock().unwrap_or_else(PoisonError::into_inner) = sent + self.timing.duration;
    }
}

/// Takes part in the election.
pub struct Candidate {
    api: Api<LeaseObject>,
    namespace: String,
    me: String,
    timing: Timing,
}

/// What was seen of the lease last, and since when it is so.
struct Seen {
    lease: Option<LeaseObject>,
    since: Instant,
}

impl Candidate {
    /// A candidate with a name of its own. `duration` is how long a lease holds after its last renewal.
    #[must_use]
    pub fn new(client: Client, namespace: &str, host: &str, duration: Duration) -> Self {
        Self {
            api: Api::namespaced(client, namespace),
            namespace: namespace.to_owned(),
            me: format!("{host}_{}", uuid::Uuid::new_v4()),
            timing: Timing { duration },
        }
    }

    /// The name that stands in the lease while we lead.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.me
    }

    /// Waits until we lead; `None` when the process is to end meanwhile. `standby` is told who leads, or why that
    /// is not known.
    ///
    /// # Errors
    /// When the lease may not be read or written: a person has to mend that.
    pub async fn campaign(
        &self,
        end: &CancellationToken,
        mut standby: impl FnMut(Result<&str, &ApiError>),
    ) -> Result<Option<(Leadership, LeaseObject)>, ApiError> {
        let mut seen = Seen { lease: None, since: Instant::now() };
        loop {
            let wait = match self.look(&mut seen).await {
                Ok(Step::Wait(wait)) => {
                    standby(Ok(holder(seen.lease.as_ref()).unwrap_or_default()));
                    wait
                }
                // Ours from before cannot be: the name is made anew by each process.
                Ok(Step::Take | Step::Renew) => match self.take(&seen).await {
                    Ok((sent, lease)) => {
                        let held = Held {
                            timing: self.timing,
                            until: Mutex::new(sent + self.timing.duration),
                            lost: CancellationToken::new(),
                        };
                        return Ok(Some((Leadership(Some(Arc::new(held))), lease)));
                    }
                    Err(error) if may_pass(&error) => self.timing.retry(),
                    Err(error) => return Err(error),
                },
                Err(error) if may_pass(&error) => {
                    standby(Err(&error));
                    self.timing.retry()
                }
                Err(error) => return Err(error),
            };
            // Not all candidates at the same instant.
            let wait = wait + wait.mul_f64(rand::random::<f64>() * 0.2);
            tokio::select! { () = tokio::time::sleep(wait) => {}, () = end.cancelled() => return Ok(None) }
        }
    }

    async fn look(&self, seen: &mut Seen) -> Result<Step, ApiError> {
        let found = self.within("reading the lease", self.api.get_opt(LEASE)).await?;
        if seen.lease.as_ref().map(|l| &l.spec) != found.as_ref().map(|l| &l.spec) {
            seen.since = Instant::now();
        }
        seen.lease = found;
        let spec = seen.lease.as_ref().and_then(|l| l.spec.as_ref());
        Ok(step(spec, seen.since.elapsed(), &self.me, self.timing))
    }

    async fn take(&self, seen: &Seen) -> Result<(Instant, LeaseObject), ApiError> {
        let now = MicroTime(Timestamp::now());
        let sent = Instant::now();
        let before = seen.lease.as_ref().and_then(|l| l.spec.clone()).unwrap_or_default();
        let same = before.holder_identity.as_deref() == Some(&self.me);
        let spec = LeaseSpec {
            holder_identity: Some(self.me.clone()),
            lease_duration_seconds: Some(self.seconds()),
            acquire_time: Some(now.clone()),
            renew_time: Some(now),
            lease_transitions: Some(before.lease_transitions.unwrap_or(0).saturating_add(i32::from(!same))),
            ..before
        };
        let written = match &seen.lease {
            None => {
                let metadata = ObjectMeta {
                    name: Some(LEASE.to_owned()),
                    namespace: Some(self.namespace.clone()),
                    ..ObjectMeta::default()
                };
                let lease = LeaseObject { metadata, spec: Some(spec) };
                self.within("making the lease", self.api.create(&params(), &lease)).await?
            }
            Some(lease) => self.replace("taking the lease", lease, spec).await?,
        };
        Ok((sent, written))
    }

    /// Renews the lease until it is lost or `done`; then releases it, so that another need not wait.
    pub async fn keep(&self, leadership: &Leadership, mut lease: LeaseObject, done: &CancellationToken) {
        let Some(held) = &leadership.0 else { return };
        let mut wait = self.timing.renew_every();
        loop {
            tokio::select! { () = tokio::time::sleep(wait) => {}, () = done.cancelled() => break }
            let sent = Instant::now();
            match self.renew(&lease).await {
                Ok(Some(renewed)) => {
                    lease = renewed;
                    held.renewed(sent);
                    wait = self.timing.renew_every();
                }
                Ok(None) => {
                    tracing::error!("the lease was lost to another replica");
                    held.lost.cancel();
                    return;
                }
                Err(error) => {
                    tracing::warn!(%error, "the lease was not renewed; it is tried again");
                    wait = self.timing.retry();
                }
            }
            if held.left() <= self.timing.duration - self.timing.deadline() {
                tracing::error!("the lease could not be renewed in time");
                held.lost.cancel();
                return;
            }
        }
        self.release(&lease).await;
    }

    /// `None` when it is another's. Our own write whose answer was lost is found again by our name.
    async fn renew(&self, lease: &LeaseObject) -> Result<Option<LeaseObject>, ApiError> {
        match self.write_renewal(lease).await {
            Err(error) if error.kind == ApiErrorKind::Conflict => {
                let Some(found) = self.within("reading the lease", self.api.get_opt(LEASE)).await? else {
                    return Ok(None);
                };
                if holder(Some(&found)) != Some(&self.me) {
                    return Ok(None);
                }
                match self.write_renewal(&found).await {
                    Ok(renewed) => Ok(Some(renewed)),
                    Err(error) => Err(error),
                }
            }
            // Somebody deleted it: whoever makes it anew leads.
            Err(error) if error.kind == ApiErrorKind::NotFound => Ok(None),
            Ok(renewed) => Ok(Some(renewed)),
            Err(error) => Err(error),
        }
    }

    async fn write_renewal(&self, lease: &LeaseObject) -> Result<LeaseObject, ApiError> {
        let mut spec = lease.spec.clone().unwrap_or_default();
        spec.renew_time = Some(MicroTime(Timestamp::now()));
        self.replace("renewing the lease", lease, spec).await
    }

    async fn release(&self, lease: &LeaseObject) {
        let now = MicroTime(Timestamp::now());
        let mut spec = lease.spec.clone().unwrap_or_default();
        spec.holder_identity = Some(String::new());
        spec.lease_duration_seconds = Some(1);
        spec.renew_time = Some(now);
        match self.replace("releasing the lease", lease, spec).await {
            Ok(_) => tracing::info!("released the lease"),
            // The rights went before the process: nothing is wrong, and no replica is there that waits.
            Err(error) if error.kind == ApiErrorKind::Forbidden => {
                tracing::info!(
                    "the lease runs out by itself: this account may not write it any more, as after an uninstall"
                );
            }
            Err(error) => tracing::warn!(%error, "the lease was not released; another replica waits until it ends"),
        }
    }

    /// Writes a spec, guarded by the version that was read.
    async fn replace(&self, call: &'static str, lease: &LeaseObject, spec: LeaseSpec) -> Result<LeaseObject, ApiError> {
        let mut wanted = lease.clone();
        wanted.spec = Some(spec);
        wanted.metadata.managed_fields = None;
        self.within(call, self.api.replace(LEASE, &params(), &wanted)).await
    }

    async fn within<T>(
        &self,
        call: &'static str,
        future: impl Future<Output = kube::Result<T>>,
    ) -> Result<T, ApiError> {
        match tokio::time::timeout(self.timing.renew_every(), future).await {
            Ok(result) => result.map_err(|error| ApiError::new(call, &error)),
            Err(_) => Err(ApiError::timeout(call)),
        }
    }

    fn seconds(&self) -> i32 {
        i32::try_from(self.timing.duration.as_secs().max(1)).unwrap_or(i32::MAX)
    }
}

fn params() -> PostParams {
    PostParams { field_manager: Some(names::OPERATOR.to_owned()), ..PostParams::default() }
}

fn holder(lease: Option<&LeaseObject>) -> Option<&str> {
    lease?.spec.as_ref()?.holder_identity.as_deref()
}

/// Whether another try may succeed.
fn may_pass(error: &ApiError) -> bool {
    matches!(error.kind, ApiErrorKind::Unknown | ApiErrorKind::Conflict | ApiErrorKind::Refused)
}
