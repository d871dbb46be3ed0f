//! `vaultsecret completion`: scripts for shells, and answers to kubectl when it completes the plugin's arguments.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::time::Duration;

use clap::{Args, CommandFactory as _, ValueEnum};
use clap_complete::{Shell, generate};
use kube::api::{Api, ListParams};
use kube::{Resource, ResourceExt};
use serde::de::DeserializeOwned;

use super::cluster::{ClusterArgs, PAGE, Target};
use super::{Cli, Exit, fail, print};
use crate::api::{ClusterVaultConnection, VaultConnection, VaultSecret};

/// How long a person who pressed Tab waits for names.
const PATIENCE: Duration = Duration::from_secs(2);

/// A shell that a script can be had for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum For {
    /// Bash
    Bash,
    /// Zsh
    Zsh,
    /// Fish
    Fish,
}

/// Flags of `vaultsecret completion`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:\n  \
    source <(vaultsecret completion bash)\n  \
    vaultsecret completion zsh > \"${fpath[1]}/_vaultsecret\"\n  \
    vaultsecret completion fish > ~/.config/fish/completions/vaultsecret.fish\n\n\
    For `kubectl vaultsecret <Tab>` kubectl runs kubectl_complete-vaultsecret: link it to the program, beside kubectl-vaultsecret.")]
pub struct CompletionArgs {
    /// The shell
    #[arg(value_enum)]
    shell: For,
}

/// Prints a script.
pub(super) fn run(args: &CompletionArgs) -> Exit {
    let shell = match args.shell {
        For::Bash => Shell::Bash,
        For::Zsh => Shell::Zsh,
        For::Fish => Shell::Fish,
    };
    let mut out = Vec::new();
    generate(shell, &mut Cli::command(), "vaultsecret", &mut out);
    print(&String::from_utf8_lossy(&out)).map_or_else(|error| fail(&error), |()| Exit::Done)
}

/// Arguments that are to be completed; the last one is what is being typed.
#[derive(Clone, Debug, Args)]
pub struct CompleteArgs {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
    words: Vec<OsString>,
}

/// What may stand where something is being typed.
#[derive(Debug, PartialEq, Eq)]
enum Wanted {
    /// One of these words, each with what it does.
    Words(Vec<(String, String)>),
    /// The name of a VaultSecret.
    VaultSecret,
    /// A key of a VaultSecret.
    Key(String),
    /// The name of a connection.
    Connection,
    /// A file.
    File,
}

/// Prints what may stand there, as kubectl reads it: a line each, with a description after a tab, and at the end a number that says
/// whether files are meant.
pub(super) fn complete(args: &CompleteArgs) -> Exit {
    let words: Vec<String> = args.words.iter().map(|word| word.to_string_lossy().into_owned()).collect();
    let Some((typed, before)) = words.split_last() else { return Exit::Done };
    let wanted = wanted(typed, before);
    let files = wanted == Wanted::File;
    let found = match wanted {
        Wanted::Words(words) => words,
        Wanted::File => Vec::new(),
        wanted => names(&wanted, before).into_iter().map(|name| (name, String::new())).collect(),
    };
    let mut out = String::new();
    for (word, about) in found.iter().filter(|(word, _)| word.starts_with(typed.as_str())) {
        let _ = if about.is_empty() { writeln!(out, "{word}") } else { writeln!(out, "{word}\t{about}") };
    }
    // cobra's directives: 4 is "no files", 0 the shell's own way.
    let _ = writeln!(out, ":{}", if files { 0 } else { 4 });
    print(&out).map_or_else(|error| fail(&error), |()| Exit::Done)
}

/// What may stand where `typed` is being typed, after these words. Pure.
fn wanted(typed: &str, before: &[String]) -> Wanted {
    let cli = Cli::command();
    let Some(command) = before.iter().find_map(|word| cli.find_subcommand(word)) else {
        let all = cli.get_subcommands().filter(|c| !c.is_hide_set());
        let told = all.map(|c| (c.get_name().to_owned(), c.get_about().map(ToString::to_string).unwrap_or_default()));
        return Wanted::Words(told.collect());
    };
    let takes_value = |word: &String| {
        command.get_arguments().find(|arg| {
            arg.get_action().takes_values()
                && (arg.get_long().is_some_and(|long| *word == format!("--{long}"))
                    || arg.get_short().is_some_and(|short| *word == format!("-{short}")))
        })
    };
    if let Some(arg) = before.last().and_then(takes_value) {
        let values = arg.get_possible_values();
        let file = matches!(arg.get_id().as_str(), "filename" | "kubeconfig");
        let words =
            values.iter().map(|v| (v.get_name().to_owned(), v.get_help().map(ToString::to_string).unwrap_or_default()));
        return if values.is_empty() && file { Wanted::File } else { Wanted::Words(words.collect()) };
    }
    if typed.starts_with('-') {
        let flags = command.get_arguments().filter(|arg| !arg.is_hide_set());
        let told = flags.filter_map(|arg| {
            let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
            Some((format!("--{}", arg.get_long()?), help.lines().next().unwrap_or_default().to_owned()))
        });
        return Wanted::Words(told.collect());
    }
    let after = before.iter().skip_while(|word| *word != command.get_name()).skip(1);
    let mut positional = Vec::new();
    let mut is_value = false;
    for word in after {
        if !is_value && !word.starts_with('-') {
            positional.push(word.clone());
        }
        is_value = !is_value && takes_value(word).is_some();
    }
    match (command.get_name(), positional.as_slice()) {
        ("status" | "rotate" | "adopt", []) => Wanted::VaultSecret,
        ("rotate" | "adopt", [name]) => Wanted::Key(name.clone()),
        ("approve", []) => Wanted::Connection,
        ("completion", []) => {
            Wanted::Words(["bash", "zsh", "fish"].map(|shell| (shell.to_owned(), String::new())).into())
        }
        _ => Wanted::Words(Vec::new()),
    }
}

/// Names of the cluster that the words before name. None where it cannot be asked: a mistake is told by the command itself.
fn names(wanted: &Wanted, before: &[String]) -> Vec<String> {
    /// The flags alone.
    #[derive(clap::Parser)]
    #[command(ignore_errors = true)]
    struct Flags {
        #[command(flatten)]
        cluster: ClusterArgs,
        #[arg(trailing_var_arg = false)]
        _words: Vec<String>,
    }
    let words = std::iter::once("vaultsecret").chain(before.iter().map(String::as_str));
    let Ok(flags) = <Flags as clap::Parser>::try_parse_from(words) else { return Vec::new() };
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else { return Vec::new() };
    runtime.block_on(async {
        let asked = async {
            let target = flags.cluster.connect().await.ok()?;
            ask(&target, wanted).await
        };
        tokio::time::timeout(PATIENCE, asked).await.ok().flatten().unwrap_or_default()
    })
}

async fn ask(target: &Target, wanted: &Wanted) -> Option<Vec<String>> {
    match wanted {
        Wanted::VaultSecret => list(&target.namespaced::<VaultSecret>()).await,
        Wanted::Key(name) => {
            let found = target.vault_secret::<VaultSecret>(name).await.ok()?;
            Some(found.spec.data.into_iter().map(|entry| entry.key).collect())
        }
        Wanted::Connection => {
            let mut names = list(&target.namespaced::<VaultConnection>()).await.unwrap_or_default();
            let cluster = list(&target.of_cluster::<ClusterVaultConnection>()).await.unwrap_or_default();
            names.extend(cluster.into_iter().map(|name| format!("cvconn/{name}")));
            Some(names)
        }
        Wanted::Words(_) | Wanted::File => None,
    }
}

async fn list<K>(api: &Api<K>) -> Option<Vec<String>>
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + std::fmt::Debug,
{
    let found = api.list_metadata(&ListParams::default().limit(PAGE)).await.ok()?;
    Some(found.items.iter().map(ResourceExt::name_any).collect())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    fn at(words: &[&str]) -> Wanted {
        let words: Vec<String> = words.iter().map(|&word| word.to_owned()).collect();
        let (typed, before) = words.split_last().unwrap();
        wanted(typed, before)
    }

    fn words(wanted: Wanted) -> Vec<String> {
        match wanted {
            Wanted::Words(words) => words.into_iter().map(|(word, _)| word).collect(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn commands_flags_values_and_names_are_completed() {
        let commands = words(at(&["st"]));
        assert!(
            commands.contains(&"status".to_owned()) && !commands.contains(&"__complete".to_owned()),
            "{commands:?}"
        );
        assert!(words(at(&["status", "--"])).contains(&"--wait".to_owned()));
        assert_eq!(words(at(&["status", "-o", ""])), ["table", "wide", "json", "yaml"]);
        assert_eq!(at(&["status", ""]), Wanted::VaultSecret);
        assert_eq!(at(&["rotate", "-n", "shop", "--yes", "check"]), Wanted::VaultSecret);
        assert_eq!(at(&["rotate", "checkout", ""]), Wanted::Key("checkout".to_owned()));
        assert_eq!(at(&["approve", ""]), Wanted::Connection);
        assert_eq!(at(&["plan", "-f", ""]), Wanted::File);
        assert_eq!(words(at(&["completion", ""])), ["bash", "zsh", "fish"]);
        assert!(words(at(&["status", "checkout", ""])).is_empty());
    }
}
