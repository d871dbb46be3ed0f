//! What it must do, seen from outside (docs/behaviours.md), where a test needs an operator or a control plane of its own.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stderr, clippy::print_stdout)]

#[path = "../common/mod.rs"]
mod common;

mod canary;
mod crash;
mod datafrom;
mod definitions;
mod leader;
mod leaving;
mod memory;
mod metrics;
mod old_definitions;
mod outages;
mod rest;
mod restarts;
mod rights;
mod rotations;
mod sealed;
mod traces;
mod trouble;
mod undecodable;
