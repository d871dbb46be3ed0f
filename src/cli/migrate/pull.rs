//! ExternalSecrets of the External Secrets Operator.

use std::collections::BTreeSet;

use regex::Regex;
use serde_json::{Value, json};

use super::draft::{Draft, Reference, Shown, Templates};
use super::fields::{Fields, object};
use super::generators;
use super::report::Report;
use super::stores::{Id, Store, Stores};
use super::template::{self, Dialect};
use super::world::{Made, Source, World};

const UNREADABLE: &str = "its store gives no value back to this operator, which reads from Vault and OpenBao alone: keep the ExternalSecret, and \
     push the Secret that it fills by secretKeyRef, or give the value another source";

/// A store that values are read from.
struct From {
    id: Id,
    mount: Option<String>,
}

/// Converts one.
pub fn convert(source: &Source, world: &World, stores: &Stores, made: &mut Made) {
    let mut report = source.report();
    let mut spec = source.spec.clone();
    let every = spec.text("refreshInterval").unwrap_or_else(|| "1h".to_owned());
    if spec.text("refreshPolicy").is_some_and(|policy| policy != "Periodic") {
        report.left(
            spec.path("refreshPolicy"),
            "a change is always taken up: set the connection's probeInterval to 0 to look at a start alone",
        );
    }
    let store = spec.below("secretStoreRef");
    let (default, reason) = from(store, source, stores);
    let mut used: BTreeSet<Id> = BTreeSet::new();
    let main = default.as_ref().map(|from| from.id.1.clone()).or_else(|| world.wishes.connection.clone());
    let mut target = spec.below("target");
    let mut draft =
        Draft::new(source.namespace.clone(), &source.name, main.clone().unwrap_or(Reference::namespaced("")));
    draft.labels.clone_from(&source.labels);
    draft.target.name = target.text("name");
    draft.target.creation = target.text("creationPolicy");
    draft.target.immutable = target.flag("immutable");
    if target.text("deletionPolicy").is_some_and(|policy| policy != "Retain") {
        report.left(
            target.path("deletionPolicy"),
            "when an entry goes, the Secret keeps the last values: delete the VaultSecret to be rid of it",
        );
    }
    let templates = shape(&mut target, &mut draft, &mut report);
    if target.has("manifest") {
        report.whole("its target is no Secret, and only Secrets are made: keep it");
        made.left.extend(report.left);
        return;
    }
    report.rest(&target);

    let mut shown: Vec<Shown> = Vec::new();
    let mut pending = Vec::new();
    for mut all in spec.list("dataFrom") {
        let mut other = all.below("sourceRef");
        if other.has("generatorRef") {
            let mut reference = other.below("generatorRef");
            let values = generators::values(
                world,
                "generators.external-secrets.io",
                source.space(),
                &mut reference,
                &mut report,
            );
            let rotate =
                Some(&*every).filter(|every| crate::api::duration::parse(every).is_ok_and(|span| span.as_secs() >= 10));
            if !values.is_empty() {
                report.left(reference.here(), "a value of its own is made, and is another one than the Secret has now");
            }
            let steps = rename(&mut all, &mut report);
            shown.extend(values.into_iter().map(|(key, value)| Shown {
                key: steps(&key),
                from: generators::rotated(value, rotate),
                decode: None,
            }));
            continue;
        }
        let (own, why) =
            if other.has("storeRef") { from(other.below("storeRef"), source, stores) } else { (None, None) };
        let Some(store) = own.as_ref().or(default.as_ref()) else {
            report.left(all.here(), why.or(reason.clone()).unwrap_or_default());
            continue;
        };
        if all.has("find") {
            report.left(
                all.here(),
                "entries are named here, and not found: write an item of data for each, with name and field",
            );
            continue;
        }
        let mut extract = all.below("extract");
        let Some(entry) = extract.text("key").and_then(|key| entry_name(&key, store.mount.as_deref())) else {
            report
                .left(all.here(), "the key names another engine than the store does: make a connection for that mount");
            continue;
        };
        let decode = reading(&mut extract, &mut report);
        let version = extract.has("version") || extract.has("property");
        report.rest(&extract);
        if version {
            continue;
        }
        let steps = rename(&mut all, &mut report);
        report.rest(&all);
        used.insert(store.id.clone());
        let reference = (Some(&store.id.1) != main.as_ref()).then(|| store.id.1.clone());
        pending.push(Whole { at: all.here().to_owned(), entry, connection: reference, decode, steps });
    }
    let mut items = Vec::new();
    for mut item in spec.list("data") {
        let key = item.text("secretKey").unwrap_or_default();
        let mut other = item.below("sourceRef");
        let (own, why) =
            if other.has("storeRef") { from(other.below("storeRef"), source, stores) } else { (None, None) };
        report.rest(&other);
        let Some(store) = own.as_ref().or(default.as_ref()) else {
            report.left(item.here(), why.or(reason.clone()).unwrap_or_default());
            continue;
        };
        let mut remote_ref = item.below("remoteRef");
        let Some(entry) = remote_ref.text("key").and_then(|key| entry_name(&key, store.mount.as_deref())) else {
            report.left(
                item.here(),
                "the key names another engine than the store does: make a connection for that mount",
            );
            continue;
        };
        let decode = reading(&mut remote_ref, &mut report);
        let Some(field) = remote_ref.text("property") else {
            report.left(remote_ref.path("property"), "a field has to be named: the whole of an entry is no value here");
            continue;
        };
        let pinned = remote_ref.has("version");
        report.rest(&remote_ref);
        if pinned {
            continue;
        }
        used.insert(store.id.clone());
        let reference = (Some(&store.id.1) != main.as_ref()).then_some(&store.id.1);
        items.push(Shown { key, from: remote(reference, &entry, Some(&*field)), decode });
    }
    spec.pass_over(&["syncWindows"]);
    report.rest(&spec);
    let name = draft.target.name.clone().unwrap_or_else(|| source.name.clone());
    let own = items.iter().chain(&shown).map(|value| value.key.clone()).collect();
    let refs = references(&templates, Dialect::Eso);
    shown.extend(fields_of(pending, world, (source.space(), &name), &own, &refs, &templates, &mut report));
    shown.extend(items);
    let nothing = shown.is_empty();
    draft.show(shown, &templates, Dialect::Eso, &mut report);
    if main.is_none() && !nothing {
        report.whole("a VaultSecret names a connection, also when it pushes nothing: name one with --connection");
    } else if !draft.is_empty() {
        used.iter().for_each(|id| made.polled(id, &every));
        made.secrets.push(draft.finish(world.wishes.suspend));
    }
    made.left.extend(report.left);
}

/// An entry that is taken whole.
pub(super) struct Whole {
    /// Where the manifest says so.
    pub at: String,
    /// Its name.
    pub entry: String,
    /// The connection, if it is another than the VaultSecret's.
    pub connection: Option<Reference>,
    /// A filter that decodes the values.
    pub decode: Option<&'static str>,
    /// What a field's key is.
    pub steps: Box<dyn Fn(&str) -> String>,
}

/// The values of entries that are taken whole: their fields have to be known, from the user, from the Secret in the manifests, or
/// from templates. `own` are keys that come from elsewhere, and `except` those that are no fields.
pub(super) fn fields_of(
    entries: Vec<Whole>,
    world: &World,
    secret: (&str, &str),
    own: &BTreeSet<String>,
    refs: &BTreeSet<String>,
    templates: &Templates,
    report: &mut Report,
) -> Vec<Shown> {
    let only = entries.len() == 1;
    let mut found = Vec::new();
    for Whole { at, entry, connection, decode, steps } in entries {
        let said = world.fields_of(&entry).cloned().or_else(|| {
            let keys = world.keys(secret.0, secret.1).filter(|_| !templates.alone);
            let of_secret = keys.into_iter().flatten().filter(|key| !templates.data.contains_key(*key));
            let names = of_secret.chain(refs).filter(|name| !own.contains(*name)).cloned().collect::<BTreeSet<_>>();
            // A key that was rewritten does not tell the field.
            (only && !names.is_empty() && steps("\u{1}") == "\u{1}").then(|| names.into_iter().collect())
        });
        let Some(fields) = said else {
            let what = "the fields of the entry have to be named";
            report.left(
                at,
                format!("{what}: --fields {entry}=FIELD,FIELD, or add the Secret {} to the manifests", secret.1),
            );
            continue;
        };
        found.extend(fields.iter().map(|field| Shown {
            key: steps(field),
            from: remote(connection.as_ref(), &entry, Some(field)),
            decode,
        }));
    }
    found
}

/// The values that templates refer to.
pub(super) fn references(templates: &Templates, dialect: Dialect) -> BTreeSet<String> {
    let texts = templates.data.values();
    texts.filter_map(|text| template::convert(text, dialect, str::to_owned).ok()).flat_map(|c| c.refs).collect()
}

/// The connection that a store became, or why there is none.
fn from(mut store: Fields, source: &Source, stores: &Stores) -> (Option<From>, Option<String>) {
    let Some(name) = store.text("name") else { return (None, Some(UNREADABLE.to_owned())) };
    let is_cluster = store.text("kind").is_some_and(|kind| kind == "ClusterSecretStore");
    match stores.get(is_cluster, source.space(), &name) {
        Some(Store::Vault { id, mount }) => (Some(From { id: id.clone(), mount: mount.clone() }), None),
        Some(Store::None) => (None, Some(UNREADABLE.to_owned())),
        None => (None, Some(format!("the store {name} is not in the manifests: add it"))),
    }
}

pub(super) fn remote(connection: Option<&Reference>, entry: &str, field: Option<&str>) -> Value {
    json!({"remote": object([
        ("connectionRef", connection.map(Reference::value)),
        ("name", Some(entry.into())),
        ("field", field.filter(|field| *field != "value").map(Value::from)),
    ])})
}

/// How a value is decoded; what else would change it is said.
fn reading(remote: &mut Fields, report: &mut Report) -> Option<&'static str> {
    remote.pass_over(&["nullBytePolicy"]);
    if remote.text("metadataPolicy").is_some_and(|policy| policy != "None") {
        report.left(remote.path("metadataPolicy"), "only values can be read: an entry's metadata cannot");
    }
    if remote.text("conversionStrategy").is_some_and(|strategy| strategy != "Default") {
        report.left(remote.path("conversionStrategy"), "names are not converted: write the key");
    }
    match remote.text("decodingStrategy").as_deref() {
        Some("Base64" | "Base64URL") => Some("b64decode"),
        Some("Auto") => {
            report.left(
                remote.path("decodingStrategy"),
                "nothing is guessed: where the value is base64, use a template with b64decode",
            );
            None
        }
        _ => None,
    }
}

/// What a key is called after the rewriting of an item of `dataFrom`.
fn rename(all: &mut Fields, report: &mut Report) -> Box<dyn Fn(&str) -> String> {
    let mut steps = Vec::new();
    for mut step in all.list("rewrite") {
        let mut regexp = step.below("regexp");
        let source = regexp.text("source").and_then(|source| Regex::new(&source).ok());
        match source {
            Some(source) => steps.push((source, groups(&regexp.text("target").unwrap_or_default()))),
            None => report.left(step.here(), "keys are written out here: correct those that this would have changed"),
        }
    }
    Box::new(move |key| {
        steps
            .iter()
            .fold(key.to_owned(), |key, (source, target)| source.replace_all(&key, target.as_str()).into_owned())
    })
}

/// Groups as they are written here: `$1` followed by a letter is another group than in Go.
pub(super) fn groups(target: &str) -> String {
    let mut out = String::new();
    let mut rest = target.chars().peekable();
    while let Some(c) = rest.next() {
        out.push(c);
        if c != '$' || !rest.peek().is_some_and(char::is_ascii_alphanumeric) {
            continue;
        }
        let mut name = String::new();
        while let Some(c) = rest.next_if(|c| c.is_ascii_alphanumeric() || *c == '_') {
            name.push(c);
        }
        out += &format!("{{{name}}}");
    }
    out
}

/// Name of an entry below its engine; `None`: it is in another engine.
pub(super) fn entry_name(key: &str, mount: Option<&str>) -> Option<String> {
    let key = key.trim_matches('/');
    let engine = mount.unwrap_or("secret");
    let below = key.strip_prefix(engine).and_then(|rest| rest.strip_prefix('/'));
    match (below, mount) {
        (Some(below), _) => Some(below.strip_prefix("data/").unwrap_or(below).to_owned()),
        (None, Some(_)) => Some(key.to_owned()),
        (None, None) => None,
    }
    .filter(|name| !name.is_empty())
}

/// Type, labels, annotations and templates of the Secret.
fn shape(target: &mut Fields, draft: &mut Draft, report: &mut Report) -> Templates {
    let mut template = target.below("template");
    draft.target.type_ = template.text("type");
    let mut metadata = template.below("metadata");
    draft.target.labels = metadata.map("labels");
    draft.target.annotations = metadata.map("annotations");
    report.rest(&metadata);
    let data = template.map("data");
    let merges = template.text("mergePolicy").is_some_and(|policy| policy == "Merge");
    template.pass_over(&["engineVersion"]);
    let path = template.path("data");
    let alone = !merges && (!data.is_empty() || template.has("templateFrom"));
    report.rest(&template);
    Templates { data, path, alone }
}
