//! `vaultsecret crd`: prints the CustomResourceDefinitions.

use kube::CustomResourceExt;

use crate::api::{ClusterVaultConnection, VaultConnection, VaultSecret};

/// All CRDs as one YAML stream, fit for `kubectl apply -f -`.
///
/// # Errors
/// When a definition cannot be written as YAML, which the tests rule out.
pub fn yaml() -> anyhow::Result<String> {
    let mut out = String::new();
    for crd in [VaultSecret::crd(), VaultConnection::crd(), ClusterVaultConnection::crd()] {
        out.push_str("---\n");
        out.push_str(&serde_saphyr::to_string(&crd)?);
        if !out.ends_with('\n') {
            out.push('\n');
        }
    }
    Ok(out)
}
