//! Brings the target Secret to what is desired, with one write when something changes and none when nothing does.

use k8s_openapi::api::core::v1::Secret;
use kube::Client;
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams, Preconditions};

use super::owner::{Owner, OwnerKind};
use super::target::{self, Desired, TargetPlan};
use crate::api::names;
use crate::api::vault_secret::CreationPolicy;
use crate::source::api_error::{ApiError, ApiFailure};

/// How often a write that was overtaken is planned again.
const ROUNDS: usize = 5;

/// What the caller knows already.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Hint {
    /// Nothing: the Secret is read first.
    #[default]
    Unknown,
    /// An index says that there is no such Secret: it is created without a read. A wrong hint costs one request.
    Absent,
}

/// What was done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// resourceVersion of the Secret; empty under `creationPolicy: None`.
    pub resource_version: String,
    /// Whether something was written.
    pub wrote: bool,
    /// Why the Secret was deleted and made anew, if it was.
    pub recreated: Option<String>,
}

/// What became of a Secret that is not the target any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Removed {
    /// It was ours and is deleted.
    Deleted,
    /// It is somebody else's, and our keys are out of it.
    Withdrawn,
    /// It is left as it is: an orphan, or nothing of ours is in it.
    Kept,
    /// There was none.
    Absent,
}

/// Why the target is not as desired.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProjectionError {
    /// The Secret is not ours (TargetConflict).
    #[error("{0}")]
    Conflict(String),
    /// The Secret to merge into does not exist (TargetMissing).
    #[error("{0}")]
    Missing(String),
    /// The spec asks for what no Secret can be, or the API server does not take it.
    #[error("{0}")]
    Invalid(String),
    /// The operator may not.
    #[error("{0}")]
    Forbidden(ApiError),
    /// Somebody else kept writing.
    #[error("Secret \"{name}\" in namespace {namespace} kept changing while it was written")]
    Contended {
        /// Name of the Secret.
        name: String,
        /// Its namespace.
        namespace: String,
    },
    /// The API server failed; another try may succeed.
    #[error("{0}")]
    Api(ApiError),
}

impl From<ApiError> for ProjectionError {
    fn from(error: ApiError) -> Self {
        match error.failure {
            ApiFailure::Forbidden | ApiFailure::QuotaExceeded => Self::Forbidden(error),
            ApiFailure::Invalid | ApiFailure::TooLarge => Self::Invalid(error.to_string()),
            _ => Self::Api(error),
        }
    }
}

/// Brings the target to what is desired.
///
/// # Errors
/// When the Secret is not ours, cannot be as desired, or the API server refuses or fails.
pub async fn apply(client: Client, desired: &Desired, owner: &Owner, hint: Hint) -> Result<Applied, ProjectionError> {
    if desired.policy == CreationPolicy::None {
        return Ok(Applied::default());
    }
    let secrets = Writer::new(client, &desired.namespace, &desired.name);
    let blind = hint == Hint::Absent && desired.policy != CreationPolicy::Merge;
    let mut seen = if blind { None } else { secrets.read().await? };
    let mut recreated = None;
    for _ in 0..ROUNDS {
        let written = match target::plan(seen.as_ref(), desired, owner) {
            TargetPlan::InPlace => {
                let resource_version = seen.and_then(|s| s.metadata.resource_version).unwrap_or_default();
                return Ok(Applied { resource_version, wrote: recreated.is_some(), recreated });
            }
            TargetPlan::Conflict { message } => return Err(ProjectionError::Conflict(message)),
            TargetPlan::Missing { message } => return Err(ProjectionError::Missing(message)),
            TargetPlan::Invalid { message } => return Err(ProjectionError::Invalid(message)),
            TargetPlan::Create(secret) => secrets.create(&secret, false).await?,
            TargetPlan::Replace(secret) => secrets.replace(&secret).await?,
            TargetPlan::Merge { secret, manager } => secrets.merge(&secret, &manager).await?,
            TargetPlan::Recreate { uid, resource_version, secret, why } => {
                secrets.rehearse(&secret).await?;
                if secrets.delete(uid, resource_version).await? {
                    recreated = Some(why);
                    secrets.create(&secret, false).await?
                } else {
                    None
                }
            }
        };
        if let Some(written) = written {
            let resource_version = written.metadata.resource_version.unwrap_or_default();
            return Ok(Applied { resource_version, wrote: true, recreated });
        }
        seen = secrets.read().await?;
    }
    Err(ProjectionError::Contended { name: desired.name.clone(), namespace: desired.namespace.clone() })
}

/// Removes what is ours of a Secret that is not the target any more: after a rename, the whole of it if this VaultSecret
/// controls it, our keys if it was merged into, and nothing of an orphan.
///
/// # Errors
/// When the API server refuses or fails.
pub async fn remove(client: Client, namespace: &str, name: &str, owner: &Owner) -> Result<Removed, ProjectionError> {
    let secrets = Writer::new(client, namespace, name);
    for _ in 0..ROUNDS {
        let Some(seen) = secrets.read().await? else { return Ok(Removed::Absent) };
        if owner.controls(&seen.metadata) && !target::is_internal(&seen.metadata) {
            let (uid, version) = (seen.metadata.uid, seen.metadata.resource_version);
            if secrets.delete(uid.unwrap_or_default(), version.unwrap_or_default()).await? {
                return Ok(Removed::Deleted);
            }
            continue;
        }
        // A copy is never merged, and a field manager knows a name alone: that of a VaultSecret.
        let merged = (owner.kind == OwnerKind::VaultSecret).then(|| target::withdrawal(&seen, owner)).flatten();
        if let Some((patch, manager)) = merged {
            if secrets.merge(&patch, &manager).await?.is_some() {
                return Ok(Removed::Withdrawn);
            }
        } else {
            return Ok(Removed::Kept);
        }
    }
    Err(ProjectionError::Contended { name: name.to_owned(), namespace: namespace.to_owned() })
}

/// One Secret, and how it is written. A write that was overtaken gives `None`, to be planned again.
struct Writer<'a> {
    secrets: Api<Secret>,
    namespace: &'a str,
    name: &'a str,
}

impl<'a> Writer<'a> {
    fn new(client: Client, namespace: &'a str, name: &'a str) -> Self {
        Self { secrets: Api::namespaced(client, namespace), namespace, name }
    }

    fn failed(&self, verb: &str, error: &kube::Error) -> ApiError {
        ApiError::new(format!("{verb} Secret \"{}\" in namespace {}", self.name, self.namespace), error)
    }

    /// `None` for a write that was overtaken.
    fn written(&self, verb: &str, answer: kube::Result<Secret>) -> Result<Option<Secret>, ProjectionError> {
        let error = match answer {
            Ok(secret) => return Ok(Some(secret)),
            Err(error) => self.failed(verb, &error),
        };
        // A create that finds nothing to create in is not overtaken: its namespace is gone.
        let gone = error.failure == ApiFailure::NotFound && verb != "create";
        match error.failure {
            ApiFailure::AlreadyExists | ApiFailure::Conflict => Ok(None),
            _ if gone => Ok(None),
            _ => Err(error.into()),
        }
    }

    async fn read(&self) -> Result<Option<Secret>, ProjectionError> {
        if !crate::source::reference::is_object_name(self.name) {
            return Ok(None);
        }
        self.secrets.get_opt(self.name).await.map_err(|error| self.failed("read", &error).into())
    }

    async fn create(&self, secret: &Secret, dry_run: bool) -> Result<Option<Secret>, ProjectionError> {
        let params = PostParams { dry_run, field_manager: Some(names::OPERATOR.into()) };
        self.written("create", self.secrets.create(&params, secret).await)
    }

    /// Asks whether the Secret would be taken, before the old one is deleted for it.
    async fn rehearse(&self, secret: &Secret) -> Result<(), ProjectionError> {
        match self.create(secret, true).await {
            // A quota that is full with the old one is not full without it.
            Err(ProjectionError::Forbidden(error)) if error.failure == ApiFailure::QuotaExceeded => Ok(()),
            other => other.map(drop),
        }
    }

    async fn replace(&self, secret: &Secret) -> Result<Option<Secret>, ProjectionError> {
        let params = PostParams { dry_run: false, field_manager: Some(names::OPERATOR.into()) };
        self.written("replace", self.secrets.replace(self.name, &params, secret).await)
    }

    async fn merge(&self, secret: &Secret, manager: &str) -> Result<Option<Secret>, ProjectionError> {
        // By force: in a Secret of others our keys are ours. Which of two VaultSecrets has a key was decided before.
        let params = PatchParams::apply(manager).force();
        self.written("merge into", self.secrets.patch(self.name, &params, &Patch::Apply(secret)).await)
    }

    /// Whether the one that was seen is deleted; not when it changed or is gone.
    async fn delete(&self, uid: String, resource_version: String) -> Result<bool, ProjectionError> {
        let seen = Preconditions { resource_version: Some(resource_version), uid: Some(uid) };
        match self.secrets.delete(self.name, &DeleteParams::default().preconditions(seen)).await {
            Ok(_) => Ok(true),
            Err(error) => {
                let error = self.failed("delete", &error);
                match error.failure {
                    ApiFailure::NotFound | ApiFailure::Conflict => Ok(false),
                    _ => Err(error.into()),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
