//! What the demo asks of the API server.

use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::api::events::v1::Event;
use kube::api::{ApiResource, DeleteParams, DynamicObject, GroupVersionKind, ListParams, Patch, PatchParams};
use kube::{Api, Client};
use serde_json::{Value, json};

use super::error::Failure;
use super::manifests::{kind, text};

/// Who the demo is to the API server.
const MANAGER: &str = "demo";

/// The API of an object's kind.
fn api_of(client: &Client, object: &Value) -> Api<DynamicObject> {
    let api_version = text(object, "/apiVersion");
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind(object)));
    match text(object, "/metadata/namespace") {
        "" => Api::all_with(client.clone(), &resource),
        namespace => Api::namespaced_with(client.clone(), namespace, &resource),
    }
}

/// `Secret demo/source`.
pub(crate) fn describe(object: &Value) -> String {
    match text(object, "/metadata/namespace") {
        "" => format!("{} {}", kind(object), text(object, "/metadata/name")),
        namespace => format!("{} {namespace}/{}", kind(object), text(object, "/metadata/name")),
    }
}

/// Applies an object by server-side apply.
pub(crate) async fn apply(client: &Client, object: &Value) -> Result<(), Failure> {
    let params = PatchParams::apply(MANAGER).force();
    let name = text(object, "/metadata/name");
    let applied = api_of(client, object).patch(name, &params, &Patch::Apply(object)).await;
    applied.map(drop).map_err(Failure::api(format!("applying {}", describe(object))))
}

/// The object as it is, if it is there.
pub(crate) async fn get(client: &Client, object: &Value) -> Result<Option<Value>, String> {
    let found =
        api_of(client, object).get_opt(text(object, "/metadata/name")).await.map_err(|error| error.to_string())?;
    found.map(serde_json::to_value).transpose().map_err(|error| error.to_string())
}

/// Deletes an object, unless it is gone.
pub(crate) async fn delete(client: &Client, object: &Value) -> Result<(), Failure> {
    match api_of(client, object).delete(text(object, "/metadata/name"), &DeleteParams::default()).await {
        Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
        other => other.map(drop).map_err(Failure::api(format!("deleting {}", describe(object)))),
    }
}

/// Changes fields of an object, as a person does with `kubectl patch`.
pub(crate) async fn merge(client: &Client, object: &Value, change: &Value) -> Result<(), Failure> {
    let params = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
    let changed = api_of(client, object).patch(text(object, "/metadata/name"), &params, &Patch::Merge(change)).await;
    changed.map(drop).map_err(Failure::api(format!("changing {}", describe(object))))
}

/// Names a VaultSecret or a VaultConnection.
pub(crate) fn custom(kind: &str, namespace: &str, name: &str) -> Value {
    json!({
        "apiVersion": "vaultsecret.dev/v1alpha1", "kind": kind,
        "metadata": {"namespace": namespace, "name": name},
    })
}

/// A value of a Secret, if both are there.
pub(crate) async fn secret_value(
    client: &Client,
    namespace: &str,
    name: &str,
    key: &str,
) -> Result<Option<String>, String> {
    let found = Api::<Secret>::namespaced(client.clone(), namespace).get_opt(name).await;
    let bytes = found.map_err(|error| error.to_string())?.and_then(|secret| secret.data?.remove(key));
    bytes.map(|bytes| String::from_utf8(bytes.0)).transpose().map_err(|_| format!("{name}: {key} is not text"))
}

/// Sets a value of a Secret, as a person does with `kubectl edit`.
pub(crate) async fn set_secret_value(
    client: &Client,
    namespace: &str,
    name: &str,
    key: &str,
    value: &str,
) -> Result<(), Failure> {
    let change = Patch::Merge(json!({"stringData": {key: value}}));
    let params = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
    let changed = Api::<Secret>::namespaced(client.clone(), namespace).patch(name, &params, &change).await;
    changed.map(drop).map_err(Failure::api(format!("changing the Secret {namespace}/{name}")))
}

/// The notes of the events with that reason about an object of that name.
pub(crate) async fn events(client: &Client, namespace: &str, name: &str, reason: &str) -> Result<Vec<String>, String> {
    let all = Api::<Event>::namespaced(client.clone(), namespace).list(&ListParams::default()).await;
    let about = |event: &Event| {
        let regarding = event.regarding.as_ref().and_then(|object| object.name.as_deref());
        event.reason.as_deref() == Some(reason) && regarding == Some(name)
    };
    let all = all.map_err(|error| error.to_string())?.items;
    Ok(all.into_iter().filter(about).map(|event| event.note.unwrap_or_default()).collect())
}

/// Every event about objects of the namespace, as a line each.
pub(crate) async fn all_events(client: &Client, namespace: &str) -> Vec<String> {
    let all = Api::<Event>::namespaced(client.clone(), namespace).list(&ListParams::default()).await;
    let line = |event: Event| {
        let about = event.regarding.unwrap_or_default();
        let or_empty = Option::unwrap_or_default;
        let (kind, name) = (or_empty(about.kind), or_empty(about.name));
        format!("{} {} {kind}/{name}: {}", or_empty(event.type_), or_empty(event.reason), or_empty(event.note))
    };
    all.map(|list| list.items.into_iter().map(line).collect()).unwrap_or_default()
}

/// Whether the API server serves a definition's kind.
pub(crate) async fn established(client: &Client, definition: &Value) -> Result<(), String> {
    let found = get(client, definition).await?.unwrap_or_default();
    let conditions = found["status"]["conditions"].as_array().cloned().unwrap_or_default();
    let holds = |condition: &Value| text(condition, "/type") == "Established" && text(condition, "/status") == "True";
    if conditions.iter().any(holds) { Ok(()) } else { Err(format!("{} is not established", describe(definition))) }
}
