//! What holds at the moment of a scrape.

use std::collections::BTreeMap;

use super::context::Context;
use crate::metrics::{ConnectionSample, Scrape};
use crate::remote::lane::BreakerState;

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
    }
    Scrape { connections, entries_by_state: states.into_iter().collect() }
}
