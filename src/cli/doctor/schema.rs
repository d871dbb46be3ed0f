//! What two schemas of a definition differ in, field by field.

use std::collections::BTreeMap;

use serde_json::Value;

/// What differs between the schema of this program and another.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Difference {
    /// Fields that only this program has.
    pub lacks: Vec<String>,
    /// Fields that only the other has.
    pub more: Vec<String>,
    /// Fields with other types, choices, limits or rules.
    pub others: Vec<String>,
}

impl Difference {
    /// Whether there is none.
    #[must_use]
    pub fn is_none(&self) -> bool {
        self.lacks.is_empty() && self.more.is_empty() && self.others.is_empty()
    }
}

/// Compares. Descriptions do not count.
#[must_use]
pub fn difference(ours: &Value, theirs: &Value) -> Difference {
    let (mut our_fields, mut their_fields) = (BTreeMap::new(), BTreeMap::new());
    fields(ours, "", &mut our_fields);
    fields(theirs, "", &mut their_fields);
    let mut found = Difference::default();
    for (path, facts) in &our_fields {
        match their_fields.get(path) {
            None if parent_in(path, &their_fields) => found.lacks.push(path.clone()),
            None => {}
            Some(other) if other != facts => {
                found.others.push(if path.is_empty() { "the object".to_owned() } else { path.clone() })
            }
            Some(_) => {}
        }
    }
    found.more =
        their_fields.keys().filter(|p| !our_fields.contains_key(*p) && parent_in(p, &our_fields)).cloned().collect();
    found
}

/// Of a field that is missing with all that is in it the outermost is named.
fn parent_in(path: &str, all: &BTreeMap<String, Value>) -> bool {
    path.rsplit_once('.').is_none_or(|(parent, _)| all.contains_key(parent))
}

/// Every field by its path, with what the schema says of it besides what is in it. Lists and maps are passed through.
fn fields(schema: &Value, path: &str, into: &mut BTreeMap<String, Value>) {
    let mut facts = schema.clone();
    strip(&mut facts);
    into.insert(path.to_owned(), facts);
    within(schema, path, into);
}

fn within(schema: &Value, path: &str, into: &mut BTreeMap<String, Value>) {
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        let below = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        fields(field, &below, into);
    }
    for inner in ["items", "additionalProperties"] {
        if schema[inner].is_object() {
            within(&schema[inner], path, into);
        }
    }
}

/// Takes out descriptions, here and below, and the fields that have paths of their own.
fn strip(schema: &mut Value) {
    let Some(fields) = schema.as_object_mut() else { return };
    // A property may be called description; those are under `properties`, which goes as a whole.
    for word in ["description", "properties"] {
        fields.remove(word);
    }
    for inner in ["items", "additionalProperties"] {
        fields.get_mut(inner).into_iter().for_each(strip);
    }
    numbers(schema);
}

/// `0.0` and `0` are the same number, and which of them is written is the writer's choice.
fn numbers(value: &mut Value) {
    match value {
        Value::Number(number) => {
            if let Some(float) = number.as_f64() {
                *value = Value::from(float);
            }
        }
        Value::Array(all) => all.iter_mut().for_each(numbers),
        Value::Object(all) => all.values_mut().for_each(numbers),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use serde_json::json;

    use super::*;

    fn schema(spec: Value) -> Value {
        json!({"type": "object", "properties": {"spec": {"type": "object", "description": "any", "properties": spec}}})
    }

    #[test]
    fn fields_that_are_missing_are_named_by_the_outermost() {
        let ours = schema(json!({
            "data": {"type": "array", "items": {"type": "object", "properties": {"key": {"type": "string"}}}},
            "from": {"type": "object", "properties": {"name": {"type": "string"}}},
        }));
        let theirs = schema(json!({"data": {"type": "array", "items": {"type": "object", "properties": {}}}}));
        let found = difference(&ours, &theirs);
        assert_eq!(
            (found.lacks, found.more, found.others),
            (vec!["spec.data.key".into(), "spec.from".into()], vec![], vec![])
        );
        let found = difference(&theirs, &ours);
        assert_eq!((found.lacks, found.more), (vec![], vec!["spec.data.key".to_owned(), "spec.from".to_owned()]));
    }

    #[test]
    fn rules_count_and_descriptions_do_not() {
        let ours = schema(json!({"url": {"type": "string", "description": "new words", "maxLength": 5, "minimum": 0}}));
        let same =
            schema(json!({"url": {"type": "string", "description": "old words", "maxLength": 5, "minimum": 0.0}}));
        assert!(difference(&ours, &same).is_none());
        let other = schema(json!({"url": {"type": "string", "maxLength": 6, "minimum": 0}}));
        assert_eq!(difference(&ours, &other).others, ["spec.url"]);
    }

    #[test]
    fn a_schema_without_rules_lacks_them() {
        let anything = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
        let found = difference(
            &schema(json!({"url": {"type": "string"}})),
            &json!({"type": "object", "properties": {"spec": anything}}),
        );
        assert_eq!((found.lacks, found.others), (vec!["spec.url".to_owned()], vec!["spec".to_owned()]));
    }
}
