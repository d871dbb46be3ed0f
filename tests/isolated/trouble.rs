//! Behaviours 18, 22 and 25, and traces of docs/design/counterexamples.md, where a flag or a restart of the operator matters.

use std::time::Duration;

use devkit::remotes::{Action, Fault, Op};
use serde_json::json;

use crate::common::{Kind, Object, Scene, entry, for_each_remote, inline};

/// Done at once, and not answered as long as anybody waits.
const NEVER_ANSWERED: Action = Action::SlowAnswer(Duration::from_secs(600));

/// Writes after one that a crash left open: a repeat, and where no stamp shows what the remote has one that confirms.
fn repeats(kind: Kind) -> usize {
    if kind.shows_changes() { 1 } else { 2 }
}

async fn b18_absurd_retry_after(kind: Kind) {
    let scene = Scene::isolated("b18", &["--max-retry-after=3s"]).await;
    let synced = scene.synced(kind, json!({})).await;
    for absurd in ["31536000", "99999999999999999999999999", "Fri, 31 Dec 9999 23:59:59 GMT"] {
        let action = Action::retry_after(429, absurd);
        let fault = synced.remote.faults().add(Fault::new(action).on(Op::Update).times(1));
        let value = scene.canary("value");
        scene.set_source("source", "value", &value).await;
        scene.remote_has(&synced.remote, &synced.entry, &value).await;
        assert_eq!(synced.remote.faults().hits(fault), 1);
        let calls = synced.remote.requests();
        let met = calls.iter().rposition(|call| call.fault.is_some()).unwrap();
        let again = calls[met..].iter().find(|call| call.op == Op::Update && call.fault.is_none()).unwrap();
        let pause = again.at.duration_since(calls[met].at);
        assert!(pause >= jiff::SignedDuration::from_secs(3), "{absurd}: {pause:?}");
        scene.ready("app").await;
    }
}

/// Kills the operator when an update is at the remote, done and not answered.
async fn crashed_in_update(scene: &Scene, kind: Kind) -> crate::common::Synced {
    let synced = scene.synced(kind, json!({})).await;
    let update = synced.remote.faults().add(Fault::new(NEVER_ANSWERED).on(Op::Update).times(1));
    scene.set_source("source", "value", "second").await;
    scene.remote_has(&synced.remote, &synced.entry, "second").await;
    assert_eq!(synced.remote.faults().hits(update), 1);
    scene.operator.kill();
    synced
}

async fn b22_crash_between_remote_and_status(kind: Kind) {
    let scene = Scene::isolated("b22", &[]).await;
    let synced = crashed_in_update(&scene, kind).await;
    scene.operator.start_again().await;
    scene.ready("app").await;
    scene.secret_has("app", "VALUE", "second").await;
    scene.two_more_probes(&synced.remote).await;
    let history = synced.remote.history(&synced.entry);
    assert_eq!((history[0].as_str(), synced.remote.count(Op::Create)), (&*synced.value, 1));
    assert!(history[1..].iter().all(|value| value == "second"));
    assert!((2..=2 + repeats(kind)).contains(&history.len()), "sent {} times", history.len());
    // A second restart costs nothing.
    let calls = synced.remote.write_calls();
    scene.operator.crash().await;
    scene.two_more_probes(&synced.remote).await;
    assert_eq!(synced.remote.write_calls(), calls);
}

/// The user takes the change back while the operator is away: what the ledger last heard of is not what the remote has.
async fn c4_taken_back_after_a_crash(kind: Kind) {
    let scene = Scene::isolated("c4", &[]).await;
    let synced = crashed_in_update(&scene, kind).await;
    scene.set_source("source", "value", &synced.value).await;
    scene.operator.start_again().await;
    scene.remote_has(&synced.remote, &synced.entry, &synced.value).await;
    scene.ready("app").await;
    scene.secret_has("app", "VALUE", &synced.value).await;
    scene.two_more_probes(&synced.remote).await;
    let history = synced.remote.history(&synced.entry);
    assert_eq!(history[..2], [&*synced.value, "second"]);
    assert!((1..=repeats(kind)).contains(&(history.len() - 2)), "sent {} times", history.len());
}

/// Of ten entries nine are acknowledged, and the tenth is not for long; a crash then costs no repeat of the nine.
async fn r5_crash_late_in_a_batch(kind: Kind) {
    let scene = Scene::isolated("r5", &[]).await;
    let remote = scene.remote(kind).await;
    scene.connect_as(kind.member(), &remote, json!({"limits": {"timeout": "60s"}})).await;
    let names: Vec<String> = (0..10).map(|number| kind.name(&format!("entry {number}"))).collect();
    remote.faults().add(Fault::new(NEVER_ANSWERED).on(Op::Create).named(&names[9]));
    let data = names.iter().enumerate().map(|(n, name)| inline(&format!("KEY{n}"), name, "a value"));
    let data: Vec<_> = data.collect();
    scene.vault_secret("app", json!({"connectionRef": {"name": kind.member()}, "data": data})).await;
    let nine = |app: &Object| names[..9].iter().all(|name| app.state(name) == "InSync");
    scene.until("VaultSecret", "app", "has nine outcomes in its ledger", nine).await;
    scene.operator.kill();
    remote.faults().clear();
    scene.operator.start_again().await;
    scene.ready("app").await;
    for name in &names[..9] {
        assert_eq!(remote.history(name), ["a value"], "{name}");
    }
    let tenth = remote.history(&names[9]).len();
    assert!((1..=1 + repeats(kind)).contains(&tenth), "sent {tenth} times");
}

/// A freeze outlives the process, under the token that somebody may just be typing.
async fn b25_frozen_through_restarts(kind: Kind) {
    let scene = Scene::isolated("b25", &[]).await;
    let remote = scene.remote(kind).await;
    scene.connect(&remote).await;
    let names: Vec<String> = (0..8).map(|number| kind.name(&format!("many {number}"))).collect();
    let data = names.iter().enumerate().map(|(n, name)| inline(&format!("KEY{n}"), name, "a value"));
    let data: Vec<_> = data.collect();
    scene.vault_secret("many", json!({"connectionRef": {"name": kind.member()}, "data": data})).await;
    scene.source("source", &[("value", "an old value")]).await;
    let data = json!([entry("VALUE", &kind.name("one"), "source/value")]);
    scene.vault_secret("one", json!({"connectionRef": {"name": kind.member()}, "data": data})).await;
    scene.ready("many").await;
    scene.ready("one").await;
    remote.open_tenant("other");
    let frozen = scene.connection_is(kind.member(), "RemoteDiverged").await;
    scene.not_ready("many", "RemoteDiverged").await;
    scene.not_ready("one", "RemoteDiverged").await;
    let calls = remote.write_calls();
    for crash in [false, true] {
        scene.set_source("source", "value", &format!("a new value {crash}")).await;
        if crash {
            scene.operator.crash().await;
        } else {
            scene.operator.restart().await;
        }
        scene.two_more_probes(&remote).await;
        let still = scene.expect("VaultConnection", kind.member()).await;
        assert_eq!(still.ready(), frozen.ready(), "the same token");
        assert_eq!(remote.write_calls(), calls);
        assert_eq!(remote.entries_in("other"), []);
        for name in ["many", "one"] {
            assert_eq!(scene.expect("VaultSecret", name).await.ready().reason, "RemoteDiverged");
        }
    }
    let message = frozen.ready().message;
    let token = message.rsplit_once("vaultsecret.dev/approve=").unwrap().1.split('=').next().unwrap();
    let answer = format!("{token}=same");
    scene.annotate("VaultConnection", kind.member(), "vaultsecret.dev/approve", &answer).await;
    scene.ready("many").await;
    scene.ready("one").await;
    assert_eq!(remote.entries_in("other").len(), 9);
    assert_eq!(remote.value_in("other", &kind.name("one")).as_deref(), Some("a new value true"));
    // The answer was for this freeze alone: a restart does not give it again.
    remote.open_tenant("third");
    scene.connection_is(kind.member(), "RemoteDiverged").await;
    scene.operator.restart().await;
    scene.two_more_probes(&remote).await;
    assert_eq!(scene.expect("VaultConnection", kind.member()).await.ready().reason, "RemoteDiverged");
    assert_eq!(remote.entries_in("third"), []);
}

/// The tenant changes while nobody looks; the first list of the new process shows it before anything is sent.
async fn b25_another_tenant_at_the_start(kind: Kind) {
    let scene = Scene::isolated("b25-start", &[]).await;
    let remote = scene.remote(kind).await;
    scene.connect(&remote).await;
    let names: Vec<String> = (0..8).map(|number| kind.name(&format!("many {number}"))).collect();
    let data = |value: &str| {
        let data = names.iter().enumerate().map(|(n, name)| inline(&format!("KEY{n}"), name, value));
        json!({"connectionRef": {"name": kind.member()}, "data": data.collect::<Vec<_>>()})
    };
    scene.vault_secret("many", data("a value")).await;
    scene.ready("many").await;
    scene.operator.stop().await;
    remote.open_tenant("other");
    scene.edit("many", data("another value")).await;
    scene.operator.start_again().await;
    scene.connection_is(kind.member(), "RemoteDiverged").await;
    scene.not_ready("many", "RemoteDiverged").await;
    scene.two_more_probes(&remote).await;
    assert_eq!(remote.entries_in("other"), []);
}

for_each_remote!(
    b18_absurd_retry_after,
    b22_crash_between_remote_and_status,
    c4_taken_back_after_a_crash,
    r5_crash_late_in_a_batch,
    b25_frozen_through_restarts,
    b25_another_tenant_at_the_start,
);
