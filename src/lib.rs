//! The VaultSecret operator.
