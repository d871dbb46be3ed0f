//! Tokens of Vault and OpenBao: given, or had by AppRole or by the operator's service account. One token a client, renewed by
//! one caller while the others wait for it.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use reqwest::Method;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use serde::Deserialize;
use serde_json::json;

use super::flight::{Flight, Held};
use super::{Ticket, header, unusable};
use crate::remote::client::{Answer, Body, Http, Request};
use crate::remote::entry::json as json_body;
use crate::remote::{BuildError, CallError, ErrorClass, Operation, Provider, VaultAuth, status};
use crate::value::SecretValue;

/// No token is trusted for longer than this, whatever its answer says.
const LONGEST_LIFETIME: u64 = 30 * 24 * 3600;
/// A renewal that the server was in no state to give is tried again after this, while the token still holds.
const RENEW_AGAIN: Duration = Duration::from_secs(15);

/// A login and the token that it gave. No `Debug`.
pub(crate) struct VaultLogin {
    auth: VaultAuth,
    flight: Flight<Token>,
}

struct Token {
    value: HeaderValue,
    serial: u64,
    /// `None`: it does not end.
    ends: Option<Instant>,
    /// `None`: nothing is to be renewed.
    renew_at: Option<Instant>,
    /// Whether it can be renewed; else a new one is had.
    renewable: bool,
    /// How long it lived when it was new.
    lifetime: Duration,
}

/// What a login, or a renewal, answers. No `Debug`.
#[derive(Deserialize)]
struct Granted {
    auth: Option<Auth>,
}

#[derive(Deserialize)]
struct Auth {
    #[serde(default)]
    client_token: String,
    #[serde(default)]
    lease_duration: u64,
    #[serde(default)]
    renewable: bool,
}

/// What a token says of itself, without the token.
#[derive(Deserialize)]
struct Looked {
    data: LookedData,
}

#[derive(Deserialize)]
struct LookedData {
    #[serde(default)]
    ttl: u64,
    #[serde(default)]
    renewable: bool,
}

impl VaultLogin {
    pub(crate) fn new(auth: VaultAuth) -> Result<Self, BuildError> {
        let usable = match &auth {
            VaultAuth::Token(token) => token_header(token).is_some(),
            VaultAuth::AppRole { mount, role_id, secret_id } => {
                is_path(mount)
                    && !role_id.is_empty()
                    && secret_id.expose_str().is_some_and(|text| !text.trim().is_empty())
            }
            VaultAuth::Kubernetes { mount, role, .. } => is_path(mount) && !role.is_empty(),
        };
        if !usable {
            return Err(unusable());
        }
        Ok(Self { auth, flight: Flight::new() })
    }

    /// Another ticket than the one that was refused; `None` for a token that was given, which nobody here can replace.
    pub(super) async fn renewed(&self, http: &Http, refused: u64) -> Result<Option<Ticket>, CallError> {
        match self.auth {
            VaultAuth::Token(_) => Ok(None),
            _ => self.ticket(http, Some(refused)).await.map(Some),
        }
    }

    /// The token to use now. `refused` is the serial of a token that was not accepted.
    pub(super) async fn ticket(&self, http: &Http, refused: Option<u64>) -> Result<Ticket, CallError> {
        self.flight.ticket(refused, async |old, serial| self.renew(http, old, serial).await).await
    }

    async fn renew(&self, http: &Http, old: Option<Token>, serial: u64) -> Result<Token, CallError> {
        let given = matches!(self.auth, VaultAuth::Token(_));
        if let Some(mut old) = old.filter(|old| given || old.ends.is_none_or(|ends| Instant::now() < ends)) {
            if old.renewable {
                match self.renew_self(http, &old).await {
                    Ok(Some(auth)) if given || seconds(auth.lease_duration) * 2 > old.lifetime => {
                        old.prolong(auth.lease_duration, auth.renewable);
                        return Ok(old);
                    }
                    // Nearing the longest life that it may have: a new one is had instead.
                    Ok(_) => {}
                    // A server in trouble is no reason to log in, as long as the token holds.
                    Err(_) if old.ends.is_some_and(|ends| Instant::now() + RENEW_AGAIN < ends) => {
                        old.renew_at = Some(Instant::now() + RENEW_AGAIN);
                        return Ok(old);
                    }
                    Err(_) if given => {}
                    Err(error) => return Err(error),
                }
            }
            if given {
                // It holds as long as it does; the calls will tell when it ends.
                old.renew_at = None;
                return Ok(old);
            }
        }
        match &self.auth {
            VaultAuth::Token(token) => look_up(http, token, serial).await,
            VaultAuth::AppRole { mount, role_id, secret_id } => {
                let secret_id = secret_id.expose_str().unwrap_or_default().trim();
                log_in(http, mount, &json!({"role_id": role_id, "secret_id": secret_id}), serial).await
            }
            VaultAuth::Kubernetes { mount, role, token_file } => {
                let jwt = tokio::fs::read(token_file).await.map(SecretValue::new);
                let jwt = jwt.map_err(|_| own_fault("the service account's token cannot be read"))?;
                let jwt = jwt.expose_str().ok_or_else(|| own_fault("the service account's token is not text"))?;
                log_in(http, mount, &json!({"role": role, "jwt": jwt.trim()}), serial).await
            }
        }
    }

    /// `None`: it was refused.
    async fn renew_self(&self, http: &Http, old: &Token) -> Result<Option<Auth>, CallError> {
        let url = http.url("/v1/auth/token/renew-self", &[]);
        let body = json_body(Operation::Login, &json!({}))?;
        let request = Request::new(Operation::Login, Method::POST, url, body);
        let ticket = old.ticket();
        let answer = http.send(&request, &ticket.headers).await?;
        if in_trouble(&answer) {
            return Err(status::refusal(Some(Provider::Vault), &answer, Timestamp::now()));
        }
        let granted = serde_json::from_slice::<Granted>(answer.body_or_empty()).ok();
        Ok(granted.filter(|_| answer.status.is_success()).and_then(|granted| granted.auth))
    }
}

/// Asks a token that was given for how long it holds.
async fn look_up(http: &Http, token: &SecretValue, serial: u64) -> Result<Token, CallError> {
    let value = token_header(token).ok_or_else(|| own_fault("the token cannot stand in a header"))?;
    let mut token = Token { value, serial, ends: None, renew_at: None, renewable: false, lifetime: Duration::ZERO };
    let url = http.url("/v1/auth/token/lookup-self", &[]);
    let request = Request::new(Operation::Login, Method::GET, url, Body::None);
    let ticket = token.ticket();
    let answer = http.send(&request, &ticket.headers).await?;
    if answer.status.is_success() {
        if let Ok(looked) = serde_json::from_slice::<Looked>(answer.body_or_empty()) {
            token.prolong(looked.data.ttl, looked.data.renewable);
        }
        return Ok(token);
    }
    if status::refuses_token(Provider::Vault, &answer) || in_trouble(&answer) {
        return Err(status::refusal(Some(Provider::Vault), &answer, Timestamp::now()));
    }
    // Its policies do not let it look at itself, so nothing is known of its end.
    Ok(token)
}

async fn log_in(http: &Http, mount: &str, body: &serde_json::Value, serial: u64) -> Result<Token, CallError> {
    let segments: Vec<&str> = mount.split('/').chain(["login"]).collect();
    let url = http.url("/v1/auth", &segments);
    let body = json_body(Operation::Login, body)?;
    let request = Request::new(Operation::Login, Method::POST, url, body);
    let answer = http.send(&request, &HeaderMap::new()).await?;
    if !answer.status.is_success() {
        return Err(status::refusal(Some(Provider::Vault), &answer, Timestamp::now()));
    }
    let granted: Granted =
        serde_json::from_slice(answer.required_body()?).map_err(|_| answer.unreadable("the answer holds no token"))?;
    let auth = granted.auth.filter(|auth| !auth.client_token.is_empty());
    let auth =
        auth.ok_or_else(|| answer.unreadable("the answer holds no token; perhaps a second factor is asked for"))?;
    let value = token_header(&SecretValue::from(auth.client_token))
        .ok_or_else(|| answer.unreadable("the token cannot stand in a header"))?;
    let mut token = Token { value, serial, ends: None, renew_at: None, renewable: false, lifetime: Duration::ZERO };
    token.prolong(auth.lease_duration, auth.renewable);
    token.lifetime = seconds(auth.lease_duration);
    Ok(token)
}

impl Held for Token {
    fn ticket(&self) -> Ticket {
        let name = HeaderName::from_static("x-vault-token");
        Ticket { headers: HeaderMap::from_iter([(name, self.value.clone())]), serial: self.serial }
    }

    fn is_fresh(&self) -> bool {
        self.renew_at.is_none_or(|at| Instant::now() < at)
    }
}

impl Token {
    /// Takes in how long it holds from now; 0 stands for a token without an end.
    fn prolong(&mut self, lease: u64, renewable: bool) {
        let now = Instant::now();
        let lease = seconds(lease);
        self.renewable = renewable;
        self.ends = (!lease.is_zero()).then(|| now + lease);
        // Two thirds, as the server's own agent does it: what is left is enough for a few more tries.
        self.renew_at = self.ends.map(|_| now + lease * 2 / 3);
    }
}

fn seconds(lease: u64) -> Duration {
    Duration::from_secs(lease.min(LONGEST_LIFETIME))
}

fn in_trouble(answer: &Answer) -> bool {
    answer.status.is_server_error() || matches!(answer.status.as_u16(), 412 | 429 | 472 | 473)
}

/// A login that never left, for a reason that is the credential's.
fn own_fault(why: &str) -> CallError {
    CallError {
        operation: Operation::Login,
        class: ErrorClass::Authentication,
        status: None,
        retry_after: None,
        message: format!("login was not sent: {why}"),
    }
}

fn token_header(token: &SecretValue) -> Option<HeaderValue> {
    header("", token)
}

/// Whether a mount's path can stand in a URL as it is.
pub(crate) fn is_path(path: &str) -> bool {
    path.split('/').all(|segment| !matches!(segment, "" | "." | ".."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_renewed_at_two_thirds_of_its_life() {
        let value = HeaderValue::from_static("t");
        let mut token =
            Token { value, serial: 1, ends: None, renew_at: None, renewable: false, lifetime: Duration::ZERO };
        token.prolong(3600, true);
        let left = token.ends.zip(token.renew_at).map(|(ends, renew)| ends - renew);
        assert_eq!(left, Some(Duration::from_secs(1200)));
        token.prolong(0, false);
        assert!(token.is_fresh() && token.ends.is_none(), "a root token does not end");
    }
}
