//! Behaviours 31 and 36 where the definitions are older than the operator and let everything pass. One control plane for all.

use devkit::controlplane::Options;
use serde_json::json;

use crate::common::{Kind, Object, Remote, Scene, inline, without_validation};

#[tokio::test]
async fn b31_b36_definitions_that_refuse_nothing() {
    let options = Options { controller_manager: false, ..Options::default() };
    let scene = Scene::own_cluster("b31", options, without_validation, &[]).await;
    let remote = scene.remote(Kind::Kelvin).await;
    scene.connect(&remote).await;
    b36_undecodable_objects_harm_no_other(&scene).await;
    b31_privileged_types(&scene).await;
    rules_hold_all_the_same(&scene, &remote).await;
    c10_cluster_vault_secrets(&scene).await;
    assert_eq!(remote.entries().len(), 1, "only the good one was written: {:?}", remote.entries());
}

async fn b36_undecodable_objects_harm_no_other(scene: &Scene) {
    for (name, spec) in [
        ("no-list", json!({"connectionRef": {"name": "kelvin"}, "data": "nonsense"})),
        ("no-spec", json!(7)),
        ("no-name", json!({"connectionRef": {}, "data": [inline("VALUE", "no-name", "a value")]})),
        (
            "no-policy",
            json!({"connectionRef": {"name": "kelvin"}, "deletionPolicy": "Perhaps",
                             "data": [inline("VALUE", "no-policy", "a value")]}),
        ),
    ] {
        // The API server may refuse what is no object at all.
        let _ = scene.try_create("VaultSecret", name, json!({"spec": spec})).await;
    }
    scene.create("VaultConnection", "nonsense", json!({"spec": {"kelvin": {"url": 7}}})).await;
    let good = json!({"connectionRef": {"name": "kelvin"}, "data": [inline("VALUE", "good", "a value")]});
    scene.vault_secret("good", good.clone()).await;
    scene.ready("good").await;
    // Nor after a restart, when they are in the first list.
    scene.operator.restart().await;
    scene.edit("good", json!({"data": [inline("VALUE", "good", "another value")]})).await;
    scene.secret_has("good", "VALUE", "another value").await;
    scene.ready("good").await;
}

async fn b31_privileged_types(scene: &Scene) {
    for (name, kind) in [("sa", "kubernetes.io/service-account-token"), ("bt", "bootstrap.kubernetes.io/token")] {
        let spec = json!({"connectionRef": {"name": "kelvin"}, "target": {"type": kind}, "data": [
            {"key": "VALUE", "value": "a value", "push": false},
        ]});
        scene.vault_secret(name, spec).await;
        let told = |app: &Object| app.ready().status == "False" && app.ready().message.contains(kind);
        scene.until("VaultSecret", name, "is refused", told).await;
        assert_eq!(scene.get("Secret", name).await, None);
    }
}

async fn rules_hold_all_the_same(scene: &Scene, remote: &Remote) {
    let entry = |name: &str| inline("VALUE", name, "a value");
    let mut both = entry("both");
    both["valueFrom"] = json!({"secretKeyRef": {"name": "kelvin-credentials", "key": "client-id"}});
    let neither = json!({"key": "VALUE", "remoteName": "neither"});
    let mut nowhere = entry("nowhere");
    (nowhere["push"], nowhere["project"]) = (json!(false), json!(false));
    for (name, entry) in [("both", both), ("neither", neither), ("nowhere", nowhere)] {
        scene.vault_secret(name, json!({"connectionRef": {"name": "kelvin"}, "data": [entry]})).await;
        let on_its_way = ["Queued", "Pushing", "Confirming"];
        let told = |app: &Object| {
            let ready = app.ready();
            ready.status == "False" && !on_its_way.contains(&&*ready.reason) && ready.message.contains("VALUE")
        };
        scene.until("VaultSecret", name, "is refused", told).await;
        assert_eq!(scene.get("Secret", name).await, None);
        assert_eq!(remote.value(name), None);
    }
    let spec = json!({"connectionRef": {"name": "kelvin"}, "target": {"template": {"data": {"VALUE": "x"}}},
                      "data": [{"key": "VALUE", "value": "a value", "push": false}]});
    scene.vault_secret("taken", spec).await;
    scene.not_ready("taken", "TemplateError").await;
    assert_eq!(scene.get("Secret", "taken").await, None);
    let spec = json!({"dreadnode": {"url": "http://127.0.0.1:1", "auth": {"apiKeyRef": {"name": "kelvin-credentials", "key": "client-id"}}}});
    scene.create("VaultConnection", "insecure", json!({"spec": spec})).await;
    scene.connection_is("insecure", "Invalid").await;
}

/// What cannot be used touches nothing.
async fn c10_cluster_vault_secrets(scene: &Scene) {
    let reference = json!({"kind": "ClusterVaultConnection", "name": "kelvin"});
    let data = json!([inline("VALUE", "clustered", "a value")]);
    for (name, sharing, template) in [
        ("own", "PerNamespace", json!({"connectionRef": {"name": "kelvin"}, "data": data})),
        ("merged", "Shared", json!({"connectionRef": reference, "data": data, "target": {"creationPolicy": "Merge"}})),
        (
            "restarts",
            "Shared",
            json!({"connectionRef": reference, "data": data,
                   "rolloutRestartTargets": [{"kind": "Deployment", "name": "web"}]}),
        ),
    ] {
        let namespaces = json!({"names": [scene.namespace]});
        let spec = json!({"namespaces": namespaces, "sharing": sharing, "template": template});
        scene.create("ClusterVaultSecret", name, json!({"spec": spec})).await;
        let refused =
            |object: &Object| object.ready().reason == "Invalid" && object.condition("Stalled").status == "True";
        scene.until("ClusterVaultSecret", name, "is refused", refused).await;
        assert_eq!(scene.get("VaultSecret", name).await, None);
    }
}
