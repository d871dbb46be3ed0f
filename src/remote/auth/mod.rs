//! How requests are authorised: static headers, or a token that is had by a login. One renewal and one retry after a token
//! was refused.

mod flight;
mod keycloak;
mod tokens;
mod vault;

use jiff::Timestamp;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use zeroize::Zeroizing;

use super::client::{Answer, Http, Request};
use super::{BuildError, CallError, DreadnodeAuth, KelvinAuth, Provider, VaultAuth, status};
use crate::value::SecretValue;
use keycloak::Keycloak;
pub(crate) use keycloak::{is_text, text};
pub(crate) use tokens::{Grant, Granted, LONGEST_LIFETIME, Tokens};
use vault::VaultLogin;
pub(crate) use vault::is_path;

/// A client together with its credential. No `Debug`.
pub(crate) struct Session {
    http: Http,
    credential: Credential,
}

/// What makes the authorization headers.
pub(crate) enum Credential {
    /// Keys or tokens that nobody here can renew; or none at all.
    Static(HeaderMap),
    /// A token that is had by a login, and renewed.
    Tokens(Box<Tokens>),
    /// A token of Vault.
    Vault(Box<VaultLogin>),
}

/// The authorization of one request. `serial` tells a token from its successor.
struct Ticket {
    headers: HeaderMap,
    serial: u64,
}

impl Credential {
    /// `Authorization: Bearer`, for good.
    pub(crate) fn bearer(token: &SecretValue) -> Result<Self, BuildError> {
        Self::header(AUTHORIZATION, "Bearer ", token)
    }

    /// A header with a key, for good.
    pub(crate) fn header(name: HeaderName, scheme: &str, key: &SecretValue) -> Result<Self, BuildError> {
        Ok(Self::Static(HeaderMap::from_iter([(name, header(scheme, key).ok_or_else(unusable)?)])))
    }

    /// Dreadnode's two headers.
    pub(crate) fn dreadnode(auth: &DreadnodeAuth) -> Result<Self, BuildError> {
        match auth {
            DreadnodeAuth::ApiKey(key) => Self::header(HeaderName::from_static("x-api-key"), "", key),
            DreadnodeAuth::Bearer(token) => Self::bearer(token),
        }
    }

    /// Kelvin's ways to a token.
    pub(crate) fn kelvin(realm: String, auth: KelvinAuth) -> Result<Self, BuildError> {
        match auth {
            KelvinAuth::AccessToken(token) => Self::bearer(&token),
            auth => Ok(Self::Tokens(Box::new(Tokens::new(Box::new(Keycloak::new(realm, auth)?), None)))),
        }
    }

    /// Vault's ways to a token.
    pub(crate) fn vault(auth: VaultAuth) -> Result<Self, BuildError> {
        Ok(Self::Vault(Box::new(VaultLogin::new(auth)?)))
    }

    async fn ticket(&self, http: &Http) -> Result<Ticket, CallError> {
        match self {
            Self::Static(headers) => Ok(Ticket { headers: headers.clone(), serial: 0 }),
            Self::Tokens(tokens) => tokens.ticket(http, None).await,
            Self::Vault(login) => login.ticket(http, None).await,
        }
    }

    /// Another ticket than the one that was refused, or `None` when there can be none.
    async fn renewed(&self, http: &Http, refused: u64) -> Result<Option<Ticket>, CallError> {
        match self {
            Self::Static(..) => Ok(None),
            Self::Tokens(tokens) => tokens.ticket(http, Some(refused)).await.map(Some),
            Self::Vault(login) => login.renewed(http, refused).await,
        }
    }
}

impl Session {
    pub(crate) fn new(http: Http, credential: Credential) -> Self {
        Self { http, credential }
    }

    pub(crate) fn http(&self) -> &Http {
        &self.http
    }

    /// Logs in, if that is due.
    pub(crate) async fn prepare(&self) -> Result<(), CallError> {
        self.credential.ticket(&self.http).await.map(drop)
    }

    /// Sends a request; once more with a new token, where one can be had, if the token was refused. `Ok` is an answer of 2xx.
    pub(crate) async fn call(&self, provider: Provider, request: &Request) -> Result<Answer, CallError> {
        let answer = self.exchange(provider, request).await?;
        if answer.status.is_success() {
            return Ok(answer);
        }
        Err(status::refusal(Some(provider), &answer, Timestamp::now()))
    }

    /// The same, with an answer of any status.
    pub(crate) async fn exchange(&self, provider: Provider, request: &Request) -> Result<Answer, CallError> {
        let ticket = self.credential.ticket(&self.http).await?;
        let mut answer = self.http.send(request, &ticket.headers).await?;
        if status::refuses_token(provider, &answer)
            && let Some(ticket) = self.credential.renewed(&self.http, ticket.serial).await?
        {
            answer = self.http.send(request, &ticket.headers).await?;
        }
        Ok(answer)
    }
}

/// `Bearer <token>`, marked as sensitive; `None` when the token cannot stand in a header.
fn bearer_value(token: &SecretValue) -> Option<HeaderValue> {
    header("Bearer ", token)
}

/// A key in a header, marked as sensitive. A trailing line break, as files and `echo` leave it, is no part of it.
pub(crate) fn header(scheme: &str, token: &SecretValue) -> Option<HeaderValue> {
    let token = token.expose_str()?.trim();
    if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return None;
    }
    let text = Zeroizing::new(format!("{scheme}{token}"));
    let mut value = HeaderValue::from_str(&text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// A key or token that cannot be sent.
pub(crate) fn unusable() -> BuildError {
    BuildError("the key or token is empty or holds characters that cannot stand in a header".to_owned())
}
