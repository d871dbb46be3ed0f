//! The sync protocol, pure: no Kubernetes, no HTTP, no clock. Time is an argument.

pub mod ledger;
