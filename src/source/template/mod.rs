//! Templates: values that are made of other values.
//!
//! A template is minijinja without anything that leads out of it: no includes, no macros, no functions, no clock, no
//! randomness, and only the filters of this module. What it may cost is bounded before it is compiled (`guard`) and while it
//! runs (`engine`). Everything here is pure.
//!
//! The engine copies values into memory that is not overwritten afterwards; they are gone with the pass, as those in the
//! requests to the API server are.

mod encode;
mod engine;
mod error;
mod filters;
mod graph;
mod guard;
mod pem;
mod text;

pub use engine::Template;
pub use error::{Cause, TemplateError};
pub use graph::{Node, Templates};

/// Longest template, in bytes.
pub const MOST_TEMPLATE: usize = 32 * 1024;
/// Largest value that a template takes or makes, in bytes.
pub const MOST_VALUE: usize = 256 * 1024;
/// The most that the templates of one VaultSecret make together, in bytes.
pub const MOST_TOGETHER: usize = 4 * 1024 * 1024;

#[cfg(test)]
mod tests;
