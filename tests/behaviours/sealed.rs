//! Behaviours 41 and 42: sealed values reach the place that they were sealed for, and no other.

use devkit::remotes::Op;
use serde_json::json;

use crate::common::{Kind, Scene, for_each_remote, merged, sealed};

async fn b41_sealed_value_arrives(kind: Kind) {
    let scene = Scene::new("b41").await;
    let remote = scene.remote(kind).await;
    scene.connect(&remote).await;
    let (name, value) = (kind.name("the value"), scene.canary("value"));
    let text = scene.seal("app", "VALUE", &value);
    let spec = json!({"connectionRef": {"name": kind.member()}, "data": [sealed("VALUE", &name, &text)]});
    scene.vault_secret("app", spec.clone()).await;
    scene.ready("app").await;
    assert_eq!(remote.value(&name).as_deref(), Some(&*value));
    scene.secret_has("app", "VALUE", &value).await;

    // Sealed again it is another text and the same value: nothing is sent.
    let again = scene.seal("app", "VALUE", &value);
    assert_ne!(again, text);
    scene.edit("app", merged(spec.clone(), json!({"data": [sealed("VALUE", &name, &again)]}))).await;
    scene.observed("app").await;
    scene.two_more_probes(&remote).await;
    assert_eq!(remote.write_calls(), 1);

    // A new value is sent; one that is no sealed value leaves all as it is.
    let new = scene.canary("new value");
    let text = scene.seal("app", "VALUE", &new);
    scene.edit("app", merged(spec.clone(), json!({"data": [sealed("VALUE", &name, &text)]}))).await;
    scene.remote_has(&remote, &name, &new).await;
    scene.secret_has("app", "VALUE", &new).await;
    // One character of the middle line is another one.
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let other = if lines[2].starts_with('A') { "B" } else { "A" };
    lines[2].replace_range(..1, other);
    let damaged = lines.join("\n");
    scene.edit("app", merged(spec, json!({"data": [sealed("VALUE", &name, &damaged)]}))).await;
    let message = scene.not_ready("app", "ValueRefused").await.ready().message;
    assert!(message.contains("vaultsecret seal --namespace"), "{message}");
    assert_eq!(remote.history(&name), [value, new.clone()]);
    scene.secret_has("app", "VALUE", &new).await;
}

/// A value that is only shown to workloads, and one that is bytes.
async fn b41_projected_only_and_bytes(kind: Kind) {
    let scene = Scene::new("b41-bytes").await;
    let remote = scene.remote(kind).await;
    scene.connect(&remote).await;
    let (name, value) = (kind.name("bytes"), scene.canary("value"));
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("bytes");
    std::fs::write(&file, [0xff, 0xfe, 0x00]).unwrap();
    let file = file.to_str().unwrap();
    let bytes = scene.seal_command(&["-n", &scene.namespace, "--name=app", "--key=BYTES", "--from-file", file], "");
    let mut data = [sealed("BYTES", &name, &bytes), sealed("SHOWN", "x", &scene.seal("app", "SHOWN", &value))];
    data[0]["encoding"] = json!("Base64");
    data[1] = merged(data[1].clone(), json!({"push": false}));
    scene.vault_secret("app", json!({"connectionRef": {"name": kind.member()}, "data": data})).await;
    scene.ready("app").await;
    assert_eq!(remote.value(&name).as_deref(), Some("//4A"));
    let secret = scene.secret_has("app", "SHOWN", &value).await;
    assert_eq!(secret.secret_value("BYTES").unwrap(), [0xff, 0xfe, 0x00]);
    assert_eq!(remote.count(Op::Create), 1);
}

/// Who may edit one namespace copies a sealed value from another: it is opened for nobody there.
async fn b42_moved_elsewhere_is_refused(kind: Kind) {
    let scene = Scene::new("b42").await;
    let attacker = scene.beside("b42-attacker").await;
    let value = scene.canary("value");
    attacker.secret_text(&value);
    let text = scene.seal("app", "VALUE", &value);
    let remote = attacker.remote(kind).await;
    attacker.connect(&remote).await;
    let spec = |entry: &str, key: &str, text: &str| {
        json!({"connectionRef": {"name": kind.member()}, "data": [sealed(key, &kind.name(entry), text)],
               "target": {"when": "Immediately"}})
    };
    attacker.vault_secret("app", spec("one", "VALUE", &text)).await;
    let message = attacker.not_ready("app", "ValueRefused").await.ready().message;
    assert!(message.contains("sealed for another namespace"), "{message}");
    assert!(message.contains(&format!("--namespace {} --name app --key VALUE", attacker.namespace)), "{message}");
    assert!(!message.replace(&attacker.namespace, "").contains(&scene.namespace), "it names the other: {message}");

    // In its own namespace, under another name and under another key.
    let own = attacker.seal("app", "VALUE", &value);
    attacker.vault_secret("other", spec("two", "VALUE", &own)).await;
    let message = attacker.not_ready("other", "ValueRefused").await.ready().message;
    assert!(message.contains("sealed for key VALUE of VaultSecret app"), "{message}");
    attacker.vault_secret("app2", spec("three", "OTHER", &attacker.seal("app2", "VALUE", &value))).await;
    attacker.not_ready("app2", "ValueRefused").await;
    for name in ["app", "other", "app2"] {
        assert_eq!(attacker.get("Secret", name).await, None, "{name}");
    }
    assert_eq!(remote.write_calls(), 0);
}

#[tokio::test]
async fn b42_what_is_no_sealed_value_is_not_even_stored() {
    let scene = Scene::new("b42-schema").await;
    let value = scene.canary("value");
    let spec =
        |from: serde_json::Value| json!({"connectionRef": {"name": "c"}, "data": [{"key": "K", "valueFrom": from}]});
    let text = scene.seal("app", "K", &value);
    for (from, part) in [
        (json!({"sealed": value}), "must be what vaultsecret seal printed"),
        (json!({"sealed": ""}), "must be what vaultsecret seal printed"),
        (json!({"sealed": format!("{text}{}", "x".repeat(98_304))}), "98304"),
        (json!({"sealed": text, "generate": {"uuid": {}}}), "exactly one of"),
    ] {
        let refused = scene.try_create("VaultSecret", "app", json!({"spec": spec(from)})).await.unwrap_err();
        let refused = refused.to_string();
        assert!(refused.contains(part), "{refused}");
        scene.expect_no_secret("the refusal", &refused);
    }
}

/// Everybody may read the recipients and seal; nobody but an administrator may read what opens them.
#[tokio::test]
async fn b41_everybody_may_seal() {
    let scene = Scene::new("b41-anybody").await;
    scene.create("ServiceAccount", "somebody", json!({})).await;
    let kubeconfig = scene.cluster.service_account_kubeconfig(&scene.namespace, "somebody").await.unwrap();
    let value = scene.canary("value");
    // The namespace is that of the kubeconfig.
    let output = scene.seal_as(&kubeconfig, &["--name=app", "--key=VALUE"], &value);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let place = ["-n", &scene.namespace, "--name=app", "--key=VALUE", "--validate"];
    assert!(scene.seal_command(&place, &text).contains("opens"));
    let output = scene.seal_as(&kubeconfig, &place, &text);
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("you may not") && said.contains("vaultsecret-sealing-identities"), "{said}");
}

for_each_remote!(b41_sealed_value_arrives, b41_projected_only_and_bytes, b42_moved_elsewhere_is_refused);
