//! Behaviours 10, 11, 16 and 17: whose an entry is.

use std::time::{Duration, Instant};

use devkit::remotes::{Action, Fault, Op};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::common::{Kind, Object, Remote, Scene, entry, for_each_remote, inline};

const ADOPT: &str = "vaultsecret.dev/adopt";

/// A VaultSecret `app` for an entry that somebody else has made; it is refused.
async fn refused(scene: &Scene, remote: &Remote, name: &str, value: &str) -> Object {
    remote.foreign_put(name, "theirs");
    scene.connect(remote).await;
    scene.source("source", &[("value", value)]).await;
    let data = json!([entry("VALUE", name, "source/value")]);
    scene.vault_secret("app", json!({"connectionRef": {"name": remote.kind().member()}, "data": data})).await;
    scene.not_ready("app", "RemoteEntryExists").await
}

async fn b10_existing_entry_is_left_alone(kind: Kind) {
    let scene = Scene::new("b10").await;
    let remote = scene.remote(kind).await;
    let name = kind.name("the value");
    let object = refused(&scene, &remote, &name, &scene.canary("value")).await;
    let message = object.ready().message;
    assert!(message.contains("VALUE") && message.contains(&name), "{message:?}");
    assert_eq!(object.state(&name), "Conflict");
    assert_ne!(object.row(&name).unwrap().at("/claimed"), &json!(true));
    scene.two_more_probes(&remote).await;
    assert_eq!(remote.write_calls(), 0);
    assert_eq!(remote.history(&name), ["theirs"]);
    assert_eq!(scene.get("Secret", "app").await, None);
    // Nor is it deleted with the object, under either policy.
    scene.edit("app", json!({"deletionPolicy": "Delete"})).await;
    scene.observed("app").await;
    scene.delete("VaultSecret", "app").await;
    scene.gone("VaultSecret", "app").await;
    assert_eq!(remote.write_calls(), 0);
}

/// What is refused is told by an event, also where other entries of the object are written in the same pass.
#[tokio::test]
async fn b10_conflict_beside_others_is_told() {
    let scene = Scene::new("b10-beside").await;
    let kind = Kind::Kelvin;
    let remote = scene.remote(kind).await;
    remote.foreign_put("taken", "theirs");
    scene.connect(&remote).await;
    let data = json!([inline("FREE", "free", "ours"), inline("TAKEN", "taken", "ours")]);
    scene.vault_secret("app", json!({"connectionRef": {"name": kind.member()}, "data": data})).await;
    scene.not_ready("app", "RemoteEntryExists").await;
    scene.remote_has(&remote, "free", "ours").await;
    let told = scene.event("app", "RemoteEntryExists").await;
    assert_eq!(told.text("/type"), "Warning");
    assert!(told.text("/note").contains("TAKEN"), "{told:?}");
}

/// A stranger is faster between the list and the create, and the refusal does not say that the name is taken: the list does, and
/// not only at the next attempt, a minute later.
#[tokio::test]
async fn b10_mixpeek_refuses_a_taken_name_in_other_words() {
    let scene = Scene::new("b10-words").await;
    let remote = scene.remote(Kind::Mixpeek).await;
    scene.connect_as("mixpeek", &remote, json!({"probeInterval": "10m"})).await;
    scene.connection_is("mixpeek", "Connected").await;
    let refusal = remote.faults().add(Fault::new(Action::status(400)).on(Op::Create).times(1));
    // Time for the stranger.
    remote.faults().add(Fault::new(Action::Hang(Some(Duration::from_secs(2)))).on(Op::List));
    let began = Instant::now();
    let spec = json!({"connectionRef": {"name": "mixpeek"}, "data": [inline("VALUE", "the_value", "ours")]});
    scene.vault_secret("app", spec).await;
    scene.eventually("the create is refused", async || remote.faults().hits(refusal) == 1).await;
    remote.foreign_put("the_value", "theirs");
    let object = scene.not_ready("app", "RemoteEntryExists").await;
    assert!(began.elapsed() < Duration::from_secs(40), "after {:?}", began.elapsed());
    assert_eq!(object.state("the_value"), "Conflict");
    assert_eq!(remote.history("the_value"), ["theirs"]);
}

/// The stranger removes it: then it is ours to make.
async fn b10_existing_entry_goes_away(kind: Kind) {
    let scene = Scene::new("b10-gone").await;
    let remote = scene.remote(kind).await;
    let (name, value) = (kind.name("the value"), scene.canary("value"));
    refused(&scene, &remote, &name, &value).await;
    remote.foreign_delete(&name);
    scene.ready("app").await;
    assert_eq!(remote.history(&name), [value]);
}

async fn b10_take_over(kind: Kind) {
    let scene = Scene::new("b10-take").await;
    let remote = scene.remote(kind).await;
    let (name, value) = (kind.name("the value"), scene.canary("value"));
    refused(&scene, &remote, &name, &value).await;
    scene.edit("app", json!({"adoptionPolicy": "TakeOver"})).await;
    scene.ready("app").await;
    assert_eq!(remote.history(&name), ["theirs", value.as_str()]);
    assert_eq!((remote.count(Op::Create), remote.count(Op::Update)), (0, 1));
    // Ours from then on, whatever the policy says later.
    scene.edit("app", json!({"adoptionPolicy": "Refuse"})).await;
    scene.ready("app").await;
    let newer = scene.canary("value");
    scene.set_source("source", "value", &newer).await;
    scene.remote_has(&remote, &name, &newer).await;
    scene.ready("app").await;
}

async fn b10_adopted_once(kind: Kind) {
    let scene = Scene::new("b10-adopt").await;
    let remote = scene.remote(kind).await;
    let (name, value) = (kind.name("the value"), scene.canary("value"));
    refused(&scene, &remote, &name, &value).await;
    scene.annotate("VaultSecret", "app", ADOPT, &name).await;
    let object = scene.ready("app").await;
    assert_eq!(object.text("/status/lastHandledAdopt"), name);
    assert_eq!(remote.history(&name), ["theirs", value.as_str()]);
    let newer = scene.canary("value");
    scene.set_source("source", "value", &newer).await;
    scene.remote_has(&remote, &name, &newer).await;

    // What is refused later is not covered by the same annotation.
    let second = kind.name("second");
    remote.foreign_put(&second, "theirs");
    let data = json!([entry("VALUE", &name, "source/value"), entry("SECOND", &second, "source/value")]);
    scene.edit("app", json!({"data": data})).await;
    scene.not_ready("app", "RemoteEntryExists").await;
    scene.two_more_probes(&remote).await;
    assert_eq!(remote.history(&second), ["theirs"]);
    // A new value of it is.
    scene.annotate("VaultSecret", "app", ADOPT, "*").await;
    scene.ready("app").await;
    assert_eq!(remote.history(&second), ["theirs", newer.as_str()]);
}

/// An annotation that names another entry adopts nothing.
#[tokio::test]
async fn b10_adopted_by_name_only() {
    let scene = Scene::new("b10-name").await;
    let remote = scene.remote(Kind::Kelvin).await;
    refused(&scene, &remote, "the-value", &scene.canary("value")).await;
    scene.annotate("VaultSecret", "app", ADOPT, "the-other,the-val").await;
    scene.two_more_probes(&remote).await;
    scene.not_ready("app", "RemoteEntryExists").await;
    assert_eq!(remote.write_calls(), 0);
    // It says so, and which names would do.
    let told = scene.event("app", "AdoptionIgnored").await;
    for part in ["\"the-other\", \"the-val\"", "'*'", "these: the-value"] {
        assert!(told.text("/note").contains(part), "{part:?} is not in {told:?}");
    }
    let app = scene.expect("VaultSecret", "app").await;
    assert_eq!(app.text("/status/lastHandledAdopt"), "the-other,the-val");
    assert!(app.ready().message.contains("vaultsecret.dev/adopt=the-value"), "{}", app.ready().message);
    scene.annotate("VaultSecret", "app", ADOPT, "the-value").await;
    scene.ready("app").await;
    let ignored = scene.events("app").await.into_iter().filter(|event| event.text("/reason") == "AdoptionIgnored");
    assert_eq!(ignored.count(), 1, "a name that is right is not told");
}

/// `adopt: "*"` on a connection is for all of its VaultSecrets, once.
async fn b10_adopted_by_the_connection(kind: Kind) {
    let scene = Scene::new("b10-conn").await;
    let remote = scene.remote(kind).await;
    let (name, value) = (kind.name("the value"), scene.canary("value"));
    refused(&scene, &remote, &name, &value).await;
    scene.annotate("VaultConnection", kind.member(), ADOPT, "*").await;
    scene.ready("app").await;
    assert_eq!(remote.history(&name), ["theirs", value.as_str()]);
    let handled = |connection: &Object| connection.text("/status/lastHandledAdopt") == "*";
    scene.until("VaultConnection", kind.member(), "has dealt with it", handled).await;
}

fn owner_spec(kind: Kind, name: &str, value: &str) -> Value {
    json!({"connectionRef": {"name": kind.member()}, "data": [inline("VALUE", name, value)]})
}

async fn b11_two_claim_one_entry(kind: Kind) {
    let scene = Scene::new("b11").await;
    let remote = scene.remote(kind).await;
    scene.connect(&remote).await;
    let name = kind.name("shared");
    scene.vault_secret("first", owner_spec(kind, &name, "of the first")).await;
    scene.ready("first").await;
    scene.vault_secret("second", owner_spec(kind, &name, "of the second")).await;
    let object = scene.not_ready("second", "OwnedByAnother").await;
    let message = object.ready().message;
    assert!(message.contains(&format!("{}/first", scene.namespace)), "{message:?}");
    assert!(message.contains(&name), "{message:?}");
    scene.two_more_probes(&remote).await;
    assert_eq!(remote.history(&name), ["of the first"]);
    assert!(scene.expect("VaultSecret", "first").await.is_ready());

    // Under Retain the entry stays, and the next may have it only as its policy says.
    scene.delete("VaultSecret", "first").await;
    scene.not_ready("second", "RemoteEntryExists").await;
    assert_eq!(remote.history(&name), ["of the first"]);
    scene.edit("second", json!({"adoptionPolicy": "TakeOver"})).await;
    scene.ready("second").await;
    assert_eq!(remote.history(&name), ["of the first", "of the second"]);
}

/// The ledger's holder keeps it, however old the other is.
async fn b11_holder_keeps_it(kind: Kind) {
    let scene = Scene::new("b11-holder").await;
    let remote = scene.remote(kind).await;
    scene.connect(&remote).await;
    let (shared, own) = (kind.name("shared"), kind.name("own"));
    scene.vault_secret("older", owner_spec(kind, &own, "of the older")).await;
    scene.ready("older").await;
    scene.vault_secret("holder", owner_spec(kind, &shared, "of the holder")).await;
    scene.ready("holder").await;
    let both = json!([inline("VALUE", &own, "of the older"), inline("SHARED", &shared, "of the older")]);
    scene.edit("older", json!({"data": both, "adoptionPolicy": "TakeOver"})).await;
    let message = scene.not_ready("older", "OwnedByAnother").await.ready().message;
    assert!(message.contains("holder"), "{message:?}");
    scene.edit("holder", json!({"data": [inline("VALUE", &shared, "newer")]})).await;
    scene.remote_has(&remote, &shared, "newer").await;
    scene.ready("holder").await;
    assert_eq!(remote.history(&shared), ["of the holder", "newer"]);
    assert_eq!(remote.history(&own), ["of the older"]);
}

/// Of two that nobody has written for yet, the older has it.
#[tokio::test]
async fn b11_oldest_of_two_new_ones() {
    let scene = Scene::new("b11-oldest").await;
    let remote = scene.remote(Kind::Mixpeek).await;
    let older = scene.vault_secret("older", owner_spec(Kind::Mixpeek, "shared", "of the older")).await;
    let made: Timestamp = older.text("/metadata/creationTimestamp").parse().unwrap();
    // Creation times are in seconds.
    scene.eventually("the next second has come", async || Timestamp::now().as_second() > made.as_second()).await;
    scene.vault_secret("newer", owner_spec(Kind::Mixpeek, "shared", "of the newer")).await;
    scene.not_ready("newer", "ConnectionMissing").await;
    scene.connect(&remote).await;
    scene.ready("older").await;
    scene.not_ready("newer", "OwnedByAnother").await;
    assert_eq!(remote.history("shared"), ["of the older"]);
}

/// One entry through two connections is one entry still.
#[tokio::test]
async fn b11_through_two_connections() {
    let scene = Scene::new("b11-conns").await;
    let remote = scene.remote(Kind::Kelvin).await;
    scene.connect_as("one", &remote, json!({})).await;
    scene.connect_as("two", &remote, json!({})).await;
    let spec = |connection: &str, value: &str| json!({"connectionRef": {"name": connection}, "adoptionPolicy": "TakeOver", "data": [inline("VALUE", "shared", value)]});
    scene.vault_secret("first", spec("one", "of the first")).await;
    scene.ready("first").await;
    scene.vault_secret("second", spec("two", "of the second")).await;
    scene.not_ready("second", "OwnedByAnother").await;
    assert_eq!(remote.history("shared"), ["of the first"]);
}

async fn b16_two_sources_under_delete(kind: Kind) {
    let scene = Scene::new("b16").await;
    let remote = scene.remote(kind).await;
    scene.connect(&remote).await;
    let (one, other) = (kind.name("one"), kind.name("other"));
    let values = [scene.canary("one"), scene.canary("other")];
    scene.source("source-one", &[("key", &values[0])]).await;
    scene.source("source-other", &[("key", &values[1])]).await;
    let data = json!([entry("ONE", &one, "source-one/key"), entry("OTHER", &other, "source-other/key")]);
    let spec = json!({"connectionRef": {"name": kind.member()}, "deletionPolicy": "Delete", "data": data});
    scene.vault_secret("app", spec).await;
    scene.ready("app").await;

    let newer = scene.canary("one");
    scene.set_source("source-one", "key", &newer).await;
    scene.remote_has(&remote, &one, &newer).await;
    scene.ready("app").await;
    assert_eq!(remote.history(&other), [values[1].as_str()]);

    scene.delete("Secret", "source-other").await;
    scene.not_ready("app", "SourceMissing").await;
    let newest = scene.canary("one");
    scene.set_source("source-one", "key", &newest).await;
    scene.remote_has(&remote, &one, &newest).await;
    assert_eq!(remote.count(Op::Delete), 0, "nothing is ever deleted for a source");
    assert_eq!(remote.history(&other), [values[1].as_str()]);
}

async fn changed_connection(kind: Kind, policy: &str) {
    let scene = Scene::new("b17").await;
    let (old, new) = (scene.remote(kind).await, scene.remote(kind).await);
    scene.connect_as("old", &old, json!({})).await;
    scene.connect_as("new", &new, json!({})).await;
    let (name, value) = (kind.name("the value"), scene.canary("value"));
    scene.source("source", &[("value", &value)]).await;
    let data = json!([entry("VALUE", &name, "source/value")]);
    scene.vault_secret("app", json!({"connectionRef": {"name": "old"}, "deletionPolicy": policy, "data": data})).await;
    scene.ready("app").await;
    scene.edit("app", json!({"connectionRef": {"name": "new"}})).await;
    scene.remote_has(&new, &name, &value).await;
    let moved = |app: &Object| app.is_ready() && app.rows().len() == 1;
    let object = scene.until("VaultSecret", "app", "is Ready with one row", moved).await;
    assert_eq!(object.row(&name).unwrap().text("/connection"), "VaultConnection/new");
    assert_eq!(new.history(&name), [value.as_str()]);
    match policy {
        "Delete" => assert_eq!((old.value(&name), old.count(Op::Delete)), (None, 1)),
        _ => assert_eq!((old.history(&name), old.count(Op::Delete)), (vec![value], 0)),
    }
}

async fn b17_changed_connection_under_delete(kind: Kind) {
    changed_connection(kind, "Delete").await;
}

async fn b17_changed_connection_under_retain(kind: Kind) {
    changed_connection(kind, "Retain").await;
}

/// The names of two keys are exchanged: both are updated, none is in conflict with the other, nothing is deleted.
async fn b17_exchanged_names(kind: Kind) {
    let scene = Scene::new("b17-swap").await;
    let remote = scene.remote(kind).await;
    scene.connect(&remote).await;
    let (a, b) = (kind.name("a"), kind.name("b"));
    let data = |first: &str, second: &str| json!([inline("FIRST", first, "first"), inline("SECOND", second, "second")]);
    let spec = json!({"connectionRef": {"name": kind.member()}, "deletionPolicy": "Delete", "data": data(&a, &b)});
    scene.vault_secret("app", spec).await;
    scene.ready("app").await;
    scene.edit("app", json!({"data": data(&b, &a)})).await;
    scene.ready("app").await;
    assert_eq!(
        (remote.history(&a), remote.history(&b)),
        (vec!["first".into(), "second".into()], vec!["second".to_owned(), "first".to_owned()])
    );
    assert_eq!((remote.count(Op::Create), remote.count(Op::Delete)), (2, 0));
}

for_each_remote!(
    b10_existing_entry_is_left_alone,
    b10_existing_entry_goes_away,
    b10_take_over,
    b10_adopted_once,
    b10_adopted_by_the_connection,
    b11_two_claim_one_entry,
    b11_holder_keeps_it,
    b16_two_sources_under_delete,
    b17_changed_connection_under_delete,
    b17_changed_connection_under_retain,
    b17_exchanged_names,
);
