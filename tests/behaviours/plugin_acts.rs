//! Behaviours U5 to U8: `rotate`, `adopt` and `approve` ask for one thing, once; completion.

use serde_json::{Value, json};

use super::trouble_freeze::{filled, frozen};
use crate::common::{Kind, Object, Scene, generated, inline};

const ADOPT: &str = "vaultsecret.dev/adopt";

fn spec(kind: Kind, data: Value) -> Value {
    json!({"connectionRef": {"name": kind.member()}, "data": data})
}

#[tokio::test]
async fn u5_rotate_makes_one_more_write() {
    let scene = Scene::new("u5").await;
    let kind = Kind::Kelvin;
    let remote = scene.remote(kind).await;
    scene.connect(&remote).await;
    let data =
        || json!([generated("MADE", "made", 1), generated("OTHER", "other", 7), inline("REGION", "region", "eu")]);
    scene.vault_secret_by("kubectl-create", false, "app", spec(kind, data())).await;
    scene.ready("app").await;
    let first = remote.value("made").unwrap();
    scene.secret_text(&first);
    let ran = scene.plugin(&["rotate", "app", "REGION"]).await;
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.err.contains("\"REGION\" is not generated") && ran.err.contains("these are: MADE, OTHER"), "{ran:?}");
    let ran = scene.plugin(&["rotate", "app", "made"]).await;
    assert!(ran.code == 1 && ran.err.contains("there is no key \"made\""), "{ran:?}");
    assert_eq!(scene.expect("VaultSecret", "app").await.number("/metadata/generation"), 1, "nothing was changed");

    let ran = scene.plugin(&["rotate", "app", "MADE", "--wait"]).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(ran.out.contains("(epoch 2, was 1)") && ran.out.contains("is at the remote and in the Secret"), "{ran:?}");
    let second = remote.value("made").unwrap();
    scene.secret_text(&second);
    assert_ne!(first, second);
    assert_eq!(["made", "other", "region"].map(|name| remote.history(name).len()), [2, 1, 1], "one more write");
    let secret = scene.expect("Secret", "app").await;
    assert_eq!(secret.secret_value("MADE").as_deref(), Some(second.as_bytes()), "it was there when the command ended");
    let object = scene.ready("app").await;
    assert_eq!((object.number("/spec/data/0/valueFrom/generate/epoch"), object.number("/metadata/generation")), (2, 2));

    // What is applied from a manifest is changed there.
    scene.vault_secret_by("argocd-controller", true, "synced", spec(kind, json!([generated("A", "a", 3)]))).await;
    scene.ready("synced").await;
    let ran = scene.plugin(&["rotate", "synced", "A"]).await;
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.err.contains("by argocd-controller") && ran.err.contains("epoch: 4        # was 3"), "{ran:?}");
    assert_eq!(remote.history("a").len(), 1);
    let ran = scene.plugin(&["rotate", "synced", "A", "--force", "--wait"]).await;
    assert_eq!((ran.code, remote.history("a").len()), (0, 2), "{ran:?}");
    // Nothing sets back what a person has applied: it is done, with a word about the manifest.
    scene.vault_secret_by("kubectl", true, "applied", spec(kind, json!([generated("B", "b", 3)]))).await;
    scene.ready("applied").await;
    let ran = scene.plugin(&["rotate", "applied", "B", "--wait"]).await;
    assert_eq!((ran.code, remote.history("b").len()), (0, 2), "{ran:?}");
    assert!(ran.out.contains("in a manifest by kubectl") && ran.out.contains("epoch: 4"), "{ran:?}");
    // In time, or 2: nobody makes the value of one that is suspended.
    scene.edit("app", json!({"suspend": true})).await;
    scene.not_ready("app", "Suspended").await;
    let ran = scene.plugin(&["rotate", "app", "MADE", "--force", "--wait", "--timeout", "500ms"]).await;
    assert!(ran.code == 2 && ran.out.contains("spec.suspend is set"), "{ran:?}");
}

#[tokio::test]
async fn u6_adopt_takes_over_what_is_refused_and_can_say_so_again() {
    let scene = Scene::new("u6").await;
    let kind = Kind::Kelvin;
    let remote = scene.remote(kind).await;
    scene.connect(&remote).await;
    for name in ["a", "b", "held"] {
        remote.foreign_put(name, "theirs");
    }
    let value = scene.canary("value");
    let all = || spec(kind, json!([inline("A", "a", &value), inline("B", "b", &value), inline("C", "c", &value)]));
    scene.vault_secret("app", all()).await;
    scene.not_ready("app", "RemoteEntryExists").await;
    let ran = scene.plugin(&["adopt", "app", "C", "--yes"]).await;
    assert!(ran.code == 1 && ran.err.contains("\"C\" is no refused entry; refused are: A, B"), "{ran:?}");
    assert_eq!(remote.value("a").as_deref(), Some("theirs"), "nothing was changed");

    // There is no terminal, so nobody is asked.
    let ran = scene.plugin(&["adopt", "app", "A", "--wait"]).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(ran.out.contains("\"a\" at VaultConnection/kelvin (key A)"), "{ran:?}");
    assert_eq!((remote.value("a"), remote.value("b").as_deref()), (Some(value.clone()), Some("theirs")));
    let ran = scene.plugin(&["adopt", "app", "--yes", "--wait"]).await;
    assert_eq!((ran.code, remote.value("b")), (0, Some(value.clone())), "{ran:?}");
    scene.ready("app").await;
    let ran = scene.plugin(&["adopt", "app", "--yes"]).await;
    assert!(ran.code == 1 && ran.err.contains("nothing to adopt"), "{ran:?}");

    // The same name once more: it was let go, and is somebody else's now.
    scene.edit("app", json!({"data": [inline("C", "c", &value)]})).await;
    scene.until("VaultSecret", "app", "has one row", |app: &Object| app.rows().len() == 1 && app.is_ready()).await;
    remote.foreign_put("b", "theirs again");
    scene.edit("app", json!({"data": [inline("B", "b", &value), inline("C", "c", &value)]})).await;
    let refused = scene.not_ready("app", "RemoteEntryExists").await;
    assert_eq!(refused.text("/status/lastHandledAdopt"), "b");
    let ran = scene.plugin(&["adopt", "app", "B", "--yes", "--wait"]).await;
    assert_eq!((ran.code, remote.value("b")), (0, Some(value.clone())), "{ran:?}");
    let object = scene.ready("app").await;
    assert_eq!(object.at("/metadata/annotations")[ADOPT], "b,");

    // One that another VaultSecret has is none that can be adopted.
    scene.vault_secret("other", spec(kind, json!([inline("B", "b", &value)]))).await;
    scene.not_ready("other", "OwnedByAnother").await;
    let ran = scene.plugin(&["adopt", "other", "--yes"]).await;
    assert!(ran.code == 1 && ran.err.contains("nothing to adopt"), "{ran:?}");
}

#[tokio::test]
async fn u7_approve_releases_a_freeze() {
    let scene = Scene::new("u7").await;
    let kind = Kind::Kelvin;
    let filled = filled(&scene, kind, json!({})).await;
    let ran = scene.plugin(&["approve", "kelvin", "--same", "--yes"]).await;
    assert!(ran.code == 1 && ran.err.contains("VaultConnection/kelvin is not frozen"), "{ran:?}");
    filled.remote.open_tenant("other");
    let token = frozen(&scene, kind.member()).await;
    scene.not_ready("one", "RemoteDiverged").await;
    let status = scene.plugin(&["status", "one"]).await;
    assert_eq!(status.code, 2, "{status:?}");
    let command = format!("kubectl vaultsecret approve kelvin -n {} --same", scene.namespace);
    assert!(status.out.contains(&format!("token {token}; released by: {command}")), "{status:?}");
    assert_eq!(scene.plugin(&["approve", "kelvin"]).await.code, 64, "same or new has to be said");
    let ran = scene.plugin(&["approve", "cvconn/kelvin", "--new", "--yes"]).await;
    assert!(ran.code == 1 && ran.err.contains("there is no ClusterVaultConnection \"kelvin\""), "{ran:?}");

    assert_eq!(frozen(&scene, kind.member()).await, token, "nothing was released");
    let ran = scene.plugin(&["approve", "vconn/kelvin", "--new"]).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(ran.out.contains(&token) && ran.out.contains("Entries of ours: 9"), "{ran:?}");
    scene.connection_is("kelvin", "Connected").await;
    scene.ready("many").await;
    scene.ready("one").await;
    assert_eq!(filled.remote.entries_in("other").len(), 9);
    assert_eq!(scene.plugin(&["approve", "kelvin", "--same", "--yes"]).await.code, 1);
}

/// kubectl itself finds the plugin, and asks it what may stand where something is being typed.
#[tokio::test]
async fn u8_kubectl_finds_and_completes_it() {
    let scene = Scene::new("u8").await;
    let kind = Kind::Kelvin;
    let remote = scene.remote(kind).await;
    scene.connect(&remote).await;
    scene.vault_secret("app", spec(kind, json!([inline("A", "a", &scene.canary("value"))]))).await;
    scene.ready("app").await;
    let bin = tempfile::tempdir().unwrap();
    for name in ["kubectl-vaultsecret", "kubectl_complete-vaultsecret"] {
        std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_vaultsecret"), bin.path().join(name)).unwrap();
    }
    let kubectl = async |args: &[&str]| {
        let program = scene.cluster.binaries().kubectl().expect("kubectl is built with the control plane");
        let mut command = tokio::process::Command::new(program);
        command.args(args).env_clear().env("HOME", bin.path()).env("PATH", bin.path());
        command.env("KUBECONFIG", scene.cluster.admin_kubeconfig());
        let ran = scene.ran(&command.output().await.unwrap());
        assert_eq!(ran.code, 0, "{args:?}: {ran:?}");
        ran.out
    };
    let version = kubectl(&["vaultsecret", "--version"]).await;
    assert_eq!(version.split(' ').take(2).collect::<Vec<_>>(), ["kubectl", "vaultsecret"]);
    assert!(kubectl(&["vaultsecret", "status", "app", "-n", &scene.namespace]).await.contains("Ready:       True"));
    let completed = async |words: &[&str]| kubectl(&[&["__complete", "vaultsecret"], words].concat()).await;
    assert!(completed(&["ro"]).await.contains("rotate\t"), "{}", completed(&["ro"]).await);
    // A person does not wait for a slow cluster: then nothing is offered.
    let names = async |command: &str, typed: &str, name: &str| {
        let what = format!("{name} is offered");
        scene
            .eventually(&what, async || {
                completed(&[command, "-n", &scene.namespace, typed]).await.contains(&format!("{name}\n"))
            })
            .await;
    };
    names("status", "", "app").await;
    names("approve", "k", "kelvin").await;
    for shell in ["bash", "zsh", "fish"] {
        let script = scene.plugin(&["completion", shell]).await;
        assert!(script.code == 0 && script.out.contains("rotate") && script.out.contains("vaultsecret"), "{script:?}");
    }
}
