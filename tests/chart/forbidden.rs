//! What the operator must not be able to do, each tried as its account at the API server with what the chart renders, and
//! refused there. The table stands in docs/security.md; `UPDATE_SNAPSHOTS=1 cargo test --test chart forbidden -- --nocapture`
//! writes it anew and prints it.

use std::fmt::Write as _;

use kube::Client;
use kube::client::Body;
use serde_json::{Value, json};

use crate::cluster::{api, eventually};
use crate::helm::{SYSTEM, in_repository};
use crate::installed::{ACCOUNT, Installed, SHOP};

/// Something to try.
struct Try {
    what: &'static str,
    method: &'static str,
    path: String,
    body: Value,
    headers: Vec<(&'static str, &'static str)>,
}

impl Try {
    fn new(what: &'static str, method: &'static str, path: &str, body: Value) -> Self {
        Self { what, method, path: path.to_owned(), body, headers: Vec::new() }
    }

    fn get(what: &'static str, path: &str) -> Self {
        Self::new(what, "GET", path, Value::Null)
    }

    fn delete(what: &'static str, path: &str) -> Self {
        Self::new(what, "DELETE", path, Value::Null)
    }

    fn make(what: &'static str, path: &str, body: Value) -> Self {
        Self::new(what, "POST", path, body)
    }

    fn change(what: &'static str, path: &str, patch: Value) -> Self {
        Self::new(what, "PATCH", path, patch)
    }

    /// Asks, of writes as a dry run: status and message.
    async fn ask(&self, client: &Client) -> (u16, String) {
        let dry = match (self.method, self.path.contains('?')) {
            ("GET", _) => "",
            (_, true) => "&dryRun=All",
            (_, false) => "?dryRun=All",
        };
        let content = if self.method == "PATCH" { "application/merge-patch+json" } else { "application/json" };
        let mut request = axum::http::Request::builder()
            .method(self.method)
            .uri(format!("{}{dry}", self.path))
            .header("content-type", content);
        for (name, value) in &self.headers {
            request = request.header(*name, *value);
        }
        let body = if self.body.is_null() { Body::empty() } else { Body::from(self.body.to_string().into_bytes()) };
        let response = client.send(request.body(body).unwrap()).await.unwrap();
        let status = response.status().as_u16();
        let text = response.into_body().collect_bytes().await.unwrap();
        let said: Value = serde_json::from_slice(&text).unwrap_or_default();
        (status, said["message"].as_str().unwrap_or_default().to_owned())
    }
}

fn core(namespace: &str, resource: &str) -> String {
    format!("/api/v1/namespaces/{namespace}/{resource}")
}

fn marked(name: &str, role: &str) -> Value {
    json!({"metadata": {"name": name,
        "labels": {"vaultsecret.dev/role": role, "app.kubernetes.io/managed-by": "vaultsecret-operator"},
        "annotations": {"vaultsecret.dev/made-for": "app/6d4f"}}, "data": {"A": "YQ=="}})
}

const RBAC: &str = "/apis/rbac.authorization.k8s.io/v1";
const ADMISSION: &str = "/apis/admissionregistration.k8s.io/v1";
const OURS: &str = "/apis/vaultsecret.dev/v1alpha1";

/// What no role may give.
fn against_roles() -> Vec<Try> {
    let bind = |kind: &str| {
        json!({"metadata": {"name": "mine"}, "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": "cluster-admin"},
            "subjects": [{"kind": "ServiceAccount", "name": ACCOUNT, "namespace": SYSTEM}]})
    };
    let pod = json!({"metadata": {"name": "mine"}, "spec": {"containers": [{"name": "a", "image": "a"}]}});
    let mut as_admin = Try::get("act as somebody else", &core(SHOP, "configmaps"));
    as_admin.headers.push(("impersonate-user", "system:admin"));
    vec![
        Try::make("make itself cluster-admin", &format!("{RBAC}/clusterrolebindings"), bind("ClusterRole")),
        Try::make(
            "make itself admin of a namespace",
            &format!("{RBAC}/namespaces/{SHOP}/rolebindings"),
            bind("ClusterRole"),
        ),
        as_admin,
        Try::make(
            "take a token of another account",
            &core(SHOP, "serviceaccounts/default/token"),
            json!({"spec": {"audiences": []}}),
        ),
        Try::get("read nodes", "/api/v1/nodes"),
        Try::make("run a Pod", &core(SHOP, "pods"), pod),
        Try::get("read Pods", &core(SHOP, "pods")),
        Try::make("run a command in a Pod", &core(SYSTEM, "pods/any/exec?command=id"), Value::Null),
        Try::make(
            "make a Deployment",
            &format!("/apis/apps/v1/namespaces/{SHOP}/deployments"),
            json!({"metadata": {"name": "mine"}}),
        ),
        Try::delete("delete a namespace", &format!("/api/v1/namespaces/{SHOP}")),
        Try::delete("delete all Secrets of a namespace", &core(SHOP, "secrets")),
        Try::make(
            "make an admission policy",
            &format!("{ADMISSION}/validatingadmissionpolicies"),
            json!({"metadata": {"name": "mine"}}),
        ),
        Try::delete(
            "take away the policy that binds it",
            &format!("{ADMISSION}/validatingadmissionpolicybindings/{ACCOUNT}.{SYSTEM}.secrets"),
        ),
        Try::make(
            "make a webhook that sees all requests",
            &format!("{ADMISSION}/mutatingwebhookconfigurations"),
            json!({"metadata": {"name": "mine"}}),
        ),
        Try::change(
            "change a definition",
            "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/vaultsecrets.vaultsecret.dev",
            json!({"spec": {"scope": "Cluster"}}),
        ),
        Try::make(
            "make a VaultSecret",
            &format!("{OURS}/namespaces/{SHOP}/vaultsecrets"),
            json!({"apiVersion": "vaultsecret.dev/v1alpha1", "kind": "VaultSecret", "metadata": {"name": "mine"},
                "spec": {"connectionRef": {"name": "kelvin"}, "data": [{"key": "A", "value": "a"}]}}),
        ),
        Try::delete("delete a VaultSecret", &format!("{OURS}/namespaces/{SHOP}/vaultsecrets/app")),
        Try::change(
            "lead a connection to another remote",
            &format!("{OURS}/namespaces/{SHOP}/vaultconnections/kelvin"),
            json!({"spec": {"kelvin": {"url": "https://evil.example"}}}),
        ),
    ]
}

/// What lies beyond the listed namespaces.
fn beyond() -> Vec<Try> {
    vec![
        Try::get("read all Secrets of the cluster", "/api/v1/secrets"),
        Try::get("read a Secret of another namespace", &core("kube-system", "secrets/any")),
        Try::make("make a Secret in another namespace", &core("default", "secrets"), marked("mine", "target")),
        Try::get("read the other Secrets of its own namespace", &core(SYSTEM, "secrets/any")),
        Try::get("read namespaces", "/api/v1/namespaces"),
        Try::get("read VaultSecrets of another namespace", &format!("{OURS}/namespaces/default/vaultsecrets")),
        Try::get("read ClusterVaultConnections", &format!("{OURS}/clustervaultconnections")),
        Try::change(
            "restart a Deployment of another namespace",
            "/apis/apps/v1/namespaces/default/deployments/any",
            json!({"spec": {"template": {"metadata": {"annotations": {"restart.vaultsecret.dev/app": "1"}}}}}),
        ),
    ]
}

/// What roles cannot tell apart from its work, and policies can.
fn against_policies() -> Vec<Try> {
    let (theirs, own) = (core(SHOP, "secrets/theirs"), core(SYSTEM, "secrets/vaultsecret-key-ring"));
    let web = format!("/apis/apps/v1/namespaces/{SHOP}/deployments/web");
    let app = format!("{OURS}/namespaces/{SHOP}/vaultsecrets/app");
    let template = |template: Value| json!({"spec": {"template": template}});
    let mut token = marked("mine", "target");
    token["type"] = json!("kubernetes.io/service-account-token");
    token["metadata"]["annotations"]["kubernetes.io/service-account.name"] = json!("default");
    let merged = |namespace: &str| {
        format!("{}?fieldManager=vaultsecret-operator-0123456789abcdef", core(namespace, "secrets/theirs"))
    };
    vec![
        Try::make(
            "make a Secret that is not marked as its own",
            &core(SHOP, "secrets"),
            json!({"metadata": {"name": "mine"}}),
        ),
        Try::make("make a token as a Secret", &core(SHOP, "secrets"), token),
        Try::make("make another key ring", &core(SHOP, "secrets"), marked("mine", "key-ring")),
        Try::change("change a Secret that it did not make", &theirs, json!({"data": {"A": "eA=="}})),
        Try::change("take a key out of it", &merged(SHOP), json!({"data": {"A": null}})),
        Try::change("mark it as its own", &theirs, json!({"metadata": {"labels": {"vaultsecret.dev/role": "target"}}})),
        Try::delete("delete it", &theirs),
        Try::delete("delete an escrow", &core(SHOP, "secrets/app-escrow")),
        Try::change(
            "take the marks off its own Secret",
            &core(SHOP, "secrets/app"),
            json!({"metadata": {"labels": {"vaultsecret.dev/role": null}}}),
        ),
        Try::change("change its key ring", &own, json!({"data": {"k1": "eA=="}})),
        Try::change(
            "run another image",
            &web,
            template(json!({"spec": {"containers": [{"name": "web", "image": "evil"}]}})),
        ),
        Try::change("run under another account", &web, template(json!({"spec": {"serviceAccountName": "admin"}}))),
        Try::change("scale a Deployment", &web, json!({"spec": {"replicas": 9}})),
        Try::change(
            "set another annotation on its Pods",
            &web,
            template(json!({"metadata": {"annotations": {"more": "x"}}})),
        ),
        Try::change("change the spec of a VaultSecret", &app, json!({"spec": {"suspend": true}})),
        Try::change(
            "adopt in somebody's name",
            &app,
            json!({"metadata": {"annotations": {"vaultsecret.dev/adopt": "*"}}}),
        ),
    ]
}

/// What policies forbid only where roles give a right at all.
fn against_policies_everywhere() -> Vec<Try> {
    let merge = format!("{}?fieldManager=vaultsecret-operator-0123456789abcdef", core("kube-system", "secrets/theirs"));
    vec![
        Try::change("merge into a Secret of kube-system", &merge, json!({"data": {"N": "eA=="}})),
        Try::delete("delete its key ring", &core(SYSTEM, "secrets/vaultsecret-key-ring")),
    ]
}

/// What is tried on.
async fn props(admin: &Client) {
    let make = async |api_version: &str, kind: &str, namespace: &str, mut body: Value| {
        (body["apiVersion"], body["kind"]) = (json!(api_version), json!(kind));
        let object = serde_json::from_value(body).unwrap();
        api(admin, api_version, kind, namespace).create(&kube::api::PostParams::default(), &object).await.unwrap();
    };
    for namespace in [SHOP, "kube-system"] {
        make("v1", "Secret", namespace, json!({"metadata": {"name": "theirs"}, "data": {"A": "YQ=="}})).await;
    }
    make("v1", "Secret", SHOP, marked("app", "target")).await;
    make("v1", "Secret", SHOP, marked("app-escrow", "escrow")).await;
    let ring = json!({"metadata": {"name": "vaultsecret-key-ring", "labels": {"vaultsecret.dev/role": "key-ring"}}, "data": {"k1": "dg=="}});
    make("v1", "Secret", SYSTEM, ring).await;
    let web = json!({"metadata": {"name": "web"}, "spec": {"replicas": 0, "selector": {"matchLabels": {"app": "web"}},
        "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "web", "image": "web:1"}]}}}});
    make("apps/v1", "Deployment", SHOP, web).await;
    let app = json!({"metadata": {"name": "app"}, "spec": {"connectionRef": {"name": "kelvin"}, "data": [{"key": "A", "value": "a"}]}});
    make("vaultsecret.dev/v1alpha1", "VaultSecret", SHOP, app).await;
    let kelvin = json!({"metadata": {"name": "kelvin"}, "spec": {"kelvin": {"url": "https://acme.kelvin.ai",
        "auth": {"accessTokenRef": {"name": "token", "key": "token"}}}}});
    make("vaultsecret.dev/v1alpha1", "VaultConnection", SHOP, kelvin).await;
}

/// The rule that refused, and the rest of what was said.
fn rule_of(message: &str) -> (String, String) {
    let Some((_, rest)) = message.split_once("ValidatingAdmissionPolicy '") else {
        return ("no role allows it".to_owned(), message.to_owned());
    };
    let (policy, rest) = rest.split_once('\'').unwrap();
    let why = rest.split_once("denied request: ").map_or(rest, |(_, why)| why);
    (format!("policy `{policy}`"), why.to_owned())
}

/// Tries all; a table of the refusals.
async fn table(installed: &Installed, tries: &[Try]) -> String {
    let kubeconfig = installed.cluster.service_account_kubeconfig(SYSTEM, ACCOUNT).await.unwrap();
    let operator = installed.cluster.client_from(&kubeconfig).await.unwrap();
    // The API server needs a moment to hear of policies.
    let policies = against_policies();
    let (last_secret, last_object) = (&policies[6], &policies[14]);
    eventually("the policies bind", async || {
        last_secret.ask(&operator).await.0 == 403 && last_object.ask(&operator).await.0 == 403
    })
    .await;
    let mut out = String::from("| tried as the operator | refused by | the API server's answer |\n|---|---|---|\n");
    for one in tries {
        let (status, message) = one.ask(&operator).await;
        assert_eq!(status, 403, "{}: {message}", one.what);
        let (rule, answer) = rule_of(&message);
        let answer = answer.replace(&format!("User \"system:serviceaccount:{SYSTEM}:{ACCOUNT}\""), "the operator");
        writeln!(out, "| {} | {rule} | {status}: {} |", one.what, answer.replace('|', "\\|")).unwrap();
    }
    out
}

/// The table as it stands in the document, which it is written into or compared with.
fn documented(mark: &str, table: &str) {
    eprintln!("\n{mark}\n\n{table}");
    let path = in_repository("docs/security.md");
    let text = std::fs::read_to_string(&path).unwrap();
    let (begin, end) = (format!("<!-- {mark}: made by a test -->\n"), format!("<!-- end of {mark} -->\n"));
    let (head, rest) = text.split_once(&begin).unwrap_or_else(|| panic!("docs/security.md has no {begin}"));
    let (kept, tail) = rest.split_once(&end).unwrap();
    if std::env::var_os("UPDATE_SNAPSHOTS").is_some() {
        std::fs::write(&path, format!("{head}{begin}{table}{end}{tail}")).unwrap();
    } else {
        assert_eq!(kept, table, "docs/security.md is not what the API server says; see forbidden.rs");
    }
}

#[tokio::test]
async fn everything_else_is_refused() {
    let cluster_wide = async {
        let installed = Installed::new(&[]).await;
        props(&installed.admin).await;
        let tries = all([against_roles(), against_policies(), against_policies_everywhere()]);
        table(&installed, &tries).await
    };
    let listed = async {
        let installed = Installed::new(&["watch.namespaces={shop,blog}"]).await;
        props(&installed.admin).await;
        let tries = all([against_roles(), beyond(), against_policies()]);
        table(&installed, &tries).await
    };
    documented("forbidden in the whole cluster", &cluster_wide.await);
    documented("forbidden with a list of namespaces", &listed.await);
}

fn all<const N: usize>(parts: [Vec<Try>; N]) -> Vec<Try> {
    parts.into_iter().flatten().collect()
}
