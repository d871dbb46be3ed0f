//! What is told of a remote: whether anything may be sent, and what its connections' condition says.

use std::time::Duration;

use jiff::Timestamp;

use super::{AUTH_RETRY, ProbeHealth, RemoteHandle, max_age};
use crate::api::ConnectionReason;
use crate::controller::backoff::jittered;
use crate::remote::lane::BreakerState;
use crate::remote::{CallError, ErrorClass};

/// A limit that ends sooner is not told in the condition.
const WORTH_TELLING: Duration = Duration::from_secs(5);

impl RemoteHandle {
    /// When there will have been no list for so long that nothing can be relied on; `None` once that was told.
    pub(super) fn stale_at(&self) -> Option<Timestamp> {
        let state = self.lock();
        let age = state.interval.map(max_age)?;
        let since = state.last_good.unwrap_or(self.made);
        (!state.told_stale)
            .then(|| crate::sync::plan::after(crate::sync::plan::after(since, age), Duration::from_millis(2)))
    }

    /// Whether there has been no list for longer than `age`, said once until there is one again.
    #[must_use]
    pub fn grows_stale(&self, age: Duration) -> bool {
        let now = self.clock.now();
        let mut state = self.lock();
        let since = state.last_good.unwrap_or(self.made);
        let news = !state.told_stale && crate::sync::plan::after(since, age) < now;
        state.told_stale |= news;
        news
    }

    /// Tells the lane of a login that failed before a write.
    pub fn lane_report(&self, error: &CallError) {
        if error.class == ErrorClass::Authentication {
            let mut state = self.lock();
            state.health = ProbeHealth::Bad(ConnectionReason::AuthenticationFailed, error.message.clone());
            state.retry_at = Some(crate::sync::plan::after(self.clock.now(), jittered(AUTH_RETRY)));
            drop(state);
            self.lane.pause("the credential was refused");
        }
    }

    /// Until when nothing is sent: the remote asked us to wait, or it failed too often in a row.
    #[must_use]
    pub fn shut_until(&self) -> Option<Timestamp> {
        let health = self.lane.state().health;
        let open = match health.breaker {
            BreakerState::Open { until } => Some(until),
            BreakerState::Closed | BreakerState::HalfOpen => None,
        };
        health.limited_until.max(open)
    }

    /// Why nothing may be sent now, for VaultSecrets: no list yet, or a credential that was refused. A remote in passing
    /// trouble is the lane's affair.
    #[must_use]
    pub fn not_ready(&self) -> Option<(ConnectionReason, String)> {
        let state = self.lock();
        match &state.health {
            ProbeHealth::Bad(reason, message)
                if state.snapshot.is_none()
                    || matches!(
                        reason,
                        ConnectionReason::AuthenticationFailed | ConnectionReason::PermissionDenied
                    ) =>
            {
                Some((*reason, message.clone()))
            }
            ProbeHealth::Connecting | ProbeHealth::Good if state.snapshot.is_none() => {
                Some((ConnectionReason::Connecting, "the remote has not been listed yet".to_owned()))
            }
            _ => None,
        }
    }

    /// What the connection's condition says of the remote.
    #[must_use]
    pub fn condition(&self) -> (ConnectionReason, String) {
        let health = self.lock().health.clone();
        if let ProbeHealth::Bad(
            reason @ (ConnectionReason::AuthenticationFailed | ConnectionReason::PermissionDenied),
            text,
        ) = &health
        {
            return (*reason, text.clone());
        }
        let lane = self.lane.state().health;
        let resting = match lane.breaker {
            BreakerState::Closed => None,
            BreakerState::HalfOpen => Some("too many failures in a row; it is tried again now".to_owned()),
            // Written once and not at each attempt, so it says what holds after the next one too.
            BreakerState::Open { until } => Some(format!(
                "too many failures in a row, so it rests; next attempt at {}, and from then on at least once a minute",
                crate::clock::to_seconds(until)
            )),
        };
        if let Some(resting) = resting {
            let text = match &health {
                ProbeHealth::Bad(_, text) => format!("{resting}; the last failure: {text}"),
                _ => resting,
            };
            return (ConnectionReason::CircuitOpen, text);
        }
        if lane.limited_until.is_some_and(|until| self.clock.until(until) > WORTH_TELLING) {
            return (ConnectionReason::RateLimited, "the remote asked us to wait".to_owned());
        }
        match health {
            ProbeHealth::Connecting => (ConnectionReason::Connecting, "the remote has not been listed yet".to_owned()),
            ProbeHealth::Good if self.lock().reads_only => (
                ConnectionReason::Connected,
                "entries are read; nothing is pushed there, so nothing is listed".to_owned(),
            ),
            ProbeHealth::Good => (ConnectionReason::Connected, "the remote was listed".to_owned()),
            ProbeHealth::Bad(reason, text) => (reason, text),
        }
    }
}
