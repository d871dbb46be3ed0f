//! The TLS side of a client: public certificate authorities besides the configured ones, and mutual TLS.

use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

use super::{BuildError, ClientIdentity};

/// The configuration of a client that trusts the public authorities and those of `ca_bundle`.
pub(crate) fn client_config(
    ca_bundle: Option<&[u8]>,
    identity: Option<&ClientIdentity>,
) -> Result<ClientConfig, BuildError> {
    let roots = roots(ca_bundle)?;
    let builder = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|_| error("TLS cannot be set up: no protocol version is available"))?
        .with_root_certificates(roots);
    let mut config = match identity {
        None => builder.with_no_client_auth(),
        Some(identity) => {
            let (chain, key) = read_identity(identity)?;
            builder.with_client_auth_cert(chain, key).map_err(|_| {
                error("the client certificate cannot be used: its key is of an unknown kind or belongs to another certificate")
            })?
        }
    };
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

fn roots(ca_bundle: Option<&[u8]>) -> Result<RootCertStore, BuildError> {
    let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    let Some(bundle) = ca_bundle else { return Ok(roots) };
    let certificates = certificates(bundle).map_err(|_| error("the CA bundle is not valid PEM"))?;
    if certificates.is_empty() {
        return Err(error("the CA bundle holds no certificate"));
    }
    for (index, certificate) in certificates.into_iter().enumerate() {
        roots
            .add(certificate)
            .map_err(|_| BuildError(format!("certificate {} of the CA bundle cannot be read", index + 1)))?;
    }
    Ok(roots)
}

fn read_identity(
    identity: &ClientIdentity,
) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), BuildError> {
    let chain = certificates(&identity.certificate).map_err(|_| error("the client certificate is not valid PEM"))?;
    if chain.is_empty() {
        return Err(error("the client certificate's PEM holds no certificate"));
    }
    let key = PrivateKeyDer::from_pem_slice(identity.key.expose())
        .map_err(|_| error("the client certificate's key is not a private key in PEM"))?;
    Ok((chain, key))
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, rustls::pki_types::pem::Error> {
    CertificateDer::pem_slice_iter(pem).collect()
}

fn error(sentence: &str) -> BuildError {
    BuildError(sentence.to_owned())
}
