//! The vault provider against a real OpenBao: one for all tests, but for the test that seals its own.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stderr)]

#[path = "../common/mod.rs"]
mod common;

mod auth;
mod bao;
mod claims;
mod deletion;
mod documented;
mod drift;
mod fields;
mod proxy;
mod pushing;
mod reading;
mod trouble;
