//! From a VaultSecret to its connection: which names it takes, which remote it leads to, or why nothing can be written.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::world::{Gap, World};
use crate::api::Reason;
use crate::api::connection::{AllowedNamespaces, ConnectionSpec};
use crate::api::vault_secret::{ConnectionKind, ConnectionRef};
use crate::controller::credentials::{CredentialsError, assemble, settle, source_refs};
use crate::controller::desired::{Issue, render_prefix};
use crate::controller::keys::ConnectionKey;
use crate::controller::shown::Shown;
use crate::remote::DriftSignal;
use crate::remote::spec::{self, Rules};
use crate::source::reference::{Source, Sources};
use crate::sync::freeze::tolerated;
use crate::value::SecretValue;

/// Reasons of a connection that do not pass by themselves.
const PERSISTENT: [&str; 5] =
    ["CredentialsMissing", "AuthenticationFailed", "PermissionDenied", "RemoteDiverged", "Invalid"];

/// A connection that a VaultSecret names.
#[derive(Clone, Debug)]
pub struct Link {
    /// `<kind>/<name>`.
    pub display: String,
    /// Which names and values the remote takes.
    pub rules: Rules,
    /// Which remote it is. Two connections of one account have the same, as far as that is known.
    pub base: Arc<str>,
    /// What is put before names.
    pub prefix: Option<String>,
    /// Which namespaces may use it.
    pub allowed: Option<AllowedNamespaces>,
    /// How long a request may still land.
    pub settle: Duration,
    /// Why nothing would be written through it yet.
    pub problem: Option<Issue>,
    /// It leads to another remote than it does now: what the ledgers say of it is not said of that one.
    pub moved: bool,
}

impl Link {
    /// Length of the prefix of a namespace.
    #[must_use]
    pub fn prefix_length(&self, namespace: &str) -> usize {
        self.prefix.as_deref().map_or(0, |prefix| render_prefix(prefix, namespace).len())
    }

    /// Whether the remote shows stamps of changes.
    #[must_use]
    pub fn stamps(&self) -> bool {
        let signal = match &self.rules {
            Rules::BuiltIn(provider) => spec::drift_signal(*provider),
            Rules::Described(rules) => rules.drift_signal(),
        };
        signal != DriftSignal::Presence
    }
}

/// Why there is none.
#[derive(Clone, Debug)]
pub enum NoLink {
    /// It is missing, not allowed, or would be refused.
    Issue(Issue),
    /// It is not known; says why.
    Unseen(String),
}

/// Finds the connection of a VaultSecret in `namespace`.
///
/// # Errors
/// Why there is none.
pub fn find(world: &World, namespace: &str, reference: &ConnectionRef) -> Result<Link, NoLink> {
    let key = ConnectionKey::new(reference.kind(), namespace, &reference.name);
    let display = key.display();
    let Some(shown) = world.connection(&key) else { return Err(missing(world, &key, namespace)) };
    if let Some(allowed) = &shown.allowed
        && !world.namespaces.allows(allowed, namespace)
    {
        let blind = world.cluster.as_ref().is_none_or(|cluster| cluster.labels_unseen);
        return Err(if allowed.selector.is_some() && blind {
            NoLink::Unseen(format!("{display} allows namespaces by label, and those of {namespace} are not known"))
        } else {
            let text = format!("{display} does not allow namespace {namespace} (spec.allowedNamespaces)");
            NoLink::Issue(Issue::new(Reason::NotAllowed, text))
        });
    }
    let mut link = of(world, shown)?;
    move_to(world, shown, &mut link);
    Ok(link)
}

/// Compares where the connection leads with where it leads now. With more than a few entries there, the operator writes nothing
/// until that is approved.
fn move_to(world: &World, shown: &Shown, link: &mut Link) {
    let Some(cluster) = &world.cluster else { return };
    let live = cluster.connections.get(&shown.key).filter(|live| live.spec != shown.spec);
    let before = live.and_then(|live| of(world, live).ok());
    link.moved =
        before.is_some_and(|before| before.problem.is_none() && link.problem.is_none() && before.base != link.base);
    if !link.moved {
        return;
    }
    let objects = cluster.vault_secrets.iter().filter(|(key, _)| {
        shown.key.kind == ConnectionKind::ClusterVaultConnection || key.namespace == shown.key.object.namespace
    });
    let rows = objects.flat_map(|(_, vs)| vs.status.iter().flat_map(|status| &status.entries));
    let own = rows.filter(|row| row.is_ours() && row.connection == link.display).count();
    if own > tolerated(own) {
        let text = format!(
            "{} would point at another remote while it has {own} entries at this one: nothing is written until that is approved",
            link.display
        );
        link.problem = Some(Issue::new(Reason::RemoteDiverged, text));
        link.moved = false;
    }
}

fn missing(world: &World, key: &ConnectionKey, namespace: &str) -> NoLink {
    let display = key.display();
    let declared = world
        .manifests
        .iter()
        .find(|m| m.kind == key.kind.as_str() && m.name == *key.object.name && m.namespace == *key.object.namespace);
    if declared.is_some() {
        let text = format!("{display} would be refused itself");
        return NoLink::Issue(Issue::new(Reason::ConnectionNotReady, text));
    }
    match &world.cluster {
        None => NoLink::Unseen(format!("{display} is not in the manifests, so its rules are not known")),
        Some(cluster) if cluster.unseen.contains(&key.kind) => {
            NoLink::Unseen(format!("{display} could not be looked at, so its rules are not known"))
        }
        Some(_) => {
            let place = match key.kind {
                ConnectionKind::VaultConnection => format!(" in namespace {namespace}"),
                ConnectionKind::ClusterVaultConnection => String::new(),
            };
            NoLink::Issue(Issue::new(Reason::ConnectionMissing, format!("{display} does not exist{place}")))
        }
    }
}

/// What a connection comes to.
///
/// # Errors
/// When its spec cannot be used.
pub fn of(world: &World, shown: &Shown) -> Result<Link, NoLink> {
    let display = shown.key.display();
    let not_ready = |text: String| Issue::new(Reason::ConnectionNotReady, format!("{display}: {text}"));
    let namespace = match shown.key.kind {
        ConnectionKind::VaultConnection => &*shown.key.object.namespace,
        ConnectionKind::ClusterVaultConnection => &world.operator_namespace,
    };
    let (read, sure) = sources(world, namespace, &shown.spec);
    let invalid = |text: String| NoLink::Issue(not_ready(format!("Invalid: {text}")));
    let (material, mut problem) = match put_together(&shown.spec, &read) {
        Ok(material) => (material, None),
        Err(CredentialsError::Invalid(text)) => return Err(invalid(text)),
        Err(CredentialsError::Missing(text) | CredentialsError::Api(text)) => {
            // What the connection says is judged all the same.
            let material =
                put_together(&shown.spec, &made_up(&shown.spec)).map_err(|error| invalid(error.to_string()))?;
            (material, Some(not_ready(format!("CredentialsMissing: {text}"))))
        }
    };
    // Where an account has a name that is not known, it is nobody else's, as far as anybody can tell.
    let same = sure || put_together(&shown.spec, &made_up(&shown.spec)).is_ok_and(|other| other.base == material.base);
    let base = match same && problem.is_none() {
        true => material.base,
        false => format!("{} of {} {}", material.base, shown.key.kind.as_str(), shown.key.object),
    };
    let live = world.cluster.as_ref().and_then(|cluster| cluster.connections.get(&shown.key));
    if let Some(live) = live.filter(|live| live.spec == shown.spec && problem.is_none()) {
        let ready = live.status.conditions.iter().find(|c| c.type_ == "Ready" && c.status == "False");
        let ready = ready.filter(|c| PERSISTENT.contains(&c.reason.as_str()));
        problem = ready.map(|c| {
            let reason = if c.reason == "RemoteDiverged" { Reason::RemoteDiverged } else { Reason::ConnectionNotReady };
            Issue::new(reason, format!("{display} is not ready: {}", c.reason))
        });
    }
    Ok(Link {
        settle: settle(&shown.spec, material.rules.provider()),
        rules: material.rules,
        base: base.into(),
        prefix: shown.prefix.clone(),
        allowed: shown.allowed.clone(),
        problem,
        display,
        moved: false,
    })
}

/// Where a connection leads as far as its spec tells, and whether its credential has a say in that: two that lead to one place may
/// be of two accounts.
#[must_use]
pub fn place(spec: &ConnectionSpec) -> Option<(String, bool)> {
    let other = || Source { value: SecretValue::from("another"), resource_version: String::new() };
    let others = source_refs(spec).into_iter().map(|of| (of, Ok(other()))).collect();
    let base = put_together(spec, &made_up(spec)).ok()?.base;
    let same = put_together(spec, &others).is_ok_and(|material| material.base == base);
    Some((base, !same))
}

fn put_together(
    spec: &ConnectionSpec,
    sources: &Sources,
) -> Result<crate::controller::credentials::Material, CredentialsError> {
    assemble(spec, sources, Path::new("/"))
}

/// What is there, what is not known as made up, and whether all of it is known.
fn sources(world: &World, namespace: &str, spec: &ConnectionSpec) -> (Sources, bool) {
    let mut sure = true;
    let found = source_refs(spec).into_iter().map(|of| {
        let found = match world.value(namespace, &of) {
            Ok((value, resource_version)) => Ok(Source { value, resource_version }),
            Err(Gap::Missing(error)) => Err(error),
            Err(Gap::Unseen(_)) => {
                sure = false;
                Ok(Source { value: SecretValue::from("not known"), resource_version: String::new() })
            }
        };
        (of, found)
    });
    (found.collect(), sure)
}

/// Everything made up.
fn made_up(spec: &ConnectionSpec) -> Sources {
    let made_up = || Source { value: SecretValue::from("made up"), resource_version: String::new() };
    source_refs(spec).into_iter().map(|of| (of, Ok(made_up()))).collect()
}
