//! Metrics, in the OpenMetrics text format and the older one. Every label has few values: words of our own, or the names of connections,
//! and what is known of a connection goes with it.

pub mod classic;
mod scrape;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

use crate::remote::Operation;
pub use scrape::{ConnectionSample, Scrape};

/// What every name starts with.
const PREFIX: &str = "vaultsecret";

/// The content type of what [`Metrics::encode`] gives.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Seconds; a remote may take its ten-second limit several times over, the API server answers in milliseconds.
const BUCKETS: [f64; 13] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];

fn histogram() -> Histogram {
    Histogram::new(BUCKETS)
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReconcileLabels {
    kind: &'static str,
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct WriteLabels {
    verb: &'static str,
    resource: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ConnectionLabel {
    connection: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KindLabel {
    kind: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct BuildLabels {
    version: &'static str,
    commit: &'static str,
}

/// Everything that is counted and measured.
pub struct Metrics {
    registry: Registry,
    reconciles: Family<ReconcileLabels, Histogram, fn() -> Histogram>,
    probes: Counter,
    probe_failures: Counter,
    api_writes: Family<WriteLabels, Counter>,
    cleanup_abandoned: Family<ConnectionLabel, Counter>,
    undecodable_objects: Family<KindLabel, Counter>,
    leads: Gauge,
    scraped: Arc<scrape::Scraped>,
}

impl Metrics {
    /// Metrics at zero.
    #[must_use]
    pub fn new() -> Arc<Self> {
        let mut registry = Registry::with_prefix(PREFIX);
        let reconciles = Family::new_with_constructor(histogram as fn() -> Histogram);
        let probes = Counter::default();
        let probe_failures = Counter::default();
        let api_writes = Family::default();
        let cleanup_abandoned = Family::default();
        let undecodable_objects = Family::default();
        let leads = Gauge::default();
        let scraped = Arc::new(scrape::Scraped::default());
        let build = BuildLabels { version: crate::cli::VERSION, commit: crate::cli::commit().unwrap_or("unknown") };

        registry.register("build", "The program that runs", Info::new(build));
        let (name, help) = ("reconcile_duration", "How long reconciles took");
        registry.register_with_unit(name, help, Unit::Seconds, reconciles.clone());
        registry.register("probes", "Lists of entries that were asked for", probes.clone());
        registry.register("probe_failures", "Lists of entries that failed", probe_failures.clone());
        registry.register("api_writes", "Writes to the Kubernetes API server", api_writes.clone());
        let help = "Objects let go although not all of their entries were deleted at the remote";
        registry.register("cleanup_abandoned", help, cleanup_abandoned.clone());
        let help = "Times that an object could not be read and was left alone";
        registry.register("undecodable_objects", help, undecodable_objects.clone());
        let help = "Whether this replica leads: 1, or 0 while it stands by";
        registry.register("leader", help, leads.clone());
        registry.register_collector(Box::new(Arc::clone(&scraped)));
        Arc::new(Self {
            registry,
            reconciles,
            probes,
            probe_failures,
            api_writes,
            cleanup_abandoned,
            undecodable_objects,
            leads,
            scraped,
        })
    }

    /// Says where to ask for what holds at the moment of a scrape. The connections in the answer are all there are: what
    /// was measured of others is dropped. Replaces an earlier one.
    pub fn on_scrape(&self, look: impl Fn() -> Scrape + Send + Sync + 'static) {
        self.scraped.look_with(Box::new(look));
    }

    /// This replica leads, or stands by.
    pub fn leads(&self, leads: bool) {
        self.leads.set(i64::from(leads));
    }

    /// A reconcile of a `vaultsecret` or a `connection` ended: `ok`, `error`, or `waiting` for what is not there yet.
    pub fn reconcile(&self, kind: &'static str, outcome: &'static str, took: Duration) {
        self.reconciles.get_or_create(&ReconcileLabels { kind, outcome }).observe(took.as_secs_f64());
        crate::traces::reconciled(outcome);
    }

    /// An HTTP call to a remote ended, with a status or without an answer.
    pub fn remote_call(&self, connection: &str, operation: Operation, status: Option<u16>, took: Duration) {
        self.remote_attempt(connection, operation, status, None, took);
    }

    /// The same of a write, whose attempts are numbered.
    pub fn remote_attempt(
        &self,
        connection: &str,
        operation: Operation,
        status: Option<u16>,
        attempt: Option<u64>,
        took: Duration,
    ) {
        self.scraped.remote_call(connection, operation, status, took);
        crate::traces::remote_call(connection, operation.as_str(), scrape::status_class(status), attempt, took);
    }

    /// A connection is gone: drops what was measured of it, without waiting for a scrape to notice.
    pub fn forget_connection(&self, connection: &str) {
        self.scraped.forget(connection);
    }

    /// A list of entries was asked for, for the sake of the list.
    pub fn probe(&self, good: bool) {
        self.probes.inc();
        if !good {
            self.probe_failures.inc();
        }
    }

    /// Something was written to the API server, e.g. `patch` of `vaultsecrets/status`.
    pub fn api_write(&self, verb: &'static str, resource: &'static str) {
        self.api_writes.get_or_create(&WriteLabels { verb, resource }).inc();
    }

    /// There is such a connection: what is counted by connection begins at zero, so that the first one is seen as an increase.
    pub fn connection(&self, connection: &str) {
        drop(self.cleanup_abandoned.get_or_create(&ConnectionLabel { connection: connection.to_owned() }));
    }

    /// An object was let go although entries of it are left at the remote behind this connection.
    pub fn cleanup_abandoned(&self, connection: &str) {
        self.cleanup_abandoned.get_or_create(&ConnectionLabel { connection: connection.to_owned() }).inc();
    }

    /// An object of this kind could not be read.
    pub fn undecodable_object(&self, kind: &'static str) {
        self.undecodable_objects.get_or_create(&KindLabel { kind }).inc();
    }

    /// Everything as OpenMetrics text.
    #[must_use]
    pub fn encode(&self) -> String {
        let mut text = String::new();
        if let Err(error) = encode(&mut text, &self.registry) {
            tracing::error!(%error, "the metrics cannot be written");
        }
        text
    }

    /// Everything in the older text format.
    #[must_use]
    pub fn encode_classic(&self) -> String {
        classic::from_open_metrics(&self.encode())
    }
}
