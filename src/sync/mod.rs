//! The sync protocol, pure: no Kubernetes, no HTTP, no clock. Time is an argument.

pub mod conflict;
pub mod fingerprint;
pub mod freeze;
pub mod ledger;
pub mod plan;
pub mod snapshot;
pub mod transition;
