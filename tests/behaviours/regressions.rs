//! Traces that once broke a promise of the documents, replayed on the running operator.

use std::time::Duration;

use crate::common::{Kind, Scene, entry, for_each_remote, generated, inline};
use devkit::remotes::{Action, Fault, Op};
use serde_json::json;

async fn pause(seconds: u64) {
    tokio::time::sleep(Duration::from_secs(seconds)).await;
}

/// T1: the spec changes while a turn is under way that writes outcomes in between.
#[tokio::test]
async fn t01_edit_during_a_turn() {
    let scene = Scene::new("t01").await;
    let remote = scene.remote(Kind::Kelvin).await;
    scene.connect(&remote).await;
    remote
        .faults()
        .add(Fault::new(Action::SlowAnswer(Duration::from_millis(4500))).on(Op::Create).named("slow").times(1));
    let spec =
        |a: &str| json!({"connectionRef": {"name": "kelvin"}, "data": [inline("A", "a", a), inline("S", "slow", "s")]});
    scene.vault_secret("app", spec("v1")).await;
    scene.eventually("a is there", async || remote.value("a").is_some()).await;
    scene.edit("app", spec("v2")).await;
    scene.remote_has(&remote, "a", "v2").await;
    scene.secret_has("app", "A", "v2").await;
}

/// T1b: keys change their places meanwhile.
#[tokio::test]
async fn t01b_order_changes_during_a_turn() {
    let scene = Scene::new("t01b").await;
    let remote = scene.remote(Kind::Kelvin).await;
    scene.connect(&remote).await;
    remote
        .faults()
        .add(Fault::new(Action::SlowAnswer(Duration::from_millis(4500))).on(Op::Create).named("slow").times(1));
    let (a, s) = (inline("A", "a", "value of a"), inline("S", "slow", "value of s"));
    let spec = |data: serde_json::Value| json!({"connectionRef": {"name": "kelvin"}, "data": data});
    scene.vault_secret("app", spec(json!([a, s]))).await;
    scene.eventually("a is there", async || remote.value("a").is_some()).await;
    scene.edit("app", spec(json!([s, a]))).await;
    scene.ready("app").await;
    pause(2).await;
    scene.ready("app").await;
    let secret = scene.expect("Secret", "app").await;
    assert_eq!(secret.secret_value("A").as_deref(), Some(&b"value of a"[..]), "{:?}", secret.values());
}

/// T2: an escrow that was made while the entry was somebody else's.
#[tokio::test]
async fn t02_refused_entry_is_not_inherited() {
    let scene = Scene::new("t02").await;
    let remote = scene.remote(Kind::Kelvin).await;
    remote.foreign_put("password", "of a stranger");
    scene.connect(&remote).await;
    let spec = json!({"connectionRef": {"name": "kelvin"}, "data": [generated("PASSWORD", "password", 1)]});
    scene.vault_secret("app", spec.clone()).await;
    scene.not_ready("app", "RemoteEntryExists").await;
    scene.delete("VaultSecret", "app").await;
    scene.gone("VaultSecret", "app").await;
    scene.vault_secret("app", spec).await;
    scene.observed("app").await;
    pause(8).await;
    assert_eq!(remote.history("password"), ["of a stranger"]);
}

/// T3: a key that was deleted and is added again.
#[tokio::test]
async fn t03_delete_and_add_again() {
    let scene = Scene::new("t03").await;
    let remote = scene.remote(Kind::Kelvin).await;
    scene.connect_as("kelvin", &remote, json!({"probeInterval": "300s"})).await;
    let both = json!([inline("A", "a", "a"), inline("B", "b", "b")]);
    let spec = json!({"connectionRef": {"name": "kelvin"}, "deletionPolicy": "Delete", "data": both});
    scene.vault_secret("app", spec).await;
    scene.ready("app").await;
    scene.edit("app", json!({"data": [inline("A", "a", "a")]})).await;
    scene.eventually("b is gone", async || remote.value("b").is_none()).await;
    scene.ready("app").await;
    scene.edit("app", json!({"data": both})).await;
    scene.ready("app").await;
}

/// T4: a re-push by interval that cannot be sent.
#[tokio::test]
async fn t04_interval_and_failure() {
    let scene = Scene::new("t04").await;
    let synced = scene.synced(Kind::Kelvin, json!({"reassertInterval": "5s"})).await;
    synced.remote.faults().add(Fault::new(Action::status(500)).on(Op::Update));
    scene.eventually("it fails", async || synced.remote.count(Op::Update) > 0).await;
    pause(6).await;
    let mark = scene.mark();
    pause(5).await;
    let asked = scene.asked_since(mark, |_| true).len();
    assert!(asked < 40, "{asked} requests at the API server in five seconds");
}

/// T5: a re-push by interval of an entry that somebody deleted.
#[tokio::test]
async fn t05_interval_and_gone() {
    let scene = Scene::new("t05").await;
    let remote = scene.remote(Kind::Kelvin).await;
    scene.connect_as("kelvin", &remote, json!({"probeInterval": "300s"})).await;
    let synced = scene.synced_at(remote, json!({"reassertInterval": "5s"})).await;
    synced.remote.foreign_delete(&synced.entry);
    scene.eventually("it is tried", async || synced.remote.count(Op::Update) > 0).await;
    pause(5).await;
    let updates = synced.remote.count(Op::Update);
    assert!(updates < 6, "{updates} updates of an entry that is not there");
    scene.remote_has(&synced.remote, &synced.entry, &synced.value).await;
}

/// T6: a one-time adoption while the budget is small.
#[tokio::test]
async fn t06_adoption_outlives_the_queue() {
    let scene = Scene::new("t06").await;
    let remote = scene.remote(Kind::Kelvin).await;
    let limits = json!({"requestsPerMinute": 30, "burst": 2, "maxInFlight": 1, "timeout": "5s", "settle": "1s"});
    scene.connect_as("kelvin", &remote, json!({"limits": limits, "probeInterval": "60s"})).await;
    let names = ["a", "b", "c", "d"];
    names.iter().for_each(|name| remote.foreign_put(name, "theirs"));
    let data: Vec<_> = names.iter().map(|name| inline(&name.to_uppercase(), name, "ours")).collect();
    scene.vault_secret("app", json!({"connectionRef": {"name": "kelvin"}, "data": data})).await;
    scene.not_ready("app", "RemoteEntryExists").await;
    scene.annotate("VaultSecret", "app", "vaultsecret.dev/adopt", "*").await;
    scene.ready("app").await;
}

/// T7: a value that changes while the credential is refused.
#[tokio::test]
async fn t07_change_while_the_credential_is_refused() {
    let scene = Scene::new("t07").await;
    let synced = scene.synced(Kind::Kelvin, json!({})).await;
    let second = scene.canary("second credential");
    synced.remote.rotate(&second);
    scene.connection_is("kelvin", "AuthenticationFailed").await;
    let value = scene.canary("value");
    scene.set_source("source", "value", &value).await;
    scene.not_ready("app", "ConnectionNotReady").await;
    let credentials = synced.remote.credentials_with(&second);
    scene.patch("Secret", "kelvin-credentials", json!({"stringData": credentials})).await;
    scene.connection_is("kelvin", "Connected").await;
    for _ in 0..80 {
        pause_ms(100).await;
        if synced.remote.value(&synced.entry).as_deref() == Some(&*value) {
            return;
        }
    }
    panic!("not pushed eight seconds after the credential was mended");
}

async fn pause_ms(ms: u64) {
    tokio::time::sleep(Duration::from_millis(ms)).await;
}

/// T20: an acknowledged write after one whose answer was lost.
#[tokio::test]
async fn t20_confirming_ends() {
    let scene = Scene::new("t20").await;
    let synced = scene.synced(Kind::Kelvin, json!({})).await;
    synced.remote.faults().add(Fault::new(Action::CutAfter).on(Op::Update).times(1));
    scene.set_source("source", "value", "another value").await;
    scene.remote_has(&synced.remote, &synced.entry, "another value").await;
    pause(10).await;
    assert!(scene.expect("VaultSecret", "app").await.is_ready());
    assert!(synced.remote.count(Op::Update) <= 2);
}

/// T8: no list for long.
#[tokio::test]
async fn t08_unknown_after_long() {
    let scene = Scene::new("t08").await;
    let synced = scene.synced(Kind::Kelvin, json!({})).await;
    pause(55).await;
    synced.remote.stop().await;
    for _ in 0..75 {
        pause(1).await;
        if !scene.expect("VaultSecret", "app").await.is_ready() {
            return;
        }
    }
    panic!("it is Ready after 90 s without a list");
}

/// T10: the API server goes while a create is under way, and stays away for some passes.
#[tokio::test]
async fn t10_api_server_away_after_a_create() {
    let scene = Scene::own_cluster("t10", devkit::controlplane::Options::default(), |_| {}, &[]).await;
    let remote = scene.remote(Kind::Kelvin).await;
    scene.connect(&remote).await;
    let value = scene.canary("value");
    scene.source("source", &[("value", &value)]).await;
    remote.faults().add(Fault::new(Action::SlowAnswer(Duration::from_millis(3000))).on(Op::Create).times(1));
    let spec = json!({"connectionRef": {"name": "kelvin"}, "data": [entry("VALUE", "a", "source/value")]});
    scene.vault_secret("app", spec).await;
    scene.eventually("the create is under way", async || remote.count(Op::Create) > 0).await;
    scene.cluster.stop_apiserver();
    pause(12).await;
    scene.cluster.start_apiserver().await.unwrap();
    scene.ready("app").await;
    eprintln!("mutations {}", remote.mutations());
}

/// T11: a connection's key becomes that of another connection, which opens another account.
#[tokio::test]
async fn t11_key_of_another_account() {
    let scene = Scene::new("t11").await;
    let remote = scene.remote(Kind::Mixpeek).await;
    let other = scene.canary("other key");
    remote.as_mixpeek().add_key("other", &other, "tenant-b", &["admin"]);
    scene.connect(&remote).await;
    scene.create("Secret", "b", json!({"stringData": {"api-key": other}})).await;
    let b = Scene::connection_spec(&remote, "b", json!({}));
    scene.create("VaultConnection", "b", json!({"spec": b})).await;
    scene.connection_is("b", "Connected").await;
    let data: Vec<_> = (0..8).map(|n| inline(&format!("K{n}"), &format!("k{n}"), "v")).collect();
    scene.vault_secret("app", json!({"connectionRef": {"name": "mixpeek"}, "data": data})).await;
    scene.ready("app").await;
    pause(6).await;
    scene.patch("Secret", "mixpeek-credentials", json!({"stringData": {"api-key": other}})).await;
    pause(12).await;
    assert_eq!(remote.entries_in("tenant-b").len(), 0, "pushed into another account");
    scene.not_ready("app", "RemoteDiverged").await;
}

/// T13: a target that is somebody else's.
#[tokio::test]
async fn t13_conflict_at_rest() {
    let scene = Scene::new("t13").await;
    let remote = scene.remote(Kind::Kelvin).await;
    scene.connect(&remote).await;
    scene.source("app", &[("x", "y")]).await;
    scene.source("source", &[("value", "some value")]).await;
    let spec = json!({"connectionRef": {"name": "kelvin"}, "data": [entry("VALUE", "a", "source/value")]});
    scene.vault_secret("app", spec).await;
    scene.not_ready("app", "TargetConflict").await;
    pause(8).await;
    let mark = scene.mark();
    pause(10).await;
    let asked = scene.asked_since(mark, |_| true).len();
    assert!(asked <= 4, "{asked} requests at the API server in ten seconds");
}

/// T14: an object goes under Retain while its update is under way.
#[tokio::test]
async fn t14_late_update_of_an_object_that_is_gone() {
    let scene = Scene::new("t14").await;
    let remote = scene.remote(Kind::Mixpeek).await;
    let limits =
        json!({"requestsPerMinute": 60_000, "burst": 1000, "maxInFlight": 50, "timeout": "2s", "settle": "10s"});
    scene.connect_as("mixpeek", &remote, json!({"limits": limits})).await;
    let spec = |value: &str| {
        json!({"connectionRef": {"name": "mixpeek"}, "adoptionPolicy": "TakeOver",
        "target": {"creationPolicy": "None"}, "data": [inline("A", "a", value)]})
    };
    scene.vault_secret("one", spec("first")).await;
    scene.ready("one").await;
    scene.vault_secret("two", spec("of two")).await;
    scene.not_ready("two", "OwnedByAnother").await;
    let late = Action::LateProcessing { delay: Duration::from_secs(6), cut_after: None };
    remote.faults().add(Fault::new(late).on(Op::Update).times(1));
    scene.edit("one", spec("late")).await;
    scene.eventually("the update is under way", async || remote.count(Op::Update) > 0).await;
    scene.delete("VaultSecret", "one").await;
    scene.ready("two").await;
    pause(10).await;
    scene.ready("two").await;
    assert_eq!(remote.value("a").as_deref(), Some("of two"), "{:?}", remote.history("a"));
}

/// T18: a key that nobody uses any more.
#[tokio::test]
async fn t18_old_key_is_left_alone() {
    let scene = Scene::new("t18").await;
    let synced = scene.synced(Kind::Mixpeek, json!({})).await;
    let second = scene.canary("second key");
    synced.remote.as_mixpeek().add_key("second", &second, devkit::remotes::DEFAULT_TENANT, &["admin"]);
    scene.patch("Secret", "mixpeek-credentials", json!({"stringData": {"api-key": second}})).await;
    let by = |id: &str| synced.remote.requests().iter().filter(|r| r.credential.as_deref() == Some(id)).count();
    scene.eventually("the new key is used", async || by("second") >= 2).await;
    let before = by(common_credential());
    pause(12).await;
    assert_eq!(by(common_credential()), before, "calls with the old key");
}

fn common_credential() -> &'static str {
    "suite"
}

/// T19: an escrow that is in the way of one key holds up no other.
#[tokio::test]
async fn t19_forbidden_escrow_and_other_keys() {
    let scene = Scene::new("t19").await;
    let remote = scene.remote(Kind::Kelvin).await;
    scene.connect(&remote).await;
    scene.source("app-escrow", &[("x", "y")]).await;
    let data = json!([generated("PASSWORD", "password", 1), inline("B", "b", "b")]);
    scene.vault_secret("app", json!({"connectionRef": {"name": "kelvin"}, "data": data})).await;
    scene.remote_has(&remote, "b", "b").await;
}

/// T21: more values change at once than a turn allows.
#[tokio::test]
async fn t21_more_than_a_turn_allows() {
    let scene = Scene::new("t21").await;
    let remote = scene.remote(Kind::Kelvin).await;
    let limits = json!({"requestsPerMinute": 60, "burst": 2, "maxInFlight": 2, "timeout": "5s", "settle": "1s"});
    scene.connect_as("kelvin", &remote, json!({"limits": limits, "probeInterval": "300s"})).await;
    let names = ["a", "b", "c", "d", "e", "f"];
    let data = |value: &str| -> Vec<_> { names.iter().map(|n| inline(&n.to_uppercase(), n, value)).collect() };
    scene.vault_secret("app", json!({"connectionRef": {"name": "kelvin"}, "data": data("one")})).await;
    scene.ready("app").await;
    pause(3).await;
    scene.edit("app", json!({"data": data("two")})).await;
    for name in names {
        scene.remote_has(&remote, name, "two").await;
    }
    scene.ready("app").await;
}

/// T22: what a person asks for does not wait for the next attempt of what failed, be it a first create or an update.
async fn t22_force_push_goes_before_the_next_attempt(kind: Kind) {
    // The next attempt after a 403 is a minute later, give or take a fifth.
    const SOON: Duration = Duration::from_secs(40);
    let scene = Scene::new("t22").await;
    let remote = scene.remote(kind).await;
    scene.connect(&remote).await;
    let name = kind.name("the value");
    for (round, op, value) in [("first", Op::Create, "one"), ("second", Op::Update, "two")] {
        remote.faults().add(Fault::new(Action::status(403)).on(op).times(1));
        let spec = json!({"connectionRef": {"name": kind.member()}, "data": [inline("VALUE", &name, value)]});
        match op {
            Op::Create => scene.vault_secret("app", spec).await,
            _ => scene.edit("app", spec).await,
        };
        scene.not_ready("app", "RemoteError").await;
        let began = std::time::Instant::now();
        scene.annotate("VaultSecret", "app", "vaultsecret.dev/force-push", round).await;
        scene.remote_has(&remote, &name, value).await;
        assert!(began.elapsed() < SOON, "after {:?}", began.elapsed());
        scene.ready("app").await;
    }
    pause(3).await;
    assert_eq!(remote.history(&name), ["one", "two"], "once, and no more");
}

for_each_remote!(t22_force_push_goes_before_the_next_attempt,);
