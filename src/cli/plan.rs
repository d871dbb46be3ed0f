//! `vaultsecret plan`: what applying manifests would create, update, delete and restart, without any value.

mod build;
mod claims;
mod compare;
mod decide;
mod judge;
mod link;
mod model;
mod observe;
pub(super) mod read;
mod readable;
mod render;
pub(super) mod schema;
mod target;
#[cfg(test)]
mod tests;
mod values;
mod whole;
mod world;

use std::collections::BTreeSet;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::builder::FalseyValueParser;
use clap::{Args, ValueEnum};
use jiff::Timestamp;
use kube::core::{Selector, SelectorExt as _};

use self::model::Plan;
use self::world::World;
use super::cluster::ClusterArgs;
use super::{Exit, fail, print, values as flags};
use crate::remote::lane::ObjectKey;
use crate::source::generate::os_rng;

/// Flags of `vaultsecret plan`. Each is an environment variable too.
#[derive(Clone, Debug, Args)]
#[command(
    after_help = "Nothing is written, at the remote or in the cluster, and no value is shown. A cluster is asked unless --offline is \
    given. Exit codes: 0 done, 1 failed, 2 something would be refused, 64 usage.\n\n\
    Examples:\n  \
    vaultsecret plan -f deploy/\n  \
    kubectl kustomize overlays/prod | vaultsecret plan -f - -o markdown\n  \
    vaultsecret plan --offline -f deploy/ -n shop\n  \
    vaultsecret plan -f deploy/ --prune -l app=checkout"
)]
pub struct PlanArgs {
    /// File or folder with manifests (`-`: standard input); may come several times. Folders are read with all that is in them
    #[arg(short, long, env = "VAULTSECRET_FILENAME", value_name = "FILE", value_delimiter = ',', required = true)]
    filename: Vec<PathBuf>,

    /// Flags for the cluster; the namespace is that of objects that name none.
    #[command(flatten)]
    cluster: ClusterArgs,

    /// Plan from the manifests alone, without a cluster
    #[arg(long, env = "VAULTSECRET_OFFLINE", value_parser = FalseyValueParser::new())]
    offline: bool,

    /// Show what pruning would delete: VaultSecrets of the manifests' namespaces that are not in the manifests
    #[arg(long, env = "VAULTSECRET_PRUNE", value_parser = FalseyValueParser::new(), conflicts_with = "offline")]
    prune: bool,

    /// Only VaultSecrets with these labels are pruned, such as app=checkout
    #[arg(short = 'l', long, env = "VAULTSECRET_SELECTOR", value_name = "SELECTOR", requires = "prune")]
    selector: Option<String>,

    /// The operator's namespace
    #[arg(long, env = "VAULTSECRET_OPERATOR_NAMESPACE", value_name = "NAMESPACE", value_parser = flags::namespace,
        default_value = "vaultsecret-system")]
    operator_namespace: String,

    /// What is printed
    #[arg(short, long, env = "VAULTSECRET_OUTPUT", value_enum, default_value_t = Output::Table)]
    output: Output,
}

/// What is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For a person
    Table,
    /// For programs
    Json,
    /// For programs
    Yaml,
    /// For a comment on a pull request
    Markdown,
}

/// Does it, and says what it came to.
pub(super) fn run(args: PlanArgs) -> Exit {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&error.into()),
    };
    // A selector is judged first: nothing is to be read for a mistake.
    let selector = match args.selector.as_deref().map(parse_selector).transpose() {
        Ok(selector) => selector,
        Err(error) => {
            fail(&error);
            return Exit::Usage;
        }
    };
    let done = runtime.block_on(carry_out(&args, selector.as_ref())).and_then(|plan| {
        print(&show(&plan, args.output)?)?;
        Ok(plan)
    });
    match done {
        Ok(plan) if plan.is_refused() => Exit::Attention,
        Ok(_) => Exit::Done,
        Err(error) => fail(&error),
    }
}

async fn carry_out(args: &PlanArgs, selector: Option<&Selector>) -> anyhow::Result<Plan> {
    // Read before the cluster is asked: a mistake in them shows without one.
    let documents = read::read(&args.filename)?;
    let cluster = if args.offline {
        None
    } else {
        let hint = "give --offline to plan from the manifests alone";
        Some(args.cluster.connect().await.context(hint)?)
    };
    let default = cluster.as_ref().map(|target| target.namespace.clone()).or_else(|| args.cluster.namespace.clone());
    let default = default.unwrap_or_else(|| "default".to_owned());
    let mut world = World::new(documents, &default, &args.operator_namespace, Timestamp::now());
    if let Some(target) = &cluster {
        observe::observe(&target.client, &mut world).await?;
    }
    let pruned = if args.prune { pruned(&world, selector) } else { Vec::new() };
    Ok(build::plan(&world, &pruned, &mut os_rng()))
}

/// VaultSecrets that pruning would delete.
fn pruned(world: &World, selector: Option<&Selector>) -> Vec<ObjectKey> {
    let spaces: BTreeSet<&str> = world.manifests.iter().map(|m| m.namespace.as_str()).collect();
    // One that is in the manifests stays, whatever is wrong with it there.
    let named: BTreeSet<(&str, &str)> = world
        .manifests
        .iter()
        .filter(|m| m.kind == "VaultSecret")
        .map(|m| (m.namespace.as_str(), m.name.as_str()))
        .collect();
    let live = world.cluster.iter().flat_map(|cluster| &cluster.vault_secrets);
    let goes = live.filter(|(key, vs)| {
        let labels = vs.metadata.labels.clone().unwrap_or_default();
        spaces.contains(&*key.namespace)
            && !named.contains(&(&*key.namespace, &*key.name))
            && selector.is_none_or(|selector| selector.matches(&labels))
    });
    goes.map(|(key, _)| key.clone()).collect()
}

fn parse_selector(text: &str) -> anyhow::Result<Selector> {
    let mut selector = Selector::default();
    for part in text.split(',').map(str::trim) {
        let one = match part.split_once("!=") {
            Some((key, value)) => {
                let values = std::iter::once(value.trim().to_owned()).collect();
                kube::core::Expression::NotIn(key.trim().to_owned(), values)
            }
            None => match part.replace("==", "=").split_once('=') {
                Some((key, value)) => kube::core::Expression::Equal(key.trim().to_owned(), value.trim().to_owned()),
                None if part.starts_with('!') => kube::core::Expression::DoesNotExist(part[1..].to_owned()),
                None if part.is_empty() => anyhow::bail!("--selector: write it like app=checkout,tier!=test"),
                None => kube::core::Expression::Exists(part.to_owned()),
            },
        };
        selector.extend(one);
    }
    Ok(selector)
}

fn show(plan: &Plan, output: Output) -> anyhow::Result<String> {
    Ok(match output {
        Output::Table => render::table(plan),
        Output::Markdown => render::markdown(plan),
        Output::Json => format!("{}\n", serde_json::to_string_pretty(&render::value(plan)).context("as JSON")?),
        Output::Yaml => serde_saphyr::to_string(&render::value(plan)).context("as YAML")?,
    })
}
