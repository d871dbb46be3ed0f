//! The `vaultsecret` binary.

fn main() {
    if let Ok(text) = vaultsecret_operator::cli::crd::yaml() {
        use std::io::Write;
        let _ = std::io::stdout().write_all(text.as_bytes());
    }
}
