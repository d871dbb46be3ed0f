//! What it must do, seen from outside (docs/behaviours.md), with one operator for all tests. A test that stops the operator or
//! needs other flags is in `tests/isolated/`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stderr)]

#[path = "../common/mod.rs"]
mod common;

mod churn;
mod claims;
mod cluster;
mod cluster_vault_secret;
mod counterexamples;
mod counterexamples_leaving;
mod datafrom;
mod datafrom_away;
mod datafrom_refused;
mod deletion;
mod documented;
mod generated;
mod http;
mod inputs;
mod migrate;
mod plan;
mod plugin;
mod plugin_acts;
mod plugin_transcript;
mod projection;
mod pushing;
mod regressions;
mod rotation;
mod sealed;
mod templates;
mod templates_documented;
mod trouble;
mod trouble_auth;
mod trouble_breaker;
mod trouble_drift;
mod trouble_echo;
mod trouble_freeze;
mod trouble_lists;
mod trouble_lost;
mod turns;
