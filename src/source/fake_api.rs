//! An API server in memory, for tests: objects by name, resourceVersions that guard, server-side apply of `data`, and a record
//! of what was asked. What it leaves out is tested against a real API server.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::{Json, Router};
use serde_json::{Value, json};

type Step = Box<dyn FnOnce(&mut Store) + Send>;

/// What the server holds.
#[derive(Default)]
pub(crate) struct Store {
    objects: BTreeMap<String, Value>,
    version: u64,
    requests: Vec<String>,
    failures: Vec<(String, u16, String)>,
    before: Vec<(String, Step)>,
}

/// The server; it ends with the test's runtime.
pub(crate) struct FakeApi {
    store: Arc<Mutex<Store>>,
    url: Uri,
}

impl FakeApi {
    pub(crate) async fn start() -> Self {
        drop(rustls::crypto::ring::default_provider().install_default());
        let store = Arc::new(Mutex::new(Store::default()));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap()).parse().unwrap();
        let app = Router::new().fallback(serve).with_state(store.clone());
        tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { store, url }
    }

    pub(crate) fn client(&self) -> kube::Client {
        let mut config = kube::Config::new(self.url.clone());
        config.default_retry = false;
        kube::Client::try_from(config).unwrap()
    }

    /// Puts an object there, as somebody else would.
    pub(crate) fn put(&self, plural: &str, object: Value) {
        self.store.lock().unwrap().put(plural, object);
    }

    /// The object as it is now.
    pub(crate) fn get(&self, plural: &str, namespace: &str, name: &str) -> Option<Value> {
        self.store.lock().unwrap().objects.get(&format!("{namespace}/{plural}/{name}")).cloned()
    }

    /// Method and name of every request so far, `DRYRUN` for a dry run.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.store.lock().unwrap().requests.clone()
    }

    /// Forgets the requests so far.
    pub(crate) fn forget(&self) {
        self.store.lock().unwrap().requests.clear();
    }

    /// Answers the next request of that method so.
    pub(crate) fn fail_next(&self, method: &str, code: u16, message: &str) {
        self.store.lock().unwrap().failures.push((method.into(), code, message.into()));
    }

    /// Does something right before the next request of that method is served.
    pub(crate) fn before_next(&self, method: &str, step: impl FnOnce(&mut Store) + Send + 'static) {
        self.store.lock().unwrap().before.push((method.into(), Box::new(step)));
    }
}

impl Store {
    pub(crate) fn put(&mut self, plural: &str, mut object: Value) {
        self.version += 1;
        let key = format!(
            "{}/{plural}/{}",
            object["metadata"]["namespace"].as_str().unwrap(),
            object["metadata"]["name"].as_str().unwrap()
        );
        if object["metadata"]["uid"].is_null() {
            object["metadata"]["uid"] = json!(format!("uid-{}", self.version));
        }
        if plural == "secrets" && object["type"].is_null() {
            object["type"] = json!("Opaque");
        }
        object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        self.objects.insert(key, object);
    }

    /// Takes an object away.
    pub(crate) fn remove(&mut self, plural: &str, namespace: &str, name: &str) {
        self.objects.remove(&format!("{namespace}/{plural}/{name}"));
    }
}

fn failure(code: u16, reason: &str, message: &str) -> Response {
    let status = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "code": code, "reason": reason, "message": message});
    (StatusCode::from_u16(code).unwrap(), Json(status)).into_response()
}

async fn serve(State(store): State<Arc<Mutex<Store>>>, method: Method, uri: Uri, body: Bytes) -> Response {
    let mut store = store.lock().unwrap();
    let parts: Vec<&str> = uri.path().split('/').collect();
    // Asked for its version, it answers with nothing but its clock, as every answer does.
    let Some(at) = parts.iter().position(|part| *part == "namespaces") else { return Json(json!({})).into_response() };
    let (namespace, plural) = (parts[at + 1], parts[at + 2]);
    let body: Value = serde_json::from_slice(&body).unwrap_or(Value::Null);
    let name = parts.get(at + 3).map_or_else(|| body["metadata"]["name"].as_str().unwrap(), |n| *n).to_owned();
    let dry_run = uri.query().unwrap_or_default().contains("dryRun=All");
    let verb = if dry_run { "DRYRUN".to_owned() } else { method.to_string() };
    store.requests.push(format!("{verb} {name}"));
    if let Some(at) = store.before.iter().position(|(m, _)| *m == verb) {
        let (_, step) = store.before.remove(at);
        step(&mut store);
    }
    if let Some(at) = store.failures.iter().position(|(m, ..)| *m == verb) {
        let (_, code, message) = store.failures.remove(at);
        return failure(code, if code == 403 { "Forbidden" } else { "Other" }, &message);
    }
    let key = format!("{namespace}/{plural}/{name}");
    let existing = store.objects.get(&key).cloned();
    let answer = match (method.as_str(), existing) {
        ("POST", Some(_)) => return failure(409, "AlreadyExists", "exists"),
        ("POST", None) if dry_run => return (StatusCode::CREATED, Json(body)).into_response(),
        ("POST", None) => body,
        (_, None) => return failure(404, "NotFound", "not found"),
        ("GET", Some(existing)) => return Json(existing).into_response(),
        ("PUT", Some(existing)) if !guarded(&existing, &body["metadata"]) => {
            return failure(409, "Conflict", "changed");
        }
        ("PUT", Some(existing)) => {
            let frozen = existing["immutable"] == json!(true);
            if existing["type"] != body["type"]
                || (frozen && (existing["data"] != body["data"] || body["immutable"] != json!(true)))
            {
                return failure(422, "Invalid", "immutable");
            }
            body
        }
        ("DELETE", Some(existing)) if !guarded(&existing, &body["preconditions"]) => {
            return failure(409, "Conflict", "precondition");
        }
        ("DELETE", Some(mut existing)) => {
            if existing["metadata"]["finalizers"].as_array().is_some_and(|f| !f.is_empty()) {
                existing["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
                store.objects.insert(key, existing.clone());
            } else {
                store.objects.remove(&key);
            }
            return Json(existing).into_response();
        }
        ("PATCH", Some(existing)) if !guarded(&existing, &body["metadata"]) => {
            return failure(409, "Conflict", "changed");
        }
        ("PATCH", Some(mut existing)) if plural != "secrets" => {
            merge(&mut existing, &body);
            existing
        }
        ("PATCH", Some(existing)) => {
            let manager = uri.query().unwrap().split('&').find_map(|p| p.strip_prefix("fieldManager=")).unwrap();
            apply_data(existing, &body, manager)
        }
        _ => return failure(405, "MethodNotAllowed", "method"),
    };
    store.put(plural, answer);
    Json(store.objects[&key].clone()).into_response()
}

fn guarded(existing: &Value, conditions: &Value) -> bool {
    ["resourceVersion", "uid"].iter().all(|f| conditions[f].is_null() || conditions[f] == existing["metadata"][f])
}

/// A JSON merge patch.
fn merge(into: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else { return into.clone_from(patch) };
    if !into.is_object() {
        *into = json!({});
    }
    for (name, value) in patch {
        if value.is_null() {
            into.as_object_mut().unwrap().remove(name);
        } else {
            merge(&mut into[name], value);
        }
    }
}

/// Server-side apply, by force, of nothing but `data`.
pub(crate) fn apply_data(mut existing: Value, patch: &Value, manager: &str) -> Value {
    let wanted = patch["data"].as_object().cloned().unwrap_or_default();
    let mut managers = existing["metadata"]["managedFields"].as_array().cloned().unwrap_or_default();
    let mut data = existing["data"].as_object().cloned().unwrap_or_default();
    for entry in managers.iter_mut() {
        let own = entry["manager"] == json!(manager);
        if let Some(fields) = entry["fieldsV1"]["f:data"].as_object_mut() {
            fields.retain(|field, _| {
                let key = field.strip_prefix("f:").unwrap_or_default();
                let keep = if own {
                    wanted.contains_key(key)
                } else {
                    wanted.get(key).is_none_or(|w| data.get(key) == Some(w))
                };
                if own && !keep {
                    data.remove(key);
                }
                keep
            });
        }
    }
    managers.retain(|entry| entry["manager"] != json!(manager));
    if !wanted.is_empty() {
        let fields: serde_json::Map<_, _> = wanted.keys().map(|k| (format!("f:{k}"), json!({}))).collect();
        managers.push(
            json!({"manager": manager, "operation": "Apply", "fieldsType": "FieldsV1", "fieldsV1": {"f:data": fields}}),
        );
    }
    data.extend(wanted);
    existing["data"] = json!(data);
    existing["metadata"]["managedFields"] = json!(managers);
    existing
}
