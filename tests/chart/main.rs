//! The Helm chart: what it renders, what the API server says to that, what its policies let the operator do, and what outlives
//! an upgrade and an uninstall.
//!
//! The renderings stand in `snapshots/`, one for each file in `values/`. After a change that is meant, write them anew with
//! `UPDATE_SNAPSHOTS=1 cargo test --test chart render` and read the difference. Every rendering is held against the API server's
//! own schemas by kubeconform, and applied to that API server with strict validation, which knows more than schemas do.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stderr)]

#[path = "../common/mod.rs"]
mod common;

mod attempts;
mod cluster;
mod doctor;
mod forbidden;
mod helm;
mod hook;
mod image;
mod installed;
mod lifecycle;
mod monitoring;
mod namespaced;
mod policies;
mod render;
mod schemas;
mod tenants;
mod uninstall;
mod values;
