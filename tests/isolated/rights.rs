//! Behaviour 39 in namespaced mode: a list of namespaces is all that the operator is given, and enough.

use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use serde_json::json;

use crate::common::{Kind, Scene, api, entry, whole_life};

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
