//! The Secret that shows the values: what it should be (`target`, pure) and how it gets there (`apply`).

pub mod apply;
pub mod owner;
pub mod restart;
pub mod target;
