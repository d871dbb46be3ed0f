//! One login at a time: who needs a token while another fetches it waits, and shares what came of it.

use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Mutex;

use super::Ticket;
use crate::remote::CallError;

/// A token that a login gave.
pub(super) trait Held {
    /// What shows it to the remote, with the serial number that it was made under.
    fn ticket(&self) -> Ticket;
    /// Whether it may be used as it is, without being renewed.
    fn is_fresh(&self) -> bool;
}

/// The token at hand and the order of those who want a new one. No `Debug`.
pub(super) struct Flight<T> {
    /// How many logins have ended, to tell those who waited for one from those who came after it.
    ended: AtomicU64,
    state: Mutex<State<T>>,
}

struct State<T> {
    token: Option<T>,
    serial: u64,
    /// How the last login ended, if it failed.
    failure: Option<CallError>,
}

impl<T: Held> Flight<T> {
    pub(super) fn new() -> Self {
        Self { ended: AtomicU64::new(0), state: Mutex::new(State { token: None, serial: 0, failure: None }) }
    }

    /// The token to use now. `refused` is the serial of one that was not accepted: it is not handed to `renew`, as a session that
    /// was ended takes what could renew it along. `renew` gets the old token, if there is one, and the new one's serial.
    pub(super) async fn ticket(
        &self,
        refused: Option<u64>,
        renew: impl AsyncFnOnce(Option<T>, u64) -> Result<T, CallError>,
    ) -> Result<Ticket, CallError> {
        let ended_before = self.ended.load(Ordering::Acquire);
        let mut state = self.state.lock().await;
        if refused.is_some() && state.token.as_ref().map(|token| token.ticket().serial) == refused {
            state.token = None;
        }
        if let Some(token) = state.token.as_ref().filter(|token| token.is_fresh()) {
            return Ok(token.ticket());
        }
        // Who waited here while another's login failed shares its failure: ten waiting calls must not try a wrong
        // password ten times.
        if let Some(failure) = &state.failure
            && self.ended.load(Ordering::Acquire) != ended_before
        {
            return Err(failure.clone());
        }
        let old = state.token.take();
        let result = renew(old, state.serial + 1).await;
        self.ended.fetch_add(1, Ordering::AcqRel);
        match result {
            Ok(token) => {
                let ticket = token.ticket();
                state.serial = ticket.serial;
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
}
