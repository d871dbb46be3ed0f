//! Behaviours D10 and D11: whole Secrets (`spec.dataFrom`), and an operator that restarts.

use devkit::remotes::Op;
use serde_json::{Value, json};

use crate::common::{Kind, Object, Scene, for_each_remote, inline, merged};

/// One item of each kind: a Secret by name, Secrets by label, and a bundle.
fn spec(kind: Kind, more: Value) -> Value {
    let data_from = json!([
        {"secretRef": {"name": "named"}, "match": {"regexp": "^n"}},
        {"selector": {"matchLabels": {"push": "yes"}}},
        {"secretRef": {"name": "bundled"}, "remoteName": kind.name("bundle")},
    ]);
    merged(json!({"connectionRef": {"name": kind.member()}, "dataFrom": data_from}), more)
}

async fn sources(scene: &Scene, value: &str) {
    scene.source("named", &[("none", value), ("ntwo", value), ("other", value)]).await;
    scene.source("bundled", &[("A", value), ("B", value)]).await;
    for (name, key) in [("first", "labelled"), ("second", "labelledtoo")] {
        scene.source(name, &[(key, value)]).await;
        scene.patch("Secret", name, json!({"metadata": {"labels": {"push": "yes"}}})).await;
    }
}

async fn synced(scene: &Scene, count: usize) -> Object {
    let text = format!("{count}/{count}");
    let holds = |app: &Object| app.is_ready() && app.text("/status/synced") == text;
    scene.until("VaultSecret", "app", &format!("is Ready with {text}"), holds).await
}

/// The keys of the Secrets are known, and that they are still the same, without reading any of them.
async fn d10_restart(kind: Kind) {
    let scene = Scene::isolated("d10", &[]).await;
    let remote = scene.remote(kind).await;
    scene.connect(&remote).await;
    let value = scene.canary("value");
    sources(&scene, &value).await;
    let data = json!([inline("explicit", &kind.name("explicit"), "v")]);
    scene.vault_secret("app", spec(kind, json!({"deletionPolicy": "Delete", "data": data}))).await;
    synced(&scene, 6).await;
    scene.connection_counts(kind.member(), 6).await;
    let calls = remote.write_calls();
    let (before, mark) = (scene.expect("VaultSecret", "app").await, scene.mark());
    scene.operator.restart().await;
    scene.two_more_probes(&remote).await;
    assert_eq!(remote.write_calls(), calls, "nothing is sent again");
    assert_eq!(scene.writes_since(mark), [], "nothing is written to the API server");
    assert_eq!(scene.expect("VaultSecret", "app").await, before);
    let credentials = format!("{}-credentials", kind.member());
    let gets = scene.asked_since(mark, |r| r.verb == "get" && r.resource == "secrets" && r.name != credentials);
    assert_eq!(gets, [], "no object is read one by one");

    // It works on, too: what is new, what has changed, what has another label.
    let changed = scene.canary("changed");
    scene.set_source("named", "nthree", &changed).await;
    scene.set_source("first", "labelled", &changed).await;
    scene.patch("Secret", "second", json!({"metadata": {"labels": {"push": null}}})).await;
    scene.remote_has(&remote, &kind.name("nthree"), &changed).await;
    scene.remote_has(&remote, &kind.name("labelled"), &changed).await;
    synced(&scene, 6).await;
    scene.eventually("its entry is deleted", async || remote.value(&kind.name("labelledtoo")).is_none()).await;
    assert_eq!((remote.write_calls() - calls, remote.count(Op::Delete)), (3, 1));
}

/// What changed while nobody looked is dealt with at the start: keys and labels that went, but not a Secret that is away.
async fn d11_changes_while_it_was_away(kind: Kind) {
    let scene = Scene::isolated("d11", &[]).await;
    let remote = scene.remote(kind).await;
    scene.connect(&remote).await;
    let value = scene.canary("value");
    sources(&scene, &value).await;
    scene.vault_secret("app", spec(kind, json!({"deletionPolicy": "Delete"}))).await;
    synced(&scene, 5).await;
    scene.operator.stop().await;
    scene.delete("Secret", "named").await;
    scene.delete("Secret", "first").await;
    scene.patch("Secret", "second", json!({"metadata": {"labels": {"push": "no"}}})).await;
    scene.patch("Secret", "bundled", json!({"data": {"B": null}})).await;
    scene.operator.start_again().await;
    let said = scene.not_ready("app", "SourceMissing").await.ready().message;
    assert!(said.contains("\"named\""), "{said}");
    let bundle = format!(r#"{{"A":"{value}"}}"#);
    scene.remote_has(&remote, &kind.name("bundle"), &bundle).await;
    for gone in ["labelled", "labelledtoo"] {
        scene.eventually("it is deleted", async || remote.value(&kind.name(gone)).is_none()).await;
    }
    scene.two_more_probes(&remote).await;
    for kept in ["none", "ntwo"] {
        assert_eq!(remote.history(&kind.name(kept)), [value.as_str()], "a Secret that is missing keeps its entries");
    }
    assert_eq!(remote.count(Op::Delete), 2);

    // Killed and started with the Secret still away, it still knows what is from it.
    scene.operator.crash().await;
    scene.two_more_probes(&remote).await;
    assert_eq!(remote.count(Op::Delete), 2);
    scene.source("named", &[("none", &value)]).await;
    synced(&scene, 2).await;
    assert_eq!(remote.history(&kind.name("none")), [value.as_str()]);
    // It is back, and without that key.
    scene.eventually("its entry is deleted", async || remote.value(&kind.name("ntwo")).is_none()).await;
}

for_each_remote!(d10_restart, d11_changes_while_it_was_away);
