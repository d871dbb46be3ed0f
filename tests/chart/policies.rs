//! The policies that bind the operator's account. Whatever is refused here its role would let it do.

use devkit::controlplane::ControlPlane;
use kube::Client;
use serde_json::{Value, json};

use crate::attempts::Call::{Apply, Create, Delete, Patch, Replace};
use crate::attempts::{allowed, at, make, refused, with};
use crate::cluster::{api, apply, apply_all, eventually, namespace};
use crate::helm::{render, values};

/// The field manager of a VaultSecret that merges.
const MERGES: &str = "vaultsecret-operator-0123456789abcdef";

/// A namespace with Secrets of all kinds, and an installed operator's account.
struct Stage {
    admin: Client,
    operator: Client,
    system: String,
    place: String,
}

impl Stage {
    /// Installs the chart in a namespace of its own, under names of its own.
    async fn new(name: &str, set: &[&str]) -> Self {
        let plane = ControlPlane::shared().await;
        let admin = plane.admin_client();
        let system = format!("{name}-system");
        namespace(&admin, &system, json!({"pod-security.kubernetes.io/enforce": "restricted"})).await;
        let named = format!("fullnameOverride={system}");
        let file = values("default");
        let mut args = vec!["--namespace", &system, "--set", &named, "--values", &file];
        args.extend(set.iter().flat_map(|set| ["--set", set]));
        apply_all(&admin, &render(&args)).await;
        let kubeconfig = plane.service_account_kubeconfig(&system, &system).await.unwrap();
        let operator = plane.client_from(&kubeconfig).await.unwrap();
        let place = plane.namespace(name).await;
        Self { admin, operator, system, place }
    }

    fn secret(&self, name: &str) -> Value {
        at("Secret", &self.place, name)
    }

    /// A Secret as the operator makes it.
    fn marked(&self, name: &str, role: &str) -> Value {
        with(
            self.secret(name),
            json!({
                "metadata": {
                    "labels": {"vaultsecret.dev/role": role, "app.kubernetes.io/managed-by": "vaultsecret-operator"},
                    "annotations": {"vaultsecret.dev/made-for": "app/6d4f"},
                },
                "data": {"K": "dg=="},
            }),
        )
    }

    async fn there_is(&self, manifest: Value) {
        allowed(&self.admin, "an administrator's", Create(manifest)).await;
    }

    async fn theirs(&self, name: &str) {
        let more = json!({"metadata": {"labels": {"app": "theirs"}}, "data": {"A": "YQ==", "B": "Yg=="}});
        self.there_is(with(self.secret(name), more)).await;
    }

    async fn workload(&self, kind: &str) {
        let mut spec = json!({
            "selector": {"matchLabels": {"app": "web"}},
            "template": {
                "metadata": {"labels": {"app": "web"}, "annotations": {"note": "theirs"}},
                "spec": {"containers": [{"name": "web", "image": "web:1"}]},
            },
        });
        if kind != "DaemonSet" {
            spec["replicas"] = json!(0);
        }
        self.there_is(with(at(kind, &self.place, "web"), json!({"spec": spec}))).await;
    }

    /// A controller's reference, as a part of a manifest.
    async fn owned_by(&self, owner: &Value) -> Value {
        let text = |field: &str| owner[field].as_str().unwrap();
        let name = owner["metadata"]["name"].as_str().unwrap();
        let found = api(&self.admin, text("apiVersion"), text("kind"), &self.place).get(name).await.unwrap();
        json!({"metadata": {"ownerReferences": [{"apiVersion": owner["apiVersion"], "kind": owner["kind"], "name": name,
            "uid": found.metadata.uid, "controller": true}]}})
    }

    async fn vault_secret(&self) -> Value {
        let head = at("VaultSecret", &self.place, "app");
        let spec = json!({"connectionRef": {"name": "kelvin"}, "data": [{"key": "A", "value": "a"}]});
        self.there_is(with(head.clone(), json!({"spec": spec}))).await;
        head
    }
}

#[tokio::test]
async fn secrets_that_the_operator_did_not_make() {
    let stage = Stage::new("foreign", &[]).await;
    let operator = &stage.operator;
    stage.theirs("theirs").await;
    let theirs = stage.secret("theirs");

    let unmarked = with(stage.secret("new"), json!({"data": {"A": "YQ=="}}));
    refused(operator, "a Secret without marks", Create(unmarked), "marked as such").await;
    refused(operator, "a deletion", Delete(theirs.clone()), "deletes no Secret but").await;
    let value = json!({"data": {"A": "eA=="}});
    refused(operator, "a patch", Patch(theirs.clone(), value.clone()), "changes no Secret that it did not make").await;
    let stranger = Apply("somebody", with(theirs.clone(), json!({"data": {"N": "eA=="}})));
    refused(operator, "an apply as somebody", stranger, "changes no Secret that it did not make").await;
    let marks = json!({"metadata": {"labels": {"vaultsecret.dev/role": "target"}}});
    refused(operator, "marks of its own", Replace(MERGES, theirs.clone(), marks), "changes data only").await;
    let owned = json!({"metadata": {"ownerReferences": [{"apiVersion": "vaultsecret.dev/v1alpha1", "kind": "VaultSecret",
        "name": "app", "uid": "6d4f", "controller": true}]}});
    refused(operator, "an owner", Replace(MERGES, theirs.clone(), owned), "changes data only").await;
    let replaced = Replace(MERGES, theirs.clone(), value);
    refused(operator, "a value that it did not apply", replaced, "keys that it applied").await;
    let removed = Replace(MERGES, theirs.clone(), json!({"data": {"B": null}}));
    refused(operator, "a key less", removed, "keys that it applied").await;

    // Merge: what it applies becomes its own, and goes again.
    let more = with(theirs.clone(), json!({"data": {"A": "eA==", "N": "eA=="}}));
    allowed(operator, "keys of its own", Apply(MERGES, more)).await;
    allowed(operator, "without them", Apply(MERGES, theirs.clone())).await;
    let left = api(&stage.admin, "v1", "Secret", &stage.place).get("theirs").await.unwrap();
    assert_eq!(left.data["data"], json!({"B": "Yg=="}));

    // Everybody else does as before.
    for call in [Patch(theirs.clone(), json!({"data": {"A": "eg=="}})), Delete(theirs)] {
        allowed(&stage.admin, "an administrator", call).await;
    }
}

#[tokio::test]
async fn secrets_that_nobody_merges_into() {
    let stage = Stage::new("special", &[]).await;
    let operator = &stage.operator;
    let keys = |head: Value| Apply(MERGES, with(head, json!({"data": {"N": "eA=="}})));
    let system = at("Secret", "kube-system", "of-the-cluster");
    stage.there_is(with(system.clone(), json!({"data": {"A": "YQ=="}}))).await;
    refused(operator, "kube-system", keys(system), "these namespaces: kube-system").await;

    let account = json!({"metadata": {"annotations": {"kubernetes.io/service-account.name": "default"}},
        "type": "kubernetes.io/service-account-token"});
    stage.there_is(with(stage.secret("token"), account)).await;
    refused(operator, "an account's token", keys(stage.secret("token")), "changes no Secret that").await;
    stage.there_is(stage.marked("ring", "key-ring")).await;
    refused(operator, "a key ring", keys(stage.secret("ring")), "key ring").await;
}

#[tokio::test]
async fn secrets_that_the_operator_made() {
    let stage = Stage::new("own", &[]).await;
    let operator = &stage.operator;
    let change = json!({"data": {"K": "eA=="}});
    for role in ["target", "escrow"] {
        allowed(operator, role, Create(stage.marked(role, role))).await;
        allowed(operator, role, Replace("vaultsecret-operator", stage.secret(role), change.clone())).await;
        let bare = json!({"metadata": {"labels": {"vaultsecret.dev/role": null}}});
        refused(operator, role, Patch(stage.secret(role), bare), "stays marked").await;
        let bare = json!({"metadata": {"annotations": null}});
        refused(operator, role, Patch(stage.secret(role), bare), "stays marked").await;
    }
    let becomes = json!({"metadata": {"labels": {"vaultsecret.dev/role": "target"}}});
    refused(operator, "an escrow that becomes a target", Patch(stage.secret("escrow"), becomes), "stays marked").await;
    refused(operator, "an escrow's deletion", Delete(stage.secret("escrow")), "deletes no Secret but").await;
    allowed(operator, "a target's deletion", Delete(stage.secret("target"))).await;

    // Somebody took off all marks; the owner says whose it is. It exists: else the garbage collector would take the Secret.
    let owner = stage.vault_secret().await;
    stage.there_is(with(stage.secret("owned"), stage.owned_by(&owner).await)).await;
    let marks = stage.marked("owned", "target");
    let again = json!({"metadata": marks["metadata"], "data": marks["data"]});
    allowed(operator, "marks again", Replace("vaultsecret-operator", stage.secret("owned"), again)).await;
    // An owner of another kind says nothing.
    stage.workload("Deployment").await;
    let owner = at("Deployment", &stage.place, "web");
    stage.there_is(with(stage.secret("other"), stage.owned_by(&owner).await)).await;
    refused(operator, "another owner's", Delete(stage.secret("other")), "deletes no Secret but").await;
}

#[tokio::test]
async fn what_the_operator_keeps_for_itself() {
    let stage = Stage::new("reserved", &[]).await;
    let operator = &stage.operator;
    for (name, role) in [("vaultsecret-key-ring", "key-ring"), ("vaultsecret-sealing-identities", "sealing")] {
        let own = at("Secret", &stage.system, name);
        let mut manifest = with(own.clone(), json!({"data": {"k1": "dg=="}}));
        manifest["metadata"]["labels"] = stage.marked(name, role)["metadata"]["labels"].clone();
        refused(operator, name, Create(stage.marked(name, role)), "marked as such").await;
        let mut target = stage.marked(name, "target");
        target["metadata"]["namespace"] = json!(stage.system);
        refused(operator, "a target of that name", Create(target), "marked as such").await;
        allowed(operator, name, Create(manifest.clone())).await;
        refused(operator, name, Patch(own.clone(), json!({"data": {"k1": "eA=="}})), "key ring and its sealing").await;
        refused(operator, name, Delete(own), "key ring and its sealing").await;
        let mut elsewhere = manifest;
        elsewhere["metadata"]["name"] = json!("another");
        refused(operator, "another name", Create(elsewhere), "marked as such").await;
    }
    for kind in ["kubernetes.io/service-account-token", "bootstrap.kubernetes.io/token"] {
        let mut manifest = with(stage.marked("rights", "target"), json!({"type": kind}));
        manifest["metadata"]["annotations"]["kubernetes.io/service-account.name"] = json!("default");
        refused(operator, kind, Create(manifest), "type that gives rights").await;
    }
}

/// `patch` on workloads is what a restart needs, and without the policy would be the right to run anything anywhere.
#[tokio::test]
async fn workloads_are_restarted_and_nothing_else() {
    let stage = Stage::new("workloads", &[]).await;
    let operator = &stage.operator;
    for kind in ["Deployment", "StatefulSet", "DaemonSet"] {
        stage.workload(kind).await;
        let head = at(kind, &stage.place, "web");
        let template = |template: Value| json!({"spec": {"template": template}});
        for (what, patch, part) in [
            ("image", template(json!({"spec": {"containers": [{"name": "web", "image": "evil"}]}})), "in their Pods"),
            ("account", template(json!({"spec": {"serviceAccountName": "admin"}})), "in their Pods"),
            ("label", template(json!({"metadata": {"labels": {"more": "x"}}})), "in their Pods"),
            ("note", template(json!({"metadata": {"annotations": {"other": "x"}}})), "no annotations but"),
            ("removed note", template(json!({"metadata": {"annotations": {"note": null}}})), "no annotations but"),
            ("spec", json!({"spec": {"revisionHistoryLimit": 3}}), "changes no spec"),
            ("own label", json!({"metadata": {"labels": {"more": "x"}}}), "no labels and owners"),
            ("own note", json!({"metadata": {"annotations": {"more": "x"}}}), "no annotations but"),
        ] {
            refused(operator, &format!("{what} of a {kind}"), Patch(head.clone(), patch), part).await;
        }
        for set in ["first", "second"] {
            let restart = template(json!({"metadata": {"annotations": {"restart.vaultsecret.dev/app": set}}}));
            allowed(operator, &format!("a restart of a {kind}"), Patch(head.clone(), restart)).await;
        }
    }
}

/// The finalizer is all that the operator writes into a user's object.
#[tokio::test]
async fn vault_secrets_stay_as_users_wrote_them() {
    let stage = Stage::new("objects", &[]).await;
    let operator = &stage.operator;
    let head = stage.vault_secret().await;
    for (what, patch, part) in [
        ("spec", json!({"spec": {"connectionRef": {"name": "mine"}}}), "changes no spec"),
        ("label", json!({"metadata": {"labels": {"more": "x"}}}), "no labels and owners"),
        ("annotation", json!({"metadata": {"annotations": {"vaultsecret.dev/adopt": "*"}}}), "no annotations but"),
        ("restart", json!({"metadata": {"annotations": {"restart.vaultsecret.dev/app": "x"}}}), "no annotations but"),
    ] {
        refused(operator, what, Patch(head.clone(), patch), part).await;
    }
    for finalizers in [json!(["vaultsecret.dev/cleanup"]), json!([])] {
        let patch = json!({"metadata": {"finalizers": finalizers}});
        allowed(operator, "the finalizer", Patch(head.clone(), patch)).await;
    }
}

/// Those of a ClusterVaultSecret are the operator's to make, change and delete, and no others.
#[tokio::test]
async fn vault_secrets_are_made_for_a_cluster_vault_secret() {
    let stage = Stage::new("stamps", &[]).await;
    let (admin, operator) = (&stage.admin, &stage.operator);
    let data = json!([{"key": "A", "value": "a"}]);
    let template = json!({"connectionRef": {"kind": "ClusterVaultConnection", "name": "kelvin"}, "data": data});
    let head =
        json!({"apiVersion": "vaultsecret.dev/v1alpha1", "kind": "ClusterVaultSecret", "metadata": {"name": "stamps"}});
    let spec = json!({"namespaces": {}, "sharing": "PerNamespace", "template": template});
    let cluster = apply(admin, &with(head, json!({"spec": spec}))).await;
    let owner = json!([{"apiVersion": "vaultsecret.dev/v1alpha1", "kind": "ClusterVaultSecret", "name": "stamps",
                        "uid": cluster.metadata.uid, "controller": true}]);
    let nobodys = with(at("VaultSecret", &stage.place, "new"), json!({"spec": template}));
    let mine = with(nobodys.clone(), json!({"metadata": {"ownerReferences": owner}}));
    let part = "for a ClusterVaultSecret and no others";
    refused(operator, "one that nobody asked for", Create(nobodys), part).await;
    let theirs = stage.vault_secret().await;
    refused(operator, "a user's", Delete(theirs.clone()), part).await;
    let taken = json!({"metadata": {"ownerReferences": owner}});
    refused(operator, "a user's, made its own", Patch(theirs, taken), "no labels and owners").await;

    allowed(operator, "one that was asked for", Create(mine.clone())).await;
    let edit = json!({"metadata": {"labels": {"team": "a"}, "annotations": {"note": "n"}}, "spec": {"suspend": true}});
    allowed(operator, "as the template is now", Patch(mine.clone(), edit)).await;
    let let_go = json!({"metadata": {"ownerReferences": null}});
    refused(operator, "its owner", Patch(mine.clone(), let_go), "no labels and owners").await;
    allowed(operator, "its end", Delete(mine)).await;
    allowed(admin, "an administrator", Delete(at("VaultSecret", &stage.place, "app"))).await;
}

#[tokio::test]
async fn merging_only_where_it_is_allowed() {
    let stage = Stage::new("labelled", &["admissionPolicies.operator.mergeInto=Labelled"]).await;
    let keys = |head: Value| Apply(MERGES, with(head, json!({"data": {"N": "eA=="}})));
    stage.theirs("closed").await;
    stage.theirs("open").await;
    let label = json!({"metadata": {"labels": {"vaultsecret.dev/merge": "allowed"}}});
    allowed(&stage.admin, "a label", Patch(stage.secret("open"), label.clone())).await;
    let part = "vaultsecret.dev/merge: allowed";
    refused(&stage.operator, "a Secret without the label", keys(stage.secret("closed")), part).await;
    allowed(&stage.operator, "a Secret with it", keys(stage.secret("open"))).await;
    let place = kube::Api::<k8s_openapi::api::core::v1::Namespace>::all(stage.admin.clone());
    place.patch(&stage.place, &kube::api::PatchParams::default(), &kube::api::Patch::Merge(&label)).await.unwrap();
    eventually("a namespace with it", async || {
        make(&stage.operator, &keys(stage.secret("closed")), true).await.is_ok()
    })
    .await;

    let stage = Stage::new("nowhere", &["admissionPolicies.operator.mergeInto=None"]).await;
    stage.theirs("theirs").await;
    refused(&stage.operator, "a merge", keys(stage.secret("theirs")), "changes no Secret that it did not make").await;
}
