//! Development kit.

pub mod controlplane;
pub mod demo;
pub mod remotes;
