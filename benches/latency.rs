//! How long a changed source takes to the remote: 200 changes, one at a time, with a remote that answers in 20 ms. Prints figures;
//! it fails only when a value does not arrive at all.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stderr, clippy::print_stdout)]

#[path = "../tests/common/mod.rs"]
mod common;

use std::time::Duration;

use common::{Kind, Scene};
use jiff::Timestamp;
use serde_json::json;

const CHANGES: usize = 200;
const ANSWERS_IN: Duration = Duration::from_millis(20);

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        for kind in [Kind::Kelvin, Kind::Dreadnode, Kind::Mixpeek] {
            measure(kind).await;
        }
    });
}

async fn measure(kind: Kind) {
    let scene = Scene::isolated("latency", &["--log-level=warn"]).await;
    let synced = scene.synced(kind, json!({})).await;
    synced.remote.set_latency(ANSWERS_IN);
    let mut took = Vec::new();
    let mut projected = Vec::new();
    for _ in 0..CHANGES {
        let value = scene.canary("value");
        scene.set_source("source", "value", &value).await;
        let acknowledged = Timestamp::now();
        scene.remote_has(&synced.remote, &synced.entry, &value).await;
        let changes = synced.remote.changes();
        let arrived = changes.iter().rev().find(|change| change.value.as_deref() == Some(&*value)).unwrap().at;
        took.push(arrived.duration_since(acknowledged));
        scene.secret_has("app", "VALUE", &value).await;
        projected.push(Timestamp::now().duration_since(acknowledged));
        // The next change comes to an object at rest.
        scene.ready("app").await;
    }
    assert_eq!(synced.remote.mutations(), CHANGES + 1, "each value was sent once");
    println!(
        "{kind:?}: {CHANGES} changes, from the API server's answer to the value at a remote that needs {ANSWERS_IN:?}: {}; to the \
         Secret (looked at every 50 ms): {}",
        quantiles(&mut took),
        quantiles(&mut projected)
    );
}

fn quantiles(took: &mut [jiff::SignedDuration]) -> String {
    took.sort();
    let at = |share: f64| {
        let index = (took.len() as f64 * share).ceil() as usize;
        format!("{} ms", took[index.clamp(1, took.len()) - 1].as_millis())
    };
    format!("p50 {}, p90 {}, p99 {}, longest {}", at(0.5), at(0.9), at(0.99), at(1.0))
}
