//! Writing kubeconfig files.

use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::pki::Signed;

/// How a kubeconfig proves who one is.
pub(crate) enum Credential<'a> {
    /// A client certificate.
    Certificate(&'a Signed),
    /// A bearer token.
    Token(&'a str),
}

/// A kubeconfig with one context. Every value is an address, a DNS label or base64 (tokens base64url), so none needs quoting.
pub(crate) fn text(url: &str, ca_pem: &str, user: &str, namespace: &str, credential: &Credential<'_>) -> String {
    let ca = STANDARD.encode(ca_pem);
    let credential = match credential {
        Credential::Certificate(signed) => format!(
            "client-certificate-data: {}\n    client-key-data: {}",
            STANDARD.encode(&signed.certificate),
            STANDARD.encode(&signed.key)
        ),
        Credential::Token(token) => format!("token: {token}"),
    };
    format!(
        "apiVersion: v1
kind: Config
current-context: devkit
clusters:
- name: devkit
  cluster:
    server: {url}
    certificate-authority-data: {ca}
contexts:
- name: devkit
  context:
    cluster: devkit
    user: {user}
    namespace: {namespace}
users:
- name: {user}
  user:
    {credential}
"
    )
}

/// Writes a file that only this user can read. A reader sees the old text or the new one, never a part.
pub(crate) fn write_private(path: &Path, text: &str) -> io::Result<()> {
    let unique = uuid::Uuid::new_v4().simple().to_string();
    let partial = path.with_extension(unique);
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&partial)?;
    file.write_all(text.as_bytes())?;
    std::fs::rename(&partial, path)
}
