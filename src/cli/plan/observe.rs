//! What a plan asks of the cluster, with the rights of whoever calls it. Nothing is written: what is sent is sent as a dry run.

mod labels;
mod rehearse;
pub mod rivals;

use std::collections::BTreeSet;

use futures::stream::{self, StreamExt as _};
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Secret};
use kube::api::{Api, ApiResource, DynamicObject, GroupVersionKind, ListParams};
use kube::{Client, Resource, ResourceExt as _};
use serde::de::DeserializeOwned;

use super::whole;
use super::world::{At, Blob, Cluster, Observed, World};
use crate::api::vault_secret::{ConnectionKind, CreationPolicy, RestartKind, RestartTarget, VaultSecretSpec};
use crate::api::{ClusterVaultConnection, VaultConnection, VaultSecret, names};
use crate::cli::cluster::every_page;
use crate::controller::credentials::source_refs;
use crate::controller::guard::Guarded;
use crate::controller::keys::ConnectionKey;
use crate::controller::shown::AsShown as _;
use crate::kube_error::{ApiError, ApiErrorKind, within};
use crate::remote::lane::ObjectKey;
use crate::source::escrow::escrow_name;
use crate::source::reference::{SourceKind, SourceRef, is_object_name};
use crate::source::sealed::Ring;

/// Requests at the same time.
const AT_ONCE: usize = 8;

/// Looks at everything that the manifests have to do with.
///
/// # Errors
/// When the cluster cannot be asked, or its VaultSecrets cannot be listed.
pub async fn observe(client: &Client, world: &mut World) -> anyhow::Result<()> {
    let mut cluster = Cluster::default();
    let spaces: BTreeSet<String> =
        world.manifests.iter().map(|m| m.namespace.clone()).filter(|namespace| !namespace.is_empty()).collect();
    vault_secrets(client, &spaces, &mut cluster).await?;
    connections(client, &spaces, &mut cluster).await?;
    namespaces(client, world, &mut cluster).await?;
    labels::all(client, world, &mut cluster).await?;
    let wanted = refers_to(world, &cluster);
    let read = stream::iter(wanted).map(|at| object(client, at)).buffer_unordered(AT_ONCE).collect::<Vec<_>>().await;
    for one in read {
        let (at, observed) = one?;
        cluster.objects.insert(at, observed);
    }
    rivals::note_unknown(world, &mut cluster);
    private(client, world, &mut cluster).await?;
    workloads(client, world, &mut cluster).await?;
    rehearse::all(client, world, &mut cluster).await?;
    world.cluster = Some(cluster);
    Ok(())
}

/// A list, or why there is none: that it may not be read, or that the cluster does not know the kind.
enum Listed<K> {
    All(Vec<K>),
    Forbidden,
    NoSuchKind,
}

async fn list<K>(call: &'static str, api: Api<K>) -> Result<Listed<K>, ApiError>
where
    K: Clone + DeserializeOwned + std::fmt::Debug,
{
    match every_page(ListParams::default(), async |params| within(call, api.list(params)).await).await {
        Ok(all) => Ok(Listed::All(all)),
        Err(error) if error.kind == ApiErrorKind::Forbidden => Ok(Listed::Forbidden),
        Err(error) if error.kind == ApiErrorKind::NotFound => Ok(Listed::NoSuchKind),
        Err(error) => Err(error),
    }
}

/// Lists a kind in all namespaces, or where that is not allowed in these; the second half says whether it was in all.
async fn list_somewhere<K>(
    client: &Client,
    call: &'static str,
    spaces: &BTreeSet<String>,
) -> Result<(Listed<K>, bool), ApiError>
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Clone + DeserializeOwned + std::fmt::Debug,
{
    match list(call, Api::all(client.clone())).await? {
        Listed::Forbidden => {}
        other => return Ok((other, true)),
    }
    let mut all = Vec::new();
    for space in spaces {
        match list(call, Api::namespaced(client.clone(), space)).await? {
            Listed::All(some) => all.extend(some),
            other => return Ok((other, false)),
        }
    }
    Ok((Listed::All(all), false))
}

async fn vault_secrets(client: &Client, spaces: &BTreeSet<String>, cluster: &mut Cluster) -> anyhow::Result<()> {
    match list_somewhere::<GuardedSecret>(client, "listing VaultSecrets", spaces).await? {
        (Listed::All(found), everywhere) => {
            for vs in found {
                let key = ObjectKey::new(vs.namespace().unwrap_or_default(), vs.name_any());
                match vs.0 {
                    Ok(vs) => drop(cluster.vault_secrets.insert(key, vs)),
                    Err(_) if !spaces.contains(&*key.namespace) => {}
                    Err(_) => cluster.notes.push(format!(
                        "VaultSecret {key} of the cluster cannot be understood, and is taken for one that is not there"
                    )),
                }
            }
            if !everywhere {
                let text =
                    "VaultSecrets of other namespaces could not be looked at: one of them may have an entry already";
                cluster.notes.push(text.to_owned());
            }
        }
        (Listed::Forbidden, _) => anyhow::bail!(
            "you may not list VaultSecrets in {}; give --offline to plan from the manifests alone",
            spaces.iter().cloned().collect::<Vec<_>>().join(", ")
        ),
        (Listed::NoSuchKind, _) => cluster.notes.push(
            "the cluster does not know VaultSecrets yet: install the definitions first (vaultsecret crd)".to_owned(),
        ),
    }
    Ok(())
}

type GuardedSecret = Guarded<VaultSecret>;

async fn connections(client: &Client, spaces: &BTreeSet<String>, cluster: &mut Cluster) -> anyhow::Result<()> {
    match list_somewhere::<Guarded<VaultConnection>>(client, "listing VaultConnections", spaces).await?.0 {
        Listed::All(found) => {
            for one in found.into_iter().filter_map(|one| one.0.ok()) {
                let namespace = one.namespace().unwrap_or_default();
                let key = ConnectionKey::new(ConnectionKind::VaultConnection, &namespace, &one.name_any());
                cluster.connections.insert(key.clone(), one.as_shown(&key));
            }
        }
        Listed::Forbidden => drop(cluster.unseen.insert(ConnectionKind::VaultConnection)),
        Listed::NoSuchKind => {}
    }
    let all = Api::<Guarded<ClusterVaultConnection>>::all(client.clone());
    match list("listing ClusterVaultConnections", all).await? {
        Listed::All(found) => {
            for one in found.into_iter().filter_map(|one| one.0.ok()) {
                let key = ConnectionKey::new(ConnectionKind::ClusterVaultConnection, "", &one.name_any());
                cluster.connections.insert(key.clone(), one.as_shown(&key));
            }
        }
        Listed::Forbidden => drop(cluster.unseen.insert(ConnectionKind::ClusterVaultConnection)),
        Listed::NoSuchKind => {}
    }
    Ok(())
}

async fn namespaces(client: &Client, world: &mut World, cluster: &mut Cluster) -> anyhow::Result<()> {
    match list("listing namespaces", Api::<Namespace>::all(client.clone())).await? {
        Listed::All(found) => {
            // What the manifests say of a namespace is what it will be like.
            for namespace in found.into_iter().filter(|n| !world.namespaces.exists(&n.name_any())) {
                world.namespaces.observe(&namespace.name_any(), namespace.labels().clone());
            }
        }
        Listed::Forbidden | Listed::NoSuchKind => cluster.labels_unseen = true,
    }
    Ok(())
}

/// Secrets and ConfigMaps that the manifests refer to, or that are made for them.
fn refers_to(world: &World, cluster: &Cluster) -> BTreeSet<At> {
    let mut all = BTreeSet::new();
    let mut used = BTreeSet::new();
    for (key, vs) in &world.wanted {
        let namespace = key.namespace.to_string();
        let live = cluster.vault_secrets.get(key);
        let secret = |name: &str| (SourceKind::Secret, namespace.clone(), name.to_owned());
        if vs.spec.data.iter().any(|e| e.value_from.as_ref().is_some_and(|from| from.generate.is_some())) {
            all.insert(secret(&escrow_name(&key.name)));
        }
        if vs.spec.creation_policy() != CreationPolicy::None {
            all.insert(secret(vs.spec.target_name(&key.name)));
        }
        let refs = vs.spec.data.iter().filter_map(|e| SourceRef::of(e.value_from.as_ref()?));
        all.extend(refs.map(|of| (of.kind, namespace.clone(), of.name)));
        all.extend(whole::secrets(world, cluster, key, &vs.spec).iter().map(|name| secret(name)));
        let sources = vs.spec.data.iter().filter_map(|e| Some(e.remote()?.connection(&vs.spec.connection_ref)));
        used.extend(sources.map(|of| ConnectionKey::new(of.kind(), &namespace, &of.name)));
        let specs: [Option<&VaultSecretSpec>; 2] = [Some(&vs.spec), live.map(|live| &live.spec)];
        used.extend(
            specs
                .into_iter()
                .flatten()
                .map(|spec| ConnectionKey::new(spec.connection_ref.kind(), &namespace, &spec.connection_ref.name)),
        );
    }
    used.extend(world.connections.keys().cloned());
    let others = rivals::of(world, cluster, &used);
    for key in used.into_iter().chain(others) {
        let namespace = rivals::credentials_namespace(world, &key);
        for shown in [world.connections.get(&key), cluster.connections.get(&key)].into_iter().flatten() {
            all.extend(source_refs(&shown.spec).into_iter().map(|of| (of.kind, namespace.clone(), of.name)));
        }
    }
    // A name that no object can have is asked for by nobody.
    all.retain(|(_, namespace, name)| is_object_name(namespace) && is_object_name(name));
    all
}

async fn object(client: &Client, at: At) -> Result<(At, Observed<Blob>), ApiError> {
    let (kind, namespace, name) = &at;
    let found = match kind {
        SourceKind::Secret => {
            let api: Api<Secret> = Api::namespaced(client.clone(), namespace);
            within("reading a Secret", api.get_opt(name)).await.map(|found| found.map(Blob::from))
        }
        SourceKind::ConfigMap => {
            let api: Api<ConfigMap> = Api::namespaced(client.clone(), namespace);
            within("reading a ConfigMap", api.get_opt(name)).await.map(|found| found.map(Blob::from))
        }
    };
    let observed = match found {
        Ok(Some(blob)) => Observed::Here(blob),
        Ok(None) => Observed::Absent,
        Err(error) if error.kind == ApiErrorKind::Forbidden => Observed::Unseen("you may not read it"),
        Err(error) => return Err(error),
    };
    Ok((at, observed))
}

/// The operator's own Secrets, where whoever calls may read them.
async fn private(client: &Client, world: &World, cluster: &mut Cluster) -> anyhow::Result<()> {
    let system = &world.operator_namespace;
    let has_rows = |key| {
        let live: Option<&VaultSecret> = cluster.vault_secrets.get(key);
        live.and_then(|vs| vs.status.as_ref()).is_some_and(|status| !status.entries.is_empty())
    };
    let at = |name: &str| (SourceKind::Secret, system.clone(), name.to_owned());
    if world.wanted.keys().any(has_rows) {
        match object(client, at(names::KEY_RING)).await?.1 {
            Observed::Here(blob) => cluster.keys = blob.secret.and_then(|secret| crate::keyring::read(&secret)),
            Observed::Absent => cluster.notes.push(format!(
                "there is no operator's key ring in namespace {system} (--operator-namespace), so not every change of a value can \
                 be told"
            )),
            Observed::Unseen(_) => cluster.notes.push(format!(
                "you may not read the operator's key ring in namespace {system}, so not every change of a value can be told"
            )),
        }
    }
    let sealed =
        |vs: &VaultSecret| vs.spec.data.iter().any(|e| e.value_from.as_ref().is_some_and(|from| from.sealed.is_some()));
    if world.wanted.values().any(sealed) {
        if let Observed::Here(blob) = object(client, at(names::SEALING_IDENTITIES)).await?.1 {
            cluster.ring = Ring::read(blob.data).0;
        } else {
            let text = "sealed values are not opened: the operator's identities are not there or you may not read them";
            cluster.notes.push(text.to_owned());
        }
    }
    Ok(())
}

async fn workloads(client: &Client, world: &World, cluster: &mut Cluster) -> anyhow::Result<()> {
    let wanted: BTreeSet<(String, RestartTarget)> = world
        .wanted
        .iter()
        .flat_map(|(key, vs)| vs.spec.rollout_restart_targets.iter().map(|t| (key.namespace.to_string(), t.clone())))
        .collect();
    for (namespace, target) in wanted {
        let group = if target.kind == RestartKind::Rollout { ("argoproj.io", "v1alpha1") } else { ("apps", "v1") };
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group.0, group.1, target.kind.as_str()));
        let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), &namespace, &resource);
        let observed = match within("reading a workload", api.get_metadata_opt(&target.name)).await {
            Ok(Some(_)) => Observed::Here(()),
            Ok(None) => Observed::Absent,
            Err(error) if error.kind == ApiErrorKind::Forbidden => Observed::Unseen("you may not read it"),
            Err(error) => return Err(error.into()),
        };
        cluster.workloads.insert((namespace, target), observed);
    }
    Ok(())
}
