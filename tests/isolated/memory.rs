//! Behaviour 40: Secrets that nothing refers to cost the operator nothing.

use base64::Engine as _;
use devkit::controlplane::Options;
use futures::{StreamExt as _, TryStreamExt as _};
use kube::api::PostParams;
use serde_json::json;

use crate::common::{Kind, Scene};

const SECRETS: usize = 2_000;
const KIB_EACH: usize = 50;

#[tokio::test]
async fn b40_unrelated_secrets_cost_no_memory() {
    let options = Options { controller_manager: false, ..Options::default() };
    let scene = Scene::own_cluster("b40", options, |_| {}, &["--log-level=info"]).await;
    let synced = scene.synced(Kind::Kelvin, json!({})).await;
    let before = scene.operator.resident_kib();

    // Each with another value, so that nothing can be shared.
    let (api, namespace) = (scene.api("Secret"), scene.namespace.clone());
    let make = |number: usize| {
        let (api, namespace) = (api.clone(), namespace.clone());
        async move {
            let value = format!("{number:08}").repeat(KIB_EACH * 1024 / 8);
            let value = base64::engine::general_purpose::STANDARD.encode(value);
            let secret = json!({"apiVersion": "v1", "kind": "Secret", "data": {"value": value},
                "metadata": {"name": format!("unrelated-{number}"), "namespace": namespace}});
            api.create(&PostParams::default(), &serde_json::from_value(secret).unwrap()).await
        }
    };
    futures::stream::iter((0..SECRETS).map(make)).buffer_unordered(8).try_for_each(async |_| Ok(())).await.unwrap();
    // What it hears of after them, it has heard of them before.
    let value = scene.canary("value");
    scene.set_source("source", "value", &value).await;
    scene.remote_has(&synced.remote, &synced.entry, &value).await;
    scene.ready("app").await;
    let while_they_came = scene.operator.resident_kib();

    scene.operator.restart().await;
    let value = scene.canary("value");
    scene.set_source("source", "value", &value).await;
    scene.remote_has(&synced.remote, &synced.entry, &value).await;
    scene.ready("app").await;
    let after_a_restart = scene.operator.resident_kib();

    let there = SECRETS * KIB_EACH;
    println!(
        "resident: {before} KiB before, {while_they_came} KiB with {SECRETS} Secrets of {KIB_EACH} KiB ({there} KiB), \
         {after_a_restart} KiB after a restart among them"
    );
    for (when, now) in [("while they came", while_they_came), ("after a restart", after_a_restart)] {
        let grown = usize::try_from(now.saturating_sub(before)).unwrap();
        assert!(grown < there / 10, "{when} it grew by {grown} KiB, of {there} KiB that do not concern it");
    }
}
