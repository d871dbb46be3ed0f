//! The second part: the examples are applied, and the values arrive.

use std::time::{Duration, Instant};

use futures::future::try_join_all;
use serde_json::Value;

use super::cluster;
use super::error::Failure;
use super::manifests::{self, Entry, kind, text};
use super::standin::Site;
use super::start::examples;
use super::step::Step;
use super::table::seconds;
use super::world::World;

/// How long it may take from an applied manifest to a value at the remote.
const ARRIVAL: Duration = Duration::from_secs(60);

/// These are shown; only what is secret is hidden.
const PUBLIC_KEYS: [&str; 1] = ["client-id"];

/// Reads the examples and applies them with the connections pointed at the stand-ins.
pub(super) async fn values_arrive(world: &mut World) -> Result<(), Failure> {
    world.report.heading("Applying examples/, with the connections pointed at the stand-ins");
    let began = Instant::now();
    let mut objects = Vec::new();
    for site in &mut world.sites {
        let mut example = manifests::folder(&examples(site))?;
        for object in &mut example {
            match kind(object) {
                "VaultConnection" => manifests::point_at(object, &site.remote.url()),
                "VaultSecret" => site.object = manifests::outline(object),
                _ => {}
            }
        }
        objects.extend(example);
    }
    let world = &*world;
    for object in &objects {
        learn(world, object);
    }
    let steps: Vec<Step<'_>> =
        world.sites.iter().map(|site| Step::begin(world, site, "new VaultSecret")).collect::<Result<_, _>>()?;
    for object in &objects {
        cluster::apply(&world.client, object).await?;
    }
    world.report.done(began.elapsed(), &format!("{} objects applied by server-side apply", objects.len()));
    try_join_all(world.sites.iter().zip(steps).map(|(site, step)| arrive(world, site, step))).await?;
    world.all_settled().await?;
    world.show_objects().await
}

async fn arrive(world: &World, site: &Site, step: Step<'_>) -> Result<(), Failure> {
    try_join_all(site.object.entries.iter().map(|entry| entry_arrives(world, site, &step, entry))).await?;
    let took = step.elapsed();
    let entries = site.object.entries.len();
    step.finish(took, entries..=entries, "all entries at the remote and in the Secret").await
}

async fn entry_arrives(world: &World, site: &Site, step: &Step<'_>, entry: &Entry) -> Result<(), Failure> {
    let (name, label) = (&entry.remote_name, site.label);
    let at_remote = step
        .until(&format!("{name} is at {label}"), ARRIVAL, async || match site.remote.value(name) {
            Some(_) => Ok(()),
            None => Err(format!("there is no entry {name}")),
        })
        .await?;
    // The remote may hold an older value for a moment, so it is read at each look and not once.
    let expected = format!("Secret and {label} have the same value of {name}");
    let same = step.until(&expected, ARRIVAL, async || {
        match (world.projected(site, &entry.key).await?, site.remote.value(name)) {
            (Some(projected), Some(pushed)) if projected == pushed => Ok(()),
            (Some(_), Some(_)) => Err("the values differ".to_owned()),
            (None, _) => Err(format!("there is no {} in Secret {}", entry.key, site.object.target)),
            (_, None) => Err(format!("there is no entry {name}")),
        }
    });
    let same = same.await?;
    source_is_what_arrived(world, site, entry).await?;
    let secret = format!("{}/{}", site.object.namespace, site.object.target);
    world.report.done(
        at_remote,
        &format!("{label:<9} {name:<16} same value in Secret {secret} as {}: yes, after {}", entry.key, seconds(same)),
    );
    Ok(())
}

/// The value is the source's, not only the same in both places.
async fn source_is_what_arrived(world: &World, site: &Site, entry: &Entry) -> Result<(), Failure> {
    let Some((secret, key)) = &entry.source else { return Ok(()) };
    let wrong = |seen: String| Failure::Wrong {
        expected: format!("{} has the value of {secret}, key {key}", entry.remote_name),
        seen,
        site: Some(site.index),
    };
    let source = cluster::secret_value(&world.client, &site.object.namespace, secret, key).await.map_err(wrong)?;
    if source == site.remote.value(&entry.remote_name) { Ok(()) } else { Err(wrong("another value".to_owned())) }
}

/// Lets the values of a Secret be hidden.
fn learn(world: &World, object: &Value) {
    if kind(object) != "Secret" {
        return;
    }
    for (key, value) in object["stringData"].as_object().into_iter().flatten() {
        if !PUBLIC_KEYS.contains(&key.as_str()) {
            world.report.mask.learn(text(value, ""));
        }
    }
}
