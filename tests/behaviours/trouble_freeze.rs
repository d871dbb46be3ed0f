//! Behaviour 25: a credential that suddenly opens another tenant must not carry every secret over there.

use std::sync::Arc;

use devkit::remotes::{Action, DEFAULT_TENANT, Fault, Op};
use jiff::SignedDuration;
use serde_json::{Value, json};

use crate::common::{Kind, Object, Remote, Scene, entry, for_each_remote, inline};

const APPROVE: &str = "vaultsecret.dev/approve";
const OTHER: &str = "other";

/// A connection with nine entries: eight of a VaultSecret `many`, and one from a Secret of `one`.
pub(crate) struct Filled {
    pub(crate) remote: Arc<Remote>,
    pub(crate) names: Vec<String>,
    pub(crate) one: String,
}

impl Filled {
    pub(crate) fn all(&self) -> impl Iterator<Item = &String> {
        self.names.iter().chain([&self.one])
    }

    fn entries_there(&self) -> Vec<String> {
        self.remote.entries_in(OTHER).into_iter().map(|entry| entry.name).collect()
    }
}

pub(crate) async fn filled(scene: &Scene, kind: Kind, more: Value) -> Filled {
    let remote = scene.remote(kind).await;
    scene.connect_as(kind.member(), &remote, more).await;
    let names: Vec<String> = (0..8).map(|number| kind.name(&format!("many {number}"))).collect();
    let data: Vec<_> = names.iter().enumerate().map(|(n, name)| inline(&format!("KEY{n}"), name, "a value")).collect();
    scene.vault_secret("many", json!({"connectionRef": {"name": kind.member()}, "data": data})).await;
    let one = kind.name("one");
    scene.source("source", &[("value", "an old value")]).await;
    let data = json!([entry("VALUE", &one, "source/value")]);
    scene.vault_secret("one", json!({"connectionRef": {"name": kind.member()}, "data": data})).await;
    scene.ready("many").await;
    scene.ready("one").await;
    Filled { remote, names, one }
}

/// The token that a frozen connection wants to be approved with.
pub(crate) async fn frozen(scene: &Scene, connection: &str) -> String {
    let object = scene.connection_is(connection, "RemoteDiverged").await;
    assert_eq!(object.ready().status, "False");
    let message = object.ready().message;
    let token = message.rsplit_once(&format!("{APPROVE}=")).and_then(|(_, rest)| rest.strip_suffix("=same|new"));
    let token = token.unwrap_or_else(|| panic!("the message does not end with what to do: {message}"));
    assert!(!token.is_empty() && token.chars().all(|c| c.is_ascii_alphanumeric()), "{token}");
    token.to_owned()
}

async fn approve(scene: &Scene, connection: &str, token: &str, answer: &str) {
    scene.annotate("VaultConnection", connection, APPROVE, &format!("{token}={answer}")).await;
}

async fn b25_another_tenant(kind: Kind) {
    let scene = Scene::new("b25").await;
    let filled = filled(&scene, kind, json!({})).await;
    let writes = filled.remote.write_calls();
    filled.remote.open_tenant(OTHER);
    let token = frozen(&scene, kind.member()).await;
    for name in ["many", "one"] {
        let object = scene.not_ready(name, "RemoteDiverged").await;
        assert!(object.ready().message.contains(kind.member()), "{}", object.ready().message);
    }
    // Neither a change, nor a new object, nor a deletion, nor a wrong answer brings anything over there.
    scene.set_source("source", "value", "a new value").await;
    let fresh = kind.name("fresh");
    let spec = json!({"connectionRef": {"name": kind.member()}, "data": [inline("VALUE", &fresh, "a value")]});
    scene.vault_secret("fresh", spec).await;
    scene.not_ready("fresh", "RemoteDiverged").await;
    scene.annotate("VaultSecret", "many", "vaultsecret.dev/force-push", "now").await;
    for wrong in ["deadbeef=same", "deadbeef=new", &token, "same", &format!("{token}=yes")] {
        scene.annotate("VaultConnection", kind.member(), APPROVE, wrong).await;
        scene.two_more_probes(&filled.remote).await;
        assert_eq!(frozen(&scene, kind.member()).await, token, "after {wrong}");
    }
    assert_eq!(filled.entries_there(), Vec::<String>::new());
    assert_eq!(filled.remote.write_calls(), writes);
    scene.secret_has("one", "VALUE", "an old value").await;
    let told = scene.events(kind.member()).await;
    let told = told.iter().filter(|event| event.text("/reason") == "RemoteDiverged").count();
    assert_eq!(told, 1);
}

/// `same`: what is missing is put right, within the limits, each entry once.
async fn b25_approved_as_the_same(kind: Kind) {
    let scene = Scene::new("b25-same").await;
    let limits = json!({"limits": {"requestsPerMinute": 240, "burst": 2, "maxInFlight": 1, "settle": "1s"}});
    let filled = filled(&scene, kind, limits).await;
    filled.remote.open_tenant(OTHER);
    let token = frozen(&scene, kind.member()).await;
    scene.set_source("source", "value", "a new value").await;
    scene.two_more_probes(&filled.remote).await;
    assert_eq!(filled.entries_there(), Vec::<String>::new());
    filled.remote.reset_counters();
    approve(&scene, kind.member(), &token, "same").await;
    scene.connection_is(kind.member(), "Connected").await;
    scene.ready("many").await;
    scene.ready("one").await;
    assert_eq!(filled.remote.value_in(OTHER, &filled.one).as_deref(), Some("a new value"));
    for entry in filled.remote.entries_in(OTHER) {
        assert_eq!(entry.versions(), 1, "{entry:?}");
    }
    assert_eq!((filled.remote.count(Op::Create), filled.remote.write_calls()), (9, 9));
    assert_eq!(filled.remote.most_in_flight(), 1, "in order");
    let creates: Vec<_> = filled.remote.requests().into_iter().filter(|call| call.op == Op::Create).collect();
    let took = creates[8].at.duration_since(creates[0].at);
    // Nine at four a second, of which two were saved up.
    assert!(took >= SignedDuration::from_millis(1500), "within the budget: {took:?}");
    assert_eq!(filled.remote.entries().len(), 9, "the other tenant is left as it is");
    scene.secret_has("one", "VALUE", "a new value").await;
}

/// `new`: it is filled, but what stands there already is somebody else's.
async fn b25_approved_as_a_new_one(kind: Kind) {
    let scene = Scene::new("b25-new").await;
    let filled = filled(&scene, kind, json!({})).await;
    let taken = filled.one.clone();
    match kind {
        Kind::Kelvin => drop(filled.remote.as_kelvin().foreign_put_in(OTHER, &taken, "theirs")),
        Kind::Dreadnode => drop(filled.remote.as_dreadnode().foreign_put_in(OTHER, &taken, "theirs")),
        Kind::Mixpeek => drop(filled.remote.as_mixpeek().foreign_put_in(OTHER, &taken, "theirs")),
    }
    filled.remote.open_tenant(OTHER);
    let token = frozen(&scene, kind.member()).await;
    approve(&scene, kind.member(), &token, "new").await;
    scene.ready("many").await;
    scene.not_ready("one", "RemoteEntryExists").await;
    scene.connection_is(kind.member(), "Connected").await;
    scene.two_more_probes(&filled.remote).await;
    for name in &filled.names {
        assert_eq!(filled.remote.value_in(OTHER, name).as_deref(), Some("a value"));
    }
    assert_eq!(filled.remote.value_in(OTHER, &taken).as_deref(), Some("theirs"));
    assert_eq!(filled.remote.entries().len(), 9, "the other tenant is left as it is");
    scene.secret_has("one", "VALUE", "an old value").await;
}

/// The credential opens the right tenant again: it waits for a word all the same, and then there is nothing to do.
async fn b25_back_again(kind: Kind) {
    let scene = Scene::new("b25-back").await;
    let filled = filled(&scene, kind, json!({})).await;
    let writes = filled.remote.write_calls();
    filled.remote.open_tenant(OTHER);
    let token = frozen(&scene, kind.member()).await;
    scene.set_source("source", "value", "a new value").await;
    filled.remote.open_tenant(DEFAULT_TENANT);
    scene.two_more_probes(&filled.remote).await;
    assert_eq!(frozen(&scene, kind.member()).await, token);
    assert_eq!(filled.remote.write_calls(), writes);
    approve(&scene, kind.member(), &token, "same").await;
    scene.remote_has(&filled.remote, &filled.one, "a new value").await;
    scene.ready("many").await;
    scene.ready("one").await;
    scene.two_more_probes(&filled.remote).await;
    assert_eq!(filled.remote.write_calls(), writes + 1, "nothing but the change is sent");
    assert_eq!(filled.entries_there(), Vec::<String>::new());
}

/// Another key comes into the Secret together with a change, and opens another tenant.
async fn b25_another_key(kind: Kind) {
    let scene = Scene::new("b25-key").await;
    let filled = filled(&scene, kind, json!({})).await;
    let secret = scene.canary("other credential");
    let data = match kind {
        Kind::Kelvin => {
            filled.remote.as_kelvin().add_client("other-client", &secret, OTHER);
            json!({"client-id": "other-client", "client-secret": secret})
        }
        Kind::Dreadnode => {
            filled.remote.as_dreadnode().add_key("other-key", &secret, OTHER);
            json!({"api-key": secret})
        }
        Kind::Mixpeek => {
            filled.remote.as_mixpeek().add_key("other-key", &secret, OTHER, &["admin"]);
            json!({"api-key": secret})
        }
    };
    let writes = filled.remote.write_calls();
    let credentials = format!("{}-credentials", kind.member());
    scene.patch("Secret", &credentials, json!({"stringData": data})).await;
    scene.set_source("source", "value", "a new value").await;
    let token = frozen(&scene, kind.member()).await;
    scene.not_ready("one", "RemoteDiverged").await;
    scene.two_more_probes(&filled.remote).await;
    // The change may have gone out with the old key, in the moment before the new one was seen.
    assert_eq!(filled.entries_there(), Vec::<String>::new());
    assert!(filled.remote.write_calls() <= writes + 1);
    approve(&scene, kind.member(), &token, "new").await;
    scene.ready("many").await;
    scene.ready("one").await;
    assert_eq!(filled.entries_there().len(), 9);
    assert_eq!(filled.remote.entries().len(), 9, "the old tenant is left as it is");
}

/// Many requests time out before: that something of ours may still land explains no empty tenant.
async fn b25_another_tenant_after_timeouts(kind: Kind) {
    let scene = Scene::new("b25-timeouts").await;
    let filled = filled(&scene, kind, json!({"limits": {"timeout": "1s", "settle": "120s"}})).await;
    filled.remote.faults().add(Fault::new(Action::Hang(None)).on(Op::Update));
    scene.annotate("VaultSecret", "many", "vaultsecret.dev/force-push", "now").await;
    let unsettled = |app: &Object| app.rows().iter().all(|row| !row.text("/attempt/unsettledSince").is_empty());
    scene.until("VaultSecret", "many", "has nothing but unsettled rows", unsettled).await;
    filled.remote.open_tenant(OTHER);
    filled.remote.faults().clear();
    frozen(&scene, kind.member()).await;
    scene.not_ready("many", "RemoteDiverged").await;
    scene.two_more_probes(&filled.remote).await;
    // A list that comes while some are being sent counts for the others only; so many may be missing without a word.
    assert!(filled.entries_there().len() <= 5, "{:?}", filled.entries_there());
}

/// Everything was changed at once: that is no drift either.
#[tokio::test]
async fn b25_everything_changed() {
    let scene = Scene::new("b25-moved").await;
    let filled = filled(&scene, Kind::Kelvin, json!({})).await;
    let writes = filled.remote.write_calls();
    for name in filled.all() {
        filled.remote.foreign_put(name, "theirs");
    }
    let token = frozen(&scene, "kelvin").await;
    scene.two_more_probes(&filled.remote).await;
    assert_eq!(filled.remote.write_calls(), writes);
    approve(&scene, "kelvin", &token, "same").await;
    scene.ready("many").await;
    scene.ready("one").await;
    assert!(filled.all().all(|name| filled.remote.value(name).as_deref() != Some("theirs")));
    assert_eq!(filled.remote.write_calls(), writes + 9);
}

/// The connection is pointed at another remote while it has many entries.
async fn b25_another_url(kind: Kind) {
    let scene = Scene::new("b25-url").await;
    let filled = filled(&scene, kind, json!({})).await;
    let writes = filled.remote.write_calls();
    let secret = scene.canary("second credential");
    let second = scene.watch(Remote::start(kind, &secret).await);
    let credentials = format!("{}-credentials", kind.member());
    scene.patch("Secret", &credentials, json!({"stringData": second.credentials()})).await;
    scene.patch("VaultConnection", kind.member(), json!({"spec": {kind.member(): {"url": second.url()}}})).await;
    let token = frozen(&scene, kind.member()).await;
    scene.set_source("source", "value", "a new value").await;
    scene.two_more_probes(&second).await;
    assert_eq!(second.write_calls(), 0);
    approve(&scene, kind.member(), &token, "new").await;
    scene.ready("many").await;
    scene.ready("one").await;
    assert_eq!(second.entries().len(), 9);
    assert_eq!(second.value(&filled.one).as_deref(), Some("a new value"));
    assert_eq!((filled.remote.entries().len(), filled.remote.write_calls()), (9, writes));
}

/// Five of nine are no mass: they are put right.
async fn b25_a_few_are_missing(kind: Kind) {
    let scene = Scene::new("b25-few").await;
    let filled = filled(&scene, kind, json!({})).await;
    let writes = filled.remote.write_calls();
    for name in &filled.names[..5] {
        filled.remote.foreign_delete(name);
    }
    scene.eventually("they are back", async || filled.remote.entries().len() == 9).await;
    scene.ready("many").await;
    assert_eq!(filled.remote.write_calls(), writes + 5);
    let diverged = |event: &Object| event.text("/reason") == "RemoteDiverged";
    assert!(!scene.events(kind.member()).await.iter().any(diverged));
}

for_each_remote!(
    b25_another_tenant,
    b25_approved_as_the_same,
    b25_approved_as_a_new_one,
    b25_back_again,
    b25_another_key,
    b25_another_url,
    b25_another_tenant_after_timeouts,
    b25_a_few_are_missing,
);
