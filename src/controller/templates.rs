//! Values that are made of other values of the same VaultSecret.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use sha2::{Digest as _, Sha256};

use super::desired::Issue;
use super::object::ObjectState;
use super::pass::Pass;
use super::values::{INLINE, Value, Values, gate};
use crate::api::vault_secret::DataEntry;
use crate::api::{Reason, VaultSecret};
use crate::source::template::{Cause, MOST_TOGETHER, Node, TemplateError, Templates};
use crate::value::SecretValue;

/// The templates of a spec, judged once a generation.
pub fn of(state: &mut ObjectState, vs: &VaultSecret) -> Arc<Templates> {
    let generation = vs.metadata.generation.unwrap_or_default();
    if let Some((_, known)) = state.templates.as_ref().filter(|(of, _)| *of == generation) {
        return Arc::clone(known);
    }
    if vs.spec.data.iter().all(|entry| entry.template().is_none()) && vs.spec.target_templates().next().is_none() {
        return Arc::default();
    }
    let templates = judged(vs);
    state.templates = Some((generation, Arc::clone(&templates)));
    templates
}

/// The templates of a spec, judged now: those of one whose keys are not all written in it.
#[must_use]
pub fn judged(vs: &VaultSecret) -> Arc<Templates> {
    let keys = vs.spec.data.iter().map(|entry| (entry.key.as_str(), entry.template()));
    Arc::new(Templates::new(keys, vs.spec.target_templates()))
}

/// Why a key is refused whatever the values are: its template is, or nothing has any use for its value.
#[must_use]
pub fn refusal(templates: &Templates, entry: &DataEntry) -> Option<Issue> {
    let key = &entry.key;
    if !entry.pushes() && !entry.projects() && !templates.is_read(key) {
        let text =
            "push and project are both false: the value would go nowhere; set one of them to true or remove the key";
        return Some(Issue::new(Reason::ValueRefused, format!("key {key}: {text}")));
    }
    templates.of_key(key)?.err().map(|error| issue(key, error))
}

/// What is wrong with a template of `target.template.data`.
#[must_use]
pub fn target_issue(key: &str, error: &TemplateError) -> Issue {
    Issue::new(Reason::TemplateError, format!("target.template.data, key {key}: {error}"))
}

/// The key's turn has not come.
#[must_use]
pub fn not_yet(key: &str) -> Issue {
    Issue::new(Reason::TemplateError, format!("key {key}: its template was not rendered"))
}

fn issue(key: &str, error: &TemplateError) -> Issue {
    Issue::new(Reason::TemplateError, format!("key {key}: {error}"))
}

/// The version of a value that a template makes, as far as it is known without reading anything: of all sources behind it.
#[must_use]
pub fn known_version(pass: &Pass<'_>, key: &str) -> Option<Arc<str>> {
    let node = pass.templates.of_key(key)?.ok()?;
    let version = |source: &str| {
        let entry = pass.vs.spec.data.iter().find(|entry| entry.key == source)?;
        super::values::known_version(pass, entry).map(|version| version.to_string())
    };
    version_of(node.sources(), version).map(Into::into)
}

/// One version for all of these sources: another one of any of them makes another.
#[must_use]
pub fn version_of(sources: &BTreeSet<String>, version: impl Fn(&str) -> Option<String>) -> Option<String> {
    if sources.is_empty() {
        return Some(INLINE.to_owned());
    }
    let mut digest = Sha256::new();
    for source in sources {
        // Neither a key nor a version has a zero byte in it.
        digest.update(source.as_bytes());
        digest.update([0]);
        digest.update(version(source)?.as_bytes());
        digest.update([0]);
    }
    Some(digest.finalize().iter().take(12).map(|byte| format!("{byte:02x}")).collect())
}

/// Fills in the values of keys with a template, now that those of the others are there.
pub async fn render(pass: &Pass<'_>, by_index: &mut [Result<Value, Issue>]) {
    let places: HashMap<&str, usize> =
        pass.vs.spec.data.iter().enumerate().map(|(index, entry)| (entry.key.as_str(), index)).collect();
    let mut made = 0;
    for (key, node) in pass.templates.in_order() {
        let Some(index) = places.get(key).copied() else { continue };
        let entry = &pass.vs.spec.data[index];
        if super::desired::check(entry).is_some() {
            continue;
        }
        let read = |key: &str| by_index.get(*places.get(key)?).map(Result::as_ref);
        let rendered = render_one(&pass.templates, (key, node), read, &mut made);
        by_index[index] = rendered.and_then(|(raw, version)| gate(pass, entry, raw, version));
        // Each takes a moment of a thread that others need too.
        tokio::task::yield_now().await;
    }
}

/// What a template makes of the values that it reads, with its version. `made` counts what the templates of the object made before.
/// Pure.
///
/// # Errors
/// When a value that it reads is not there, or the template fails.
pub fn render_one<'v>(
    templates: &Templates,
    (key, node): (&str, &Node),
    read: impl Fn(&str) -> Option<Result<&'v Value, &'v Issue>>,
    made: &mut usize,
) -> Result<(SecretValue, String), Issue> {
    if let Some(why) = node.reads().iter().find_map(|key| read(key)?.err()) {
        return Err(Issue::new(why.reason, format!("key {key}: its template needs {}", why.message)));
    }
    let value = |key: &str| read(key).and_then(Result::ok);
    let raw =
        templates.render(node, |key| value(key).map(|value| value.raw.clone())).map_err(|error| issue(key, &error))?;
    *made += raw.len();
    if *made > MOST_TOGETHER {
        let text = format!("key {key}: the templates make more than {MOST_TOGETHER} bytes together");
        return Err(Issue::new(Reason::TemplateError, text));
    }
    let version = version_of(node.sources(), |key| value(key).map(|value| value.version.clone()));
    Ok((raw, version.unwrap_or_default()))
}

/// The keys that only the target has, each with its value.
///
/// # Errors
/// When a template fails, or, without an issue of its own, when a key that one reads has no value.
pub fn target_data(pass: &Pass<'_>, values: &Values) -> Result<BTreeMap<String, SecretValue>, Option<Issue>> {
    target_data_of(&pass.templates, |key| {
        let index = pass.vs.spec.data.iter().position(|entry| entry.key == key)?;
        values.by_index[index].as_ref().ok().map(|value| value.raw.clone())
    })
}

/// The same of values that are at hand. Pure.
///
/// # Errors
/// The same.
pub fn target_data_of(
    templates: &Templates,
    of: impl Fn(&str) -> Option<SecretValue>,
) -> Result<BTreeMap<String, SecretValue>, Option<Issue>> {
    let mut data = BTreeMap::new();
    for (name, node) in templates.of_target() {
        let rendered = node.map_err(Clone::clone).and_then(|node| templates.render(node, &of));
        match rendered {
            Ok(value) if value.is_empty() => {
                let text = format!("target.template.data, key {name}: the value is empty");
                return Err(Some(Issue::new(Reason::TemplateError, text)));
            }
            Ok(value) => drop(data.insert(name.to_owned(), value)),
            Err(TemplateError { cause: Cause::Missing(_), .. }) => return Err(None),
            Err(error) => return Err(Some(target_issue(name, &error))),
        }
    }
    Ok(data)
}
