//! The dashboard and the alerts look at series that a running operator really has, with the labels that they ask for.

mod promql;

use std::collections::BTreeMap;
use std::io::Write as _;
use std::process::{Command, Stdio};

use devkit::controlplane::Options;
use serde_json::{Value, json};

use crate::common::{Kind, Scene, entry};
use crate::undecodable::permissive;

/// What a scrape adds, or the query is given from outside.
const OF_THE_SCRAPE: [&str; 2] = ["job", "namespace"];

/// Series by name, each with its labels.
fn series(text: &str) -> BTreeMap<&str, Vec<Vec<&str>>> {
    let mut found: BTreeMap<&str, Vec<Vec<&str>>> = BTreeMap::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (series, _) = line.rsplit_once(' ').unwrap();
        let (name, labels) = series.split_once('{').unwrap_or((series, ""));
        let labels = promql::labels(labels.trim_end_matches('}'));
        found.entry(name).or_default().push(labels);
    }
    found
}

/// Every expression of the dashboard, and of the rules as a snapshot has them, which a test of the chart compares with the chart.
fn expressions() -> Vec<String> {
    let read = |path: &str| std::fs::read_to_string(format!("{}/{path}", env!("CARGO_MANIFEST_DIR"))).unwrap();
    let mut documents: Vec<Value> =
        serde_saphyr::from_multiple(&read("tests/chart/snapshots/everything.yaml")).unwrap();
    documents.retain(|document| document["kind"] == "PrometheusRule");
    documents.push(serde_json::from_str(&read("charts/vaultsecret-operator/files/dashboard.json")).unwrap());
    let mut all = Vec::new();
    documents.iter().for_each(|document| collect(document, &mut all));
    assert!(all.len() > 25, "{all:?}");
    all
}

fn collect(value: &Value, into: &mut Vec<String>) {
    match value {
        Value::Object(fields) => fields.iter().for_each(|(name, value)| match value.as_str() {
            Some(text) if name == "expr" => into.push(text.to_owned()),
            _ => collect(value, into),
        }),
        Value::Array(items) => items.iter().for_each(|item| collect(item, into)),
        _ => {}
    }
}

/// Makes the operator do everything that is counted.
async fn busy() -> Scene {
    let options = Options { controller_manager: false, ..Options::default() };
    let scene = Scene::own_cluster("metrics", options, permissive, &["--finalizer-deadline=1s"]).await;
    let value = scene.canary("value");
    scene.source("source", &[("value", &value)]).await;
    let mut remotes = Vec::new();
    for kind in [Kind::Kelvin, Kind::Dreadnode, Kind::Mixpeek] {
        let remote = scene.remote(kind).await;
        scene.connect(&remote).await;
        let data = json!([entry("VALUE", &kind.name("the value"), "source/value")]);
        let spec = json!({"connectionRef": {"name": kind.member()}, "deletionPolicy": "Delete", "data": data});
        scene.vault_secret(kind.member(), spec).await;
        scene.ready(kind.member()).await;
        remotes.push(remote);
    }
    scene.create("VaultSecret", "nonsense", json!({"spec": {"data": "not a list"}})).await;
    let last = remotes.pop().unwrap();
    last.stop().await;
    scene.delete("VaultSecret", last.kind().member()).await;
    scene.gone("VaultSecret", last.kind().member()).await;
    scene
        .eventually("what cannot be read is counted", async || {
            scene.operator.metric("vaultsecret_undecodable_objects_total", &[]).await > 0.0
        })
        .await;
    scene
}

#[tokio::test]
async fn dashboard_and_alerts_find_their_series_in_a_real_run() {
    let scene = busy().await;
    let text = scene.operator.metrics().await;
    let found = series(&text);
    for expression in expressions() {
        let uses = promql::uses(&expression);
        assert!(!uses.is_empty(), "{expression}");
        for (name, labels) in uses {
            let there = found.get(&*name).unwrap_or_else(|| panic!("no series {name}, for {expression}, in\n{text}"));
            for label in labels.iter().filter(|label| !OF_THE_SCRAPE.contains(&label.as_str())) {
                assert!(
                    there.iter().any(|labels| labels.contains(&label.as_str())),
                    "{name} has no {label}: {expression}"
                );
            }
        }
    }
    let canaries: Vec<_> = text.lines().filter(|line| line.contains("canary")).collect();
    assert!(canaries.is_empty(), "{canaries:?}");
    // `make promtool` says where it is.
    if let Some(promtool) = std::env::var_os("VAULTSECRET_PROMTOOL") {
        let mut command = Command::new(promtool);
        command.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
        let done = child.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&[done.stdout, done.stderr].concat()).into_owned();
        assert!(done.status.success() && said.trim().is_empty(), "promtool check metrics: {said}");
    }
}
