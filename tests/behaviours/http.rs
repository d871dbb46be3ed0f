//! Behaviour 50: an API that a connection describes. The three remotes as `examples/http` describes them, through the operator.

use std::sync::Arc;

use devkit::remotes::{Action, Fault, KelvinOptions, Op};
use serde_json::{Value, json};

use crate::common::{Kind, Object, Remote, Scene, Synced, entry, for_each_remote, in_repository, inline, merged, read};

/// A value that is in sync at a remote that the connection describes.
async fn synced(scene: &Scene, kind: Kind, more: Value) -> Synced {
    let remote = scene.described(kind).await;
    scene.connect(&remote).await;
    scene.synced_at(remote, more).await
}

async fn b50_value_arrives_and_changes(kind: Kind) {
    let scene = Scene::new("b50").await;
    let synced = synced(&scene, kind, json!({})).await;
    let remote = &synced.remote;
    assert_eq!((remote.count(Op::Create), remote.write_calls()), (1, 1));
    let connection = scene.connection_is(kind.member(), "Connected").await;
    assert_eq!(connection.text("/status/provider"), "Http");
    let signal = if kind.shows_changes() { "Timestamp" } else { "Presence" };
    assert_eq!(connection.text("/status/capabilities/driftSignal"), signal);
    let row = synced.object.row(&synced.entry).unwrap();
    assert_eq!(!row.text("/remoteVersion").is_empty(), kind.shows_changes(), "{row:?}");
    assert_eq!(!row.text("/remoteId").is_empty(), kind == Kind::Dreadnode, "{row:?}");

    let value = format!("{} \"quoted\", \\u0041 {{{{ name }}}}\n&=+%", scene.canary("value"));
    scene.set_source("source", "value", &value).await;
    scene.remote_has(remote, &synced.entry, &value).await;
    scene.secret_has("app", "VALUE", &value).await;
    scene.ready("app").await;
    scene.two_more_probes(remote).await;
    assert_eq!((remote.count(Op::Create), remote.count(Op::Update)), (1, 1), "sent once each");
}

async fn b50_entry_is_deleted(kind: Kind) {
    let scene = Scene::new("b50-delete").await;
    let synced = synced(&scene, kind, json!({"deletionPolicy": "Delete"})).await;
    scene.delete("VaultSecret", "app").await;
    scene.gone("VaultSecret", "app").await;
    assert_eq!(synced.remote.value(&synced.entry), None);
    assert_eq!(synced.remote.count(Op::Delete), 1);
}

async fn b50_change_by_others_is_put_right(kind: Kind) {
    let scene = Scene::new("b50-drift").await;
    let synced = synced(&scene, kind, json!({})).await;
    if kind.shows_changes() {
        synced.remote.foreign_put(&synced.entry, "theirs");
        scene.remote_has(&synced.remote, &synced.entry, &synced.value).await;
        scene.event("app", "RemoteChanged").await;
        assert_eq!(synced.remote.history(&synced.entry), [&*synced.value, "theirs", &*synced.value], "once");
    }
    scene.ready("app").await;
    synced.remote.foreign_delete(&synced.entry);
    scene.remote_has(&synced.remote, &synced.entry, &synced.value).await;
    scene.ready("app").await;
    scene.two_more_probes(&synced.remote).await;
    assert_eq!(synced.remote.history(&synced.entry), [&*synced.value], "made again, once");
}

async fn b50_entry_of_somebody_else_is_left_alone(kind: Kind) {
    let scene = Scene::new("b50-taken").await;
    let remote = scene.described(kind).await;
    let name = kind.name("taken");
    remote.foreign_put(&name, "theirs");
    scene.connect(&remote).await;
    let spec = json!({"connectionRef": {"name": kind.member()}, "data": [inline("VALUE", &name, "ours")]});
    scene.vault_secret("app", spec).await;
    scene.not_ready("app", "RemoteEntryExists").await;
    assert_eq!((remote.history(&name), remote.write_calls()), (vec!["theirs".to_owned()], 0));
    scene.edit("app", json!({"adoptionPolicy": "TakeOver"})).await;
    scene.ready("app").await;
    assert_eq!(remote.history(&name), ["theirs", "ours"]);
}

async fn b50_answer_to_a_create_is_lost(kind: Kind) {
    let scene = Scene::new("b50-lost").await;
    let remote = scene.described(kind).await;
    scene.connect_as(kind.member(), &remote, json!({"limits": {"timeout": "2s", "settle": "10s"}})).await;
    remote.faults().add(Fault::new(Action::CutAfter).on(Op::Create).times(1));
    let (name, value) = (kind.name("the value"), scene.canary("value"));
    scene.source("source", &[("value", &value)]).await;
    let data = json!([entry("VALUE", &name, "source/value")]);
    scene.vault_secret("app", json!({"connectionRef": {"name": kind.member()}, "data": data})).await;
    let app = scene.ready("app").await;
    assert_eq!(app.state(&name), "InSync");
    scene.two_more_probes(&remote).await;
    // A repeat; and where no stamp shows what the remote has, one that confirms.
    let repeats = if kind.shows_changes() { 1 } else { 2 };
    assert_eq!((remote.count(Op::Create), remote.count(Op::Update)), (1, repeats));
    assert!(remote.history(&name).iter().all(|sent| *sent == value));
}

async fn b50_name_is_refused_before_any_call(kind: Kind) {
    let (name, suggestion) = match kind {
        Kind::Kelvin => ("STRIPE_API_KEY", "stripe-api-key"),
        Kind::Dreadnode => ("openai-api.key", "OPENAI_API_KEY"),
        Kind::Mixpeek => ("two words", "two_words"),
    };
    let scene = Scene::new("b50-name").await;
    let remote = scene.described(kind).await;
    scene.connect(&remote).await;
    let spec = json!({"connectionRef": {"name": kind.member()}, "data": [inline("KEY", name, "a value")]});
    scene.vault_secret("app", spec).await;
    let message = scene.not_ready("app", "NameRefused").await.ready().message;
    for part in ["KEY", name, suggestion, &format!("{kind:?} takes names")] {
        assert!(message.contains(part), "{part:?} is not in {message:?}");
    }
    assert_eq!(remote.write_calls(), 0);
}

async fn b50_credential_is_renewed(kind: Kind) {
    let scene = Scene::new("b50-renewed").await;
    let synced = synced(&scene, kind, json!({})).await;
    let remote = &synced.remote;
    remote.revoke();
    let value = scene.canary("value");
    scene.set_source("source", "value", &value).await;
    scene.connection_is(kind.member(), "AuthenticationFailed").await;
    let secret = scene.canary("credential");
    remote.rotate(&secret);
    let credentials = format!("{}-credentials", kind.member());
    scene.patch("Secret", &credentials, json!({"stringData": remote.credentials_with(&secret)})).await;
    scene.remote_has(remote, &synced.entry, &value).await;
    scene.ready("app").await;
    assert_eq!(remote.history(&synced.entry), [synced.value.as_str(), &value]);
}

/// A token that ended before its time: one login, one repeat, and nobody hears of it.
#[tokio::test]
async fn b50_token_expires_unseen() {
    let scene = Scene::new("b50-token").await;
    let secret = scene.canary("credential");
    let remote = scene.watch(Remote::kelvin(KelvinOptions::default(), &secret).await.described());
    scene.connect_as("kelvin", &remote, json!({"probeInterval": "10m"})).await;
    let synced = scene.synced_at(remote, json!({})).await;
    let tokens = synced.remote.count(Op::Token);
    synced.remote.expire_tokens();
    let value = scene.canary("value");
    scene.set_source("source", "value", &value).await;
    scene.remote_has(&synced.remote, &synced.entry, &value).await;
    scene.ready("app").await;
    let updates = synced.remote.requests().into_iter().filter(|call| call.op == Op::Update);
    assert_eq!(updates.filter_map(|call| call.status).collect::<Vec<_>>(), [401, 200]);
    assert_eq!(synced.remote.count(Op::Token), tokens + 1, "one new login");
    assert_eq!(scene.events("kelvin").await, []);
}

/// One sentence on the connection, nothing sent, and it goes on as soon as the mistake is mended.
#[tokio::test]
async fn b50_mistake_is_told_and_mended() {
    let scene = Scene::new("b50-mistake").await;
    let remote = scene.described(Kind::Dreadnode).await;
    let wrong = json!({"http": {"list": {"entry": {"id": null}}}});
    scene.connect_as("dreadnode", &remote, wrong).await;
    let message = scene.connection_is("dreadnode", "Invalid").await.ready().message;
    assert_eq!(message, "http.update needs {{ id }}, but list.entry.id does not say where ids are");
    let name = Kind::Dreadnode.name("the value");
    let spec = json!({"connectionRef": {"name": "dreadnode"}, "data": [inline("VALUE", &name, "a value")]});
    scene.vault_secret("app", spec).await;
    let app = scene.not_ready("app", "ConnectionNotReady").await;
    assert!(app.ready().message.contains("list.entry.id"), "{}", app.ready().message);
    assert_eq!(remote.requests().len(), 0);
    let mended = json!({"spec": {"http": {"list": {"entry": {"id": "/id"}}}}});
    scene.patch("VaultConnection", "dreadnode", mended).await;
    scene.ready("app").await;
    assert_eq!(remote.history(&name), ["a value"]);
}

/// What the schema can tell, whoever applies it hears.
#[tokio::test]
async fn b50_schema_refuses_what_it_can() {
    let scene = Scene::new("b50-schema").await;
    let remote = scene.described(Kind::Mixpeek).await;
    let usual = Scene::connection_spec(&remote, "creds", json!({}));
    let key = json!({"name": "creds", "key": "api-key"});
    for (more, words) in [
        (json!({"mixpeek": {"auth": {"apiKeyRef": key}}}), "exactly one provider must be set"),
        (json!({"allowInsecureUrl": false}), "sends secrets in the clear"),
        (
            json!({"http": {"auth": {"headers": [{"name": "x", "valueRef": key}]}}}),
            "exactly one of bearerTokenRef, basic",
        ),
        (json!({"http": {"create": {"path": "v1"}}}), "spec.http.create.path"),
        (json!({"http": {"create": {"method": "TRACE"}}}), "spec.http.create.method"),
        (json!({"http": {"list": {"paging": {}}}}), "exactly one of cursor, page and link"),
        (json!({"http": {"list": {"items": "secrets"}}}), "spec.http.list.items"),
        (json!({"http": {"headers": [{"name": "a b", "value": "c"}]}}), "spec.http.headers[0].name"),
        (json!({"http": {"headers": [{"name": "a", "value": "b\r\nc: d"}]}}), "spec.http.headers[0].value"),
        (json!({"http": {"list": {"entry": {"updated": "/u", "version": "/v"}}}}), "updated and version exclude"),
    ] {
        let spec = merged(usual.clone(), more.clone());
        let error = scene.try_create("VaultConnection", "refused", json!({"spec": spec})).await;
        let error = error.map(|object| object.name().to_owned()).expect_err(&more.to_string()).to_string();
        assert!(error.contains(words), "{more}: {error}");
    }
}

/// The examples, with the connection pointed at the stand-in that their credentials open.
async fn b50_example_works_as_it_stands(kind: Kind) {
    let scene = Scene::new("b50-example").await;
    let remote = scene.described(kind).await;
    for mut manifest in read(&format!("examples/http/{}.yaml", kind.member())) {
        if manifest["kind"] == "Namespace" {
            continue;
        }
        manifest["metadata"]["namespace"] = json!(scene.namespace);
        if manifest["kind"] == "VaultConnection" {
            manifest["spec"]["http"]["url"] = json!(remote.url());
            manifest["spec"]["allowInsecureUrl"] = json!(true);
        }
        scene.apply(&manifest).await;
    }
    let is_there = |app: &Object| app.is_ready() && app.text("/status/synced") == "1/1";
    let all = scene.list("VaultSecret").await;
    scene.until("VaultSecret", all[0].name(), "is Ready", is_there).await;
    assert_eq!(remote.entries().len(), 1);
}

/// The examples of the documentation are taken as they stand; their hosts do not exist.
#[tokio::test]
async fn b50_documented_examples_are_right() {
    let scene = Scene::new("b50-docs").await;
    let text = std::fs::read_to_string(in_repository("docs/http.md")).unwrap();
    let blocks: Vec<&str> = text.split("```yaml\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    assert!(blocks.len() >= 3);
    for block in blocks {
        let mut manifest: Value = serde_saphyr::from_str(block).unwrap();
        manifest["metadata"]["namespace"] = json!(scene.namespace);
        let name = manifest["metadata"]["name"].as_str().unwrap().to_owned();
        for (secret, key) in refs(&manifest["spec"]["http"]["auth"]) {
            let data = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": secret, "namespace": scene.namespace},
                              "stringData": {key: "a-credential"}});
            if scene.get("Secret", &secret).await.is_none() {
                scene.apply(&data).await;
            } else {
                scene.patch("Secret", &secret, json!({"stringData": data["stringData"]})).await;
            }
        }
        scene.apply(&manifest).await;
        let connection = scene.connection_is(&name, "Unreachable").await;
        assert!(connection.ready().message.contains("name cannot be resolved"), "{}", connection.ready().message);
    }
}

/// The keys of Secrets that something refers to.
fn refs(of: &Value) -> Vec<(String, String)> {
    match of {
        Value::Object(fields) if fields.contains_key("key") => {
            vec![(fields["name"].as_str().unwrap().to_owned(), fields["key"].as_str().unwrap().to_owned())]
        }
        Value::Object(fields) => fields.values().flat_map(refs).collect(),
        Value::Array(items) => items.iter().flat_map(refs).collect(),
        _ => Vec::new(),
    }
}

/// Two descriptions of one API with one credential do not share a client: each is spoken to in its own words.
#[tokio::test]
async fn b50_two_descriptions_of_one_api() {
    let scene = Scene::new("b50-two").await;
    let remote: Arc<Remote> = scene.described(Kind::Mixpeek).await;
    scene.connect_as("one", &remote, json!({})).await;
    scene.connect_as("two", &remote, json!({"http": {"names": {"maxLength": 5}}})).await;
    let spec = |connection: &str, name: &str| json!({"connectionRef": {"name": connection}, "data": [inline("VALUE", name, "a value")]});
    scene.vault_secret("app-one", spec("one", "long_name")).await;
    scene.vault_secret("app-two", spec("two", "longer_name")).await;
    scene.ready("app-one").await;
    scene.not_ready("app-two", "NameRefused").await;
    scene.edit("app-two", json!({"data": [inline("VALUE", "short", "a value")]})).await;
    scene.ready("app-two").await;
    // One entry is one entry, whatever describes it.
    scene.vault_secret("app-three", spec("two", "short")).await;
    scene.not_ready("app-three", "OwnedByAnother").await;
}

for_each_remote!(
    b50_value_arrives_and_changes,
    b50_entry_is_deleted,
    b50_change_by_others_is_put_right,
    b50_entry_of_somebody_else_is_left_alone,
    b50_answer_to_a_create_is_lost,
    b50_name_is_refused_before_any_call,
    b50_credential_is_renewed,
    b50_example_works_as_it_stands,
);
