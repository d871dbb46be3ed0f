//! Connections: usable or why not, and what is unsafe about them.

use std::collections::{BTreeMap, BTreeSet};

use futures::stream::{self, StreamExt as _};
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::api::Api;
use kube::{Client, Resource as _, ResourceExt as _};

use super::model::{Area, Finding, some_of};
use super::rights::Mode;
use super::seen::{Seen, get, list};
use crate::api::condition::{self, ConnectionReason, types};
use crate::api::connection::ConnectionSpec;
use crate::api::vault_secret::ConnectionKind;
use crate::api::{ClusterVaultConnection, VaultConnection, names};
use crate::controller::credentials::{host, source_refs, whereabouts};
use crate::controller::guard::Guarded;
use crate::controller::keys::ConnectionKey;
use crate::controller::shown::{AsShown as _, Shown};
use crate::source::reference::SourceKind;

/// Requests at the same time.
const AT_ONCE: usize = 8;

/// A Secret or a ConfigMap: kind, namespace, name.
pub type At = (SourceKind, String, String);

/// What there is.
#[derive(Default)]
pub struct Connections {
    /// Those that can be read.
    pub shown: BTreeMap<ConnectionKey, Shown>,
    /// Those that cannot.
    pub undecodable: Vec<String>,
    /// Kinds of which not all could be listed, and why.
    pub unseen: BTreeMap<ConnectionKind, String>,
    /// The keys of what they refer to.
    pub keys: BTreeMap<At, Seen<BTreeSet<String>>>,
}

/// Lists them, and looks at what they refer to.
pub async fn look(client: &Client, mode: &Mode, operator_namespace: &str) -> Connections {
    let mut found = Connections::default();
    let apis: Vec<Api<Guarded<VaultConnection>>> = match mode {
        Mode::Cluster => vec![Api::all(client.clone())],
        Mode::Namespaced(some) => some.iter().map(|name| Api::namespaced(client.clone(), name)).collect(),
    };
    for api in apis {
        let kind = ConnectionKind::VaultConnection;
        match list("listing VaultConnections", &api, "").await {
            Seen::Here(all) => {
                for one in all {
                    let key =
                        ConnectionKey::new(kind, &one.meta().namespace.clone().unwrap_or_default(), &one.name_any());
                    found.take(
                        key,
                        one.0
                            .map(|c| {
                                c.as_shown(&ConnectionKey::new(kind, &c.namespace().unwrap_or_default(), &c.name_any()))
                            })
                            .ok(),
                    );
                }
            }
            unseen => drop(found.unseen.insert(kind, reason(&unseen, "VaultConnections"))),
        }
    }
    if *mode == Mode::Cluster {
        let kind = ConnectionKind::ClusterVaultConnection;
        let api: Api<Guarded<ClusterVaultConnection>> = Api::all(client.clone());
        match list("listing ClusterVaultConnections", &api, "").await {
            Seen::Here(all) => {
                for one in all {
                    let key = ConnectionKey::new(kind, "", &one.name_any());
                    found.take(key.clone(), one.0.map(|c| c.as_shown(&key)).ok());
                }
            }
            unseen => drop(found.unseen.insert(kind, reason(&unseen, "ClusterVaultConnections"))),
        }
    }
    let wanted: BTreeSet<At> =
        found.shown.values().flat_map(|shown| refers_to(shown, operator_namespace)).map(|(at, _)| at).collect();
    let read = stream::iter(wanted).map(|at| keys_of(client, at)).buffer_unordered(AT_ONCE);
    found.keys = read.collect().await;
    found
}

fn reason<T>(seen: &Seen<T>, kind: &str) -> String {
    seen.unseen(&format!("list {kind}")).unwrap_or_else(|| format!("the cluster does not know {kind}"))
}

impl Connections {
    fn take(&mut self, key: ConnectionKey, shown: Option<Shown>) {
        match shown {
            Some(shown) => drop(self.shown.insert(key, shown)),
            None => self.undecodable.push(key.metric_name()),
        }
    }
}

/// Namespace of a connection's credentials.
fn credentials_namespace(key: &ConnectionKey, operator_namespace: &str) -> String {
    match key.kind {
        ConnectionKind::VaultConnection => key.object.namespace.to_string(),
        ConnectionKind::ClusterVaultConnection => operator_namespace.to_owned(),
    }
}

fn refers_to(shown: &Shown, operator_namespace: &str) -> Vec<(At, String)> {
    let namespace = credentials_namespace(&shown.key, operator_namespace);
    source_refs(&shown.spec).into_iter().map(|of| ((of.kind, namespace.clone(), of.name), of.key)).collect()
}

/// The keys of an object that have something in them. The values are dropped here.
async fn keys_of(client: &Client, at: At) -> (At, Seen<BTreeSet<String>>) {
    let (kind, namespace, name) = &at;
    let seen = match kind {
        SourceKind::Secret => {
            let api: Api<Secret> = Api::namespaced(client.clone(), namespace);
            match get("reading a Secret", &api, name).await {
                Seen::Here(secret) => Seen::Here(filled(secret.data.into_iter().flatten(), |v| v.0.is_empty())),
                Seen::Absent => Seen::Absent,
                Seen::Forbidden => Seen::Forbidden,
                Seen::Unknown(why) => Seen::Unknown(why),
            }
        }
        SourceKind::ConfigMap => {
            let api: Api<ConfigMap> = Api::namespaced(client.clone(), namespace);
            match get("reading a ConfigMap", &api, name).await {
                Seen::Here(map) => Seen::Here(filled(map.data.into_iter().flatten(), String::is_empty)),
                Seen::Absent => Seen::Absent,
                Seen::Forbidden => Seen::Forbidden,
                Seen::Unknown(why) => Seen::Unknown(why),
            }
        }
    };
    (at, seen)
}

fn filled<V>(data: impl Iterator<Item = (String, V)>, is_empty: impl Fn(&V) -> bool) -> BTreeSet<String> {
    data.filter(|(_, value)| !is_empty(value)).map(|(key, _)| key).collect()
}

/// Judges them. `used`: the connections that VaultSecrets name, if those could be looked at.
#[must_use]
pub fn judge(all: &Connections, used: Option<&BTreeSet<ConnectionKey>>, operator_namespace: &str) -> Vec<Finding> {
    let mut found: Vec<Finding> =
        all.unseen.iter().map(|(kind, why)| Finding::skipped(Area::Connections, kind.as_str(), why)).collect();
    for name in &all.undecodable {
        let text = "cannot be understood: its definition is older or newer than the operator";
        found.push(
            Finding::failed(Area::Connections, name, text)
                .mend("see the definitions above; kubectl get vconn,cvconn -A -o yaml shows it"),
        );
    }
    let mut unread = BTreeSet::new();
    for (key, shown) in &all.shown {
        let lacking = lacking(all, shown, operator_namespace, &mut unread);
        found.push(one(shown, used.map(|used| used.contains(key)), operator_namespace, lacking.first()));
        if reason_of(shown) != Some(ConnectionReason::CredentialsMissing.as_str()) {
            found.extend(
                lacking
                    .into_iter()
                    .map(|(text, mend)| Finding::failed(Area::Connections, name(shown), text).mend(mend)),
            );
        }
        found.extend(unsafe_things(shown));
    }
    if !unread.is_empty() {
        let unread: Vec<String> = unread.into_iter().collect();
        let text = format!("you may not read {}, so whether the keys are there was not looked at", some_of(&unread, 3));
        found.push(Finding::skipped(Area::Connections, "credentials", text));
    }
    if found.is_empty() {
        found.push(Finding::passed(Area::Connections, "connections", "there is none yet"));
    }
    found
}

fn name(shown: &Shown) -> String {
    shown.key.metric_name()
}

/// A connection as kubectl names it.
fn kubectl(shown: &Shown) -> String {
    match shown.key.kind {
        ConnectionKind::VaultConnection => format!("vconn {} -n {}", shown.key.object.name, shown.key.object.namespace),
        ConnectionKind::ClusterVaultConnection => format!("cvconn {}", shown.key.object.name),
    }
}

fn reason_of(shown: &Shown) -> Option<&str> {
    condition::find(&shown.status.conditions, types::READY).map(|ready| ready.reason.as_str())
}

/// What it refers to and is not there, each with what mends it.
fn lacking(
    all: &Connections,
    shown: &Shown,
    operator_namespace: &str,
    unread: &mut BTreeSet<String>,
) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for ((kind, namespace, name), key) in refers_to(shown, operator_namespace) {
        let (text, word) = (
            format!("{} {namespace}/{name}", kind.as_str()),
            if kind == SourceKind::Secret { "secret generic" } else { "configmap" },
        );
        match all.keys.get(&(kind, namespace.clone(), name.clone())) {
            Some(Seen::Absent) => found.push((
                format!("{text}, which it refers to, is not there"),
                format!("kubectl create {word} {name} -n {namespace} --from-file={key}=FILE"),
            )),
            Some(Seen::Here(keys)) if !keys.contains(&key) => found.push((
                format!("{text} has no key {key}, or an empty one"),
                format!("kubectl edit {} {name} -n {namespace}", word.split(' ').next().unwrap_or_default()),
            )),
            Some(Seen::Forbidden | Seen::Unknown(_)) => drop(unread.insert(text)),
            Some(Seen::Here(_)) | None => {}
        }
    }
    found
}

fn one(shown: &Shown, used: Option<bool>, operator_namespace: &str, lacking: Option<&(String, String)>) -> Finding {
    let name = name(shown);
    let failed = |text: String| Finding::failed(Area::Connections, &name, text);
    let ready = condition::find(&shown.status.conditions, types::READY);
    let generation = shown.metadata.generation;
    let Some(ready) = ready.filter(|_| generation.is_none() || shown.status.observed_generation == generation) else {
        let text = "the operator has not looked at it as it is now".to_owned();
        return failed(text).mend("see whether the operator runs, leads, and works in that namespace");
    };
    if let Some(freeze) = &shown.status.freeze {
        let mend = format!(
            "see where the credential leads; then kubectl annotate {} --overwrite {}={}=same, or =new if it is another remote to be filled",
            kubectl(shown),
            names::APPROVE,
            freeze.token
        );
        return failed(format!("frozen, and nothing is written: {}", freeze.reason)).mend(mend);
    }
    if ready.status == "True" {
        let provider = shown.status.provider.clone().unwrap_or_default();
        let entries = shown.status.entries.unwrap_or(0);
        let unused = if used == Some(false) { "; no VaultSecret names it" } else { "" };
        return Finding::passed(
            Area::Connections,
            &name,
            format!("{}, {provider}, {entries} entries of ours{unused}", ready.reason),
        );
    }
    let text = format!("{}: {}", ready.reason, ready.message);
    let namespace = credentials_namespace(&shown.key, operator_namespace);
    let mend = match ready.reason.as_str() {
        "CredentialsMissing" => {
            lacking.map_or_else(|| format!("kubectl describe {}", kubectl(shown)), |(_, mend)| mend.clone())
        }
        "AuthenticationFailed" => {
            format!("put a credential that the remote takes into {}", whereabouts(&shown.spec, &namespace))
        }
        "PermissionDenied" => "give the credential's account at the remote the right to list".to_owned(),
        "Unreachable" => format!(
            "see whether {} can be reached from the operator's Pod: DNS, egress rules, tls.caRef",
            host(&shown.spec)
        ),
        "CircuitOpen" | "RateLimited" | "Connecting" => {
            "it is tried again by itself; look at the remote if it lasts".to_owned()
        }
        _ => format!("kubectl describe {}", kubectl(shown)),
    };
    match ready.reason.as_str() {
        "Connecting" | "RateLimited" => Finding::warning(Area::Connections, &name, text).mend(mend),
        _ => failed(text).mend(mend),
    }
}

fn unsafe_things(shown: &Shown) -> Vec<Finding> {
    let mut found = Vec::new();
    if let Some(url) = urls(&shown.spec).into_iter().find(|url| url.starts_with("http://")) {
        let at = url.trim_start_matches("http://").split(['/', '?']).next().unwrap_or_default();
        let at = at.rsplit('@').next().unwrap_or_default();
        let text = format!("sends credentials and values in the clear to {at}");
        let mend = format!("kubectl edit {}: an https:// url, and no allowInsecureUrl", kubectl(shown));
        found.push(Finding::warning(Area::Connections, name(shown), text).mend(mend));
    }
    let selects_none = shown.allowed.as_ref().is_some_and(|allowed| {
        let selector = allowed.selector.as_ref();
        let labels = selector.is_some_and(|s| s.match_labels.as_ref().is_some_and(|l| !l.is_empty()));
        allowed.names.is_empty()
            && !labels
            && selector.is_none_or(|s| s.match_expressions.as_ref().is_none_or(Vec::is_empty))
    });
    if selects_none {
        let mend = format!("kubectl edit {}: set allowedNamespaces.names or .selector", kubectl(shown));
        found.push(
            Finding::warning(Area::Connections, name(shown), "allows no namespace, so nobody can use it").mend(mend),
        );
    }
    found
}

fn urls(spec: &ConnectionSpec) -> Vec<&str> {
    let all = [
        spec.kelvin.as_ref().map(|p| p.url.as_str()),
        spec.dreadnode.as_ref().and_then(|p| p.url.as_deref()),
        spec.mixpeek.as_ref().and_then(|p| p.url.as_deref()),
        spec.vault.as_ref().map(|p| p.url.as_str()),
        spec.http.as_ref().map(|p| p.url.as_str()),
    ];
    all.into_iter().flatten().collect()
}

#[cfg(test)]
mod tests;
