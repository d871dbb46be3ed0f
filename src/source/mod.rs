//! Where values come from: references to Secrets and ConfigMaps, and values that the operator makes itself.
//!
//! `generate` and `encoding` are pure, and so is the planning of the escrow; `reference` and `escrow` read and write
//! through the API server.

pub mod api_error;
pub mod encoding;
pub mod escrow;
pub mod generate;
pub mod reference;
pub mod schedule;
pub mod sealed;
pub mod template;

#[cfg(test)]
pub(crate) mod fake_api;
