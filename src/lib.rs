//! The VaultSecret operator.

pub mod api;
pub mod cli;
pub mod projection;
pub mod remote;
pub mod source;
pub mod sync;
pub mod value;
