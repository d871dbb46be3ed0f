//! Compiling and rendering one template.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use minijinja::value::{Enumerator, Object, ObjectRepr, Value, ValueKind};
use minijinja::{AutoEscape, Environment, Error, ErrorKind, Output, UndefinedBehavior};

use super::error::{Cause, Fault, TemplateError, told};
use super::guard::{References, VALUES, examine};
use super::{MOST_VALUE, filters};
use crate::value::SecretValue;

/// What one rendering may do: instructions, and 64 bytes made or read each.
const FUEL: u64 = 50_000;
/// How deep loops and blocks may be nested while it runs.
const MOST_NESTING: usize = 50;
/// What stands in the output for bytes. Whatever changes it is noticed.
const BYTES: &str = "\u{10fffd}bYtEs\u{10fffd}";

const BYTES_ARE_NO_TEXT: &str =
    "the value is not UTF-8 text; write it with b64encode, base64url or urlencode, or alone as the whole template";

/// A template that was judged and compiled once.
#[derive(Clone, PartialEq, Eq)]
pub struct Template {
    source: String,
    references: References,
}

impl std::fmt::Debug for Template {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Template(redacted)")
    }
}

impl Template {
    /// Judges a template, without any value.
    ///
    /// # Errors
    /// When it cannot be parsed, is too large, or uses what there is not.
    pub fn parse(source: &str) -> Result<Self, TemplateError> {
        let references = examine(source)?;
        environment(&Taint::default(), &Pieces::default())
            .template_from_str(source)
            .map_err(|error| told(&error, |_| Vec::new()))?;
        Ok(Self { source: source.to_owned(), references })
    }

    /// Whether it names a key.
    #[must_use]
    pub fn names(&self, key: &str) -> bool {
        self.references.names(key)
    }

    /// Whether it uses all values as one map.
    #[must_use]
    pub fn uses_all(&self) -> bool {
        self.references.is_whole()
    }

    /// Renders it with the values of the keys that it refers to. `keys` are the names of all keys, for messages.
    ///
    /// # Errors
    /// When it uses what is not there, does what it must not, or makes too much.
    pub fn render(
        &self,
        values: &BTreeMap<String, SecretValue>,
        keys: &BTreeSet<String>,
    ) -> Result<SecretValue, TemplateError> {
        if let Some((key, _)) = values.iter().find(|(_, value)| value.len() > MOST_VALUE) {
            return Err(TemplateError::whole(Cause::InputTooLarge(key.clone())));
        }
        let (taint, pieces) = (Taint::default(), Pieces::default());
        let environment = environment(&taint, &pieces);
        let similar = |line| self.references.similar(line, keys.iter().map(String::as_str));
        let root = Value::from_object(Root(Arc::new(Keys::new(values, keys, &taint))));
        let template = environment.template_from_str(&self.source).map_err(|error| told(&error, |_| Vec::new()))?;
        let text = template.render(root).map_err(|error| told(&error, similar))?;
        if let Some(what) = taint.found() {
            return Err(TemplateError::whole(Cause::Refused { filter: None, what }));
        }
        let value = match pieces.take() {
            pieces if pieces.is_empty() => SecretValue::from(text),
            mut pieces if pieces.len() == 1 && text == BYTES => pieces.remove(0),
            _ => return Err(TemplateError::whole(Cause::Refused { filter: None, what: BYTES_ARE_NO_TEXT })),
        };
        if value.len() > MOST_VALUE {
            return Err(TemplateError::whole(Cause::OutputTooLarge));
        }
        Ok(value)
    }
}

fn environment(taint: &Taint, pieces: &Pieces) -> Environment<'static> {
    let mut environment = Environment::empty();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_auto_escape_callback(|_| AutoEscape::None);
    environment.set_fuel(Some(FUEL));
    environment.set_recursion_limit(MOST_NESTING);
    let (seen, slots) = (taint.clone(), pieces.clone());
    environment.set_formatter(move |out, _, value| write(out, value, &seen, &slots));
    filters::install(&mut environment, taint);
    environment
}

fn write(out: &mut Output<'_>, value: &Value, taint: &Taint, pieces: &Pieces) -> Result<(), Error> {
    if let Some(what) = taint.found() {
        return Err(Fault::output(what));
    }
    if let Some(bytes) = value.downcast_object_ref::<Bytes>() {
        pieces.put(bytes.value.clone());
        return Ok(out.write_str(BYTES)?);
    }
    match value.kind() {
        // The missing else of `a if b`; anything else that is not there has been refused before.
        ValueKind::Undefined => Ok(()),
        ValueKind::String => Ok(out.write_str(value.as_str().unwrap_or_default())?),
        ValueKind::Number | ValueKind::Bool => Ok(write!(out, "{value}")?),
        ValueKind::Invalid => Err(value.clone().try_iter().err().unwrap_or_else(|| ErrorKind::InvalidOperation.into())),
        ValueKind::None => Err(Fault::output("there is nothing to write: the value is none")),
        _ => Err(Fault::output("a list or map cannot be written as it is; use json, yaml or join")),
    }
}

/// Notes that something was turned into text that must not be: the engine cannot be told so at that place.
#[derive(Clone, Default)]
pub(super) struct Taint(Arc<Mutex<Option<&'static str>>>);

impl Taint {
    fn note(&self, what: &'static str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(what);
    }

    fn found(&self) -> Option<&'static str> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Values that are not text, as they were written.
#[derive(Clone, Default)]
struct Pieces(Arc<Mutex<Vec<SecretValue>>>);

impl Pieces {
    fn put(&self, value: SecretValue) {
        let mut pieces = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Two are refused already; more need not be kept.
        if pieces.len() < 2 {
            pieces.push(value);
        }
    }

    fn take(&self) -> Vec<SecretValue> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A value that is not text.
pub(super) struct Bytes {
    pub value: SecretValue,
    taint: Taint,
}

/// A list of texts, made by a filter. Unlike the engine's own lists it has no text form.
pub(super) struct List {
    pub items: Vec<Value>,
    taint: Taint,
}

/// Text as such, anything else as bytes.
pub(super) fn value_of(bytes: &[u8], taint: &Taint) -> Value {
    match std::str::from_utf8(bytes) {
        Ok(text) => Value::from(text),
        Err(_) => Value::from_object(Bytes { value: SecretValue::new(bytes.to_vec()), taint: taint.clone() }),
    }
}

/// A list of texts.
pub(super) fn list_of(items: Vec<Value>, taint: &Taint) -> Value {
    Value::from_object(List { items, taint: taint.clone() })
}

impl std::fmt::Debug for Bytes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.taint.note(BYTES_ARE_NO_TEXT);
        f.write_str("Bytes(redacted)")
    }
}

impl Object for Bytes {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }

    fn render(self: &Arc<Self>, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.taint.note(BYTES_ARE_NO_TEXT);
        Ok(())
    }
}

const LIST_IS_NO_TEXT: &str = "a list cannot be used as text; use json, yaml or join";

impl std::fmt::Debug for List {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.taint.note(LIST_IS_NO_TEXT);
        f.write_str("List(redacted)")
    }
}

impl Object for List {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Seq
    }

    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        self.items.get(key.as_usize()?).cloned()
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Seq(self.items.len())
    }

    fn render(self: &Arc<Self>, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.taint.note(LIST_IS_NO_TEXT);
        Ok(())
    }
}

/// The values by key: the map `values`.
struct Keys {
    values: BTreeMap<String, Value>,
    known: BTreeSet<String>,
    taint: Taint,
}

impl Keys {
    fn new(values: &BTreeMap<String, SecretValue>, known: &BTreeSet<String>, taint: &Taint) -> Self {
        let values = values.iter().map(|(key, value)| (key.clone(), value_of(value.expose(), taint))).collect();
        Self { values, known: known.clone(), taint: taint.clone() }
    }

    fn get(&self, key: &str) -> Option<Value> {
        if let Some(value) = self.values.get(key) {
            return Some(value.clone());
        }
        // Not to be taken for a key that there is not, whose place a default may take.
        self.known.contains(key).then(|| {
            self.taint.note(NAME_IT);
            Value::from(Fault::output(NAME_IT))
        })
    }
}

const NAME_IT: &str = "a key with a template is referred to by its name only: NAME, values.NAME or values[\"NAME\"]";

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.taint.note(LIST_IS_NO_TEXT);
        f.write_str("Keys(redacted)")
    }
}

impl Object for Keys {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        self.get(key.as_str()?)
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Values(self.values.keys().map(|key| Value::from(key.as_str())).collect())
    }

    fn render(self: &Arc<Self>, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.taint.note(LIST_IS_NO_TEXT);
        Ok(())
    }
}

/// What a template sees: each value under its key, and all of them as `values`.
struct Root(Arc<Keys>);

impl std::fmt::Debug for Root {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Root(redacted)")
    }
}

impl Object for Root {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        match key.as_str()? {
            VALUES => Some(Value::from_dyn_object(Arc::clone(&self.0))),
            key => self.0.get(key),
        }
    }
}
