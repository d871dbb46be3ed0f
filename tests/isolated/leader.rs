//! Behaviour 38, and what a change of leader must not change: two replicas, one writes.

use devkit::remotes::{Action, Fault, Op};
use serde_json::json;

use crate::common::{Kind, Operator, Scene, Synced, for_each_remote, generated};

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

for_each_remote!(b38_leader_killed, b38_leader_ends_in_good_order, b38_leader_paused, c11_new_leader_reads_the_claim,);
