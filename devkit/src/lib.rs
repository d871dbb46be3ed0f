//! Development kit.

pub mod controlplane;
