//! Bodies of requests: a JSON structure or form fields whose texts are templates. The structure is fixed before any value
//! is seen, and what is put in is encoded by the serializer, so no value can break out of its string.

use reqwest::header::HeaderValue;
use serde_json::{Map, Value};
use url::form_urlencoded;

use super::template::{Absent, Template, Values};
use crate::api::http::HttpField;
use crate::remote::client::Body;

/// A body with placeholders.
#[derive(Debug)]
pub(crate) enum BodyTemplate {
    None,
    Json(JsonTemplate),
    Form(Vec<(String, Template)>),
}

/// A JSON structure with placeholders in strings and keys.
#[derive(Debug)]
pub(crate) enum JsonTemplate {
    Fixed(Value),
    Text(Template),
    List(Vec<JsonTemplate>),
    Map(Vec<(Template, JsonTemplate)>),
}

/// Why a body cannot be written.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum BodyError {
    /// There is nothing for a placeholder.
    Absent(Absent),
    /// A name that was put in as a key is another key of the same object.
    SameKey,
    /// It cannot be written as JSON.
    Json,
}

impl From<Absent> for BodyError {
    fn from(absent: Absent) -> Self {
        Self::Absent(absent)
    }
}

impl BodyTemplate {
    /// Reads a body; the error is a sentence.
    pub(crate) fn parse(json: Option<&Value>, form: Option<&[HttpField]>, allowed: &[&str]) -> Result<Self, String> {
        match (json, form) {
            (Some(_), Some(_)) => Err("json and form exclude each other".to_owned()),
            (Some(json), None) => Ok(Self::Json(JsonTemplate::parse(json, allowed, 0)?)),
            (None, Some(form)) => {
                let field = |field: &HttpField| Ok((field.name.clone(), Template::parse(&field.value, allowed)?));
                Ok(Self::Form(form.iter().map(field).collect::<Result<_, String>>()?))
            }
            (None, None) => Ok(Self::None),
        }
    }

    /// Whether it holds a placeholder of that name.
    pub(crate) fn uses(&self, name: &str) -> bool {
        match self {
            Self::None => false,
            Self::Json(json) => json.uses(name),
            Self::Form(fields) => fields.iter().any(|(_, template)| template.uses(name)),
        }
    }

    /// The body with everything in its place.
    pub(crate) fn render(&self, values: Values<'_>) -> Result<Body, BodyError> {
        Ok(match self {
            Self::None => Body::None,
            Self::Json(json) => Body::Json(serde_json::to_vec(&json.render(values)?).map_err(|_| BodyError::Json)?),
            Self::Form(fields) => {
                let mut form = form_urlencoded::Serializer::new(String::new());
                for (name, template) in fields {
                    form.append_pair(name, &template.text(values)?);
                }
                Body::Form(form.finish())
            }
        })
    }
}

impl JsonTemplate {
    fn parse(json: &Value, allowed: &[&str], depth: usize) -> Result<Self, String> {
        if depth > 32 {
            return Err("json is nested too deeply".to_owned());
        }
        Ok(match json {
            Value::String(text) => Self::Text(Template::parse(text, allowed)?),
            Value::Array(items) => {
                Self::List(items.iter().map(|item| Self::parse(item, allowed, depth + 1)).collect::<Result<_, _>>()?)
            }
            Value::Object(fields) => {
                let field = |(key, value): (&String, &Value)| {
                    Ok((Template::parse(key, allowed)?, Self::parse(value, allowed, depth + 1)?))
                };
                Self::Map(fields.iter().map(field).collect::<Result<_, String>>()?)
            }
            other => Self::Fixed(other.clone()),
        })
    }

    fn uses(&self, name: &str) -> bool {
        match self {
            Self::Fixed(_) => false,
            Self::Text(template) => template.uses(name),
            Self::List(items) => items.iter().any(|item| item.uses(name)),
            Self::Map(fields) => fields.iter().any(|(key, value)| key.uses(name) || value.uses(name)),
        }
    }

    fn render(&self, values: Values<'_>) -> Result<Value, BodyError> {
        Ok(match self {
            Self::Fixed(value) => value.clone(),
            Self::Text(template) => Value::String(template.text(values)?.to_string()),
            Self::List(items) => {
                Value::Array(items.iter().map(|item| item.render(values)).collect::<Result<_, BodyError>>()?)
            }
            Self::Map(fields) => {
                let mut map = Map::new();
                for (key, value) in fields {
                    if map.insert(key.text(values)?.to_string(), value.render(values)?).is_some() {
                        return Err(BodyError::SameKey);
                    }
                }
                Value::Object(map)
            }
        })
    }
}

/// A text as the value of a header: one line of ASCII, without control characters.
pub(crate) fn header_value(text: &str) -> Option<HeaderValue> {
    if !text.is_ascii() || text.chars().any(char::is_control) {
        return None;
    }
    let mut value = HeaderValue::from_str(text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn json(template: &Value, value: &str) -> Result<Value, BodyError> {
        let body = BodyTemplate::parse(Some(template), None, &["name", "value"]).unwrap();
        match body.render(Values(&[("name", "n"), ("value", value)]))? {
            Body::Json(bytes) => Ok(serde_json::from_slice(&bytes).unwrap()),
            _ => panic!("no JSON"),
        }
    }

    #[test]
    fn numbers_booleans_and_nulls_stay_what_they_are() {
        let template = json!({"a": [1, true, null, "{{ value }}"], "{{ name }}": {"x": "<{{ value }}>"}});
        assert_eq!(json(&template, "7").unwrap(), json!({"a": [1, true, null, "7"], "n": {"x": "<7>"}}));
    }

    #[test]
    fn two_keys_that_become_one_are_refused() {
        assert_eq!(json(&json!({"n": 1, "{{ name }}": "{{ value }}"}), "v"), Err(BodyError::SameKey));
    }

    #[test]
    fn a_structure_without_end_is_refused() {
        let deep = (0..40).fold(json!("x"), |inner, _| json!([inner]));
        assert!(BodyTemplate::parse(Some(&deep), None, &[]).unwrap_err().contains("deeply"));
    }

    #[test]
    fn a_header_is_one_line() {
        for text in ["a\r\nx: y", "a\n", "\0", "a\tb", "\u{85}"] {
            assert_eq!(header_value(text), None, "{text:?}");
        }
        assert!(header_value("application/json; v=2").unwrap().is_sensitive());
    }

    proptest! {
        #[test]
        fn no_value_breaks_out_of_its_string(value in "\\PC{0,60}|[\"\\\\{},:\\n\\r\\t a-z]{0,60}") {
            let template = json!({"secret": {"v": "{{ value }}"}, "fixed": "x"});
            prop_assert_eq!(json(&template, &value).unwrap(), json!({"secret": {"v": value}, "fixed": "x"}));
        }

        #[test]
        fn no_value_breaks_out_of_its_field(value in "\\PC{0,60}|[&=+%;\\n a-z]{0,60}") {
            let fields = [
                HttpField { name: "a&b".to_owned(), value: "{{ value }}".to_owned() },
                HttpField { name: "last".to_owned(), value: "x".to_owned() },
            ];
            let body = BodyTemplate::parse(None, Some(&fields), &["value"]).unwrap();
            let Body::Form(form) = body.render(Values(&[("value", &value)])).unwrap() else { panic!("no form") };
            let read: Vec<(String, String)> = form_urlencoded::parse(form.as_bytes()).into_owned().collect();
            prop_assert_eq!(read, [("a&b".to_owned(), value), ("last".to_owned(), "x".to_owned())]);
        }
    }
}
