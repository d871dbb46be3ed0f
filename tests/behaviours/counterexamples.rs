//! The traces of docs/design/counterexamples.md that faults can force on the running operator: creates, updates and reports.
//!
//! Elsewhere: C4, C11 and C12 need a restart or a second operator (`tests/isolated/`); C9, R2 and R4 are behaviours 11, 17 and
//! 15 of the namespaces (`claims.rs`), R1 is in `trouble_auth.rs`, R9 in `trouble_drift.rs`, R5 with the restarts. Only the pure
//! core can force C3 and C13 (what happens between two writes of one process), C7 (no remote here has a check-and-set) and F9
//! (an answer of the API server that is lost): `tests/counterexamples/`.

use std::time::Duration;

use devkit::remotes::{Action, Fault, Op};
use serde_json::{Value, json};

use crate::common::{Kind, Object, Scene, entry, for_each_remote, inline};

const HELD: Action = Action::Hang(None);

fn spec(kind: Kind, name: &str) -> Value {
    json!({"connectionRef": {"name": kind.member()}, "data": [entry("VALUE", name, "source/value")]})
}

/// A list that began before the create and arrives after its answer shows the entry as absent.
async fn c1_list_that_overlaps_a_create(kind: Kind) {
    let scene = Scene::new("c1").await;
    let remote = scene.remote(kind).await;
    scene.connect(&remote).await;
    scene.connection_is(kind.member(), "Connected").await;
    let name = kind.name("the value");
    scene.source("source", &[("value", "a value")]).await;
    let create = remote.faults().add(Fault::new(HELD).on(Op::Create).named(&name).times(1));
    scene.vault_secret("app", spec(kind, &name)).await;
    scene.eventually("the create is at the remote", async || remote.faults().hits(create) == 1).await;
    // Lists are read now, and their answers take until the create is done and answered.
    let list = remote.faults().add(Fault::new(Action::SlowAnswer(Duration::from_secs(3))).on(Op::List).times(1));
    let other = json!({"connectionRef": {"name": kind.member()}, "data": [inline("VALUE", &kind.name("other"), "v")]});
    scene.vault_secret("other", other).await;
    scene.eventually("a list is under way", async || remote.faults().hits(list) == 1).await;
    remote.faults().release();
    scene.ready("app").await;
    scene.ready("other").await;
    scene.two_more_probes(&remote).await;
    assert_eq!(remote.count_for(Op::Create, &name), 1);
    assert_eq!(remote.history(&name), ["a value"]);
    assert!(scene.expect("VaultSecret", "app").await.is_ready());
    assert_eq!(scene.events("app").await, []);
}

/// The very first create meets an entry that a stranger made meanwhile. His `created` is after our claim; it is his all the same.
async fn c2_stranger_in_the_claim_window(kind: Kind) {
    let scene = Scene::new("c2").await;
    let remote = scene.remote(kind).await;
    scene.connect(&remote).await;
    let name = kind.name("the value");
    scene.source("source", &[("value", "a value")]).await;
    let create = remote.faults().add(Fault::new(HELD).on(Op::Create).times(1));
    scene.vault_secret("app", spec(kind, &name)).await;
    scene.eventually("the create is at the remote", async || remote.faults().hits(create) == 1).await;
    remote.foreign_put(&name, "theirs");
    remote.faults().clear();
    let app = scene.not_ready("app", "RemoteEntryExists").await;
    assert_ne!(app.row(&name).unwrap().at("/claimed"), &json!(true), "the claim is withdrawn");
    scene.two_more_probes(&remote).await;
    assert_eq!(remote.history(&name), ["theirs"]);
    assert_eq!(remote.count(Op::Update), 0);
}

/// The first create is refused cleanly, and the second one meets a stranger.
async fn f2_stranger_after_a_clean_refusal(kind: Kind) {
    let scene = Scene::new("f2").await;
    let remote = scene.remote(kind).await;
    scene.connect(&remote).await;
    let name = kind.name("the value");
    scene.source("source", &[("value", "a value")]).await;
    remote.faults().add(Fault::new(Action::status(400)).on(Op::Create).times(1));
    let second = remote.faults().add(Fault::new(HELD).on(Op::Create).times(1));
    scene.vault_secret("app", spec(kind, &name)).await;
    scene.not_ready("app", "RemoteError").await;
    scene.set_source("source", "value", "another value").await;
    scene.eventually("the second create is at the remote", async || remote.faults().hits(second) == 1).await;
    remote.foreign_put(&name, "theirs");
    remote.faults().clear();
    scene.not_ready("app", "RemoteEntryExists").await;
    scene.two_more_probes(&remote).await;
    assert_eq!(remote.history(&name), ["theirs"]);
}

/// Our create has no answer yet when a stranger makes the entry; he removes it, and ours lands: it is ours in the end. Only
/// Kelvin's list says who made an entry.
#[tokio::test]
async fn f3_stranger_who_comes_and_goes() {
    let (scene, kind) = (Scene::new("f3").await, Kind::Kelvin);
    let remote = scene.remote(kind).await;
    scene.connect_as("kelvin", &remote, json!({"limits": {"settle": "26s"}})).await;
    // By the answer to a first write it is known who we are.
    let known = json!({"connectionRef": {"name": "kelvin"}, "data": [inline("VALUE", "known", "v")]});
    scene.vault_secret("known", known).await;
    scene.ready("known").await;
    scene.source("source", &[("value", "a value")]).await;
    let late = Action::LateProcessing { delay: Duration::from_secs(18), cut_after: Some(Duration::from_secs(2)) };
    let create = remote.faults().add(Fault::new(late).on(Op::Create).times(1));
    scene.vault_secret("app", spec(kind, "the-value")).await;
    scene.eventually("the create is at the remote", async || remote.faults().hits(create) == 1).await;
    remote.foreign_put("the-value", "theirs");
    let over = |app: &Object| app.row("the-value").is_some_and(|row| !row.text("/attempt/unsettledSince").is_empty());
    scene.until("VaultSecret", "app", "has had no answer", over).await;
    scene.two_more_probes(&remote).await;
    // His, as the list says; but ours may still land, so the claim stays.
    let app = scene.expect("VaultSecret", "app").await;
    assert_eq!(app.row("the-value").unwrap().at("/claimed"), &json!(true), "{app:?}");
    assert_eq!((remote.history("the-value"), remote.count(Op::Update)), (vec!["theirs".to_owned()], 0));
    remote.foreign_delete("the-value");
    scene.ready("app").await;
    scene.two_more_probes(&remote).await;
    assert!(remote.requests().iter().any(|call| call.fault.is_some() && call.outcome.is_some()), "it has landed");
    assert!(remote.history("the-value").iter().all(|value| value == "a value"), "{:?}", remote.entries());
    assert!(scene.expect("VaultSecret", "app").await.is_ready());
    let events = scene.events("app").await;
    assert!(events.iter().all(|event| event.text("/reason") != "RemoteEntryExists"), "{events:#?}");
}

/// An update times out, a newer value is acknowledged, and then the old one lands.
async fn c5_old_value_lands_late(kind: Kind) {
    let scene = Scene::new("c5").await;
    let remote = scene.remote(kind).await;
    scene.connect_as(kind.member(), &remote, json!({"limits": {"settle": "12s"}})).await;
    let synced = scene.synced_at(remote, json!({})).await;
    let remote = &synced.remote;
    let late = Action::LateProcessing { delay: Duration::from_secs(6), cut_after: Some(Duration::from_millis(200)) };
    let update = remote.faults().add(Fault::new(late).on(Op::Update).times(1));
    scene.set_source("source", "value", "second").await;
    scene.eventually("the update is at the remote", async || remote.faults().hits(update) == 1).await;
    scene.set_source("source", "value", "third").await;
    scene.remote_has(remote, &synced.entry, "third").await;
    let landed = async || remote.value(&synced.entry).as_deref() == Some("second");
    scene.eventually("the old value has landed over the new one", landed).await;
    scene.remote_has(remote, &synced.entry, "third").await;
    let app = scene.ready("app").await;
    let row = app.row(&synced.entry).unwrap();
    assert_eq!((row.text("/state"), row.text("/attempt/unsettledSince")), ("InSync", ""), "{row:?}");
    scene.two_more_probes(remote).await;
    assert_eq!(remote.value(&synced.entry).as_deref(), Some("third"));
    scene.secret_has("app", "VALUE", "third").await;
    // Two that were asked for, and one after the old one landed.
    assert_eq!(remote.count(Op::Update), 3);
}

/// The same under Report: what moved while ours was unsettled is taken for ours, and put right.
async fn c5_old_value_lands_late_under_report(kind: Kind) {
    let scene = Scene::new("c5-report").await;
    let remote = scene.remote(kind).await;
    scene.connect_as(kind.member(), &remote, json!({"limits": {"settle": "12s"}})).await;
    let synced = scene.synced_at(remote, json!({"driftPolicy": "Report"})).await;
    let late = Action::LateProcessing { delay: Duration::from_secs(6), cut_after: Some(Duration::from_millis(200)) };
    let update = synced.remote.faults().add(Fault::new(late).on(Op::Update).times(1));
    scene.set_source("source", "value", "second").await;
    scene.eventually("the update is at the remote", async || synced.remote.faults().hits(update) == 1).await;
    scene.set_source("source", "value", "third").await;
    scene.remote_has(&synced.remote, &synced.entry, "third").await;
    let landed = async || synced.remote.value(&synced.entry).as_deref() == Some("second");
    scene.eventually("the old value has landed over the new one", landed).await;
    scene.remote_has(&synced.remote, &synced.entry, "third").await;
    scene.ready("app").await;
}

/// Removed by hand and the value changed, under Report: it is made again, whenever the list was read.
async fn c6_removed_and_changed_under_report(kind: Kind, list_first: bool) {
    let scene = Scene::new("c6").await;
    let remote = scene.remote(kind).await;
    let interval = if list_first { "5s" } else { "10m" };
    scene.connect_as(kind.member(), &remote, json!({"probeInterval": interval})).await;
    let synced = scene.synced_at(remote, json!({"driftPolicy": "Report"})).await;
    synced.remote.foreign_delete(&synced.entry);
    if list_first {
        scene.not_ready("app", "RemoteMissing").await;
    }
    scene.set_source("source", "value", "a new value").await;
    scene.remote_has(&synced.remote, &synced.entry, "a new value").await;
    scene.ready("app").await;
    scene.secret_has("app", "VALUE", "a new value").await;
    assert_eq!(synced.remote.history(&synced.entry), ["a new value"]);
}

async fn c6_list_before_the_change(kind: Kind) {
    c6_removed_and_changed_under_report(kind, true).await;
}

async fn c6_change_before_the_list(kind: Kind) {
    c6_removed_and_changed_under_report(kind, false).await;
}

/// A stranger removes the entry and makes it anew; nobody has looked since when the value changes. Its id may be another.
async fn r8_made_anew_and_changed(kind: Kind) {
    let scene = Scene::new("r8").await;
    let remote = scene.remote(kind).await;
    scene.connect_as(kind.member(), &remote, json!({"probeInterval": "10m"})).await;
    let synced = scene.synced_at(remote, json!({})).await;
    synced.remote.foreign_delete(&synced.entry);
    synced.remote.foreign_put(&synced.entry, "theirs");
    scene.set_source("source", "value", "a new value").await;
    scene.remote_has(&synced.remote, &synced.entry, "a new value").await;
    scene.ready("app").await;
    assert_eq!(synced.remote.history(&synced.entry), ["theirs", "a new value"]);
    scene.set_source("source", "value", "a newer value").await;
    scene.remote_has(&synced.remote, &synced.entry, "a newer value").await;
    scene.ready("app").await;
    assert!(synced.remote.write_calls() <= 5, "{} calls", synced.remote.write_calls());
}

/// 404 to an update, and a stranger makes the entry before our create: ours stays ours, and is updated.
async fn f7_stranger_after_a_404(kind: Kind) {
    let scene = Scene::new("f7").await;
    let remote = scene.remote(kind).await;
    scene.connect_as(kind.member(), &remote, json!({"probeInterval": "10m"})).await;
    let synced = scene.synced_at(remote, json!({})).await;
    let remote = &synced.remote;
    remote.foreign_delete(&synced.entry);
    let create = remote.faults().add(Fault::new(HELD).on(Op::Create).times(1));
    scene.set_source("source", "value", "a new value").await;
    scene.eventually("the create is at the remote", async || remote.faults().hits(create) == 1).await;
    remote.foreign_put(&synced.entry, "theirs");
    remote.faults().clear();
    scene.remote_has(remote, &synced.entry, "a new value").await;
    scene.ready("app").await;
    scene.set_source("source", "value", "a newer value").await;
    scene.remote_has(remote, &synced.entry, "a newer value").await;
    scene.ready("app").await;
    let events = scene.events("app").await;
    let wrong = ["RemoteEntryExists", "UpdateUnsupported"];
    assert!(events.iter().all(|event| !wrong.contains(&event.text("/reason"))), "{events:#?}");
}

/// Two objects claim one entry at the same moment, while both their creates could leave.
async fn c10_two_claim_at_once(kind: Kind) {
    let scene = Scene::new("c10").await;
    let remote = scene.remote(kind).await;
    scene.connect(&remote).await;
    scene.connection_is(kind.member(), "Connected").await;
    remote.set_latency(Duration::from_millis(300));
    let names: Vec<String> = (0..5).map(|number| kind.name(&format!("shared {number}"))).collect();
    let object = |value: &str| {
        let data = names.iter().enumerate().map(|(n, name)| inline(&format!("KEY{n}"), name, value));
        json!({"connectionRef": {"name": kind.member()}, "data": data.collect::<Vec<_>>()})
    };
    tokio::join!(scene.vault_secret("first", object("of one")), scene.vault_secret("second", object("of two")));
    let done = async || {
        let all = [scene.expect("VaultSecret", "first").await, scene.expect("VaultSecret", "second").await];
        let ready = all.iter().filter(|object| object.is_ready()).count();
        ready == 1 && all.iter().any(|object| object.ready().reason == "OwnedByAnother")
    };
    scene.eventually("one has them, the other says so", done).await;
    scene.two_more_probes(&remote).await;
    assert_eq!(remote.write_calls(), 5);
    assert!(remote.entries().iter().all(|entry| entry.versions() == 1));
    let owners: std::collections::HashSet<_> = names.iter().map(|name| remote.value(name)).collect();
    assert_eq!(owners.len(), 1, "one has all");
}

/// The source changes while a push is under way: the Secret shows what was acknowledged.
async fn c14_change_between_push_and_projection(kind: Kind) {
    let scene = Scene::new("c14").await;
    let synced = scene.synced(kind, json!({})).await;
    let remote = &synced.remote;
    let second = remote.faults().add(Fault::new(HELD).on(Op::Update).times(1));
    scene.set_source("source", "value", "second").await;
    scene.eventually("the second is at the remote", async || remote.faults().hits(second) == 1).await;
    let third = remote.faults().add(Fault::new(HELD).on(Op::Update).times(1));
    scene.set_source("source", "value", "third").await;
    remote.faults().release();
    scene.eventually("the third is at the remote", async || remote.faults().hits(third) == 1).await;
    let secret = scene.expect("Secret", "app").await.secret_value("VALUE").unwrap();
    assert_eq!(String::from_utf8_lossy(&secret), "second", "acknowledged, and the newest that is");
    remote.faults().clear();
    scene.secret_has("app", "VALUE", "third").await;
    scene.ready("app").await;
    assert_eq!(remote.history(&synced.entry), [&*synced.value, "second", "third"]);
}

for_each_remote!(
    c1_list_that_overlaps_a_create,
    c2_stranger_in_the_claim_window,
    f2_stranger_after_a_clean_refusal,
    c5_old_value_lands_late,
    c5_old_value_lands_late_under_report,
    c6_list_before_the_change,
    c6_change_before_the_list,
    r8_made_anew_and_changed,
    f7_stranger_after_a_404,
    c10_two_claim_at_once,
    c14_change_between_push_and_projection,
);
