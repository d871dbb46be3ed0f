//! Behaviour 26: a list that cannot be relied on says nothing about any entry.

use std::time::Duration;

use devkit::remotes::{Action, Fault, KelvinOptions, Op, Partial};
use serde_json::json;

use crate::common::{Kind, Remote, Scene, Synced, for_each_remote, inline};

/// Every way in which a list can be no list.
fn unreadable() -> Vec<Action> {
    vec![
        Action::status(500),
        Action::status(503),
        Action::CutBefore,
        Action::TruncatedList,
        Action::PartialList(Partial::CountDisagrees),
        Action::PartialList(Partial::MissingItems),
        Action::PartialList(Partial::NullItems),
        Action::NotJson(200),
        Action::NotJson(502),
        Action::Hang(None),
    ]
}

/// Kelvin's cursor pages state no count, and an empty page that names a next one is no fault there.
fn is_a_fault_of(kind: Kind, action: &Action) -> bool {
    kind != Kind::Kelvin || *action != Action::PartialList(Partial::CountDisagrees)
}

fn is_as_before(synced: &Synced) -> bool {
    synced.remote.history(&synced.entry) == [synced.value.as_str()]
}

/// Two such lists change nothing: neither the remote nor what the status says.
async fn b26_unreadable_list(kind: Kind) {
    let scene = Scene::new("b26").await;
    let remote = scene.remote(kind).await;
    scene.connect_as(kind.member(), &remote, json!({"limits": {"timeout": "1s"}})).await;
    let synced = scene.synced_at(remote, json!({"deletionPolicy": "Delete"})).await;
    let remote = &synced.remote;
    scene.two_more_probes(remote).await;
    let before = scene.expect("VaultSecret", "app").await;
    for action in unreadable() {
        let label = format!("{action:?}");
        let bad = is_a_fault_of(kind, &action);
        let fault = remote.faults().add(Fault::new(action).on(Op::List));
        scene.eventually(&format!("{label} twice"), async || remote.faults().hits(fault) >= 2).await;
        if bad {
            let connection = scene.expect("VaultConnection", kind.member()).await;
            assert_ne!(connection.ready().reason, "Connected", "{label}");
        }
        assert!(is_as_before(&synced) && remote.write_calls() == 1, "{label}: {:?}", remote.entries());
        assert_eq!(scene.expect("VaultSecret", "app").await, before, "{label}");
        remote.faults().clear();
        scene.connection_is(kind.member(), "Connected").await;
    }
    scene.two_more_probes(remote).await;
    assert!(is_as_before(&synced) && remote.write_calls() == 1, "{:?}", remote.entries());
    assert_eq!(scene.expect("VaultSecret", "app").await, before);
    for event in scene.events("app").await {
        assert!(!["RemoteChanged", "RemoteMissing"].contains(&event.text("/reason")), "{event:?}");
    }
}

/// Nothing is claimed on the word of such a list either, and the name may well be taken.
async fn b26_new_object_waits_for_a_list(kind: Kind) {
    let scene = Scene::new("b26-new").await;
    let remote = scene.remote(kind).await;
    let (free, taken) = (kind.name("free"), kind.name("taken"));
    remote.foreign_put(&taken, "theirs");
    let spoiled = Action::PartialList(Partial::MissingItems);
    let fault = remote.faults().add(Fault::new(spoiled).on(Op::List));
    scene.connect(&remote).await;
    for name in [&free, &taken] {
        let spec = json!({"connectionRef": {"name": kind.member()}, "data": [inline("VALUE", name, "a value")]});
        scene.vault_secret(&name.to_lowercase().replace('_', "-"), spec).await;
    }
    let waiting = scene.until("VaultSecret", "free", "says so", |free| free.ready().status == "False").await;
    assert!(waiting.ready().message.contains(kind.member()), "{}", waiting.ready().message);
    scene.eventually("three such lists", async || remote.faults().hits(fault) >= 3).await;
    assert_eq!(remote.write_calls(), 0);
    remote.faults().clear();
    scene.ready("free").await;
    scene.not_ready("taken", "RemoteEntryExists").await;
    assert_eq!(remote.history(&taken), ["theirs"]);
}

/// An empty Kelvin may say `null` for its list. That is believed while nothing of ours should be in it, and not after.
#[tokio::test]
async fn b26_null_for_an_empty_list() {
    let scene = Scene::new("b26-null").await;
    let secret = scene.canary("credential");
    let options = KelvinOptions { null_data: true, ..KelvinOptions::default() };
    let remote = scene.watch(Remote::kelvin(options, &secret).await);
    scene.connect(&remote).await;
    let synced = scene.synced_at(remote, json!({})).await;
    let remote = &synced.remote;
    remote.foreign_delete(&synced.entry);
    scene.connection_is("kelvin", "Unreachable").await;
    assert_eq!((remote.write_calls(), remote.entries().len()), (1, 0));
    remote.foreign_put("other", "theirs");
    scene.eventually("it is made again", async || remote.count(Op::Create) == 2).await;
    scene.ready("app").await;
}

/// What leaves is not given up on the word of such a list: its deletion is asked for.
async fn b26_deletion_trusts_no_such_list(kind: Kind) {
    let scene = Scene::new("b26-delete").await;
    let synced = scene.synced(kind, json!({"deletionPolicy": "Delete"})).await;
    let fault = synced.remote.faults().add(Fault::new(Action::PartialList(Partial::NullItems)).on(Op::List));
    scene.eventually("such a list", async || synced.remote.faults().hits(fault) >= 1).await;
    scene.delete("VaultSecret", "app").await;
    scene.eventually("two more", async || synced.remote.faults().hits(fault) >= 3).await;
    synced.remote.faults().clear();
    scene.gone("VaultSecret", "app").await;
    assert_eq!(synced.remote.entries(), []);
    assert_eq!(synced.remote.count(Op::Delete), 1);
}

/// Eleven hundred entries make two pages for Kelvin. The second one fails, so nothing is known of what stands there.
#[tokio::test]
async fn b26_second_page_fails() {
    let scene = Scene::new("b26-page").await;
    let remote = scene.remote(Kind::Kelvin).await;
    for number in 0..1100 {
        remote.foreign_put(&format!("a-{number:04}"), "theirs");
    }
    scene.connect_as("kelvin", &remote, json!({"limits": {"timeout": "2s"}})).await;
    let spec = json!({"connectionRef": {"name": "kelvin"}, "data": [inline("VALUE", "z-last", "a value")]});
    scene.vault_secret("app", spec).await;
    scene.ready("app").await;
    assert!(remote.requests().iter().any(|call| call.page == Some(2)), "it has two pages");
    scene.two_more_probes(&remote).await;
    let before = scene.expect("VaultSecret", "app").await;
    let actions = [
        Action::status(500),
        Action::CutBefore,
        Action::TruncatedList,
        Action::PartialList(Partial::NullItems),
        Action::PartialList(Partial::MissingItems),
        Action::Hang(None),
    ];
    for action in actions {
        let label = format!("{action:?}");
        let fault = remote.faults().add(Fault::new(action).on(Op::List).page(2));
        scene.eventually(&format!("{label} twice"), async || remote.faults().hits(fault) >= 2).await;
        assert_eq!(remote.write_calls(), 1, "{label}");
        assert_eq!(scene.expect("VaultSecret", "app").await, before, "{label}");
        remote.faults().clear();
        scene.connection_is("kelvin", "Connected").await;
    }
    // And none that is taken there is thought free.
    remote.faults().add(Fault::new(Action::PartialList(Partial::NullItems)).on(Op::List).page(2));
    let spec = json!({"connectionRef": {"name": "kelvin"}, "data": [inline("VALUE", "a-1099", "a value")]});
    scene.vault_secret("taken", spec).await;
    let lists = remote.lists();
    scene.eventually("two more lists", async || remote.lists() >= lists + 2).await;
    assert_eq!(remote.write_calls(), 1);
    remote.faults().clear();
    scene.not_ready("taken", "RemoteEntryExists").await;
    assert_eq!(remote.history("a-1099"), ["theirs"]);
}

/// Without a list for long nobody knows; and when there is one again, nothing is sent for that.
async fn b26_unknown_after_long(kind: Kind) {
    let scene = Scene::new("b26-long").await;
    let synced = scene.synced(kind, json!({})).await;
    scene.two_more_probes(&synced.remote).await;
    synced.remote.faults().add(Fault::new(Action::status(500)).on(Op::List));
    scene.connection_is(kind.member(), "Unreachable").await;
    let unknown = |app: &crate::common::Object| app.ready().status == "Unknown";
    let app = scene.until("VaultSecret", "app", "is Unknown", unknown).await;
    assert_eq!((app.ready().reason.as_str(), &*app.state(&synced.entry)), ("ConnectionNotReady", "Unknown"));
    scene.secret_has("app", "VALUE", &synced.value).await;
    synced.remote.faults().clear();
    scene.ready("app").await;
    scene.stays("nothing is sent", Duration::from_secs(1), async || synced.remote.write_calls() == 1).await;
}

/// A change goes out even while lists fail: what is ours can be written without one.
async fn b26_change_while_lists_fail(kind: Kind) {
    let scene = Scene::new("b26-change").await;
    let synced = scene.synced(kind, json!({})).await;
    let remote: &Remote = &synced.remote;
    let fault = remote.faults().add(Fault::new(Action::PartialList(Partial::MissingItems)).on(Op::List));
    scene.eventually("such a list", async || remote.faults().hits(fault) >= 1).await;
    let value = scene.canary("value");
    scene.set_source("source", "value", &value).await;
    scene.remote_has(remote, &synced.entry, &value).await;
    scene.ready("app").await;
    assert_eq!(remote.history(&synced.entry), [&*synced.value, &*value]);
}

for_each_remote!(
    b26_unreadable_list,
    b26_new_object_waits_for_a_list,
    b26_deletion_trusts_no_such_list,
    b26_unknown_after_long,
    b26_change_while_lists_fail,
);
