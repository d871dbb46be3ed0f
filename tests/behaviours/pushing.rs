//! Behaviours 1–5 and 9: values on their way to the remote.

use devkit::remotes::{Action, Fault, Op};
use serde_json::{Value, json};

use crate::common::{Kind, Scene, entry, for_each_remote, inline};

async fn b01_value_arrives(kind: Kind) {
    let scene = Scene::new("b01").await;
    let synced = scene.synced(kind, json!({})).await;
    let (remote, object) = (&synced.remote, &synced.object);

    assert_eq!(remote.history(&synced.entry), [synced.value.as_str()], "sent once");
    assert_eq!((remote.count(Op::Create), remote.write_calls()), (1, 1));

    let secret = scene.secret_has("app", "VALUE", &synced.value).await;
    assert_eq!(secret.keys(), ["VALUE"]);
    assert_eq!(secret.text("/type"), "Opaque");
    assert_eq!(secret.text("/metadata/ownerReferences/0/uid"), object.uid(), "it goes with the VaultSecret");

    assert_eq!(object.text("/status/synced"), "1/1");
    assert_eq!((object.number("/status/syncedEntries"), object.number("/status/totalEntries")), (1, 1));
    assert_eq!(object.text("/status/target/name"), "app");
    assert_eq!(object.text("/status/target/resourceVersion"), secret.version());
    for condition in ["Pushed", "Projected"] {
        assert_eq!(object.condition(condition).status, "True", "{condition}");
    }
    for condition in ["Reconciling", "Stalled"] {
        assert_eq!(object.condition(condition).status, "", "{condition} is absent when all is well");
    }

    let row = object.row(&synced.entry).expect("the ledger has the entry");
    assert_eq!(row.text("/connection"), format!("VaultConnection/{}", kind.member()));
    assert_eq!((row.text("/key"), row.text("/state")), ("VALUE", "InSync"));
    assert_ne!(row.at("/claimed"), &json!(true));
    assert!(row.text("/fingerprint").contains(':'), "{row:?}");
    assert_ne!(row.text("/pushedAt"), "");
    let source = scene.expect("Secret", "source").await;
    assert_eq!(row.text("/sourceVersion"), source.version());
    assert_eq!(!row.text("/remoteVersion").is_empty(), kind.shows_changes(), "{row:?}");
    assert_eq!(!row.text("/remoteId").is_empty(), kind == Kind::Dreadnode, "{row:?}");

    let connection = scene.connection_is(kind.member(), "Connected").await;
    assert_eq!(connection.text("/status/provider"), format!("{kind:?}"));
    let signal = if kind.shows_changes() { "Timestamp" } else { "Presence" };
    assert_eq!(connection.text("/status/capabilities/driftSignal"), signal);
    assert_eq!(connection.at("/status/capabilities/readValues"), &json!(false));
}

/// Nothing has to be made in a certain order.
async fn b01_value_arrives_whatever_is_made_first(kind: Kind) {
    let scene = Scene::new("b01-order").await;
    let remote = scene.remote(kind).await;
    let (name, value) = (kind.name("the value"), scene.canary("value"));
    let spec = json!({"connectionRef": {"name": kind.member()}, "data": [entry("VALUE", &name, "source/value")]});
    scene.vault_secret("app", spec).await;
    scene.not_ready("app", "ConnectionMissing").await;
    let spec = Scene::connection_spec(&remote, "late", json!({}));
    scene.create("VaultConnection", kind.member(), json!({"spec": spec})).await;
    scene.connection_is(kind.member(), "CredentialsMissing").await;
    scene.create("Secret", "late", json!({"stringData": remote.credentials()})).await;
    scene.not_ready("app", "SourceMissing").await;
    assert_eq!(remote.write_calls(), 0);
    scene.source("source", &[("value", &value)]).await;
    scene.ready("app").await;
    assert_eq!(remote.history(&name), [value]);
}

/// One intent, one Secret, one outcome; and the entries are sent once each.
async fn b01_first_sync_costs_three_writes(kind: Kind) {
    let scene = Scene::new("b01-cost").await;
    let remote = scene.remote(kind).await;
    scene.connect(&remote).await;
    scene.connection_is(kind.member(), "Connected").await;
    let data: Vec<_> = (0..5).map(|i| inline(&format!("KEY{i}"), &kind.name(&format!("key {i}")), "a value")).collect();
    let mark = scene.mark();
    scene.vault_secret("app", json!({"connectionRef": {"name": kind.member()}, "data": data})).await;
    scene.ready("app").await;
    // What a write led to can be seen before the write is in the audit log.
    let writes = || {
        let mut writes = scene.writes_since(mark);
        writes.retain(|w| ["vaultsecrets", "secrets"].contains(&&*w.resource));
        writes
    };
    scene.eventually("the writes are in the audit log", async || writes().len() >= 3).await;
    scene.two_more_probes(&remote).await;
    assert_eq!(writes().len(), 3, "{:#?}", writes());
    assert_eq!((remote.count(Op::Create), remote.write_calls()), (5, 5));
}

async fn b02_changed_source(kind: Kind) {
    let scene = Scene::new("b02").await;
    let remote = scene.remote(kind).await;
    // No probe comes before the test's patience ends: what arrives, arrives because of the change alone.
    scene.connect_as(kind.member(), &remote, json!({"probeInterval": "10m"})).await;
    let synced = scene.synced_at(remote, json!({})).await;
    for number in 2..4 {
        let value = scene.canary(&format!("value {number}"));
        scene.set_source("source", "value", &value).await;
        scene.remote_has(&synced.remote, &synced.entry, &value).await;
        scene.secret_has("app", "VALUE", &value).await;
        scene.ready("app").await;
        assert_eq!(synced.remote.entry(&synced.entry).unwrap().versions(), number, "sent once each");
    }
}

#[tokio::test]
async fn b02_changed_config_map() {
    let scene = Scene::new("b02-map").await;
    let remote = scene.remote(Kind::Mixpeek).await;
    scene.connect_as("mixpeek", &remote, json!({"probeInterval": "10m"})).await;
    scene.create("ConfigMap", "settings", json!({"data": {"region": "here"}})).await;
    let data = json!([{"key": "REGION", "remoteName": "region",
                       "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "region"}}}]);
    scene.vault_secret("app", json!({"connectionRef": {"name": "mixpeek"}, "data": data})).await;
    scene.ready("app").await;
    scene.patch("ConfigMap", "settings", json!({"data": {"region": "there"}})).await;
    scene.remote_has(&remote, "region", "there").await;
    scene.secret_has("app", "REGION", "there").await;
    assert_eq!(remote.history("region"), ["here", "there"]);
}

/// What one VaultSecret projects is another's source and a connection's credential.
#[tokio::test]
async fn b02_source_that_is_projected_by_another() {
    let scene = Scene::new("b02-projected").await;
    let remote = scene.remote(Kind::Mixpeek).await;
    let spec = |data: Value| json!({"connectionRef": {"name": "mixpeek"}, "data": [data]});
    scene.create("Secret", "sealed-elsewhere", json!({"stringData": remote.credentials()})).await;
    let from = json!({"secretKeyRef": {"name": "sealed-elsewhere", "key": "api-key"}});
    scene.vault_secret("credential", spec(json!({"key": "api-key", "push": false, "valueFrom": from}))).await;
    let connection = Scene::connection_spec(&remote, "credential", json!({"probeInterval": "10m"}));
    scene.create("VaultConnection", "mixpeek", json!({"spec": connection})).await;
    let shown = |value: &str| json!({"key": "value", "value": value, "push": false});
    scene.vault_secret("shown", spec(shown("one"))).await;
    scene.vault_secret("app", spec(entry("VALUE", "the_value", "shown/value"))).await;
    for name in ["credential", "shown", "app"] {
        scene.ready(name).await;
    }
    scene.edit("shown", json!({"data": [shown("two")]})).await;
    scene.remote_has(&remote, "the_value", "two").await;
    scene.secret_has("app", "VALUE", "two").await;
}

/// A write of the same value changes nothing, so nothing is sent.
#[tokio::test]
async fn b02_source_rewritten_with_the_same_value() {
    let scene = Scene::new("b02-same").await;
    let synced = scene.synced(Kind::Kelvin, json!({})).await;
    scene.set_source("source", "another", "key").await;
    let source = scene.expect("Secret", "source").await;
    // The ledger says when the new version of the source has been looked at.
    let seen = |app: &crate::common::Object| {
        app.row(&synced.entry).is_some_and(|row| row.text("/sourceVersion") == source.version())
    };
    let looked_at = scene.until("VaultSecret", "app", "has seen the source", seen).await;
    assert!(looked_at.is_ready(), "{looked_at:?}");
    assert_eq!(synced.remote.write_calls(), 1);
}

async fn b03_nothing_changes(kind: Kind) {
    let scene = Scene::new("b03").await;
    let synced = scene.synced(kind, json!({})).await;
    // Whatever still belongs to the first sync is over then.
    scene.connection_counts(kind.member(), 1).await;
    scene.two_more_probes(&synced.remote).await;
    let (mark, before) = (scene.mark(), scene.expect("VaultSecret", "app").await);
    scene.two_more_probes(&synced.remote).await;
    assert_eq!(synced.remote.write_calls(), 1, "nothing is sent again");
    assert_eq!(scene.writes_since(mark), [], "nothing is written to the API server");
    assert_eq!(scene.expect("VaultSecret", "app").await, before);
}

async fn b04_another_field_is_edited(kind: Kind) {
    let scene = Scene::new("b04").await;
    let synced = scene.synced(kind, json!({})).await;
    for edit in [
        json!({"driftPolicy": "Report"}),
        json!({"adoptionPolicy": "TakeOver"}),
        json!({"reassertInterval": "24h"}),
        json!({"deletionPolicy": "Delete"}),
        json!({"target": {"template": {"metadata": {"labels": {"team": "shop"}}}}}),
    ] {
        scene.edit("app", edit.clone()).await;
        scene.ready("app").await;
        assert_eq!(synced.remote.write_calls(), 1, "sent again after {edit}");
    }
    let labelled = |secret: &crate::common::Object| secret.text("/metadata/labels/team") == "shop";
    scene.until("Secret", "app", "has the label", labelled).await;
    // Renaming a key in the Secret is no matter of the remote either.
    scene.edit("app", json!({"data": [entry("RENAMED", &synced.entry, "source/value")]})).await;
    let secret = scene.secret_has("app", "RENAMED", &synced.value).await;
    assert_eq!(secret.keys(), ["RENAMED"]);
    scene.ready("app").await;
    assert_eq!(synced.remote.write_calls(), 1);
}

async fn b05_one_of_two_fails(kind: Kind) {
    let scene = Scene::new("b05").await;
    let remote = scene.remote(kind).await;
    scene.connect(&remote).await;
    let (good, bad) = (kind.name("good one"), kind.name("bad one"));
    let old = [scene.canary("good"), scene.canary("bad")];
    scene.source("source", &[("good", &old[0]), ("bad", &old[1])]).await;
    let data = json!([entry("GOOD", &good, "source/good"), entry("BAD", &bad, "source/bad")]);
    scene.vault_secret("app", json!({"connectionRef": {"name": kind.member()}, "data": data})).await;
    scene.ready("app").await;
    let before = scene.expect("Secret", "app").await;

    remote.faults().add(Fault::new(Action::status(422)).on(Op::Update).named(&bad));
    let new = [scene.canary("good"), scene.canary("bad")];
    scene.patch("Secret", "source", json!({"stringData": {"good": new[0], "bad": new[1]}})).await;
    scene.remote_has(&remote, &good, &new[0]).await;
    let failed = scene.not_ready("app", "RemoteError").await;
    let message = failed.ready().message;
    for part in ["BAD", &bad, kind.member(), "422", "next attempt"] {
        assert!(message.contains(part), "{part:?} is not in {message:?}");
    }
    assert_eq!((failed.state(&good), failed.state(&bad)), ("InSync".to_owned(), "Failed".to_owned()));
    assert_eq!(failed.text("/status/synced"), "1/2");
    assert_eq!(failed.condition("Pushed").status, "False");
    assert_eq!(remote.value(&bad).as_ref(), Some(&old[1]));
    assert_eq!(scene.expect("Secret", "app").await, before, "the last good set stays");

    remote.faults().clear();
    let newer = scene.canary("bad");
    scene.set_source("source", "bad", &newer).await;
    scene.remote_has(&remote, &bad, &newer).await;
    scene.ready("app").await;
    let secret = scene.secret_has("app", "BAD", &newer).await;
    assert_eq!(secret.secret_value("GOOD").unwrap(), new[0].as_bytes());
    assert_eq!(remote.entry(&good).unwrap().versions(), 2, "the good one was not sent again");
}

/// The Secret shows nothing before the first whole set is acknowledged, unless it is told to.
async fn b05_no_secret_before_the_first_set(kind: Kind) {
    let scene = Scene::new("b05-first").await;
    let remote = scene.remote(kind).await;
    scene.connect(&remote).await;
    let bad = kind.name("bad one");
    remote.faults().add(Fault::new(Action::status(422)).on(Op::Create).named(&bad));
    let data = json!([inline("GOOD", &kind.name("good one"), "a value"), inline("BAD", &bad, "a value")]);
    let spec = json!({"connectionRef": {"name": kind.member()}, "data": data});
    scene.vault_secret("after", spec.clone()).await;
    scene.not_ready("after", "RemoteError").await;
    assert_eq!(scene.get("Secret", "after").await, None);
    assert_eq!(remote.value(&bad), None);
    scene.edit("after", json!({"target": {"when": "Immediately"}})).await;
    scene.secret_has("after", "BAD", "a value").await;
    assert!(!scene.expect("VaultSecret", "after").await.is_ready());
}

async fn b09_name_refused(kind: Kind) {
    let (name, suggestion) = match kind {
        Kind::Kelvin => ("STRIPE_API_KEY", "stripe-api-key"),
        Kind::Dreadnode => ("openai-api.key", "OPENAI_API_KEY"),
        Kind::Mixpeek => ("two words", "two_words"),
    };
    let scene = Scene::new("b09").await;
    let remote = scene.remote(kind).await;
    scene.connect(&remote).await;
    let fine = kind.name("fine");
    let data = json!([inline("KEY", name, "a value"), inline("FINE", &fine, "a value")]);
    scene.vault_secret("app", json!({"connectionRef": {"name": kind.member()}, "data": data})).await;
    let refused = scene.not_ready("app", "NameRefused").await;
    let message = refused.ready().message;
    for part in ["KEY", name, suggestion] {
        assert!(message.contains(part), "{part:?} is not in {message:?}");
    }
    scene.remote_has(&remote, &fine, "a value").await;
    assert!(remote.requests().iter().all(|call| call.name.as_deref().is_none_or(|called| called == fine)));

    let data = json!([inline("KEY", suggestion, "a value"), inline("FINE", &fine, "a value")]);
    scene.edit("app", json!({"data": data})).await;
    scene.ready("app").await;
    assert_eq!(remote.value(suggestion).as_deref(), Some("a value"));
}

async fn b09_two_keys_one_name(kind: Kind) {
    let scene = Scene::new("b09-two").await;
    let remote = scene.remote(kind).await;
    scene.connect(&remote).await;
    // Dreadnode stores names in upper case, so these are one there.
    let (one, other) = match kind {
        Kind::Dreadnode => ("api_key", "API_KEY"),
        _ => ("same", "same"),
    };
    let data = json!([inline("ONE", one, "one value"), inline("OTHER", other, "another value")]);
    scene.vault_secret("app", json!({"connectionRef": {"name": kind.member()}, "data": data})).await;
    let message = scene.not_ready("app", "NameRefused").await.ready().message;
    assert!(message.contains("ONE") && message.contains("OTHER"), "{message:?}");
    assert_eq!(remote.write_calls(), 0, "whose value it would be is open, so none is sent");
}

for_each_remote!(
    b01_value_arrives,
    b01_value_arrives_whatever_is_made_first,
    b01_first_sync_costs_three_writes,
    b02_changed_source,
    b03_nothing_changes,
    b04_another_field_is_edited,
    b05_one_of_two_fails,
    b05_no_secret_before_the_first_set,
    b09_name_refused,
    b09_two_keys_one_name,
);
