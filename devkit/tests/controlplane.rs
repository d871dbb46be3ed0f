//! The control plane as its users see it: tests that need a real API server, and what happens when they are killed.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use devkit::controlplane::{AuditRecord, ControlPlane, Options};
use futures::TryStreamExt;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Secret, ServiceAccount};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::api::{
    ApiResource, DeleteParams, DynamicObject, GroupVersionKind, ListParams, ObjectMeta, PostParams, WatchEvent,
    WatchParams,
};
use kube::{Api, ResourceExt};
use serde_json::json;

/// Long enough for the slowest machine; a test ends as soon as its condition holds.
const PATIENCE: Duration = Duration::from_secs(90);

async fn eventually<F: Future<Output = bool>>(what: &str, condition: impl Fn() -> F) {
    let began = Instant::now();
    while !condition().await {
        assert!(began.elapsed() < PATIENCE, "waited in vain until {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn named(name: &str) -> ObjectMeta {
    ObjectMeta { name: Some(name.into()), ..ObjectMeta::default() }
}

fn config_map(name: &str) -> ConfigMap {
    ConfigMap {
        metadata: named(name),
        data: Some(BTreeMap::from([("key".into(), "value".into())])),
        ..ConfigMap::default()
    }
}

fn code(error: kube::Error) -> u16 {
    match error {
        kube::Error::Api(status) => status.code,
        other => panic!("no answer of the API server: {other}"),
    }
}

fn calls(records: &[AuditRecord]) -> Vec<(&str, &str, &str, u16)> {
    records.iter().map(|r| (&*r.verb, &*r.resource, &*r.name, r.code)).collect()
}

#[tokio::test]
async fn the_audit_log_counts_exactly_what_was_asked() {
    let cp = ControlPlane::shared().await;
    let namespace = cp.namespace("audit").await;
    let mark = cp.audit().mark();
    let maps = Api::<ConfigMap>::namespaced(cp.admin_client(), &namespace);
    maps.create(&PostParams::default(), &config_map("one")).await.unwrap();
    maps.get("one").await.unwrap();
    maps.list(&ListParams::default()).await.unwrap();
    assert_eq!(code(maps.get("none").await.unwrap_err()), 404);
    let by_admin = cp.audit().requests_after(mark, |r| r.user == "admin" && r.namespace == namespace);
    assert_eq!(
        calls(&by_admin),
        [
            ("create", "configmaps", "one", 201),
            ("get", "configmaps", "one", 200),
            ("list", "configmaps", "", 200),
            ("get", "configmaps", "none", 404),
        ]
    );
    assert!(by_admin.is_sorted_by_key(|r| r.request_received));
    assert!(by_admin.iter().all(|r| r.group.is_empty() && r.subresource.is_empty()));
}

/// The answer is larger than the server's buffers, so its first part arrives before the request is over.
#[tokio::test]
async fn a_large_answer_is_counted_by_the_time_it_is_read() {
    let cp = ControlPlane::shared().await;
    let namespace = cp.namespace("large").await;
    let maps = Api::<ConfigMap>::namespaced(cp.admin_client(), &namespace);
    let mut map = config_map("large");
    map.data = Some(BTreeMap::from([("key".into(), "x".repeat(500_000))]));
    maps.create(&PostParams::default(), &map).await.unwrap();
    for _ in 0..50 {
        let mark = cp.audit().mark();
        maps.get("large").await.unwrap();
        let records = cp.audit().requests_after(mark, |r| r.namespace == namespace);
        assert_eq!(calls(&records), [("get", "configmaps", "large", 200)]);
    }
}

#[tokio::test]
async fn a_watch_is_counted_when_it_starts() {
    let cp = ControlPlane::shared().await;
    let namespace = cp.namespace("watch").await;
    let maps = Api::<ConfigMap>::namespaced(cp.admin_client(), &namespace);
    let created = maps.create(&PostParams::default(), &config_map("one")).await.unwrap();
    let watches = || cp.audit().requests(|r| r.verb == "watch" && r.namespace == namespace && r.user == "admin");
    assert_eq!(watches().len(), 0);
    let stream = maps.watch(&WatchParams::default().timeout(60), "0").await;
    let mut stream = std::pin::pin!(stream.unwrap());
    let heard = loop {
        match stream.try_next().await.unwrap().unwrap() {
            WatchEvent::Added(map) if map.name_any() == "one" => break map,
            _ => {}
        }
    };
    assert_eq!(heard.uid(), created.uid());
    assert_eq!(calls(&watches()), [("watch", "configmaps", "", 200)]);
}

#[tokio::test]
async fn a_service_account_without_rights_is_refused() {
    let cp = ControlPlane::shared().await;
    let namespace = cp.namespace("rights").await;
    let account = ServiceAccount { metadata: named("robot"), ..ServiceAccount::default() };
    Api::<ServiceAccount>::namespaced(cp.admin_client(), &namespace)
        .create(&PostParams::default(), &account)
        .await
        .unwrap();
    let kubeconfig = cp.service_account_kubeconfig(&namespace, "robot").await;
    let kubeconfig = kubeconfig.unwrap();
    let mode = std::fs::metadata(&kubeconfig).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "nobody else may read the token");

    let client = cp.client_from(&kubeconfig).await.unwrap();
    assert_eq!(client.default_namespace(), namespace);
    let secrets = Api::<Secret>::default_namespaced(client);
    let refused = secrets.list(&ListParams::default()).await.unwrap_err();
    assert_eq!(code(refused), 403);

    let user = format!("system:serviceaccount:{namespace}:robot");
    let records = cp.audit().requests(|r| r.user == user);
    assert_eq!(calls(&records), [("list", "secrets", "", 403)]);
}

#[tokio::test]
async fn objects_of_a_deleted_owner_and_deleted_namespaces_go_away() {
    let cp = ControlPlane::shared().await;
    let namespace = cp.namespace("collect").await;
    let maps = Api::<ConfigMap>::namespaced(cp.admin_client(), &namespace);
    let owner = maps.create(&PostParams::default(), &config_map("owner")).await.unwrap();
    let mut owned = config_map("owned");
    owned.metadata.owner_references = Some(vec![OwnerReference {
        api_version: "v1".into(),
        kind: "ConfigMap".into(),
        name: owner.name_any(),
        uid: owner.uid().unwrap(),
        ..OwnerReference::default()
    }]);
    maps.create(&PostParams::default(), &owned).await.unwrap();
    maps.delete("owner", &DeleteParams::background()).await.unwrap();
    eventually("the owned object is collected", || async { maps.get_opt("owned").await.unwrap().is_none() }).await;

    let namespaces = Api::<Namespace>::all(cp.admin_client());
    namespaces.delete(&namespace, &DeleteParams::default()).await.unwrap();
    eventually("the namespace is gone", || async { namespaces.get_opt(&namespace).await.unwrap().is_none() }).await;
}

/// Restarts the controller manager of a control plane of its own.
#[tokio::test]
async fn a_restarted_controller_manager_collects_for_a_kind_that_is_new() {
    let cp = ControlPlane::start(Options::default()).await.unwrap();
    let definition: CustomResourceDefinition = serde_json::from_value(json!({
        "metadata": {"name": "owners.example.com"},
        "spec": {
            "group": "example.com", "scope": "Namespaced", "names": {"plural": "owners", "kind": "Owner"},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {"type": "object"}}}]
        }
    }))
    .unwrap();
    let definitions = Api::<CustomResourceDefinition>::all(cp.admin_client());
    definitions.create(&PostParams::default(), &definition).await.unwrap();
    let kind = ApiResource::from_gvk(&GroupVersionKind::gvk("example.com", "v1", "Owner"));
    let owners = Api::<DynamicObject>::namespaced_with(cp.admin_client(), "default", &kind);
    eventually("the kind is served", || async { owners.list(&ListParams::default()).await.is_ok() }).await;
    let before = cp.process_ids();
    cp.restart_controller_manager().await.unwrap();
    assert_ne!(cp.process_ids(), before);

    let owner = owners.create(&PostParams::default(), &DynamicObject::new("owner", &kind)).await.unwrap();
    let maps = Api::<ConfigMap>::namespaced(cp.admin_client(), "default");
    let mut owned = config_map("owned");
    owned.metadata.owner_references = Some(vec![OwnerReference {
        api_version: "example.com/v1".into(),
        kind: "Owner".into(),
        name: owner.name_any(),
        uid: owner.uid().unwrap(),
        ..OwnerReference::default()
    }]);
    maps.create(&PostParams::default(), &owned).await.unwrap();
    owners.delete("owner", &DeleteParams::background()).await.unwrap();
    eventually("the owned object is collected", || async { maps.get_opt("owned").await.unwrap().is_none() }).await;
}

#[tokio::test]
async fn kubectl_speaks_with_the_admin_kubeconfig() {
    let cp = ControlPlane::shared().await;
    // Programs given by the environment need not include it.
    let Some(kubectl) = cp.binaries().kubectl() else {
        return;
    };
    let output = Command::new(kubectl)
        .args(["version", "-o", "json", "--kubeconfig"])
        .arg(cp.admin_kubeconfig())
        .output()
        .unwrap();
    let version: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(version["clientVersion"]["major"], "1", "{version}");
    assert_eq!(version["serverVersion"]["major"], "1", "{version}");
}

/// Stops, starts and hangs a control plane of its own.
#[tokio::test]
async fn data_outlives_stopped_processes_and_a_paused_server_answers_later() {
    let options = Options { controller_manager: false, ..Options::default() };
    let cp = ControlPlane::start(options).await.unwrap();
    let folder = cp.folder().to_owned();
    let maps = Api::<ConfigMap>::namespaced(cp.admin_client(), "default");
    let made = maps.create(&PostParams::default(), &config_map("kept")).await.unwrap();

    cp.stop_apiserver();
    maps.get("kept").await.expect_err("nobody listens");
    cp.start_apiserver().await.unwrap();
    assert_eq!(maps.get("kept").await.unwrap().uid(), made.uid());

    cp.stop_etcd();
    let (params, second) = (PostParams::default(), config_map("lost"));
    let write = maps.create(&params, &second);
    // Refused or unanswered, but never accepted.
    if let Ok(answer) = tokio::time::timeout(Duration::from_secs(1), write).await {
        answer.expect_err("there is no store");
    }
    cp.start_etcd().await.unwrap();
    eventually("the API server has found etcd again", || async {
        let kept = maps.get("kept").await;
        kept.is_ok_and(|map| map.uid() == made.uid())
    })
    .await;

    cp.pause_apiserver().unwrap();
    let mut read = tokio::spawn({
        let maps = maps.clone();
        async move { maps.get("kept").await }
    });
    tokio::time::timeout(Duration::from_millis(300), &mut read).await.expect_err("a paused server does not answer");
    cp.resume_apiserver().unwrap();
    assert_eq!(read.await.unwrap().unwrap().uid(), made.uid());

    assert!(!processes_of(&folder).is_empty());
    drop(cp);
    assert!(!folder.exists());
    eventually("the watchers are gone too", || async { processes_of(&folder).is_empty() }).await;
}

#[tokio::test]
async fn a_process_that_cannot_start_is_named_with_the_end_of_its_log() {
    let options = Options { apiserver_args: vec!["--no-such-flag".into()], ..Options::default() };
    let error = ControlPlane::start(options).await.unwrap_err().to_string();
    assert!(error.starts_with("kube-apiserver ended"), "{error}");
    assert!(error.contains("unknown flag: --no-such-flag"), "{error}");
}

/// The processes whose command line names the folder: etcd, the servers and what guards them.
fn processes_of(folder: &Path) -> Vec<String> {
    let folder = folder.to_str().unwrap();
    let entries = std::fs::read_dir("/proc").unwrap();
    entries
        .filter_map(|entry| {
            // Empty for a zombie; an error for a process that ends while we look.
            let line = std::fs::read(entry.ok()?.path().join("cmdline")).ok()?;
            let line = String::from_utf8_lossy(&line).replace('\0', " ");
            line.contains(folder).then_some(line)
        })
        .collect()
}

#[tokio::test]
async fn nothing_survives_a_process_that_is_killed() {
    let mut serving = Command::new(env!("CARGO_BIN_EXE_devkit"))
        .args(["controlplane", "--serve"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(serving.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let kubeconfig = PathBuf::from(line.trim_end());
    let folder = kubeconfig.parent().unwrap();
    let running = processes_of(folder);
    for name in ["/etcd ", "/kube-apiserver ", "/kube-controller-manager "] {
        let found = running.iter().any(|line| line.contains(name));
        assert!(found, "{name}in {running:#?}");
    }

    // SIGKILL: no destructor and no signal handler runs.
    serving.kill().unwrap();
    serving.wait().unwrap();
    eventually("no process and no file is left", || async { processes_of(folder).is_empty() && !folder.exists() })
        .await;
}

#[test]
fn without_go_the_command_says_once_what_to_install_and_prints_no_folder() {
    let cache = tempfile::tempdir().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_devkit"))
        .arg("controlplane")
        .env_clear()
        .env("XDG_CACHE_HOME", cache.path())
        .output()
        .unwrap();
    assert!(!output.status.success());
    assert_eq!(String::from_utf8_lossy(&output.stdout), "");
    let said = String::from_utf8_lossy(&output.stderr);
    let wanted = "there is no `go` in PATH: install Go 1.26.0 or newer";
    assert_eq!(said.matches(wanted).count(), 1, "{said}");
}
