//! What holds at the moment of a scrape.

use std::collections::BTreeMap;

use super::context::Context;
use crate::api::Reason;
use crate::api::condition;
use crate::api::vault_secret::VaultSecretStatus;
use crate::metrics::{ConnectionSample, Scrape};
use crate::remote::lane::BreakerState;
use crate::sync::ledger::EntryState;

/// Looks at connections and ledgers.
#[must_use]
pub fn look(ctx: &Context) -> Scrape {
    let now = ctx.clock.now();
    let connections = ctx
        .connections
        .all()
        .iter()
        .map(|connection| {
            let lane = connection.remote.lane.state();
            ConnectionSample {
                connection: connection.metric_name(),
                queue_length: lane.queued.iter().map(|n| u64::from(*n)).sum(),
                breaker: match lane.health.breaker {
                    BreakerState::Closed => 0,
                    BreakerState::HalfOpen => 1,
                    BreakerState::Open { .. } => 2,
                },
                last_good_probe_age: connection.remote.last_good().map(|at| now.duration_since(at).as_secs_f64()),
                frozen: connection.frozen().is_some(),
            }
        })
        .collect();
    let mut states: BTreeMap<String, u64> = BTreeMap::new();
    for vs in ctx.vault_secrets.all() {
        for row in vs.status.iter().flat_map(|s| &s.entries) {
            *states.entry(format!("{:?}", row.state)).or_default() += 1;
        }
        let refused = vs.status.as_ref().map_or(0, without_row);
        if refused > 0 {
            *states.entry(format!("{:?}", EntryState::Refused)).or_default() += refused;
        }
    }
    Scrape { connections, entries_by_state: states.into_iter().collect() }
}

/// Entries whose names are refused: the ledger has no rows for them, because there is no such entry.
fn without_row(status: &VaultSecretStatus) -> u64 {
    let refused =
        condition::find(&status.conditions, "Ready").is_some_and(|c| c.reason == Reason::NameRefused.as_str());
    let rows = status.entries.iter().filter(|row| row.key.is_some()).count() as u64;
    u64::from(status.total_entries.unwrap_or_default()).saturating_sub(if refused { rows } else { u64::MAX })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use serde_json::json;

    use super::*;

    #[test]
    fn entries_with_refused_names_are_counted() {
        let status = |reason: &str| -> VaultSecretStatus {
            let ready = json!({"type": "Ready", "status": "False", "reason": reason, "message": "",
                               "lastTransitionTime": "2026-01-01T00:00:00Z"});
            let row = json!({"connection": "VaultConnection/c", "remoteName": "a", "key": "A"});
            let leaving = json!({"connection": "VaultConnection/c", "remoteName": "b"});
            serde_json::from_value(json!({"totalEntries": 3, "conditions": [ready], "entries": [row, leaving]}))
                .unwrap()
        };
        assert_eq!(without_row(&status("NameRefused")), 2);
        assert_eq!(without_row(&status("ConnectionMissing")), 0);
    }
}
