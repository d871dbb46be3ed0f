//! Keycloak's token endpoint: password, client credentials and refresh token. One token a client, renewed by one
//! caller while the others wait for it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use reqwest::Method;
use reqwest::header::{AUTHORIZATION, HeaderValue};
use serde::Deserialize;
use tokio::sync::Mutex;
use url::form_urlencoded;

use super::{Ticket, bearer_value};
use crate::remote::client::{Answer, Body, Http, Request};
use crate::remote::{BuildError, CallError, KelvinAuth, Operation, status};
use crate::value::SecretValue;

/// Lifetime of a token whose answer does not say it.
const UNSTATED_LIFETIME: u64 = 60;
/// No token is trusted for longer than this, whatever its answer says.
const LONGEST_LIFETIME: u64 = 30 * 24 * 3600;

/// A login and the token that it gave. No `Debug`.
pub(crate) struct Keycloak {
    realm: String,
    auth: KelvinAuth,
    /// How many logins have ended, to tell those who waited for one from those who came after it.
    ended: AtomicU64,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    token: Option<Token>,
    serial: u64,
    /// How the last login ended, if it failed.
    failure: Option<CallError>,
}

struct Token {
    header: HeaderValue,
    serial: u64,
    renew_at: Instant,
    refresh: Option<Refresh>,
}

struct Refresh {
    token: SecretValue,
    /// `None`: it does not end.
    dead_at: Option<Instant>,
}

/// A token endpoint's answer. No `Debug`.
#[derive(Deserialize)]
struct TokenAnswer {
    access_token: String,
    #[serde(default)]
    expires_in: Option<u64>,
    #[serde(default)]
    refresh_token: Option<String>,
    #[serde(default)]
    refresh_expires_in: Option<u64>,
}

impl Keycloak {
    pub(crate) fn new(realm: String, auth: KelvinAuth) -> Result<Self, BuildError> {
        if realm.is_empty() || realm == "." || realm == ".." {
            return Err(BuildError("the realm is not a name".to_owned()));
        }
        let usable = match &auth {
            KelvinAuth::ClientCredentials { client_id, client_secret } => {
                !client_id.is_empty() && is_text(client_secret)
            }
            KelvinAuth::Password { client_id, username, password } => {
                !client_id.is_empty() && !username.is_empty() && is_text(password)
            }
            KelvinAuth::AccessToken(token) => is_text(token),
        };
        if !usable {
            return Err(BuildError("a part of the login is empty or not text".to_owned()));
        }
        Ok(Self { realm, auth, ended: AtomicU64::new(0), state: Mutex::new(State::default()) })
    }

    /// The token to use now. `refused` is the serial of a token that was answered with 401.
    pub(super) async fn ticket(&self, http: &Http, refused: Option<u64>) -> Result<Ticket, CallError> {
        let ended_before = self.ended.load(Ordering::Acquire);
        let mut state = self.state.lock().await;
        if refused.is_some() && state.token.as_ref().map(|token| token.serial) == refused {
            // Not refreshed but logged in anew: a session that was ended takes its refresh token with it.
            state.token = None;
        }
        if let Some(token) = &state.token
            && Instant::now() < token.renew_at
        {
            return Ok(token.ticket());
        }
        // Who waited here while another's login failed shares its failure: ten waiting calls must not try a wrong
        // password ten times.
        if let Some(failure) = &state.failure
            && self.ended.load(Ordering::Acquire) != ended_before
        {
            return Err(failure.clone());
        }
        let refresh = state.token.take().and_then(|token| token.refresh);
        let result = self.renew(http, refresh, state.serial + 1).await;
        self.ended.fetch_add(1, Ordering::AcqRel);
        match result {
            Ok(token) => {
                let ticket = token.ticket();
                state.serial = token.serial;
                state.token = Some(token);
                state.failure = None;
                Ok(ticket)
            }
            Err(error) => {
                state.failure = Some(error.clone());
                Err(error)
            }
        }
    }

    async fn renew(&self, http: &Http, refresh: Option<Refresh>, serial: u64) -> Result<Token, CallError> {
        if let Some(refresh) = refresh.filter(|refresh| refresh.dead_at.is_none_or(|at| Instant::now() < at)) {
            let answer = self.ask(http, self.refresh_form(&refresh)).await?;
            if answer.status.is_success() {
                return read_token(&answer, serial);
            }
            // A refused refresh token is a reason to log in; a server in trouble is none.
            if answer.status.is_server_error() || answer.status.as_u16() == 429 {
                return Err(status::refusal(None, &answer, Timestamp::now()));
            }
        }
        let answer = self.ask(http, self.login_form()).await?;
        if answer.status.is_success() {
            return read_token(&answer, serial);
        }
        Err(status::refusal(None, &answer, Timestamp::now()))
    }

    async fn ask(&self, http: &Http, form: String) -> Result<Answer, CallError> {
        let request = Request {
            operation: Operation::Login,
            method: Method::POST,
            url: http.url("/auth/realms", &[&self.realm, "protocol", "openid-connect", "token"]),
            body: Body::Form(form),
        };
        http.send(&request, None).await
    }

    fn login_form(&self) -> String {
        match &self.auth {
            KelvinAuth::ClientCredentials { client_id, client_secret } => form(&[
                ("grant_type", "client_credentials"),
                ("client_id", client_id),
                ("client_secret", text(client_secret)),
            ]),
            KelvinAuth::Password { client_id, username, password } => form(&[
                ("grant_type", "password"),
                ("client_id", client_id),
                ("username", username),
                ("password", text(password)),
            ]),
            // Never asked for: such a credential is a static header.
            KelvinAuth::AccessToken(_) => String::new(),
        }
    }

    fn refresh_form(&self, refresh: &Refresh) -> String {
        let mut fields = vec![("grant_type", "refresh_token"), ("refresh_token", text(&refresh.token))];
        match &self.auth {
            KelvinAuth::ClientCredentials { client_id, client_secret } => {
                fields.extend([("client_id", client_id.as_str()), ("client_secret", text(client_secret))]);
            }
            KelvinAuth::Password { client_id, .. } => fields.push(("client_id", client_id)),
            KelvinAuth::AccessToken(_) => {}
        }
        form(&fields)
    }
}

impl Token {
    fn ticket(&self) -> Ticket {
        Ticket { name: AUTHORIZATION, value: self.header.clone(), serial: self.serial }
    }
}

fn read_token(answer: &Answer, serial: u64) -> Result<Token, CallError> {
    let read: TokenAnswer = serde_json::from_slice(answer.required_body()?)
        .map_err(|_| answer.unreadable("the answer holds no access token"))?;
    let header = bearer_value(&SecretValue::from(read.access_token))
        .ok_or_else(|| answer.unreadable("the access token cannot stand in a header"))?;
    let now = Instant::now();
    let refresh = read.refresh_token.filter(|token| !token.is_empty()).map(|token| Refresh {
        token: SecretValue::from(token),
        // Keycloak writes 0 for a token that does not end (an offline token).
        dead_at: read.refresh_expires_in.filter(|seconds| *seconds > 0).map(|seconds| now + most_of(seconds)),
    });
    let renew_at = now + most_of(read.expires_in.unwrap_or(UNSTATED_LIFETIME));
    Ok(Token { header, serial, renew_at, refresh })
}

/// Nine tenths of a lifetime: a token is renewed before it ends.
fn most_of(seconds: u64) -> Duration {
    Duration::from_secs(seconds.min(LONGEST_LIFETIME)) * 9 / 10
}

/// Credentials read from files often end in a line break that is no part of them.
fn text(value: &SecretValue) -> &str {
    value.expose_str().unwrap_or_default().trim_end_matches(['\r', '\n'])
}

fn is_text(value: &SecretValue) -> bool {
    value.expose_str().is_some() && !text(value).is_empty()
}

fn form(fields: &[(&str, &str)]) -> String {
    form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_renewed_at_nine_tenths_of_its_life() {
        assert_eq!(most_of(3600), Duration::from_secs(3240));
        assert_eq!(most_of(0), Duration::ZERO);
        assert_eq!(most_of(u64::MAX), Duration::from_secs(LONGEST_LIFETIME) * 9 / 10);
    }
}
