//! Behaviours 23 and 24: somebody else changes or removes an entry of ours.

use devkit::remotes::{Op, SOMEBODY_ELSE};
use serde_json::json;

use crate::common::{Kind, Scene, Synced, for_each_remote};

/// Runs a test for the two remotes that show when an entry was changed.
macro_rules! for_each_with_stamps {
    ($($test:ident),+ $(,)?) => {$(
        mod $test {
            use crate::common::Kind;

            #[tokio::test]
            async fn kelvin() {
                super::$test(Kind::Kelvin).await;
            }

            #[tokio::test]
            async fn dreadnode() {
                super::$test(Kind::Dreadnode).await;
            }
        }
    )+};
}

async fn expect_note(scene: &Scene, synced: &Synced) {
    let event = scene.event("app", "RemoteChanged").await;
    let note = event.text("/note");
    assert!(note.contains(&synced.entry), "{note}");
    if synced.remote.kind() == Kind::Kelvin {
        assert!(note.contains(SOMEBODY_ELSE), "Kelvin says who it was: {note}");
    }
    assert_eq!(event.text("/type"), "Warning");
}

async fn b23_changed_and_put_right(kind: Kind) {
    let scene = Scene::new("b23").await;
    let synced = scene.synced(kind, json!({})).await;
    let secret = scene.expect("Secret", "app").await;
    synced.remote.foreign_put(&synced.entry, "theirs");
    scene.remote_has(&synced.remote, &synced.entry, &synced.value).await;
    if kind == Kind::Kelvin {
        expect_note(&scene, &synced).await;
    } else {
        scene.event("app", "RemoteChanged").await;
    }
    scene.ready("app").await;
    scene.two_more_probes(&synced.remote).await;
    assert_eq!(synced.remote.history(&synced.entry), [&*synced.value, "theirs", &*synced.value], "once");
    assert_eq!(scene.expect("Secret", "app").await, secret, "the Secret was right all the time");
}

async fn b23_changed_and_reported(kind: Kind) {
    let scene = Scene::new("b23-report").await;
    let synced = scene.synced(kind, json!({"driftPolicy": "Report"})).await;
    synced.remote.foreign_put(&synced.entry, "theirs");
    let drifted = scene.not_ready("app", "RemoteDrifted").await;
    assert_eq!(drifted.state(&synced.entry), "Drifted");
    assert_eq!(drifted.condition("Stalled").status, "True");
    let message = drifted.ready().message;
    for part in ["VALUE", &synced.entry, kind.member()] {
        assert!(message.contains(part), "{part:?} is not in {message:?}");
    }
    assert_eq!(message.contains(SOMEBODY_ELSE), kind == Kind::Kelvin, "{message}");
    scene.event("app", "RemoteDrifted").await;
    scene.two_more_probes(&synced.remote).await;
    assert_eq!(synced.remote.history(&synced.entry), [&*synced.value, "theirs"]);
    scene.secret_has("app", "VALUE", &synced.value).await;
    assert_eq!(scene.expect("VaultSecret", "app").await, drifted, "said once");

    // Asked for otherwise, it is put right; a new value would have been sent as well.
    scene.edit("app", json!({"driftPolicy": "Reassert"})).await;
    scene.ready("app").await;
    assert_eq!(synced.remote.history(&synced.entry), [&*synced.value, "theirs", &*synced.value]);
}

/// What is reported is no reason to hold a new value back.
async fn b23_new_value_over_a_reported_change(kind: Kind) {
    let scene = Scene::new("b23-new").await;
    let synced = scene.synced(kind, json!({"driftPolicy": "Report"})).await;
    synced.remote.foreign_put(&synced.entry, "theirs");
    scene.not_ready("app", "RemoteDrifted").await;
    let value = scene.canary("value");
    scene.set_source("source", "value", &value).await;
    scene.remote_has(&synced.remote, &synced.entry, &value).await;
    scene.ready("app").await;
    scene.two_more_probes(&synced.remote).await;
    assert_eq!(synced.remote.history(&synced.entry), [&*synced.value, "theirs", &*value]);
}

/// Both changed between two looks: ours is sent, and the change that it covers is told.
async fn b23_both_changed(kind: Kind) {
    let scene = Scene::new("b23-both").await;
    let synced = scene.synced(kind, json!({})).await;
    // Nothing is decided before both have happened and a list has shown the one.
    scene.edit("app", json!({"suspend": true})).await;
    scene.not_ready("app", "Suspended").await;
    synced.remote.foreign_put(&synced.entry, "theirs");
    let value = scene.canary("value");
    scene.set_source("source", "value", &value).await;
    scene.two_more_probes(&synced.remote).await;
    scene.edit("app", json!({"suspend": false})).await;
    scene.ready("app").await;
    assert_eq!(synced.remote.history(&synced.entry), [&*synced.value, "theirs", &*value]);
    expect_note(&scene, &synced).await;
}

/// Somebody who keeps writing is told of after the fifth time, and not fought for ever (R9).
#[tokio::test]
async fn b23_somebody_keeps_writing() {
    let scene = Scene::new("b23-fight").await;
    let synced = scene.synced(Kind::Kelvin, json!({})).await;
    let right = || synced.remote.value(&synced.entry).as_ref() == Some(&synced.value);
    for _ in 0..5 {
        synced.remote.foreign_put(&synced.entry, "theirs");
        scene.eventually("it is put right", async || right()).await;
        scene.ready("app").await;
    }
    synced.remote.foreign_put(&synced.entry, "theirs");
    let drifted = scene.not_ready("app", "RemoteDrifted").await;
    assert_eq!(drifted.state(&synced.entry), "Drifted");
    assert!(drifted.ready().message.contains("keeps writing"), "{}", drifted.ready().message);
    scene.two_more_probes(&synced.remote).await;
    assert!(!right(), "it is left as it is");
    // Our own new value is sent all the same.
    let value = scene.canary("value");
    scene.set_source("source", "value", &value).await;
    scene.remote_has(&synced.remote, &synced.entry, &value).await;
    scene.ready("app").await;
}

/// Mixpeek shows names only: a change is not seen, which the condition says, unless a blind push is asked for.
#[tokio::test]
async fn b23_change_that_nobody_can_see() {
    let scene = Scene::new("b23-blind").await;
    let synced = scene.synced(Kind::Mixpeek, json!({})).await;
    assert!(synced.object.ready().message.contains("names"), "{}", synced.object.ready().message);
    synced.remote.foreign_put(&synced.entry, "theirs");
    scene.two_more_probes(&synced.remote).await;
    assert_eq!(synced.remote.history(&synced.entry), [&*synced.value, "theirs"]);
    scene.edit("app", json!({"reassertInterval": "5s"})).await;
    scene.remote_has(&synced.remote, &synced.entry, &synced.value).await;
    let sent = synced.remote.count(Op::Update);
    scene.eventually("it is sent again and again", async || synced.remote.count(Op::Update) >= sent + 2).await;
    scene.ready("app").await;
}

async fn b24_removed_and_made_again(kind: Kind) {
    let scene = Scene::new("b24").await;
    let synced = scene.synced(kind, json!({})).await;
    let (before, secret) = (synced.object.row(&synced.entry).unwrap(), scene.expect("Secret", "app").await);
    synced.remote.foreign_delete(&synced.entry);
    scene.remote_has(&synced.remote, &synced.entry, &synced.value).await;
    let event = scene.event("app", "RemoteChanged").await;
    assert!(event.text("/note").contains(&synced.entry), "{event:?}");
    let app = scene.ready("app").await;
    scene.two_more_probes(&synced.remote).await;
    assert_eq!((synced.remote.count(Op::Create), synced.remote.write_calls()), (2, 2));
    assert_eq!(scene.expect("Secret", "app").await, secret);
    if kind == Kind::Dreadnode {
        assert_ne!(app.row(&synced.entry).unwrap().text("/remoteId"), before.text("/remoteId"), "it has another id");
    }
    // The row knows the new one.
    let value = scene.canary("value");
    scene.set_source("source", "value", &value).await;
    scene.remote_has(&synced.remote, &synced.entry, &value).await;
    assert_eq!((synced.remote.count(Op::Create), synced.remote.count(Op::Update)), (2, 1));
}

async fn b24_removed_and_reported(kind: Kind) {
    let scene = Scene::new("b24-report").await;
    let synced = scene.synced(kind, json!({"driftPolicy": "Report"})).await;
    synced.remote.foreign_delete(&synced.entry);
    let missing = scene.not_ready("app", "RemoteMissing").await;
    assert_eq!(missing.state(&synced.entry), "Missing");
    assert!(missing.ready().message.contains(&synced.entry), "{}", missing.ready().message);
    scene.event("app", "RemoteMissing").await;
    scene.two_more_probes(&synced.remote).await;
    assert_eq!(synced.remote.value(&synced.entry), None);
    assert_eq!(synced.remote.write_calls(), 1);
    scene.secret_has("app", "VALUE", &synced.value).await;
    // Whoever makes it anew with that name: it is still reported, where the remote shows the difference.
    scene.edit("app", json!({"driftPolicy": "Reassert"})).await;
    scene.ready("app").await;
    assert_eq!(synced.remote.history(&synced.entry), [synced.value]);
}

/// Removed and made anew by somebody else between two looks: put right, under the id that it has now (R8).
async fn b24_removed_and_made_by_somebody_else(kind: Kind) {
    let scene = Scene::new("b24-anew").await;
    let synced = scene.synced(kind, json!({})).await;
    synced.remote.foreign_delete(&synced.entry);
    synced.remote.foreign_put(&synced.entry, "theirs");
    scene.remote_has(&synced.remote, &synced.entry, &synced.value).await;
    scene.ready("app").await;
    scene.two_more_probes(&synced.remote).await;
    assert_eq!(synced.remote.history(&synced.entry), ["theirs", &*synced.value]);
    assert_eq!((synced.remote.count(Op::Create), synced.remote.count(Op::Update)), (1, 1));
}

for_each_with_stamps!(
    b23_changed_and_put_right,
    b23_changed_and_reported,
    b23_new_value_over_a_reported_change,
    b23_both_changed,
    b24_removed_and_made_by_somebody_else,
);
for_each_remote!(b24_removed_and_made_again, b24_removed_and_reported);
