//! The page of one kind.

use anyhow::Context as _;
use serde_json::Value;

use super::{cell, code};

/// The page, from a CustomResourceDefinition.
pub(super) fn page(definition: &Value) -> anyhow::Result<String> {
    let spec = &definition["spec"];
    let text = |pointer: &str| definition.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let version = spec["versions"].as_array().and_then(|all| all.first()).context("a definition without a version")?;
    let schema = &version["schema"]["openAPIV3Schema"];
    let kind = text("/spec/names/kind");
    let mut out = format!("# {kind}\n\n");
    if let Some(what) = schema["description"].as_str() {
        out += &format!("{}\n\n", cell(what));
    }
    out += &format!(
        "`apiVersion: {}/{}`, plural `{}`",
        text("/spec/group"),
        version["name"].as_str().unwrap_or_default(),
        text("/spec/names/plural")
    );
    let short: Vec<&str> = strings(&spec["names"]["shortNames"]).collect();
    if !short.is_empty() {
        out += &format!(", short `{}`", short.join("`, `"));
    }
    out += if spec["scope"] == "Cluster" { "; one for the cluster.\n" } else { "; in a namespace.\n" };
    let columns = version["additionalPrinterColumns"].as_array().into_iter().flatten();
    let (wide, always): (Vec<&Value>, Vec<&Value>) = columns.partition(|c| c["priority"].as_i64().unwrap_or(0) > 0);
    let names = |columns: &[&Value]| columns.iter().filter_map(|c| c["name"].as_str()).collect::<Vec<_>>().join(", ");
    if !always.is_empty() {
        out += &format!("`kubectl get` shows {}", names(&always));
        out += &if wide.is_empty() { ".\n".to_owned() } else { format!("; with `-o wide` also {}.\n", names(&wide)) };
    }
    for part in ["spec", "status"] {
        if let Some(below) = schema["properties"].get(part) {
            section(part, below, 2, &mut out);
        }
    }
    let rules = rules(schema);
    if !rules.is_empty() {
        out += &format!("\n## Rules of the whole\n\n{rules}");
    }
    Ok(out)
}

/// The heading of an object, its fields, and then the objects below it.
fn section(path: &str, schema: &Value, level: usize, out: &mut String) {
    *out += &format!("\n{} {path}\n\n", "#".repeat(level));
    if let Some(what) = schema["description"].as_str() {
        *out += &format!("{}\n\n", cell(what));
    }
    let rules = rules(schema);
    *out += &rules;
    let Some(fields) = schema["properties"].as_object().filter(|fields| !fields.is_empty()) else { return };
    if !rules.is_empty() {
        out.push('\n');
    }
    *out += "| field | type | default | limits | |\n|---|---|---|---|---|\n";
    let required: Vec<&str> = strings(&schema["required"]).collect();
    let mut below = Vec::new();
    for (name, field) in fields {
        let (what, default) = description(field);
        let (form, inner) = form(&format!("{path}.{name}"), field);
        let needed = required.contains(&name.as_str());
        let default = if needed { "**required**".to_owned() } else { default };
        *out += &format!("| {} | {form} | {default} | {} | {what} |\n", code(name), limits(field, inner.is_some()));
        below.extend(inner);
    }
    for (path, schema) in below {
        section(&path, schema, (level + 1).min(4), out);
    }
}

/// The type in words, and what has a section of its own: an object with fields, itself or in a list or map.
fn form<'v>(path: &str, schema: &'v Value) -> (String, Option<(String, &'v Value)>) {
    let has_fields = |schema: &Value| schema["properties"].as_object().is_some_and(|fields| !fields.is_empty());
    let linked =
        |what: &str, path: String, schema: &'v Value| (format!("[{what}](#{})", anchor(&path)), Some((path, schema)));
    if has_fields(schema) {
        return linked("object", path.to_owned(), schema);
    }
    if let Some(items) = schema.get("items") {
        let path = format!("{path}[]");
        let inner = items["type"].as_str().unwrap_or("any");
        return if has_fields(items) { linked("list", path, items) } else { (format!("list of {inner}s"), None) };
    }
    if let Some(values) = schema.get("additionalProperties").filter(|values| values.is_object()) {
        let path = format!("{path}.*");
        let inner = values["type"].as_str().unwrap_or("any");
        return if has_fields(values) { linked("map", path, values) } else { (format!("map of {inner}s"), None) };
    }
    if schema["x-kubernetes-int-or-string"] == true {
        return ("integer or string".to_owned(), None);
    }
    (schema["type"].as_str().unwrap_or("any").to_owned(), None)
}

/// The anchor of the heading of a path, as renderers of Markdown make it.
fn anchor(path: &str) -> String {
    path.chars().filter(|c| c.is_alphanumeric() || "-_".contains(*c)).flat_map(char::to_lowercase).collect()
}

/// What the description says, and the default: the schema's, else what the sentence that begins with it says.
fn description(schema: &Value) -> (String, String) {
    let told = schema["description"].as_str().unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" ");
    let (rest, said) = match told.find("Default: ") {
        Some(at) => {
            let (before, after) = told.split_at(at);
            let after = &after["Default: ".len()..];
            let (default, after) = after.split_once(". ").unwrap_or((after.trim_end_matches('.'), ""));
            (format!("{before}{after}").trim().to_owned(), default.to_owned())
        }
        None => (told, String::new()),
    };
    let default = match schema.get("default") {
        Some(Value::String(text)) => code(text),
        Some(other) => code(&other.to_string()),
        None => cell(&said),
    };
    (cell(&rest), default)
}

/// What a value has to be, besides its type. The rules of what has a section stand there.
fn limits(schema: &Value, has_section: bool) -> String {
    let mut found = Vec::new();
    let choices = |values: &Value| {
        let words = values.as_array().into_iter().flatten();
        words.map(|v| code(v.as_str().unwrap_or(&v.to_string()))).collect::<Vec<_>>().join(", ")
    };
    for schema in [Some(schema), schema.get("items"), schema.get("additionalProperties")].into_iter().flatten() {
        if schema.get("enum").is_some() {
            found.push(choices(&schema["enum"]));
        }
        for (least, most, unit) in [
            ("minimum", "maximum", ""),
            ("minLength", "maxLength", " characters"),
            ("minItems", "maxItems", " items"),
            ("minProperties", "maxProperties", " keys"),
        ] {
            let number = |key: &str| schema[key].as_f64().map(|n| n.to_string());
            found.extend(match (number(least), number(most)) {
                (Some(least), Some(most)) if least == most => Some(format!("{least}{unit}")),
                (Some(least), Some(most)) => Some(format!("{least} to {most}{unit}")),
                (Some(least), None) => Some(format!("at least {least}{unit}")),
                (None, Some(most)) => Some(format!("at most {most}{unit}")),
                (None, None) => None,
            });
        }
        if let Some(pattern) = schema["pattern"].as_str() {
            found.push(code(pattern));
        }
        if let Some(format) = schema["format"].as_str().filter(|f| !matches!(*f, "int32" | "int64" | "double")) {
            found.push(format.to_owned());
        }
    }
    if schema["x-kubernetes-list-type"] == "map" {
        let keys: Vec<&str> = strings(&schema["x-kubernetes-list-map-keys"]).collect();
        found.push(format!("`{}` once each", keys.join("`, `")));
    }
    found.extend(messages(schema).filter(|_| !has_section || schema.get("items").is_some()).map(cell));
    found.join("; ")
}

/// The rules of an object as a list.
fn rules(schema: &Value) -> String {
    messages(schema).map(|message| format!("- {}\n", cell(message))).collect()
}

fn messages(schema: &Value) -> impl Iterator<Item = &str> {
    let rules = schema["x-kubernetes-validations"].as_array();
    rules.into_iter().flatten().filter_map(|rule| rule["message"].as_str())
}

fn strings(list: &Value) -> impl Iterator<Item = &str> {
    list.as_array().into_iter().flatten().filter_map(Value::as_str)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use serde_json::json;

    use super::*;

    fn of(spec: Value) -> String {
        page(&json!({"kind": "CustomResourceDefinition", "spec": {"group": "g.dev", "scope": "Namespaced",
            "names": {"kind": "Thing", "plural": "things", "shortNames": ["th"]},
            "versions": [{"name": "v1", "additionalPrinterColumns": [{"name": "Age"}, {"name": "Why", "priority": 1}],
                          "schema": {"openAPIV3Schema": {"description": "A thing.", "properties": {"spec": spec}}}}]}}))
        .unwrap()
    }

    #[test]
    fn a_field_tells_its_type_default_limits_and_meaning() {
        let text = of(json!({"required": ["name"], "properties": {
            "name": {"type": "string", "pattern": "^(a|b)$", "minLength": 1, "maxLength": 9, "description": "Its name."},
            "mode": {"type": "string", "enum": ["A", "B"], "description": "How. A: so.\nB: so. Default: A. Else not."},
            "count": {"type": "integer", "minimum": 1.0, "default": 3, "description": "How many."},
        }}));
        for line in [
            "# Thing",
            "`apiVersion: g.dev/v1`, plural `things`, short `th`; in a namespace.",
            "`kubectl get` shows Age; with `-o wide` also Why.",
            "| `name` | string | **required** | 1 to 9 characters; `^(a\\|b)$` | Its name. |",
            "| `mode` | string | A | `A`, `B` | How. A: so. B: so. Else not. |",
            "| `count` | integer | `3` | at least 1 | How many. |",
        ] {
            assert!(text.lines().any(|l| l == line), "{line}\n{text}");
        }
    }

    #[test]
    fn what_is_below_has_a_section_that_the_field_leads_to() {
        let text = of(json!({"properties": {
            "data": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["key"],
                     "items": {"properties": {"valueFrom": {"properties": {"x": {"type": "string"}},
                     "x-kubernetes-validations": [{"rule": "true", "message": "exactly one"}]}}}},
            "labels": {"type": "object", "additionalProperties": {"type": "string"}},
        }}));
        for line in [
            "| `data` | [list](#specdata) |  | `key` once each |  |",
            "### spec.data[]",
            "| `valueFrom` | [object](#specdatavaluefrom) |  |  |  |",
            "#### spec.data[].valueFrom",
            "- exactly one",
            "| `labels` | map of strings |  |  |  |",
        ] {
            assert!(text.lines().any(|l| l == line), "{line}\n{text}");
        }
    }
}
