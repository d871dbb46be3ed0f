//! Behaviours 1–9: values on their way to the remote.

use serde_json::json;

use crate::common::{Kind, Scene, for_each_remote};

async fn b01_a_value_arrives(kind: Kind) {
    let scene = Scene::new("b01").await;
    let synced = scene.synced(kind, json!({})).await;
    assert_eq!(synced.remote.mutations(), 1);
}

for_each_remote!(b01_a_value_arrives);
