//! Connections of other VaultSecrets, which may lead to a remote of the manifests.

use std::collections::BTreeSet;

use crate::api::vault_secret::ConnectionKind;
use crate::cli::plan::link;
use crate::cli::plan::world::{Cluster, Observed, World};
use crate::controller::credentials::source_refs;
use crate::controller::keys::ConnectionKey;

/// Namespace of a connection's credentials.
#[must_use]
pub fn credentials_namespace(world: &World, key: &ConnectionKey) -> String {
    match key.kind {
        ConnectionKind::VaultConnection => key.object.namespace.to_string(),
        ConnectionKind::ClusterVaultConnection => world.operator_namespace.clone(),
    }
}

/// Connections of VaultSecrets that are none of the manifests', and that may lead to a remote of these: whether they do is told by
/// the account that their credentials open.
#[must_use]
pub fn of(world: &World, cluster: &Cluster, used: &BTreeSet<ConnectionKey>) -> BTreeSet<ConnectionKey> {
    let both = |key: &ConnectionKey| [world.connections.get(key), cluster.connections.get(key)].into_iter().flatten();
    let places: BTreeSet<String> =
        used.iter().flat_map(both).filter_map(|shown| Some(link::place(&shown.spec)?.0)).collect();
    let mut all = BTreeSet::new();
    for (key, vs) in &cluster.vault_secrets {
        let rows = vs.status.iter().flat_map(|status| &status.entries);
        all.extend(rows.filter_map(|row| ConnectionKey::parse(&row.connection, &key.namespace)));
        let reference = &vs.spec.connection_ref;
        all.insert(ConnectionKey::new(reference.kind(), &key.namespace, &reference.name));
    }
    let leads_there = |key: &ConnectionKey| {
        let spec = &cluster.connections.get(key)?.spec;
        let (place, by_account) = link::place(spec)?;
        Some(by_account && places.contains(&place))
    };
    all.retain(|key| !used.contains(key) && leads_there(key).unwrap_or(false));
    all
}

/// Says of which of them the account is not known.
pub fn note_unknown(world: &World, cluster: &mut Cluster) {
    let used: BTreeSet<ConnectionKey> = world
        .wanted
        .iter()
        .map(|(key, vs)| {
            ConnectionKey::new(vs.spec.connection_ref.kind(), &key.namespace, &vs.spec.connection_ref.name)
        })
        .chain(world.connections.keys().cloned())
        .collect();
    let unknown = of(world, cluster, &used).into_iter().filter(|key| {
        let namespace = credentials_namespace(world, key);
        let refs = cluster.connections.get(key).map(|shown| source_refs(&shown.spec)).unwrap_or_default();
        refs.into_iter()
            .any(|of| matches!(cluster.objects.get(&(of.kind, namespace.clone(), of.name)), Some(Observed::Unseen(_))))
    });
    let names: Vec<String> = unknown.map(|key| key.metric_name()).collect();
    if !names.is_empty() {
        cluster.notes.push(format!(
            "whether {} opens the same account could not be found out, as you may not read its credentials: a VaultSecret there may \
             have an entry already",
            names.join(", ")
        ));
    }
}
