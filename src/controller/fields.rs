//! Entries with fields (Vault): several keys of a VaultSecret can be fields of one entry, which is written in one piece. What
//! goes to such a remote is a JSON object of fields; elsewhere an entry is one key's text.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use zeroize::Zeroizing;

use super::desired::Issue;
use super::pass::Pass;
use super::values::{Value, Values, known_version};
use crate::api::Reason;
use crate::api::vault_secret::DataEntry;
use crate::remote::{Provider, spec};
use crate::sync::ledger::Row;
use crate::value::SecretValue;

/// What an entry is to hold.
pub struct Content {
    /// The text that is fingerprinted, and sent unless fields are to be removed.
    pub text: SecretValue,
    /// Versions of the sources.
    pub version: String,
    /// Names of its fields; none where entries have none.
    pub fields: Vec<String>,
}

/// The field of its entry that a key becomes; `None` where entries have none.
#[must_use]
pub fn field_of(provider: Provider, entry: &DataEntry) -> Option<&str> {
    spec::default_field(provider).map(|default| entry.remote_field.as_deref().unwrap_or(default))
}

/// The text of an entry with one field, or without fields.
#[must_use]
pub fn text_of_one(provider: Provider, entry: &DataEntry, text: &SecretValue) -> SecretValue {
    match field_of(provider, entry) {
        None => text.clone(),
        Some(field) => object(&BTreeMap::from([(field, Some(text))])).unwrap_or_else(|| text.clone()),
    }
}

/// The keys whose value a row holds, by their place among the wants.
pub fn wants_of<'p>(pass: &'p Pass<'_>, row: usize) -> impl Iterator<Item = usize> + 'p {
    pass.wants.iter().enumerate().filter(move |(_, want)| want.row == Some(row)).map(|(i, _)| i)
}

/// Whether a key speaks for its entry: the first of those that it holds.
#[must_use]
pub fn leads(pass: &Pass<'_>, want: usize) -> bool {
    pass.wants[want].row.is_some_and(|row| wants_of(pass, row).next() == Some(want))
}

/// What a row's entry is to hold.
///
/// # Errors
/// The first of its keys whose value cannot be had: an entry is written in one piece or not at all.
pub fn content(pass: &Pass<'_>, row: usize, values: &Values) -> Result<Content, Issue> {
    let provider = pass.route.handle.as_ref().map(|handle| handle.rules.provider());
    let mut parts = Vec::new();
    for want in wants_of(pass, row).map(|i| &pass.wants[i]) {
        let value = values.by_index[want.index].as_ref().map_err(Clone::clone)?;
        parts.push((pass.entry(want), value));
    }
    content_of(provider, &parts)
}

/// What an entry of these keys is to hold, each with its value. Pure.
///
/// # Errors
/// When it cannot be written in one piece.
pub fn content_of(provider: Option<Provider>, parts: &[(&DataEntry, &Value)]) -> Result<Content, Issue> {
    let version = parts.iter().map(|(_, value)| value.version.as_str()).collect::<Vec<_>>().join(",");
    let Some(provider) = provider.filter(|provider| spec::default_field(*provider).is_some()) else {
        let text = parts.first().map_or_else(|| SecretValue::new(Vec::new()), |(_, value)| value.text.clone());
        return Ok(Content { text, version, fields: Vec::new() });
    };
    let by_field: BTreeMap<&str, Option<&SecretValue>> =
        parts.iter().filter_map(|(entry, value)| Some((field_of(provider, entry)?, Some(&value.text)))).collect();
    let key = parts.first().map_or("-", |(entry, _)| entry.key.as_str());
    let refused = |text: String| Issue::new(Reason::ValueRefused, format!("key {key}: {text}"));
    let text = object(&by_field).ok_or_else(|| refused("its entry cannot be written as JSON".to_owned()))?;
    spec::check_entry(provider, text.len()).map_err(|error| refused(format!("its entry as a whole: {error}")))?;
    Ok(Content { text, version, fields: by_field.into_keys().map(str::to_owned).collect() })
}

/// The versions of a row's sources, as far as they are known without reading them.
#[must_use]
pub fn known_versions(pass: &Pass<'_>, row: usize) -> Option<String> {
    let versions: Option<Vec<Arc<str>>> =
        wants_of(pass, row).map(|want| known_version(pass, pass.entry(&pass.wants[want]))).collect();
    Some(versions?.join(","))
}

/// What is sent: the fields, and a null for each that is to go.
#[must_use]
pub fn payload(content: &Content, gone: &[String]) -> SecretValue {
    if gone.is_empty() || content.fields.is_empty() {
        return content.text.clone();
    }
    let nulls =
        gone.iter().map(|field| format!(",{}:null", serde_json::Value::from(field.as_str()))).collect::<String>();
    let Some(open) = content.text.expose_str().and_then(|text| text.strip_suffix('}')) else {
        return content.text.clone();
    };
    SecretValue::from(Zeroizing::new(format!("{open}{nulls}}}")).as_str())
}

/// The fields of a row that no key wants any more.
#[must_use]
pub fn gone(row: &Row, content: &Content) -> Vec<String> {
    row.fields.iter().filter(|field| !content.fields.contains(field)).cloned().collect()
}

/// Whether a row's content may be other than it seems while not every key is known: it is made of others by a template, or has
/// fewer fields than it had.
#[must_use]
pub fn may_lack_keys(pass: &Pass<'_>, row: usize, content: Option<&Result<Content, Issue>>) -> bool {
    let templated = wants_of(pass, row).any(|want| pass.entry(&pass.wants[want]).template().is_some());
    let loses = || matches!(content, Some(Ok(content)) if !gone(&pass.rows[row], content).is_empty());
    content.is_some() && (templated || loses())
}

/// Notes what a write may put there; what was noted before may be there still.
pub fn intend(row: &mut Row, fields: &[String]) {
    if !fields.is_empty() {
        let all: BTreeSet<String> = row.fields.drain(..).chain(fields.iter().cloned()).collect();
        row.fields = all.into_iter().collect();
    }
}

/// A JSON object of texts; a missing text is null.
fn object(fields: &BTreeMap<&str, Option<&SecretValue>>) -> Option<SecretValue> {
    let mut texts = BTreeMap::new();
    for (field, value) in fields {
        let text = match value {
            Some(value) => Some(value.expose_str()?),
            None => None,
        };
        texts.insert(*field, text);
    }
    serde_json::to_vec(&texts).ok().map(SecretValue::new)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    fn text(value: &SecretValue) -> serde_json::Value {
        serde_json::from_slice(value.expose()).unwrap()
    }

    fn two() -> Content {
        let (a, b) = (SecretValue::from("x \" y"), SecretValue::from("z"));
        let fields = BTreeMap::from([("user", Some(&a)), ("password", Some(&b))]);
        Content {
            text: object(&fields).unwrap(),
            version: "1,2".to_owned(),
            fields: vec!["password".to_owned(), "user".to_owned()],
        }
    }

    #[test]
    fn an_entry_is_an_object_of_its_fields() {
        let content = two();
        assert_eq!(content.text.expose_str(), Some(r#"{"password":"z","user":"x \" y"}"#), "in one order, for ever");
        assert_eq!(payload(&content, &[]), content.text);
    }

    #[test]
    fn a_field_that_goes_is_null() {
        let sent = payload(&two(), &["old\"".to_owned()]);
        assert_eq!(text(&sent), serde_json::json!({"password": "z", "user": "x \" y", "old\"": null}));
    }

    #[test]
    fn what_was_intended_is_remembered_until_it_is_known() {
        let mut row = Row { fields: vec!["old".to_owned()], ..Row::default() };
        intend(&mut row, &two().fields);
        assert_eq!(row.fields, ["old", "password", "user"]);
        assert_eq!(gone(&row, &two()), ["old"]);
        intend(&mut row, &[]);
        assert_eq!(row.fields.len(), 3);
    }

    #[test]
    fn elsewhere_an_entry_is_the_text() {
        let entry: DataEntry = serde_json::from_value(serde_json::json!({"key": "A", "value": "v"})).unwrap();
        assert_eq!(text_of_one(Provider::Kelvin, &entry, &"v".into()), SecretValue::from("v"));
        assert_eq!(text(&text_of_one(Provider::Vault, &entry, &"v".into())), serde_json::json!({"value": "v"}));
    }
}
