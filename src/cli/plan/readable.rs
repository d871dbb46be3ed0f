//! Values that are read from a remote. No remote is asked, so none is ever known; whether they can be read is.

use super::claims;
use super::link::{self, NoLink};
use super::values::{About, Lack};
use super::world::World;
use crate::api::vault_secret::RemoteRef;
use crate::controller::desired::Issue;
use crate::controller::source_name;

/// Why the value of a key is not at hand.
pub fn lack(world: &World, about: &About<'_>, key: &str, from: &RemoteRef) -> Lack {
    let namespace = &about.key.namespace;
    let told =
        |issue: &Issue| Lack::Issue(Issue::new(issue.reason, format!("key {key}: its source: {}", issue.message)));
    let link = match link::find(world, namespace, from.connection(&about.spec.connection_ref)) {
        Ok(link) => link,
        Err(NoLink::Issue(issue)) => return told(&issue),
        Err(NoLink::Unseen(why)) => return Lack::Unseen(format!("key {key}: its source: {why}")),
    };
    let name = match claims::naming(world, namespace, &link, |naming| source_name::of(naming, &from.name)) {
        Ok(name) => name,
        Err(issue) => return told(&issue),
    };
    if let Ok(own) = link::find(world, namespace, &about.spec.connection_ref) {
        let here = source_name::location(&link.base, &name);
        let written = claims::names(world, namespace, about.spec, &own);
        if written.into_iter().flatten().flatten().any(|name| source_name::location(&own.base, &name) == here) {
            return told(&source_name::written_here(&name, &link.display));
        }
    }
    match &link.problem {
        Some(problem) => told(problem),
        None => Lack::Unseen(format!(
            "key {key}: updated if the version moved of its source, the entry {name:?} at {}",
            link.display
        )),
    }
}
