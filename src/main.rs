//! The `vaultsecret` binary.

use std::process::ExitCode;

fn main() -> ExitCode {
    // One TLS provider for the API server and the remotes. It fails only when one is installed already, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    vaultsecret_operator::cli::main(std::env::args_os()).into()
}
