//! `values.yaml`, its schema and its description.

use serde_json::Value;

use crate::helm::{chart, documents, rendered};

#[test]
fn a_mistake_in_the_values_is_named() {
    for (set, part) in [
        ("replica=2", "replica"),
        ("operator.leaseDuraton=1m", "leaseDuraton"),
        ("operator.leaseDuration=30", "leaseDuration"),
        ("operator.logFormat=xml", "logFormat"),
        ("operator.workers=0", "workers"),
        ("operator.otlpEndpoint=collector:4318", "otlpEndpoint"),
        ("watch.namespaces={Shop}", "namespaces"),
        ("image.digest=latest", "digest"),
        ("admissionPolicies.operator.mergeInto=Some", "mergeInto"),
        ("admissionPolicies.tenants.actions={Deny,Warn}", "actions"),
        ("networkPolicy.remotes[0].cidr=example.com", "cidr"),
        ("operator.leaderElect=false", "replicas"),
    ] {
        let complaint = rendered(&["--set", set]).expect_err(set);
        assert!(complaint.contains(part), "{set}: {complaint}");
    }
}

fn paths(values: &Value, prefix: &str, into: &mut Vec<String>) {
    for (name, value) in values.as_object().into_iter().flatten() {
        let path = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
        match value.as_object() {
            Some(fields) if !fields.is_empty() => paths(value, &path, into),
            _ => into.push(path),
        }
    }
}

/// The schema knows every value, and the README describes it or the group that it is in.
#[test]
fn every_value_is_in_the_schema_and_described() {
    let read = |name: &str| std::fs::read_to_string(chart().join(name)).unwrap();
    let values = documents(&read("values.yaml")).remove(0);
    let schema: Value = serde_json::from_str(&read("values.schema.json")).unwrap();
    let readme = read("README.md");
    let mut all = Vec::new();
    paths(&values, "", &mut all);
    assert!(all.len() > 50);
    for path in all {
        let mut place = &schema;
        let (mut open, mut described) = (false, false);
        let mut so_far = String::new();
        for name in path.split('.') {
            so_far = if so_far.is_empty() { name.to_owned() } else { format!("{so_far}.{name}") };
            described |= readme.contains(&format!("`{so_far}`"));
            // Under an object of Kubernetes' own, whose fields the API server checks.
            open |= !place["properties"].is_object();
            place = &place["properties"][name];
            assert!(open || place.is_object(), "{path} is not in values.schema.json");
        }
        assert!(described, "{path} is not in the chart's README.md");
    }
}
