//! What is left when the operator is gone: no finalizer that nobody serves. The Job that sees to it is run here as its account, for
//! there is no node.

use std::path::Path;
use std::process::Output;

use devkit::controlplane::{ControlPlane, Options, chain};
use futures::StreamExt as _;
use kube::Client;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams};
use serde_json::{Value, json};

use crate::attempts::Call::{Create, Delete, Patch as Change};
use crate::attempts::{allowed, at, make, refused, with};
use crate::cluster::{api, apply, apply_all, eventually, namespace};
use crate::helm::{SYSTEM, chart, helm, hooks_with, of_kind, render_with};

const FINALIZER: &str = "vaultsecret.dev/cleanup";
const JOB: &str = "vaultsecret-operator-release-finalizers";

/// Runs the program of the Job.
async fn release(kubeconfig: &Path, args: &[&str]) -> (Option<i32>, String) {
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_vaultsecret"));
    command.arg("release-finalizers").args(args).env_clear().env("KUBECONFIG", kubeconfig);
    let Output { status, stdout, stderr } = command.output().await.unwrap();
    (status.code(), String::from_utf8_lossy(&[stdout, stderr].concat()).into_owned())
}

fn vault_secret(place: &str, name: &str, finalizers: &[&str]) -> Value {
    let spec = json!({"connectionRef": {"name": "kelvin"}, "deletionPolicy": "Delete", "data": [{"key": "A", "value": "canary-1"}]});
    with(at("VaultSecret", place, name), json!({"metadata": {"finalizers": finalizers}, "spec": spec}))
}

async fn finalizers(client: &Client, place: &str, name: &str) -> Option<Vec<String>> {
    let found = api(client, "vaultsecret.dev/v1alpha1", "VaultSecret", place).get_opt(name).await.unwrap();
    found.map(|object| object.metadata.finalizers.unwrap_or_default())
}

/// A row of the ledger of an entry that is ours.
fn entry(name: &str) -> Value {
    json!({"connection": "VaultConnection/kelvin", "remoteName": name, "state": "InSync", "claimed": true,
        "fingerprint": "k1:canary-2"})
}

/// Deleted by its user while nobody serves its finalizer.
async fn leaving(client: &Client, place: &str, name: &str, finalizers: &[&str]) {
    allowed(client, name, Create(vault_secret(place, name, finalizers))).await;
    let status = json!({"status": {"entries": [entry("db-password"), entry("api-key")]}});
    let objects = api(client, "vaultsecret.dev/v1alpha1", "VaultSecret", place);
    objects.patch_status(name, &PatchParams::default(), &Patch::Merge(&status)).await.unwrap();
    allowed(client, name, Delete(at("VaultSecret", place, name))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn finalizers_are_released_once_no_operator_runs() {
    let plane = ControlPlane::shared().await;
    let client = plane.admin_client();
    let admin = plane.admin_kubeconfig().to_owned();
    let definitions: Vec<Value> =
        render_with("default").into_iter().filter(|document| document["kind"] == "CustomResourceDefinition").collect();
    apply_all(&client, &definitions).await;
    let (system, place, other) =
        (plane.namespace("gone-system").await, plane.namespace("gone").await, plane.namespace("elsewhere").await);
    allowed(&client, "one that stays", Create(vault_secret(&place, "stays", &["example.com/hold", FINALIZER]))).await;
    allowed(&client, "one without", Create(vault_secret(&place, "without", &[]))).await;
    allowed(&client, "one elsewhere", Create(vault_secret(&other, "elsewhere", &[FINALIZER]))).await;
    leaving(&client, &place, "leaving", &[FINALIZER]).await;

    let lease = |holder: &str| {
        json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
            "metadata": {"name": "vaultsecret-operator", "namespace": system},
            "spec": {"holderIdentity": holder, "leaseDurationSeconds": 3600}})
    };
    apply(&client, &lease("pod-1")).await;
    let operator = format!("--operator-namespace={system}");
    let watched = format!("--namespaces={place}");
    let (code, said) = release(&admin, &[&operator, &watched, "--wait=1s"]).await;
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("an operator still runs") && said.contains("pod-1"), "{said}");
    assert_eq!(finalizers(&client, &place, "leaving").await.as_deref(), Some(&[FINALIZER.to_owned()][..]));

    // Released by an operator that ended in good order.
    apply(&client, &lease("")).await;
    let (code, said) = release(&admin, &[&operator, &watched]).await;
    assert_eq!(code, Some(0), "{said}");
    let lines: Vec<_> = said.lines().collect();
    assert!(lines.contains(&format!("{place}/stays: released").as_str()), "{said}");
    let left = "it was being deleted, and its entries stay: at VaultConnection/kelvin \"db-password\", \"api-key\"";
    assert!(lines.contains(&format!("{place}/leaving: released; {left}").as_str()), "{said}");
    assert_eq!((lines.len(), lines[2]), (3, "2 VaultSecrets released"), "{said}");
    assert!(!said.contains("canary"), "{said}");
    assert_eq!(finalizers(&client, &place, "leaving").await, None);
    assert_eq!(finalizers(&client, &place, "stays").await.unwrap(), ["example.com/hold"]);
    assert_eq!(finalizers(&client, &other, "elsewhere").await.unwrap(), [FINALIZER]);

    let (code, said) = release(&admin, &[&operator, &watched]).await;
    assert_eq!((code, said.as_str()), (Some(0), "0 VaultSecrets released\n"));
    // A namespace without a Lease, as of an operator without election.
    let (code, said) =
        release(&admin, &[&format!("--operator-namespace={place}"), &format!("--namespaces={other}")]).await;
    assert_eq!((code, said.contains("1 VaultSecret released")), (Some(0), true), "{said}");
    allowed(
        &client,
        "the other's",
        Change(at("VaultSecret", &place, "stays"), json!({"metadata": {"finalizers": []}})),
    )
    .await;
}

/// More than a page of the list, while somebody else writes to the objects.
#[tokio::test(flavor = "multi_thread")]
async fn every_page_of_the_list_is_released() {
    let plane = ControlPlane::shared().await;
    let client = plane.admin_client();
    let definitions: Vec<Value> =
        render_with("default").into_iter().filter(|document| document["kind"] == "CustomResourceDefinition").collect();
    apply_all(&client, &definitions).await;
    let place = plane.namespace("many").await;
    let all = futures::stream::iter(0..520).map(|number| {
        let (client, object) = (client.clone(), vault_secret(&place, &format!("n{number}"), &[FINALIZER]));
        async move { allowed(&client, "one of many", Create(object)).await }
    });
    all.buffer_unordered(32).collect::<Vec<_>>().await;
    let objects = api(&client, "vaultsecret.dev/v1alpha1", "VaultSecret", &place);
    let admin = plane.admin_kubeconfig().to_owned();
    let args = [format!("--operator-namespace={place}"), format!("--namespaces={place}")];
    let done = tokio::spawn(async move { release(&admin, &[&args[0], &args[1]]).await });
    let mut number = 0;
    while !done.is_finished() {
        let note = json!({"metadata": {"annotations": {"example.com/number": number.to_string()}}});
        objects
            .patch(&format!("n{}", 519 - number % 520), &PatchParams::default(), &Patch::Merge(&note))
            .await
            .unwrap();
        number += 1;
    }
    let (code, said) = done.await.unwrap();
    assert_eq!((code, said.lines().last()), (Some(0), Some("520 VaultSecrets released")), "{said}");
    let left = objects.list(&ListParams::default()).await.unwrap().items;
    assert!(left.iter().all(|object| object.metadata.finalizers.is_none()) && left.len() == 520);
    objects.delete_collection(&DeleteParams::default(), &ListParams::default()).await.unwrap();
}

async fn own_plane() -> ControlPlane {
    let started = ControlPlane::start(Options::default()).await;
    started.unwrap_or_else(|error| panic!("no control plane: {}", chain(&error)))
}

/// What the controller of Jobs and a node would do, neither of which is there: the Pod is admitted, its program runs with its arguments
/// as its account, and the Job is done, or has failed.
async fn run_the_job(plane: &ControlPlane, ends: i32) -> (Vec<String>, String) {
    let client = plane.admin_client();
    let jobs = api(&client, "batch/v1", "Job", SYSTEM);
    let mut found = None;
    eventually("the Job is made", async || {
        found = jobs.get_opt(JOB).await.unwrap();
        found.is_some()
    })
    .await;
    let template = found.unwrap().data["spec"]["template"].clone();
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "spec": template["spec"],
        "metadata": {"name": "its-pod", "namespace": SYSTEM, "labels": template["metadata"]["labels"]}});
    make(&client, &Create(pod), true).await.expect("the Pod passes the strictest Pod security");
    let args: Vec<String> = serde_json::from_value(template["spec"]["containers"][0]["args"].clone()).unwrap();
    assert_eq!((args[0].as_str(), &template["spec"]["serviceAccountName"]), ("release-finalizers", &json!(JOB)));
    let account = plane.service_account_kubeconfig(SYSTEM, JOB).await.unwrap();
    no_more_than_that(plane, &account).await;
    let rest: Vec<&str> = args[1..].iter().map(String::as_str).collect();
    let (code, said) = release(&account, &rest).await;
    assert_eq!(code, Some(ends), "{said}");
    let now = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let condition = |kind: &str, reason: &str| json!({"type": kind, "status": "True", "reason": reason, "message": "", "lastProbeTime": now, "lastTransitionTime": now});
    let (well, badly) = ("CompletionsReached", "BackoffLimitExceeded");
    let done = match ends {
        0 => json!({"status": {"startTime": now, "completionTime": now, "succeeded": 1,
            "conditions": [condition("SuccessCriteriaMet", well), condition("Complete", well)]}}),
        _ => json!({"status": {"startTime": now, "failed": 4,
            "conditions": [condition("FailureTarget", badly), condition("Failed", badly)]}}),
    };
    jobs.patch_status(JOB, &PatchParams::default(), &Patch::Merge(&done)).await.unwrap();
    (args, said)
}

/// The account may take out the operator's finalizer, and nothing else.
async fn no_more_than_that(plane: &ControlPlane, account: &Path) {
    let job = plane.client_from(account).await.unwrap();
    let head = at("VaultSecret", "shop", "stays");
    let part = "takes out the operator's finalizer and changes nothing else";
    for (what, patch) in [
        ("a spec", json!({"spec": {"suspend": true}})),
        ("a label", json!({"metadata": {"labels": {"more": "x"}}})),
        ("an annotation", json!({"metadata": {"annotations": {"vaultsecret.dev/adopt": "*"}}})),
        ("another's finalizer", json!({"metadata": {"finalizers": [FINALIZER]}})),
        ("a finalizer of its own", json!({"metadata": {"finalizers": ["example.com/hold", "example.com/more"]}})),
    ] {
        refused(&job, what, Change(head.clone(), patch), part).await;
    }
    for (what, call) in [
        ("a deletion", Delete(head)),
        ("a Secret", Create(at("Secret", "shop", "mine"))),
        ("a VaultSecret", Create(vault_secret("shop", "mine", &[]))),
    ] {
        let error = make(&job, &call, true).await.expect_err(what).to_string();
        assert!(error.contains("cannot"), "{what}: {error}");
    }
    for (kind, place) in [("Secret", "shop"), ("Pod", SYSTEM), ("ConfigMap", SYSTEM)] {
        api(&job, "v1", kind, place).list(&ListParams::default()).await.expect_err(kind);
    }
}

/// Runs helm against a control plane.
fn run(plane: &ControlPlane, args: &[&str]) -> tokio::task::JoinHandle<Result<String, String>> {
    let kubeconfig = plane.admin_kubeconfig().display().to_string();
    let mut all: Vec<String> = args.iter().map(|&arg| arg.to_owned()).collect();
    all.extend(["--namespace", SYSTEM, "--kubeconfig", &kubeconfig].map(str::to_owned));
    tokio::task::spawn_blocking(move || helm(&all.iter().map(String::as_str).collect::<Vec<_>>()))
}

/// The chart in a control plane of its own, with these namespaces.
async fn installed(places: &[&str], set: &[&str]) -> (ControlPlane, Client) {
    let plane = own_plane().await;
    let client = plane.admin_client();
    namespace(&client, SYSTEM, json!({"pod-security.kubernetes.io/enforce": "restricted"})).await;
    for place in places {
        namespace(&client, place, json!({})).await;
    }
    let chart = chart().display().to_string();
    run(&plane, &[&["install", "secrets", &chart], set].concat()).await.unwrap().unwrap();
    (plane, client)
}

/// What is there of the Job's, each with its namespace.
async fn of_the_job(client: &Client) -> Vec<String> {
    there_is(client).await.into_iter().filter(|name| name.contains("release-finalizers")).collect()
}

/// The rights in listed namespaces, which the release keeps.
fn kept(places: &[&str]) -> Vec<String> {
    let kinds = ["Role", "RoleBinding"];
    kinds.iter().flat_map(|kind| places.iter().map(move |place| format!("{kind} {place}/{JOB}-watched"))).collect()
}

async fn uninstalled(set: &[&str]) {
    let (plane, client) = installed(&["blog", "shop"], set).await;
    let stays = if set.is_empty() { Vec::new() } else { kept(&["blog", "shop"]) };
    assert_eq!(of_the_job(&client).await, stays, "before it is wanted");
    allowed(&client, "one that stays", Create(vault_secret("shop", "stays", &["example.com/hold", FINALIZER]))).await;
    leaving(&client, "shop", "leaving", &[FINALIZER]).await;

    let uninstall = run(&plane, &["uninstall", "secrets"]);
    let (args, said) = run_the_job(&plane, 0).await;
    let namespaces = args.iter().any(|arg| arg == "--namespaces=shop,blog");
    assert_eq!(namespaces, !set.is_empty(), "{args:?}");
    assert!(said.contains("shop/leaving: released; it was being deleted, and its entries stay"), "{said}");
    uninstall.await.unwrap().unwrap();
    assert_eq!(finalizers(&client, "shop", "leaving").await, None);
    assert_eq!(finalizers(&client, "shop", "stays").await.unwrap(), ["example.com/hold"]);
    eventually("nothing of the release is left but what it keeps", async || {
        let mut left = there_is(&client).await;
        left.retain(|name| name.contains("vaultsecret-operator"));
        left == stays
    })
    .await;
    // The account is gone: they grant nobody anything, and this is said to take them along.
    let selector = ListParams::default().labels("app.kubernetes.io/component=release-finalizers");
    for kind in ["Role", "RoleBinding"] {
        let rights = api(&client, "rbac.authorization.k8s.io/v1", kind, "shop");
        rights.delete_collection(&DeleteParams::default(), &selector).await.unwrap();
    }
    assert!(!of_the_job(&client).await.iter().any(|name| name.contains(" shop/")));

    allowed(
        &client,
        "the other's",
        Change(at("VaultSecret", "shop", "stays"), json!({"metadata": {"finalizers": []}})),
    )
    .await;
    let spaces = api(&client, "v1", "Namespace", "");
    spaces.delete("shop", &DeleteParams::default()).await.unwrap();
    eventually("the namespace is gone", async || spaces.get_opt("shop").await.unwrap().is_none()).await;
}

/// Rights, accounts, policies, Jobs and NetworkPolicies that there are, by name.
async fn there_is(client: &Client) -> Vec<String> {
    let mut all = Vec::new();
    for (group, kinds) in [
        ("rbac.authorization.k8s.io/v1", &["ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding"][..]),
        ("admissionregistration.k8s.io/v1", &["ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"]),
        ("v1", &["ServiceAccount"]),
        ("networking.k8s.io/v1", &["NetworkPolicy"]),
        ("batch/v1", &["Job"]),
    ] {
        for kind in kinds {
            let found = api(client, group, kind, "").list(&ListParams::default()).await.unwrap().items;
            all.extend(found.into_iter().map(|object| {
                let place = object.metadata.namespace.map(|place| format!("{place}/")).unwrap_or_default();
                format!("{kind} {place}{}", object.metadata.name.unwrap())
            }));
        }
    }
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn an_uninstall_lets_everything_go() {
    uninstalled(&[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_uninstall_for_a_list_of_namespaces_needs_no_right_in_the_cluster() {
    assert!(of_kind(&hooks_with("namespaced"), "ClusterRole").is_empty());
    uninstalled(&["--set", "watch.namespaces={shop,blog}"]).await;
}

/// One listed namespace is gone, and one is being deleted and hangs for a VaultSecret: the Roles there went first.
#[tokio::test(flavor = "multi_thread")]
async fn an_uninstall_serves_the_namespaces_that_are_there() {
    let (plane, client) = installed(&["blog", "mall", "shop"], &["--set", "watch.namespaces={blog,mall,shop}"]).await;
    allowed(&client, "one that stays", Create(vault_secret("shop", "stays", &["example.com/hold", FINALIZER]))).await;
    leaving(&client, "shop", "leaving", &[FINALIZER]).await;
    leaving(&client, "mall", "hangs", &[FINALIZER]).await;
    let spaces = api(&client, "v1", "Namespace", "");
    for place in ["blog", "mall"] {
        spaces.delete(place, &DeleteParams::default()).await.unwrap();
    }
    eventually("one is gone, and the rights in the other", async || {
        spaces.get_opt("blog").await.unwrap().is_none() && of_the_job(&client).await == kept(&["shop"])
    })
    .await;

    let uninstall = run(&plane, &["uninstall", "secrets"]);
    let (_, said) = run_the_job(&plane, 1).await;
    for place in ["blog", "mall"] {
        let line = said.lines().find(|line| line.starts_with(&format!("namespace {place}: not released: ")));
        let line = line.unwrap_or_else(|| panic!("{place}: {said}"));
        assert!(line.ends_with(&format!("vaultsecret release-finalizers --namespaces={place}")), "{said}");
    }
    assert!(said.contains("namespaces blog, mall could not be listed; 2 were released; run it again"), "{said}");
    let complaint = uninstall.await.unwrap().expect_err("the Job failed");
    assert!(complaint.contains(JOB), "{complaint}");
    assert_eq!(finalizers(&client, "shop", "leaving").await, None);
    assert_eq!(finalizers(&client, "shop", "stays").await.unwrap(), ["example.com/hold"]);
    // The Job stays for its log; its account does not.
    let left = [kept(&["shop"]), vec![format!("Job {SYSTEM}/{JOB}")]].concat();
    eventually("its rights are gone", async || of_the_job(&client).await == left).await;

    let admin = plane.admin_kubeconfig().to_owned();
    let (code, said) = release(&admin, &[&format!("--operator-namespace={SYSTEM}"), "--namespaces=mall"]).await;
    assert_eq!(code, Some(0), "{said}");
    eventually("the namespace is gone", async || spaces.get_opt("mall").await.unwrap().is_none()).await;
}
