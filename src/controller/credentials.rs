//! From a connection's spec to what a client is built from: credentials, certificates, identity.

mod access;

use std::path::Path;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha256};

use super::context::Context;
use super::refs::{Known, Ref};
use crate::api::connection::{CaKind, ConnectionSpec};
use crate::api::duration::GoDuration;
use crate::api::http::HttpAuthSpec;
use crate::kube_error::CALL_LIMIT;
use crate::remote::spec::Rules;
use crate::remote::{ClientIdentity, Provider, RemoteConfig, spec};
use crate::source::reference::{Namespaced, SourceError, SourceKind, SourceRef, Sources, read_all};
use crate::value::SecretValue;
use access::{Accessed, Parts};

/// How often the list of a connection is read when it says nothing.
const DEFAULT_INTERVAL: Duration = Duration::from_secs(300);
/// The shortest interval between lists.
const MIN_INTERVAL: Duration = Duration::from_secs(5);

/// Why a connection cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CredentialsError {
    /// A Secret or ConfigMap, or a key in it, is missing or unusable.
    #[error("{0}")]
    Missing(String),
    /// The spec cannot be used.
    #[error("{0}")]
    Invalid(String),
    /// The API server failed; another try may succeed.
    #[error("{0}")]
    Api(String),
}

/// What a client is built from, and what identifies it.
pub struct Material {
    /// The provider, and which names and values it takes.
    pub rules: Rules,
    /// Provider, URL and account, without a credential: the first half of an entry's identity.
    pub base: String,
    /// The same with a digest of the credential: in memory only.
    pub budget: String,
    /// A digest of everything that the client is built from: in memory only.
    pub config: String,
    access: Parts,
    url: url::Url,
    ca_bundle: Option<Vec<u8>>,
    identity: Option<(Vec<u8>, SecretValue)>,
    server_name: Option<String>,
    timeout: Duration,
    /// Versions of what was read.
    pub versions: Vec<(Ref, Known)>,
}

impl Material {
    /// What the client is built from.
    #[must_use]
    pub fn remote_config(&self) -> RemoteConfig {
        let access = self.access.access();
        RemoteConfig {
            access,
            url: self.url.clone(),
            ca_bundle: self.ca_bundle.clone(),
            client_identity: self
                .identity
                .as_ref()
                .map(|(certificate, key)| ClientIdentity { certificate: certificate.clone(), key: key.clone() }),
            server_name: self.server_name.clone(),
            timeout: self.timeout,
        }
    }
}

/// Everything that a connection refers to.
#[must_use]
pub fn source_refs(spec: &ConnectionSpec) -> Vec<SourceRef> {
    let secret = |name: &str, key: &str| SourceRef { kind: SourceKind::Secret, name: name.into(), key: key.into() };
    let mut refs: Vec<SourceRef> = access::key_refs(spec).into_iter().map(|r| secret(&r.name, &r.key)).collect();
    if let Some(tls) = &spec.tls {
        if let Some(ca) = &tls.ca_ref {
            let kind = match ca.kind {
                CaKind::Secret => SourceKind::Secret,
                CaKind::ConfigMap => SourceKind::ConfigMap,
            };
            refs.push(SourceRef { kind, name: ca.name.clone(), key: ca.key.clone() });
        }
        if let Some(identity) = &tls.client_certificate_ref {
            refs.push(secret(&identity.name, "tls.crt"));
            refs.push(secret(&identity.name, "tls.key"));
        }
    }
    refs
}

fn watched(reference: &SourceRef, namespace: &str) -> Ref {
    match reference.kind {
        SourceKind::Secret => Ref::secret(namespace, &reference.name),
        SourceKind::ConfigMap => Ref::config_map(namespace, &reference.name),
    }
}

/// What a connection refers to, to be woken by its changes.
#[must_use]
pub fn refs(spec: &ConnectionSpec, namespace: &str) -> Vec<Ref> {
    let mut refs: Vec<Ref> = source_refs(spec).iter().map(|r| watched(r, namespace)).collect();
    refs.sort();
    refs.dedup();
    refs
}

/// Where the credential itself is, as a person would look for it: `Secret "kelvin" in namespace shop, keys id and secret`.
#[must_use]
pub fn whereabouts(spec: &ConnectionSpec, namespace: &str) -> String {
    let mut places: Vec<(&str, Vec<&str>)> = Vec::new();
    for of in access::key_refs(spec) {
        match places.iter_mut().find(|(name, _)| *name == of.name) {
            Some((_, keys)) => keys.push(&of.key),
            None => places.push((&of.name, vec![&of.key])),
        }
    }
    let place = |(name, keys): &(&str, Vec<&str>)| {
        let word = if keys.len() == 1 { "key" } else { "keys" };
        format!("Secret {name:?} in namespace {namespace}, {word} {}", keys.join(" and "))
    };
    places.iter().map(place).collect::<Vec<_>>().join("; ")
}

/// The host that requests go to; where logins go to others, those too.
#[must_use]
pub fn host(spec: &ConnectionSpec) -> String {
    let own = access::url(spec).or_else(|| spec::default_url(access::provider(spec)?));
    let others = spec.http.iter().filter_map(|http| http.auth.as_ref()).flat_map(HttpAuthSpec::other_urls);
    let mut hosts: Vec<String> = Vec::new();
    for url in own.into_iter().chain(others).filter_map(|url| url::Url::parse(url).ok()) {
        let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
        let host = format!("{}{port}", url.host_str().unwrap_or_default());
        if !hosts.contains(&host) {
            hosts.push(host);
        }
    }
    hosts.join(" or ")
}

/// How often the list is read; `None` when that is switched off.
#[must_use]
pub fn interval(spec: &ConnectionSpec) -> Option<Duration> {
    match &spec.probe_interval {
        None => Some(DEFAULT_INTERVAL),
        Some(given) => {
            let given = given.get();
            (!given.is_zero()).then(|| given.max(MIN_INTERVAL))
        }
    }
}

fn timeout(spec: &ConnectionSpec, provider: Provider) -> Duration {
    let given = spec.limits.as_ref().and_then(|l| l.timeout.as_ref()).map(GoDuration::get);
    given.filter(|d| !d.is_zero()).unwrap_or(spec::default_limits(provider).timeout)
}

/// D: as given, else the longer of a minute and three times the timeout.
#[must_use]
pub fn settle(spec: &ConnectionSpec, provider: Provider) -> Duration {
    let given = spec.limits.as_ref().and_then(|l| l.settle.as_ref()).map(GoDuration::get);
    given.unwrap_or_else(|| Duration::from_secs(60).max(timeout(spec, provider) * 3))
}

/// Reads what a connection needs.
///
/// # Errors
/// Which part is missing or cannot be used.
pub async fn read(ctx: &Context, spec: &ConnectionSpec, namespace: &str) -> Result<Material, CredentialsError> {
    let wanted = source_refs(spec);
    let before: Vec<(Ref, Known)> = wanted
        .iter()
        .map(|r| {
            let of = watched(r, namespace);
            let known = ctx.refs.known(&of);
            (of, known)
        })
        .collect();
    let namespaced = Namespaced::new(ctx.client.clone(), namespace);
    let sources = tokio::time::timeout(CALL_LIMIT, read_all(&namespaced, wanted))
        .await
        .map_err(|_| CredentialsError::Api("the API server did not answer in time".to_owned()))?;
    let mut versions: Vec<(Ref, Known)> = Vec::new();
    for (reference, source) in sources.iter() {
        let of = watched(reference, namespace);
        if let Ok(source) = source {
            versions.push((of.clone(), Known::At(source.resource_version.as_str().into())));
        }
        let Some((_, before)) = before.iter().find(|(r, _)| *r == of) else { continue };
        match source {
            Ok(source) => ctx.refs.note(&of, before, Known::At(source.resource_version.as_str().into())),
            Err(SourceError::ObjectMissing { .. }) => ctx.refs.note(&of, before, Known::Gone),
            Err(_) => {}
        }
    }
    versions.sort_by(|a, b| a.0.cmp(&b.0));
    versions.dedup();
    Ok(Material { versions, ..assemble(spec, &sources, &ctx.settings.vault_token_file)? })
}

fn get(sources: &Sources, kind: SourceKind, name: &str, key: &str) -> Result<SecretValue, CredentialsError> {
    let reference = SourceRef { kind, name: name.to_owned(), key: key.to_owned() };
    match sources.get(&reference) {
        Some(Ok(source)) if source.value.is_empty() => {
            Err(CredentialsError::Missing(format!("{} {name:?}: key {key:?} is empty", kind.as_str())))
        }
        Some(Ok(source)) => Ok(source.value.clone()),
        Some(Err(SourceError::Api(error))) => Err(CredentialsError::Api(error.to_string())),
        Some(Err(error)) => Err(CredentialsError::Missing(error.to_string())),
        None => Err(CredentialsError::Missing(format!("{} {name:?} was not read", kind.as_str()))),
    }
}

/// What a connection comes to with what it refers to. Pure.
///
/// # Errors
/// Which part is missing or cannot be used.
pub fn assemble(spec: &ConnectionSpec, sources: &Sources, token_file: &Path) -> Result<Material, CredentialsError> {
    if access::providers(spec) != 1 {
        return Err(CredentialsError::Invalid(
            "exactly one provider must be set: kelvin, dreadnode, mixpeek, vault or http".to_owned(),
        ));
    }
    let Accessed { rules, url, place, parts: access, principal } = access::access(spec, sources, token_file)?;
    let provider = rules.provider();
    let url = url
        .or_else(|| spec::default_url(provider).map(str::to_owned))
        .ok_or_else(|| CredentialsError::Invalid("url is missing".to_owned()))?;
    let url = url::Url::parse(&url)
        .map_err(|_| CredentialsError::Invalid("url is not a URL, such as https://acme.kelvin.ai".to_owned()))?;
    check_url(&url, spec)?;
    for other in spec.http.iter().filter_map(|http| http.auth.as_ref()).flat_map(HttpAuthSpec::other_urls) {
        let other = url::Url::parse(other)
            .map_err(|_| CredentialsError::Invalid("http.auth: the URL of the login is no URL".to_owned()))?;
        check_url(&other, spec)?;
    }
    let tls = spec.tls.clone().unwrap_or_default();
    let ca_bundle = match (&tls.ca_bundle, &tls.ca_ref) {
        (Some(bundle), _) => Some(
            STANDARD
                .decode(bundle.split_whitespace().collect::<String>())
                .map_err(|_| CredentialsError::Invalid("tls.caBundle is not the base64 of a PEM bundle".to_owned()))?,
        ),
        (None, Some(of)) => {
            let kind = if of.kind == CaKind::Secret { SourceKind::Secret } else { SourceKind::ConfigMap };
            Some(get(sources, kind, &of.name, &of.key)?.expose().to_vec())
        }
        (None, None) => None,
    };
    let identity = match &tls.client_certificate_ref {
        Some(of) => Some((
            get(sources, SourceKind::Secret, &of.name, "tls.crt")?.expose().to_vec(),
            get(sources, SourceKind::Secret, &of.name, "tls.key")?,
        )),
        None => None,
    };
    let account = spec.account.clone().filter(|a| !a.is_empty()).or(principal).unwrap_or_default();
    let mut base = format!("{} {} {account}", provider.name(), url.as_str().trim_end_matches('/'));
    if !place.is_empty() {
        base = format!("{base} {place}");
    }
    let credential = digest(&access.fields());
    let server_name = tls.server_name.filter(|s| !s.is_empty());
    let timeout = timeout(spec, provider);
    let mut config = Sha256::new();
    config.update(&credential);
    for field in
        [ca_bundle.as_deref(), identity.as_ref().map(|(c, _)| c.as_slice()), identity.as_ref().map(|(_, k)| k.expose())]
    {
        let field = field.unwrap_or_default();
        config.update((field.len() as u64).to_be_bytes());
        config.update(field);
    }
    config.update(server_name.as_deref().unwrap_or_default());
    config.update(timeout.as_millis().to_be_bytes());
    // Two connections of one account with different credentials do not share a lane: a wrong one would break the other.
    let budget = format!("{base} {}", hex(&credential));
    Ok(Material {
        rules,
        budget,
        config: hex(&config.finalize()),
        base,
        access,
        url,
        ca_bundle,
        identity,
        server_name,
        timeout,
        versions: Vec::new(),
    })
}

fn check_url(url: &url::Url, spec: &ConnectionSpec) -> Result<(), CredentialsError> {
    if url.scheme() != "https" && !(url.scheme() == "http" && spec.allow_insecure_url == Some(true)) {
        return Err(CredentialsError::Invalid(
            "url must be https://; an http:// url sends secrets in the clear and needs allowInsecureUrl: true"
                .to_owned(),
        ));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(CredentialsError::Invalid("url must not hold a credential; use auth".to_owned()));
    }
    Ok(())
}

fn digest(fields: &[&[u8]]) -> Vec<u8> {
    let mut digest = Sha256::new();
    for field in fields {
        digest.update((field.len() as u64).to_be_bytes());
        digest.update(field);
    }
    digest.finalize().to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use serde_json::{Value, json};

    use super::*;

    fn told(spec: Value) -> (String, String) {
        let spec = serde_json::from_value(spec).unwrap();
        (whereabouts(&spec, "shop"), host(&spec))
    }

    #[test]
    fn a_person_is_told_where_credential_and_host_are() {
        let of = |name: &str, key: &str| json!({"name": name, "key": key});
        let client = json!({"clientIdRef": of("k", "id"), "clientSecretRef": of("k", "secret")});
        let kelvin = json!({"kelvin": {"url": "https://acme.kelvin.ai/", "auth": {"clientCredentials": client}}});
        let place = "Secret \"k\" in namespace shop, keys id and secret";
        assert_eq!(told(kelvin), (place.to_owned(), "acme.kelvin.ai".to_owned()));
        let mixpeek = json!({"mixpeek": {"auth": {"apiKeyRef": of("m", "api-key")}}});
        let place = "Secret \"m\" in namespace shop, key api-key";
        assert_eq!(told(mixpeek), (place.to_owned(), "api.mixpeek.com".to_owned()));
        let role = json!({"role": "shop"});
        let vault = json!({"vault": {"url": "http://127.0.0.1:8200", "auth": {"kubernetes": role}}});
        assert_eq!(told(vault), (String::new(), "127.0.0.1:8200".to_owned()));
    }
}
