//! Behaviours 12, 13 and 15: entries and objects that go.

use devkit::remotes::{Action, Fault, Op};
use serde_json::{Value, json};

use crate::common::{Kind, Object, Scene, for_each_remote, inline};

fn two_entries(kind: Kind, policy: &str) -> Value {
    let data = json!([inline("STAYS", &kind.name("stays"), "a value"), inline("GOES", &kind.name("goes"), "a value")]);
    json!({"connectionRef": {"name": kind.member()}, "deletionPolicy": policy, "data": data})
}

fn one_entry(kind: Kind) -> Value {
    json!({"data": [inline("STAYS", &kind.name("stays"), "a value")]})
}

async fn b12_removed_entry_under_delete(kind: Kind) {
    let scene = Scene::new("b12").await;
    let remote = scene.remote(kind).await;
    scene.connect(&remote).await;
    scene.vault_secret("app", two_entries(kind, "Delete")).await;
    assert!(scene.ready("app").await.has_finalizer());
    scene.edit("app", one_entry(kind)).await;
    let one_row = |app: &Object| app.is_ready() && app.rows().len() == 1;
    scene.until("VaultSecret", "app", "is Ready with one row", one_row).await;
    assert_eq!(remote.value(&kind.name("goes")), None);
    assert_eq!(remote.history(&kind.name("stays")), ["a value"]);
    assert_eq!((remote.count(Op::Delete), remote.count_for(Op::Delete, &kind.name("goes"))), (1, 1));
    assert_eq!(scene.expect("Secret", "app").await.keys(), ["STAYS"]);
}

async fn b12_removed_entry_under_retain(kind: Kind) {
    let scene = Scene::new("b12-retain").await;
    let remote = scene.remote(kind).await;
    scene.connect(&remote).await;
    scene.vault_secret("app", two_entries(kind, "Retain")).await;
    assert!(!scene.ready("app").await.has_finalizer());
    scene.edit("app", one_entry(kind)).await;
    let one_row = |app: &Object| app.is_ready() && app.rows().len() == 1;
    scene.until("VaultSecret", "app", "is Ready with one row", one_row).await;
    scene.two_more_probes(&remote).await;
    assert_eq!(remote.history(&kind.name("goes")), ["a value"]);
    assert_eq!(remote.count(Op::Delete), 0);
    assert_eq!(scene.expect("Secret", "app").await.keys(), ["STAYS"]);
    // It is forgotten: added again, it is somebody else's.
    scene.edit("app", json!({"data": two_entries(kind, "Retain")["data"]})).await;
    scene.not_ready("app", "RemoteEntryExists").await;
}

async fn b12_failed_deletion_is_tracked(kind: Kind) {
    let scene = Scene::new("b12-fails").await;
    let remote = scene.remote(kind).await;
    scene.connect(&remote).await;
    scene.vault_secret("app", two_entries(kind, "Delete")).await;
    scene.ready("app").await;
    let goes = kind.name("goes");
    remote.faults().add(Fault::new(Action::status(503)).on(Op::Delete).times(2));
    scene.edit("app", one_entry(kind)).await;
    let tracked = |app: &Object| {
        app.row(&goes).is_some_and(|row| row.text("/state") == "Leaving" && row.text("/message").contains("503"))
    };
    let object = scene.until("VaultSecret", "app", "tells of the deletion that failed", tracked).await;
    assert_eq!(object.row(&goes).unwrap().text("/key"), "", "no key has it any more");
    scene.eventually("it is deleted after all", async || remote.value(&goes).is_none()).await;
    let one_row = |app: &Object| app.is_ready() && app.rows().len() == 1;
    scene.until("VaultSecret", "app", "is Ready with one row", one_row).await;
    assert_eq!(remote.count_for(Op::Delete, &goes), 3);
}

async fn b13_deleted_object_takes_its_entries(kind: Kind) {
    let scene = Scene::new("b13").await;
    let remote = scene.remote(kind).await;
    remote.foreign_put(&kind.name("theirs"), "theirs");
    scene.connect(&remote).await;
    scene.vault_secret("app", two_entries(kind, "Delete")).await;
    scene.ready("app").await;
    scene.delete("VaultSecret", "app").await;
    scene.gone("VaultSecret", "app").await;
    let names: Vec<_> = remote.entries().into_iter().map(|entry| entry.name).collect();
    assert_eq!(names, [kind.name("theirs")], "its entries are gone, and no other");
    assert_eq!(remote.count(Op::Delete), 2);
    scene.gone("Secret", "app").await;
}

async fn b13_deleted_object_under_retain(kind: Kind) {
    let scene = Scene::new("b13-retain").await;
    let synced = scene.synced(kind, json!({})).await;
    scene.delete("VaultSecret", "app").await;
    scene.gone("VaultSecret", "app").await;
    scene.two_more_probes(&synced.remote).await;
    assert_eq!(synced.remote.history(&synced.entry), [synced.value.as_str()]);
    assert_eq!(synced.remote.write_calls(), 1);
}

/// The policy is changed before it goes: the finalizer comes and goes with it.
#[tokio::test]
async fn b13_finalizer_follows_the_policy() {
    let scene = Scene::new("b13-policy").await;
    let synced = scene.synced(Kind::Kelvin, json!({})).await;
    scene.edit("app", json!({"deletionPolicy": "Delete"})).await;
    scene.until("VaultSecret", "app", "has the finalizer", Object::has_finalizer).await;
    scene.edit("app", json!({"deletionPolicy": "Retain"})).await;
    scene.until("VaultSecret", "app", "has no finalizer", |app| !app.has_finalizer()).await;
    scene.edit("app", json!({"deletionPolicy": "Delete"})).await;
    scene.until("VaultSecret", "app", "has the finalizer", Object::has_finalizer).await;
    scene.delete("VaultSecret", "app").await;
    scene.gone("VaultSecret", "app").await;
    assert_eq!(synced.remote.value(&synced.entry), None);
}

/// The remote answers the deletion with that status; nothing is left to wait for.
async fn gone_already(kind: Kind, status: u16) {
    let scene = Scene::new("b13-gone").await;
    let remote = scene.remote(kind).await;
    // No probe tells of it before the deletion does.
    scene.connect_as(kind.member(), &remote, json!({"probeInterval": "10m"})).await;
    let synced = scene.synced_at(remote, json!({"deletionPolicy": "Delete"})).await;
    let remote = &synced.remote;
    match status {
        404 => remote.foreign_delete(&synced.entry),
        status => drop(remote.faults().add(Fault::new(Action::status(status)).on(Op::Delete))),
    }
    scene.delete("VaultSecret", "app").await;
    scene.gone("VaultSecret", "app").await;
    let asked: Vec<_> = remote.requests().into_iter().filter(|call| call.op == Op::Delete).collect();
    // Dreadnode may hear that it is gone from a list as well: there is no id to delete by then.
    assert!(asked.iter().all(|call| call.status == Some(status)), "{asked:#?}");
    assert_eq!(remote.count(Op::Create), 1, "it is not made anew while it goes");
}

async fn b13_deletion_of_what_is_gone_404(kind: Kind) {
    gone_already(kind, 404).await;
}

async fn b13_deletion_of_what_is_gone_410(kind: Kind) {
    gone_already(kind, 410).await;
}

/// Suspended objects can be deleted all the same.
#[tokio::test]
async fn b13_suspended_object_is_deleted() {
    let scene = Scene::new("b13-suspended").await;
    let synced = scene.synced(Kind::Dreadnode, json!({"deletionPolicy": "Delete"})).await;
    scene.edit("app", json!({"suspend": true})).await;
    scene.not_ready("app", "Suspended").await;
    let value = scene.canary("value");
    scene.set_source("source", "value", &value).await;
    scene.two_more_probes(&synced.remote).await;
    assert_eq!(synced.remote.value(&synced.entry).as_ref(), Some(&synced.value), "suspended: nothing is sent");
    scene.delete("VaultSecret", "app").await;
    scene.gone("VaultSecret", "app").await;
    assert_eq!(synced.remote.value(&synced.entry), None);
}

async fn b15_credentials_go_first(kind: Kind) {
    let scene = Scene::new("b15").await;
    let synced = scene.synced(kind, json!({"deletionPolicy": "Delete"})).await;
    let credentials = format!("{}-credentials", kind.member());
    scene.delete("Secret", &credentials).await;
    scene.connection_is(kind.member(), "CredentialsMissing").await;
    scene.delete("Namespace", &scene.namespace).await;
    scene.gone("Namespace", &scene.namespace).await;
    assert_eq!(synced.remote.value(&synced.entry), None, "cleaned up with the credentials that were there");
}

/// The connection goes before what needs it.
async fn b15_connection_goes_first(kind: Kind) {
    let scene = Scene::new("b15-conn").await;
    let synced = scene.synced(kind, json!({"deletionPolicy": "Delete"})).await;
    scene.delete("VaultConnection", kind.member()).await;
    scene.not_ready("app", "ConnectionMissing").await;
    scene.delete("Namespace", &scene.namespace).await;
    scene.gone("Namespace", &scene.namespace).await;
    assert_eq!(synced.remote.value(&synced.entry), None);
}

/// Whatever the order in which the namespace's objects go.
async fn b15_namespace_is_deleted(kind: Kind) {
    let scene = Scene::new("b15-ns").await;
    let synced = scene.synced(kind, json!({"deletionPolicy": "Delete"})).await;
    scene.delete("Namespace", &scene.namespace).await;
    scene.gone("Namespace", &scene.namespace).await;
    assert_eq!(synced.remote.value(&synced.entry), None);
}

for_each_remote!(
    b12_removed_entry_under_delete,
    b12_removed_entry_under_retain,
    b12_failed_deletion_is_tracked,
    b13_deleted_object_takes_its_entries,
    b13_deleted_object_under_retain,
    b13_deletion_of_what_is_gone_404,
    b13_deletion_of_what_is_gone_410,
    b15_credentials_go_first,
    b15_connection_goes_first,
    b15_namespace_is_deleted,
);
