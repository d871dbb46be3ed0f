//! Development kit.
