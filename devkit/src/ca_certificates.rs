//! The public certificate authorities as one PEM file, for an image without a distribution.
//!
//! Mozilla's list as a crate has it, and so the lock file: the same bytes everywhere. The list of the machine that builds
//! may hold authorities that only its owner trusts.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Bytes in a line of PEM, before they are encoded.
const LINE: usize = 48;

/// All of them, each in a block of its own.
#[must_use]
pub fn pem() -> String {
    let mut text = String::new();
    for certificate in webpki_root_certs::TLS_SERVER_ROOT_CERTS {
        text.push_str("-----BEGIN CERTIFICATE-----\n");
        for line in certificate.chunks(LINE) {
            text.push_str(&STANDARD.encode(line));
            text.push('\n');
        }
        text.push_str("-----END CERTIFICATE-----\n");
    }
    text
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use rustls::pki_types::CertificateDer;
    use rustls::pki_types::pem::PemObject as _;

    use super::*;

    #[test]
    fn a_reader_of_pem_finds_every_authority_and_can_trust_it() {
        let text = pem();
        assert!(text.lines().all(|line| line.len() <= 64));
        let read: Vec<_> = CertificateDer::pem_slice_iter(text.as_bytes()).collect::<Result<_, _>>().expect("PEM");
        assert_eq!(read, webpki_root_certs::TLS_SERVER_ROOT_CERTS);
        let (trusted, refused) = rustls::RootCertStore::empty().add_parsable_certificates(read);
        assert!(trusted > 100 && refused == 0, "{trusted} trusted, {refused} refused");
    }
}
