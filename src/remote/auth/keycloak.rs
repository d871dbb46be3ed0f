//! Keycloak's token endpoint: password, client credentials and refresh token.

use reqwest::Method;
use reqwest::header::AUTHORIZATION;
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use url::form_urlencoded;

use super::bearer_value;
use super::tokens::{Grant, Granted};
use crate::remote::client::{Answer, Body, Http, Request};
use crate::remote::{BuildError, CallError, KelvinAuth, Operation};
use crate::value::SecretValue;

/// Lifetime of a token whose answer does not say it.
const UNSTATED_LIFETIME: u64 = 60;

/// A login at a realm. No `Debug`.
pub(crate) struct Keycloak {
    realm: String,
    auth: KelvinAuth,
}

/// A token endpoint's answer. No `Debug`.
#[derive(Deserialize)]
struct TokenAnswer {
    access_token: String,
    #[serde(default, deserialize_with = "lenient_seconds")]
    expires_in: Option<u64>,
    #[serde(default)]
    refresh_token: Option<String>,
    #[serde(default, deserialize_with = "lenient_seconds")]
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
        Ok(Self { realm, auth })
    }

    fn ask(&self, http: &Http, form: String) -> Request {
        let url = http.url("/auth/realms", &[&self.realm, "protocol", "openid-connect", "token"]);
        Request::new(Operation::Login, Method::POST, url, Body::Form(form))
    }
}

impl Grant for Keycloak {
    fn login(&self, http: &Http) -> Result<Request, CallError> {
        let form = match &self.auth {
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
        };
        Ok(self.ask(http, form))
    }

    fn refresh(&self, http: &Http, token: &SecretValue) -> Result<Request, CallError> {
        let mut fields = vec![("grant_type", "refresh_token"), ("refresh_token", text(token))];
        match &self.auth {
            KelvinAuth::ClientCredentials { client_id, client_secret } => {
                fields.extend([("client_id", client_id.as_str()), ("client_secret", text(client_secret))]);
            }
            KelvinAuth::Password { client_id, .. } => fields.push(("client_id", client_id)),
            KelvinAuth::AccessToken(_) => {}
        }
        Ok(self.ask(http, form(&fields)))
    }

    fn read(&self, answer: &Answer) -> Result<Granted, CallError> {
        let read: TokenAnswer = serde_json::from_slice(answer.required_body()?)
            .map_err(|_| answer.unreadable("the answer holds no access token"))?;
        let header = bearer_value(&SecretValue::from(read.access_token))
            .ok_or_else(|| answer.unreadable("the access token cannot stand in a header"))?;
        // Keycloak writes 0 for a token that does not end (an offline token).
        let lifetime = read.refresh_expires_in.filter(|seconds| *seconds > 0);
        let refresh = read.refresh_token.filter(|token| !token.is_empty());
        Ok(Granted {
            header: (AUTHORIZATION, header),
            lifetime: read.expires_in.unwrap_or(UNSTATED_LIFETIME),
            refresh: refresh.map(|token| (SecretValue::from(token), lifetime)),
        })
    }
}

/// Seconds as a number of whatever kind, or as text. Anything else is not said: a token is of use without its lifetime.
fn lenient_seconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    Ok(match Value::deserialize(deserializer)? {
        Value::Number(number) => number.as_u64().or_else(|| whole(number.as_f64()?)),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    })
}

fn whole(seconds: f64) -> Option<u64> {
    std::time::Duration::try_from_secs_f64(seconds).ok().map(|duration| duration.as_secs())
}

/// Credentials read from files often end in a line break that is no part of them.
pub(crate) fn text(value: &SecretValue) -> &str {
    value.expose_str().unwrap_or_default().trim_end_matches(['\r', '\n'])
}

/// Whether a credential is text and holds something.
pub(crate) fn is_text(value: &SecretValue) -> bool {
    value.expose_str().is_some() && !text(value).is_empty()
}

fn form(fields: &[(&str, &str)]) -> String {
    form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish()
}
