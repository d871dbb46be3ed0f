//! Infisical's operator. Its remote is none of ours: the shape goes onto a connection that the user names.

use std::collections::BTreeSet;

use serde_json::json;

use super::draft::{Draft, Reference, Templates};
use super::fields::Fields;
use super::generators;
use super::pull::{self, Whole};
use super::report::Report;
use super::template::{self, Dialect};
use super::world::{Made, Source, World};

const GROUP: &str = "secrets.infisical.com";
const WITHOUT: &str = "Infisical is none of the remotes: name the connection that its entries go to with --connection";

/// Says what is in the manifests and cannot be converted.
pub fn others(source: &Source, made: &mut Made) {
    if !matches!(&*source.kind, "InfisicalDynamicSecret" | "InfisicalStaticSecret" | "InfisicalStaticSecretPush") {
        return;
    }
    let mut report = source.report();
    report.whole(match &*source.kind {
        "InfisicalDynamicSecret" => "dynamic credentials have leases, and there are none here: keep it",
        _ => "this kind is not converted: write a VaultSecret after the table in docs/migration.md",
    });
    made.left.extend(report.left);
}

/// Converts an InfisicalPushSecret.
pub fn push(source: &Source, world: &World, made: &mut Made) {
    let mut report = source.report();
    let Some(connection) = &world.wishes.connection else {
        report.whole(WITHOUT);
        made.left.extend(report.left);
        return;
    };
    let mut spec = source.spec.clone();
    // Where and as whom: the connection says that. How often: a changed source is sent at once.
    spec.pass_over(&["destination", "authentication", "hostAPI", "tls", "resyncInterval"]);
    let mut push = spec.below("push");
    let mut secret = push.below("secret");
    let (name, space) = (secret.text("secretName"), secret.text("secretNamespace"));
    let mut draft = Draft::new(space.or_else(|| source.namespace.clone()), &source.name, connection.clone());
    draft.labels.clone_from(&source.labels);
    draft.target.creation = Some("None".to_owned());
    draft.takes_over = spec.text("updatePolicy").is_some_and(|policy| policy == "Replace");
    draft.deletes = spec.text("deletionPolicy").is_some_and(|policy| policy == "Delete");
    if let Some(name) = name {
        pushed(&name, &mut secret.below("template"), &mut draft, &mut report);
    }
    report.rest(&secret);
    for mut generator in push.list("generators") {
        let to = generator.text("destinationSecretName");
        let mut reference = generator.below("generatorRef");
        let value = generators::values(world, GROUP, source.space(), &mut reference, &mut report).into_iter().next();
        if let (Some(to), Some((_, value))) = (to, value) {
            draft.add(&to, json!({"valueFrom": value}));
            report.left(generator.here(), "a value of its own is made, and is another one than Infisical has");
        }
        report.rest(&generator);
    }
    report.rest(&push);
    report.rest(&spec);
    if !draft.is_empty() {
        made.secrets.push(draft.finish(world.wishes.suspend));
    }
    made.left.extend(report.left);
}

/// The keys of a Secret, and what templates make of them.
fn pushed(secret: &str, template: &mut Fields, draft: &mut Draft, report: &mut Report) {
    let templates = template.map("data");
    let all = template.flag("includeAllSecrets") || templates.is_empty();
    let at = template.path("data");
    template.pass_over(&["metadata"]);
    report.rest(template);
    if all {
        draft.data_from.push(json!({"secretRef": {"name": secret}}));
    }
    let mut refs = BTreeSet::new();
    for (key, text) in &templates {
        match template::convert(text, Dialect::Infisical, |name| format!("{name}.source")) {
            Err(why) => report.left(format!("{at}[{key}]"), why),
            Ok(converted) => {
                refs.extend(converted.refs);
                draft.add(key, json!({"valueFrom": {"template": converted.text}}));
            }
        }
    }
    for name in refs {
        let from = json!({"secretKeyRef": {"name": secret, "key": name}});
        draft.add(&format!("{name}.source"), json!({"push": false, "project": false, "valueFrom": from}));
    }
}

/// Converts an InfisicalSecret: the same Secrets, with values from an entry of the connection that the user names.
pub fn pull(source: &Source, world: &World, made: &mut Made) {
    let mut report = source.report();
    let Some(connection) = &world.wishes.connection else {
        report.whole("Infisical cannot be read by this operator: keep it, or move its values to Vault and name that connection with --connection");
        made.left.extend(report.left);
        return;
    };
    let mut spec = source.spec.clone();
    let scope = scope(&mut spec);
    spec.pass_over(&["authentication", "hostAPI", "tls", "resyncInterval", "tokenSecretReference", "instantUpdates"]);
    let mut targets = spec.list("managedKubeSecretReferences");
    if spec.has("managedSecretReference") {
        targets.push(spec.below("managedSecretReference"));
    }
    for map in spec.list("managedKubeConfigMapReferences") {
        report.left(map.here(), "only Secrets are made: use a Secret, or write the ConfigMap by hand");
    }
    report.rest(&spec);
    let many = targets.len() > 1;
    report.whole(format!(
        "its values have to be at {}/{}, in the entry {scope}, before",
        connection.kind, connection.name
    ));
    for target in targets {
        if let Some(draft) = target_of(target, source, world, connection, &scope, many, &mut report)
            && !draft.is_empty()
        {
            made.secrets.push(draft.finish(world.wishes.suspend));
        }
    }
    made.left.extend(report.left);
}

fn target_of(
    mut target: Fields,
    source: &Source,
    world: &World,
    connection: &Reference,
    entry: &str,
    many: bool,
    report: &mut Report,
) -> Option<Draft> {
    let secret = target.text("secretName")?;
    let space = target.text("secretNamespace").or_else(|| source.namespace.clone());
    let own = if many { secret.clone() } else { source.name.clone() };
    let mut draft = Draft::new(space.clone(), own, connection.clone());
    draft.labels.clone_from(&source.labels);
    draft.target.name = Some(secret.clone());
    draft.target.creation = Some(target.text("creationPolicy").unwrap_or_else(|| "Orphan".to_owned()));
    draft.target.type_ = target.text("secretType");
    let mut template = target.below("template");
    let mut metadata = template.below("metadata");
    draft.target.labels = metadata.map("labels");
    draft.target.annotations = metadata.map("annotations");
    let data = template.map("data");
    let alone = !template.flag("includeAllSecrets") && !data.is_empty();
    let templates = Templates { data, path: template.path("data"), alone };
    report.rest(&template);
    let at = target.here().to_owned();
    report.rest(&target);
    let refs = pull::references(&templates, Dialect::Infisical);
    let whole = Whole { at, entry: entry.to_owned(), connection: None, decode: None, steps: Box::new(str::to_owned) };
    let space = space.unwrap_or_else(|| source.space().to_owned());
    let shown = pull::fields_of(vec![whole], world, (&space, &secret), &BTreeSet::new(), &refs, &templates, report);
    draft.show(shown, &templates, Dialect::Infisical, report);
    Some(draft)
}

/// A name for the entry that has what the scope has: the environment and the folder.
fn scope(spec: &mut Fields) -> String {
    let authentication = spec.take("authentication").unwrap_or_default();
    let scopes = authentication.as_object().into_iter().flatten().map(|(_, way)| &way["secretsScope"]);
    let scope = scopes.into_iter().find(|scope| scope.is_object()).cloned().unwrap_or_default();
    let text = |name: &str| scope[name].as_str().unwrap_or_default().trim_matches('/').to_owned();
    let parts = [text("envSlug"), text("secretsPath")];
    let parts: Vec<String> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    if parts.is_empty() { "infisical".to_owned() } else { parts.join("/") }
}
