//! The third part: things go wrong, and each is put right.

use std::time::Duration;

use futures::future::try_join_all;
use uuid::Uuid;

use super::cluster;
use super::error::Failure;
use super::standin::Site;
use super::state;
use super::step::Step;
use super::table::seconds;
use super::world::World;

/// For what the operator hears of at once.
const SOON: Duration = Duration::from_secs(30);
/// For what it sees in the next list.
const NEXT_PROBE: Duration = Duration::from_secs(45);
/// For a remote that was away: the attempts in between have become rarer.
const BACK_AGAIN: Duration = Duration::from_secs(120);

/// A value that nobody had before; it is never shown.
fn new_value(world: &World) -> String {
    let value = format!("demo-{}", Uuid::new_v4());
    world.report.mask.learn(&value);
    value
}

fn lacks(site: &Site, what: &str) -> Failure {
    let expected = format!("examples/{} has {what}", site.folder);
    Failure::Wrong { expected, seen: "none".to_owned(), site: Some(site.index) }
}

/// All of them, one after the other.
pub(super) async fn all(world: &World) -> Result<(), Failure> {
    world.report.heading("A source Secret is changed");
    for site in &world.sites {
        source_changes(world, site, "").await?;
    }
    world.report.heading("A projected Secret is edited by hand");
    for site in &world.sites {
        secret_is_edited(world, site).await?;
    }
    world.report.heading("Somebody changes an entry at the remote, behind the operator's back");
    try_join_all(world.sites.iter().filter(|site| site.shows_changes).map(|site| entry_changes(world, site))).await?;
    world.report.heading("Somebody deletes an entry at the remote");
    try_join_all(world.sites.iter().map(|site| entry_goes(world, site))).await?;
    world.report.heading("A remote goes down while sources change, and comes back");
    let (away, others) = world.sites.split_first().ok_or_else(no_sites)?;
    remote_goes_down(world, away, others).await
}

fn no_sites() -> Failure {
    Failure::Wrong { expected: "a remote".to_owned(), seen: "none".to_owned(), site: None }
}

async fn source_changes(world: &World, site: &Site, meanwhile: &str) -> Result<(), Failure> {
    let (entry, secret, key) = site.sourced().ok_or_else(|| lacks(site, "an entry from a Secret"))?;
    let value = new_value(world);
    let step = Step::begin(world, site, format!("source Secret {secret} changed{meanwhile}"))?;
    cluster::set_secret_value(&world.client, &site.object.namespace, secret, key, &value).await?;
    let at_remote = step.at_remote(&entry.remote_name, &value, SOON).await?;
    let in_secret = step.in_secret(&entry.key, &value, SOON).await?;
    let detail = format!("at the remote after {}, in the Secret after {}", seconds(at_remote), seconds(in_secret));
    step.finish(in_secret.max(at_remote), 1..=1, &detail).await
}

async fn secret_is_edited(world: &World, site: &Site) -> Result<(), Failure> {
    let (entry, ..) = site.sourced().ok_or_else(|| lacks(site, "an entry from a Secret"))?;
    let right = site.remote.value(&entry.remote_name).ok_or_else(|| lacks(site, "the entry at the remote"))?;
    let (namespace, target) = (&site.object.namespace, &site.object.target);
    let step = Step::begin(world, site, format!("Secret {target} edited by hand"))?;
    let calls = site.entry_calls();
    cluster::set_secret_value(&world.client, namespace, target, &entry.key, &new_value(world)).await?;
    let restored = step.in_secret(&entry.key, &right, SOON).await?;
    world.settled(site).await?;
    let calls = site.entry_calls() - calls;
    if calls > 0 {
        let expected = format!("Secret {target} is restored without a call about an entry at {}", site.label);
        return Err(Failure::Wrong { expected, seen: format!("{calls} of them"), site: Some(site.index) });
    }
    step.finish(restored, 0..=0, "restored, without a call about an entry at the remote").await
}

async fn entry_changes(world: &World, site: &Site) -> Result<(), Failure> {
    let (entry, ..) = site.sourced().ok_or_else(|| lacks(site, "an entry from a Secret"))?;
    let name = &entry.remote_name;
    let right = site.remote.value(name).ok_or_else(|| lacks(site, "the entry at the remote"))?;
    let (namespace, object) = (&site.object.namespace, &site.object.name);
    let step = Step::begin(world, site, format!("entry {name} changed by somebody else"))?;
    let before = remote_changed(world, site).await.unwrap_or_default().len();
    site.remote.foreign_put(name, &new_value(world));
    let put_right = step.at_remote(name, &right, NEXT_PROBE).await?;
    let expected = format!("an event RemoteChanged about VaultSecret {namespace}/{object}");
    step.until(&expected, SOON, async || {
        let notes = remote_changed(world, site).await?;
        if notes.len() > before { Ok(()) } else { Err(format!("{} such events, as before", notes.len())) }
    })
    .await?;
    let note = remote_changed(world, site).await.unwrap_or_default().pop().unwrap_or_default();
    step.finish(put_right, 1..=1, &format!("reasserted; event RemoteChanged: {note}")).await
}

async fn remote_changed(world: &World, site: &Site) -> Result<Vec<String>, String> {
    cluster::events(&world.client, &site.object.namespace, &site.object.name, "RemoteChanged").await
}

/// The entry has a generated value: it comes back with the same one.
async fn entry_goes(world: &World, site: &Site) -> Result<(), Failure> {
    let entry = site.generated().ok_or_else(|| lacks(site, "a generated entry"))?;
    let name = &entry.remote_name;
    let right = site.remote.value(name).ok_or_else(|| lacks(site, "the generated entry at the remote"))?;
    let step = Step::begin(world, site, format!("entry {name} deleted by somebody else"))?;
    site.remote.foreign_delete(name);
    let put_right = step.at_remote(name, &right, NEXT_PROBE).await?;
    step.finish(put_right, 1..=1, "created again, with the same generated value").await
}

async fn remote_goes_down(world: &World, away: &Site, others: &[Site]) -> Result<(), Failure> {
    let (entry, secret, key) = away.sourced().ok_or_else(|| lacks(away, "an entry from a Secret"))?;
    let last_good = away.remote.value(&entry.remote_name).ok_or_else(|| lacks(away, "the entry at the remote"))?;
    let value = new_value(world);
    let mut step = Step::begin(world, away, format!("down while {secret} changed, then back"))?;
    away.remote.stop().await;
    cluster::set_secret_value(&world.client, &away.object.namespace, secret, key, &value).await?;
    let noticed = step.until("the VaultSecret is not Ready, and says why", SOON, async || not_ready(world, away).await);
    let noticed = noticed.await?;
    let object = world.object(away).await.unwrap_or_default();
    let (status, reason, message) = state::ready(&object);
    world.report.done(noticed, &format!("{}: down; Ready={status} {reason}: {message}", away.label));

    for site in others {
        source_changes(world, site, &format!(" while {} is down", away.label)).await?;
    }

    // Long enough for the list to fail, too: until then the operator knows of one failed write and nothing more.
    let noticed = step.until("the VaultConnection is Unreachable", NEXT_PROBE, async || {
        match world.connection(away).await?.as_str() {
            said if said.starts_with("Ready=False Unreachable") => Ok(()),
            said => Err(said.to_owned()),
        }
    });
    let noticed = noticed.await?;
    let said = world.connection(away).await.unwrap_or_default();
    world.report.done(noticed, &format!("{}: still down; its VaultConnection says {said}", away.label));

    // The Secret shows whole sets that the remote has acknowledged: this one is not.
    step.in_secret(&entry.key, &last_good, SOON).await?;
    world.report.done(step.elapsed(), &format!("{}: still down; the Secret keeps the last good set", away.label));

    away.remote.restart().await?;
    step.restart_clock();
    let at_remote = step.at_remote(&entry.remote_name, &value, BACK_AGAIN).await?;
    let in_secret = step.in_secret(&entry.key, &value, SOON).await?;
    let detail = format!("counted from its return; in the Secret after {}", seconds(in_secret));
    // A write that was cut may have been processed all the same: then it is sent once more.
    step.finish(at_remote.max(in_secret), 1..=2, &detail).await
}

async fn not_ready(world: &World, site: &Site) -> Result<(), String> {
    let object = world.object(site).await?;
    match state::ready(&object) {
        ("False", ..) => Ok(()),
        (status, reason, message) => Err(format!("Ready={status} {reason}: {message}")),
    }
}
