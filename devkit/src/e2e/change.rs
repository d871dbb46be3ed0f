//! A change of the sources, followed to the remote, into the projected Secret and into the running Pods.

use std::time::{Duration, Instant};

use futures::future::try_join_all;
use uuid::Uuid;

use super::error::Failure;
use super::objects::{CONSUMER, PORT, shows};
use super::world::{World, is_ready};
use crate::cluster::hash_of;
use crate::demo::cluster;
use crate::demo::manifests::Entry;
use crate::demo::standin::Site;
use crate::demo::table::seconds;

/// How many Pods consume each Secret.
pub(super) const CONSUMERS: usize = 2;

/// A new value for the source of each site.
pub(super) struct Change {
    began: Instant,
    values: Vec<String>,
}

/// How long a change took to be everywhere.
pub(super) struct Arrived {
    remotes: Duration,
    secrets: Duration,
    pods: Duration,
}

impl Arrived {
    /// Counts: there must have been one write at each remote, no more.
    pub(super) async fn conclude(self, world: &World, what: &str) -> Result<(), Failure> {
        world.settled(&world.all()).await?;
        for site in &world.sites {
            let writes = site.new_writes();
            if writes != 1 {
                return Err(Failure::wrong(
                    format!("{what}: one write at {}", site.label),
                    format!("{writes} of them"),
                ));
            }
        }
        let (remotes, secrets) = (seconds(self.remotes), seconds(self.secrets));
        let seen = format!("at the remotes after {remotes}, in the Secrets {secrets}");
        world.step(&format!("{what}: in all running Pods"), Some(self.pods), world.account(), &seen);
        Ok(())
    }
}

/// The entry of a site that comes from a Secret, with that Secret's name and key.
pub(super) fn sourced(site: &Site) -> Result<(&Entry, &str, &str), Failure> {
    site.sourced().ok_or_else(|| {
        Failure::wrong(format!("examples/{} has an entry that comes from a Secret", site.folder), "none")
    })
}

impl Change {
    /// Sets the source of every site. Nothing must have been written since the last step.
    pub(super) async fn make(world: &World, what: &str) -> Result<Self, Failure> {
        world.nothing_written(&format!("before: {what}"))?;
        let began = Instant::now();
        let mut values = Vec::new();
        for site in &world.sites {
            let (_, secret, key) = sourced(site)?;
            let value = format!("e2e-{}", Uuid::new_v4());
            world.report.mask.learn(&value);
            cluster::set_secret_value(&world.client, &site.object.namespace, secret, key, &value).await?;
            values.push(value);
        }
        Ok(Self { began, values })
    }

    /// Waits until it is everywhere; there must have been one write at each remote, no more.
    pub(super) async fn arrives(self, world: &World, what: &str) -> Result<(), Failure> {
        self.follow(world).await?.conclude(world, what).await
    }

    /// Waits until it is at the remotes, in the Secrets and in the running Pods.
    pub(super) async fn follow(self, world: &World) -> Result<Arrived, Failure> {
        let sites = world.sites.iter().zip(&self.values);
        let times = try_join_all(sites.map(|(site, value)| self.arrives_at(world, site, value))).await?;
        let latest = |place: usize| times.iter().map(|times| times[place]).max().unwrap_or_default();
        Ok(Arrived { remotes: latest(0), secrets: latest(1), pods: latest(2) })
    }

    async fn arrives_at(&self, world: &World, site: &Site, value: &str) -> Result<[Duration; 3], Failure> {
        let (entry, ..) = sourced(site)?;
        let at = |place: &str| format!("{} has the new value in {place}", entry.remote_name);
        let at_remote = async || match site.remote.value(&entry.remote_name) {
            Some(found) if found == value => Ok(()),
            Some(_) => Err("another value".to_owned()),
            None => Err("no such entry".to_owned()),
        };
        let in_secret = async || {
            let found = cluster::secret_value(&world.client, &site.object.namespace, &site.object.target, &entry.key);
            if found.await?.as_deref() == Some(value) { Ok(()) } else { Err("another value, or none".to_owned()) }
        };
        let remote = async {
            world.until(Some(site), &at(site.label), at_remote).await?;
            Ok::<_, Failure>(self.began.elapsed())
        };
        let secret = async {
            world.until(Some(site), &at("the projected Secret"), in_secret).await?;
            Ok::<_, Failure>(self.began.elapsed())
        };
        let pods = async {
            let look = async || pods_have(world, site, entry, value).await;
            world.until(Some(site), &at("every running Pod"), look).await?;
            Ok::<_, Failure>(self.began.elapsed())
        };
        let (remote, secret, pods) = tokio::try_join!(remote, secret, pods)?;
        Ok([remote, secret, pods])
    }
}

/// Whether the workload of a site runs as many Pods as it is to, and each has the value in its environment and in its file.
pub(super) async fn pods_have(world: &World, site: &Site, entry: &Entry, value: &str) -> Result<(), String> {
    let pods = world.pods(&site.object.namespace, &format!("app={CONSUMER}")).await?;
    let ready: Vec<_> = pods.iter().filter(|pod| is_ready(pod)).collect();
    if ready.len() != CONSUMERS || pods.len() != CONSUMERS {
        return Err(format!("{} Pods, {} of them ready", pods.len(), ready.len()));
    }
    let hash = hash_of(value.as_bytes());
    for pod in ready {
        let address = pod.status.as_ref().and_then(|status| status.pod_ip.as_deref()).unwrap_or_default();
        let answer = world.http.get(format!("http://{address}:{PORT}/")).send().await;
        let answer = answer.map_err(|error| format!("the Pod at {address}: {error}"))?;
        shows(&answer.text().await.map_err(|error| error.to_string())?, entry, &hash)?;
    }
    Ok(())
}
