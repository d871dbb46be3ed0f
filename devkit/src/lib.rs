//! What developing, testing and trying out the operator needs, and no production binary contains.
//!
//! The control plane runs real programs of Kubernetes; the remotes are strict servers after the documented contracts; a
//! Vault is a real OpenBao. Nothing
//! here depends on the operator's crate: an error in one must not hide in the other.

pub mod ca_certificates;
pub mod cluster;
pub mod controlplane;
pub mod demo;
pub mod e2e;
pub mod openbao;
pub mod reference;
pub mod remotes;
pub mod site;
