//! The optional policies for users.

use devkit::controlplane::ControlPlane;
use serde_json::{Value, json};

use crate::attempts::Call::{Create, Delete, Patch};
use crate::attempts::{allowed, at, refused, with};
use crate::cluster::{api, apply, apply_all, namespace};
use crate::helm::{documents, in_repository, of_kind, render_with};

/// `values/everything.yaml` is for namespaces with the label `tenant: yes` among those watched, which is `shop` alone.
#[tokio::test]
async fn users_write_no_values_and_no_types_that_are_not_allowed() {
    let plane = ControlPlane::shared().await;
    let user = plane.admin_client();
    for name in ["vaultsecrets", "vaultconnections", "clustervaultconnections", "clustervaultsecrets"] {
        let text = std::fs::read_to_string(in_repository(&format!("crds/{name}.yaml"))).unwrap();
        apply_all(&user, &documents(&text)).await;
    }
    namespace(&user, "shop", json!({"tenant": "yes"})).await;
    let object = |name: &str, data: Value, target: Value| {
        let spec = json!({"connectionRef": {"name": "kelvin"}, "data": [data], "target": target});
        with(at("VaultSecret", "shop", name), json!({"spec": spec}))
    };
    let value = json!({"key": "A", "value": "in the manifest"});
    let named = json!({"key": "A", "valueFrom": {"secretKeyRef": {"name": "source", "key": "a"}}});
    let template = |text: &str| json!({"key": "A", "valueFrom": {"template": text}});
    allowed(&user, "from before", Create(object("before", value.clone(), json!({})))).await;

    let everything = render_with("everything");
    for kind in ["ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"] {
        for manifest in of_kind(&everything, kind) {
            if manifest["metadata"]["name"].as_str().unwrap().ends_with(".tenants") {
                apply(&user, manifest).await;
            }
        }
    }
    let part = "(key A); name a Secret";
    refused(&user, "a value", Create(object("app", value.clone(), json!({}))), part).await;
    let constant = Create(object("app", template("a constant"), json!({})));
    refused(&user, "a template without a key", constant, "a template that uses no other key").await;
    let ssh = Create(object("app", named.clone(), json!({"type": "kubernetes.io/ssh-auth"})));
    refused(&user, "a type", ssh, "kubernetes.io/ssh-auth is not allowed here; allowed: Opaque, kubernetes.io/tls")
        .await;
    for (name, data, target) in [
        ("no-type", named.clone(), json!({})),
        ("opaque", named.clone(), json!({"type": "Opaque"})),
        ("tls", named.clone(), json!({"type": "kubernetes.io/tls"})),
        ("template", template("{{ A }}"), json!({})),
    ] {
        allowed(&user, name, Create(object(name, data, target))).await;
    }

    // What was there before stays usable, and can be mended and deleted.
    let before = at("VaultSecret", "shop", "before");
    let finalizer = json!({"metadata": {"finalizers": ["vaultsecret.dev/cleanup"]}});
    allowed(&user, "a finalizer", Patch(before.clone(), finalizer)).await;
    refused(&user, "a further edit", Patch(before.clone(), json!({"spec": {"suspend": true}})), part).await;
    let mended = json!({"spec": {"data": [named]}});
    allowed(&user, "an edit that mends it", Patch(before.clone(), mended)).await;
    allowed(&user, "its deletion", Delete(before.clone())).await;
    allowed(&user, "no finalizer", Patch(before, json!({"metadata": {"finalizers": []}}))).await;

    // The rules are for tenants.
    let elsewhere = plane.namespace("not-a-tenant").await;
    let mut other = object("app", value, json!({"type": "kubernetes.io/ssh-auth"}));
    other["metadata"]["namespace"] = json!(elsewhere);
    allowed(&user, "elsewhere", Create(other)).await;
    assert!(api(&user, "vaultsecret.dev/v1alpha1", "VaultSecret", &elsewhere).get("app").await.is_ok());
}
