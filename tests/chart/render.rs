//! What the chart renders: the snapshots, the rights of `deploy/`, the definitions, and what it must never contain.

use std::collections::BTreeSet;
use std::process::Command;

use serde_json::{Value, json};

use crate::helm::{chart, documents, helm_ok, in_repository, of_kind, render, render_all, render_with, values};

/// The files of `values/`.
const SETS: [&str; 3] = ["default", "namespaced", "everything"];

/// Compares with the snapshot, or writes it anew.
#[test]
fn it_renders_the_snapshots() {
    for set in SETS {
        let mut all = render_all(&["--values", &values(set)]);
        // Those are compared with crds/, and would be most of the file.
        all.retain(|document| document["kind"] != "CustomResourceDefinition");
        // Compared with its file, for the same reason.
        for map in all.iter_mut().filter(|document| document["kind"] == "ConfigMap") {
            map["data"]["vaultsecret-operator.json"] = json!("files/dashboard.json");
        }
        let parts: Vec<String> = all.iter().map(|document| serde_saphyr::to_string(document).unwrap()).collect();
        let text = parts.join("---\n");
        assert_eq!(documents(&text), all, "a snapshot says what was rendered");
        let path = in_repository(&format!("tests/chart/snapshots/{set}.yaml"));
        if std::env::var_os("UPDATE_SNAPSHOTS").is_some() {
            std::fs::write(&path, &text).unwrap();
        }
        let kept = std::fs::read_to_string(&path).unwrap_or_default();
        for (line, (kept, rendered)) in kept.lines().zip(text.lines()).enumerate() {
            assert_eq!(rendered, kept, "line {} of {}; see main.rs", line + 1, path.display());
        }
        assert_eq!(text.lines().count(), kept.lines().count(), "{}; see main.rs", path.display());
    }
}

#[test]
fn helm_finds_nothing_to_complain_about() {
    for set in SETS {
        let said = helm_ok(&["lint", "--strict", &chart().display().to_string(), "--values", &values(set)]);
        assert!(said.contains("0 chart(s) failed"), "{said}");
    }
}

fn rules(document: &Value) -> &Value {
    assert!(document["rules"].is_array(), "{document}");
    &document["rules"]
}

fn named<'a>(documents: &'a [Value], kind: &str, name: &str) -> &'a Value {
    let found: Vec<_> =
        of_kind(documents, kind).into_iter().filter(|document| document["metadata"]["name"] == name).collect();
    assert_eq!(found.len(), 1, "{kind} {name}");
    found[0]
}

fn deploy(path: &str) -> Vec<Value> {
    documents(&std::fs::read_to_string(in_repository(path)).unwrap())
}

/// A right that one way of installing gives and the other does not is a defect of one of them.
#[test]
fn the_rights_are_those_of_deploy() {
    let (chart, deployed) = (render_with("default"), deploy("deploy/cluster/rbac.yaml"));
    for (kind, name) in [
        ("ClusterRole", "vaultsecret-operator"),
        ("Role", "vaultsecret-operator"),
        ("Role", "vaultsecret-sealing-recipients"),
    ] {
        assert_eq!(rules(named(&chart, kind, name)), rules(named(&deployed, kind, name)), "{kind} {name}");
        let binding = format!("{kind}Binding");
        let (ours, theirs) = (named(&chart, &binding, name), named(&deployed, &binding, name));
        assert_eq!((&ours["subjects"], &ours["roleRef"]), (&theirs["subjects"], &theirs["roleRef"]), "{binding}");
    }
    assert_eq!(of_kind(&chart, "ClusterRole").len() + of_kind(&chart, "Role").len(), 3);

    let chart = render_with("namespaced");
    let mut deployed = deploy("deploy/namespaced/rbac.yaml");
    deployed.extend(deploy("deploy/namespaced/namespace-role/rbac.yaml"));
    for name in ["vaultsecret-operator", "vaultsecret-sealing-recipients"] {
        assert_eq!(rules(named(&chart, "Role", name)), rules(named(&deployed, "Role", name)), "{name}");
    }
    let watched = "vaultsecret-operator-watched";
    let roles: Vec<_> =
        of_kind(&chart, "Role").into_iter().filter(|role| role["metadata"]["name"] == watched).collect();
    let places: Vec<_> = roles.iter().map(|role| role["metadata"]["namespace"].as_str().unwrap()).collect();
    assert_eq!(places, ["blog", "shop"]);
    for role in roles {
        assert_eq!(rules(role), rules(named(&deployed, "Role", watched)));
    }
    for binding in of_kind(&chart, "RoleBinding") {
        let at = |pointer| binding.pointer(pointer).unwrap().clone();
        assert_eq!(at("/roleRef/name"), at("/metadata/name"));
        let name = at("/metadata/name");
        if name != "vaultsecret-sealing-recipients" && name != "vaultsecret-operator-release-finalizers-watched" {
            assert_eq!(
                at("/subjects"),
                json!([{"kind": "ServiceAccount", "name": "vaultsecret-operator", "namespace": "vaultsecret-system"}])
            );
        }
    }
}

/// With definitions and policies left to somebody else, nothing needs a right in the cluster: not even to install it.
#[test]
fn a_list_of_namespaces_needs_nothing_of_the_cluster() {
    for document in render_all(&["--values", &values("namespaced")]) {
        let namespace = document["metadata"]["namespace"].as_str();
        let among = namespace.is_some_and(|name| ["vaultsecret-system", "shop", "blog"].contains(&name));
        assert!(among, "{} {}", document["kind"], document["metadata"]["name"]);
    }
    let everything = render_all(&["--values", &values("everything")]);
    assert!(of_kind(&everything, "ClusterRole").is_empty() && of_kind(&everything, "ClusterRoleBinding").is_empty());
}

#[test]
fn the_definitions_are_those_of_crds_and_are_kept() {
    let rendered = render_with("default");
    let definitions = of_kind(&rendered, "CustomResourceDefinition");
    assert_eq!(definitions.len(), 4);
    for definition in definitions {
        let name = definition["metadata"]["name"].as_str().unwrap();
        let file = format!("crds/{}.yaml", name.split('.').next().unwrap());
        let mut wanted = deploy(&file).remove(0);
        wanted["metadata"]["annotations"] = json!({"helm.sh/resource-policy": "keep"});
        assert_eq!(*definition, wanted, "{file}; run make generate");
    }
    assert!(of_kind(&render(&["--set", "crds.install=false"]), "CustomResourceDefinition").is_empty());
}

/// Flags as `vaultsecret run --help` lists them.
fn flags() -> BTreeSet<String> {
    let help = Command::new(env!("CARGO_BIN_EXE_vaultsecret")).args(["run", "--help"]).output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    let words = help.lines().filter_map(|line| line.trim_start().strip_prefix("--")?.split([' ', '[', '=']).next());
    words.filter(|flag| *flag != "help").map(str::to_owned).collect()
}

/// Every flag is a value of the chart, is rendered in a form that the operator takes, and the defaults are the operator's.
#[test]
fn every_flag_is_a_value() {
    let flags = flags();
    assert!(flags.len() >= 13, "{flags:?}");
    let args = |set: &str| -> Vec<String> {
        let all = render_with(set);
        let args = of_kind(&all, "Deployment")[0].pointer("/spec/template/spec/containers/0/args").unwrap().clone();
        serde_json::from_value(args).unwrap()
    };
    let everything = args("everything");
    let given: BTreeSet<_> =
        everything[1..].iter().map(|arg| arg.trim_start_matches('-').split('=').next().unwrap().to_owned()).collect();
    assert_eq!(given, flags);
    for set in SETS {
        // It stops at the last flag, which no operator has, if it took all the others.
        let mut args = args(set);
        args.push("--no-such-flag".to_owned());
        let output = Command::new(env!("CARGO_BIN_EXE_vaultsecret")).args(&args).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(said.contains("unexpected argument '--no-such-flag'"), "{args:?}: {said}");
    }
}

fn pod(documents: &[Value]) -> Value {
    of_kind(documents, "Deployment")[0].pointer("/spec/template").unwrap().clone()
}

#[test]
fn the_pod_has_no_more_than_it_needs() {
    for set in SETS {
        let template = pod(&render_with(set));
        let spec = &template["spec"];
        assert_eq!(spec["securityContext"]["runAsNonRoot"], true);
        assert_eq!(spec["securityContext"]["seccompProfile"]["type"], "RuntimeDefault");
        for container in spec["containers"].as_array().unwrap() {
            let context = &container["securityContext"];
            assert_eq!(context["readOnlyRootFilesystem"], true);
            assert_eq!(context["allowPrivilegeEscalation"], false);
            assert_eq!(context["capabilities"], json!({"drop": ["ALL"]}));
            assert!(container["resources"]["limits"]["memory"].is_string());
        }
    }
    let token = pod(&render_with("everything"));
    let mount = &token["spec"]["containers"][0]["volumeMounts"][0];
    assert_eq!(mount["mountPath"], "/var/run/secrets/elsewhere");
    let projected = &token["spec"]["volumes"][0]["projected"]["sources"][0]["serviceAccountToken"];
    assert_eq!(*projected, json!({"audience": "bao", "expirationSeconds": 1200, "path": "token"}));
}

#[test]
fn all_that_selects_pods_selects_the_operators() {
    for set in SETS {
        let all = render_with(set);
        let labels = pod(&all)["metadata"]["labels"].clone();
        let selects = |selector: &Value| {
            let wanted = selector.as_object().unwrap();
            assert!(!wanted.is_empty());
            wanted.iter().all(|(name, value)| labels[name] == *value)
        };
        for (kind, pointer) in [
            ("Deployment", "/spec/selector/matchLabels"),
            ("PodDisruptionBudget", "/spec/selector/matchLabels"),
            ("NetworkPolicy", "/spec/podSelector/matchLabels"),
            ("Service", "/spec/selector"),
        ] {
            let found = of_kind(&all, kind);
            assert_eq!(found.len(), 1, "{kind} with {set}");
            assert!(selects(found[0].pointer(pointer).unwrap()), "{kind} with {set}");
        }
        for constraint in pod(&all)["spec"]["topologySpreadConstraints"].as_array().unwrap() {
            assert!(selects(&constraint["labelSelector"]["matchLabels"]));
        }
        for monitor in of_kind(&all, "ServiceMonitor") {
            let service = &of_kind(&all, "Service")[0]["metadata"]["labels"];
            let wanted = monitor["spec"]["selector"]["matchLabels"].as_object().unwrap();
            assert!(wanted.iter().all(|(name, value)| service[name] == *value));
        }
    }
}

/// One replica is not protected from what would otherwise be a drain for ever, and without election there is one.
#[test]
fn one_replica() {
    let one = render(&["--set", "replicas=1"]);
    assert!(of_kind(&one, "PodDisruptionBudget").is_empty());
    let alone = render(&["--set", "replicas=1", "--set", "operator.leaderElect=false"]);
    assert_eq!(of_kind(&alone, "Deployment")[0]["spec"]["strategy"], json!({"type": "Recreate"}));
}
