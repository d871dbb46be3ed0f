//! `vaultsecret status`: what is in sync, what is not and why, what waits and how long it will take.

mod estimate;
mod follow;
mod list;
mod one;
mod progress;
mod remedy;
#[cfg(test)]
mod tests;
mod view;
mod world;

use std::io::Write as _;
use std::time::Duration;

use clap::Args;
use clap::builder::FalseyValueParser;
use jiff::Timestamp;

use self::list::Look;
use self::view::ObjectView;
use self::world::World;
use super::cluster::{ClusterArgs, Target};
use super::show::{Output, colours, for_programs};
use super::{Exit, block_on, print, usage, values as flags};

/// Flags of `vaultsecret status`. Each is an environment variable too.
#[derive(Clone, Debug, Args)]
#[command(
    after_help = "Nothing is written, no remote is asked, and no value is shown. Exit codes: 0 done, 1 failed, 2 the VaultSecret \
    that was named is not Ready, or --timeout ran out, 64 usage.\n\n\
    Examples:\n  \
    kubectl vaultsecret status -A\n  \
    kubectl vaultsecret status checkout -n shop\n  \
    kubectl vaultsecret status -n shop --wait --timeout 10m"
)]
pub struct StatusArgs {
    /// One VaultSecret. Default: all of the namespace
    #[arg(value_name = "NAME")]
    name: Option<String>,

    /// Flags for the cluster.
    #[command(flatten)]
    cluster: ClusterArgs,

    /// All namespaces
    #[arg(short = 'A', long, env = "VAULTSECRET_ALL_NAMESPACES", value_parser = FalseyValueParser::new(),
        conflicts_with = "name")]
    all_namespaces: bool,

    /// Go on and print what changes, until Ctrl-C
    #[arg(short, long, env = "VAULTSECRET_WATCH", value_parser = FalseyValueParser::new())]
    watch: bool,

    /// Print what changes until all of them are Ready
    #[arg(long, env = "VAULTSECRET_WAIT", value_parser = FalseyValueParser::new())]
    wait: bool,

    /// How long --wait waits, such as 5m. 0: for ever
    #[arg(long, env = "VAULTSECRET_TIMEOUT", value_name = "DURATION", value_parser = flags::duration, default_value = "0",
        requires = "wait")]
    timeout: Duration,

    /// What is printed
    #[arg(short, long, env = "VAULTSECRET_OUTPUT", value_enum, default_value_t = Output::Table)]
    output: Output,
}

impl StatusArgs {
    fn for_programs(&self) -> bool {
        matches!(self.output, Output::Json | Output::Yaml)
    }

    fn look(&self) -> Look {
        Look {
            all: self.all_namespaces,
            wide: self.output == Output::Wide,
            colour: colours() && !self.for_programs(),
            now: Timestamp::now(),
        }
    }
}

/// Does it, and says what it came to.
pub(super) fn run(args: &StatusArgs) -> Exit {
    if args.watch && !args.wait && args.for_programs() {
        return usage("--watch prints for a person; for programs: -o json with --wait, which prints once at the end");
    }
    block_on(carry_out(args))
}

async fn carry_out(args: &StatusArgs) -> anyhow::Result<Exit> {
    let target = args.cluster.connect().await?;
    let world = World::observe(&target, args.name.as_deref(), args.all_namespaces).await?;
    if args.watch || args.wait {
        return follow::follow(args, &target, world).await;
    }
    finish(args, &target, &world)
}

/// Prints what there is, and says what it comes to.
fn finish(args: &StatusArgs, target: &Target, world: &World) -> anyhow::Result<Exit> {
    let views = world.views();
    print(&page(args, target, world, &views)?)?;
    Ok(if args.name.is_some() && !world.is_ready() { Exit::Attention } else { Exit::Done })
}

fn page(args: &StatusArgs, target: &Target, world: &World, views: &[ObjectView]) -> anyhow::Result<String> {
    let sum = estimate::outlook(views, &world.connections);
    let look = args.look();
    let one = views.first().filter(|_| args.name.is_some());
    if args.for_programs() {
        let value = match one {
            Some(view) => one::value(view, &world.connections, &sum, &world.notes),
            None => list::value(views, &world.connections, &sum, &world.notes),
        };
        return for_programs(&value, args.output);
    }
    if let Some(view) = one {
        return Ok(one::page(view, &world.connections, &sum, &world.notes, look));
    }
    if views.is_empty() {
        let place =
            if args.all_namespaces { "any namespace".to_owned() } else { format!("namespace {}", target.namespace) };
        let _ = writeln!(std::io::stderr(), "There is no VaultSecret in {place}.");
        return Ok(String::new());
    }
    Ok(list::page(views, &sum, &world.notes, look))
}
