//! Every metric with a series, for the page that lists them with their labels.

use std::time::Duration;

use super::{ConnectionSample, Metrics, Scrape};
use crate::remote::Operation;

/// Every family that the operator can serve, with at least one series each, as OpenMetrics text.
#[must_use]
pub fn sample() -> String {
    let connection = "shop/kelvin";
    let metrics = Metrics::new();
    metrics.on_scrape(move || Scrape {
        connections: vec![ConnectionSample {
            connection: connection.to_owned(),
            last_good_probe_age: Some(12.5),
            ..ConnectionSample::default()
        }],
        entries_by_state: vec![("InSync".to_owned(), 1)],
    });
    metrics.reconcile("vaultsecret", "ok", Duration::from_millis(30));
    metrics.remote_call(connection, Operation::Update, Some(200), Duration::from_millis(400));
    metrics.probe(true);
    metrics.api_write("patch", "vaultsecrets/status");
    metrics.cleanup_abandoned(connection);
    metrics.undecodable_object("VaultSecret");
    metrics.encode()
}
