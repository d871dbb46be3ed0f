//! Restarting workloads once the Secret shows changed values.
//!
//! The status says for which set of values they were restarted last. It is written after the restarts, and a restart for the
//! same set changes nothing, so a crash anywhere between costs no second restart, and none is lost.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::backoff::{self, jittered};
use super::pass::{Note, Pass};
use super::project::Projection;
use crate::kube_error::CALL_LIMIT;
use crate::projection::restart::{Restarted, annotation, restart};
use crate::sync::fingerprint::KeyRing;
use crate::sync::plan::after;
use crate::value::SecretValue;

/// Domain of the fingerprint of a set of values; no entry at a remote has such a name, because none begins with a space.
const SET: &str = " set of values";

/// How many restarts may be asked for in the whole cluster: so many a minute, and as many at once.
pub struct RestartBudget {
    per_minute: f64,
    state: Mutex<(f64, Instant)>,
}

impl RestartBudget {
    /// A full budget.
    #[must_use]
    pub fn new(per_minute: u32) -> Self {
        let per_minute = f64::from(per_minute.max(1));
        Self { per_minute, state: Mutex::new((per_minute, Instant::now())) }
    }

    /// Takes one, or says when there is one.
    ///
    /// # Errors
    /// How long to wait.
    pub fn take(&self) -> Result<(), Duration> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let earned = now.duration_since(state.1).as_secs_f64() * self.per_minute / 60.0;
        *state = ((state.0 + earned).min(self.per_minute), now);
        if state.0 >= 1.0 {
            state.0 -= 1.0;
            return Ok(());
        }
        Err(Duration::from_secs_f64((1.0 - state.0) * 60.0 / self.per_minute))
    }
}

impl Pass<'_> {
    /// Names the set of values that the target shows; `None` where no workload is to be restarted for it.
    #[must_use]
    pub fn name_of_set<'v>(&self, data: impl Iterator<Item = (&'v String, &'v SecretValue)>) -> Option<String> {
        if self.vs.spec.rollout_restart_targets.is_empty() {
            return None;
        }
        let recorded = self.vs.status.as_ref().and_then(|s| s.target.as_ref()).and_then(|t| t.values.as_deref());
        Some(name_of_set(&self.ctx.keys, recorded, &self.uid(), data))
    }

    /// Restarts the workloads, if the target shows another set than the one that they were restarted for, and notes that in what
    /// the status says of the target.
    pub async fn restart_workloads(&mut self, projection: &mut Projection) {
        let recorded = self.vs.status.as_ref().and_then(|s| s.target.clone());
        let Some(mut target) = projection.status.clone().or(recorded) else { return };
        let Some(set) = target.values.clone().filter(|set| target.restarted.as_ref() != Some(set)) else { return };
        let mut done = Vec::new();
        for one in self.vs.spec.rollout_restart_targets.clone() {
            if let Err(wait) = self.ctx.restarts.take() {
                self.look_again(after(self.ctx.clock.now(), wait));
                return;
            }
            self.ctx.metrics.api_write("patch", "workloads");
            let annotation = annotation(&self.key.name);
            let now = self.ctx.clock.now();
            let asked = restart(self.ctx.client.clone(), &self.key.namespace, &one, &annotation, &set, now);
            let problem = match tokio::time::timeout(CALL_LIMIT, asked).await {
                Ok(Ok(Restarted::Done)) => {
                    done.push(format!("{} {}", one.kind.as_str(), one.name));
                    continue;
                }
                Ok(Ok(Restarted::Absent)) => {
                    self.warn(
                        "RestartTargetMissing",
                        format!("there is no {} {:?} to restart", one.kind.as_str(), one.name),
                    );
                    continue;
                }
                Ok(Err(error)) => error.to_string(),
                Err(_) => {
                    format!("restarting {} {:?}: the API server did not answer in time", one.kind.as_str(), one.name)
                }
            };
            // Those that were restarted already are not restarted again: they name the set.
            self.warn("RestartFailed", format!("{problem}; it is tried again"));
            let next = self.state.restart_backoff.failed(backoff::TARGET, now, jittered);
            self.look_again(next);
            return;
        }
        self.state.restart_backoff.reset();
        if !done.is_empty() {
            let text = format!("the values changed: restarted {}", done.join(", "));
            self.notes.push(Note { warning: false, reason: "Restarted", text, entry: None });
        }
        target.restarted = Some(set);
        projection.status = Some(target);
    }
}

/// Names a set of values of one VaultSecret, under the key that `recorded` was made with. Pure.
#[must_use]
pub fn name_of_set<'v>(
    keys: &KeyRing,
    recorded: Option<&str>,
    uid: &str,
    data: impl Iterator<Item = (&'v String, &'v SecretValue)>,
) -> String {
    let mut bytes = zeroize::Zeroizing::new(Vec::new());
    for (key, value) in data {
        for field in [key.as_bytes(), value.expose()] {
            bytes.extend_from_slice(&(field.len() as u64).to_be_bytes());
            bytes.extend_from_slice(field);
        }
    }
    keys.fingerprint_like(recorded, uid, SET, &bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_budget_is_so_many_a_minute() {
        let budget = RestartBudget::new(2);
        assert_eq!((budget.take(), budget.take()), (Ok(()), Ok(())));
        assert_eq!(budget.take(), Err(Duration::from_secs(30)));
        tokio::time::advance(Duration::from_secs(30)).await;
        assert_eq!(budget.take(), Ok(()));
        assert!(budget.take().is_err());
        tokio::time::advance(Duration::from_secs(3600)).await;
        assert_eq!((budget.take(), budget.take()), (Ok(()), Ok(())));
        assert!(budget.take().is_err(), "what was not used is not saved up");
    }
}
