//! `vaultsecret doctor` at real installations: a sound one, one in which nearly everything is broken, and none at all.
//!
//! The transcript in docs/doctor.md is what it said to the broken one;
//! `UPDATE_SNAPSHOTS=1 cargo test --test chart doctor` writes it anew.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kube::api::{DeleteParams, Patch, PatchParams};
use serde_json::{Value, json};
use vaultsecret_operator::cli::doctor::rights::{Mode, Place, Right, needed};

use crate::cluster::{api, eventually};
use crate::common::{Kind, entry};
use crate::helm::{SYSTEM, in_repository, of_kind, render_with};
use crate::installed::{ACCOUNT, Installed, SHOP};

const RBAC: &str = "rbac.authorization.k8s.io/v1";
const ADMISSION: &str = "admissionregistration.k8s.io/v1";
const DEFINITIONS: &str = "apiextensions.k8s.io/v1";

/// What it said.
struct Said {
    code: i32,
    table: String,
    report: Value,
}

impl Said {
    /// Findings in a state: `area: subject`, and the message.
    fn of(&self, state: &str) -> Vec<(String, String)> {
        let all = self.report["findings"].as_array().unwrap_or_else(|| panic!("{}", self.report)).iter();
        let text = |finding: &Value, field: &str| finding[field].as_str().unwrap_or_default().to_owned();
        all.filter(|f| f["state"] == state)
            .map(|f| (format!("{}: {}", text(f, "area"), text(f, "subject")), text(f, "message")))
            .collect()
    }

    /// One finding names all of these.
    fn says(&self, state: &str, parts: &[&str]) {
        let found = self.of(state).iter().any(|(subject, message)| {
            let whole = format!("{subject} {message}");
            parts.iter().all(|part| whole.contains(part))
        });
        assert!(found, "nothing {state} says {parts:?}:\n{}", self.table);
    }
}

/// Runs it, as a table, as YAML and as JSON. None shows a secret, a stack or a colour.
fn doctor(kubeconfig: &Path, args: &[&str], secrets: &[String]) -> Said {
    let run = |format: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_vaultsecret"));
        command.arg("doctor").args(["-o", format]).args(args).env_clear().env("KUBECONFIG", kubeconfig);
        let output = command.output().unwrap();
        let (out, err) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
        assert_eq!(err, "", "nothing is said on the side");
        for secret in secrets {
            assert!(!out.contains(secret) && !out.contains(STANDARD.encode(secret).trim_end_matches('=')), "{out}");
        }
        assert!(!out.contains('\u{1b}') && !out.contains("panicked"), "{out}");
        (output.status.code().unwrap(), out)
    };
    // What it looks at may change between two runs (a lease that is not renewed in time): they are made anew then.
    let mut all = std::iter::repeat_with(|| (run("table"), run("yaml"), run("json"))).take(5);
    let ((code, table), (_, yaml), (_, report)) = all
        .find(|(table, yaml, json)| table.0 == yaml.0 && table.0 == json.0)
        .expect("table, YAML and JSON come to the same");
    let report: Value = serde_json::from_str(&report).unwrap_or_else(|_| panic!("{report}"));
    let yaml: Value = serde_saphyr::from_str(&yaml).unwrap();
    assert_eq!(yaml["well"], report["well"]);
    Said { code, table, report }
}

/// What the operator keeps for itself.
async fn own_secrets(installed: &Installed) -> Vec<String> {
    let mut all = Vec::new();
    for name in ["vaultsecret-key-ring", "vaultsecret-sealing-identities"] {
        let found = api(&installed.admin, "v1", "Secret", SYSTEM).get(name).await.unwrap();
        all.extend(found.data["data"].as_object().unwrap().values().map(|value| value.as_str().unwrap().to_owned()));
    }
    assert!(all.len() >= 2 && all.iter().all(|text| text.len() > 30));
    let plain = all.iter().filter_map(|text| String::from_utf8(STANDARD.decode(text).unwrap()).ok());
    let plain: Vec<String> = plain.map(|text| text.trim().to_owned()).collect();
    all.extend(plain);
    all
}

#[tokio::test]
async fn a_cluster_without_an_operator_and_one_that_is_sound() {
    let mut installed = Installed::nothing().await;
    let admin = installed.cluster.admin_kubeconfig().to_owned();
    let said = doctor(&admin, &[], &[]);
    assert_eq!(said.code, 2, "{}", said.table);
    said.says("Failed", &["definitions: vaultsecrets.vaultsecret.dev", "is not installed"]);
    said.says("Failed", &["operator: vaultsecret-system", "this namespace does not exist"]);
    said.says("Failed", &["rights:", "no role is bound"]);
    said.says("Skipped", &["objects: VaultSecrets", "the cluster does not know VaultSecrets"]);
    assert!(
        said.table.contains("-> vaultsecret crd | kubectl apply --server-side --force-conflicts -f -"),
        "{}",
        said.table
    );

    installed.install(&[]).await;
    let pods = installed.pods_run().await;
    let operator = installed.operator(Some(&pods[0]), &[]).await;
    let secrets = own_secrets(&installed).await;
    let said = doctor(&admin, &[], &secrets);
    // Nothing runs in its Pods, so they cannot be asked.
    let skipped: BTreeSet<String> = said.of("Skipped").into_iter().map(|(subject, _)| subject).collect();
    assert!(skipped.iter().all(|subject| subject.starts_with("operator: readiness")), "{}", said.table);
    assert_eq!((said.code, &said.report["well"]), (0, &json!(true)), "{}", said.table);
    for part in [
        &["rights:", "may do all that it must"][..],
        &["rights:", "is refused what it must not do"],
        &["policies: vaultsecret-operator.vaultsecret-system.secrets", "is there and bound"],
        &["policies: dry run: a Secret without the operator's marks", "proved", ".secrets"],
        &["policies: dry run: a change of its key ring", "proved", ".secrets"],
        &["policies: dry run: a change of a Deployment", "proved", ".objects"],
        &["operator: Lease", &pods[0], "leads"],
        &["cluster: operator's clock", "agree"],
        &["definitions: vaultconnections.vaultsecret.dev", "as this program has it"],
    ] {
        said.says("Passed", part);
    }
    // Nothing was written, by it or by the operator in its name.
    let written = installed
        .cluster
        .audit()
        .requests(|record| ["vaultsecret-doctor"].contains(&record.name.as_str()) && record.code < 300);
    assert!(written.is_empty(), "{written:#?}");

    // As the operator itself, inside its Pod.
    let own = installed.cluster.service_account_kubeconfig(SYSTEM, ACCOUNT).await.unwrap();
    let said = doctor(&own, &[], &secrets);
    assert_eq!(said.code, 0, "{}", said.table);
    said.says("Passed", &["rights:", "may do all that it must"]);
    said.says("Passed", &["policies: dry run: a Secret without the operator's marks", "proved"]);
    said.says("Skipped", &["definitions: vaultsecrets.vaultsecret.dev", "you may not read"]);
    said.says("Passed", &["operator: Secret vaultsecret-key-ring", "1 key"]);

    // As somebody without any right.
    let nobody = installed.cluster.service_account_kubeconfig(SHOP, "default").await.unwrap();
    let said = doctor(&nobody, &[], &secrets);
    assert_eq!(said.code, 0, "what could not be looked at is no failure: {}", said.table);
    said.says("Skipped", &["rights:", "SubjectAccessReviews"]);
    said.says("Skipped", &["policies: dry run", "may not impersonate"]);
    said.says("Skipped", &["objects: VaultSecrets", "you may not list"]);
    assert!(said.table.contains("What was looked at is well"), "{}", said.table);

    drop(operator);
    installed.cluster.stop_apiserver();
    let said = doctor(&admin, &[], &[]);
    assert_eq!(said.code, 1, "{}", said.table);
    said.says("Failed", &["cluster: API server", "does not answer"]);
}

/// Changes an object by a merge patch.
async fn patch(installed: &Installed, (api_version, kind, namespace): (&str, &str, &str), name: &str, patch: Value) {
    let api = api(&installed.admin, api_version, kind, namespace);
    api.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
}

/// Takes the rights to something away from the operator's ClusterRole.
async fn without(installed: &Installed, resource: &str, verbs: &[&str]) {
    let roles = api(&installed.admin, RBAC, "ClusterRole", "");
    let mut rules = roles.get(ACCOUNT).await.unwrap().data["rules"].clone();
    for rule in rules.as_array_mut().unwrap().iter_mut().filter(|rule| rule["resources"] == json!([resource])) {
        rule["verbs"].as_array_mut().unwrap().retain(|verb| !verbs.contains(&verb.as_str().unwrap()));
    }
    patch(installed, (RBAC, "ClusterRole", ""), ACCOUNT, json!({"rules": rules})).await;
}

#[tokio::test]
async fn a_broken_one_is_told_what_mends_it() {
    let installed = Installed::new(&[]).await;
    let pods = installed.pods_run().await;
    let operator = installed.operator(Some(&pods[0]), &["--lease-duration=3s"]).await;
    let scene = installed.scene(&operator, SHOP);
    let mut secrets = own_secrets(&installed).await;

    // While the operator runs: a good one, and some that it tells of itself.
    let synced = scene.synced(Kind::Kelvin, json!({"deletionPolicy": "Delete"})).await;
    secrets.push(synced.value.clone());
    scene.remote(Kind::Mixpeek).await;
    let mixpeek = json!({"mixpeek": {"auth": {"apiKeyRef": {"name": "mixpeek-key", "key": "apiKey"}}}});
    scene.create("VaultConnection", "mixpeek", json!({"spec": mixpeek})).await;
    scene.connection_is("mixpeek", "CredentialsMissing").await;
    let wants = |connection: &str, data: Value| json!({"connectionRef": {"name": connection}, "data": [data]});
    scene.vault_secret("lost", wants("vault", entry("A", "a", "source/value"))).await;
    scene.not_ready("lost", "ConnectionMissing").await;
    let shared = |name: &str| {
        let data = json!([{"key": "B", "remoteName": name, "push": false, "value": "b"}]);
        json!({"connectionRef": {"name": "kelvin"}, "data": data, "target": {"name": "both"}})
    };
    scene.vault_secret("first", shared("b")).await;
    scene.ready("first").await;
    scene.vault_secret("second", shared("c")).await;
    scene.not_ready("second", "TargetConflict").await;

    // Then nearly everything breaks.
    operator.kill();
    scene.delete("VaultSecret", "app").await;
    let frozen = json!({"status": {"freeze": {"token": "5f2c", "reason": "9 of 9 entries are gone at the remote"}}});
    let connections = scene.api("VaultConnection");
    connections.patch_status("kelvin", &PatchParams::default(), &Patch::Merge(frozen)).await.unwrap();
    let crash = json!({"phase": "Running", "conditions": [{"type": "Ready", "status": "False"}],
        "containerStatuses": [{"name": "operator", "image": "", "imageID": "", "ready": false, "restartCount": 7,
            "state": {"running": null, "waiting": {"reason": "CrashLoopBackOff"}},
            "lastState": {"terminated": {"exitCode": 1, "reason": "Error"}}}]});
    installed.pod_says(&pods[0], crash).await;
    without(&installed, "secrets", &["patch", "delete"]).await;
    let debug = json!({"metadata": {"name": "debug"}, "rules": [{"apiGroups": [""], "resources": ["pods/exec"], "verbs": ["create"]}]});
    let bind = json!({"metadata": {"name": "debug"}, "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "debug"},
        "subjects": [{"kind": "ServiceAccount", "name": ACCOUNT, "namespace": SYSTEM}]});
    for (kind, object) in [("ClusterRole", debug), ("ClusterRoleBinding", bind)] {
        let object = serde_json::from_value(object).unwrap();
        api(&installed.admin, RBAC, kind, "").create(&kube::api::PostParams::default(), &object).await.unwrap();
    }
    let gone = DeleteParams::default();
    let bindings = api(&installed.admin, ADMISSION, "ValidatingAdmissionPolicyBinding", "");
    bindings.delete("vaultsecret-operator.vaultsecret-system.objects", &gone).await.unwrap();
    let definitions = api(&installed.admin, DEFINITIONS, "CustomResourceDefinition", "");
    definitions.delete("clustervaultconnections.vaultsecret.dev", &gone).await.unwrap();
    let mut older = definitions.get("vaultsecrets.vaultsecret.dev").await.unwrap().data["spec"].clone();
    let spec = older.pointer_mut("/versions/0/schema/openAPIV3Schema/properties/spec/properties").unwrap();
    spec.as_object_mut().unwrap().remove("rolloutRestartTargets").unwrap();
    patch(
        &installed,
        (DEFINITIONS, "CustomResourceDefinition", ""),
        "vaultsecrets.vaultsecret.dev",
        json!({"spec": older}),
    )
    .await;
    let bare = json!({"metadata": {"labels": {"vaultsecret.dev/role": null}}});
    patch(&installed, ("v1", "Secret", SYSTEM), "vaultsecret-key-ring", bare).await;

    let admin = installed.cluster.admin_kubeconfig().to_owned();
    let mut said = doctor(&admin, &[], &secrets);
    // The lease lasts a moment longer, and so do what is cached of roles and policies, and a definition with its objects.
    let settled = |said: &Said| {
        ["nobody leads", "may do 1 of", "clustervaultconnections.vaultsecret.dev is not installed", "would be done"]
            .iter()
            .all(|part| said.table.split_whitespace().collect::<Vec<_>>().join(" ").contains(part))
    };
    eventually("what was broken is broken", async || {
        said = doctor(&admin, &[], &secrets);
        eprintln!("{}", said.table);
        settled(&said)
    })
    .await;
    assert_eq!(said.code, 2, "{}", said.table);
    scene.expect_no_secret("what doctor says", &said.table);
    scene.expect_no_secret("what doctor says", &said.report.to_string());
    for part in [
        &["definitions: clustervaultconnections.vaultsecret.dev", "is not installed"][..],
        &["definitions: vaultsecrets.vaultsecret.dev", "older than this program", "spec.rolloutRestartTargets"],
        &["operator: Lease vaultsecret-operator", "nobody leads", &pods[0]],
        &["operator: Pod", &pods[0], "ends again and again: 7 restarts, last Error with exit code 1"],
        &["rights:", "may not patch, delete secrets"],
        &["rights:", "may do 1 of", "create pods/exec"],
        &["connections: shop/kelvin", "frozen", "9 of 9 entries are gone"],
        &["connections: shop/mixpeek", "CredentialsMissing"],
        &["objects: VaultConnection shop/vault", "shop/lost wait for it"],
        &["objects: Secret shop/both", "is wanted by first, second"],
    ] {
        said.says("Failed", part);
    }
    for part in [
        &["operator: Deployment vaultsecret-operator", "1 of 2 replicas ready"][..],
        &["operator: Secret vaultsecret-key-ring", "lacks its labels"],
        &["policies: vaultsecret-operator.vaultsecret-system.objects", "is not bound"],
        &["policies: dry run: a change of a Deployment", "would be done"],
        &["connections: shop/kelvin", "in the clear"],
        &["objects: shop/app", "waits until its entries are deleted"],
    ] {
        said.says("Warning", part);
    }
    for mend in [
        "kubectl annotate vconn kelvin -n shop --overwrite vaultsecret.dev/approve=5f2c=same",
        "kubectl create secret generic mixpeek-key -n shop --from-file=apiKey=FILE",
        "kubectl label secret vaultsecret-key-ring -n vaultsecret-system --overwrite",
        "--show-only templates/policy-operator.yaml | kubectl apply -f -",
    ] {
        assert!(said.table.contains(mend), "{mend}:\n{}", said.table);
    }
    transcript(&said.table);
    // Its finalizer would hold the namespace, and nobody is there to take it out.
    scene.patch("VaultSecret", "app", json!({"metadata": {"finalizers": null}})).await;
}

/// Puts a run into the document.
fn transcript(table: &str) {
    if std::env::var_os("UPDATE_SNAPSHOTS").is_none() {
        return;
    }
    let path = in_repository("docs/doctor.md");
    let text = std::fs::read_to_string(&path).unwrap();
    let (begin, end) = ("<!-- transcript: made by a test -->\n", "<!-- end of transcript -->\n");
    let (head, rest) = text.split_once(begin).unwrap();
    let (_, tail) = rest.split_once(end).unwrap();
    std::fs::write(&path, format!("{head}{begin}```console\n$ vaultsecret doctor\n{table}```\n{end}{tail}")).unwrap();
}

/// What doctor asks for is what the chart grants: no more, no less.
#[test]
fn the_table_of_rights_is_what_the_chart_renders() {
    let granted = |set: &str, kind: &str, wanted: &dyn Fn(&str, &str) -> bool, place: Place| -> BTreeSet<Right> {
        let rendered = render_with(set);
        let texts = |value: &Value| -> Vec<String> {
            value.as_array().into_iter().flatten().map(|text| text.as_str().unwrap().to_owned()).collect()
        };
        let roles = of_kind(&rendered, kind).into_iter().filter(|role| {
            let text = |field: &str| role["metadata"][field].as_str().unwrap_or_default();
            wanted(text("name"), text("namespace"))
        });
        let mut all = BTreeSet::new();
        for rule in roles.flat_map(|role| role["rules"].as_array().unwrap()) {
            let names =
                if rule["resourceNames"].is_null() { vec![String::new()] } else { texts(&rule["resourceNames"]) };
            for (group, resource) in texts(&rule["apiGroups"])
                .iter()
                .flat_map(|g| texts(&rule["resources"]).into_iter().map(move |r| (g.clone(), r)))
            {
                for (name, verb) in
                    names.iter().flat_map(|n| texts(&rule["verbs"]).into_iter().map(move |v| (n.clone(), v)))
                {
                    all.insert(Right { place, group: group.clone(), resource: resource.clone(), name, verb });
                }
            }
        }
        assert!(!all.is_empty(), "{set}: {kind}");
        all
    };
    let table = |mode: Mode| needed(&mode).into_iter().collect::<BTreeSet<Right>>();
    let own = |name: &str, _: &str| name == ACCOUNT;
    let mut rendered = granted("default", "ClusterRole", &own, Place::Everywhere);
    rendered.extend(granted("default", "Role", &own, Place::Own));
    assert_eq!(table(Mode::Cluster), rendered);
    for namespace in ["shop", "blog"] {
        let watched = |name: &str, place: &str| name == "vaultsecret-operator-watched" && place == namespace;
        let mut rendered = granted("namespaced", "Role", &watched, Place::Watched);
        rendered.extend(granted("namespaced", "Role", &own, Place::Own));
        assert_eq!(table(Mode::Namespaced(vec![namespace.to_owned()])), rendered);
    }
}
