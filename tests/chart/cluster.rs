//! Objects of whatever kind at a real API server.

use std::time::{Duration, Instant};

use kube::api::{ApiResource, DynamicObject, GroupVersionKind, Patch, PatchParams, ValidationDirective};
use kube::discovery::pinned_kind;
use kube::{Api, Client};
use serde_json::{Value, json};

use crate::helm::{documents, in_repository};

const PATIENCE: Duration = Duration::from_secs(60);

/// Who the suite is when it applies a manifest.
const USER: &str = "a-user";

/// A namespace with a given name.
pub async fn namespace(client: &Client, name: &str, labels: Value) {
    apply(client, &json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}))
        .await;
}

fn text<'a>(manifest: &'a Value, pointer: &str) -> &'a str {
    manifest.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// Where a manifest goes. Asks the API server for its kind.
pub async fn api_of(client: &Client, manifest: &Value) -> kube::Result<Api<DynamicObject>> {
    let (group, version) = text(manifest, "/apiVersion").split_once('/').unwrap_or(("", text(manifest, "/apiVersion")));
    let (resource, capabilities) =
        pinned_kind(client, &GroupVersionKind::gvk(group, version, text(manifest, "/kind"))).await?;
    let namespaced = capabilities.scope == kube::discovery::Scope::Namespaced;
    Ok(match namespaced {
        true => Api::namespaced_with(client.clone(), text(manifest, "/metadata/namespace"), &resource),
        false => Api::all_with(client.clone(), &resource),
    })
}

/// Objects of a known kind in a namespace.
pub fn api(client: &Client, api_version: &str, kind: &str, namespace: &str) -> Api<DynamicObject> {
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
    match namespace {
        "" => Api::all_with(client.clone(), &resource),
        namespace => Api::namespaced_with(client.clone(), namespace, &resource),
    }
}

/// Applies a manifest; a field that the API server does not know is an error.
pub async fn try_apply(client: &Client, manifest: &Value) -> kube::Result<DynamicObject> {
    let mut params = PatchParams::apply(USER).force();
    params.field_validation = Some(ValidationDirective::Strict);
    let api = api_of(client, manifest).await?;
    api.patch(text(manifest, "/metadata/name"), &params, &Patch::Apply(manifest)).await
}

/// The same, where it must succeed.
pub async fn apply(client: &Client, manifest: &Value) -> DynamicObject {
    try_apply(client, manifest)
        .await
        .unwrap_or_else(|error| panic!("applying {} {}: {error}", manifest["kind"], manifest["metadata"]["name"]))
}

/// Applies manifests, definitions first.
pub async fn apply_all(client: &Client, manifests: &[Value]) {
    let is_definition = |manifest: &&Value| manifest["kind"] == "CustomResourceDefinition";
    for definition in manifests.iter().filter(is_definition) {
        apply(client, definition).await;
        established(client, text(definition, "/metadata/name")).await;
    }
    for manifest in manifests.iter().filter(|manifest| !is_definition(manifest)) {
        apply(client, manifest).await;
    }
}

/// Waits until a definition is served.
pub async fn established(client: &Client, name: &str) {
    let definitions = api(client, "apiextensions.k8s.io/v1", "CustomResourceDefinition", "");
    eventually(&format!("{name} is served"), async || {
        let Ok(found) = definitions.get(name).await else { return false };
        let conditions =
            found.data.pointer("/status/conditions").and_then(Value::as_array).cloned().unwrap_or_default();
        conditions.iter().any(|condition| condition["type"] == "Established" && condition["status"] == "True")
    })
    .await;
}

/// Waits until something holds.
pub async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let began = Instant::now();
    while !holds().await {
        assert!(began.elapsed() < PATIENCE, "not in {PATIENCE:?}: {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// What the Prometheus operator would have installed: as much of its definitions as the chart uses.
pub async fn install_monitoring(client: &Client) {
    let path = in_repository("tests/chart/monitoring-crds.yaml");
    apply_all(client, &documents(&std::fs::read_to_string(path).unwrap())).await;
}
