//! Install, upgrade, uninstall, as `helm` does them at a real API server. The image does not exist, so no Pod ever runs; that
//! Pods are made shows that they are admitted.

use std::path::Path;

use devkit::controlplane::{ControlPlane, Options, chain};
use kube::Client;
use kube::api::ListParams;
use serde_json::{Value, json};

use crate::attempts::Call::Create;
use crate::attempts::{allowed, at, with};
use crate::cluster::{api, established, eventually, install_monitoring, namespace, try_apply};
use crate::helm::{SYSTEM, chart, helm, render_with, values};

/// The chart as it was in an earlier version: definitions that know less.
fn earlier(folder: &Path) -> String {
    let copy = folder.join("vaultsecret-operator");
    copy_folder(&chart(), &copy);
    let manifest = copy.join("Chart.yaml");
    let text = std::fs::read_to_string(&manifest).unwrap();
    let older =
        text.replace("\nversion: ", "\nversion: 0.0.1-was-").replace("\nappVersion: ", "\nappVersion: 0.0.1-was-");
    assert_ne!(older, text);
    std::fs::write(&manifest, older).unwrap();
    let definition = copy.join("files/crds/vaultsecrets.yaml");
    let text = std::fs::read_to_string(&definition).unwrap();
    let older = text.replace("    - vsec\n", "    - vsecold\n");
    assert_ne!(older, text);
    std::fs::write(&definition, older).unwrap();
    copy.display().to_string()
}

fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy_folder(&entry.path(), &target),
            false => drop(std::fs::copy(entry.path(), target).unwrap()),
        }
    }
}

async fn own_plane() -> ControlPlane {
    let started = ControlPlane::start(Options::default()).await;
    started.unwrap_or_else(|error| panic!("no control plane: {}", chain(&error)))
}

async fn run(plane: &ControlPlane, args: &[&str]) -> String {
    let kubeconfig = plane.admin_kubeconfig().display().to_string();
    let mut all: Vec<String> = args.iter().map(|&arg| arg.to_owned()).collect();
    all.extend(["--namespace", SYSTEM, "--kubeconfig", &kubeconfig].map(str::to_owned));
    let done = tokio::task::spawn_blocking(move || helm(&all.iter().map(String::as_str).collect::<Vec<_>>())).await;
    done.unwrap().unwrap_or_else(|complaint| panic!("helm {args:?}: {complaint}"))
}

/// uid of an object that must be there.
async fn uid(client: &Client, head: &Value) -> String {
    let text = |pointer: &str| head.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let place = api(client, text("/apiVersion"), text("/kind"), text("/metadata/namespace"));
    let found = place.get(text("/metadata/name")).await;
    found.unwrap_or_else(|error| panic!("{head}: {error}")).metadata.uid.unwrap()
}

async fn short_name(client: &Client) -> Value {
    let definitions = api(client, "apiextensions.k8s.io/v1", "CustomResourceDefinition", "");
    let found = definitions.get("vaultsecrets.vaultsecret.dev").await.unwrap();
    found.data.pointer("/spec/names/shortNames/0").unwrap().clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upgrade_and_an_uninstall_keep_what_matters() {
    let plane = own_plane().await;
    let client = plane.admin_client();
    let folder = tempfile::tempdir().unwrap();
    namespace(&client, SYSTEM, json!({"pod-security.kubernetes.io/enforce": "restricted"})).await;
    namespace(&client, "shop", json!({})).await;
    let (earlier, chart) = (earlier(folder.path()), chart().display().to_string());

    let notes = run(&plane, &["install", "secrets", &earlier]).await;
    assert!(notes.contains("for all namespaces") && notes.contains("No image is published yet"), "{notes}");
    established(&client, "vaultsecrets.vaultsecret.dev").await;
    assert_eq!(short_name(&client).await, "vsecold");
    // Made by the operator, which does not run here, and by a user.
    let marks = |role: &str| {
        json!({"metadata": {
            "labels": {"vaultsecret.dev/role": role, "app.kubernetes.io/managed-by": "vaultsecret-operator"},
            "annotations": {"vaultsecret.dev/made-for": "app/6d4f"},
        }, "data": {"k1": "dg=="}})
    };
    let spec = json!({"connectionRef": {"name": "kelvin"}, "data": [{"key": "A", "value": "a"}]});
    let connection = json!({"spec": {"mixpeek": {"auth": {"apiKeyRef": {"name": "credentials", "key": "key"}}}}});
    let mut vault_connection = at("VaultSecret", "shop", "kelvin");
    vault_connection["kind"] = json!("VaultConnection");
    let objects = [
        with(at("Secret", SYSTEM, "vaultsecret-key-ring"), marks("key-ring")),
        with(at("Secret", SYSTEM, "vaultsecret-sealing-identities"), marks("sealing")),
        with(at("Secret", "shop", "app-escrow"), marks("escrow")),
        with(at("Secret", "shop", "app"), marks("target")),
        with(at("VaultSecret", "shop", "app"), json!({"spec": spec})),
        with(vault_connection, connection),
    ];
    let mut uids = Vec::new();
    for object in &objects {
        allowed(&client, "an object", Create(object.clone())).await;
        uids.push(uid(&client, object).await);
    }
    let all_are_there = async |when: &str| {
        for (object, before) in objects.iter().zip(&uids) {
            assert_eq!(uid(&client, object).await, *before, "{} {when}", object["metadata"]["name"]);
        }
    };

    run(&plane, &["upgrade", "secrets", &chart]).await;
    assert_eq!(short_name(&client).await, "vsec", "the definitions are upgraded");
    all_are_there("after an upgrade").await;
    // Another way of running it, with everything of the first gone that is not part of it.
    let namespaced = values("namespaced");
    let flags = ["--set", "crds.install=true", "--set", "watch.namespaces={shop}"];
    run(&plane, &[&["upgrade", "secrets", &chart, "--values", &namespaced], &flags[..]].concat()).await;
    for kind in ["ClusterRole", "ClusterRoleBinding"] {
        let left = api(&client, "rbac.authorization.k8s.io/v1", kind, "").get_opt("vaultsecret-operator").await;
        assert!(left.unwrap().is_none(), "{kind}");
    }
    let policies = api(&client, "admissionregistration.k8s.io/v1", "ValidatingAdmissionPolicy", "");
    assert!(policies.list(&ListParams::default()).await.unwrap().items.is_empty());
    all_are_there("after a change of what is watched").await;

    // Definitions that are left to somebody else from now on are not deleted by that.
    run(&plane, &["upgrade", "secrets", &chart, "--set", "crds.install=false"]).await;
    all_are_there("when the definitions are somebody else's").await;

    // What the hook does is looked at in uninstall.rs: no node runs its Pod here.
    run(&plane, &["uninstall", "secrets", "--no-hooks"]).await;
    let deployments = api(&client, "apps/v1", "Deployment", SYSTEM);
    eventually("the Deployment is gone", async || deployments.get_opt("vaultsecret-operator").await.unwrap().is_none())
        .await;
    all_are_there("after an uninstall").await;

    run(&plane, &["install", "secrets", &chart]).await;
    all_are_there("after a new installation").await;
}

/// Everything that the chart can render is taken, without a field that the API server does not know, and its Pods pass the
/// strictest Pod security.
#[tokio::test]
async fn every_rendering_is_taken_by_the_api_server() {
    let plane = own_plane().await;
    let client = plane.admin_client();
    install_monitoring(&client).await;
    for place in ["shop", "blog"] {
        namespace(&client, place, json!({})).await;
    }
    for set in ["default", "namespaced", "everything"] {
        let levels = json!({
            "pod-security.kubernetes.io/enforce": "restricted", "pod-security.kubernetes.io/enforce-version": "latest",
        });
        namespace(&client, SYSTEM, levels).await;
        let mut manifests = render_with(set);
        manifests.sort_by_key(|manifest| manifest["kind"] != "CustomResourceDefinition");
        for manifest in &manifests {
            let taken = try_apply(&client, manifest).await;
            taken.unwrap_or_else(|error| {
                panic!("{} {} of {set}: {error}", manifest["kind"], manifest["metadata"]["name"])
            });
        }
        let pods = api(&client, "v1", "Pod", SYSTEM);
        let release = ListParams::default().labels("app.kubernetes.io/instance=release");
        let wanted = if set == "everything" { 3 } else { 2 };
        eventually(&format!("{wanted} Pods of {set} are admitted"), async || {
            pods.list(&release).await.unwrap().items.len() >= wanted
        })
        .await;
        for kind in ["Deployment", "ReplicaSet"] {
            let all = api(&client, "apps/v1", kind, SYSTEM);
            all.delete_collection(&kube::api::DeleteParams::background(), &ListParams::default()).await.unwrap();
        }
        eventually("the Pods are gone", async || {
            let left = pods.list(&release).await.unwrap().items;
            for pod in &left {
                // No kubelet ends them.
                let now = kube::api::DeleteParams::default().grace_period(0);
                let _ = pods.delete(pod.metadata.name.as_deref().unwrap(), &now).await;
            }
            left.is_empty()
        })
        .await;
    }
}
