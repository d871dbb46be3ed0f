//! Restarts.

use serde_json::json;

use crate::common::{Kind, Scene};

#[tokio::test]
async fn b03_restart() {
    let scene = Scene::isolated("b03", &[]).await;
    let synced = scene.synced(Kind::Kelvin, json!({})).await;
    scene.operator.restart().await;
    assert_eq!(synced.remote.mutations(), 1);
}
