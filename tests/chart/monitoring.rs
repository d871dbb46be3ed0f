//! Alerts and dashboard speak of metrics that exist.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::helm::{chart, in_repository, of_kind, render_with};

/// Names of metrics in the table of docs/operations.md, which a unit test compares with what the operator serves.
fn documented() -> BTreeSet<String> {
    let text = std::fs::read_to_string(in_repository("docs/operations.md")).unwrap();
    let rows = text.lines().filter_map(|line| line.strip_prefix("| `vaultsecret_")?.split('`').next());
    rows.map(|name| format!("vaultsecret_{name}")).collect()
}

/// Names of metrics in an expression.
fn metrics(expression: &str) -> BTreeSet<String> {
    let words = expression.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words.filter(|word| word.starts_with("vaultsecret_")).map(str::to_owned).collect()
}

/// A histogram has series of other names.
fn base(name: &str) -> &str {
    ["_count", "_bucket", "_sum"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name)
}

fn strings<'a>(value: &'a Value, field: &str, into: &mut Vec<&'a str>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                match value.as_str() {
                    Some(text) if name == field => into.push(text),
                    _ => strings(value, field, into),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| strings(item, field, into)),
        _ => {}
    }
}

fn rules() -> Value {
    of_kind(&render_with("everything"), "PrometheusRule")[0].clone()
}

#[test]
fn alerts_and_panels_use_metrics_that_exist() {
    let documented = documented();
    assert!(documented.len() > 10, "{documented:?}");
    let dashboard: Value =
        serde_json::from_str(&std::fs::read_to_string(chart().join("files/dashboard.json")).unwrap()).unwrap();
    let rules = rules();
    let (mut alerts, mut panels) = (Vec::new(), Vec::new());
    strings(&rules, "expr", &mut alerts);
    strings(&dashboard, "expr", &mut panels);
    assert!(alerts.len() >= 9 && panels.len() >= 15, "{} {}", alerts.len(), panels.len());
    for expression in alerts.iter().chain(&panels) {
        let used = metrics(expression);
        assert!(!used.is_empty(), "{expression}");
        for name in used {
            assert!(documented.contains(base(&name)), "{name} in {expression}");
        }
        for (open, close) in [('(', ')'), ('{', '}'), ('[', ']')] {
            assert_eq!(expression.matches(open).count(), expression.matches(close).count(), "{expression}");
        }
    }
    // Whoever looks at the dashboard sees everything that there is.
    let shown: BTreeSet<String> =
        panels.iter().flat_map(|text| metrics(text)).map(|name| base(&name).to_owned()).collect();
    assert_eq!(shown, documented);
}

/// Only the series of this release are looked at, and every alert says what it is about and how bad that is.
#[test]
fn alerts_are_complete() {
    let rules = rules();
    let alerts = rules.pointer("/spec/groups/0/rules").unwrap().as_array().unwrap();
    for alert in alerts {
        let expression = alert["expr"].as_str().unwrap();
        let series = expression.matches("vaultsecret_").count();
        let mine = expression.matches(r#"job="secrets",namespace="vaultsecret-system""#).count();
        assert_eq!(series, mine, "{expression}");
        assert!(["critical", "warning", "info"].contains(&alert["labels"]["severity"].as_str().unwrap()));
        for text in ["summary", "description"] {
            assert!(alert["annotations"][text].as_str().unwrap().len() > 20, "{alert}");
        }
    }
}

#[test]
fn the_dashboard_is_in_a_config_map_as_it_is() {
    let all = render_with("everything");
    let map = of_kind(&all, "ConfigMap")[0];
    let shown: Value = serde_json::from_str(map["data"]["vaultsecret-operator.json"].as_str().unwrap()).unwrap();
    let file = std::fs::read_to_string(chart().join("files/dashboard.json")).unwrap();
    assert_eq!(shown, serde_json::from_str::<Value>(&file).unwrap());
    assert_eq!(map["metadata"]["labels"]["grafana_dashboard"], "1");
    let mut ids = BTreeSet::new();
    for panel in shown["panels"].as_array().unwrap() {
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "panel {} stands twice", panel["id"]);
    }
}

/// `make promtool` builds it and says where it is: building takes minutes, which is too long for everybody who changes something else.
fn promtool(folder: &std::path::Path, args: &[&str]) -> String {
    let program = std::env::var_os("VAULTSECRET_PROMTOOL").expect("run by make promtool");
    let output = std::process::Command::new(program).args(args).current_dir(folder).output().unwrap();
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success(), "promtool {args:?}: {said}");
    said
}

/// The rules are sound, and each alert fires when it should and not before.
#[test]
#[ignore = "needs promtool: make promtool"]
fn promtool_takes_the_alerts() {
    let folder = tempfile::tempdir().unwrap();
    let rules = rules()["spec"].clone();
    std::fs::write(folder.path().join("rules.yaml"), serde_saphyr::to_string(&rules).unwrap()).unwrap();
    let tests = std::fs::read_to_string(in_repository("tests/chart/alerts.yaml")).unwrap();
    std::fs::write(folder.path().join("alerts.yaml"), &tests).unwrap();
    promtool(folder.path(), &["check", "rules", "--lint=all", "--lint-fatal", "rules.yaml"]);
    promtool(folder.path(), &["test", "rules", "alerts.yaml"]);
    for alert in rules["groups"][0]["rules"].as_array().unwrap() {
        let name = alert["alert"].as_str().unwrap();
        assert!(tests.contains(&format!("ALERTS{{alertname=\"{name}\"")), "alerts.yaml sees no {name} fire");
    }
}
