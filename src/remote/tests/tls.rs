//! TLS: who is trusted, client certificates, another server name.

use std::io::{Read, Write};
use std::sync::mpsc::{Receiver, channel};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection, StreamOwned};

use super::*;

type Ca = CertifiedIssuer<'static, KeyPair>;

fn ca(name: &str) -> Ca {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(rcgen::DnType::CommonName, name);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

fn certificate(ca: &Ca, name: &str, usage: ExtendedKeyUsagePurpose) -> (rcgen::Certificate, KeyPair) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    params.extended_key_usages = vec![usage];
    (params.signed_by(&key, ca).unwrap(), key)
}

/// What a handshake and a request showed.
struct Handshake {
    sni: Option<String>,
    host: String,
}

/// A Mixpeek with TLS; asks for a client certificate if `clients` is given. Its thread ends with the test process.
fn serve_tls(ca: &Ca, name: &str, clients: Option<&Ca>) -> (url::Url, Receiver<Handshake>) {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let (certificate, key) = certificate(ca, name, ExtendedKeyUsagePurpose::ServerAuth);
    let builder =
        ServerConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions().unwrap();
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some(clients) => {
            let mut roots = RootCertStore::empty();
            roots.add(clients.der().clone()).unwrap();
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build().unwrap();
            builder.with_client_cert_verifier(verifier)
        }
    };
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let config = Arc::new(builder.with_single_cert(vec![certificate.der().clone()], key).unwrap());
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap()).parse().unwrap();
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let Ok(connection) = ServerConnection::new(Arc::clone(&config)) else { return };
            let mut tls = StreamOwned::new(connection, stream);
            let mut bytes = [0; 8192];
            let Ok(read) = tls.read(&mut bytes) else {
                // Whatever the client has sent is read, so that the alert reaches it and not a reset.
                let _ = tls.conn.complete_io(&mut tls.sock);
                let _ = tls.sock.shutdown(std::net::Shutdown::Write);
                let _ = tls.sock.read_to_end(&mut Vec::new());
                continue;
            };
            let Some(seen) = parse(&bytes[..read]) else { continue };
            let body = r#"{"secrets":["a"],"count":1}"#;
            let answer =
                format!("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}", body.len());
            let _ = tls.write_all(answer.as_bytes());
            tls.conn.send_close_notify();
            let _ = tls.flush();
            let sni = tls.conn.server_name().map(str::to_owned);
            let _ = sender.send(Handshake { sni, host: seen.header("host").unwrap_or_default().to_owned() });
        }
    });
    (url, receiver)
}

fn trusting(url: &url::Url, ca: &Ca) -> RemoteConfig {
    RemoteConfig { ca_bundle: Some(ca.pem().into_bytes()), ..config(url, access(Provider::Mixpeek)) }
}

async fn list(make: Make, config: RemoteConfig) -> Result<Listing, CallError> {
    make.build(config).unwrap().list(no_pace()).await
}

fn assert_no_connection(result: Result<Listing, CallError>, words: &str) {
    let error = result.unwrap_err();
    assert_eq!((error.class, error.certainty()), (ErrorClass::Connect, Certainty::Clean), "{error}");
    assert!(error.to_string().contains(words), "{error}");
}

async fn a_server_of_the_given_authority_is_trusted_and_no_other(make: Make) {
    let (ours, other) = (ca("ours"), ca("other"));
    let (url, _seen) = serve_tls(&ours, "127.0.0.1", None);
    assert_eq!(list(make, trusting(&url, &ours)).await.unwrap().entries.len(), 1);
    assert_no_connection(list(make, trusting(&url, &other)).await, "authority that is not trusted");
    assert_no_connection(list(make, config(&url, access(Provider::Mixpeek))).await, "authority that is not trusted");
    let bundle = format!("{}# a comment\n{}", other.pem(), ours.pem());
    let both = RemoteConfig { ca_bundle: Some(bundle.into_bytes()), ..trusting(&url, &ours) };
    list(make, both).await.unwrap();
}

async fn the_server_name_is_what_the_server_must_prove(make: Make) {
    let ours = ca("ours");
    let (url, seen) = serve_tls(&ours, "vault.internal", None);
    assert_no_connection(list(make, trusting(&url, &ours)).await, "certificate is for another name");
    let named = |name: &str| RemoteConfig { server_name: Some(name.to_owned()), ..trusting(&url, &ours) };
    list(make, named("vault.internal")).await.unwrap();
    let handshake = seen.recv().unwrap();
    assert_eq!(handshake.sni.as_deref(), Some("vault.internal"));
    assert_eq!(handshake.host, format!("127.0.0.1:{}", url.port().unwrap()), "the request is for the real host");
    assert_no_connection(list(make, named("other.internal")).await, "certificate is for another name");
    let message = make.build(named("127.0.0.1")).err().expect("is refused").0;
    assert!(message.contains("server name"));
}

async fn a_server_name_does_nothing_without_tls(make: Make) {
    let server = Server::answering(200, json!({"secrets": []})).await;
    let config = RemoteConfig {
        server_name: Some("vault.internal".to_owned()),
        ..config(&server.url, access(Provider::Mixpeek))
    };
    list(make, config).await.unwrap();
    assert_eq!(server.only().header("host"), Some(server.url.authority()));
}

async fn a_client_certificate_is_shown(make: Make) {
    let (ours, clients, other) = (ca("ours"), ca("clients"), ca("other"));
    let (url, _seen) = serve_tls(&ours, "127.0.0.1", Some(&clients));
    let with = |issuer: &Ca| {
        let (certificate, key) = certificate(issuer, "operator", ExtendedKeyUsagePurpose::ClientAuth);
        let identity = ClientIdentity { certificate: certificate.pem().into_bytes(), key: key.serialize_pem().into() };
        RemoteConfig { client_identity: Some(identity), ..trusting(&url, &ours) }
    };
    list(make, with(&clients)).await.unwrap();
    assert_no_connection(list(make, trusting(&url, &ours)).await, "client certificate");
    assert_no_connection(list(make, with(&other)).await, "client certificate");
}

async fn pem_that_cannot_be_used_is_said_when_the_client_is_built(make: Make) {
    let ours = ca("ours");
    let url = "https://acme.example".parse().unwrap();
    let (certificate, key) = certificate(&ours, "operator", ExtendedKeyUsagePurpose::ClientAuth);
    let (certificate, key) = (certificate.pem(), key.serialize_pem());
    let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    for (bundle, words) in [
        ("", "holds no certificate"),
        (key.as_str(), "holds no certificate"),
        (broken, "certificate 1 of the CA bundle"),
        ("-----BEGIN CERTIFICATE-----\n***\n-----END CERTIFICATE-----\n", "not valid PEM"),
    ] {
        let config = RemoteConfig { ca_bundle: Some(bundle.into()), ..config(&url, access(Provider::Mixpeek)) };
        let message = make.build(config).err().expect("is refused").0;
        assert!(message.contains(words), "{message}");
    }
    let foreign_key = KeyPair::generate().unwrap().serialize_pem();
    for (certificate, key, words) in [
        ("", key.as_str(), "holds no certificate"),
        (certificate.as_str(), "", "not a private key"),
        (certificate.as_str(), certificate.as_str(), "not a private key"),
        (certificate.as_str(), foreign_key.as_str(), "belongs to another certificate"),
    ] {
        let identity = ClientIdentity { certificate: certificate.into(), key: key.into() };
        let config = RemoteConfig { client_identity: Some(identity), ..config(&url, access(Provider::Mixpeek)) };
        let message = make.build(config).err().expect("is refused").0;
        assert!(message.contains(words), "{message}");
    }
}

conformance!(
    a_server_of_the_given_authority_is_trusted_and_no_other,
    the_server_name_is_what_the_server_must_prove,
    a_server_name_does_nothing_without_tls,
    a_client_certificate_is_shown,
    pem_that_cannot_be_used_is_said_when_the_client_is_built,
);
