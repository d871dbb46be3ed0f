//! Development kit.

pub mod remotes;
pub mod controlplane;
