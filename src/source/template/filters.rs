//! The filters and tests that there are. No digest is among them: one without a key gives a guessable secret away.

use std::borrow::Cow;

use minijinja::value::{Kwargs, Value, ValueKind};
use minijinja::{Environment, Error, ErrorKind, State};

use super::engine::{Bytes, Taint, list_of, value_of};
use super::error::Fault;
use super::{MOST_VALUE, encode, pem, text};

/// The tests after `is`.
pub(super) const TESTS: [&str; 6] = ["defined", "undefined", "none", "string", "startingwith", "endingwith"];

/// The filters.
const FILTERS: [&str; 28] = [
    "b64decode",
    "b64encode",
    "base64url",
    "capitalize",
    "d",
    "default",
    "dotenv",
    "first",
    "indent",
    "int",
    "items",
    "join",
    "json",
    "last",
    "length",
    "lines",
    "lower",
    "netrc",
    "pem_certs",
    "pem_key",
    "public_key",
    "replace",
    "split",
    "string",
    "trim",
    "upper",
    "urlencode",
    "yaml",
];

/// Filters that people look for, and what to use.
const ELSEWHERE: [(&str, &str); 28] = [
    ("b64enc", "it is called b64encode"),
    ("base64", "it is called b64encode"),
    ("base64encode", "it is called b64encode"),
    ("base64_encode", "it is called b64encode"),
    ("b64dec", "it is called b64decode"),
    ("base64decode", "it is called b64decode"),
    ("base64_decode", "it is called b64decode"),
    ("b64urlencode", "it is called base64url"),
    ("urlquery", "it is called urlencode"),
    ("url_encode", "it is called urlencode"),
    ("quote", "use json, yaml or dotenv"),
    ("squote", "use json, yaml or dotenv"),
    ("tojson", "it is called json"),
    ("toJson", "it is called json"),
    ("toYaml", "it is called yaml"),
    ("to_json", "it is called json"),
    ("to_yaml", "it is called yaml"),
    ("nindent", "it is called indent"),
    ("toString", "it is called string"),
    ("splitList", "it is called split"),
    ("filterPEM", "use pem_certs or pem_key"),
    ("sha256", "digests are left out, because one without a key gives the value away"),
    ("sha256sum", "digests are left out, because one without a key gives the value away"),
    ("sha1", "digests are left out, because one without a key gives the value away"),
    ("sha1sum", "digests are left out, because one without a key gives the value away"),
    ("md5", "digests are left out, because one without a key gives the value away"),
    ("hash", "digests are left out, because one without a key gives the value away"),
    ("htpasswd", "digests are left out; put the finished line into a source"),
];

/// Whether there is no filter of that name; with what to use instead, where that is known.
pub(super) fn unknown(name: &str) -> Option<Option<&'static str>> {
    if FILTERS.contains(&name) {
        return None;
    }
    Some(ELSEWHERE.iter().find(|(other, _)| *other == name).map(|(_, hint)| *hint))
}

/// A value as text. Lists, maps and bytes are none.
fn text<'v>(filter: &'static str, value: &'v Value) -> Result<Cow<'v, str>, Error> {
    match value.kind() {
        ValueKind::String => Ok(Cow::Borrowed(value.as_str().unwrap_or_default())),
        ValueKind::Number | ValueKind::Bool => Ok(Cow::Owned(value.to_string())),
        ValueKind::Undefined => Err(ErrorKind::UndefinedError.into()),
        _ if value.downcast_object_ref::<Bytes>().is_some() => {
            Err(Fault::of(filter, "the value is not UTF-8 text, which only b64encode, base64url and urlencode take"))
        }
        _ => Err(Fault::of(filter, "takes text only")),
    }
}

/// A value as bytes: text, or what is none.
fn bytes<'v>(filter: &'static str, value: &'v Value) -> Result<Cow<'v, [u8]>, Error> {
    if let Some(bytes) = value.downcast_object_ref::<Bytes>() {
        return Ok(Cow::Borrowed(bytes.value.expose()));
    }
    Ok(match text(filter, value)? {
        Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
        Cow::Owned(text) => Cow::Owned(text.into_bytes()),
    })
}

/// Refuses what would be too large before it is made.
fn fits(filter: &'static str, length: usize) -> Result<(), Error> {
    if length > MOST_VALUE { Err(Fault::of(filter, "the result would be too large")) } else { Ok(()) }
}

type Made = Result<String, &'static str>;

/// A filter from text to text.
fn add_text(environment: &mut Environment<'static>, name: &'static str, make: fn(&str) -> Made) {
    environment.add_filter(name, move |value: &Value| {
        let made = make(&text(name, value)?).map_err(|what| Fault::of(name, what))?;
        fits(name, made.len()).map(|()| made)
    });
}

/// A filter from bytes to text.
fn add_bytes(environment: &mut Environment<'static>, name: &'static str, make: fn(&[u8]) -> String) {
    environment.add_filter(name, move |value: &Value| {
        let bytes = bytes(name, value)?;
        // Percent-encoding triples; nothing does more.
        fits(name, bytes.len().saturating_mul(3) / 4)?;
        let made = make(&bytes);
        fits(name, made.len()).map(|()| made)
    });
}

/// Puts the filters and tests into an environment that has none.
pub(super) fn install(environment: &mut Environment<'static>, taint: &Taint) {
    add_text(environment, "upper", |text| Ok(text.to_uppercase()));
    add_text(environment, "lower", |text| Ok(text.to_lowercase()));
    add_text(environment, "capitalize", |text| Ok(text::capitalize(text)));
    add_text(environment, "string", |text| Ok(text.to_owned()));
    add_text(environment, "dotenv", encode::dotenv);
    add_text(environment, "netrc", encode::netrc);
    add_text(environment, "pem_certs", pem::certificates);
    add_text(environment, "pem_key", pem::private_key);
    add_text(environment, "public_key", pem::public_key);
    add_bytes(environment, "b64encode", encode::b64encode);
    add_bytes(environment, "base64url", encode::base64url);
    add_bytes(environment, "urlencode", encode::urlencode);
    for (name, style) in [("json", encode::Style::Json), ("yaml", encode::Style::Yaml)] {
        environment.add_filter(name, move |value: &Value| encode::structure(name, value, style));
    }
    environment.add_filter("d", default);
    environment.add_filter("default", default);
    environment.add_filter("int", |value: &Value| {
        text("int", value)?.trim().parse::<i64>().map_err(|_| Fault::of("int", "takes a whole number only"))
    });
    environment.add_filter("indent", indent);
    environment.add_filter("join", join);
    environment.add_filter("length", length);
    environment.add_filter("replace", replace);
    environment.add_filter("trim", |value: &Value, edges: Option<&str>| -> Result<String, Error> {
        let text = text("trim", value)?;
        Ok(edges.map_or_else(|| text.trim(), |edges| text.trim_matches(|c| edges.contains(c))).to_owned())
    });
    let seen = taint.clone();
    environment.add_filter("b64decode", move |value: &Value| -> Result<Value, Error> {
        let decoded = encode::b64decode(&text("b64decode", value)?).map_err(|what| Fault::of("b64decode", what))?;
        Ok(value_of(&decoded, &seen))
    });
    let seen = taint.clone();
    environment.add_filter("split", move |value: &Value, separator: Option<&str>| -> Result<Value, Error> {
        listed("split", text::split(&text("split", value)?, separator), &seen)
    });
    let seen = taint.clone();
    environment.add_filter("lines", move |value: &Value| -> Result<Value, Error> {
        listed("lines", text("lines", value)?.lines().map(str::to_owned).take(text::MOST_ITEMS + 1).collect(), &seen)
    });
    let seen = taint.clone();
    environment.add_filter("items", move |state: &State<'_, '_>, value: &Value| items(state, value, &seen));
    environment.add_filter("first", |value: &Value| one("first", value, false));
    environment.add_filter("last", |value: &Value| one("last", value, true));
    install_tests(environment);
}

fn install_tests(environment: &mut Environment<'static>) {
    environment.add_test("defined", |value: &Value| !value.is_undefined());
    environment.add_test("undefined", Value::is_undefined);
    environment.add_test("none", Value::is_none);
    environment.add_test("string", |value: &Value| value.kind() == ValueKind::String);
    environment.add_test("startingwith", |value: &Value, edge: &str| -> Result<bool, Error> {
        Ok(text("startingwith", value)?.starts_with(edge))
    });
    environment.add_test("endingwith", |value: &Value, edge: &str| -> Result<bool, Error> {
        Ok(text("endingwith", value)?.ends_with(edge))
    });
}

/// As minijinja has it: another value for what is not there, and with `true` for what is empty, too.
fn default(value: &Value, other: Option<Value>, empty_too: Option<bool>) -> Value {
    if value.is_undefined() || (empty_too == Some(true) && !value.is_true()) {
        return other.unwrap_or_else(|| Value::from(""));
    }
    value.clone()
}

fn indent(value: &Value, width: Option<usize>, options: Kwargs) -> Result<String, Error> {
    let (first, blank) = (options.get::<Option<bool>>("first")?, options.get::<Option<bool>>("blank")?);
    options.assert_all_used()?;
    let text = text("indent", value)?;
    let width = width.unwrap_or(4);
    fits("indent", width.saturating_mul(text.lines().count()).saturating_add(text.len()))?;
    Ok(text::indent(&text, width, first.unwrap_or(false), blank.unwrap_or(false)))
}

fn join(state: &State<'_, '_>, value: &Value, separator: Option<&str>) -> Result<String, Error> {
    let mut joined = String::new();
    for (index, item) in elements("join", value)?.enumerate() {
        state.consume_fuel(1)?;
        if index > 0 {
            joined.push_str(separator.unwrap_or_default());
        }
        joined.push_str(&text("join", &item)?);
        fits("join", joined.len())?;
    }
    Ok(joined)
}

fn length(value: &Value) -> Result<usize, Error> {
    if let Some(bytes) = value.downcast_object_ref::<Bytes>() {
        return Ok(bytes.value.len());
    }
    match value.kind() {
        ValueKind::Seq | ValueKind::Map => value.len().ok_or_else(|| Fault::of("length", "takes text, lists and maps")),
        _ => Ok(text("length", value)?.chars().count()),
    }
}

fn replace(value: &Value, from: &str, to: &str) -> Result<String, Error> {
    let text = text("replace", value)?;
    if from.is_empty() {
        return Err(Fault::of("replace", "cannot replace an empty text"));
    }
    let grown = to.len().saturating_sub(from.len()).saturating_mul(text.matches(from).count());
    fits("replace", grown.saturating_add(text.len()))?;
    Ok(text.replace(from, to))
}

/// Pairs of a key and its value.
fn items(state: &State<'_, '_>, value: &Value, taint: &Taint) -> Result<Value, Error> {
    if value.kind() != ValueKind::Map {
        return Err(Fault::of("items", "takes a map only"));
    }
    let mut pairs = Vec::new();
    for key in value.try_iter()? {
        state.consume_fuel(1)?;
        let held = value.get_item(&key)?;
        pairs.push(list_of(vec![key, held], taint));
    }
    Ok(list_of(pairs, taint))
}

/// The first or last element of a list.
fn one(filter: &'static str, value: &Value, last: bool) -> Result<Value, Error> {
    let mut elements = elements(filter, value)?;
    let found = if last { elements.last() } else { elements.next() };
    found.ok_or_else(|| Fault::of(filter, "the list is empty"))
}

fn elements(filter: &'static str, value: &Value) -> Result<minijinja::value::ValueIter, Error> {
    match value.kind() {
        ValueKind::Seq | ValueKind::Iterable => value.try_iter(),
        ValueKind::Undefined => Err(ErrorKind::UndefinedError.into()),
        _ => Err(Fault::of(filter, "takes a list only")),
    }
}

fn listed(filter: &'static str, items: Vec<String>, taint: &Taint) -> Result<Value, Error> {
    if items.len() > text::MOST_ITEMS {
        return Err(Fault::of(filter, "the list would be too long"));
    }
    Ok(list_of(items.into_iter().map(Value::from).collect(), taint))
}
