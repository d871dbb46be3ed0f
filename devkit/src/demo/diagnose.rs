//! What is shown when the demo fails: what was expected, and everything that tells why it did not come.

use super::cluster;
use super::error::Failure;
use super::report::{Reporter, Style};
use super::standin::Site;
use super::state;
use super::world::World;
use crate::remotes::cli::line;

/// How many calls of a remote are shown.
const CALLS: usize = 20;

/// What went wrong, without a world to look into.
pub(super) fn failure(report: &Reporter, failure: &Failure) {
    report.heading("FAILED");
    report.text(Style::Red, &failure.to_string());
}

/// Everything around what went wrong.
pub(super) async fn surroundings(world: &World, failure: &Failure) {
    let about = |site: &&Site| failure.site().is_none_or(|index| index == site.index);
    for site in world.sites.iter().filter(about).filter(|site| !site.object.name.is_empty()) {
        object(world, site, "VaultSecret", &site.object.name).await;
        object(world, site, "VaultConnection", &site.object.connection).await;
        let events = cluster::all_events(&world.client, &site.object.namespace).await;
        section(world, &format!("events in {}", site.object.namespace), &events);
    }
    for site in world.sites.iter().filter(about) {
        let calls = site.remote.requests();
        let last = calls.iter().rev().take(CALLS).rev().map(|call| line(site.folder, call)).collect::<Vec<_>>();
        let (all, writes) = (calls.len(), site.remote.mutations());
        let heading = format!("calls at {}: {all}, of them writes: {writes}; the last {}", site.label, last.len());
        section(world, &heading, &last);
    }
    let log: Vec<String> = world.operator.log_tail().lines().map(str::to_owned).collect();
    section(world, "the end of the operator's log", &log);
}

async fn object(world: &World, site: &Site, kind: &str, name: &str) {
    let wanted = cluster::custom(kind, &site.object.namespace, name);
    let lines = match cluster::get(&world.client, &wanted).await {
        Ok(Some(found)) => state::lines(&found),
        Ok(None) => vec!["it is not there".to_owned()],
        Err(error) => vec![error],
    };
    section(world, &cluster::describe(&wanted), &lines);
}

fn section(world: &World, heading: &str, lines: &[String]) {
    world.report.heading(heading);
    if lines.is_empty() {
        world.report.text(Style::Dim, "  none");
    }
    for line in lines {
        world.report.text(Style::Plain, &format!("  {line}"));
    }
}
