//! Behaviours D3 and D4: a Secret of `spec.dataFrom` that is away, or that cannot be meant, takes nothing with it.

use devkit::remotes::Op;
use serde_json::json;

use crate::common::{Kind, Scene, for_each_remote, merged, templated};
use crate::datafrom::{source, spec, synced};

/// What a template lacks while a Secret is away is no new value.
async fn d03_templates_wait_for_the_secret(kind: Kind) {
    let scene = Scene::new("d03-template").await;
    let remote = scene.remote(kind).await;
    scene.connect(&remote).await;
    let value = scene.canary("value");
    scene.source("source", &[("alpha", &value)]).await;
    let data = json!([templated("made", &kind.name("made"), "of {{ alpha | default('nothing') }}")]);
    let more = json!({"deletionPolicy": "Delete", "data": data});
    scene.vault_secret("app", merged(spec(kind, source()), more)).await;
    synced(&scene, 2).await;
    let made = format!("of {value}");
    assert_eq!(remote.history(&kind.name("made")), [made.as_str()]);

    // A Secret of another name, which comes a little later.
    scene.edit("app", json!({"dataFrom": [{"secretRef": {"name": "later"}}]})).await;
    scene.not_ready("app", "SourceMissing").await;
    scene.two_more_probes(&remote).await;
    assert_eq!(remote.history(&kind.name("made")), [made.as_str()]);
    assert_eq!((remote.write_calls(), remote.count(Op::Delete)), (2, 0));
    scene.secret_has("app", "made", &made).await;

    scene.source("later", &[("alpha", &value)]).await;
    synced(&scene, 2).await;
    assert_eq!(remote.write_calls(), 2, "nothing has changed");
}

/// A slip in the target's name does not pass for a Secret that is not wanted any more.
async fn d04_selected_secret_as_target(kind: Kind) {
    let scene = Scene::new("d04-target").await;
    let remote = scene.remote(kind).await;
    scene.connect(&remote).await;
    let value = scene.canary("value");
    scene.source("source", &[("alpha", &value)]).await;
    scene.patch("Secret", "source", json!({"metadata": {"labels": {"push": "yes"}}})).await;
    let selector = json!([{"selector": {"matchLabels": {"push": "yes"}}}]);
    scene.vault_secret("app", merged(spec(kind, selector), json!({"deletionPolicy": "Delete"}))).await;
    synced(&scene, 1).await;
    scene.edit("app", json!({"target": {"name": "source"}})).await;
    let said = scene.not_ready("app", "ValueRefused").await.ready().message;
    assert!(said.contains("Secret source was a source of dataFrom"), "{said}");
    scene.two_more_probes(&remote).await;
    assert_eq!(remote.value(&kind.name("alpha")).as_ref(), Some(&value));
    scene.secret_has("source", "alpha", &value).await;
    scene.edit("app", json!({"target": null})).await;
    synced(&scene, 1).await;
    assert_eq!((remote.write_calls(), remote.count(Op::Delete)), (1, 0));
}

for_each_remote!(d03_templates_wait_for_the_secret, d04_selected_secret_as_target);
