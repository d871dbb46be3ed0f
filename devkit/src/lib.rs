//! Development kit.

pub mod remotes;
