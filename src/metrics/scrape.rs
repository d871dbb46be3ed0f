//! Metrics that are looked up at the moment of a scrape, and those that go with a connection.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{Debug, Error, Formatter};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Unit;

use super::histogram;
use crate::remote::Operation;

/// What holds at the moment of a scrape.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Scrape {
    /// Every connection that exists.
    pub connections: Vec<ConnectionSample>,
    /// How many entries are in which state.
    pub entries_by_state: Vec<(String, u64)>,
}

/// A connection at the moment of a scrape.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ConnectionSample {
    /// `<namespace>/<name>`, or the name of a ClusterVaultConnection.
    pub connection: String,
    /// VaultSecrets that wait for a turn at the remote.
    pub queue_length: u64,
    /// Circuit breaker: 0 closed, 1 half-open, 2 open.
    pub breaker: u8,
    /// Seconds since the last good list; `None` before the first.
    pub last_good_probe_age: Option<f64>,
    /// Whether it is frozen until somebody approves.
    pub frozen: bool,
}

type Look = Box<dyn Fn() -> Scrape + Send + Sync>;
type Calls = BTreeMap<String, BTreeMap<(&'static str, &'static str), Histogram>>;

/// The closure to ask, and the calls by connection.
#[derive(Default)]
pub(super) struct Scraped {
    look: Mutex<Option<Look>>,
    calls: Mutex<Calls>,
}

impl Scraped {
    pub(super) fn look_with(&self, look: Look) {
        *self.look.lock().unwrap_or_else(PoisonError::into_inner) = Some(look);
    }

    pub(super) fn remote_call(&self, connection: &str, operation: Operation, status: Option<u16>, took: Duration) {
        let key = (operation.as_str(), status_class(status));
        let mut calls = self.calls();
        // Not the entry API: the name is cloned once a connection and not once a call.
        if !calls.contains_key(connection) {
            calls.insert(connection.to_owned(), BTreeMap::new());
        }
        if let Some(series) = calls.get_mut(connection) {
            series.entry(key).or_insert_with(histogram).observe(took.as_secs_f64());
        }
    }

    pub(super) fn forget(&self, connection: &str) {
        self.calls().remove(connection);
    }

    fn calls(&self) -> MutexGuard<'_, Calls> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// `none` when there was no answer.
pub(super) fn status_class(status: Option<u16>) -> &'static str {
    match status {
        Some(200..=299) => "2xx",
        Some(300..=399) => "3xx",
        Some(400..=499) => "4xx",
        Some(500..=599) => "5xx",
        _ => "none",
    }
}

impl Debug for Scraped {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result<(), Error> {
        f.debug_struct("Scraped").finish_non_exhaustive()
    }
}

/// One gauge with one label.
struct Gauge<'a> {
    name: &'a str,
    help: &'a str,
    unit: Option<Unit>,
    label: &'static str,
}

impl Gauge<'_> {
    fn encode<'v>(
        &self,
        encoder: &mut DescriptorEncoder<'_>,
        samples: impl IntoIterator<Item = (&'v str, f64)>,
    ) -> Result<(), Error> {
        let mut metric = encoder.encode_descriptor(self.name, self.help, self.unit.as_ref(), MetricType::Gauge)?;
        for (value, number) in samples {
            ConstGauge::new(number).encode(metric.encode_family(&[(self.label, value)])?)?;
        }
        Ok(())
    }
}

/// Counts are far from the 2^53 from which on an `f64` rounds.
#[allow(clippy::cast_precision_loss)]
fn number(count: u64) -> f64 {
    count as f64
}

impl Collector for Scraped {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), Error> {
        let seen = self.look.lock().unwrap_or_else(PoisonError::into_inner).as_ref().map(|look| look());
        if let Some(seen) = &seen {
            let exist: BTreeSet<&str> = seen.connections.iter().map(|c| c.connection.as_str()).collect();
            self.calls().retain(|connection, _| exist.contains(connection.as_str()));
            encode_scrape(seen, &mut encoder)?;
        }
        let help = "How long HTTP calls to remotes took.";
        let unit = Unit::Seconds;
        let mut metric = encoder.encode_descriptor("remote_call_duration", help, Some(&unit), MetricType::Histogram)?;
        for (connection, series) in self.calls().iter() {
            for ((operation, status_class), histogram) in series {
                let labels =
                    [("connection", connection.as_str()), ("operation", operation), ("status_class", status_class)];
                histogram.encode(metric.encode_family(&labels)?)?;
            }
        }
        Ok(())
    }
}

fn encode_scrape(seen: &Scrape, encoder: &mut DescriptorEncoder<'_>) -> Result<(), Error> {
    let gauge = |name, help| Gauge { name, help, unit: None, label: "connection" };
    let of_each = |value: fn(&ConnectionSample) -> Option<f64>| {
        seen.connections.iter().filter_map(move |c| Some((c.connection.as_str(), value(c)?)))
    };
    gauge("queue_length", "VaultSecrets that wait for a turn at the remote.")
        .encode(encoder, of_each(|c| Some(number(c.queue_length))))?;
    gauge("breaker_state", "Circuit breaker: 0 closed, 1 half-open, 2 open.")
        .encode(encoder, of_each(|c| Some(c.breaker.into())))?;
    Gauge { unit: Some(Unit::Seconds), ..gauge("last_good_probe_age", "Time since the last good list of entries.") }
        .encode(encoder, of_each(|c| c.last_good_probe_age))?;
    Gauge { label: "state", ..gauge("entries", "Entries by the state that their VaultSecret shows.") }
        .encode(encoder, seen.entries_by_state.iter().map(|(state, count)| (state.as_str(), number(*count))))?;
    let frozen = seen.connections.iter().filter(|c| c.frozen).count();
    let help = "Connections that write nothing until somebody approves.";
    let metric = encoder.encode_descriptor("frozen_connections", help, None, MetricType::Gauge)?;
    ConstGauge::new(i64::try_from(frozen).unwrap_or(i64::MAX)).encode(metric)
}
