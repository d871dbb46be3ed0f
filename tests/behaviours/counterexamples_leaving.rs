//! The traces of docs/design/counterexamples.md that faults can force on the running operator: entries that leave.

use std::sync::Arc;
use std::time::Duration;

use devkit::remotes::{Action, Fault, KelvinOptions, Op};
use serde_json::{Value, json};

use crate::common::{Kind, Object, Remote, Scene, for_each_remote, inline};

/// A request that lands seven seconds after it was sent; the client hears after two that it has no answer.
const LATE: Action = Action::LateProcessing { delay: Duration::from_secs(7), cut_after: Some(Duration::from_secs(2)) };

/// A connection that takes a request for settled after twelve seconds.
async fn connect(scene: &Scene, kind: Kind) -> Arc<Remote> {
    connect_settling(scene, kind, "12s").await
}

async fn connect_settling(scene: &Scene, kind: Kind, settle: &str) -> Arc<Remote> {
    let remote = scene.remote(kind).await;
    scene.connect_as(kind.member(), &remote, json!({"limits": {"settle": settle}})).await;
    remote
}

fn spec(kind: Kind, name: &str, value: &str, more: Value) -> Value {
    let base = json!({"connectionRef": {"name": kind.member()}, "deletionPolicy": "Delete",
                      "data": [inline("VALUE", name, value)]});
    crate::common::merged(base, more)
}

/// Whether the call that met the fault was dealt with by the remote.
fn has_landed(remote: &Remote) -> bool {
    remote.requests().iter().any(|call| call.fault == Some("late processing") && call.outcome.is_some())
}

fn says(events: &[Object], reason: &str, part: &str) -> bool {
    events.iter().any(|event| event.text("/reason") == reason && event.text("/note").contains(part))
}

/// The object is deleted while its create is under way: it is not released before nothing of ours can land any more.
async fn c8_deleted_while_its_create_is_under_way(kind: Kind) {
    let scene = Scene::new("c8").await;
    let remote = connect(&scene, kind).await;
    let name = kind.name("the value");
    let create = remote.faults().add(Fault::new(LATE).on(Op::Create).times(1));
    scene.vault_secret("app", spec(kind, &name, "a value", json!({}))).await;
    scene.eventually("the create is at the remote", async || remote.faults().hits(create) == 1).await;
    scene.delete("VaultSecret", "app").await;
    scene.gone("VaultSecret", "app").await;
    assert!(has_landed(&remote), "it was released while the create could still land: {:#?}", remote.requests());
    assert_eq!(remote.count(Op::Create), 1);
    if kind == Kind::Mixpeek {
        // Nothing shows whose it is: it is left, and named.
        assert!(says(&scene.events("app").await, "EntryLeft", &name), "{:?}", scene.events("app").await);
    } else {
        assert_eq!(remote.entries(), [], "an entry that nobody knows");
    }
}

/// The same with an entry that is ours and whose update is under way.
async fn c8_deleted_while_its_update_is_under_way(kind: Kind) {
    let scene = Scene::new("c8-update").await;
    let remote = connect(&scene, kind).await;
    let name = kind.name("the value");
    scene.vault_secret("app", spec(kind, &name, "a value", json!({}))).await;
    scene.ready("app").await;
    let update = remote.faults().add(Fault::new(LATE).on(Op::Update).times(1));
    scene.edit("app", json!({"data": [inline("VALUE", &name, "another value")]})).await;
    scene.eventually("the update is at the remote", async || remote.faults().hits(update) == 1).await;
    scene.delete("VaultSecret", "app").await;
    scene.gone("VaultSecret", "app").await;
    assert!(has_landed(&remote), "it was released while the update could still land: {:#?}", remote.requests());
    assert_eq!(remote.entries(), []);
    assert_eq!((remote.count(Op::Update), remote.count(Op::Delete)), (1, 1));
}

/// A create is under way, a stranger makes the entry, the object is deleted: his is not deleted. Only Kelvin's list says whose.
#[tokio::test]
async fn f4_stranger_while_a_create_is_under_way() {
    let (scene, kind) = (Scene::new("f4").await, Kind::Kelvin);
    let remote = connect(&scene, kind).await;
    scene.vault_secret("known", spec(kind, "known", "a value", json!({}))).await;
    scene.ready("known").await;
    let create = remote.faults().add(Fault::new(LATE).on(Op::Create).times(1));
    scene.vault_secret("app", spec(kind, "the-value", "a value", json!({}))).await;
    scene.eventually("the create is at the remote", async || remote.faults().hits(create) == 1).await;
    remote.foreign_put("the-value", "theirs");
    scene.delete("VaultSecret", "app").await;
    scene.gone("VaultSecret", "app").await;
    assert!(has_landed(&remote), "it was released while the create could still land");
    assert_eq!(remote.history("the-value"), ["theirs"]);
    assert_eq!(remote.count(Op::Delete), 0);
}

/// The create was refused cleanly, so an entry that is there is not ours to delete.
async fn f5_stranger_after_a_clean_refusal(kind: Kind) {
    let scene = Scene::new("f5").await;
    let remote = connect(&scene, kind).await;
    let name = kind.name("the value");
    remote.faults().add(Fault::new(Action::status(422)).on(Op::Create));
    scene.vault_secret("app", spec(kind, &name, "a value", json!({}))).await;
    scene.not_ready("app", "RemoteError").await;
    remote.foreign_put(&name, "theirs");
    scene.delete("VaultSecret", "app").await;
    scene.gone("VaultSecret", "app").await;
    assert_eq!(remote.history(&name), ["theirs"]);
    assert_eq!(remote.count(Op::Delete), 0);
}

/// Ours was deleted and made anew by a stranger, as the times show: it is his.
async fn f6_made_anew_by_a_stranger(kind: Kind) {
    let scene = Scene::new("f6").await;
    let remote = connect(&scene, kind).await;
    let name = kind.name("the value");
    scene.vault_secret("app", spec(kind, &name, "a value", json!({"driftPolicy": "Report"}))).await;
    scene.ready("app").await;
    remote.foreign_delete(&name);
    remote.foreign_put(&name, "theirs");
    scene.delete("VaultSecret", "app").await;
    scene.gone("VaultSecret", "app").await;
    assert_eq!(remote.history(&name), ["theirs"]);
    assert_eq!(remote.count(Op::Delete), 0);
    assert!(says(&scene.events("app").await, "EntryLeft", &name), "{:?}", scene.events("app").await);
}

/// Each of several entries that are left is told, not the first alone.
#[tokio::test]
async fn f6_each_entry_that_is_left_is_told() {
    let scene = Scene::new("f6-each").await;
    let remote = connect(&scene, Kind::Kelvin).await;
    let names = ["one", "two", "three"];
    let data: Vec<_> = names.iter().map(|name| inline(&name.to_uppercase(), name, "a value")).collect();
    let spec =
        json!({"connectionRef": {"name": "kelvin"}, "deletionPolicy": "Delete", "driftPolicy": "Report", "data": data});
    scene.vault_secret("app", spec).await;
    scene.ready("app").await;
    for name in names {
        remote.foreign_delete(name);
        remote.foreign_put(name, "theirs");
    }
    scene.delete("VaultSecret", "app").await;
    scene.gone("VaultSecret", "app").await;
    assert_eq!(remote.count(Op::Delete), 0);
    let is_told = async |name| {
        let told = format!("entry {name:?}");
        scene.eventually("it is told", async || says(&scene.events("app").await, "EntryLeft", &told)).await;
    };
    for name in names {
        is_told(name).await;
    }
    let told = scene.events("app").await.iter().filter(|event| event.text("/reason") == "EntryLeft").count();
    assert_eq!(told, names.len(), "each once: {:?}", scene.events("app").await);
}

#[tokio::test]
async fn f6_kelvin() {
    f6_made_anew_by_a_stranger(Kind::Kelvin).await;
}

#[tokio::test]
async fn f6_dreadnode() {
    f6_made_anew_by_a_stranger(Kind::Dreadnode).await;
}

/// The delete of one object has no answer and lands late; the next object waits with its create until it cannot.
async fn f8_delete_lands_after_the_next_claim(kind: Kind) {
    let scene = Scene::new("f8").await;
    let remote = connect(&scene, kind).await;
    let name = kind.name("the value");
    scene.vault_secret("first", spec(kind, &name, "of the first", json!({}))).await;
    scene.ready("first").await;
    let delete = remote.faults().add(Fault::new(LATE).on(Op::Delete).times(1));
    scene.delete("VaultSecret", "first").await;
    scene.eventually("the delete is at the remote", async || remote.faults().hits(delete) == 1).await;
    scene.vault_secret("second", spec(kind, &name, "of the second", json!({}))).await;
    scene.ready("second").await;
    assert!(has_landed(&remote), "{:#?}", remote.requests());
    scene.two_more_probes(&remote).await;
    assert_eq!(remote.history(&name), ["of the second"]);
    let made = remote.requests().iter().filter(|call| call.op == Op::Create).count();
    assert_eq!(made, 2, "the second was made once");
    assert!(scene.expect("VaultSecret", "second").await.is_ready());
}

/// The key is taken away while its create is under way, under Retain, and comes back: it is ours.
async fn f10_key_goes_and_comes_back(kind: Kind) {
    let scene = Scene::new("f10").await;
    // The key has to come back before the row is forgotten, also where everything is slow.
    let remote = connect_settling(&scene, kind, "30s").await;
    let (name, stays) = (kind.name("the value"), kind.name("stays"));
    let both = json!([inline("STAYS", &stays, "a value"), inline("VALUE", &name, "a value")]);
    let one = json!([inline("STAYS", &stays, "a value")]);
    let create = remote.faults().add(Fault::new(LATE).on(Op::Create).named(&name).times(1));
    let spec = json!({"connectionRef": {"name": kind.member()}, "data": both});
    scene.vault_secret("app", spec).await;
    scene.eventually("the create is at the remote", async || remote.faults().hits(create) == 1).await;
    scene.edit("app", json!({"data": one})).await;
    let leaves = |app: &Object| app.is_observed() && app.row(&name).is_some_and(|row| row.text("/key").is_empty());
    scene.until("VaultSecret", "app", "has let the key go", leaves).await;
    // The row is kept until nothing of ours can land any more: through the answer that does not come, and the landing.
    scene.eventually("it has landed", async || has_landed(&remote)).await;
    let app = scene.expect("VaultSecret", "app").await;
    assert!(leaves(&app), "the row is kept: {app:?}");
    scene.edit("app", json!({"data": both})).await;
    scene.ready("app").await;
    scene.two_more_probes(&remote).await;
    assert!(remote.history(&name).iter().all(|value| value == "a value"));
    let creates = remote.requests().into_iter().filter(|r| r.op == Op::Create && r.name.as_deref() == Some(&name));
    assert_eq!(creates.filter(|r| r.processed).count(), 1, "one that landed; another may have been refused");
    let events = scene.events("app").await;
    assert!(events.iter().all(|event| event.text("/reason") != "RemoteEntryExists"), "{events:#?}");
}

/// The key is taken away, the delete has no answer, and the key comes back before it lands: that the entry goes then is our own
/// doing, also where drift is only reported.
async fn s9_late_delete_of_a_key_that_came_back(kind: Kind) {
    let scene = Scene::new("s9").await;
    let remote = connect(&scene, kind).await;
    let (name, stays) = (kind.name("the value"), kind.name("stays"));
    let both = json!([inline("STAYS", &stays, "a value"), inline("VALUE", &name, "a value")]);
    let with = |data: &Value| spec(kind, &name, "a value", json!({"driftPolicy": "Report", "data": data}));
    scene.vault_secret("app", with(&both)).await;
    scene.ready("app").await;
    let delete = remote.faults().add(Fault::new(LATE).on(Op::Delete).named(&name).times(1));
    scene.edit("app", json!({"data": [inline("STAYS", &stays, "a value")]})).await;
    scene.eventually("the delete is at the remote", async || remote.faults().hits(delete) == 1).await;
    scene.edit("app", json!({"data": both})).await;
    scene.eventually("it has landed", async || has_landed(&remote)).await;
    scene.ready("app").await;
    scene.two_more_probes(&remote).await;
    assert_eq!(remote.value(&name).as_deref(), Some("a value"));
    let app = scene.expect("VaultSecret", "app").await;
    assert!(app.is_ready() && app.state(&name) == "InSync", "{app:?}");
    let events = scene.events("app").await;
    assert!(events.iter().all(|event| event.text("/reason") != "RemoteMissing"), "{events:#?}");
}

/// Under Retain the row goes when nothing of ours can land any more.
async fn f10_row_is_forgotten_once_settled(kind: Kind) {
    let scene = Scene::new("f10-gone").await;
    let remote = connect(&scene, kind).await;
    let (name, stays) = (kind.name("the value"), kind.name("stays"));
    let both = json!([inline("STAYS", &stays, "a value"), inline("VALUE", &name, "a value")]);
    let create = remote.faults().add(Fault::new(LATE).on(Op::Create).named(&name).times(1));
    scene.vault_secret("app", json!({"connectionRef": {"name": kind.member()}, "data": both})).await;
    scene.eventually("the create is at the remote", async || remote.faults().hits(create) == 1).await;
    scene.edit("app", json!({"data": [inline("STAYS", &stays, "a value")]})).await;
    let forgotten = |app: &Object| app.is_observed() && app.row(&name).is_none();
    scene.until("VaultSecret", "app", "has forgotten it", forgotten).await;
    assert!(has_landed(&remote), "it was forgotten while it could still land");
    scene.ready("app").await;
    assert_eq!((remote.count(Op::Delete), remote.count_for(Op::Create, &name)), (0, 1));
}

/// An old Kelvin has no update route: said after the second time, and not tried for ever.
#[tokio::test]
async fn update_that_is_not_supported() {
    let scene = Scene::new("no-update").await;
    let secret = scene.canary("credential");
    let options = KelvinOptions { update_route: false, ..KelvinOptions::default() };
    let remote = scene.watch(Remote::kelvin(options, &secret).await);
    scene.connect(&remote).await;
    let synced = scene.synced_at(remote, json!({})).await;
    let remote = &synced.remote;
    let value = scene.canary("value");
    scene.set_source("source", "value", &value).await;
    let app = scene.not_ready("app", "UpdateUnsupported").await;
    assert!(app.ready().message.contains(&synced.entry), "{}", app.ready().message);
    let calls = remote.write_calls();
    assert!(calls <= 4, "{calls} calls");
    scene.two_more_probes(remote).await;
    assert_eq!(remote.write_calls(), calls, "no loop");
    scene.secret_has("app", "VALUE", &synced.value).await;
    // Whoever deletes the entry has it made anew.
    remote.foreign_delete(&synced.entry);
    scene.remote_has(remote, &synced.entry, &value).await;
    scene.ready("app").await;
}

for_each_remote!(
    c8_deleted_while_its_create_is_under_way,
    c8_deleted_while_its_update_is_under_way,
    f5_stranger_after_a_clean_refusal,
    f8_delete_lands_after_the_next_claim,
    f10_key_goes_and_comes_back,
    f10_row_is_forgotten_once_settled,
    s9_late_delete_of_a_key_that_came_back,
);
