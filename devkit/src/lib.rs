//! Development kit.

pub mod controlplane;
pub mod remotes;
