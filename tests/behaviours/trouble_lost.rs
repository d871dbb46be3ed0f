//! Behaviour 22: answers that are lost. What was asked for is done once, or said twice where nobody can know.

use std::sync::Arc;
use std::time::Duration;

use devkit::remotes::{Action, Fault, Op};
use serde_json::json;

use crate::common::{Kind, Remote, Scene, entry, for_each_remote};

/// A write that was not answered may still land within ten seconds: long enough that every repeat comes before.
pub(crate) async fn connect(scene: &Scene, kind: Kind) -> Arc<Remote> {
    let remote = scene.remote(kind).await;
    scene.connect_as(kind.member(), &remote, json!({"limits": {"timeout": "2s", "settle": "10s"}})).await;
    remote
}

/// Writes after one whose answer is lost: a repeat, and where no stamp shows what the remote has one that confirms.
fn repeats(kind: Kind) -> usize {
    if kind.shows_changes() { 1 } else { 2 }
}

/// Nothing that happened may look like somebody else's doing.
async fn nobody_is_blamed(scene: &Scene, about: &str) {
    for event in scene.events(about).await {
        let reason = event.text("/reason").to_owned();
        let blame = ["RemoteEntryExists", "OwnedByAnother", "RemoteDrifted", "RemoteMissing", "RemoteChanged"];
        assert!(!blame.contains(&&*reason), "{event:?}");
    }
}

async fn create_answer_lost(kind: Kind, action: Action) {
    let scene = Scene::new("b22").await;
    let remote = connect(&scene, kind).await;
    remote.faults().add(Fault::new(action).on(Op::Create).times(1));
    let (name, value) = (kind.name("the value"), scene.canary("value"));
    scene.source("source", &[("value", &value)]).await;
    let data = json!([entry("VALUE", &name, "source/value")]);
    scene.vault_secret("app", json!({"connectionRef": {"name": kind.member()}, "data": data})).await;
    let app = scene.ready("app").await;
    let row = app.row(&name).unwrap();
    assert_eq!(row.text("/state"), "InSync");
    assert_eq!(row.text("/attempt/unsettledSince"), "", "{row:?}");
    scene.two_more_probes(&remote).await;
    assert!(remote.history(&name).iter().all(|sent| *sent == value));
    let calls = (remote.count(Op::Create), remote.count(Op::Update), remote.count(Op::Delete));
    assert_eq!(calls, (1, repeats(kind), 0), "one create, one that confirms");
    assert_eq!(remote.entries().len(), 1);
    nobody_is_blamed(&scene, "app").await;
    scene.secret_has("app", "VALUE", &value).await;

    // It is ours: the next value is one update.
    let newer = scene.canary("value");
    scene.set_source("source", "value", &newer).await;
    scene.remote_has(&remote, &name, &newer).await;
    scene.ready("app").await;
    assert_eq!((remote.count(Op::Create), remote.count(Op::Update)), (1, repeats(kind) + 1));
}

async fn b22_create_cut_after(kind: Kind) {
    create_answer_lost(kind, Action::CutAfter).await;
}

async fn b22_create_answered_too_late(kind: Kind) {
    create_answer_lost(kind, Action::SlowAnswer(Duration::from_secs(6))).await;
}

async fn update_answer_lost(kind: Kind, action: Action) {
    let scene = Scene::new("b22-update").await;
    let remote = connect(&scene, kind).await;
    let synced = scene.synced_at(remote, json!({})).await;
    let remote = &synced.remote;
    remote.faults().add(Fault::new(action).on(Op::Update).times(1));
    let value = scene.canary("value");
    scene.set_source("source", "value", &value).await;
    scene.remote_has(remote, &synced.entry, &value).await;
    scene.until("VaultSecret", "app", "knows of it", |app| !app.is_ready()).await;
    let secret = scene.expect("Secret", "app").await;
    let old_or_new = secret.secret_value("VALUE").unwrap();
    assert!(old_or_new == synced.value.as_bytes() || old_or_new == value.as_bytes());
    scene.ready("app").await;
    scene.secret_has("app", "VALUE", &value).await;
    scene.two_more_probes(remote).await;
    assert_eq!((remote.count(Op::Create), remote.count(Op::Update)), (1, 1 + repeats(kind)));
    let row = scene.expect("VaultSecret", "app").await.row(&synced.entry).unwrap();
    assert_eq!((row.text("/state"), row.text("/attempt/unsettledSince")), ("InSync", ""));
    nobody_is_blamed(&scene, "app").await;
}

async fn b22_update_cut_after(kind: Kind) {
    update_answer_lost(kind, Action::CutAfter).await;
}

async fn b22_update_answered_too_late(kind: Kind) {
    update_answer_lost(kind, Action::SlowAnswer(Duration::from_secs(6))).await;
}

/// The remote takes its time with a create, and does it when ours has been repeated.
async fn b22_create_lands_late(kind: Kind) {
    let scene = Scene::new("b22-late").await;
    let remote = connect(&scene, kind).await;
    let late = Action::LateProcessing { delay: Duration::from_secs(5), cut_after: Some(Duration::from_millis(200)) };
    remote.faults().add(Fault::new(late).on(Op::Create).times(1));
    let (name, value) = (kind.name("the value"), scene.canary("value"));
    scene.source("source", &[("value", &value)]).await;
    let data = json!([entry("VALUE", &name, "source/value")]);
    scene.vault_secret("app", json!({"connectionRef": {"name": kind.member()}, "data": data})).await;
    scene.ready("app").await;
    scene.two_more_probes(&remote).await;
    assert!(remote.requests().iter().any(|call| call.fault.is_some() && call.outcome.is_some()), "it has landed");
    assert!(remote.history(&name).iter().all(|sent| *sent == value));
    assert_eq!(remote.entries().len(), 1);
    assert!(remote.count(Op::Create) <= 2 && remote.mutations() <= 1 + repeats(kind), "{}", remote.mutations());
    nobody_is_blamed(&scene, "app").await;
    assert!(scene.expect("VaultSecret", "app").await.is_ready());
}

/// A 2xx whose body says nothing is an answer: the entry is there, and there is no doubt.
async fn b22_answers_without_content(kind: Kind) {
    let scene = Scene::new("b22-empty").await;
    let remote = connect(&scene, kind).await;
    remote.faults().add(Fault::new(Action::NotJson(201)).on(Op::Create).times(1));
    let synced = scene.synced_at(remote, json!({"deletionPolicy": "Delete"})).await;
    let remote = &synced.remote;
    scene.two_more_probes(remote).await;
    assert_eq!(remote.count(Op::Create), 1);
    assert!(remote.mutations() <= 1 + repeats(kind));
    let before = remote.count(Op::Update);
    remote.faults().add(Fault::new(Action::NotJson(200)).on(Op::Update).times(1));
    let value = scene.canary("value");
    scene.set_source("source", "value", &value).await;
    scene.remote_has(remote, &synced.entry, &value).await;
    scene.ready("app").await;
    scene.two_more_probes(remote).await;
    assert!(remote.count(Op::Update) - before <= 1 + repeats(kind));
    nobody_is_blamed(&scene, "app").await;
    scene.delete("VaultSecret", "app").await;
    scene.gone("VaultSecret", "app").await;
    assert_eq!(remote.value(&synced.entry), None);
}

/// The id of a new entry was in an answer that could not be read, and the value changes before any list has shown it.
#[tokio::test]
async fn b22_dreadnode_change_before_the_id_is_known() {
    let scene = Scene::new("b22-id").await;
    let remote = scene.remote(Kind::Dreadnode).await;
    scene.connect_as("dreadnode", &remote, json!({"probeInterval": "10m"})).await;
    remote.faults().add(Fault::new(Action::NotJson(201)).on(Op::Create).times(1));
    let synced = scene.synced_at(remote, json!({})).await;
    let (lists, began) = (synced.remote.count(Op::List), std::time::Instant::now());
    let value = scene.canary("value");
    scene.set_source("source", "value", &value).await;
    scene.remote_has(&synced.remote, &synced.entry, &value).await;
    assert!(began.elapsed() < Duration::from_secs(30), "it took {:?}", began.elapsed());
    scene.ready("app").await;
    assert_eq!((synced.remote.count(Op::Create), synced.remote.count(Op::Update)), (1, 1));
    assert!(synced.remote.count(Op::List) > lists, "a list tells the id");
    nobody_is_blamed(&scene, "app").await;
}

async fn b22_delete_answer_lost(kind: Kind) {
    let scene = Scene::new("b22-delete").await;
    let remote = connect(&scene, kind).await;
    let synced = scene.synced_at(remote, json!({"deletionPolicy": "Delete"})).await;
    synced.remote.faults().add(Fault::new(Action::CutAfter).on(Op::Delete).times(1));
    scene.delete("VaultSecret", "app").await;
    scene.gone("VaultSecret", "app").await;
    assert_eq!(synced.remote.entries(), []);
    assert!(synced.remote.count(Op::Delete) <= 2, "{} deletes", synced.remote.count(Op::Delete));
    assert_eq!(synced.remote.count(Op::Create), 1);
}

/// Five of a batch of ten lose their answers; each is dealt with by itself.
async fn b22_half_of_a_batch(kind: Kind) {
    let scene = Scene::new("b22-batch").await;
    let remote = connect(&scene, kind).await;
    remote.faults().add(Fault::new(Action::CutAfter).on(Op::Create).times(5));
    let values: Vec<_> = (0..10).map(|number| (format!("KEY{number}"), scene.canary("value"))).collect();
    let borrowed: Vec<(&str, &str)> = values.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
    scene.source("source", &borrowed).await;
    let name = |key: &str| kind.name(&key.to_lowercase());
    let data: Vec<_> = values.iter().map(|(key, _)| entry(key, &name(key), &format!("source/{key}"))).collect();
    scene.vault_secret("app", json!({"connectionRef": {"name": kind.member()}, "data": data})).await;
    scene.ready("app").await;
    assert_eq!(remote.count(Op::Create), 10);
    for (key, value) in &values {
        assert!(remote.history(&name(key)).iter().all(|sent| sent == value));
    }
    let repeated = remote.entries().iter().filter(|entry| entry.versions() > 1).count();
    assert!(repeated <= 5, "{repeated} were sent again");
    nobody_is_blamed(&scene, "app").await;
}

for_each_remote!(
    b22_create_cut_after,
    b22_create_answered_too_late,
    b22_update_cut_after,
    b22_update_answered_too_late,
    b22_create_lands_late,
    b22_answers_without_content,
    b22_delete_answer_lost,
    b22_half_of_a_batch,
);
