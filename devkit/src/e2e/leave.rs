//! The last part: VaultSecrets go, the operator goes, namespaces go; what stays is what `deletionPolicy` says.

use std::time::Instant;

use k8s_openapi::api::core::v1::{Namespace, Secret};
use kube::Api;
use serde_json::json;

use super::error::Failure;
use super::helm::SYSTEM;
use super::install::namespace;
use super::world::World;
use crate::demo::cluster;
use crate::demo::error::Failure as Seen;
use crate::demo::standin::Site;

/// All of it.
pub(super) async fn all(world: &World) -> Result<(), Failure> {
    world.report.heading("A VaultSecret under deletionPolicy Delete goes, while the operator runs");
    let [kelvin, dreadnode, mixpeek] = world.sites.as_slice() else {
        return Err(Failure::wrong("three remotes", world.sites.len().to_string()));
    };
    one_is_deleted(world, dreadnode).await?;
    world.report.heading("The chart is uninstalled");
    // One under Retain, as the example is, and one under Delete.
    under_delete(world, mixpeek).await?;
    uninstalled(world, &[kelvin, mixpeek]).await?;
    world.report.heading("Namespaces go, with no operator left");
    namespaces_go(world, &[kelvin, dreadnode, mixpeek]).await
}

fn policy(object: &serde_json::Value) -> &str {
    object["spec"]["deletionPolicy"].as_str().unwrap_or("Retain")
}

async fn object(world: &World, site: &Site) -> Result<serde_json::Value, Failure> {
    world.object(site).await.map_err(|seen| Failure::wrong(format!("the VaultSecret for {}", site.label), seen))
}

async fn one_is_deleted(world: &World, site: &Site) -> Result<(), Failure> {
    let wanted = object(world, site).await?;
    if policy(&wanted) != "Delete" {
        return Err(Failure::wrong(
            format!("examples/{} is under deletionPolicy Delete", site.folder),
            policy(&wanted),
        ));
    }
    let began = Instant::now();
    cluster::delete(&world.client, &wanted).await?;
    let look = async || match cluster::get(&world.client, &wanted).await? {
        None => Ok(()),
        Some(_) => Err("it is there".to_owned()),
    };
    world.until(Some(site), "the VaultSecret is gone", look).await?;
    let left: Vec<&str> = left_at_remote(site);
    let writes = site.new_writes();
    if !left.is_empty() || writes != site.object.entries.len() {
        let expected = format!("{} entries go from {} by as many writes", site.object.entries.len(), site.label);
        return Err(Failure::wrong(expected, format!("{writes} writes; left: {left:?}")));
    }
    let secrets = Api::<Secret>::namespaced(world.client.clone(), &site.object.namespace);
    let look = async || match secrets.get_opt(&site.object.target).await.map_err(|error| error.to_string())? {
        None => Ok(()),
        Some(_) => Err("it is there".to_owned()),
    };
    world.until(Some(site), "the projected Secret is gone", look).await?;
    world.step(
        "VaultSecret under Delete deleted",
        Some(began.elapsed()),
        world.account(),
        "entries and Secret are gone",
    );
    Ok(())
}

fn left_at_remote(site: &Site) -> Vec<&str> {
    let entries = site.object.entries.iter().map(|entry| entry.remote_name.as_str());
    entries.filter(|name| site.remote.value(name).is_some()).collect()
}

/// Sets the policy, and waits until the operator has taken it up.
async fn under_delete(world: &World, site: &Site) -> Result<(), Failure> {
    let wanted = object(world, site).await?;
    cluster::merge(&world.client, &wanted, &json!({"spec": {"deletionPolicy": "Delete"}})).await?;
    let look = async || {
        let found = world.object(site).await?;
        let finalizers = found["metadata"]["finalizers"].as_array().map_or(0, Vec::len);
        if finalizers > 0 { Ok(()) } else { Err("it has none".to_owned()) }
    };
    world.until(Some(site), "the VaultSecret has the operator's finalizer", look).await?;
    world.settled(&[site]).await?;
    world.nothing_written("for a change of deletionPolicy alone")
}

/// What of a site has to outlive the operator: values of its Secrets, by their names.
async fn kept(world: &World, site: &Site) -> Result<Vec<(String, Option<String>)>, Failure> {
    let secrets = Api::<Secret>::namespaced(world.client.clone(), &site.object.namespace);
    let mut all = Vec::new();
    for name in [site.object.target.clone(), format!("{}-escrow", site.object.name)] {
        let found = secrets.get_opt(&name).await.map_err(Seen::api(format!("reading the Secret {name}")))?;
        let found = found.ok_or_else(|| Failure::wrong(format!("Secret {}/{name}", site.object.namespace), "none"))?;
        let data = serde_json::to_string(&found.data).map_err(|error| Failure::wrong("data", error.to_string()))?;
        all.push((name, Some(data)));
    }
    for entry in &site.object.entries {
        all.push((entry.remote_name.clone(), site.remote.value(&entry.remote_name)));
    }
    Ok(all)
}

async fn uninstalled(world: &World, sites: &[&Site]) -> Result<(), Failure> {
    let mut before = Vec::new();
    for site in sites {
        before.push(kept(world, site).await?);
    }
    let began = Instant::now();
    world.helm.uninstall().await?;
    let look = async || match world.pods(SYSTEM, "").await? {
        pods if pods.is_empty() => Ok(()),
        pods => Err(format!("{} are left", pods.len())),
    };
    world.until(None, "no Pod of the operator is left", look).await?;
    let took = began.elapsed();
    for (site, before) in sites.iter().zip(&before) {
        let after = kept(world, site).await?;
        let changed: Vec<&str> = before.iter().zip(&after).filter(|(a, b)| a != b).map(|(a, _)| a.0.as_str()).collect();
        if !changed.is_empty() {
            return Err(Failure::wrong(
                format!("Secrets and entries of {} stay as they are", site.label),
                changed.join(", "),
            ));
        }
        object(world, site).await?;
    }
    world.nothing_written("while the chart is uninstalled")?;
    world.step(
        "chart uninstalled by helm",
        Some(took),
        world.account(),
        "definitions, VaultSecrets, Secrets, escrows and entries stay",
    );
    Ok(())
}

async fn namespaces_go(world: &World, sites: &[&Site]) -> Result<(), Failure> {
    let began = Instant::now();
    let namespaces = Api::<Namespace>::all(world.client.clone());
    for site in sites {
        cluster::delete(&world.client, &namespace(&site.object.namespace)).await?;
    }
    for site in sites {
        let name = &site.object.namespace;
        let look = async || match namespaces.get_opt(name).await.map_err(|error| error.to_string())? {
            None => Ok(()),
            Some(found) => Err(why_it_stays(found)),
        };
        world.until(Some(site), &format!("namespace {name} is gone"), look).await?;
    }
    world.nothing_written("by an operator that is not there")?;
    let (retained, deleted) = (left_at_remote(sites[0]).len(), left_at_remote(sites[2]).len());
    let seen = format!(
        "nothing hangs; entries left at the remotes: {retained} under Retain, {deleted} that nobody could delete"
    );
    world.step("3 namespaces deleted without the operator", Some(began.elapsed()), world.account(), &seen);
    Ok(())
}

fn why_it_stays(namespace: Namespace) -> String {
    let conditions = namespace.status.and_then(|status| status.conditions).unwrap_or_default();
    let messages = conditions.into_iter().filter(|condition| condition.status == "True");
    messages.filter_map(|condition| condition.message).collect::<Vec<_>>().join("; ")
}

/// Removes what is left on a node that was up before and stays.
pub(super) async fn tidy(world: &World) -> Result<(), Failure> {
    cluster::delete(&world.client, &namespace(SYSTEM)).await?;
    for plural in ["vaultsecrets", "vaultconnections", "clustervaultconnections", "clustervaultsecrets"] {
        let definition = json!({
            "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": {"name": format!("{plural}.vaultsecret.dev")},
        });
        cluster::delete(&world.client, &definition).await?;
    }
    let namespaces = Api::<Namespace>::all(world.client.clone());
    let look = async || match namespaces.get_opt(SYSTEM).await.map_err(|error| error.to_string())? {
        None => Ok(()),
        Some(found) => Err(why_it_stays(found)),
    };
    world.until(None, "the operator's namespace is gone", look).await.map(drop)
}
