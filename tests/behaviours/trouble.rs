//! Behaviours 18 and 19: a remote that asks for patience gets it, and nobody else waits for a remote in trouble.

use std::sync::Arc;
use std::time::Duration;

use devkit::remotes::{Action, Fault, Hint, Op, Request};
use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use crate::common::{Kind, Object, Remote, Scene, Synced, entry, for_each_remote, inline};

/// What is on its way when the remote begins to refuse still arrives.
const ON_ITS_WAY: SignedDuration = SignedDuration::from_millis(500);

/// A remote of another kind, beside the one in trouble.
fn another(kind: Kind) -> Kind {
    if kind == Kind::Mixpeek { Kind::Kelvin } else { Kind::Mixpeek }
}

/// Lets the next update meet a fault once, and changes the value.
async fn meet(scene: &Scene, synced: &Synced, action: Action) -> (Request, String) {
    let fault = synced.remote.faults().add(Fault::new(action).on(Op::Update).times(1));
    let value = scene.canary("value");
    scene.set_source("source", "value", &value).await;
    scene.eventually("the fault is met", async || synced.remote.faults().hits(fault) == 1).await;
    let met = synced.remote.requests().into_iter().rfind(|call| call.op == Op::Update).unwrap();
    (met, value)
}

/// The first call, of whatever kind, that was sent after the answer to this one.
fn next_call(remote: &Remote, call: &Request) -> Option<Request> {
    remote.requests().into_iter().find(|next| next.at > call.at + ON_ITS_WAY)
}

/// The value arrives, and no call does in between.
async fn waited_out(scene: &Scene, synced: &Synced, met: &Request, value: &str, at_least: SignedDuration) {
    scene.remote_has(&synced.remote, &synced.entry, value).await;
    scene.ready("app").await;
    let next = next_call(&synced.remote, met).unwrap();
    let pause = next.at.duration_since(met.at);
    assert!(pause >= at_least, "{pause:#} after {met:?} came {next:?}");
}

/// The moments that a message names.
fn moments(text: &str) -> Vec<Timestamp> {
    let words = text.split(|c: char| c.is_whitespace() || ";,()".contains(c));
    words.filter_map(|word| word.trim_end_matches('.').parse().ok()).collect()
}

async fn b18_retry_after_seconds(kind: Kind) {
    let scene = Scene::new("b18").await;
    let synced = scene.synced(kind, json!({})).await;
    let other = scene.remote(another(kind)).await;
    scene.connect(&other).await;
    scene.source("elsewhere", &[("value", "an old value")]).await;
    let elsewhere = other.kind().name("elsewhere");
    let spec = json!({"connectionRef": {"name": other.kind().member()},
                      "data": [entry("VALUE", &elsewhere, "elsewhere/value")]});
    scene.vault_secret("elsewhere", spec).await;
    scene.ready("elsewhere").await;

    let (met, value) = meet(&scene, &synced, Action::retry_after(429, "15")).await;
    scene.set_source("elsewhere", "value", "a new value").await;
    scene.remote_has(&other, &elsewhere, "a new value").await;
    let limited = scene.connection_is(kind.member(), "RateLimited").await;
    assert_eq!(limited.ready().status, "False");
    // The object says when it goes on, and that is not before the remote's time is over.
    let open = |app: &Object| app.ready().status == "False" && !moments(&app.ready().message).is_empty();
    let waiting = scene.until("VaultSecret", "app", "says when it goes on", open).await;
    let told = moments(&waiting.ready().message)[0];
    let earliest = met.at + SignedDuration::from_secs(14);
    assert!(told >= earliest, "it goes on at {earliest} at the earliest: {}", waiting.ready().message);
    assert!(waiting.ready().message.contains("429"), "{}", waiting.ready().message);

    waited_out(&scene, &synced, &met, &value, SignedDuration::from_secs(15)).await;
    let elsewhere = other.requests().into_iter().rfind(|call| call.op == Op::Update).unwrap();
    let next = next_call(&synced.remote, &met).unwrap();
    assert!(elsewhere.at < next.at, "another remote does not wait for this one");
    assert_eq!(synced.remote.history(&synced.entry), [synced.value.as_str(), &value]);
    scene.connection_is(kind.member(), "Connected").await;
}

async fn b18_retry_after_date(kind: Kind) {
    let scene = Scene::new("b18-date").await;
    let synced = scene.synced(kind, json!({})).await;
    let date = (Timestamp::now() + SignedDuration::from_secs(20)).strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
    let until: Timestamp = (Timestamp::now() + SignedDuration::from_secs(19)).round(jiff::Unit::Second).unwrap();
    let (met, value) = meet(&scene, &synced, Action::retry_after(429, &date)).await;
    // Whole seconds at both ends, and the time that the test took to get there.
    let at_least = until.duration_since(met.at) - SignedDuration::from_secs(2);
    assert!(at_least > SignedDuration::from_secs(3), "the machine is too slow for this test");
    waited_out(&scene, &synced, &met, &value, at_least).await;
}

/// A 503 may ask for patience too.
async fn b18_retry_after_of_a_503(kind: Kind) {
    let scene = Scene::new("b18-503").await;
    let synced = scene.synced(kind, json!({})).await;
    let (met, value) = meet(&scene, &synced, Action::retry_after(503, "8")).await;
    waited_out(&scene, &synced, &met, &value, SignedDuration::from_secs(8)).await;
}

/// What cannot be understood is no reason to stop for ever, nor to go on without a pause.
async fn b18_retry_after_that_says_nothing(kind: Kind) {
    let scene = Scene::new("b18-odd").await;
    let synced = scene.synced(kind, json!({})).await;
    for odd in ["0", "-5", "soon", "", "Thu, 01 Jan 1970 00:00:00 GMT"] {
        let (met, value) = meet(&scene, &synced, Action::retry_after(429, odd)).await;
        waited_out(&scene, &synced, &met, &value, SignedDuration::from_millis(700)).await;
    }
}

#[tokio::test]
async fn b18_hints_in_mixpeeks_body() {
    let scene = Scene::new("b18-body").await;
    let synced = scene.synced(Kind::Mixpeek, json!({})).await;
    for hint in [Hint::RetryAfterSeconds(8), Hint::RetryAfter(8), Hint::NestedRetryAfterSeconds(8)] {
        let action = Action::Status { code: 429, retry_after: None, hint: Some(hint.clone()) };
        let (met, value) = meet(&scene, &synced, action).await;
        waited_out(&scene, &synced, &met, &value, SignedDuration::from_secs(8)).await;
    }
}

/// Two connections with one key at one remote have one budget: what was asked of one holds for both.
async fn b18_connections_with_one_key(kind: Kind) {
    let scene = Scene::new("b18-key").await;
    let synced = scene.synced(kind, json!({})).await;
    scene.connect_as("again", &synced.remote, json!({})).await;
    let name = kind.name("through another");
    let spec = json!({"connectionRef": {"name": "again"}, "data": [inline("VALUE", &name, "an old value")]});
    scene.vault_secret("again", spec).await;
    scene.ready("again").await;
    let (met, value) = meet(&scene, &synced, Action::retry_after(429, "10")).await;
    scene.connection_is("again", "RateLimited").await;
    scene.edit("again", json!({"data": [inline("VALUE", &name, "a new value")]})).await;
    scene.remote_has(&synced.remote, &name, "a new value").await;
    waited_out(&scene, &synced, &met, &value, SignedDuration::from_secs(10)).await;
}

/// A remote whose calls of one kind are never answered, and objects that wait for it. Its calls may take long.
async fn hanging(scene: &Scene, name: &str, kind: Kind, op: Op, objects: usize) -> Arc<Remote> {
    let remote = scene.remote(kind).await;
    remote.faults().add(Fault::new(Action::Hang(None)).on(op));
    scene.connect_as(name, &remote, json!({"limits": {"timeout": "60s", "maxInFlight": 8}})).await;
    for number in 0..objects {
        let entry = kind.name(&format!("entry {number}"));
        let spec = json!({"connectionRef": {"name": name}, "data": [inline("VALUE", &entry, "a value")]});
        scene.vault_secret(&format!("{name}-{number}"), spec).await;
    }
    scene.eventually(&format!("{name} hangs"), async || remote.count(op) > 0).await;
    remote
}

/// Remotes that hang in their lists, their logins and their writes, with objects enough to take every worker; the objects of
/// another are done before any of those calls has been answered.
#[tokio::test]
async fn b19_a_hanging_remote_delays_nobody_else() {
    let scene = Scene::new("b19").await;
    let stuck = [
        (hanging(&scene, "lists", Kind::Dreadnode, Op::List, 20).await, Op::List),
        (hanging(&scene, "logins", Kind::Kelvin, Op::Token, 20).await, Op::Token),
        (hanging(&scene, "writes", Kind::Mixpeek, Op::Create, 40).await, Op::Create),
    ];
    let healthy = scene.remote(Kind::Dreadnode).await;
    scene.connect_as("healthy", &healthy, json!({})).await;
    for number in 0..60 {
        let name = format!("ENTRY_{number}");
        let spec = json!({"connectionRef": {"name": "healthy"}, "data": [inline("VALUE", &name, "a value")]});
        scene.vault_secret(&format!("healthy-{number}"), spec).await;
    }
    scene
        .eventually("all of the healthy remote are Ready", async || {
            let all = scene.list("VaultSecret").await;
            all.iter().filter(|object| object.name().starts_with("healthy-") && object.is_ready()).count() == 60
        })
        .await;
    // A change goes through as well.
    scene.edit("healthy-7", json!({"data": [inline("VALUE", "ENTRY_7", "a new value")]})).await;
    scene.remote_has(&healthy, "ENTRY_7", "a new value").await;
    for (remote, op) in &stuck {
        let calls: Vec<_> = remote.requests().into_iter().filter(|call| call.op == *op).collect();
        assert!(calls.iter().any(|call| !call.done), "this remote does not hang: {calls:#?}");
        assert!(calls.iter().all(|call| call.status.is_none()), "it has answered: {calls:#?}");
        assert_eq!(remote.mutations(), 0);
    }
    assert_eq!(healthy.write_calls(), 61);
    // When the hanging ends, what waited is done.
    for (remote, _) in &stuck {
        remote.faults().clear();
    }
    scene
        .eventually("everything is Ready", async || scene.list("VaultSecret").await.iter().all(Object::is_ready))
        .await;
}

/// One entry whose calls hang holds up no other entry of the same remote.
async fn b19_a_hanging_entry_delays_no_other(kind: Kind) {
    let scene = Scene::new("b19-entry").await;
    let remote = scene.remote(kind).await;
    scene.connect_as(kind.member(), &remote, json!({"limits": {"timeout": "60s"}})).await;
    let slow = kind.name("slow");
    remote.faults().add(Fault::new(Action::Hang(None)).on(Op::Create).named(&slow));
    let object =
        |name: &str| json!({"connectionRef": {"name": kind.member()}, "data": [inline("VALUE", name, "a value")]});
    scene.vault_secret("slow", object(&slow)).await;
    scene.eventually("it hangs", async || remote.count_for(Op::Create, &slow) == 1).await;
    for number in 0..10 {
        scene.vault_secret(&format!("fast-{number}"), object(&kind.name(&format!("fast {number}")))).await;
    }
    for number in 0..10 {
        scene.ready(&format!("fast-{number}")).await;
    }
    assert!(!scene.expect("VaultSecret", "slow").await.is_ready());
    assert_eq!(remote.count_for(Op::Create, &slow), 1);
    remote.faults().clear();
    scene.ready("slow").await;
    scene.stays("sent once", Duration::from_millis(500), async || remote.count_for(Op::Create, &slow) == 1).await;
}

for_each_remote!(
    b18_retry_after_seconds,
    b18_retry_after_date,
    b18_retry_after_of_a_503,
    b18_retry_after_that_says_nothing,
    b18_connections_with_one_key,
    b19_a_hanging_entry_delays_no_other,
);
