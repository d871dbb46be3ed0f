//! What `/readyz` waits for.

use std::sync::Arc;

use crate::server::{Gate, Readiness};

/// What has to hold before the operator does its work.
pub(super) struct Gates {
    pub(super) readiness: Arc<Readiness>,
    pub(super) api_server: Gate,
    pub(super) key_ring: Gate,
    pub(super) definitions: Gate,
    pub(super) vault_secrets: Gate,
    pub(super) connections: Gate,
    pub(super) references: Gate,
}

impl Gates {
    pub(super) fn new(readiness: &Arc<Readiness>) -> Self {
        Self {
            readiness: Arc::clone(readiness),
            api_server: readiness.gate("api server reached"),
            key_ring: readiness.gate("key ring loaded"),
            definitions: readiness.gate("definitions installed"),
            vault_secrets: readiness.gate("vaultsecrets listed"),
            connections: readiness.gate("connections listed"),
            references: readiness.gate("references listed"),
        }
    }
}
