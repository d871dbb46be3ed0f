//! The escrow: a Secret that keeps generated values before they leave.
//!
//! A generated value exists nowhere else, so it is durable before it is pushed, and what is pushed is what the API server
//! gave back. The Secret is created with create-only and changed with its resourceVersion: two writers cannot make two
//! values for one epoch.
//!
//! Under `Retain` the escrow outlives its VaultSecret, and a VaultSecret of the same name picks it up. Under `Delete` an
//! ownerReference lets the garbage collector take it. Whoever deletes a VaultSecret with `--cascade=orphan` keeps it.

mod index;
mod plan;

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{Api, PostParams};
use tokio::runtime::RuntimeFlavor;

pub use index::{EntryId, Index, KeyIndex, escrow_name, previous_slot, slot};
pub use plan::{EscrowPlan, Held, Owner, Planned, WantedValue, disinherit, lost, plan};

use super::api_error::{ApiError, ApiFailure};
use super::generate::{GenerateError, is_slow, os_rng};
use crate::api::names;
use crate::value::SecretValue;

/// How often a write that was overtaken is planned again.
const ROUNDS: usize = 5;

/// Why there are no generated values.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EscrowError {
    /// A Secret of that name is not an escrow of this VaultSecret.
    #[error(
        "Secret \"{name}\" in namespace {namespace} is not the escrow of VaultSecret \"{owner}\" and is left alone; rename it or the VaultSecret"
    )]
    Conflict {
        /// Name of the Secret.
        name: String,
        /// Its namespace.
        namespace: String,
        /// Name of the VaultSecret.
        owner: String,
    },
    /// It is being deleted.
    #[error("escrow Secret \"{name}\" in namespace {namespace} is being deleted; waiting until it is gone")]
    Terminating {
        /// Name of the Secret.
        name: String,
        /// Its namespace.
        namespace: String,
    },
    /// The index is not one.
    #[error(
        "annotation vaultsecret.dev/escrow-index of Secret \"{name}\" cannot be read; remove it, and the values are kept as they are"
    )]
    Index {
        /// Name of the Secret.
        name: String,
    },
    /// It has to change and cannot.
    #[error("escrow Secret \"{name}\" was made immutable, and a value has to be added; replace it with a mutable copy")]
    Immutable {
        /// Name of the Secret.
        name: String,
    },
    /// It would not fit into a Secret.
    #[error("escrow Secret \"{name}\" would be larger than a Secret may be; spread the keys over several VaultSecrets")]
    TooLarge {
        /// Name of the Secret.
        name: String,
    },
    /// Somebody else kept writing.
    #[error("escrow Secret \"{name}\" kept changing while it was written")]
    Contended {
        /// Name of the Secret.
        name: String,
    },
    /// The API server did not do it.
    #[error("{0}")]
    Api(#[from] ApiError),
}

/// The values, as the API server has them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Escrow {
    /// Current value, by key.
    pub values: BTreeMap<String, SecretValue>,
    /// The value before the last rotation, by key.
    pub previous: BTreeMap<String, SecretValue>,
    /// resourceVersion of the Secret; `None` when there is none.
    pub resource_version: Option<String>,
    /// Entries of an earlier VaultSecret of this name, which are ours without being taken over.
    pub made_for_entries: BTreeSet<EntryId>,
    /// Keys whose value cannot be made, and why.
    pub refused: BTreeMap<String, GenerateError>,
    /// When the next of the values is due to be made anew.
    pub next_rotation: Option<Timestamp>,
    /// Whether something was written.
    pub wrote: bool,
}

/// What else is known of an escrow's values and entries.
pub trait Witness {
    /// Whether an entry that was picked up with the escrow is in the ledger already, or gone: it is inherited no more.
    fn is_settled(&self, entry: &EntryId) -> bool;

    /// Values that the escrow has lost, of these keys, as far as they can be had from elsewhere and verified.
    fn salvage(&self, lost: &[String]) -> impl Future<Output = Result<BTreeMap<String, SecretValue>, ApiError>> + Send;
}

/// Nothing else is known.
impl Witness for () {
    fn is_settled(&self, _: &EntryId) -> bool {
        false
    }

    async fn salvage(&self, _: &[String]) -> Result<BTreeMap<String, SecretValue>, ApiError> {
        Ok(BTreeMap::new())
    }
}

/// Makes sure that the escrow holds every wanted value, and returns what it holds.
///
/// Pass every generated key of the spec, those with `push: false` too: a key that is not passed is taken for gone.
///
/// # Errors
/// When the Secret is somebody else's, or the API server refuses or fails. Nothing may be pushed then.
pub async fn ensure(
    client: kube::Client,
    owner: &Owner,
    wanted: &[WantedValue],
    witness: &impl Witness,
    now: Timestamp,
) -> Result<Escrow, EscrowError> {
    let secrets: Api<Secret> = Api::namespaced(client, &owner.namespace);
    let name = escrow_name(&owner.name);
    let failed = |verb: &str, error: &kube::Error| failed(owner, verb, error);
    let params = params();
    // A read without resourceVersion is answered from etcd, never from a cache.
    let mut seen = secrets.get_opt(&name).await.map_err(|e| failed("read", &e))?;
    let mut wrote = false;
    let (mut salvage, none) = (None, BTreeMap::new());
    for _ in 0..ROUNDS {
        let lost = lost(seen.as_ref(), wanted)?;
        if salvage.is_none() && !lost.is_empty() {
            salvage = Some(witness.salvage(&lost).await?);
        }
        let salvage = salvage.as_ref().unwrap_or(&none);
        let settled = |entry: &EntryId| witness.is_settled(entry);
        let planned =
            on_this_thread(wanted, || plan(seen.as_ref(), wanted, owner, salvage, &settled, now, &mut os_rng()))?;
        let (verb, answer) = match planned.step {
            EscrowPlan::Keep(held) => return Ok(Escrow::new(held, planned.refused, wrote)),
            EscrowPlan::Create(secret) => ("create", secrets.create(&params, &secret).await),
            EscrowPlan::Replace(secret) => ("replace", secrets.replace(&name, &params, &secret).await),
        };
        // The answer is planned on once more: what is returned is what the API server holds, not what was sent.
        seen = match answer {
            Ok(stored) => {
                wrote = true;
                Some(stored)
            }
            Err(error) => {
                let error = failed(verb, &error);
                let gone = error.failure == ApiFailure::NotFound && verb == "replace";
                if !gone && !matches!(error.failure, ApiFailure::AlreadyExists | ApiFailure::Conflict) {
                    return Err(error.into());
                }
                secrets.get_opt(&name).await.map_err(|e| failed("read", &e))?
            }
        };
    }
    Err(EscrowError::Contended { name })
}

/// Takes settled entries out of those that were picked up with the escrow of an earlier VaultSecret, before the ledger forgets
/// them: what is made under their names later is not ours without being taken over.
///
/// # Errors
/// When the API server refuses or fails.
pub async fn give_up(
    client: kube::Client,
    owner: &Owner,
    settled: &(dyn Fn(&EntryId) -> bool + Sync),
) -> Result<(), EscrowError> {
    let secrets: Api<Secret> = Api::namespaced(client, &owner.namespace);
    let name = escrow_name(&owner.name);
    for _ in 0..ROUNDS {
        let seen = secrets.get_opt(&name).await.map_err(|e| failed(owner, "read", &e))?;
        let Some(secret) = seen.map(|seen| disinherit(&seen, owner, settled)).transpose()?.flatten() else {
            return Ok(());
        };
        match secrets.replace(&name, &params(), &secret).await.map_err(|e| failed(owner, "replace", &e)) {
            Ok(_) => return Ok(()),
            Err(error) if matches!(error.failure, ApiFailure::Conflict | ApiFailure::NotFound) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(EscrowError::Contended { name })
}

/// Runs what may take seconds without keeping other work from this thread, where the runtime has others.
fn on_this_thread<T>(wanted: &[WantedValue], work: impl FnOnce() -> T) -> T {
    let slow = wanted.iter().any(|value| is_slow(&value.generate));
    match tokio::runtime::Handle::try_current().map(|runtime| runtime.runtime_flavor()) {
        Ok(RuntimeFlavor::MultiThread) if slow => tokio::task::block_in_place(work),
        _ => work(),
    }
}

fn failed(owner: &Owner, verb: &str, error: &kube::Error) -> ApiError {
    let name = escrow_name(&owner.name);
    ApiError::new(format!("{verb} escrow Secret \"{name}\" in namespace {}", owner.namespace), error)
}

fn params() -> PostParams {
    PostParams { field_manager: Some(names::OPERATOR.into()), ..PostParams::default() }
}

impl Escrow {
    fn new(held: Held, refused: BTreeMap<String, GenerateError>, wrote: bool) -> Self {
        let Held { values, previous, inherited, resource_version, next_rotation } = held;
        Self { values, previous, resource_version, made_for_entries: inherited, refused, next_rotation, wrote }
    }
}

#[cfg(test)]
mod rotation_tests;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod writing_tests;
