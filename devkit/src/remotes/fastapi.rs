//! Validation of a body in the words of pydantic, which both Dreadnode and Mixpeek speak.

use serde_json::{Map, Value};

use super::http::{BodyProblem, Call};

/// What is wrong with one field. `msg` never repeats what was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Violation {
    pub(crate) loc: Vec<String>,
    pub(crate) msg: String,
    pub(crate) kind: &'static str,
}

impl Violation {
    pub(crate) fn new(loc: &[&str], msg: impl Into<String>, kind: &'static str) -> Self {
        Self { loc: loc.iter().map(|&part| part.to_owned()).collect(), msg: msg.into(), kind }
    }
}

/// The rule of a string field.
pub(crate) struct Text {
    pub(crate) field: &'static str,
    pub(crate) most: Option<usize>,
    pub(crate) required: bool,
}

/// The body as an object that holds only these fields.
pub(crate) fn object(call: &Call, fields: &[&str], refuse_unknown: bool) -> Result<Map<String, Value>, Vec<Violation>> {
    let object = call.object().map_err(|problem| {
        vec![match problem {
            BodyProblem::Syntax => Violation::new(&["body"], "JSON decode error", "json_invalid"),
            // FastAPI reads a body of another type as bytes, which are no object.
            BodyProblem::ContentType | BodyProblem::NotAnObject => Violation::new(
                &["body"],
                "Input should be a valid dictionary or object to extract fields from",
                "model_attributes_type",
            ),
        }]
    })?;
    let unknown = object.keys().filter(|key| refuse_unknown && !fields.contains(&key.as_str()));
    let message = format!("Extra inputs are not permitted; accepted keys: {}", fields.join(", "));
    let unknown: Vec<_> =
        unknown.map(|key| Violation::new(&["body", key], message.clone(), "extra_forbidden")).collect();
    if unknown.is_empty() { Ok(object) } else { Err(unknown) }
}

/// A string of the body under its rule; none if it is absent and need not be there.
pub(crate) fn text<'a>(object: &'a Map<String, Value>, rule: &Text) -> Result<Option<&'a str>, Violation> {
    let wrong = |msg: String, kind| Err(Violation::new(&["body", rule.field], msg, kind));
    match object.get(rule.field) {
        None if rule.required => wrong("Field required".to_owned(), "missing"),
        None => Ok(None),
        Some(Value::Null) if !rule.required => Ok(None),
        Some(Value::String(text)) if text.is_empty() => {
            wrong("String should have at least 1 character".to_owned(), "string_too_short")
        }
        Some(Value::String(text)) => match rule.most {
            Some(most) if text.chars().count() > most => {
                wrong(format!("String should have at most {most} characters"), "string_too_long")
            }
            _ => Ok(Some(text)),
        },
        Some(_) => wrong("Input should be a valid string".to_owned(), "string_type"),
    }
}

/// Two required strings, with all that is wrong with either.
pub(crate) fn pair<'a>(
    object: &'a Map<String, Value>,
    first: &Text,
    second: &Text,
) -> Result<(&'a str, &'a str), Vec<Violation>> {
    match (text(object, first), text(object, second)) {
        (Ok(Some(first)), Ok(Some(second))) => Ok((first, second)),
        (first, second) => Err([first.err(), second.err()].into_iter().flatten().collect()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use serde_json::json;

    #[test]
    fn each_violation_has_its_kind() {
        let rule = Text { field: "a", most: Some(2), required: true };
        let check = |body: Value| text(body.as_object().unwrap(), &rule).map(|_| ()).map_err(|wrong| wrong.kind);
        assert_eq!(check(json!({})), Err("missing"));
        assert_eq!(check(json!({ "a": "" })), Err("string_too_short"));
        assert_eq!(check(json!({ "a": "xyz" })), Err("string_too_long"));
        assert_eq!(check(json!({ "a": 1 })), Err("string_type"));
        assert_eq!(check(json!({ "a": "éé" })), Ok(()));
        let optional = Text { required: false, ..rule };
        assert_eq!(text(json!({ "a": null }).as_object().unwrap(), &optional), Ok(None));
    }

    #[test]
    fn all_that_is_wrong_is_told() {
        let (a, b) = (Text { field: "a", most: None, required: true }, Text { field: "b", most: None, required: true });
        assert_eq!(pair(&Map::new(), &a, &b).unwrap_err().len(), 2);
    }
}
