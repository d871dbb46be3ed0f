//! Behaviours 6–8: sources, values and connections that are missing or cannot be used.

use devkit::remotes::Op;
use serde_json::{Value, json};

use crate::common::{Kind, Object, Scene, entry, for_each_remote, inline, read};

async fn b06_missing_source(kind: Kind) {
    let scene = Scene::new("b06").await;
    let remote = scene.remote(kind).await;
    scene.connect(&remote).await;
    let (absent, present) = (kind.name("from absent"), kind.name("from present"));
    scene.source("present", &[("here", "a value")]).await;
    let data = json!([entry("ABSENT", &absent, "vault-of-values/the-key"), entry("PRESENT", &present, "present/here")]);
    scene.vault_secret("app", json!({"connectionRef": {"name": kind.member()}, "data": data})).await;
    let message = scene.not_ready("app", "SourceMissing").await.ready().message;
    assert!(message.contains("vault-of-values"), "{message:?}");
    scene.remote_has(&remote, &present, "a value").await;
    let projected = |app: &Object| app.condition("Projected").message.contains("there is no Secret yet");
    scene.until("VaultSecret", "app", "keeps no set that never was", projected).await;

    scene.source("vault-of-values", &[("another-key", "a value")]).await;
    let names_key = |app: &Object| app.ready().reason == "SourceMissing" && app.ready().message.contains("the-key");
    scene.until("VaultSecret", "app", "names the missing key", names_key).await;
    assert_eq!(remote.count_for(Op::Create, &absent), 0);
    assert_eq!(scene.get("Secret", "app").await, None, "there is no whole set yet");

    let value = scene.canary("value");
    scene.set_source("vault-of-values", "the-key", &value).await;
    scene.remote_has(&remote, &absent, &value).await;
    scene.ready("app").await;
    assert_eq!(remote.write_calls(), 2);
}

async fn b06_source_deleted_and_made_anew(kind: Kind) {
    let scene = Scene::new("b06-anew").await;
    let synced = scene.synced(kind, json!({"deletionPolicy": "Delete"})).await;
    scene.delete("Secret", "source").await;
    let message = scene.not_ready("app", "SourceMissing").await.ready().message;
    assert!(message.contains("source") && message.contains("VALUE"), "{message:?}");
    // A source that is gone is never "delete".
    assert_eq!(synced.remote.value(&synced.entry).as_ref(), Some(&synced.value));
    scene.secret_has("app", "VALUE", &synced.value).await;
    assert_eq!(synced.remote.write_calls(), 1);

    let value = scene.canary("value");
    scene.source("source", &[("value", &value)]).await;
    scene.remote_has(&synced.remote, &synced.entry, &value).await;
    scene.ready("app").await;
    scene.secret_has("app", "VALUE", &value).await;
    assert_eq!(synced.remote.history(&synced.entry), [synced.value, value]);
}

/// Puts `data` (as a Secret has it, base64) where a good value was, and expects that it is refused with these words.
async fn expect_refused(kind: Kind, data: &Value, words: &[&str]) {
    let scene = Scene::new("b07").await;
    let synced = scene.synced(kind, json!({})).await;
    let before = scene.secret_has("app", "VALUE", &synced.value).await;
    scene.patch("Secret", "source", json!({"data": {"value": data}})).await;
    let refused = scene.not_ready("app", "ValueRefused").await;
    let message = refused.ready().message;
    for part in words {
        assert!(message.contains(part), "{part:?} is not in {message:?}");
    }
    assert_eq!(refused.state(&synced.entry), "Refused");
    assert_eq!(synced.remote.history(&synced.entry), [synced.value.as_str()], "the remote keeps what it has");
    assert_eq!(synced.remote.write_calls(), 1, "no call");
    assert_eq!(scene.expect("Secret", "app").await, before, "the Secret keeps what it has");

    let value = scene.canary("value");
    scene.set_source("source", "value", &value).await;
    scene.remote_has(&synced.remote, &synced.entry, &value).await;
    scene.ready("app").await;
}

fn base64(bytes: &[u8]) -> Value {
    use base64::Engine as _;
    json!(base64::engine::general_purpose::STANDARD.encode(bytes))
}

async fn b07_empty_value(kind: Kind) {
    expect_refused(kind, &json!(""), &["VALUE", "empty"]).await;
}

async fn b07_value_too_large(kind: Kind) {
    let long = vec![b'x'; kind.longest_value() + 1];
    expect_refused(kind, &base64(&long), &["VALUE", &kind.longest_value().to_string()]).await;
}

async fn b07_longest_value(kind: Kind) {
    let scene = Scene::new("b07-longest").await;
    let remote = scene.remote(kind).await;
    scene.connect(&remote).await;
    let (name, long) = (kind.name("long"), "x".repeat(kind.longest_value()));
    scene.source("source", &[("value", &long)]).await;
    let data = json!([entry("LONG", &name, "source/value")]);
    scene.vault_secret("app", json!({"connectionRef": {"name": kind.member()}, "data": data})).await;
    scene.ready("app").await;
    assert_eq!(remote.value(&name), Some(long));
}

async fn b07_value_that_is_not_text(kind: Kind) {
    expect_refused(kind, &base64(&[0xff, 0xfe, 0x00]), &["VALUE", "UTF-8"]).await;
}

async fn b07_bytes_are_encoded_if_wanted(kind: Kind) {
    let scene = Scene::new("b07-encoded").await;
    let remote = scene.remote(kind).await;
    scene.connect(&remote).await;
    let bytes = [0xff, 0xfe, 0x00];
    scene.create("Secret", "source", json!({"data": {"value": base64(&bytes)}})).await;
    let (plain, url) = (kind.name("plain"), kind.name("url"));
    let mut data = [entry("PLAIN", &plain, "source/value"), entry("URL", &url, "source/value")];
    data[0]["encoding"] = json!("Base64");
    data[1]["encoding"] = json!("Base64Url");
    scene.vault_secret("app", json!({"connectionRef": {"name": kind.member()}, "data": data})).await;
    scene.ready("app").await;
    assert_eq!(remote.value(&plain).as_deref(), Some("//4A"));
    assert_eq!(remote.value(&url).as_deref(), Some("__4A"));
    let secret = scene.expect("Secret", "app").await;
    assert_eq!(secret.secret_value("PLAIN").unwrap(), bytes, "the encoding is for the remote only");
}

/// Whitespace and line ends are the user's.
async fn b07_value_is_sent_as_it_is(kind: Kind) {
    let scene = Scene::new("b07-as-is").await;
    let remote = scene.remote(kind).await;
    scene.connect(&remote).await;
    let (name, value) = (kind.name("text"), " a\r\n\"b\\\" \u{1f511} {{ c }} %41 \n\n");
    scene.source("source", &[("value", value)]).await;
    let data = json!([entry("TEXT", &name, "source/value")]);
    scene.vault_secret("app", json!({"connectionRef": {"name": kind.member()}, "data": data})).await;
    scene.ready("app").await;
    assert_eq!(remote.value(&name).as_deref(), Some(value));
    scene.secret_has("app", "TEXT", value).await;
}

async fn b08_connection_missing_then_not_ready(kind: Kind) {
    let scene = Scene::new("b08").await;
    let remote = scene.remote(kind).await;
    let (name, value) = (kind.name("the value"), scene.canary("value"));
    scene.source("source", &[("value", &value)]).await;
    let data = json!([entry("VALUE", &name, "source/value")]);
    scene.vault_secret("app", json!({"connectionRef": {"name": kind.member()}, "data": data})).await;
    let message = scene.not_ready("app", "ConnectionMissing").await.ready().message;
    assert!(message.contains(kind.member()), "{message:?}");

    let spec = Scene::connection_spec(&remote, "the-credentials", json!({}));
    scene.create("VaultConnection", kind.member(), json!({"spec": spec})).await;
    let message = scene.connection_is(kind.member(), "CredentialsMissing").await.ready().message;
    assert!(message.contains("the-credentials"), "{message:?}");
    scene.not_ready("app", "ConnectionNotReady").await;
    assert_eq!(remote.requests(), []);
    assert_eq!(scene.get("Secret", "app").await, None);

    // As soon as it can be used, all that waits for it goes on.
    scene.create("Secret", "the-credentials", json!({"stringData": remote.credentials()})).await;
    scene.ready("app").await;
    assert_eq!(remote.history(&name), [value]);
}

#[tokio::test]
async fn b08_connection_of_another_namespace_is_out_of_reach() {
    let (scene, other) = (Scene::new("b08-here").await, Scene::new("b08-there").await);
    let remote = other.remote(Kind::Kelvin).await;
    other.connect(&remote).await;
    other.connection_is("kelvin", "Connected").await;
    let data = json!([inline("VALUE", "the-value", "a value")]);
    scene.vault_secret("app", json!({"connectionRef": {"name": "kelvin"}, "data": data})).await;
    scene.not_ready("app", "ConnectionMissing").await;
    assert_eq!(remote.write_calls(), 0);
}

/// Applies a ClusterVaultConnection called like the namespace, with its credentials where the operator is.
async fn cluster_connection(scene: &Scene, remote: &crate::common::Remote, more: Value) {
    let name = &scene.namespace;
    let credentials = json!({"apiVersion": "v1", "kind": "Secret", "stringData": remote.credentials(),
                             "metadata": {"name": name, "namespace": scene.operator.system()}});
    scene.apply(&credentials).await;
    let spec = Scene::connection_spec(remote, name, more);
    scene.create("ClusterVaultConnection", name, json!({"spec": spec})).await;
}

async fn b08_namespace_is_not_allowed(kind: Kind) {
    let scene = Scene::new("b08-cluster").await;
    let remote = scene.remote(kind).await;
    let connection = scene.namespace.clone();
    cluster_connection(&scene, &remote, json!({})).await;
    let (name, value) = (kind.name("the value"), scene.canary("value"));
    scene.source("source", &[("value", &value)]).await;
    let data = json!([entry("VALUE", &name, "source/value")]);
    // Whoever leaves the kind out is told of the one that is there.
    scene.vault_secret("app", json!({"connectionRef": {"name": connection}, "data": data})).await;
    let message = scene.not_ready("app", "ConnectionMissing").await.ready().message;
    assert!(message.contains("did you mean connectionRef.kind: ClusterVaultConnection?"), "{message:?}");
    let reference = json!({"kind": "ClusterVaultConnection", "name": connection});
    scene.edit("app", json!({"connectionRef": reference})).await;
    let message = scene.not_ready("app", "NotAllowed").await.ready().message;
    assert!(message.contains(&connection), "{message:?}");
    assert_eq!(remote.write_calls(), 0);

    let allowed = json!({"spec": {"allowedNamespaces": {"names": [scene.namespace]}}});
    scene.patch("ClusterVaultConnection", &connection, allowed).await;
    let ready = scene.ready("app").await;
    assert_eq!(remote.history(&name), [value.as_str()]);
    let row = ready.row(&name).unwrap();
    assert_eq!(row.text("/connection"), format!("ClusterVaultConnection/{connection}"));

    // Taken away again: what is there stays, nothing more is written.
    let nobody = json!({"spec": {"allowedNamespaces": {"names": ["somebody-else"]}}});
    scene.patch("ClusterVaultConnection", &connection, nobody).await;
    scene.not_ready("app", "NotAllowed").await;
    scene.set_source("source", "value", &scene.canary("value")).await;
    scene.two_more_probes(&remote).await;
    assert_eq!(remote.history(&name), [value]);
    scene.delete("ClusterVaultConnection", &connection).await;
}

#[tokio::test]
async fn b08_namespace_is_allowed_by_its_label() {
    let scene = Scene::new("b08-label").await;
    let remote = scene.remote(Kind::Dreadnode).await;
    let connection = scene.namespace.clone();
    let selector = json!({"allowedNamespaces": {"selector": {"matchLabels": {"may-use": connection}}}});
    cluster_connection(&scene, &remote, selector).await;
    let data = json!([inline("VALUE", "THE_VALUE", "a value")]);
    let reference = json!({"kind": "ClusterVaultConnection", "name": connection});
    scene.vault_secret("app", json!({"connectionRef": reference, "data": data})).await;
    scene.not_ready("app", "NotAllowed").await;
    scene.patch("Namespace", &scene.namespace, json!({"metadata": {"labels": {"may-use": connection}}})).await;
    scene.ready("app").await;
    assert_eq!(remote.value("THE_VALUE").as_deref(), Some("a value"));
    scene.delete("ClusterVaultConnection", &connection).await;
}

/// `examples/cluster` as it stands, with the connection pointed at the stand-in.
#[tokio::test]
async fn b08_example_of_a_cluster_connection() {
    let scene = Scene::new("b08-example").await;
    let remote = scene.remote(Kind::Mixpeek).await;
    let name = &scene.namespace;
    for mut manifest in read("examples/cluster/mixpeek.yaml") {
        match manifest["kind"].as_str().unwrap() {
            "Namespace" => continue,
            // Both are there once in a cluster, so they get names of their own.
            "Secret" => {
                assert_eq!(manifest["metadata"]["namespace"], scene.operator.system());
                manifest["metadata"]["name"] = json!(name);
                manifest["stringData"] = remote.credentials();
            }
            "ClusterVaultConnection" => {
                manifest["metadata"]["name"] = json!(name);
                manifest["spec"]["mixpeek"]["url"] = json!(remote.url());
                manifest["spec"]["mixpeek"]["auth"]["apiKeyRef"]["name"] = json!(name);
                manifest["spec"]["allowInsecureUrl"] = json!(true);
                assert_eq!(manifest["spec"]["allowedNamespaces"]["names"], json!(["demo-cluster"]));
                manifest["spec"]["allowedNamespaces"]["names"] = json!([name]);
            }
            _ => {
                assert_eq!(manifest["metadata"]["namespace"], "demo-cluster");
                manifest["metadata"]["namespace"] = json!(name);
                manifest["spec"]["connectionRef"]["name"] = json!(name);
            }
        }
        scene.apply(&manifest).await;
    }
    scene.ready("worker").await;
    let value = remote.value(&format!("{name}-worker_password")).expect("the prefix is part of the name");
    scene.secret_text(&value);
    scene.secret_has("worker", "PASSWORD", &value).await;
    scene.delete("ClusterVaultConnection", name).await;
}

/// `team-` with `a-x` and `team-a-` with `x` are one name; it is the namespace's whose prefix is the longest that fits.
#[tokio::test]
async fn b08_prefix_keeps_namespaces_apart() {
    let team = Scene::new("t").await;
    let longer = format!("{}-a", team.namespace);
    team.create("Namespace", &longer, json!({})).await;
    let remote = team.remote(Kind::Mixpeek).await;
    let connection = team.namespace.clone();
    let open =
        json!({"remoteNamePrefix": "{{ namespace }}-", "allowedNamespaces": {"names": [team.namespace, longer]}});
    cluster_connection(&team, &remote, open).await;
    let reference = json!({"kind": "ClusterVaultConnection", "name": connection});
    let data = json!([inline("MINE", "x", "mine"), inline("THEIRS", "a-x", "not theirs")]);
    team.vault_secret("app", json!({"connectionRef": reference, "data": data})).await;
    let (mine, theirs) = (format!("{}-x", team.namespace), format!("{longer}-x"));
    team.remote_has(&remote, &mine, "mine").await;
    let refused = team.observed("app").await;
    assert!(!refused.is_ready(), "{refused:?}");
    let manifest = json!({"apiVersion": "vaultsecret.dev/v1alpha1", "kind": "VaultSecret",
        "metadata": {"name": "app", "namespace": longer},
        "spec": {"connectionRef": reference, "data": [inline("X", "x", "theirs")]}});
    team.apply(&manifest).await;
    team.remote_has(&remote, &theirs, "theirs").await;
    assert_eq!(remote.history(&theirs), ["theirs"], "the shorter prefix never wrote it");
    team.delete("ClusterVaultConnection", &connection).await;
    team.delete("Namespace", &longer).await;
}

for_each_remote!(
    b06_missing_source,
    b06_source_deleted_and_made_anew,
    b07_empty_value,
    b07_value_too_large,
    b07_longest_value,
    b07_value_that_is_not_text,
    b07_bytes_are_encoded_if_wanted,
    b07_value_is_sent_as_it_is,
    b08_connection_missing_then_not_ready,
    b08_namespace_is_not_allowed,
);
