//! Tokens that are had by a login. One token a client, renewed by one caller while the others wait for it.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};

use super::Ticket;
use super::flight::{Flight, Held};
use crate::remote::client::{Answer, Http, Request};
use crate::remote::{CallError, status};
use crate::value::SecretValue;

/// No token is trusted for longer than this, whatever its answer says.
pub(crate) const LONGEST_LIFETIME: u64 = 30 * 24 * 3600;

/// A way to a token: which requests are sent, and where the token is in the answers.
pub(crate) trait Grant: Send + Sync {
    /// The request that logs in.
    fn login(&self, http: &Http) -> Result<Request, CallError>;
    /// The request that renews a token. Asked for only where [`Grant::read`] gave a refresh token.
    fn refresh(&self, http: &Http, token: &SecretValue) -> Result<Request, CallError>;
    /// What an answer of 2xx to either holds.
    fn read(&self, answer: &Answer) -> Result<Granted, CallError>;
}

/// What a login gave. No `Debug`.
pub(crate) struct Granted {
    /// The header that shows the token.
    pub(crate) header: (HeaderName, HeaderValue),
    /// For how many seconds it is good.
    pub(crate) lifetime: u64,
    /// A token to renew it with, and for how many seconds that is good; `None`: it does not end.
    pub(crate) refresh: Option<(SecretValue, Option<u64>)>,
}

/// A way to tokens and the one at hand. No `Debug`.
pub(crate) struct Tokens {
    grant: Box<dyn Grant>,
    /// Where the logins go, if that is another host than that of the calls.
    elsewhere: Option<Http>,
    flight: Flight<Token>,
}

struct Token {
    header: (HeaderName, HeaderValue),
    serial: u64,
    renew_at: Instant,
    refresh: Option<Refresh>,
}

struct Refresh {
    token: SecretValue,
    /// `None`: it does not end.
    dead_at: Option<Instant>,
}

impl Tokens {
    pub(crate) fn new(grant: Box<dyn Grant>, elsewhere: Option<Http>) -> Self {
        Self { grant, elsewhere, flight: Flight::new() }
    }

    /// The token to use now. `refused` is the serial of a token that was answered with 401.
    pub(super) async fn ticket(&self, http: &Http, refused: Option<u64>) -> Result<Ticket, CallError> {
        let http = self.elsewhere.as_ref().unwrap_or(http);
        self.flight
            .ticket(refused, async |old: Option<Token>, serial| {
                self.renew(http, old.and_then(|old| old.refresh), serial).await
            })
            .await
    }

    async fn renew(&self, http: &Http, refresh: Option<Refresh>, serial: u64) -> Result<Token, CallError> {
        if let Some(refresh) = refresh.filter(|refresh| refresh.dead_at.is_none_or(|at| Instant::now() < at)) {
            let answer = http.send(&self.grant.refresh(http, &refresh.token)?, &HeaderMap::new()).await?;
            if answer.status.is_success() {
                return self.token(&answer, serial);
            }
            // A refused refresh token is a reason to log in; a server in trouble is none.
            if answer.status.is_server_error() || answer.status.as_u16() == 429 {
                return Err(status::refusal(None, &answer, Timestamp::now()));
            }
        }
        let answer = http.send(&self.grant.login(http)?, &HeaderMap::new()).await?;
        if answer.status.is_success() {
            return self.token(&answer, serial);
        }
        Err(status::refusal(None, &answer, Timestamp::now()))
    }

    fn token(&self, answer: &Answer, serial: u64) -> Result<Token, CallError> {
        let granted = self.grant.read(answer)?;
        let now = Instant::now();
        let refresh = granted
            .refresh
            .map(|(token, seconds)| Refresh { token, dead_at: seconds.map(|seconds| now + most_of(seconds)) });
        Ok(Token { header: granted.header, serial, renew_at: now + most_of(granted.lifetime), refresh })
    }
}

impl Held for Token {
    fn ticket(&self) -> Ticket {
        Ticket { headers: HeaderMap::from_iter([self.header.clone()]), serial: self.serial }
    }

    fn is_fresh(&self) -> bool {
        Instant::now() < self.renew_at
    }
}

/// Nine tenths of a lifetime: a token is renewed before it ends.
fn most_of(seconds: u64) -> Duration {
    Duration::from_secs(seconds.min(LONGEST_LIFETIME)) * 9 / 10
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
