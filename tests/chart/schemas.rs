//! kubeconform, with the schemas of the API server that the suite runs: the published ones are not to be had without a network,
//! and may be of another version.

use std::collections::BTreeSet;
use std::path::Path;

use devkit::controlplane::ControlPlane;
use kube::Client;
use serde_json::{Value, json};

use crate::cluster::{eventually, install_monitoring};
use crate::helm::{documents, rendered, run, values};

/// Every object has the fields of its schema and no others.
fn strict(schema: &mut Value) {
    match schema {
        Value::Object(fields) => {
            fields.values_mut().for_each(strict);
            let open = fields.get("x-kubernetes-preserve-unknown-fields").is_some_and(|open| *open == json!(true));
            if fields.get("properties").is_some_and(Value::is_object) && !open {
                fields.entry("additionalProperties").or_insert(json!(false));
            }
        }
        Value::Array(items) => items.iter_mut().for_each(strict),
        _ => {}
    }
}

async fn get(client: &Client, path: &str) -> Option<Value> {
    let request = axum::http::Request::get(path).body(Vec::new()).unwrap();
    serde_json::from_str(&client.request_text(request).await.ok()?).ok()
}

/// Writes the schema of a kind as a file that kubeconform finds.
async fn write(client: &Client, folder: &Path, api_version: &str, kind: &str) {
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    let path =
        if group.is_empty() { format!("/openapi/v3/api/{version}") } else { format!("/openapi/v3/apis/{api_version}") };
    let wanted = json!({"group": group, "version": version, "kind": kind});
    let mut found = None;
    eventually(&format!("a schema of {api_version} {kind}"), async || {
        let Some(mut all) = get(client, &path).await else { return false };
        let schemas = all["components"]["schemas"].take();
        let is_wanted = |schema: &Value| {
            schema["x-kubernetes-group-version-kind"].as_array().is_some_and(|kinds| kinds.contains(&wanted))
        };
        let name = schemas.as_object().into_iter().flatten().find(|(_, schema)| is_wanted(schema));
        found = name.map(|(name, _)| (name.clone(), schemas.clone()));
        found.is_some()
    })
    .await;
    let (name, mut schemas) = found.unwrap();
    strict(&mut schemas);
    let schema = json!({"$ref": format!("#/components/schemas/{name}"), "components": {"schemas": schemas}});
    // What kubeconform takes for the group of a core kind.
    let group = if group.is_empty() { version } else { group };
    let file = format!("{}-{group}-{version}.json", kind.to_lowercase());
    std::fs::write(folder.join(file), schema.to_string()).unwrap();
}

#[tokio::test]
async fn every_rendering_conforms_to_the_schemas_of_the_api_server() {
    let client = ControlPlane::shared().await.admin_client();
    install_monitoring(&client).await;
    let folder = tempfile::tempdir().unwrap();
    let location =
        folder.path().join("{{.ResourceKind}}-{{.Group}}-{{.ResourceAPIVersion}}.json").display().to_string();
    let conform = |text: &str| {
        let file = folder.path().join("rendered.yaml");
        std::fs::write(&file, text).unwrap();
        run("kubeconform", &["-strict", "-summary", "-schema-location", &location, &file.display().to_string()])
    };
    let mut known = BTreeSet::new();
    for set in ["default", "namespaced", "everything"] {
        let text = rendered(&["--values", &values(set)]).unwrap();
        for document in documents(&text) {
            let head = ["apiVersion", "kind"].map(|field| document[field].as_str().unwrap().to_owned());
            if known.insert(head.clone()) {
                write(&client, folder.path(), &head[0], &head[1]).await;
            }
        }
        let said = conform(&text).unwrap_or_else(|complaint| panic!("{set}: {complaint}"));
        assert!(said.contains("Invalid: 0, Errors: 0, Skipped: 0"), "{set}: {said}");
        // It would have noticed.
        for (right, wrong) in
            [("  replicas:", "  replica:"), ("kind: Deployment\n", "kind: Deployment\nkind: Deployment\n")]
        {
            assert!(text.contains(right));
            conform(&text.replacen(right, wrong, 1)).expect_err(wrong);
        }
    }
}
