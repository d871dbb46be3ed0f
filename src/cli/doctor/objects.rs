//! VaultSecrets: how many are in which state, and which of them need somebody.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Namespace;
use kube::api::Api;
use kube::{Client, Resource as _, ResourceExt as _};

use super::connections::Connections;
use super::model::{Area, Finding, count_of, some_of};
use super::rights::Mode;
use super::seen::{Seen, list};
use crate::api::VaultSecret;
use crate::api::condition::{self, Reason, types};
use crate::api::names;
use crate::api::vault_secret::{CreationPolicy, DeletionPolicy};
use crate::controller::guard::Guarded;
use crate::controller::keys::ConnectionKey;
use crate::remote::lane::ObjectKey;

/// Names in one finding.
const NAMED: usize = 5;

/// How long the operator may take to look at a new object.
const FRESH: SignedDuration = SignedDuration::from_secs(60);

/// What there is.
#[derive(Default)]
pub struct Objects {
    /// Those that can be read.
    pub all: BTreeMap<ObjectKey, VaultSecret>,
    /// Those that cannot.
    pub undecodable: Vec<String>,
    /// Why not all could be listed.
    pub unseen: Option<String>,
    /// Namespaces that are going.
    pub terminating: BTreeSet<String>,
}

/// Lists them.
pub async fn look(client: &Client, mode: &Mode) -> Objects {
    let mut found = Objects::default();
    let apis: Vec<Api<Guarded<VaultSecret>>> = match mode {
        Mode::Cluster => vec![Api::all(client.clone())],
        Mode::Namespaced(some) => some.iter().map(|name| Api::namespaced(client.clone(), name)).collect(),
    };
    for api in apis {
        match list("listing VaultSecrets", &api, "").await {
            Seen::Here(all) => {
                for one in all {
                    let key = ObjectKey::new(one.meta().namespace.clone().unwrap_or_default(), one.name_any());
                    match one.0 {
                        Ok(vs) => drop(found.all.insert(key, vs)),
                        Err(_) => found.undecodable.push(key.to_string()),
                    }
                }
            }
            unseen => {
                let why = unseen.unseen("list VaultSecrets in all namespaces; --namespaces=A,B looks at those alone");
                found.unseen = Some(why.unwrap_or_else(|| "the cluster does not know VaultSecrets".to_owned()));
            }
        }
    }
    if let Seen::Here(namespaces) = list::<Namespace>("listing namespaces", &Api::all(client.clone()), "").await {
        let going = namespaces.into_iter().filter(|n| n.metadata.deletion_timestamp.is_some());
        found.terminating = going.map(|n| n.name_any()).collect();
    }
    found
}

/// The connections that they name.
#[must_use]
pub fn used(objects: &Objects) -> Option<BTreeSet<ConnectionKey>> {
    if objects.unseen.is_some() || !objects.undecodable.is_empty() {
        return None;
    }
    Some(objects.all.iter().flat_map(|(key, vs)| named_by(key, vs)).collect())
}

fn named_by(key: &ObjectKey, vs: &VaultSecret) -> BTreeSet<ConnectionKey> {
    let of = |reference: &crate::api::vault_secret::ConnectionRef| {
        ConnectionKey::new(reference.kind(), &key.namespace, &reference.name)
    };
    let sources = vs.spec.data.iter().filter_map(|entry| Some(of(entry.remote()?.connection(&vs.spec.connection_ref))));
    sources.chain([of(&vs.spec.connection_ref)]).collect()
}

/// Judges them.
#[must_use]
pub fn judge(objects: &Objects, connections: &Connections, now: Timestamp) -> Vec<Finding> {
    let mut found = Vec::new();
    if let Some(why) = &objects.unseen {
        found.push(Finding::skipped(Area::Objects, "VaultSecrets", why));
        if objects.all.is_empty() {
            return found;
        }
    }
    let mut by_reason: BTreeMap<String, Vec<(&ObjectKey, String)>> = BTreeMap::new();
    for (key, vs) in objects.all.iter().filter(|(_, vs)| vs.metadata.deletion_timestamp.is_none()) {
        let (reason, message) = state(vs, now);
        by_reason.entry(reason).or_default().push((key, message));
    }
    let counts: Vec<String> = by_reason.iter().map(|(reason, all)| format!("{} {reason}", all.len())).collect();
    let total = count_of(objects.all.len(), "VaultSecret");
    let text = if counts.is_empty() { total } else { format!("{total}: {}", counts.join(", ")) };
    found.push(Finding::passed(Area::Objects, "VaultSecrets", text));
    let waiting = waiting(objects, connections);
    // Those are told by what they wait for.
    by_reason.retain(|reason, _| waiting.is_empty() || reason != Reason::ConnectionMissing.as_str());
    found.extend(by_reason.iter().filter_map(|(reason, all)| of_reason(reason, all)));
    for name in &objects.undecodable {
        let text = "cannot be understood, and the operator leaves it alone: the definition is older or newer than the operator";
        found.push(
            Finding::failed(Area::Objects, name, text)
                .mend("see the definitions above; kubectl get vsec -A -o yaml shows it"),
        );
    }
    found.extend(waiting);
    found.extend(going(objects, now));
    found.extend(wanted_twice(objects));
    found
}

/// The reason that it states, or the word for one that states none.
fn state(vs: &VaultSecret, now: Timestamp) -> (String, String) {
    let status = vs.status.clone().unwrap_or_default();
    let ready = condition::find(&status.conditions, types::READY);
    let made = vs.creation_timestamp().map_or(Timestamp::UNIX_EPOCH, |at| at.0);
    let current = status.observed_generation == vs.metadata.generation;
    match ready.filter(|_| current) {
        Some(ready) => (ready.reason.clone(), ready.message.clone()),
        None if ready.is_none() && now.duration_since(made) < FRESH => ("new".to_owned(), String::new()),
        None if ready.is_some() => ("changed since the operator looked".to_owned(), String::new()),
        None => ("never looked at".to_owned(), String::new()),
    }
}

/// What is to be done about a reason; nothing about those that pass by themselves or are meant.
fn of_reason(reason: &str, all: &[(&ObjectKey, String)]) -> Option<Finding> {
    let known = Reason::ALL.iter().find(|known| known.as_str() == reason);
    let (first, message) = all.first()?;
    let describe = format!("kubectl describe vsec {} -n {}", first.name, first.namespace);
    let mend = match known {
        Some(Reason::Synced | Reason::Queued | Reason::Pushing | Reason::Suspended | Reason::Deleting) => return None,
        Some(Reason::RemoteEntryExists) => format!(
            "if the entries may be overwritten: kubectl annotate vsec {} -n {} {}='*'",
            first.name,
            first.namespace,
            names::ADOPT
        ),
        Some(Reason::ConnectionNotReady | Reason::RemoteDiverged | Reason::ConnectionMissing) => {
            "see the connections above".to_owned()
        }
        Some(Reason::NotAllowed) => "let the ClusterVaultConnection allow the namespace: allowedNamespaces".to_owned(),
        Some(_) => describe,
        None if reason == "new" => return None,
        None => "see whether the operator runs, leads, and works in these namespaces".to_owned(),
    };
    let names: Vec<String> = all.iter().map(|(key, _)| key.to_string()).collect();
    let why = if message.is_empty() { String::new() } else { format!(": {message}") };
    let text = format!("{}{why}", some_of(&names, NAMED));
    let passing = matches!(known, Some(Reason::Confirming)) || reason.starts_with("changed");
    let finding = if passing { Finding::warning } else { Finding::failed }(Area::Objects, reason.to_owned(), text);
    Some(finding.mend(mend))
}

/// Those that name a connection that is not there.
fn waiting(objects: &Objects, connections: &Connections) -> Vec<Finding> {
    let mut missing: BTreeMap<ConnectionKey, Vec<String>> = BTreeMap::new();
    for (key, vs) in &objects.all {
        for connection in named_by(key, vs) {
            let unknown = connections.unseen.contains_key(&connection.kind)
                || connections.undecodable.contains(&connection.metric_name());
            if !unknown && !connections.shown.contains_key(&connection) {
                missing.entry(connection).or_default().push(key.to_string());
            }
        }
    }
    let told = missing.into_iter().map(|(connection, names)| {
        let what = format!("{} {}", connection.kind.as_str(), connection.metric_name());
        let text = format!("is not there, and {} wait for it", some_of(&names, NAMED));
        Finding::failed(Area::Objects, what, text).mend("make it, or mend spec.connectionRef of those")
    });
    told.collect()
}

/// Those that are going and are held, and the namespaces that they hold.
fn going(objects: &Objects, now: Timestamp) -> Vec<Finding> {
    let mut found = Vec::new();
    for (key, vs) in &objects.all {
        let Some(since) = vs.metadata.deletion_timestamp.as_ref() else { continue };
        if !vs.finalizers().iter().any(|name| name == names::FINALIZER) {
            continue;
        }
        let age = super::operator::spoken(now.duration_since(since.0).max(SignedDuration::ZERO));
        let holds = if objects.terminating.contains(&*key.namespace) {
            ", and holds its namespace, which is going too"
        } else {
            ""
        };
        let message =
            condition::find(&vs.status.clone().unwrap_or_default().conditions, types::READY).map(|c| c.message.clone());
        let why = message.filter(|m| !m.is_empty()).map(|m| format!(": {m}")).unwrap_or_default();
        let text = format!("is going for {age} and waits until its entries are deleted at the remote{holds}{why}");
        let mend = format!(
            "the operator lets it go after --finalizer-deadline; without an operator: kubectl patch vsec {} -n {} --type merge -p \
             '{{\"metadata\": {{\"finalizers\": null}}}}', and its entries stay",
            key.name, key.namespace
        );
        let old = now.duration_since(since.0) > FRESH;
        let finding = if old { Finding::failed } else { Finding::warning }(Area::Objects, key.to_string(), text);
        found.push(finding.mend(mend));
    }
    let retained = objects.all.values().filter(|vs| {
        vs.metadata.deletion_timestamp.is_none()
            && vs.spec.deletion() == DeletionPolicy::Retain
            && vs.finalizers().iter().any(|f| f == names::FINALIZER)
    });
    let left: Vec<String> =
        retained.map(|vs| format!("{}/{}", vs.namespace().unwrap_or_default(), vs.name_any())).collect();
    if !left.is_empty() {
        let text = format!("{} have the finalizer and need none: deletionPolicy is Retain", some_of(&left, NAMED));
        found.push(
            Finding::warning(Area::Objects, "finalizers", text)
                .mend("the operator takes it out when it looks at them: see whether it runs"),
        );
    }
    found
}

/// Secrets that more than one VaultSecret wants for itself.
fn wanted_twice(objects: &Objects) -> Vec<Finding> {
    let mut wanted: BTreeMap<(String, String), Vec<(String, bool)>> = BTreeMap::new();
    for (key, vs) in objects.all.iter().filter(|(_, vs)| vs.metadata.deletion_timestamp.is_none()) {
        let policy = vs.spec.creation_policy();
        if policy != CreationPolicy::None {
            let target = (key.namespace.to_string(), vs.spec.target_name(&key.name).to_owned());
            wanted.entry(target).or_default().push((key.name.to_string(), policy == CreationPolicy::Merge));
        }
    }
    // Several may merge into one Secret, each with keys of its own.
    let twice = wanted.into_iter().filter(|(_, by)| by.iter().filter(|(_, merges)| !merges).count() > 1);
    let told = twice.map(|((namespace, name), by)| {
        let by: Vec<String> = by.into_iter().filter(|(_, merges)| !merges).map(|(name, _)| name).collect();
        let text = format!("is wanted by {}, and only one can have it", some_of(&by, NAMED));
        Finding::failed(Area::Objects, format!("Secret {namespace}/{name}"), text)
            .mend("give all but one another spec.target.name")
    });
    told.collect()
}

#[cfg(test)]
mod tests;
