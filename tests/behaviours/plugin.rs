//! Behaviours U1 to U4: what the plugin's `status` shows is what there is, and it says what to do.

use serde_json::{Value, json};

use crate::common::{Kind, Scene, entry, inline, merged};

fn spec(kind: Kind, data: Value) -> Value {
    json!({"connectionRef": {"name": kind.member()}, "data": data})
}

/// One that is Ready, one whose entry somebody else has, one whose source is missing.
async fn three(scene: &Scene, kind: Kind) {
    let remote = scene.remote(kind).await;
    remote.foreign_put(&kind.name("taken"), "theirs");
    scene.connect(&remote).await;
    let value = scene.canary("value");
    scene.vault_secret("fine", spec(kind, json!([inline("FINE", &kind.name("fine"), &value)]))).await;
    let two = json!([inline("OWN", &kind.name("own"), &value), inline("TAKEN", &kind.name("taken"), &value)]);
    scene.vault_secret("refused", spec(kind, two)).await;
    scene.vault_secret("waits", spec(kind, json!([entry("WAITS", &kind.name("waits"), "source/value")]))).await;
    scene.ready("fine").await;
    scene.not_ready("refused", "RemoteEntryExists").await;
    scene.not_ready("waits", "SourceMissing").await;
}

/// The cells of the line of a table that begins with a word.
fn cells<'t>(text: &'t str, first: &str) -> Vec<&'t str> {
    let line = text.lines().find(|line| line.split_whitespace().next() == Some(first));
    line.unwrap_or_else(|| panic!("no line of {first} in\n{text}")).split_whitespace().collect()
}

#[tokio::test]
async fn u1_status_of_many() {
    let scene = Scene::new("u1").await;
    let kind = Kind::Kelvin;
    three(&scene, kind).await;
    let before = scene.list("VaultSecret").await;

    let ran = scene.plugin(&["status"]).await;
    assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{ran:?}");
    assert!(ran.out.starts_with("NAME      CONNECTION   SYNCED   WAITING   READY   REASON "), "{}", ran.out);
    assert_eq!(cells(&ran.out, "fine")[..6], ["fine", "kelvin", "1/1", "0", "True", "Synced"], "{}", ran.out);
    assert_eq!(cells(&ran.out, "refused")[2..6], ["1/2", "0", "False", "RemoteEntryExists"], "{}", ran.out);
    assert_eq!(cells(&ran.out, "waits")[2..6], ["0/1", "1", "False", "SourceMissing"], "{}", ran.out);
    let adopt = format!("kubectl vaultsecret adopt refused -n {}", scene.namespace);
    assert!(ran.out.contains(&adopt), "{}", ran.out);
    let sum = "3 VaultSecrets: 1 ready, 0 queued, 2 blocked, 0 failing; 2/4 entries in sync\n1 entry waits for what blocks them";
    assert!(ran.out.contains(sum), "{}", ran.out);

    let ran = scene.plugin(&["status", "-o", "wide"]).await;
    assert!(ran.out.lines().next().unwrap().ends_with("TARGET    MESSAGE"), "{}", ran.out);
    let everywhere = scene.plugin(&["status", "-A"]).await;
    assert_eq!(everywhere.code, 0, "{everywhere:?}");
    let line = everywhere.out.lines().find(|line| line.starts_with(&scene.namespace) && line.contains(" fine "));
    assert!(line.is_some() && everywhere.out.starts_with("NAMESPACE "), "{}", everywhere.out);

    let json = scene.plugin(&["status", "-o", "json"]).await.json();
    assert_eq!(json["summary"]["blocked"], 2, "{json}");
    assert_eq!(json["items"][1]["entries"].as_array().unwrap().len(), 2, "{json}");
    assert_eq!(json["connections"][0]["requestsPerMinute"], 60_000, "{json}");
    let yaml = scene.plugin(&["status", "-o", "yaml"]).await.out;
    let yaml: Value = serde_saphyr::from_str(&yaml).unwrap();
    assert_eq!(yaml["items"][0]["name"], "fine");
    let after = scene.list("VaultSecret").await;
    assert!(before.iter().zip(&after).all(|(a, b)| a.version() == b.version()), "looking changes nothing");
}

#[tokio::test]
async fn u2_status_of_one() {
    let scene = Scene::new("u2").await;
    let kind = Kind::Kelvin;
    three(&scene, kind).await;
    let ran = scene.plugin(&["status", "fine"]).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    for part in [
        "Ready:       True, Synced",
        "Connection:  VaultConnection/kelvin (Kelvin), Connected",
        "Entries:     1 of 1 in sync",
    ] {
        assert!(ran.out.contains(part), "{part}: {}", ran.out);
    }
    assert_eq!(cells(&ran.out, "FINE")[1..4], ["fine", "InSync", "1"], "{}", ran.out);

    let ran = scene.plugin(&["status", "refused"]).await;
    assert_eq!(ran.code, 2, "{ran:?}");
    assert!(
        ran.out.contains("Next:        if what is there may be overwritten: kubectl vaultsecret adopt refused"),
        "{}",
        ran.out
    );
    assert_eq!(cells(&ran.out, "TAKEN")[1..3], ["taken", "Conflict"], "{}", ran.out);
    let json = scene.plugin(&["status", "refused", "-o", "json"]).await;
    assert_eq!((json.code, &json.json()["reason"]), (2, &json!("RemoteEntryExists")));
    assert_eq!(json.json()["connectionState"]["reason"], "Connected");
}

#[tokio::test]
async fn u3_mistakes_are_one_sentence() {
    let scene = Scene::new("u3").await;
    three(&scene, Kind::Kelvin).await;
    let ran = scene.plugin(&["status", "refuse"]).await;
    let said = format!(
        "error: there is no VaultSecret \"refuse\" in namespace {}; there is refused, fine, waits\n",
        scene.namespace
    );
    assert_eq!((ran.code, ran.err), (1, said));
    let ran = scene.plugin(&["status", "-n", "nowhere-at-all"]).await;
    assert_eq!((ran.code, &*ran.err), (0, "There is no VaultSecret in namespace nowhere-at-all.\n"));
    let ran = scene.plugin(&["status", "-n", "nowhere-at-all", "-o", "json"]).await;
    assert_eq!((ran.code, &ran.json()["items"]), (0, &json!([])));

    let stranger = scene.account("stranger", &[]).await;
    for args in [
        &["status"][..],
        &["status", "fine"],
        &["rotate", "fine", "FINE"],
        &["adopt", "fine"],
        &["approve", "kelvin", "--same"],
    ] {
        let ran = scene.plugin_as(&stranger, args).await;
        assert_eq!(ran.code, 1, "{args:?}: {ran:?}");
        assert!(ran.err.starts_with("error: you may not ") && ran.err.lines().count() == 1, "{args:?}: {ran:?}");
    }
    let ran = scene.plugin_as(&stranger, &["status", "-A"]).await;
    assert!(ran.code == 1 && ran.err.contains("-n NAMESPACE"), "{ran:?}");
    // Who may look and not write hears it before anything is changed.
    let reader = scene.account("reader", &["get", "list", "watch"]).await;
    let ran = scene.eventually("the rights are known", async || {
        let ran = scene.plugin_as(&reader, &["status", "refused"]).await;
        (ran.code == 2).then_some(ran)
    });
    assert!(ran.await.out.contains("note: ClusterVaultConnections could not be looked at: you may not list them"));
    let ran = scene.plugin_as(&reader, &["adopt", "refused", "--yes"]).await;
    assert!(ran.code == 1 && ran.err.contains("you may not patch VaultSecrets in namespace"), "{ran:?}");

    let missing = std::path::Path::new("/nonexistent/kubeconfig");
    let ran = scene.plugin_as(missing, &["status"]).await;
    assert!(
        ran.code == 1 && ran.err.starts_with("error: there is no cluster to ask: KUBECONFIG names no usable file"),
        "{ran:?}"
    );
    let ran = scene.plugin(&["status", "--context", "another"]).await;
    assert!(ran.code == 1 && ran.err.contains("context \"another\""), "{ran:?}");
    for args in [
        &["status", "a", "b"][..],
        &["status", "-A", "fine"],
        &["approve", "kelvin"],
        &["rotate", "fine"],
        &["status", "-w", "-o", "json"],
        &["approve", "pod/x", "--new"],
    ] {
        let ran = scene.plugin(args).await;
        assert_eq!(ran.code, 64, "{args:?}: {ran:?}");
    }
    let ran = scene.plugin(&["status", "--help"]).await;
    assert!(ran.code == 0 && ran.out.contains("Usage: kubectl vaultsecret status [OPTIONS] [NAME]"), "{ran:?}");
}

/// It follows by a watch, and ends when all is Ready, or when the time is over.
#[tokio::test]
async fn u4_waiting_ends() {
    let scene = Scene::new("u4").await;
    let kind = Kind::Kelvin;
    let remote = scene.remote(kind).await;
    scene
        .connect_as(kind.member(), &remote, json!({"limits": {"requestsPerMinute": 240, "burst": 1, "maxInFlight": 1}}))
        .await;
    scene.source("source", &[("value", &scene.canary("value"))]).await;
    for name in ["one", "two", "three", "four"] {
        let data: Vec<Value> =
            (0..4).map(|n| entry(&format!("KEY{n}"), &kind.name(&format!("{name} {n}")), "source/value")).collect();
        scene.vault_secret(name, spec(kind, json!(data))).await;
    }
    let wait = scene.plugin_command(scene.cluster.admin_kubeconfig(), &["status", "--wait"]).spawn().unwrap();
    let one = scene.plugin(&["status", "three", "--wait", "--timeout", "5m"]).await;
    assert_eq!(one.code, 0, "{one:?}");
    assert!(one.out.contains("Ready:       True, Synced"), "{one:?}");
    let all = scene.ran(&wait.wait_with_output().await.unwrap());
    assert_eq!(all.code, 0, "{all:?}");
    assert!(all.out.contains("progress: "), "{all:?}");
    assert!(
        all.out.ends_with("\n4 VaultSecrets: 4 ready, 0 queued, 0 blocked, 0 failing; 16/16 entries in sync\n"),
        "{all:?}"
    );
    let json = scene.plugin(&["status", "--wait", "-o", "json"]).await;
    assert_eq!(json.json()["summary"]["ready"], 4);

    let over = merged(spec(kind, json!([entry("A", "a", "nowhere/value")])), json!({}));
    scene.vault_secret("blocked", over).await;
    scene.not_ready("blocked", "SourceMissing").await;
    let ran = scene.plugin(&["status", "--wait", "--timeout", "500ms"]).await;
    assert_eq!(ran.code, 2, "{ran:?}");
    assert!(ran.err.ends_with("1 of 5 not Ready\n"), "{ran:?}");
    // One that goes while it is waited for is an error and no success.
    let wait =
        scene.plugin_command(scene.cluster.admin_kubeconfig(), &["status", "blocked", "--wait"]).spawn().unwrap();
    scene.delete("VaultSecret", "blocked").await;
    let gone = scene.ran(&wait.wait_with_output().await.unwrap());
    assert_eq!(gone.code, 1, "{gone:?}");
}
