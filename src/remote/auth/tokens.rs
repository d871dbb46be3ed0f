//! Tokens that are had by a login. One token a client, renewed by one caller while the others wait for it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use tokio::sync::Mutex;

use super::Ticket;
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
        Self { grant, elsewhere, ended: AtomicU64::new(0), state: Mutex::new(State::default()) }
    }

    /// The token to use now. `refused` is the serial of a token that was answered with 401.
    pub(super) async fn ticket(&self, http: &Http, refused: Option<u64>) -> Result<Ticket, CallError> {
        let http = self.elsewhere.as_ref().unwrap_or(http);
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

impl Token {
    fn ticket(&self) -> Ticket {
        Ticket { headers: HeaderMap::from_iter([self.header.clone()]), serial: self.serial }
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
