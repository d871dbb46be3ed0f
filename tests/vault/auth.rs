//! Tokens, and what they may do.

use std::fs;

use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::Api;
use kube::api::PostParams;
use reqwest::Method;
use serde_json::{Value, json};

use crate::bao::{Bao, ENTRY, WRITE_ONLY, connection, synced, synced_at};
use crate::common::{Scene, entry};

/// Makes an AppRole whose tokens live that long, and its secret in the Secret `role`.
async fn app_role(scene: &Scene, bao: &Bao, ttl: &str, max: &str) -> Value {
    // Enabled by another test before.
    let _ = bao.server.root_ask(Method::POST, "sys/auth/approle", json!({"type": "approle"})).await;
    let role = format!("auth/approle/role/{}", scene.namespace);
    let settings = json!({"token_policies": [scene.namespace], "token_ttl": ttl, "token_max_ttl": max});
    bao.server.root_ask(Method::POST, &role, settings).await.unwrap();
    let id = bao.server.root_ask(Method::GET, &format!("{role}/role-id"), Value::Null).await.unwrap();
    let secret = bao.server.root_ask(Method::POST, &format!("{role}/secret-id"), json!({})).await.unwrap();
    let secret = secret["data"]["secret_id"].as_str().unwrap().to_owned();
    scene.secret_text(&secret);
    scene.create("Secret", "role", json!({"stringData": {"secret-id": format!("{secret}\n")}})).await;
    json!({"appRole": {"roleId": id["data"]["role_id"], "secretIdRef": {"name": "role", "key": "secret-id"}}})
}

#[tokio::test]
async fn app_role_outlives_its_tokens() {
    let scene = Scene::new("vault-approle").await;
    let bao = Bao::with(&scene, WRITE_ONLY).await;
    let auth = app_role(&scene, &bao, "2s", "4s").await;
    bao.connect_by(&scene, auth, json!({})).await;
    let app = synced_at(&scene, bao, json!({})).await;
    let logins = || app.bao.proxy.count("POST auth/approle/login");
    scene.eventually("it has logged in three times", async || logins() >= 3).await;
    let value = scene.canary("changed");
    scene.set_source("source", "value", &value).await;
    app.bao.has(&scene, ENTRY, &value).await;
    scene.ready("app").await;
    assert_eq!(app.bao.metadata(ENTRY).await["current_version"], 2);
    let refused: Vec<_> = app.bao.proxy.calls().into_iter().filter(|call| call.status == 403).collect();
    assert!(
        refused
            .iter()
            .all(|call| call.line.contains("detailed-metadata") || call.line.starts_with("PATCH secret/metadata")),
        "no request left with a token that was dead: {refused:?}"
    );
}

#[tokio::test]
async fn a_revoked_token_is_replaced_by_one_login() {
    let scene = Scene::new("vault-revoked").await;
    let bao = Bao::with(&scene, WRITE_ONLY).await;
    let auth = app_role(&scene, &bao, "1h", "1h").await;
    bao.connect_by(&scene, auth, json!({"probeInterval": "0"})).await;
    let app = synced_at(&scene, bao, json!({})).await;
    assert_eq!(app.bao.proxy.count("POST auth/approle/login"), 1);
    let accessors = app.bao.server.root_ask(Method::GET, "auth/token/accessors?list=true", Value::Null).await.unwrap();
    for accessor in accessors["data"]["keys"].as_array().unwrap() {
        let body = json!({"accessor": accessor});
        let Ok(found) = app.bao.server.root_ask(Method::POST, "auth/token/lookup-accessor", body.clone()).await else {
            continue;
        };
        if found["data"]["meta"]["role_name"] == json!(scene.namespace) {
            app.bao.server.root_ask(Method::POST, "auth/token/revoke-accessor", body).await.unwrap();
        }
    }
    let value = scene.canary("changed");
    scene.set_source("source", "value", &value).await;
    app.bao.has(&scene, ENTRY, &value).await;
    assert_eq!(app.bao.proxy.count("POST auth/approle/login"), 2);
}

#[tokio::test]
async fn a_dead_token_is_told_and_a_new_one_taken_up() {
    let scene = Scene::new("vault-dead").await;
    let app = synced(&scene, WRITE_ONLY, json!({})).await;
    let body = json!({"token": app.bao.token});
    app.bao.server.root_ask(Method::POST, "auth/token/revoke", body).await.unwrap();
    let connection = scene.connection_is("vault", "AuthenticationFailed").await;
    assert!(connection.ready().message.contains("expired or was revoked"), "{connection:?}");
    let token = app.bao.server.token(&scene.namespace, "1h").await.unwrap();
    scene.secret_text(&token);
    scene.patch("Secret", "vault-credentials", json!({"stringData": {"token": token}})).await;
    scene.connection_is("vault", "Connected").await;
    scene.ready("app").await;
    assert_eq!(app.bao.metadata(ENTRY).await["current_version"], 1, "a new credential sends nothing again");
}

#[tokio::test]
async fn what_a_policy_denies_is_permission_denied() {
    let scene = Scene::new("vault-denied").await;
    let bao = Bao::with(&scene, "path \"secret/data/FOLDER/*\" { capabilities = [\"create\"] }").await;
    bao.connect(&scene, json!({})).await;
    let connection = scene.connection_is("vault", "PermissionDenied").await;
    assert!(connection.ready().message.contains("policies do not allow"), "{connection:?}");
    // A policy without writes: the connection is well, the entry is not.
    let reads = "path \"secret/metadata/FOLDER/*\" { capabilities = [\"read\", \"list\"] }";
    bao.set_policy(&scene, reads).await;
    scene.source("source", &[("value", &scene.canary("value"))]).await;
    let spec = json!({"connectionRef": {"name": "vault"}, "data": [entry("VALUE", ENTRY, "source/value")]});
    scene.vault_secret("app", spec).await;
    scene.patch("Secret", "vault-credentials", json!({"stringData": {"token": format!("{}\n", bao.token)}})).await;
    scene.connection_is("vault", "Connected").await;
    let object = scene.not_ready("app", "RemoteError").await;
    assert!(object.ready().message.contains("403"), "{object:?}");
    assert_eq!(bao.value(ENTRY).await, None);
}

#[tokio::test]
async fn a_namespace_is_another_vault() {
    let scene = Scene::new("vault-ns").await;
    let bao = Bao::with(&scene, WRITE_ONLY).await;
    let namespace = &scene.namespace;
    let root = |method, path: String, body| {
        let server = std::sync::Arc::clone(&bao.server);
        async move { server.root_ask(method, &path, body).await.unwrap() }
    };
    root(Method::POST, format!("sys/namespaces/{namespace}"), json!({})).await;
    let engine = json!({"type": "kv", "options": {"version": "2"}});
    root(Method::POST, format!("{namespace}/sys/mounts/apps/kv"), engine).await;
    let rules = "path \"apps/kv/*\" { capabilities = [\"create\", \"update\", \"patch\", \"read\", \"list\"] }";
    root(Method::POST, format!("{namespace}/sys/policies/acl/all"), json!({"policy": rules})).await;
    let token = root(Method::POST, format!("{namespace}/auth/token/create"), json!({"policies": ["all"]})).await;
    let token = token["auth"]["client_token"].as_str().unwrap();
    scene.secret_text(token);
    scene.create("Secret", "vault-credentials", json!({"stringData": {"token": token}})).await;
    let auth = json!({"tokenRef": {"name": "vault-credentials", "key": "token"}});
    let there = json!({"vault": {"namespace": namespace, "mount": "apps/kv", "path": ""}});
    bao.connect_by(&scene, auth, there).await;
    scene.source("source", &[("value", "in a namespace")]).await;
    let spec = json!({"connectionRef": {"name": "vault"}, "data": [entry("VALUE", ENTRY, "source/value")]});
    scene.vault_secret("app", spec).await;
    scene.ready("app").await;
    let path = format!("{namespace}/apps/kv/data/{ENTRY}");
    assert_eq!(root(Method::GET, path, Value::Null).await["data"]["data"]["value"], "in a namespace");
    // Of another version, it is refused before anything is written.
    root(Method::POST, format!("{namespace}/sys/mounts/old"), json!({"type": "kv", "options": {"version": "1"}})).await;
    let rules = rules.replace("apps/kv", "old");
    root(Method::POST, format!("{namespace}/sys/policies/acl/all"), json!({"policy": rules})).await;
    scene.patch("VaultConnection", "vault", json!({"spec": {"vault": {"mount": "old"}}})).await;
    let told = |connection: &crate::common::Object| connection.ready().message.contains("KV engine of version 1");
    scene.until("VaultConnection", "vault", "tells of the engine's version", told).await;
}

#[tokio::test]
async fn the_operators_own_account_opens_a_cluster_connection() {
    let scene = Scene::new("vault-kube").await;
    let bao = Bao::with(&scene, WRITE_ONLY).await;
    let auth = json!({"kubernetes": {"role": "operator"}});
    let spec = connection(&bao.proxy.url, &bao.folder, auth);
    // Not for a connection that anybody may make: its URL would see who the operator is.
    let error = scene.try_create("VaultConnection", "vault", json!({"spec": spec})).await.unwrap_err();
    assert!(error.to_string().contains("is for a ClusterVaultConnection"), "{error}");

    scene.create("ServiceAccount", "reviewer", json!({})).await;
    let binding = json!({
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "system:auth-delegator"},
        "subjects": [{"kind": "ServiceAccount", "name": "reviewer", "namespace": scene.namespace}],
    });
    scene.create("ClusterRoleBinding", &format!("{}-reviewer", scene.namespace), binding).await;
    scene.create("ServiceAccount", "operator", json!({})).await;
    let server = scene.cluster.url();
    let authority = scene.cluster.ca_pem();
    let mount = format!("kubernetes-{}", scene.namespace);
    let root = |method, path: String, body| {
        let server = std::sync::Arc::clone(&bao.server);
        async move { server.root_ask(method, &path, body).await.unwrap() }
    };
    root(Method::POST, format!("sys/auth/{mount}"), json!({"type": "kubernetes"})).await;
    let reviewer = service_account_token(&scene, "reviewer", &[]).await;
    let settings = json!({"kubernetes_host": server, "kubernetes_ca_cert": authority, "token_reviewer_jwt": reviewer,
                          "disable_local_ca_jwt": true});
    root(Method::POST, format!("auth/{mount}/config"), settings).await;
    let role = json!({
        "bound_service_account_names": ["operator"], "bound_service_account_namespaces": [scene.namespace],
        "audience": "vault", "token_policies": [scene.namespace], "token_ttl": "1h",
    });
    root(Method::POST, format!("auth/{mount}/role/operator"), role).await;
    let token = service_account_token(&scene, "operator", &["vault"]).await;
    fs::write(scene.cluster.folder().join("vault-token"), format!("{token}\n")).unwrap();

    let name = format!("{}-vault", scene.namespace);
    let mut spec = connection(&bao.proxy.url, &bao.folder, json!({"kubernetes": {"role": "operator", "mount": mount}}));
    spec["allowedNamespaces"] = json!({"names": [scene.namespace]});
    scene.create("ClusterVaultConnection", &name, json!({"spec": spec})).await;
    scene.source("source", &[("value", &scene.canary("value"))]).await;
    let spec = json!({"connectionRef": {"kind": "ClusterVaultConnection", "name": name},
                      "data": [entry("VALUE", ENTRY, "source/value")]});
    scene.vault_secret("app", spec).await;
    scene.ready("app").await;
    assert_eq!(bao.proxy.count(&format!("POST auth/{mount}/login")), 1);
    scene.delete("ClusterVaultConnection", &name).await;
}

async fn service_account_token(scene: &Scene, account: &str, audiences: &[&str]) -> String {
    let accounts: Api<ServiceAccount> = Api::namespaced(scene.client.clone(), &scene.namespace);
    let request = TokenRequest {
        spec: Some(TokenRequestSpec {
            audiences: Some(audiences.iter().map(|a| (*a).to_owned()).collect()),
            expiration_seconds: Some(3600),
            ..TokenRequestSpec::default()
        }),
        ..TokenRequest::default()
    };
    let made = accounts.create_token_request(account, &PostParams::default(), &request).await.unwrap();
    made.status.unwrap().token.unwrap()
}
