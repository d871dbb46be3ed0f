//! Attempts to write, and what the API server says to them.

use kube::api::{DeleteParams, DynamicObject, Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::{Value, json};

use crate::cluster::{api, eventually};

/// A write.
pub enum Call {
    /// Make this object.
    Create(Value),
    /// Change an object by a merge patch.
    Patch(Value, Value),
    /// Apply an object as a field manager, by force.
    Apply(&'static str, Value),
    /// Replace an object as a field manager: read it, change it by a merge patch, put it back.
    Replace(&'static str, Value, Value),
    /// Delete an object.
    Delete(Value),
}

/// The head of a manifest.
pub fn at(kind: &str, namespace: &str, name: &str) -> Value {
    let api_version = match kind {
        "Secret" => "v1",
        "VaultSecret" => "vaultsecret.dev/v1alpha1",
        _ => "apps/v1",
    };
    json!({"apiVersion": api_version, "kind": kind, "metadata": {"name": name, "namespace": namespace}})
}

/// The head, and more.
pub fn with(mut head: Value, more: Value) -> Value {
    for (name, value) in more.as_object().unwrap() {
        match (name.as_str(), value) {
            ("metadata", Value::Object(fields)) => {
                head["metadata"].as_object_mut().unwrap().extend(fields.clone());
            }
            _ => head[name] = value.clone(),
        }
    }
    head
}

fn text<'a>(manifest: &'a Value, pointer: &str) -> &'a str {
    manifest.pointer(pointer).and_then(Value::as_str).unwrap()
}

fn place(client: &Client, manifest: &Value) -> (Api<DynamicObject>, String) {
    let namespace = text(manifest, "/metadata/namespace");
    let api = api(client, text(manifest, "/apiVersion"), text(manifest, "/kind"), namespace);
    (api, text(manifest, "/metadata/name").to_owned())
}

/// JSON merge patch.
fn merge(into: &mut Value, patch: &Value) {
    let Some(fields) = patch.as_object() else {
        *into = patch.clone();
        return;
    };
    if !into.is_object() {
        *into = json!({});
    }
    for (name, value) in fields {
        match value {
            Value::Null => {
                into.as_object_mut().unwrap().remove(name);
            }
            value => merge(&mut into[name], value),
        }
    }
}

/// Makes the call, or only asks what would become of it.
pub async fn make(client: &Client, call: &Call, dry_run: bool) -> kube::Result<()> {
    let post = |manager: Option<&str>| PostParams { dry_run, field_manager: manager.map(str::to_owned) };
    match call {
        Call::Create(manifest) => {
            let object = serde_json::from_value(manifest.clone()).unwrap();
            place(client, manifest).0.create(&post(None), &object).await.map(drop)
        }
        Call::Patch(head, patch) => {
            let (api, name) = place(client, head);
            let params = PatchParams { dry_run, ..PatchParams::default() };
            api.patch(&name, &params, &Patch::Merge(patch)).await.map(drop)
        }
        Call::Apply(manager, manifest) => {
            let (api, name) = place(client, manifest);
            let params = PatchParams { dry_run, ..PatchParams::apply(manager).force() };
            api.patch(&name, &params, &Patch::Apply(manifest)).await.map(drop)
        }
        Call::Replace(manager, head, patch) => {
            let (api, name) = place(client, head);
            let mut object = serde_json::to_value(api.get(&name).await?).unwrap();
            merge(&mut object, patch);
            let object: DynamicObject = serde_json::from_value(object).unwrap();
            api.replace(&name, &post(Some(manager)), &object).await.map(drop)
        }
        Call::Delete(head) => {
            let (api, name) = place(client, head);
            api.delete(&name, &DeleteParams { dry_run, ..DeleteParams::default() }).await.map(drop)
        }
    }
}

/// A policy refuses it, with this in its message. Asked again while the API server has not heard of the policy.
pub async fn refused(client: &Client, what: &str, call: Call, part: &str) {
    let mut last = String::new();
    eventually(&format!("{what} is refused"), async || {
        last = match make(client, &call, true).await {
            Ok(()) => "it was allowed".to_owned(),
            Err(error) => error.to_string(),
        };
        // Anything else than an admission policy's refusal is a mistake of the test.
        let by_policy = last.contains("ValidatingAdmissionPolicy") || last == "it was allowed";
        assert!(by_policy, "{what}: {last}");
        last.contains(part)
    })
    .await;
}

/// It succeeds.
pub async fn allowed(client: &Client, what: &str, call: Call) {
    if let Err(error) = make(client, &call, false).await {
        panic!("{what}: {error}");
    }
}
