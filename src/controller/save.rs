//! Writing the ledger: guarded by the resourceVersion that the decision was made on, read back when the answer is lost.

use std::sync::Arc;

use kube::api::{Api, Patch, PatchParams, PostParams};
use kube::{Resource as _, ResourceExt as _};

use super::pass::Pass;
use crate::api::vault_secret::VaultSecretStatus;
use crate::api::{VaultSecret, names};
use crate::kube_error::{ApiError, ApiErrorKind, within};

/// Why the ledger was not written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SaveError {
    /// Somebody wrote the object meanwhile: decide again on what it is now.
    #[error("the object changed meanwhile")]
    Overtaken,
    /// The object is gone.
    #[error("the object is gone")]
    Gone,
    /// The API server failed.
    #[error(transparent)]
    Api(ApiError),
}

/// How often an outcome is tried against an object that keeps changing.
const ROUNDS: usize = 5;

impl Pass<'_> {
    fn api(&self) -> Api<VaultSecret> {
        Api::namespaced(self.ctx.client.clone(), &self.key.namespace)
    }

    /// Takes the object as the API server has it from here on; but this pass goes on with the spec that it decided on, which
    /// somebody may have edited meanwhile: what was read, sent and projected belongs to that one.
    fn adopt_version(&mut self, mut written: VaultSecret) {
        written.meta_mut().managed_fields = None;
        let written = Arc::new(written);
        self.state.latest = Some(Arc::clone(&written));
        if written.metadata.generation == self.vs.metadata.generation && self.sources.written.is_none() {
            self.vs = written;
            return;
        }
        let mut decided_on = (*written).clone();
        decided_on.spec = self.vs.spec.clone();
        decided_on.metadata.generation = self.vs.metadata.generation;
        decided_on.metadata.deletion_timestamp.clone_from(&self.vs.metadata.deletion_timestamp);
        self.vs = Arc::new(decided_on);
    }

    /// Writes a status once, if it differs.
    ///
    /// # Errors
    /// [`SaveError::Overtaken`] when the object is not the one that the decision was made on.
    pub async fn save_once(&mut self, status: VaultSecretStatus) -> Result<(), SaveError> {
        if self.vs.status.as_ref() == Some(&status) {
            return Ok(());
        }
        let mut object = (*self.vs).clone();
        if let Some(written) = &self.sources.written {
            object.spec = written.spec.clone();
        }
        object.status = Some(status);
        let params = PostParams { field_manager: Some(names::OPERATOR.to_owned()), ..PostParams::default() };
        let api = self.api();
        self.ctx.metrics.api_write("update", "vaultsecrets/status");
        match within("writing the status", api.replace_status(&self.key.name, &params, &object)).await {
            Ok(written) => {
                self.adopt_version(written);
                Ok(())
            }
            Err(error) => match error.kind {
                ApiErrorKind::Conflict => Err(SaveError::Overtaken),
                ApiErrorKind::NotFound => Err(SaveError::Gone),
                ApiErrorKind::Unknown => self.read_back(&object, error).await,
                _ => Err(SaveError::Api(error)),
            },
        }
    }

    /// The answer to a write is lost: what the API server holds tells whether it was done.
    async fn read_back(&mut self, sent: &VaultSecret, error: ApiError) -> Result<(), SaveError> {
        let found = self.read_again().await?;
        let done = found.status == sent.status && found.uid() == sent.uid();
        let unchanged = found.resource_version() == self.vs.resource_version();
        self.adopt_version(found);
        match (done, unchanged) {
            (true, _) => Ok(()),
            // It may still land: the guard of the next write decides which one holds.
            (false, true) => Err(SaveError::Api(error)),
            (false, false) => Err(SaveError::Overtaken),
        }
    }

    async fn read_again(&self) -> Result<VaultSecret, SaveError> {
        let api = self.api();
        // Without a resourceVersion the read is answered from the store and not from a cache.
        match within("reading the object", api.get(&self.key.name)).await {
            Ok(found) => Ok(found),
            Err(error) if error.kind == ApiErrorKind::NotFound => Err(SaveError::Gone),
            Err(error) => Err(SaveError::Api(error)),
        }
    }

    /// Writes an outcome: when the object changed meanwhile, onto what it is now, as long as the ledger is still the one that
    /// the attempts were recorded in.
    ///
    /// # Errors
    /// When it cannot be written; the rows are kept in memory then, for the next pass.
    pub async fn save_outcome(&mut self, status: VaultSecretStatus) -> Result<(), SaveError> {
        let mut last = SaveError::Overtaken;
        for _ in 0..ROUNDS {
            let ledger = self.vs.status.as_ref().map(|s| s.entries.clone()).unwrap_or_default();
            match self.save_once(status.clone()).await {
                Ok(()) => return Ok(()),
                Err(SaveError::Overtaken) => {
                    let now = self.read_again().await?;
                    let same = now.uid() == self.vs.uid()
                        && now.status.as_ref().map(|s| s.entries.as_slice()).unwrap_or_default() == ledger.as_slice();
                    self.adopt_version(now);
                    if !same {
                        // Another process wrote the ledger: its attempts are not ours to close.
                        return Err(SaveError::Overtaken);
                    }
                }
                Err(SaveError::Gone) => return Err(SaveError::Gone),
                Err(error) => {
                    last = error;
                    break;
                }
            }
        }
        Err(last)
    }

    /// Puts our finalizer on, or takes it off.
    ///
    /// # Errors
    /// When the object is not the one that the decision was made on, or the API server fails.
    pub async fn set_finalizer(&mut self, wanted: bool) -> Result<(), SaveError> {
        if self.has_finalizer() == wanted {
            return Ok(());
        }
        let mut finalizers: Vec<String> = self.vs.finalizers().to_vec();
        if wanted {
            finalizers.push(names::FINALIZER.to_owned());
        } else {
            finalizers.retain(|f| f != names::FINALIZER);
        }
        let patch = serde_json::json!({
            "metadata": {"resourceVersion": self.vs.resource_version(), "finalizers": finalizers}
        });
        let api = self.api();
        self.ctx.metrics.api_write("patch", "vaultsecrets");
        let params = PatchParams { field_manager: Some(names::OPERATOR.to_owned()), ..PatchParams::default() };
        match within("writing the finalizer", api.patch(&self.key.name, &params, &Patch::Merge(&patch))).await {
            Ok(written) => {
                self.adopt_version(written);
                Ok(())
            }
            Err(error) => match error.kind {
                ApiErrorKind::Conflict => Err(SaveError::Overtaken),
                ApiErrorKind::NotFound if wanted => Err(SaveError::Gone),
                // It went without us: that is what was wanted.
                ApiErrorKind::NotFound => Ok(()),
                _ => Err(SaveError::Api(error)),
            },
        }
    }
}
