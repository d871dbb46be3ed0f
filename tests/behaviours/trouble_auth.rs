//! Behaviour 21: a credential that is refused, and one that is renewed.

use std::time::{Duration, Instant};

use devkit::remotes::{Action, Fault, KelvinOptions, Op};
use serde_json::json;

use crate::common::{Kind, Remote, Scene, Synced, for_each_remote, inline};

/// A refused credential is tried again after a minute or so: what comes sooner came because of the new one.
const AT_ONCE: Duration = Duration::from_secs(30);

async fn renew(scene: &Scene, kind: Kind, remote: &Remote, secret: &str) {
    let credentials = format!("{}-credentials", kind.member());
    scene.patch("Secret", &credentials, json!({"stringData": remote.credentials_with(secret)})).await;
}

/// A second object of the same connection, with nothing to do.
async fn calm(scene: &Scene, kind: Kind) -> String {
    let name = kind.name("calm");
    let spec = json!({"connectionRef": {"name": kind.member()}, "data": [inline("VALUE", &name, "a value")]});
    scene.vault_secret("calm", spec).await;
    scene.ready("calm").await;
    name
}

/// The credential is refused at a write; whoever has the new one in the Secret has it in use.
async fn b21_revoked_and_renewed(kind: Kind) {
    let scene = Scene::new("b21").await;
    let synced = scene.synced(kind, json!({})).await;
    let (remote, calm) = (&synced.remote, calm(&scene, kind).await);
    let (tokens, updates) = (remote.count(Op::Token), remote.count(Op::Update));
    remote.revoke();
    let value = scene.canary("value");
    scene.set_source("source", "value", &value).await;
    let refused = scene.connection_is(kind.member(), "AuthenticationFailed").await;
    assert_eq!(refused.ready().status, "False");
    let app = scene.until("VaultSecret", "app", "says so", |app| app.ready().status == "False").await;
    assert!(app.ready().message.contains(kind.member()), "{}", app.ready().message);
    assert_eq!(remote.value(&synced.entry).as_ref(), Some(&synced.value));
    assert!(scene.expect("VaultSecret", "calm").await.is_ready(), "what is in sync stays so");

    // One login and one retry, and then it is left alone.
    let update_calls = remote.count(Op::Update) - updates;
    assert!(update_calls <= if kind == Kind::Kelvin { 2 } else { 1 }, "{update_calls} updates");
    let logins = remote.count(Op::Token) - tokens;
    assert!(logins <= 2, "{logins} logins: one for the write, one for the probe");
    let calls = remote.requests().len();
    scene.stays("left alone", Duration::from_secs(4), async || remote.requests().len() == calls).await;

    let began = Instant::now();
    let secret = scene.canary("credential");
    remote.rotate(&secret);
    renew(&scene, kind, remote, &secret).await;
    scene.remote_has(remote, &synced.entry, &value).await;
    assert!(began.elapsed() < AT_ONCE, "taken up after {:?}", began.elapsed());
    scene.ready("app").await;
    scene.connection_is(kind.member(), "Connected").await;
    assert_eq!(remote.history(&synced.entry), [synced.value.as_str(), &value]);
    assert_eq!(remote.history(&calm), ["a value"]);
    let told = scene.events(kind.member()).await;
    let told = told.iter().filter(|event| event.text("/reason") == "AuthenticationFailed");
    assert_eq!(told.count(), 1);
}

/// Wrong from the beginning: nothing is written, and the right one is taken up at once.
async fn b21_wrong_from_the_beginning(kind: Kind) {
    let scene = Scene::new("b21-wrong").await;
    let remote = scene.remote(kind).await;
    let wrong = scene.canary("wrong credential");
    scene.create("Secret", "creds", json!({"stringData": remote.credentials_with(&wrong)})).await;
    let spec = Scene::connection_spec(&remote, "creds", json!({"probeInterval": "10m"}));
    scene.create("VaultConnection", kind.member(), json!({"spec": spec})).await;
    let told = scene.connection_is(kind.member(), "AuthenticationFailed").await.ready().message;
    for key in remote.credentials().as_object().unwrap().keys() {
        assert!(told.contains("Secret \"creds\"") && told.contains(key), "{key:?} is not in {told:?}");
    }
    let name = kind.name("the value");
    let spec = json!({"connectionRef": {"name": kind.member()}, "data": [inline("VALUE", &name, "a value")]});
    scene.vault_secret("app", spec).await;
    let app = scene.not_ready("app", "ConnectionNotReady").await;
    assert!(app.ready().message.contains("AuthenticationFailed"), "{}", app.ready().message);
    assert_eq!(remote.write_calls(), 0);
    let began = Instant::now();
    scene.patch("Secret", "creds", json!({"stringData": remote.credentials()})).await;
    scene.ready("app").await;
    assert!(began.elapsed() < AT_ONCE, "taken up after {:?}", began.elapsed());
    assert_eq!(remote.history(&name), ["a value"]);
    scene.connection_is(kind.member(), "Connected").await;
}

/// A new key of the same account while all is well: nothing is sent again (R1).
async fn b21_rotated_while_all_is_well(kind: Kind) {
    let scene = Scene::new("b21-rotated").await;
    let synced = scene.synced(kind, json!({})).await;
    let secret = scene.canary("credential");
    synced.remote.rotate(&secret);
    renew(&scene, kind, &synced.remote, &secret).await;
    scene.two_more_probes(&synced.remote).await;
    scene.connection_is(kind.member(), "Connected").await;
    scene.ready("app").await;
    assert_eq!(synced.remote.write_calls(), 1);
    let value = scene.canary("value");
    scene.set_source("source", "value", &value).await;
    scene.remote_has(&synced.remote, &synced.entry, &value).await;
}

async fn no_event(scene: &Scene) {
    for about in ["app", "kelvin"] {
        assert_eq!(scene.events(about).await, [], "nobody hears of it");
    }
}

/// A change arrives, and nobody hears of a token that has to be made anew for it.
async fn arrives_without_a_word(scene: &Scene, synced: &Synced) {
    let value = scene.canary("value");
    scene.set_source("source", "value", &value).await;
    scene.remote_has(&synced.remote, &synced.entry, &value).await;
    scene.ready("app").await;
    no_event(scene).await;
    assert_eq!(scene.expect("VaultConnection", "kelvin").await.ready().reason, "Connected");
}

#[tokio::test]
async fn b21_kelvin_token_expires_unseen() {
    let scene = Scene::new("b21-token").await;
    let remote = scene.remote(Kind::Kelvin).await;
    scene.connect_as("kelvin", &remote, json!({"probeInterval": "10m"})).await;
    let synced = scene.synced_at(remote, json!({})).await;
    let remote = &synced.remote;
    let tokens = remote.count(Op::Token);
    remote.expire_tokens();
    arrives_without_a_word(&scene, &synced).await;
    let updates: Vec<_> = remote.requests().into_iter().filter(|call| call.op == Op::Update).collect();
    let statuses: Vec<_> = updates.iter().filter_map(|call| call.status).collect();
    assert_eq!(statuses, [401, 200], "{updates:#?}");
    assert_eq!(remote.count(Op::Token), tokens + 1, "one new login");
}

#[tokio::test]
async fn b21_kelvin_token_expires_before_a_probe() {
    let scene = Scene::new("b21-probe").await;
    let synced = scene.synced(Kind::Kelvin, json!({})).await;
    for _ in 0..2 {
        synced.remote.expire_tokens();
        scene.two_more_probes(&synced.remote).await;
    }
    no_event(&scene).await;
    let connection = scene.expect("VaultConnection", "kelvin").await;
    assert_eq!(connection.ready().reason, "Connected", "{connection:?}");
    assert!(scene.expect("VaultSecret", "app").await.is_ready());
}

/// Tokens that live for two seconds: work goes on through many of them.
#[tokio::test]
async fn b21_kelvin_tokens_of_two_seconds() {
    let scene = Scene::new("b21-short").await;
    let secret = scene.canary("credential");
    let options = KelvinOptions { expires_in: 2, ..KelvinOptions::default() };
    let remote = scene.watch(Remote::kelvin(options, &secret).await);
    scene.connect(&remote).await;
    let synced = scene.synced_at(remote, json!({})).await;
    for _ in 0..3 {
        let tokens = synced.remote.count(Op::Token);
        let another = async || synced.remote.count(Op::Token) > tokens;
        scene.eventually("a probe needed another token", another).await;
        arrives_without_a_word(&scene, &synced).await;
    }
}

/// A login is a call like any other (18): what its answer asks for holds for everything that would go there.
#[tokio::test]
async fn b18_kelvin_login_is_limited() {
    let scene = Scene::new("b18-login").await;
    let secret = scene.canary("credential");
    let options = KelvinOptions { expires_in: 2, ..KelvinOptions::default() };
    let remote = scene.watch(Remote::kelvin(options, &secret).await);
    scene.connect_as("kelvin", &remote, json!({"probeInterval": "10m"})).await;
    let synced = scene.synced_at(remote, json!({})).await;
    let remote = &synced.remote;
    // Nothing is due, so the token ends, and the write needs another.
    tokio::time::sleep(Duration::from_secs(3)).await;
    remote.faults().add(Fault::new(Action::retry_after(429, "10")).on(Op::Token).times(1));
    let before = remote.requests().len();
    let value = scene.canary("value");
    scene.set_source("source", "value", &value).await;
    scene.connection_is("kelvin", "RateLimited").await;
    scene.remote_has(remote, &synced.entry, &value).await;
    scene.ready("app").await;
    let calls = remote.requests().split_off(before);
    assert_eq!((calls[0].op, calls[0].status), (Op::Token, Some(429)), "{calls:#?}");
    let pause = calls[1].at.duration_since(calls[0].at);
    assert!(pause >= jiff::SignedDuration::from_secs(10), "{pause:#}: {calls:#?}");
}

/// A 401 that a new login does not mend: one login, one retry, and then the connection says so.
#[tokio::test]
async fn b21_kelvin_one_login_and_one_retry() {
    let scene = Scene::new("b21-retry").await;
    let synced = scene.synced(Kind::Kelvin, json!({})).await;
    let remote = &synced.remote;
    let tokens = remote.count(Op::Token);
    remote.faults().add(Fault::new(Action::status(401)).on(Op::Update).times(2));
    let value = scene.canary("value");
    scene.set_source("source", "value", &value).await;
    let refused = scene.connection_is("kelvin", "AuthenticationFailed").await;
    assert!(refused.ready().message.contains("401"), "{}", refused.ready().message);
    scene.until("VaultSecret", "app", "says so", |app| app.ready().status == "False").await;
    assert_eq!((remote.count(Op::Update), remote.count(Op::Token)), (2, tokens + 1), "one login, one retry");
    let secret = scene.canary("credential");
    remote.rotate(&secret);
    renew(&scene, Kind::Kelvin, remote, &secret).await;
    scene.remote_has(remote, &synced.entry, &value).await;
    scene.ready("app").await;
}

/// Permissions that are missing are told as such, and used as soon as they are there.
async fn b21_without_permission_to_write(kind: Kind) {
    let read = if kind == Kind::Kelvin { "kelvin.permission.secret.read" } else { "read" };
    let all: &[&str] = match kind {
        Kind::Kelvin => &["kelvin.permission.*"],
        Kind::Dreadnode => &["read", "write"],
        Kind::Mixpeek => &["admin"],
    };
    let scene = Scene::new("b21-403").await;
    let synced = scene.synced(kind, json!({})).await;
    synced.remote.set_permissions(&[read]);
    let value = scene.canary("value");
    scene.set_source("source", "value", &value).await;
    let app = scene.not_ready("app", "RemoteError").await;
    for part in ["VALUE", &synced.entry, kind.member(), "403", "next attempt"] {
        assert!(app.ready().message.contains(part), "{part:?} is not in {:?}", app.ready().message);
    }
    scene.two_more_probes(&synced.remote).await;
    assert_eq!(synced.remote.count(Op::Update), 1, "not tried again and again");
    synced.remote.set_permissions(all);
    let newer = scene.canary("value");
    scene.set_source("source", "value", &newer).await;
    scene.remote_has(&synced.remote, &synced.entry, &newer).await;
    scene.ready("app").await;
}

async fn b21_without_permission_to_read(kind: Kind) {
    let scene = Scene::new("b21-list").await;
    let synced = scene.synced(kind, json!({})).await;
    synced.remote.set_permissions(&[]);
    scene.connection_is(kind.member(), "PermissionDenied").await;
    let value = scene.canary("value");
    scene.set_source("source", "value", &value).await;
    scene.until("VaultSecret", "app", "says so", |app| app.ready().status == "False").await;
    // A renewed credential ends it at once.
    let all: &[&str] = match kind {
        Kind::Kelvin => &["kelvin.permission.*"],
        Kind::Dreadnode => &["read", "write"],
        Kind::Mixpeek => &["admin"],
    };
    synced.remote.set_permissions(all);
    let (began, secret) = (Instant::now(), scene.canary("credential"));
    synced.remote.rotate(&secret);
    renew(&scene, kind, &synced.remote, &secret).await;
    scene.remote_has(&synced.remote, &synced.entry, &value).await;
    assert!(began.elapsed() < AT_ONCE, "taken up after {:?}", began.elapsed());
    scene.connection_is(kind.member(), "Connected").await;
}

for_each_remote!(
    b21_revoked_and_renewed,
    b21_wrong_from_the_beginning,
    b21_rotated_while_all_is_well,
    b21_without_permission_to_write,
    b21_without_permission_to_read,
);
