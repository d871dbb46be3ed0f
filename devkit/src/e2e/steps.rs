//! What happens to the operator and to the node, and that nothing is lost or written twice by it.

use std::time::Instant;

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::DeleteParams;

use super::change::Change;
use super::error::Failure;
use super::helm::SYSTEM;
use super::install::{FIRST_TAG, SECOND_TAG};
use super::world::{World, identities, image, is_ready};
use crate::demo::error::Failure as Seen;
use crate::demo::table::seconds;

/// Replicas of the operator.
pub(super) const REPLICAS: i32 = 2;
/// Where nodes say that they live.
const HEARTBEATS: &str = "kube-node-lease";

/// All of them, one after the other.
pub(super) async fn all(world: &World, rollouts: usize) -> Result<(), Failure> {
    world.report.heading("The sources change");
    change(world, "sources changed").await?;
    world.report.heading("The Pod that leads is deleted");
    leader_deleted(world).await?;
    change(world, "sources changed under the new leader").await?;
    world.report.heading("The process that leads is killed, and cannot give the lease back");
    leader_crashes(world).await?;
    world.report.heading("kubelet is killed and started again");
    kubelet_restarted(world).await?;
    change(world, "sources changed after that").await?;
    world.report.heading("The operator is upgraded to another image");
    for tags in [(FIRST_TAG, SECOND_TAG), (SECOND_TAG, FIRST_TAG)].into_iter().cycle().take(rollouts) {
        upgraded(world, tags).await?;
    }
    Ok(())
}

async fn change(world: &World, what: &str) -> Result<(), Failure> {
    Change::make(world, what).await?.arrives(world, what).await
}

fn leader(world: &World) -> Result<String, Failure> {
    world.lease.leader().ok_or_else(|| Failure::wrong("a Pod holds the lease", "none does"))
}

async fn leader_deleted(world: &World) -> Result<(), Failure> {
    let old = leader(world)?;
    let began = Instant::now();
    let pods = Api::<Pod>::namespaced(world.client.clone(), SYSTEM);
    pods.delete(&old, &DeleteParams::default()).await.map_err(Seen::api(format!("deleting the Pod {old}")))?;
    let look = async || match world.lease.leader() {
        Some(now) if now != old => Ok(()),
        Some(_) => Err("the deleted Pod still does".to_owned()),
        None => Err("nobody does".to_owned()),
    };
    let another = world.until(None, "another Pod leads", look).await?;
    let (gap, _) = world.lease.since(began);
    let complete = format!("the operator has {REPLICAS} ready Pods again");
    world.until(None, &complete, async || world.operator_complete(REPLICAS).await).await?;
    world.rest("after the leader was deleted", 1).await?;
    let seen = format!("without a leader {}, {REPLICAS} ready Pods after {}", seconds(gap), seconds(began.elapsed()));
    world.step("leader's Pod deleted: another leads", Some(another), world.account(), &seen);
    Ok(())
}

/// Nobody may write until the lease has run out. A change that comes meanwhile waits for that, and is written once.
async fn leader_crashes(world: &World) -> Result<(), Failure> {
    let (old, holder) = (leader(world)?, world.lease.holder());
    let pods = world.operators().await.map_err(|error| Failure::wrong("the operator's Pods", error))?;
    let pod = pods.iter().find(|pod| pod.metadata.name.as_ref() == Some(&old));
    let id = pod.and_then(container_id).ok_or_else(|| Failure::wrong(format!("Pod {old} has a container"), "none"))?;
    world.node.crash(id)?;
    let began = Instant::now();
    let change = Change::make(world, "sources changed while nobody leads").await?;
    let look = async || match world.lease.holder() {
        now if now.is_some() && now != holder => Ok(()),
        _ => Err("the lease is still that of the killed process".to_owned()),
    };
    world.until(None, "another process leads", look).await?;
    let took = began.elapsed();
    change.arrives(world, "sources changed while nobody leads").await?;
    let complete = format!("the operator has {REPLICAS} ready Pods again");
    world.until(None, &complete, async || world.operator_complete(REPLICAS).await).await?;
    world.rest("after the leader was killed", 1).await?;
    let seen = format!("without a leader {}: the lease has to run out", seconds(took));
    world.step("leader's process killed: another leads", Some(took), world.account(), &seen);
    Ok(())
}

fn container_id(pod: &Pod) -> Option<&str> {
    pod.status.as_ref()?.container_statuses.as_ref()?.first()?.container_id.as_deref()
}

async fn kubelet_restarted(world: &World) -> Result<(), Failure> {
    let mine = |error: String| Failure::wrong("the operator's Pods", error);
    let before = identities(&world.operators().await.map_err(mine)?);
    let who = leader(world)?;
    let began = Instant::now();
    let leases = Api::<Lease>::namespaced(world.client.clone(), HEARTBEATS);
    let heartbeat = async || {
        let all = leases.list(&Default::default()).await.map_err(|error| error.to_string())?;
        let beats = all.items.into_iter().filter_map(|lease| lease.spec?.renew_time);
        Ok::<_, String>(beats.map(|time| time.0).max())
    };
    world.node.restart("kubelet").await?;
    // The old one is dead by now, so a later heartbeat is the new one's.
    let last = heartbeat().await.map_err(|error| Failure::wrong("the node's heartbeat", error))?;
    let look = async || if heartbeat().await? > last { Ok(()) } else { Err("none yet".to_owned()) };
    let alive = world.until(None, "a heartbeat of the new kubelet", look).await?;
    world.rest("after kubelet was restarted", 1).await?;
    let after = identities(&world.operators().await.map_err(mine)?);
    if before != after || leader(world)? != who {
        return Err(Failure::wrong(
            "the same Pods, not restarted, and the same leader",
            format!("{before:?}, {after:?}"),
        ));
    }
    let (gap, _) = world.lease.since(began);
    let seen = format!("the same Pods and leader, without a leader {}", seconds(gap));
    world.step("kubelet killed: the new one reports", Some(alive), world.account(), &seen);
    Ok(())
}

async fn upgraded(world: &World, (old_tag, new_tag): (&str, &str)) -> Result<(), Failure> {
    let rest = world.rest("before the upgrade", 2).await?;
    world.step("at rest before the upgrade", Some(rest), world.account(), "2 lists of each remote");
    let began = Instant::now();
    let upgrade = async {
        world.helm.release("upgrade", new_tag).await?;
        world.until(None, "the rollout is complete", async || world.operator_complete(REPLICAS).await).await?;
        Ok::<_, Failure>(began.elapsed())
    };
    let meanwhile = async {
        world
            .until(None, "a Pod of each version is ready", async || both_versions(world, [old_tag, new_tag]).await)
            .await?;
        world.report.done(began.elapsed(), "a Pod of each version is ready; the sources change now");
        Change::make(world, "sources changed in the middle of the rollout").await?.follow(world).await
    };
    let (took, arrived) = tokio::try_join!(upgrade, meanwhile)?;
    arrived.conclude(world, "sources changed in the middle of the rollout").await?;
    let look = async || world.lease.leader().map(drop).ok_or_else(|| "none does".to_owned());
    world.until(None, "a Pod leads", look).await?;
    let (gap, taken) = world.lease.since(began);
    world.report.indented(&world.lease.lines(began));
    let pods = world.operators().await.map_err(|error| Failure::wrong("the operator's Pods", error))?;
    let old: Vec<&str> = pods.iter().map(image).filter(|image| !image.ends_with(new_tag)).collect();
    if !old.is_empty() {
        return Err(Failure::wrong(format!("every Pod runs {new_tag}"), old.join(", ")));
    }
    let seen = format!("without a leader {} in all, {taken} took over in turn", seconds(gap));
    world.step("upgraded by helm: 2 Pods of the other image", Some(took), world.account(), &seen);
    let rest = world.rest("after the upgrade", 2).await?;
    world.step("at rest after the upgrade", Some(rest), world.account(), "2 lists of each remote");
    Ok(())
}

/// Whether the rollout is half way.
async fn both_versions(world: &World, tags: [&str; 2]) -> Result<(), String> {
    let pods = world.operators().await?;
    let ready = |tag: &str| pods.iter().any(|pod| is_ready(pod) && image(pod).ends_with(tag));
    match (ready(tags[0]), ready(tags[1])) {
        (true, true) => Ok(()),
        (old, new) => Err(format!("old: {old}, new: {new}")),
    }
}
