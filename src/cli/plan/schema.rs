//! What the API server would refuse, said without one: the schemas and rules of the CRDs, applied to a manifest. No message
//! repeats anything of a manifest but the names of known fields.

use std::collections::BTreeSet;
use std::sync::{LazyLock, OnceLock};

use kube::core::cel::{CompiledSchema, ErrorKind, Validator, compile_schema};
use regex::Regex;
use serde_json::{Map, Value};

use crate::cli::crd;
use crate::source::reference::is_object_name;

/// The most that is said of one object.
const MOST: usize = 20;

/// Kind, schema and rules of each definition. To compile the rules takes a moment, so only those are that are needed.
static KINDS: LazyLock<Vec<(String, Value, OnceLock<CompiledSchema>)>> = LazyLock::new(|| {
    let kinds = crd::all().into_iter().filter_map(|crd| {
        let schema = crd.spec.versions.into_iter().next()?.schema?.open_api_v3_schema?;
        let schema = serde_json::to_value(schema).ok()?;
        Some((crd.spec.names.kind, schema, OnceLock::new()))
    });
    kinds.collect()
});

/// The definitions.
#[derive(Default)]
pub struct Schemas {
    validator: Validator,
}

impl Schemas {
    /// Everything that is wrong with an object of ours, by its kind.
    #[must_use]
    pub fn check(&self, kind: &str, object: &Value) -> Vec<String> {
        let mut found = Vec::new();
        let name = object["metadata"]["name"].as_str().unwrap_or_default();
        if name.is_empty() {
            found.push("metadata.name is missing".to_owned());
        } else if !is_object_name(name) {
            found.push(
                "metadata.name: a name has at most 253 lower-case letters, digits, '-' and '.', and begins and ends with a letter \
                 or digit"
                    .to_owned(),
            );
        }
        let version = object["apiVersion"].as_str().unwrap_or_default();
        if version.rsplit('/').next() != Some("v1alpha1") {
            found.push("apiVersion: the version is v1alpha1".to_owned());
        }
        let Some((_, schema, compiled)) = KINDS.iter().find(|(known, ..)| known == kind) else { return found };
        // The server sets the status, and takes a null for nothing.
        let mut object = without_nulls(object);
        if let Some(fields) = object.as_object_mut() {
            fields.remove("status");
        }
        let before = found.len();
        for (field, below) in properties(schema).into_iter().flatten().filter(|(f, _)| *f == "spec") {
            match object.get(field) {
                Some(value) => walk(field, below, value, &mut found),
                None => found.push(format!("{field} is missing")),
            }
        }
        let known = ["apiVersion", "kind", "metadata", "spec"];
        let extra = object.as_object().into_iter().flatten().any(|(field, _)| !known.contains(&field.as_str()));
        if extra {
            found.push(format!("there is a field beside {}", known.join(", ")));
        }
        // As the API server does: rules are asked only about what has the right form.
        if found.len() == before
            && let compiled = compiled.get_or_init(|| compile_schema(schema))
            && let Err(errors) = self.validator.validate_compiled(compiled, &object, None)
        {
            // A rule that cannot be evaluated here is left to the API server: its message may quote the object.
            let failed = errors.iter().filter(|error| error.kind == ErrorKind::ValidationFailure);
            found.extend(failed.map(|error| {
                let field = error.field_path.trim_start_matches('.');
                if field.is_empty() { error.message.clone() } else { format!("{field}: {}", error.message) }
            }));
        }
        found.truncate(MOST);
        found
    }

    /// The message of the rule that an API server's refusal is about: one of ours, so that nothing of the object is repeated.
    #[must_use]
    pub fn known_message(said: &str) -> Option<String> {
        fn messages<'v>(schema: &'v Value, found: &mut Vec<&'v str>) {
            match schema {
                Value::Object(fields) => {
                    let rules = fields.get("x-kubernetes-validations").and_then(Value::as_array);
                    found.extend(rules.into_iter().flatten().filter_map(|rule| rule["message"].as_str()));
                    fields.values().for_each(|below| messages(below, found));
                }
                Value::Array(items) => items.iter().for_each(|below| messages(below, found)),
                _ => {}
            }
        }
        let mut all = Vec::new();
        KINDS.iter().for_each(|(_, schema, _)| messages(schema, &mut all));
        all.into_iter().find(|message| said.ends_with(*message)).map(str::to_owned)
    }
}

fn without_nulls(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let kept = fields.iter().filter(|(_, value)| !value.is_null());
            Value::Object(kept.map(|(name, value)| (name.clone(), without_nulls(value))).collect())
        }
        Value::Array(items) => Value::Array(items.iter().map(without_nulls).collect()),
        other => other.clone(),
    }
}

fn properties(schema: &Value) -> Option<&Map<String, Value>> {
    schema["properties"].as_object()
}

fn walk(path: &str, schema: &Value, value: &Value, found: &mut Vec<String>) {
    let mut say = |text: String| found.push(format!("{path}: {text}"));
    let (wanted, right) = match schema["type"].as_str() {
        Some("object") => ("an object", value.is_object()),
        Some("array") => ("a list", value.is_array()),
        Some("string") => ("a text; put it in quotes if it looks like something else", value.is_string()),
        Some("boolean") => ("true or false", value.is_boolean()),
        Some("integer") => ("a whole number", value.is_i64() || value.is_u64()),
        Some("number") => ("a number", value.is_number()),
        _ => ("", true),
    };
    if !right {
        return say(format!("must be {wanted}"));
    }
    if let Some(all) = schema["enum"].as_array().filter(|all| !all.contains(value)) {
        let all: Vec<&str> = all.iter().filter_map(Value::as_str).collect();
        return say(format!("must be one of {}", all.join(", ")));
    }
    match value {
        Value::String(text) => {
            let length = text.chars().count() as u64;
            between(length, &schema["minLength"], &schema["maxLength"], "characters", &mut say);
            let pattern = schema["pattern"].as_str();
            // A pattern that is not one of this dialect is left to the API server.
            if let Some((pattern, true)) = pattern.and_then(|p| Some((p, !Regex::new(p).ok()?.is_match(text)))) {
                say(format!("must match {pattern}"));
            }
        }
        Value::Number(number) => {
            let (least, most) = (schema["minimum"].as_f64(), schema["maximum"].as_f64());
            let number = number.as_f64().unwrap_or_default();
            if least.is_some_and(|least| number < least) || most.is_some_and(|most| number > most) {
                let bound = |bound: Option<f64>, word| bound.map(|b| format!("{word} {b}")).unwrap_or_default();
                say(format!("must be {} {}", bound(least, "at least"), bound(most, "at most")).trim_end().to_owned());
            }
        }
        Value::Array(items) => {
            between(items.len() as u64, &schema["minItems"], &schema["maxItems"], "items", &mut say);
            if let Some(twice) = twice(schema, items) {
                say(twice);
            }
            for (i, item) in items.iter().enumerate() {
                walk(&format!("{path}[{i}]"), &schema["items"], item, found);
            }
        }
        Value::Object(fields) => {
            between(fields.len() as u64, &schema["minProperties"], &schema["maxProperties"], "fields", &mut say);
            object(path, schema, fields, found);
        }
        _ => {}
    }
}

fn between(number: u64, least: &Value, most: &Value, what: &str, say: &mut impl FnMut(String)) {
    if let Some(least) = least.as_u64().filter(|least| number < *least) {
        say(format!("must have at least {least} {what}"));
    }
    if let Some(most) = most.as_u64().filter(|most| number > *most) {
        say(format!("must have at most {most} {what}, and has {number}"));
    }
}

/// Two items of a list with the same key.
fn twice(schema: &Value, items: &[Value]) -> Option<String> {
    let keys: Vec<&str> = schema["x-kubernetes-list-map-keys"].as_array()?.iter().filter_map(Value::as_str).collect();
    let mut seen = BTreeSet::new();
    let id = |item: &Value| keys.iter().map(|key| item[*key].to_string()).collect::<Vec<_>>();
    let at = items.iter().position(|item| !seen.insert(id(item)))?;
    Some(format!("item {at} has the same {} as one before it", keys.join(" and ")))
}

fn object(path: &str, schema: &Value, fields: &Map<String, Value>, found: &mut Vec<String>) {
    let required = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str);
    for name in required.filter(|name| !fields.contains_key(*name)) {
        found.push(format!("{path}.{name} is missing"));
    }
    if let Some(below) = schema.get("additionalProperties").filter(|below| below.is_object()) {
        // The names are a person's own, and as little to be trusted as what they name.
        for (i, value) in fields.values().enumerate() {
            walk(&format!("{path}[{i}]"), below, value, found);
        }
        return;
    }
    if schema["x-kubernetes-preserve-unknown-fields"] == true {
        return;
    }
    let Some(known) = properties(schema) else { return };
    for (name, value) in fields {
        match known.get(name) {
            Some(below) => walk(&format!("{path}.{name}"), below, value, found),
            None => {
                let like = known.keys().find(|known| is_like(name, known));
                let all: Vec<&str> = known.keys().map(String::as_str).collect();
                found.push(match like {
                    Some(like) => format!("{path}.{name} is no field; did you mean {like}?"),
                    None => format!("{path} has a field that is not known; it takes {}", all.join(", ")),
                });
            }
        }
    }
}

/// Whether a name is a known one but for its case and a letter or two.
fn is_like(name: &str, known: &str) -> bool {
    let plain = |text: &str| text.to_lowercase().replace(['_', '-'], "");
    let (a, b): (Vec<char>, Vec<char>) = (plain(name).chars().collect(), plain(known).chars().collect());
    if a.len().abs_diff(b.len()) > 2 || b.len() < 4 {
        return a == b;
    }
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let changed = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()] <= 2
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use serde_json::json;

    use super::*;

    fn check(spec: Value) -> Vec<String> {
        let object = json!({"apiVersion": "vaultsecret.dev/v1alpha1", "kind": "VaultSecret",
                            "metadata": {"name": "app"}, "spec": spec});
        let found = Schemas::default().check("VaultSecret", &object);
        assert!(!found.concat().contains("hunter2"), "{found:?}");
        found
    }

    fn one(entry: Value) -> Value {
        json!({"connectionRef": {"name": "c"}, "data": [entry]})
    }

    #[test]
    fn what_is_right_is_taken() {
        let all = [
            one(json!({"key": "A", "value": "hunter2", "remoteName": null})),
            one(json!({"key": "A", "valueFrom": {"generate": {"uuid": {}, "rotateEvery": "720h"}}})),
            one(json!({"key": "A", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}})),
        ];
        for spec in all {
            assert_eq!(check(spec), Vec::<String>::new());
        }
    }

    #[test]
    fn forms_are_checked_without_quoting_what_is_there() {
        for (spec, part) in [
            (json!({"data": [{"key": "A", "value": "hunter2"}]}), "spec.connectionRef is missing"),
            (one(json!({"key": "A", "value": 7})), "spec.data[0].value: must be a text"),
            (one(json!({"key": "hunter2 !", "value": "v"})), "spec.data[0].key: must match"),
            (one(json!({"key": "A", "value": ""})), "at least 1 characters"),
            (one(json!({"key": "A", "value": "v", "remote_name": "hunter2"})), "did you mean remoteName?"),
            (one(json!({"key": "A", "value": "v", "hunter2": "v"})), "has a field that is not known; it takes"),
            (one(json!({"key": "A", "value": "v", "encoding": "hunter2"})), "must be one of UTF8, Base64"),
            (json!({"connectionRef": {"name": "c"}, "data": []}), "at least one of data and dataFrom"),
            (
                json!({"connectionRef": {"name": "c"}, "data": [{"key": "A", "value": "a"}, {"key": "A", "value": "b"}]}),
                "item 1 has the same key",
            ),
            (
                one(json!({"key": "A", "valueFrom": {"generate": {"password": {"length": 0}}}})),
                "length: must be at least 1",
            ),
        ] {
            let found = check(spec);
            assert!(found.iter().any(|text| text.contains(part)), "{part}: {found:?}");
        }
    }

    #[test]
    fn rules_are_asked_and_speak_for_themselves() {
        for (spec, part) in [
            (one(json!({"key": "A"})), "exactly one of value and valueFrom must be set"),
            (one(json!({"key": "A", "value": "hunter2", "valueFrom": {"sealed": "hunter2"}})), "exactly one of value"),
            (one(json!({"key": "A", "valueFrom": {"sealed": "hunter2"}})), "sealed must be what vaultsecret seal"),
            (one(json!({"key": "A", "value": "v", "push": false, "project": false})), "the value would go nowhere"),
            (
                one(json!({"key": "A", "valueFrom": {"generate": {"uuid": {}, "rotateEvery": "hunter2"}}})),
                "must be a duration of at least 10s",
            ),
            (
                one(json!({"key": "A", "valueFrom": {"generate": {"password": {"length": 4, "digits": 9}}}})),
                "digits and symbols together",
            ),
        ] {
            let found = check(spec);
            assert!(found.iter().any(|text| text.contains(part)), "{part}: {found:?}");
        }
    }

    /// What cannot be evaluated here is left out, so a rule that never can be is no check at all.
    #[test]
    fn every_rule_can_be_evaluated_here() {
        let schemas = Schemas::default();
        fn broken(schema: &CompiledSchema) -> usize {
            let below = schema.properties.values().chain(schema.items.as_deref());
            schema.compilation_errors().len() + below.map(broken).sum::<usize>()
        }
        for (kind, schema, _) in KINDS.iter() {
            assert_eq!(broken(&compile_schema(schema)), 0, "{kind}");
        }
        let object = json!({"apiVersion": "vaultsecret.dev/v1alpha1", "kind": "VaultConnection", "metadata": {"name": "c"},
            "spec": {"kelvin": {"url": "http://x.example", "auth": {"accessTokenRef": {"name": "s", "key": "k"}}}}});
        let found = schemas.check("VaultConnection", &object);
        assert!(found.iter().any(|text| text.contains("sends secrets in the clear")), "{found:?}");
        assert_eq!(
            Schemas::known_message("Invalid value: \"object\": exactly one of value and valueFrom must be set")
                .as_deref(),
            Some("exactly one of value and valueFrom must be set")
        );
    }
}
