//! Behaviour 39 in namespaced mode: a list of namespaces is all that the operator is given, and enough.

use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use crate::common::{Kind, Scene, api, entry, generated, inline, whole_life};

fn code<T>(result: kube::Result<T>) -> u16 {
    match result {
        Ok(_) => 200,
        Err(kube::Error::Api(status)) => status.code,
        Err(error) => panic!("{error}"),
    }
}

#[tokio::test]
async fn b39_namespaced_cannot_read_elsewhere() {
    let scene = Scene::isolated("b39-given", &[]).await;
    let other = scene.beside("b39-other").await;
    let kubeconfig = scene.cluster.namespaced_rights(scene.operator.system(), &scene.namespace).await;
    let client = scene.cluster.client_from(&kubeconfig).await.unwrap();
    for place in [&scene, &other] {
        place.source("source", &[("value", "a value")]).await;
    }
    let given = api(&client, "Secret", &scene.namespace);
    assert_eq!((code(given.get("source").await), code(given.list(&ListParams::default()).await)), (200, 200));

    // Its role would let it delete that; the chart's policies, within which every test runs, do not.
    let rehearsed = DeleteParams { dry_run: true, ..DeleteParams::default() };
    scene
        .eventually("a policy keeps what it did not make", async || {
            code(given.delete("source", &rehearsed).await) == 403
        })
        .await;

    for kind in ["Secret", "ConfigMap", "VaultSecret", "VaultConnection"] {
        let elsewhere = api(&client, kind, &other.namespace);
        assert_eq!(code(elsewhere.get("source").await), 403, "{kind}");
        assert_eq!(code(elsewhere.list(&ListParams::default()).await), 403, "{kind}");
        let mut object = other.manifest(kind, "made", json!({}));
        if kind.starts_with("Vault") {
            object["spec"] = json!({});
        }
        let made = elsewhere.create(&PostParams::default(), &serde_json::from_value(object).unwrap()).await;
        assert_eq!(code(made), 403, "{kind}");
    }
    for kind in ["Namespace", "ClusterVaultConnection", "ClusterRole", "CustomResourceDefinition"] {
        assert_eq!(code(api(&client, kind, "").list(&ListParams::default()).await), 403, "{kind}");
    }
    // Of its own namespace it may read the key ring and nothing else.
    let own = api(&client, "Secret", scene.operator.system());
    assert_eq!(code(own.get("vaultsecret-key-ring").await), 200);
    assert_eq!((code(own.get("source").await), code(own.list(&ListParams::default()).await)), (403, 403));
    // What opens sealed values it may read, and never change.
    let only = ListParams::default().fields("metadata.name=vaultsecret-sealing-identities");
    assert_eq!(code(own.list(&only).await), 200);
    let patch = Patch::Merge(json!({"data": {"i1": null}}));
    let identities = "vaultsecret-sealing-identities";
    assert_eq!(code(own.patch(identities, &PatchParams::default(), &patch).await), 403);
    assert_eq!(code(own.delete(identities, &DeleteParams::default()).await), 403);
    let maps = api(&client, "ConfigMap", scene.operator.system());
    assert_eq!(code(maps.patch("kube-root-ca.crt", &PatchParams::default(), &patch).await), 403);
    assert_eq!(code(maps.delete("vaultsecret-sealing-recipients", &DeleteParams::default()).await), 403);
}

/// It works where it may, is refused nothing while it does, and leaves alone what is elsewhere.
#[tokio::test]
async fn b39_namespaced_works_where_it_may() {
    let scene = Scene::isolated("b39-works", &[]).await;
    let other = scene.beside("b39-alone").await;
    let remote = other.remote(Kind::Mixpeek).await;
    other.connect(&remote).await;
    other.source("source", &[("value", "a value")]).await;
    let data = json!([entry("VALUE", "the_value", "source/value")]);
    other.vault_secret("app", json!({"connectionRef": {"name": "mixpeek"}, "data": data})).await;
    whole_life(&scene).await;
    assert_eq!(remote.requests().len(), 0, "nothing was asked for what is elsewhere");
    assert!(other.expect("VaultSecret", "app").await.at("/status/conditions").is_null());

    let user = scene.operator.user();
    // From its first request on: no other operator has this account.
    let all = scene.cluster.audit().requests(|record| record.user == user);
    let place = |namespace: &str| namespace == scene.namespace || namespace == scene.operator.system();
    let beyond: Vec<_> = all.iter().filter(|record| !place(&record.namespace)).collect();
    assert!(beyond.iter().all(|record| record.resource.is_empty()), "asked beyond its namespaces: {beyond:#?}");
    let refused: Vec<_> = all.iter().filter(|record| [401, 403].contains(&record.code)).collect();
    assert!(refused.is_empty(), "{refused:#?}");
    assert!(all.len() > 50, "the audit log knows the operator");
}

/// Takes verbs away from a rule of the operator's role in the watched namespace, and waits until the API server knows.
async fn without(scene: &Scene, resource: &str, verbs: &[&str]) -> Value {
    let role = scene.expect("Role", "vaultsecret-operator-watched").await;
    let before = role.at("/rules").clone();
    let mut rules = before.clone();
    for rule in rules.as_array_mut().unwrap().iter_mut().filter(|rule| rule["resources"] == json!([resource])) {
        rule["verbs"].as_array_mut().unwrap().retain(|verb| !verbs.contains(&verb.as_str().unwrap()));
    }
    assert_ne!(rules, before);
    scene.patch("Role", "vaultsecret-operator-watched", json!({"rules": rules})).await;
    let kubeconfig = scene.cluster.namespaced_account(scene.operator.system()).await;
    let client = scene.cluster.client_from(&kubeconfig).await.unwrap();
    let kind = if resource == "secrets" { "Secret" } else { "ConfigMap" };
    let probe = api(&client, kind, &scene.namespace);
    scene
        .eventually("the right is gone", async || match verbs[0] {
            "get" => code(probe.get("nothing").await) == 403,
            _ => code(probe.create(&PostParams::default(), &nothing(scene, kind)).await) == 403,
        })
        .await;
    before
}

/// What the API server does not take for want of a name, if it does not refuse it before.
fn nothing(scene: &Scene, kind: &str) -> kube::api::DynamicObject {
    let mut manifest = scene.manifest(kind, "", json!({}));
    manifest["metadata"].as_object_mut().unwrap().remove("name");
    serde_json::from_value(manifest).unwrap()
}

/// A source that the operator may not read is told of, with what would let it, and asked for seldom.
#[tokio::test]
async fn b39_source_that_it_may_not_read() {
    let scene = Scene::isolated("b39-source", &[]).await;
    let remote = scene.remote(Kind::Kelvin).await;
    scene.connect(&remote).await;
    scene.connection_is("kelvin", "Connected").await;
    let rules = without(&scene, "configmaps", &["get"]).await;
    scene.create("ConfigMap", "settings", json!({"data": {"value": "from a map"}})).await;
    let from_map = json!({"key": "MAP", "remoteName": "from-map",
        "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "value"}}});
    let mark = scene.mark();
    let data = json!([from_map, inline("INLINE", "inline", "a value")]);
    scene.vault_secret("app", json!({"connectionRef": {"name": "kelvin"}, "data": data})).await;
    let message = scene.not_ready("app", "SourceMissing").await.ready().message;
    for word in ["MAP", "settings", "configmaps", "get", "role", &scene.namespace] {
        assert!(message.contains(word), "{word}: {message}");
    }
    scene.remote_has(&remote, "inline", "a value").await;
    scene.two_more_probes(&remote).await;
    scene.two_more_probes(&remote).await;
    let asked = scene.asked_since(mark, |record| record.resource == "configmaps" && record.verb == "get");
    assert!((1..=6).contains(&asked.len()), "asked for {} times", asked.len());
    assert!(asked.iter().all(|record| record.code == 403));

    scene.patch("Role", "vaultsecret-operator-watched", json!({"rules": rules})).await;
    // Without an edit it would be looked at half a minute later.
    scene
        .eventually("it is read", async || {
            scene.annotate("VaultSecret", "app", "vaultsecret.dev/force-push", &uuid::Uuid::new_v4().to_string()).await;
            remote.value("from-map").as_deref() == Some("from a map")
        })
        .await;
    scene.ready("app").await;
}

/// The same for generated values, which have to be kept before they leave.
#[tokio::test]
async fn b39_escrow_that_it_may_not_make() {
    let scene = Scene::isolated("b39-escrow", &[]).await;
    let remote = scene.remote(Kind::Kelvin).await;
    scene.connect(&remote).await;
    scene.connection_is("kelvin", "Connected").await;
    without(&scene, "secrets", &["create"]).await;
    let data = json!([generated("PASSWORD", "password", 1), inline("INLINE", "inline", "a value")]);
    let spec = json!({"connectionRef": {"name": "kelvin"}, "target": {"creationPolicy": "None"}, "data": data});
    scene.vault_secret("app", spec).await;
    let message = scene.not_ready("app", "SourceMissing").await.ready().message;
    assert!(message.contains("app-escrow") && message.contains("create secrets"), "{message}");
    scene.remote_has(&remote, "inline", "a value").await;
    assert_eq!(remote.value("password"), None);
}
