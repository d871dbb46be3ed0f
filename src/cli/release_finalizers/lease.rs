//! Waits until no operator leads: one that runs would put the finalizer back.

use std::time::Duration;

use anyhow::{Context as _, bail};
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use kube::Client;
use kube::api::Api;
use tokio::time::Instant;

use crate::kube_error::{ApiError, ApiErrorKind, within};
use crate::leader::LEASE;
use crate::leader::decide::{Step, Timing, step};

/// How long a lease holds that does not say so itself.
const TIMING: Timing = Timing { duration: Duration::from_secs(30) };

/// Waits until the Lease has no holder, or one that did not renew it for as long as it says that it holds.
///
/// # Errors
/// When it is still held after `limit`, or may not be read.
pub(super) async fn until_free(client: &Client, namespace: &str, limit: Duration) -> anyhow::Result<()> {
    let api: Api<Lease> = Api::namespaced(client.clone(), namespace);
    let began = Instant::now();
    let mut seen: (Option<LeaseSpec>, Instant) = (None, began);
    loop {
        let last = match within("reading the lease", api.get_opt(LEASE)).await {
            Ok(found) => {
                let spec = found.and_then(|lease| lease.spec);
                if spec != seen.0 {
                    seen = (spec, Instant::now());
                }
                match step(seen.0.as_ref(), seen.1.elapsed(), "", TIMING) {
                    Step::Take | Step::Renew => return Ok(()),
                    Step::Wait(_) => None,
                }
            }
            Err(error) if is_passing(&error) => Some(error),
            Err(error) => {
                return Err(error).with_context(|| {
                    format!("whether an operator still runs is not known: get on leases/{LEASE} in namespace {namespace} is needed")
                });
            }
        };
        let left = limit.saturating_sub(began.elapsed());
        if left.is_zero() {
            match last {
                Some(error) => return Err(error.into()),
                None => bail!("{}", still_held(seen.0.as_ref(), namespace, limit)),
            }
        }
        tokio::time::sleep(TIMING.retry().min(left)).await;
    }
}

/// Whether another try may succeed.
fn is_passing(error: &ApiError) -> bool {
    matches!(error.kind, ApiErrorKind::Unknown | ApiErrorKind::Refused | ApiErrorKind::Conflict)
}

/// Who holds it, and what to do about that.
pub(super) fn still_held(lease: Option<&LeaseSpec>, namespace: &str, limit: Duration) -> String {
    let holder = lease.and_then(|l| l.holder_identity.as_deref()).unwrap_or_default();
    format!(
        "an operator still runs: after {}s the Lease {LEASE} in namespace {namespace} is held by {holder:?}. It would put the \
         finalizers back: uninstall it first, or scale it to no replicas",
        limit.as_secs()
    )
}
