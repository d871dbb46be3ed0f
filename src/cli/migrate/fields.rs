//! A manifest's fields, each taken once: what nobody took has no counterpart, and is said.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

/// The fields of an object that nobody has taken yet. Without `Debug`: values may be in it.
#[derive(Clone, Default)]
pub struct Fields {
    path: String,
    map: Map<String, Value>,
}

impl Fields {
    /// The fields of a value; none if it is no object.
    #[must_use]
    pub fn new(path: &str, value: &Value) -> Self {
        Self { path: path.to_owned(), map: value.as_object().cloned().unwrap_or_default() }
    }

    /// Where a field is.
    #[must_use]
    pub fn path(&self, name: &str) -> String {
        format!("{}.{name}", self.path)
    }

    /// Where the object itself is.
    #[must_use]
    pub fn here(&self) -> &str {
        &self.path
    }

    /// Whether there is such a field.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.map.get(name).is_some_and(|value| !value.is_null())
    }

    /// A field, if it is there and not null.
    pub fn take(&mut self, name: &str) -> Option<Value> {
        self.map.remove(name).filter(|value| !value.is_null())
    }

    /// A text that is not empty.
    pub fn text(&mut self, name: &str) -> Option<String> {
        match self.take(name)? {
            Value::String(text) => Some(text).filter(|text| !text.is_empty()),
            Value::Number(number) => Some(number.to_string()),
            _ => None,
        }
    }

    /// A switch, off unless it is on.
    pub fn flag(&mut self, name: &str) -> bool {
        self.take(name) == Some(Value::Bool(true))
    }

    /// The fields of an object below.
    #[must_use]
    pub fn below(&mut self, name: &str) -> Self {
        let path = self.path(name);
        Self::new(&path, &self.take(name).unwrap_or_default())
    }

    /// The fields of each object of a list.
    pub fn list(&mut self, name: &str) -> Vec<Self> {
        let path = self.path(name);
        let items = self.take(name).and_then(|value| value.as_array().cloned()).unwrap_or_default();
        items.iter().enumerate().map(|(i, item)| Self::new(&format!("{path}[{i}]"), item)).collect()
    }

    /// A list of texts.
    pub fn texts(&mut self, name: &str) -> Vec<String> {
        let items = self.take(name).and_then(|value| value.as_array().cloned()).unwrap_or_default();
        items.iter().filter_map(Value::as_str).map(str::to_owned).collect()
    }

    /// A map of texts.
    pub fn map(&mut self, name: &str) -> BTreeMap<String, String> {
        let fields = self.take(name).and_then(|value| value.as_object().cloned()).unwrap_or_default();
        fields.into_iter().filter_map(|(key, value)| Some((key, value.as_str()?.to_owned()))).collect()
    }

    /// Passes over fields that need no counterpart.
    pub fn pass_over(&mut self, names: &[&str]) {
        names.iter().for_each(|name| drop(self.map.remove(*name)));
    }

    /// The paths of what nobody took.
    pub fn rest(&self) -> impl Iterator<Item = String> {
        let said = |value: &Value| match value {
            Value::Null | Value::Bool(false) => false,
            Value::String(text) => !text.is_empty(),
            Value::Array(items) => !items.is_empty(),
            Value::Object(fields) => !fields.is_empty(),
            _ => true,
        };
        self.map.iter().filter(move |(_, value)| said(value)).map(|(name, _)| self.path(name))
    }
}

/// An object of those fields that have a value.
#[must_use]
pub fn object<const N: usize>(fields: [(&str, Option<Value>); N]) -> Value {
    Value::Object(fields.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect())
}

/// A map of texts as a value; nothing if it is empty.
#[must_use]
pub fn texts(map: BTreeMap<String, String>) -> Option<Value> {
    (!map.is_empty()).then(|| Value::Object(map.into_iter().map(|(key, text)| (key, Value::String(text))).collect()))
}
