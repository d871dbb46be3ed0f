//! How long what waits will take: an estimate from the connections' limits, or from what was seen. Pure.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use super::view::{ObjectView, Standing};
use crate::api::ConnectionSpec;
use crate::api::condition::{self, types};
use crate::cli::show::span;
use crate::controller::keys::ConnectionKey;
use crate::controller::shown::Shown;
use crate::remote::Provider;
use crate::remote::spec::default_limits;

/// Connections that may be looked at.
pub(super) type Connections = BTreeMap<ConnectionKey, Shown>;

/// Shortest time, and fewest entries, that a rate is taken from.
const SEEN_FOR: Duration = Duration::from_secs(5);
const SEEN_ENTRIES: u32 = 5;

/// How many objects stand where, and what waits.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Outlook {
    pub(super) ready: u32,
    pub(super) queued: u32,
    pub(super) blocked: u32,
    pub(super) failing: u32,
    /// Entries in sync, and all that are wanted.
    pub(super) synced_entries: u32,
    pub(super) total_entries: u32,
    /// Entries that go by themselves.
    pub(super) waiting_entries: u32,
    /// Entries that wait for what blocks them.
    pub(super) held_entries: u32,
    /// How long those that go will take.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) estimated_seconds: Option<u64>,
    /// The connection that takes longest, and its requests a minute.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) slowest: Option<(String, u32)>,
}

/// Requests a minute that a connection allows.
pub(super) fn per_minute(spec: &ConnectionSpec) -> u32 {
    let own = spec.limits.as_ref().and_then(|limits| limits.requests_per_minute);
    let provider = if spec.mixpeek.is_some() {
        Provider::Mixpeek
    } else if spec.vault.is_some() {
        Provider::Vault
    } else if spec.dreadnode.is_some() {
        Provider::Dreadnode
    } else if spec.http.is_some() {
        Provider::Http
    } else {
        Provider::Kelvin
    };
    own.unwrap_or_else(|| default_limits(provider).requests_per_minute).max(1)
}

/// Whether a connection lets anything through now.
fn works(shown: &Shown) -> bool {
    condition::find(&shown.status.conditions, types::READY).is_some_and(|ready| ready.status == "True")
}

/// Sums up.
pub(super) fn outlook<'v>(objects: impl IntoIterator<Item = &'v ObjectView>, connections: &Connections) -> Outlook {
    let mut sum = Outlook::default();
    let mut loads: BTreeMap<&ConnectionKey, u32> = BTreeMap::new();
    for object in objects {
        match object.standing {
            Standing::Ready => sum.ready += 1,
            Standing::Queued => sum.queued += 1,
            Standing::Blocked => sum.blocked += 1,
            Standing::Failing => sum.failing += 1,
        }
        sum.synced_entries += object.synced;
        sum.total_entries += object.total;
        sum.held_entries += object.held;
        if connections.get(&object.key).is_some_and(|shown| !works(shown)) {
            sum.held_entries += object.waiting;
        } else if object.waiting > 0 {
            sum.waiting_entries += object.waiting;
            *loads.entry(&object.key).or_default() += object.waiting;
        }
    }
    // Connections do not wait for each other: the longest is the time of all.
    let mut longest: Option<(u64, String, u32)> = None;
    for (key, writes) in &loads {
        let Some(shown) = connections.get(*key) else {
            // One that may not be looked at: nothing can be said of the whole.
            return sum;
        };
        let rate = per_minute(&shown.spec);
        let seconds = (u64::from(*writes) * 60).div_ceil(u64::from(rate));
        if longest.as_ref().is_none_or(|(most, ..)| seconds > *most) {
            longest = Some((seconds, key.display(), rate));
        }
    }
    if let Some((seconds, connection, rate)) = longest {
        sum.estimated_seconds = Some(seconds);
        sum.slowest = Some((connection, rate));
    }
    sum
}

/// The last line of a list.
pub(super) fn sentence(sum: &Outlook) -> String {
    let objects = sum.ready + sum.queued + sum.blocked + sum.failing;
    let noun = if objects == 1 { "VaultSecret" } else { "VaultSecrets" };
    let mut text = format!(
        "{objects} {noun}: {} ready, {} queued, {} blocked, {} failing; {}/{} entries in sync",
        sum.ready, sum.queued, sum.blocked, sum.failing, sum.synced_entries, sum.total_entries
    );
    if sum.waiting_entries > 0 {
        text.push_str(&format!("\n{}", waiting(sum)));
    }
    if sum.held_entries > 0 {
        let verb = if sum.held_entries == 1 { "entry waits" } else { "entries wait" };
        text.push_str(&format!("\n{} {verb} for what blocks them; how long is not known", sum.held_entries));
    }
    text
}

fn waiting(sum: &Outlook) -> String {
    let verb = if sum.waiting_entries == 1 { "entry waits to be written" } else { "entries wait to be written" };
    match (sum.estimated_seconds, &sum.slowest) {
        (Some(seconds), Some((connection, rate))) => format!(
            "{} {verb}: about {} by estimate ({rate} requests a minute at {connection})",
            sum.waiting_entries,
            span(i64::try_from(seconds).unwrap_or(i64::MAX))
        ),
        _ => format!(
            "{} {verb}; how long that takes is not known: you may not look at the connection",
            sum.waiting_entries
        ),
    }
}

/// What is left, from what was done in a time, or from the limits while too little was seen.
pub(super) fn left(sum: &Outlook, done: u32, within: Duration) -> Option<Duration> {
    if sum.waiting_entries == 0 {
        return None;
    }
    if within >= SEEN_FOR && done >= SEEN_ENTRIES {
        return Some(within.mul_f64(f64::from(sum.waiting_entries) / f64::from(done)));
    }
    sum.estimated_seconds.map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::super::tests::{connection, object};
    use super::*;
    use serde_json::json;

    #[test]
    fn the_slowest_connection_is_the_time_of_all() {
        let connections: Connections = [
            connection("quick", "Connected", json!({"requestsPerMinute": 600})),
            connection("slow", "Connected", json!({"requestsPerMinute": 60})),
        ]
        .into();
        let objects = [
            object("a", "quick", "Queued", &["Queued"; 100]),
            object("b", "slow", "Queued", &["Queued"; 40]),
            object("c", "slow", "Synced", &["InSync"; 3]),
        ];
        let sum = outlook(&objects, &connections);
        assert_eq!((sum.ready, sum.queued, sum.waiting_entries, sum.estimated_seconds), (1, 2, 140, Some(40)));
        assert_eq!(
            sentence(&sum),
            "3 VaultSecrets: 1 ready, 2 queued, 0 blocked, 0 failing; 3/143 entries in sync\n140 entries wait to be \
             written: about 40s by estimate (60 requests a minute at VaultConnection/slow)"
        );
    }

    #[test]
    fn a_connection_that_sets_no_limits_has_those_of_its_provider() {
        let mut spec = connection("c", "Connected", json!({})).1.spec;
        assert_eq!(per_minute(&spec), 600);
        spec.kelvin = None;
        spec.mixpeek = serde_json::from_value(json!({"auth": {"apiKeyRef": {"name": "s", "key": "k"}}})).unwrap();
        assert_eq!(per_minute(&spec), 10);
    }

    #[test]
    fn no_time_is_told_of_what_is_held_or_cannot_be_seen() {
        let connections: Connections = [connection("frozen", "RemoteDiverged", json!({}))].into();
        let sum = outlook(&[object("a", "frozen", "RemoteDiverged", &["Pending"; 7])], &connections);
        assert_eq!((sum.waiting_entries, sum.held_entries, sum.estimated_seconds), (0, 7, None));
        assert!(sentence(&sum).ends_with("7 entries wait for what blocks them; how long is not known"));
        let sum = outlook(&[object("a", "unseen", "Queued", &["Queued"])], &connections);
        assert_eq!((sum.waiting_entries, sum.estimated_seconds), (1, None));
        assert!(sentence(&sum).contains("you may not look at the connection"));
    }

    #[test]
    fn what_was_seen_counts_more_than_the_limits() {
        let sum = Outlook { waiting_entries: 100, estimated_seconds: Some(10), ..Outlook::default() };
        assert_eq!(left(&sum, 0, Duration::from_secs(60)), Some(Duration::from_secs(10)), "nothing was seen yet");
        assert_eq!(left(&sum, 50, Duration::from_secs(20)), Some(Duration::from_secs(40)));
        assert_eq!(left(&Outlook::default(), 50, Duration::from_secs(20)), None);
    }
}
