//! Asks the API server whether it would take the manifests: its own definitions, its webhooks and its policies have a say too.

use kube::Client;
use kube::api::{Api, ApiResource, DynamicObject, GroupVersionKind, PostParams};

use crate::api::names;
use crate::api::vault_secret::ConnectionKind;
use crate::cli::plan::schema::Schemas;
use crate::cli::plan::world::{Cluster, Manifest, World};
use crate::controller::keys::ConnectionKey;
use crate::kube_error::{CALL_LIMIT, within};
use crate::remote::lane::ObjectKey;
use crate::source::api_error::{ApiError, ApiFailure};

/// How often an object is tried that changes meanwhile.
const ROUNDS: usize = 3;

/// Rehearses every manifest that is not refused already.
pub(super) async fn all(client: &Client, world: &World, cluster: &mut Cluster) -> anyhow::Result<()> {
    let mut not_asked = false;
    for manifest in world.manifests.iter().filter(|m| m.problems.is_empty()) {
        if !manifest.namespace.is_empty() && !cluster.labels_unseen && !world.namespaces.exists(&manifest.namespace) {
            let text = format!("namespace {} does not exist, and is not in the manifests", manifest.namespace);
            cluster.refusals.insert(id(manifest), text);
            continue;
        }
        match one(client, cluster, manifest).await {
            Outcome::Taken => {}
            Outcome::Refused(why) => drop(cluster.refusals.insert(id(manifest), why)),
            Outcome::NotAsked => not_asked = true,
        }
    }
    if not_asked {
        cluster.notes.push(
            "not all manifests were tried at the API server (you may not, or it does not know them yet): they were checked against \
             the definitions of this version"
                .to_owned(),
        );
    }
    Ok(())
}

fn id(manifest: &Manifest) -> (&'static str, String, String) {
    (manifest.kind, manifest.namespace.clone(), manifest.name.clone())
}

enum Outcome {
    Taken,
    Refused(String),
    NotAsked,
}

async fn one(client: &Client, cluster: &Cluster, manifest: &Manifest) -> Outcome {
    let mut value = manifest.document.value.clone();
    if let Some(fields) = value.as_object_mut() {
        fields.remove("status");
    }
    let Ok(mut object) = serde_json::from_value::<DynamicObject>(value) else { return Outcome::NotAsked };
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(names::GROUP, "v1alpha1", manifest.kind));
    let api: Api<DynamicObject> = if manifest.namespace.is_empty() {
        Api::all_with(client.clone(), &resource)
    } else {
        Api::namespaced_with(client.clone(), &manifest.namespace, &resource)
    };
    let params = PostParams { dry_run: true, field_manager: Some("vaultsecret-plan".to_owned()) };
    // What an exported manifest still has of its life in a cluster.
    (object.metadata.uid, object.metadata.managed_fields) = (None, None);
    let mut version = live_version(cluster, manifest);
    for _ in 0..ROUNDS {
        object.metadata.resource_version.clone_from(&version);
        // As a whole, because that is what it would be in the end: an apply would keep what another field manager wrote before.
        let asked = async {
            match &version {
                Some(_) => api.replace(&manifest.name, &params, &object).await,
                None => api.create(&params, &object).await,
            }
        };
        match tokio::time::timeout(CALL_LIMIT, asked).await {
            Ok(Ok(_)) => return Outcome::Taken,
            // The operator has written its status meanwhile.
            Ok(Err(kube::Error::Api(status))) if status.code == 409 && version.is_some() => {
                match within("reading an object", api.get_metadata_opt(&manifest.name)).await {
                    Ok(Some(read)) => version = read.metadata.resource_version,
                    _ => return Outcome::NotAsked,
                }
            }
            Ok(Err(error)) => return refusal(&error),
            Err(_) => return Outcome::NotAsked,
        }
    }
    Outcome::NotAsked
}

fn live_version(cluster: &Cluster, manifest: &Manifest) -> Option<String> {
    let kind = match manifest.kind {
        "VaultSecret" => {
            let key = ObjectKey::new(manifest.namespace.as_str(), manifest.name.as_str());
            return cluster.vault_secrets.get(&key)?.metadata.resource_version.clone();
        }
        "VaultConnection" => ConnectionKind::VaultConnection,
        _ => ConnectionKind::ClusterVaultConnection,
    };
    let key = ConnectionKey::new(kind, &manifest.namespace, &manifest.name);
    cluster.connections.get(&key)?.metadata.resource_version.clone()
}

/// What a refusal says, without what it may repeat of the manifest.
fn refusal(error: &kube::Error) -> Outcome {
    let harmless = ApiError::new("apply it", error);
    let said = match error {
        kube::Error::Api(status) => {
            let causes = status.details.iter().flat_map(|details| &details.causes);
            let known = causes.filter_map(|cause| Some((cause.field.clone(), Schemas::known_message(&cause.message)?)));
            let known: Vec<String> = known.map(|(field, message)| format!("{field}: {message}")).collect();
            known.join("; ")
        }
        _ => String::new(),
    };
    let by_admission = ["admission webhook", "ValidatingAdmissionPolicy", "the namespace is being deleted"];
    let detail = harmless.detail.as_deref().unwrap_or_default();
    match harmless.failure {
        ApiFailure::Invalid if !said.is_empty() => Outcome::Refused(said),
        ApiFailure::Invalid | ApiFailure::TooLarge | ApiFailure::QuotaExceeded => {
            Outcome::Refused(harmless.to_string())
        }
        ApiFailure::Forbidden if by_admission.iter().any(|known| detail.starts_with(known)) => {
            Outcome::Refused(detail.to_owned())
        }
        _ => Outcome::NotAsked,
    }
}
