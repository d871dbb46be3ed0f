//! The line before a sealed value: what is read is what would be written, and nothing but a scope's own line opens it.

use vaultsecret_operator::source::sealed::Scope;
use vaultsecret_operator::source::sealed::envelope::{header, scope_of, value_of};

/// Reads one plaintext.
pub fn run(plaintext: &[u8]) {
    let read = scope_of(plaintext);
    if let Ok(scope) = &read {
        assert!(plaintext.starts_with(header(scope).as_bytes()));
        assert_eq!(value_of(plaintext, scope), Ok(header(scope).len()));
    }
    let Ok(here) = Scope::new("shop", "checkout", "TOKEN") else { return };
    if value_of(plaintext, &here).is_ok() {
        assert_eq!(read, Ok(here));
    }
}
