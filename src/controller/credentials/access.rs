//! The part of a connection that differs by provider: which Secrets it refers to, and what they give access to.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{CredentialsError, get};
use crate::api::connection::{ConnectionSpec, VaultSpec};
use crate::api::http::{HttpAuthSpec, HttpSpec};
use crate::api::vault_secret::KeyRef;
use crate::remote::http::{Description, HttpAccess};
use crate::remote::spec::Rules;
use crate::remote::{Access, DreadnodeAuth, KelvinAuth, Provider, VaultAuth, VaultPlace};
use crate::source::reference::{SourceKind, Sources};
use crate::value::SecretValue;

/// Credentials, as they were read.
pub(super) enum Parts {
    KelvinClient { realm: String, id: String, secret: SecretValue },
    KelvinUser { realm: String, client: String, user: String, password: SecretValue },
    KelvinToken { realm: String, token: SecretValue },
    DreadnodeKey(SecretValue),
    DreadnodeBearer(SecretValue),
    Mixpeek(SecretValue),
    VaultToken(VaultPlace, SecretValue),
    VaultAppRole { place: VaultPlace, mount: String, role_id: String, secret_id: SecretValue },
    VaultKubernetes { place: VaultPlace, mount: String, role: String, token_file: PathBuf },
    Http { description: Vec<u8>, spec: Arc<HttpSpec>, secrets: Vec<(KeyRef, SecretValue)> },
}

/// What a connection's provider part comes to.
pub(super) struct Accessed {
    pub(super) rules: Rules,
    /// As given; the provider's own where there is one.
    pub(super) url: Option<String>,
    /// Where the entries are below the URL, for providers that keep them in several places.
    pub(super) place: String,
    pub(super) parts: Parts,
    /// Whose account it is, where the credential has a name and accounts have entries of their own.
    pub(super) principal: Option<String>,
}

/// Keys of Secrets that hold the credential itself.
pub(super) fn key_refs(spec: &ConnectionSpec) -> Vec<&KeyRef> {
    let mut refs = Vec::new();
    if let Some(kelvin) = &spec.kelvin {
        if let Some(auth) = &kelvin.auth.client_credentials {
            refs.extend([&auth.client_id_ref, &auth.client_secret_ref]);
        }
        if let Some(auth) = &kelvin.auth.password {
            refs.extend([&auth.username_ref, &auth.password_ref]);
        }
        refs.extend(&kelvin.auth.access_token_ref);
    }
    if let Some(dreadnode) = &spec.dreadnode {
        refs.extend(&dreadnode.auth.api_key_ref);
        refs.extend(&dreadnode.auth.bearer_token_ref);
    }
    if let Some(mixpeek) = &spec.mixpeek {
        refs.push(&mixpeek.auth.api_key_ref);
    }
    if let Some(vault) = &spec.vault {
        refs.extend(&vault.auth.token_ref);
        refs.extend(vault.auth.app_role.as_ref().map(|auth| &auth.secret_id_ref));
    }
    refs.extend(spec.http.iter().flat_map(HttpSpec::key_refs));
    refs
}

/// The URL as given.
pub(super) fn url(spec: &ConnectionSpec) -> Option<&str> {
    let kelvin = spec.kelvin.as_ref().map(|kelvin| kelvin.url.as_str());
    let dreadnode = || spec.dreadnode.as_ref().and_then(|dreadnode| dreadnode.url.as_deref());
    let mixpeek = || spec.mixpeek.as_ref().and_then(|mixpeek| mixpeek.url.as_deref());
    let vault = || spec.vault.as_ref().map(|vault| vault.url.as_str());
    let http = || spec.http.as_ref().map(|http| http.url.as_str());
    kelvin.or_else(dreadnode).or_else(mixpeek).or_else(vault).or_else(http)
}

/// The provider that has a URL of its own, where it is one.
pub(super) fn provider(spec: &ConnectionSpec) -> Option<Provider> {
    let mixpeek = || spec.mixpeek.as_ref().map(|_| Provider::Mixpeek);
    spec.dreadnode.as_ref().map(|_| Provider::Dreadnode).or_else(mixpeek)
}

/// How many providers are set.
pub(super) fn providers(spec: &ConnectionSpec) -> usize {
    let set = [
        spec.kelvin.is_some(),
        spec.dreadnode.is_some(),
        spec.mixpeek.is_some(),
        spec.vault.is_some(),
        spec.http.is_some(),
    ];
    set.iter().filter(|set| **set).count()
}

/// The provider's part. `token_file` is where the operator finds the token that tells a Vault who it is.
pub(super) fn access(
    spec: &ConnectionSpec,
    sources: &Sources,
    token_file: &Path,
) -> Result<Accessed, CredentialsError> {
    if let Some(kelvin) = &spec.kelvin {
        let realm = kelvin.realm.clone().unwrap_or_else(|| "kelvin".to_owned());
        let auth = &kelvin.auth;
        let (parts, principal) = match (&auth.client_credentials, &auth.password, &auth.access_token_ref) {
            (Some(auth), None, None) => {
                let id = text(sources, &auth.client_id_ref)?;
                let parts =
                    Parts::KelvinClient { realm, id: id.clone(), secret: secret(sources, &auth.client_secret_ref)? };
                (parts, Some(id))
            }
            (None, Some(auth), None) => {
                let user = text(sources, &auth.username_ref)?;
                let client = auth.client_id.clone().unwrap_or_else(|| "kelvin-client".to_owned());
                let password = secret(sources, &auth.password_ref)?;
                (Parts::KelvinUser { realm, client, user: user.clone(), password }, Some(user))
            }
            (None, None, Some(of)) => (Parts::KelvinToken { realm, token: secret(sources, of)? }, None),
            _ => return Err(one_auth()),
        };
        let url = Some(kelvin.url.clone());
        return Ok(Accessed { rules: Rules::BuiltIn(Provider::Kelvin), url, place: String::new(), parts, principal });
    }
    if let Some(dreadnode) = &spec.dreadnode {
        let parts = match (&dreadnode.auth.api_key_ref, &dreadnode.auth.bearer_token_ref) {
            (Some(of), None) => Parts::DreadnodeKey(secret(sources, of)?),
            (None, Some(of)) => Parts::DreadnodeBearer(secret(sources, of)?),
            _ => return Err(one_auth()),
        };
        return Ok(Accessed::simple(Provider::Dreadnode, dreadnode.url.clone(), parts));
    }
    if let Some(vault) = &spec.vault {
        return vault_access(vault, sources, token_file);
    }
    if let Some(http) = &spec.http {
        return http_access(http, sources);
    }
    match &spec.mixpeek {
        Some(mixpeek) => {
            let parts = Parts::Mixpeek(secret(sources, &mixpeek.auth.api_key_ref)?);
            Ok(Accessed::simple(Provider::Mixpeek, mixpeek.url.clone(), parts))
        }
        None => Err(CredentialsError::Invalid("no provider is set".to_owned())),
    }
}

fn vault_access(vault: &VaultSpec, sources: &Sources, token_file: &Path) -> Result<Accessed, CredentialsError> {
    let place = VaultPlace {
        namespace: vault.namespace.clone().unwrap_or_default().trim_matches('/').to_owned(),
        mount: vault.mount.clone().unwrap_or_else(|| "secret".to_owned()).trim_matches('/').to_owned(),
        path: vault.path.clone().unwrap_or_default().trim_matches('/').to_owned(),
    };
    // No credential is part of it: whatever a token may do, a path names one entry.
    let mut at = format!("mount={} path={}", place.mount, place.path);
    if !place.namespace.is_empty() {
        at = format!("namespace={} {at}", place.namespace);
    }
    let parts = match (&vault.auth.token_ref, &vault.auth.app_role, &vault.auth.kubernetes) {
        (Some(of), None, None) => Parts::VaultToken(place, secret(sources, of)?),
        (None, Some(auth), None) => Parts::VaultAppRole {
            place,
            mount: auth.mount.clone().unwrap_or_else(|| "approle".to_owned()),
            role_id: auth.role_id.clone(),
            secret_id: secret(sources, &auth.secret_id_ref)?,
        },
        (None, None, Some(auth)) => Parts::VaultKubernetes {
            place,
            mount: auth.mount.clone().unwrap_or_else(|| "kubernetes".to_owned()),
            role: auth.role.clone(),
            token_file: token_file.to_owned(),
        },
        _ => return Err(one_auth()),
    };
    let url = Some(vault.url.clone());
    Ok(Accessed { rules: Rules::BuiltIn(Provider::Vault), url, place: at, parts, principal: None })
}

/// A described API: the description is read first, so that a mistake in it is told before a missing credential is.
fn http_access(http: &HttpSpec, sources: &Sources) -> Result<Accessed, CredentialsError> {
    let description = Description::read(http).map_err(|error| CredentialsError::Invalid(error.0))?;
    let read = |of: &KeyRef| Ok((of.clone(), secret(sources, of)?));
    let secrets = http.key_refs().into_iter().map(read).collect::<Result<_, CredentialsError>>()?;
    let account = http.auth.as_ref().and_then(HttpAuthSpec::account_ref);
    Ok(Accessed {
        rules: Rules::Described(Arc::clone(description.rules())),
        url: Some(http.url.clone()),
        place: String::new(),
        parts: Parts::Http { description: words(http), spec: Arc::new(http.clone()), secrets },
        principal: account.map(|of| text(sources, of)).transpose()?,
    })
}

/// What is said to the API, without where the credentials come from: two connections that say the same with one key share
/// what the remote allows.
fn words(http: &HttpSpec) -> Vec<u8> {
    fn forget_refs(of: &mut serde_json::Value) {
        match of {
            serde_json::Value::Object(fields) => {
                fields.retain(|name, _| !name.ends_with("Ref"));
                fields.values_mut().for_each(forget_refs);
            }
            serde_json::Value::Array(items) => items.iter_mut().for_each(forget_refs),
            _ => {}
        }
    }
    let mut said = serde_json::to_value(http).unwrap_or_default();
    let auth = said.get_mut("auth").map(|auth| {
        // Which way of authorisation it is stays.
        let kind = auth.as_object().and_then(|fields| fields.keys().next().cloned());
        forget_refs(auth);
        kind
    });
    serde_json::to_vec(&(said, auth)).unwrap_or_default()
}

impl Accessed {
    fn simple(provider: Provider, url: Option<String>, parts: Parts) -> Self {
        Self { rules: Rules::BuiltIn(provider), url, place: String::new(), parts, principal: None }
    }
}

impl Parts {
    /// What a client is built from.
    pub(super) fn access(&self) -> Access {
        match self {
            Self::KelvinClient { realm, id, secret } => Access::Kelvin {
                realm: realm.clone(),
                auth: KelvinAuth::ClientCredentials { client_id: id.clone(), client_secret: secret.clone() },
            },
            Self::KelvinUser { realm, client, user, password } => Access::Kelvin {
                realm: realm.clone(),
                auth: KelvinAuth::Password {
                    client_id: client.clone(),
                    username: user.clone(),
                    password: password.clone(),
                },
            },
            Self::KelvinToken { realm, token } => {
                Access::Kelvin { realm: realm.clone(), auth: KelvinAuth::AccessToken(token.clone()) }
            }
            Self::DreadnodeKey(key) => Access::Dreadnode(DreadnodeAuth::ApiKey(key.clone())),
            Self::DreadnodeBearer(token) => Access::Dreadnode(DreadnodeAuth::Bearer(token.clone())),
            Self::Mixpeek(key) => Access::Mixpeek { api_key: key.clone() },
            Self::VaultToken(place, token) => {
                Access::Vault { place: place.clone(), auth: VaultAuth::Token(token.clone()) }
            }
            Self::VaultAppRole { place, mount, role_id, secret_id } => Access::Vault {
                place: place.clone(),
                auth: VaultAuth::AppRole {
                    mount: mount.clone(),
                    role_id: role_id.clone(),
                    secret_id: secret_id.clone(),
                },
            },
            Self::VaultKubernetes { place, mount, role, token_file } => Access::Vault {
                place: place.clone(),
                auth: VaultAuth::Kubernetes {
                    mount: mount.clone(),
                    role: role.clone(),
                    token_file: token_file.clone(),
                },
            },
            Self::Http { spec, secrets, .. } => {
                Access::Http(HttpAccess { spec: Arc::clone(spec), secrets: secrets.clone() })
            }
        }
    }

    /// What tells one credential from another.
    pub(super) fn fields(&self) -> Vec<&[u8]> {
        match self {
            Self::KelvinClient { realm, id, secret } => vec![realm.as_bytes(), id.as_bytes(), secret.expose()],
            Self::KelvinUser { realm, client, user, password } => {
                vec![realm.as_bytes(), client.as_bytes(), user.as_bytes(), password.expose()]
            }
            Self::KelvinToken { realm, token } => vec![realm.as_bytes(), token.expose()],
            Self::DreadnodeKey(key) => vec![b"key", key.expose()],
            Self::DreadnodeBearer(token) => vec![b"bearer", token.expose()],
            Self::Mixpeek(key) => vec![key.expose()],
            Self::VaultToken(_, token) => vec![b"token", token.expose()],
            Self::VaultAppRole { mount, role_id, secret_id, .. } => {
                vec![b"approle", mount.as_bytes(), role_id.as_bytes(), secret_id.expose()]
            }
            Self::VaultKubernetes { mount, role, .. } => vec![b"kubernetes", mount.as_bytes(), role.as_bytes()],
            // The description too: what is written differently has a client of its own.
            Self::Http { description, secrets, .. } => {
                std::iter::once(&description[..]).chain(secrets.iter().map(|(_, secret)| secret.expose())).collect()
            }
        }
    }
}

fn one_auth() -> CredentialsError {
    CredentialsError::Invalid("exactly one kind of auth must be set".to_owned())
}

fn secret(sources: &Sources, of: &KeyRef) -> Result<SecretValue, CredentialsError> {
    get(sources, SourceKind::Secret, &of.name, &of.key)
}

/// A part of a credential that is a name.
fn text(sources: &Sources, of: &KeyRef) -> Result<String, CredentialsError> {
    let value = secret(sources, of)?;
    let text = value.expose_str().map(|t| t.trim_end_matches(['\r', '\n']).to_owned());
    text.ok_or_else(|| CredentialsError::Missing(format!("Secret {:?}: key {:?} is not text", of.name, of.key)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use serde_json::{Value, json};

    use super::*;

    fn said(auth: Value, path: &str) -> Vec<u8> {
        let spec = json!({
            "url": "https://a.example", "auth": auth,
            "create": {"path": path, "json": {"aRef": "{{ name }}", "v": "{{ value }}"}},
            "update": {"path": "/s/{{ name }}", "json": {"v": "{{ value }}"}},
            "delete": {"path": "/s/{{ name }}"},
            "list": {"path": "/s", "items": "", "entry": {"name": ""}},
        });
        words(&serde_json::from_value(spec).unwrap())
    }

    #[test]
    fn two_who_say_the_same_say_the_same_wherever_their_keys_are() {
        let of = |name: &str| json!({"name": name, "key": "k"});
        let header = |name: &str| json!({"headers": [{"name": "x-key", "valueRef": of(name)}]});
        assert_eq!(said(header("one"), "/s"), said(header("two"), "/s"));
        assert_eq!(said(json!({"bearerTokenRef": of("one")}), "/s"), said(json!({"bearerTokenRef": of("two")}), "/s"));
        assert_ne!(said(header("one"), "/s"), said(json!({"bearerTokenRef": of("one")}), "/s"));
        assert_ne!(said(header("one"), "/s"), said(header("one"), "/t"));
        assert!(String::from_utf8(said(header("one"), "/s")).unwrap().contains("aRef"), "bodies stay as they are");
    }
}
