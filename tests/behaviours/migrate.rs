//! Behaviours M1 and M2: what `vaultsecret migrate` writes is taken by the API server, and the move loses and doubles nothing.

use std::process::Stdio;

use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;

use crate::common::{Kind, Object, Scene};

/// The objects that manifests become, and what is left.
async fn migrate(manifests: &str, args: &[&str]) -> (Vec<Value>, String) {
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_vaultsecret"));
    command.args(["migrate", "-f", "-"]).args(args).env_clear();
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(manifests.as_bytes()).await.unwrap();
    let output = child.wait_with_output().await.unwrap();
    let left = String::from_utf8(output.stderr).unwrap();
    (serde_saphyr::from_multiple(&String::from_utf8(output.stdout).unwrap()).unwrap(), left)
}

/// A PushSecret that has pushed: the entries are there, and the operator takes them over, one write each, when it is let.
#[tokio::test]
async fn m1_a_push_secret_moves() {
    let scene = Scene::new("m1").await;
    let remote = scene.remote(Kind::Kelvin).await;
    scene.connect(&remote).await;
    let (user, key) = (scene.canary("user"), scene.canary("key"));
    scene.source("stripe-source", &[("user", &user), ("api-key", &key)]).await;
    remote.foreign_put("stripe-api-key", &key);
    remote.foreign_put("stripe-basic", &format!("{user}:{key}"));
    let text = std::fs::read_to_string(crate::common::in_repository("tests/migrate/eso.yaml")).unwrap();
    let (objects, _) = migrate(&text, &["--connection", "kelvin", "--suspend"]).await;
    let stripe = objects.iter().find(|o| o["kind"] == "VaultSecret" && o["metadata"]["name"] == "stripe");
    let mut manifest = stripe.unwrap().clone();
    manifest["metadata"]["namespace"] = json!(scene.namespace);
    scene.apply(&manifest).await;
    scene.not_ready("stripe", "Suspended").await;
    scene.two_more_probes(&remote).await;
    assert_eq!(remote.write_calls(), 0, "suspended, nothing is written");
    manifest["spec"].as_object_mut().unwrap().remove("suspend");
    scene.edit("stripe", json!({"suspend": false})).await;
    scene.ready("stripe").await;
    assert_eq!(remote.value("stripe-api-key"), Some(key.clone()));
    assert_eq!(remote.value("stripe-basic"), Some(format!("{user}:{key}")));
    assert_eq!((remote.entries().len(), remote.write_calls()), (2, 2), "each was written once, and none made");
    assert_eq!(scene.get("Secret", "stripe").await, None, "a PushSecret makes no Secret");
}

/// Everything that is written of the three projects' manifests is taken by the API server, as it stands.
#[tokio::test]
async fn m2_the_api_server_takes_what_is_written() {
    let scene = Scene::new("m2").await;
    let mut count = 0;
    for file in ["eso", "vso", "infisical"] {
        let path = crate::common::in_repository(&format!("tests/migrate/{file}.yaml"));
        let text = std::fs::read_to_string(path).unwrap();
        let (objects, left) =
            migrate(&text, &["--connection", "kelvin", "--fields", "apps/banner=text", "--suspend"]).await;
        assert!(!left.contains("would be refused"), "{left}");
        for mut manifest in objects {
            // Those of the cluster have names of their own, so that no other test meets them.
            match manifest["kind"].as_str().unwrap() {
                "ClusterVaultConnection" => {
                    let name = manifest["metadata"]["name"].as_str().unwrap();
                    manifest["metadata"]["name"] = json!(format!("{}-{name}", scene.namespace));
                }
                _ => manifest["metadata"]["namespace"] = json!(scene.namespace),
            }
            let name = manifest["metadata"]["name"].as_str().unwrap().to_owned();
            scene.apply(&manifest).await;
            if manifest["kind"] == "VaultSecret" {
                scene.until("VaultSecret", &name, "was looked at", Object::is_observed).await;
            }
            count += 1;
        }
    }
    assert!(count >= 14, "{count}");
}
