//! A list of namespaces: no ClusterRole is rendered, none is needed, and everything works with what is rendered.

use std::collections::BTreeSet;

use kube::api::ListParams;
use serde_json::Value;

use crate::cluster::api;
use crate::common::whole_life;
use crate::helm::{SYSTEM, of_kind};
use crate::installed::{ACCOUNT, Installed, SHOP};

const RBAC: &str = "rbac.authorization.k8s.io/v1";

#[tokio::test]
async fn a_list_of_namespaces_works_without_a_single_cluster_role() {
    let installed = Installed::new(&["watch.namespaces={shop,blog}"]).await;
    // Of the whole cluster's there are the definitions, and the policies that only take away.
    let of_the_cluster: BTreeSet<&str> = installed
        .rendered
        .iter()
        .filter(|document| document["metadata"]["namespace"].is_null())
        .map(|document| document["kind"].as_str().unwrap())
        .collect();
    let wanted = ["CustomResourceDefinition", "ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"];
    assert_eq!(of_the_cluster, wanted.into());
    assert!(of_kind(&installed.rendered, "ClusterRole").is_empty());

    // Nor has the account got a right in the cluster from elsewhere.
    let bindings = api(&installed.admin, RBAC, "ClusterRoleBinding", "");
    let bound = bindings.list(&ListParams::default()).await.unwrap().items;
    assert!(bound.len() > 10, "the control plane's own are there");
    let is_its = |subject: &Value| subject["kind"] == "ServiceAccount" && subject["name"] == ACCOUNT;
    let its: Vec<_> = bound
        .iter()
        .filter(|binding| binding.data["subjects"].as_array().into_iter().flatten().any(is_its))
        .map(|binding| binding.metadata.name.clone())
        .collect();
    assert!(its.is_empty(), "{its:?}");

    let operator = installed.operator(None, &["--namespaces=shop,blog"]).await;
    let scene = installed.scene(&operator, SHOP);
    whole_life(&scene).await;

    let all = installed.cluster.audit().requests(|record| record.user == operator.user());
    let refused: Vec<_> = all.iter().filter(|record| [401, 403].contains(&record.code)).collect();
    assert!(refused.is_empty(), "{refused:#?}");
    let beyond = |namespace: &str| ![SHOP, "blog", SYSTEM].contains(&namespace);
    let beyond: Vec<_> = all.iter().filter(|r| beyond(&r.namespace) && !r.resource.is_empty()).collect();
    assert!(beyond.is_empty(), "asked beyond its namespaces: {beyond:#?}");
    assert!(all.len() > 50, "the audit log knows the operator");
}
