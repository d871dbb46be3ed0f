//! Behaviour 38, and what a change of leader must not change: two replicas, one writes.

use devkit::remotes::{Action, Fault, Op};
use k8s_openapi::api::coordination::v1::Lease;
use kube::Api;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams};
use serde_json::json;

use crate::common::{Kind, Operator, Scene, Synced, api, for_each_remote, generated};

/// Short, so that a test need not wait; the times that follow from it are shares of it.
const ARGS: [&str; 2] = ["--leader-elect=true", "--lease-duration=4s"];

async fn led(prefix: &str) -> (Scene, Operator) {
    let scene = Scene::isolated(prefix, &ARGS).await;
    let standby = scene.operator.replica(&scene.cluster).await;
    let (status, text) = standby.get("/readyz").await.unwrap();
    assert_eq!(status, 200, "a replica that stands by is ready to take over");
    assert!(text.contains("standing by: "), "{text}");
    assert_eq!(scene.operator.metric("vaultsecret_leader", &[]).await, 1.0);
    assert_eq!(standby.metric("vaultsecret_leader", &[]).await, 0.0);
    (scene, standby)
}

/// The standby leads, and it goes on where the other was: what changes is pushed once, what did not is not.
async fn takes_over(scene: &Scene, standby: &Operator, synced: &Synced) {
    let value = scene.canary("value");
    scene.set_source("source", "value", &value).await;
    scene.remote_has(&synced.remote, &synced.entry, &value).await;
    scene.secret_has("app", "VALUE", &value).await;
    scene.ready("app").await;
    assert_eq!(standby.metric("vaultsecret_leader", &[]).await, 1.0);
    assert_eq!(synced.remote.history(&synced.entry), [synced.value.clone(), value], "each value was sent once");
}

async fn b38_leader_killed(kind: Kind) {
    let (scene, standby) = led("b38-killed").await;
    let synced = scene.synced(kind, json!({})).await;
    scene.operator.kill();
    takes_over(&scene, &standby, &synced).await;
}

async fn b38_leader_ends_in_good_order(kind: Kind) {
    let (scene, standby) = led("b38-ends").await;
    let synced = scene.synced(kind, json!({})).await;
    scene.operator.stop().await;
    takes_over(&scene, &standby, &synced).await;
}

/// A leader that was halted past the end of its lease writes nothing when it goes on, and ends.
async fn b38_leader_paused(kind: Kind) {
    let (scene, standby) = led("b38-paused").await;
    let synced = scene.synced(kind, json!({})).await;
    scene.operator.pause();
    takes_over(&scene, &standby, &synced).await;
    let calls = synced.remote.write_calls();
    scene.operator.resume();
    scene.operator.ends_by_itself().await;
    scene.two_more_probes(&synced.remote).await;
    assert_eq!(synced.remote.write_calls(), calls, "the old leader wrote nothing");
}

/// C11: the old leader claimed an entry, sent it and was killed before the answer. The new one reads that claim, and sends the
/// same value at most once more.
async fn c11_new_leader_reads_the_claim(kind: Kind) {
    let (scene, standby) = led("c11").await;
    let remote = scene.remote(kind).await;
    scene.connect(&remote).await;
    let name = kind.name("password");
    remote.faults().add(Fault::new(Action::SlowAnswer(std::time::Duration::from_secs(600))).on(Op::Create));
    let spec = json!({"connectionRef": {"name": kind.member()}, "data": [generated("PASSWORD", &name, 1)]});
    scene.vault_secret("app", spec).await;
    scene.eventually("the create is at the remote", async || remote.count(Op::Create) == 1).await;
    scene.operator.kill();
    let kept = scene.expect("Secret", "app-escrow").await.secret_value("PASSWORD").unwrap();
    let kept = String::from_utf8(kept).unwrap();
    scene.secret_text(&kept);
    remote.faults().clear();
    scene.ready("app").await;
    assert_eq!(standby.metric("vaultsecret_leader", &[]).await, 1.0);
    scene.secret_has("app", "PASSWORD", &kept).await;
    let history = remote.history(&name);
    // One repeat, and where no change is shown one write that confirms.
    let most = if kind.shows_changes() { 2 } else { 3 };
    assert!(history.iter().all(|value| *value == kept), "it was another value");
    assert!((1..=most).contains(&history.len()), "sent {} times", history.len());
}

/// As after `helm uninstall`, which takes the roles first.
#[tokio::test]
async fn a_leader_without_its_role_ends_without_a_complaint() {
    // Never renewed while the test runs.
    let scene = Scene::isolated("b38-role", &["--leader-elect=true", "--lease-duration=1h"]).await;
    let (operator, system) = (&scene.operator, scene.operator.system());
    let account = scene.cluster.namespaced_rights(system, &scene.namespace).await;
    let leases: Api<Lease> = Api::namespaced(scene.cluster.client_from(&account).await.unwrap(), system);
    assert!(leases.get("vaultsecret-operator").await.unwrap().spec.unwrap().holder_identity.is_some());
    let bindings = api(&scene.client, "RoleBinding", system);
    bindings.delete_collection(&DeleteParams::default(), &ListParams::default()).await.unwrap();
    scene.eventually("the right is gone", async || leases.get("vaultsecret-operator").await.is_err()).await;
    let start = operator.log_end();
    operator.stop().await;
    let log = operator.log_since(start);
    let said: Vec<_> = log.lines().filter(|line| line.contains("lease")).collect();
    assert!(said.len() == 1 && said[0].contains("the lease runs out by itself") && said[0].contains("INFO"), "{log}");
}

/// A collector that does not answer would hold it up for seconds in which another may lead.
#[tokio::test]
async fn a_leader_that_lost_its_lease_delivers_no_traces() {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("--otlp-endpoint=http://{}", silent.local_addr().unwrap());
    let scene = Scene::isolated("b38-silent", &[ARGS[0], ARGS[1], &endpoint]).await;
    let synced = scene.synced(Kind::Mixpeek, json!({})).await;
    let start = scene.operator.log_end();
    let leases: Api<Lease> = Api::namespaced(scene.client.clone(), scene.operator.system());
    let other = json!({"spec": {"holderIdentity": "another", "leaseDurationSeconds": 3600}});
    leases.patch("vaultsecret-operator", &PatchParams::default(), &Patch::Merge(&other)).await.unwrap();
    scene.operator.ends_by_itself().await;
    let log = scene.operator.log_since(start);
    assert!(log.contains("the lease was lost") && !log.contains("the last traces"), "{log}");
    assert_eq!(synced.remote.history(&synced.entry), [synced.value]);
}

for_each_remote!(b38_leader_killed, b38_leader_ends_in_good_order, b38_leader_paused, c11_new_leader_reads_the_claim,);
