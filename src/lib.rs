//! The VaultSecret operator.

pub mod remote;
pub mod value;
