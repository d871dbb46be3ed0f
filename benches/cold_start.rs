//! A cold start: 1,000 new VaultSecrets wait when the operator starts. Compared with a floor in the same run: a plain client that
//! sends, at the same concurrency, only what cannot be left out: one read of the source, the intent, the create at the remote, the
//! Secret, the outcome. Each has an API server of its own, so that neither finds what the other has left. Prints figures; nothing
//! is asserted about time.
//!
//! With `--large` one more round has 10,000 VaultSecrets (some minutes). `VAULTSECRET_OBJECTS` is another number of objects for
//! the usual rounds, `VAULTSECRET_ROUNDS` another number of rounds.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stderr, clippy::print_stdout)]

#[path = "../tests/common/mod.rs"]
mod common;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use common::{Kind, Remote, Scene, api, entry};
use futures::{StreamExt as _, TryStreamExt as _};
use kube::api::{DynamicObject, ListParams, PostParams, WatchEvent, WatchParams};
use serde_json::{Value, json};
use vaultsecret_operator::api::names;

const ANSWERS_IN: Duration = Duration::from_millis(20);

/// As many as the operator has workers.
const AT_ONCE: usize = 32;

fn main() {
    let number = |name: &str, usual: usize| std::env::var(name).map_or(usual, |text| text.parse().unwrap());
    let (objects, rounds) = (number("VAULTSECRET_OBJECTS", 1000), number("VAULTSECRET_ROUNDS", 3));
    let mut sizes = vec![objects; rounds];
    if std::env::args().any(|arg| arg == "--large") {
        sizes.push(10_000);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        for (round, objects) in sizes.into_iter().enumerate() {
            let floor = floor(objects).await;
            let operator = operator(objects).await;
            println!(
                "round {}: for {objects} the operator needs {:.2} times the floor",
                round + 1,
                operator.as_secs_f64() / floor.as_secs_f64()
            );
        }
    });
}

/// A remote, and VaultSecrets that wait for somebody to look after them.
async fn waiting(scene: &Scene, objects: usize) -> Arc<Remote> {
    let remote = scene.remote(Kind::Dreadnode).await;
    remote.set_latency(ANSWERS_IN);
    scene.connect(&remote).await;
    let make = async |number: usize| {
        let source = format!("source-{number}");
        scene.source(&source, &[("value", &format!("value {number}"))]).await;
        let data = json!([entry("VALUE", &format!("VALUE_{number}"), &format!("{source}/value"))]);
        scene
            .vault_secret(&format!("app-{number}"), json!({"connectionRef": {"name": "dreadnode"}, "data": data}))
            .await;
    };
    futures::stream::iter((0..objects).map(make)).buffer_unordered(16).collect::<Vec<()>>().await;
    remote
}

/// Returns once all VaultSecrets are Ready, by a watch that began at this version.
async fn all_ready(scene: &Scene, objects: usize, from: &str) {
    let mut ready: HashSet<String> = HashSet::new();
    let mut from = from.to_owned();
    while ready.len() < objects {
        let events = scene.api("VaultSecret").watch(&WatchParams::default(), &from).await.unwrap();
        let mut events = events.boxed();
        while let Some(event) = events.try_next().await.unwrap() {
            let WatchEvent::Modified(object) = event else { continue };
            from = object.metadata.resource_version.clone().unwrap();
            let object = common::Object(serde_json::to_value(object).unwrap());
            if object.is_ready() {
                ready.insert(object.name().to_owned());
            }
            if ready.len() == objects {
                return;
            }
        }
    }
}

async fn version(scene: &Scene) -> String {
    let list = scene.api("VaultSecret").list(&ListParams::default().limit(1)).await.unwrap();
    list.metadata.resource_version.unwrap()
}

async fn operator(objects: usize) -> Duration {
    let scene = Scene::alone("cold-operator", &["--log-level=warn"]).await;
    scene.operator.stop().await;
    let remote = waiting(&scene, objects).await;
    let from = version(&scene).await;
    let mark = scene.mark();
    let (began, began_at) = (Instant::now(), jiff::Timestamp::now());
    scene.operator.spawn();
    all_ready(&scene, objects, &from).await;
    let took = began.elapsed();
    let (busy, peak) = (cpu_time(scene.operator.process_id()), scene.operator.peak_kib());
    let reconciles =
        scene.operator.metric("vaultsecret_reconcile_duration_seconds_count", &["kind=\"vaultsecret\""]).await;
    let asked = scene.asked_since(mark, |_| true);
    let each = |resource: &str, verbs: &[&str]| {
        let mine = asked.iter().filter(|one| one.resource == resource && verbs.contains(&&*one.verb)).count();
        mine as f64 / objects as f64
    };
    let writes = ["create", "update", "patch", "delete"];
    let intent = asked.iter().find(|one| one.resource == "vaultsecrets" && one.subresource == "status").unwrap();
    let until_first = intent.request_received.duration_since(began_at);
    println!(
        "operator: {objects} VaultSecrets Ready {took:.2?} after its start, the first written to after {until_first:.2?}; for each {:.2} writes of its status, {:.2} of Secrets, {:.2} \
         events, {:.2} reads of Secrets, {:.2} reconciles, {:.2} calls that write at the remote; {} lists there; {:.2} s of CPU for \
         1,000, {} KiB of memory at its peak",
        each("vaultsecrets", &writes),
        each("secrets", &writes),
        each("events", &writes),
        each("secrets", &["get"]),
        reconciles / objects as f64,
        remote.write_calls() as f64 / objects as f64,
        remote.lists(),
        busy.as_secs_f64() * 1000.0 / objects as f64,
        peak,
    );
    scene.operator.stop().await;
    took
}

/// Time that a process has used of all cores together, in the kernel too.
fn cpu_time(process: u32) -> Duration {
    // Of the fields after the program's name, in hundredths of a second.
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
    Duration::from_millis(ticks * 10)
}

/// The unavoidable requests, as the same account.
async fn floor(objects: usize) -> Duration {
    let scene = Scene::alone("cold-floor", &["--log-level=warn"]).await;
    scene.operator.stop().await;
    let remote = waiting(&scene, objects).await;
    let kubeconfig = scene.cluster.namespaced_rights(scene.operator.system(), &scene.namespace).await;
    let kubernetes = scene.cluster.client_from(&kubeconfig).await.unwrap();
    let http = reqwest::Client::builder().no_proxy().pool_max_idle_per_host(AT_ONCE).build().unwrap();
    let key = remote.credentials()["api-key"].as_str().unwrap().to_owned();
    let from = version(&scene).await;
    let url = format!("{}/api/v1/user/secrets", remote.url());
    let one = async |app: Value| {
        let name = app["metadata"]["name"].as_str().unwrap().to_owned();
        let apps = api(&kubernetes, "VaultSecret", &scene.namespace);
        let secrets = api(&kubernetes, "Secret", &scene.namespace);
        let number = name.trim_start_matches("app-");
        let remote_name = format!("VALUE_{number}");
        let source = secrets.get(&format!("source-{number}")).await.unwrap();
        let row = json!({"connection": "VaultConnection/dreadnode", "remoteName": remote_name, "key": "VALUE", "claimed": true,
                         "attempt": {"number": 1, "open": true}, "state": "Pushing"});
        let app = put_status(&apps, app, json!({"observedGeneration": -1, "entries": [row]})).await;
        let body = json!({"name": remote_name, "value": format!("value {number}")});
        let answer = http.post(&url).header("X-API-Key", &key).json(&body).send().await.unwrap();
        assert!(answer.status().is_success(), "{answer:?}");
        let answer: Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
        let owner = json!([{"apiVersion": "vaultsecret.dev/v1alpha1", "kind": "VaultSecret", "name": name,
                            "uid": app["metadata"]["uid"], "controller": true}]);
        let target = json!({"apiVersion": "v1", "kind": "Secret", "data": {"VALUE": source.data["data"]["value"]},
                            "metadata": {"name": name, "namespace": scene.namespace, "ownerReferences": owner,
                                "labels": {names::MANAGED_BY: names::OPERATOR, names::ROLE: "target"},
                                "annotations": {names::MADE_FOR: format!("{}/{name}", scene.namespace)}}});
        secrets.create(&PostParams::default(), &serde_json::from_value(target).unwrap()).await.unwrap();
        let row = json!({"connection": "VaultConnection/dreadnode", "remoteName": remote_name, "key": "VALUE", "state": "InSync",
                         "attempt": {"number": 1}, "remoteId": answer["id"], "remoteVersion": answer["updated_at"]});
        let now = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        let condition = |kind: &str| {
            json!({"type": kind, "status": "True", "reason": "Synced", "message": "1 entry is in sync",
                                            "observedGeneration": 1, "lastTransitionTime": now})
        };
        let conditions = [condition("Ready"), condition("Pushed"), condition("Projected")];
        put_status(
            &apps,
            app,
            json!({"observedGeneration": 1, "entries": [row], "conditions": conditions, "synced": "1/1"}),
        )
        .await;
    };
    let began = Instant::now();
    let all = scene.list("VaultSecret").await.into_iter().map(|app| app.0);
    let work = futures::stream::iter(all.map(one)).buffer_unordered(AT_ONCE).collect::<Vec<()>>();
    futures::join!(work, all_ready(&scene, objects, &from));
    let took = began.elapsed();
    println!("floor: {objects} VaultSecrets Ready in {took:.2?}");
    took
}

async fn put_status(apps: &kube::Api<DynamicObject>, mut app: Value, status: Value) -> Value {
    app["status"] = status;
    let name = app["metadata"]["name"].as_str().unwrap().to_owned();
    let object: DynamicObject = serde_json::from_value(app).unwrap();
    let written = apps.replace_status(&name, &PostParams::default(), &object).await;
    serde_json::to_value(written.unwrap()).unwrap()
}
