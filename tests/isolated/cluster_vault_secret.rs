//! Behaviour C9 over a restart. A control plane of its own, as the operator is one for all namespaces.

use devkit::controlplane::Options;
use serde_json::json;

use crate::common::{Kind, Object, Scene, Stage, generated};

#[tokio::test]
async fn c9_restart() {
    let scene = Scene::own_cluster("c9", Options::default(), |_| {}, &[]).await;
    let stage = Stage::with(scene, Kind::Kelvin, json!({"remoteNamePrefix": "{{ namespace }}-"})).await;
    let places = [stage.namespace("a").await, stage.namespace("b").await];
    let shared = stage.place("shared");
    stage.create(stage.spec("PerNamespace", json!([generated("PASSWORD", "password", 1)]))).await;
    let spec = stage.spec("Shared", json!([generated("PASSWORD", "shared", 1)]));
    stage.scene.create("ClusterVaultSecret", &shared, json!({"spec": spec})).await;
    stage.ready(2).await;
    let ready = |object: &Object| object.is_ready() && object.text("/status/readyNamespaces") == "2/2";
    stage.scene.until("ClusterVaultSecret", &shared, "is Ready", ready).await;
    // The connection counts its entries some seconds later.
    let counts = |object: &Object| object.number("/status/entries") == 3;
    stage.scene.until("ClusterVaultConnection", &stage.name, "counts three entries", counts).await;

    let (mark, mutations) = (stage.scene.mark(), stage.remote.mutations());
    stage.scene.operator.restart().await;
    stage.scene.two_more_probes(&stage.remote).await;
    stage.scene.two_more_probes(&stage.remote).await;
    assert_eq!(stage.writes(mark), Vec::<String>::new());
    assert_eq!(stage.remote.mutations(), mutations);
    let user = stage.scene.operator.user();
    let reads = stage.scene.cluster.audit().requests_after(mark, |record| {
        record.user == user
            && record.verb == "get"
            && record.resource == "secrets"
            && places.contains(&record.namespace)
    });
    assert!(reads.is_empty(), "no copy is read: {reads:#?}");

    // And it goes on: one value for all, a new one, and a namespace more.
    let edit = json!({"spec": {"template": {"data": [generated("PASSWORD", "shared", 2)]}}});
    stage.scene.patch("ClusterVaultSecret", &shared, edit).await;
    stage.namespace("c").await;
    stage.ready(3).await;
    let ready = |object: &Object| object.is_ready() && object.text("/status/readyNamespaces") == "3/3";
    stage.scene.until("ClusterVaultSecret", &shared, "is Ready", ready).await;
    assert_eq!(stage.remote.mutations(), mutations + 2);
}
