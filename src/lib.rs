//! The VaultSecret operator.

pub mod api;
pub mod cli;
pub mod remote;
pub mod sync;
pub mod value;
