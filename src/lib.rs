//! The VaultSecret operator.

pub mod api;
pub mod app;
pub mod cli;
pub mod clock;
pub mod controller;
pub mod keyring;
pub mod kube_error;
pub mod leader;
pub mod metrics;
pub mod projection;
pub mod remote;
pub mod server;
pub mod source;
pub mod sync;
pub mod telemetry;
pub mod traces;
pub mod value;
