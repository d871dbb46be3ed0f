//! `vaultsecret migrate`: manifests of other operators as manifests of this one.

mod draft;
mod fields;
mod generators;
mod infisical;
mod pull;
mod push;
mod report;
mod stores;
mod template;
#[cfg(test)]
mod tests;
mod vso;
mod world;

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;
use clap::builder::FalseyValueParser;
use serde_json::Value;

use self::draft::Reference;
use self::report::{Left, Report};
use self::stores::Stores;
use self::world::{Made, Wishes, World};
use super::plan::{read, schema::Schemas};
use super::{Exit, fail, print, values as flags};

/// Flags of `vaultsecret migrate`. Each is an environment variable too.
#[derive(Clone, Debug, Args)]
#[command(
    after_help = "Nothing is applied, and no value of a Secret is shown: of Secrets in the manifests only the names of their keys are read. \
    What could not be converted is listed on standard error, one line each with what to do. \
    Exit codes: 0 all was converted, 1 failed, 2 something is left to do by hand, 64 usage.\n\n\
    Examples:\n  \
    vaultsecret migrate -f deploy/ > vaultsecrets.yaml\n  \
    kubectl get externalsecrets,secretstores,secrets -n shop -o yaml | vaultsecret migrate -f -\n  \
    vaultsecret migrate -f pushsecrets.yaml --connection kelvin --suspend\n  \
    vaultsecret migrate -f vso/ --fields apps/db=username,password | vaultsecret plan --offline -f -"
)]
pub struct MigrateArgs {
    /// File or folder with manifests (`-`: standard input); may come several times. Folders are read with all that is in them
    #[arg(short, long, env = "VAULTSECRET_FILENAME", value_name = "FILE", value_delimiter = ',', required = true)]
    filename: Vec<PathBuf>,

    /// Namespace of objects that name none
    #[arg(short, long, env = "VAULTSECRET_NAMESPACE", value_name = "NAMESPACE", value_parser = flags::namespace)]
    namespace: Option<String>,

    /// Connection for what goes to a store without a counterpart: NAME of a VaultConnection, or ClusterVaultConnection/NAME
    #[arg(long, env = "VAULTSECRET_CONNECTION", value_name = "[KIND/]NAME", value_parser = reference)]
    connection: Option<Reference>,

    /// Fields of an entry that a manifest takes whole, such as apps/db=username,password; may come several times
    #[arg(long, env = "VAULTSECRET_FIELDS", value_name = "ENTRY=FIELD,…", value_delimiter = ';', value_parser = fields_of)]
    fields: Vec<(String, Vec<String>)>,

    /// Write every VaultSecret with suspend: true, so that nothing is written before you unset it
    #[arg(long, env = "VAULTSECRET_SUSPEND", value_parser = FalseyValueParser::new())]
    suspend: bool,

    /// File for what is left to do, instead of standard error
    #[arg(long, env = "VAULTSECRET_REPORT", value_name = "FILE")]
    report: Option<PathBuf>,
}

fn reference(text: &str) -> Result<Reference, String> {
    let (kind, name) = text.split_once('/').unwrap_or(("VaultConnection", text));
    let kind = match kind {
        "VaultConnection" | "vconn" => "VaultConnection",
        "ClusterVaultConnection" | "cvconn" => "ClusterVaultConnection",
        _ => return Err("the kind is VaultConnection or ClusterVaultConnection".to_owned()),
    };
    let right = crate::source::reference::is_object_name(name);
    if right { Ok(Reference { kind, name: name.to_owned() }) } else { Err("that is no name of an object".to_owned()) }
}

fn fields_of(text: &str) -> Result<(String, Vec<String>), String> {
    let (entry, fields) = text.split_once('=').ok_or("write it as ENTRY=FIELD,FIELD")?;
    let fields: Vec<String> = fields.split(',').map(str::trim).filter(|f| !f.is_empty()).map(str::to_owned).collect();
    if fields.is_empty() {
        return Err("name at least one field".to_owned());
    }
    Ok((entry.trim().trim_matches('/').to_owned(), fields))
}

/// Does it, and says what it came to.
pub(super) fn run(args: MigrateArgs) -> Exit {
    match carry_out(args) {
        Ok(true) => Exit::Done,
        Ok(false) => Exit::Attention,
        Err(error) => fail(&error),
    }
}

fn carry_out(args: MigrateArgs) -> anyhow::Result<bool> {
    let documents = read::read(&args.filename)?;
    let wishes = Wishes {
        namespace: args.namespace,
        connection: args.connection,
        fields: args.fields.into_iter().collect(),
        suspend: args.suspend,
    };
    let world = World::new(&documents, wishes);
    let (objects, left) = migrate(&world);
    let mut text = String::new();
    for object in &objects {
        text.push_str("---\n");
        text.push_str(&serde_saphyr::to_string(object)?);
        if !text.ends_with('\n') {
            text.push('\n');
        }
    }
    print(&text)?;
    let told: String = left.iter().map(|left| format!("{left}\n")).collect();
    match &args.report {
        Some(path) => std::fs::write(path, told).with_context(|| format!("writing {}", path.display()))?,
        None => drop(std::io::stderr().write_all(told.as_bytes())),
    }
    if world.sources.is_empty() {
        let _ = writeln!(std::io::stderr(), "there is nothing of another operator in the manifests");
    }
    Ok(left.is_empty())
}

/// What the manifests become, and what is left to do. Every object is one that the API server would take.
fn migrate(world: &World) -> (Vec<Value>, Vec<Left>) {
    let mut made = Made::default();
    let stores = Stores::convert(world, &mut made);
    let mut auths = vso::Auths::default();
    for source in &world.sources {
        let before = (made.secrets.len(), made.left.len());
        match (source.group(), &*source.kind) {
            ("external-secrets.io", "PushSecret") => push::convert(source, world, &stores, &mut made),
            ("external-secrets.io", "ExternalSecret") => pull::convert(source, world, &stores, &mut made),
            ("external-secrets.io", "ClusterExternalSecret" | "ClusterPushSecret") => {
                let mut report = source.report();
                report.whole(
                    "write a ClusterVaultSecret, whose template is a VaultSecret (docs/cluster-vault-secret.md)",
                );
                made.left.extend(report.left);
            }
            ("secrets.hashicorp.com", "VaultStaticSecret") => vso::convert(source, world, &mut auths, &mut made),
            ("secrets.hashicorp.com", _) => vso::others(source, &mut made),
            ("secrets.infisical.com", "InfisicalPushSecret") => infisical::push(source, world, &mut made),
            ("secrets.infisical.com", "InfisicalSecret") => infisical::pull(source, world, &mut made),
            ("secrets.infisical.com", _) => infisical::others(source, &mut made),
            _ => {}
        }
        // Nothing goes without a word.
        let gives = ["PushSecret", "ExternalSecret", "VaultStaticSecret", "InfisicalPushSecret", "InfisicalSecret"];
        if gives.contains(&&*source.kind) && before == (made.secrets.len(), made.left.len()) {
            let mut report = source.report();
            report.whole("nothing in it could be converted: compare its fields with docs/migration.md");
            made.left.extend(report.left);
        }
    }
    let connections = made.connections.into_iter().map(|((namespace, reference), spec)| {
        draft::manifest(reference.kind, namespace, &reference.name, BTreeMap::new(), spec)
    });
    let all: Vec<Value> = connections.chain(made.secrets).collect();
    let mut left = made.left;
    let schemas = Schemas::default();
    let mut objects: Vec<Value> = Vec::new();
    for object in all {
        let kind = object["kind"].as_str().unwrap_or_default();
        let name = object["metadata"]["name"].as_str().unwrap_or_default();
        let mut report = Report::of(format!("{kind} {name}"));
        let problems = schemas.check(kind, &object);
        let same = |other: &Value| other["kind"] == object["kind"] && other["metadata"] == object["metadata"];
        if objects.iter().any(same) {
            report.whole("two objects would have this name, and this one is left out: rename one of them");
        } else if let Some(problem) = problems.first() {
            report.whole(format!("it would be refused, and is left out: {problem}"));
        } else {
            objects.push(object);
        }
        left.extend(report.left);
    }
    (objects, left)
}
