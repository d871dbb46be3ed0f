//! The command line: one file a subcommand.

mod adopt;
mod approve;
mod cluster;
mod completion;
pub mod crd;
pub mod doctor;
mod migrate;
mod plan;
mod release_finalizers;
mod rotate;
pub mod run;
mod seal;
mod show;
mod status;
mod values;
mod wait;

use std::ffi::OsString;
use std::io::{ErrorKind, Write as _};
use std::path::Path;
use std::process::ExitCode;
use std::sync::LazyLock;

use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

/// Version of the program.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The commit that the program was built from, if the build said so in `VAULTSECRET_COMMIT`.
#[must_use]
pub fn commit() -> Option<&'static str> {
    option_env!("VAULTSECRET_COMMIT").filter(|commit| !commit.is_empty())
}

fn version() -> &'static str {
    static TEXT: LazyLock<String> = LazyLock::new(|| match commit() {
        Some(commit) => format!("{VERSION} ({commit})"),
        None => VERSION.to_owned(),
    });
    &TEXT
}

/// What a command came to, as the process's exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Done: 0.
    Done,
    /// Failed: 1.
    Failed,
    /// It worked, and something is not as it should be: 2.
    Attention,
    /// It was called in a way that makes no sense: 64.
    Usage,
}

impl Exit {
    /// The number.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Attention => 2,
            Self::Usage => 64,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

/// Pushes values to write-only secret stores and shows them to workloads as Secrets.
#[derive(Debug, Parser)]
#[command(name = "vaultsecret", version = version(), arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Print all CustomResourceDefinitions as YAML, fit for `kubectl apply -f -`
    Crd,
    /// Print every metric with a series, for the reference in the documentation
    #[command(hide = true)]
    Metrics,
    /// Run the operator
    Run(Box<run::RunArgs>),
    /// Show what applying manifests would create, update, delete and restart, without any value
    Plan(Box<plan::PlanArgs>),
    /// Look whether everything is as it should be, and say what mends what is not
    Doctor(doctor::DoctorArgs),
    /// Convert manifests of the External Secrets Operator, the Vault Secrets Operator and Infisical's operator
    Migrate(Box<migrate::MigrateArgs>),
    /// Encrypt a value for a Git repository, bound to one key of one VaultSecret
    Seal(Box<seal::SealArgs>),
    /// After the operator is uninstalled: let go of VaultSecrets that wait for it
    ReleaseFinalizers(release_finalizers::ReleaseArgs),
    /// Show what is in sync, what is not and why, and how long what waits will take
    Status(Box<status::StatusArgs>),
    /// Make a generated value anew, once
    Rotate(Box<rotate::RotateArgs>),
    /// Take over entries that are refused because they exist and are somebody else's
    Adopt(Box<adopt::AdoptArgs>),
    /// Release a connection that is frozen
    Approve(Box<approve::ApproveArgs>),
    /// Print a completion script
    Completion(completion::CompletionArgs),
    /// What kubectl asks to complete the plugin's arguments
    #[command(name = "__complete", hide = true)]
    Complete(completion::CompleteArgs),
}

/// The command line, as the program is called: linked as `kubectl-vaultsecret` it is a plugin of kubectl.
fn definition(program: &std::ffi::OsStr) -> clap::Command {
    let name = Path::new(program).file_stem().and_then(std::ffi::OsStr::to_str).unwrap_or_default();
    match name {
        "kubectl-vaultsecret" | "kubectl_complete-vaultsecret" => {
            Cli::command().bin_name("kubectl vaultsecret").display_name("kubectl vaultsecret")
        }
        _ => Cli::command(),
    }
}

/// Reads the arguments, the program's name first.
fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Cli, clap::Error> {
    let mut args: Vec<OsString> = args.into_iter().collect();
    let program = args.first().cloned().unwrap_or_default();
    // kubectl runs this name, found in PATH, with what is to be completed.
    if Path::new(&program).file_stem().is_some_and(|name| name == "kubectl_complete-vaultsecret") {
        args.splice(1..1, ["__complete".into(), "--".into()]);
    }
    let mut definition = definition(&program);
    let matches = definition.try_get_matches_from_mut(args)?;
    Cli::from_arg_matches(&matches).map_err(|error| error.format(&mut definition))
}

/// Reads the arguments, the program's name first, and does what they ask for.
pub fn main(args: impl IntoIterator<Item = OsString>) -> Exit {
    let cli = match parse(args) {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version go to stdout, errors to stderr; a reader that is gone changes nothing.
            let _ = error.print();
            return exit_of(&error);
        }
    };
    match cli.command {
        Command::Crd => crd::yaml().and_then(|text| print(&text)).map_or_else(|error| fail(&error), |()| Exit::Done),
        Command::Metrics => print(&crate::metrics::sample()).map_or_else(|error| fail(&error), |()| Exit::Done),
        Command::Run(args) => run::run(*args),
        Command::Migrate(args) => migrate::run(*args),
        Command::Plan(args) => plan::run(*args),
        Command::Doctor(args) => doctor::examine(&args),
        Command::Seal(args) => seal::run(*args),
        Command::ReleaseFinalizers(args) => release_finalizers::run(args),
        Command::Status(args) => status::run(&args),
        Command::Rotate(args) => rotate::run(&args),
        Command::Adopt(args) => adopt::run(&args),
        Command::Approve(args) => approve::run(&args),
        Command::Completion(args) => completion::run(&args),
        Command::Complete(args) => completion::complete(&args),
    }
}

/// Runs what a command waits for.
fn block_on(done: impl Future<Output = anyhow::Result<Exit>>) -> Exit {
    match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime.block_on(done).unwrap_or_else(|error| fail(&error)),
        Err(error) => fail(&error.into()),
    }
}

/// Says that it was called in a way that makes no sense.
fn usage(text: &str) -> Exit {
    let _ = writeln!(std::io::stderr(), "error: {text}");
    Exit::Usage
}

/// Asked-for help and version are done; everything else that clap stops at is a wrong use.
fn exit_of(error: &clap::Error) -> Exit {
    use clap::error::ErrorKind::{DisplayHelp, DisplayVersion};
    if matches!(error.kind(), DisplayHelp | DisplayVersion) { Exit::Done } else { Exit::Usage }
}

/// Writes to stdout; a reader that has seen enough (`| head`) is no failure.
fn print(text: &str) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}

fn fail(error: &anyhow::Error) -> Exit {
    let _ = writeln!(std::io::stderr(), "error: {error:#}");
    Exit::Failed
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use clap::CommandFactory as _;

    use super::*;

    fn exit(args: &[&str]) -> Exit {
        let args = std::iter::once("vaultsecret").chain(args.iter().copied());
        exit_of(&Cli::try_parse_from(args).expect_err("stops here"))
    }

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn help_and_version_are_done_and_mistakes_are_usage() {
        for args in [&["--help"][..], &["--version"], &["run", "--help"], &["help"]] {
            assert_eq!(exit(args), Exit::Done, "{args:?}");
        }
        for args in [&[][..], &["walk"], &["crd", "--loud"], &["run", "--workers", "many"], &["run", "stray"]] {
            assert_eq!(exit(args), Exit::Usage, "{args:?}");
        }
    }

    #[test]
    fn exit_codes_are_as_documented() {
        let codes = [Exit::Done, Exit::Failed, Exit::Attention, Exit::Usage].map(Exit::code);
        assert_eq!(codes, [0, 1, 2, 64]);
    }

    #[test]
    fn every_flag_of_the_plugin_is_an_environment_variable() {
        let cli = Cli::command();
        for name in ["status", "rotate", "adopt", "approve"] {
            let command = cli.find_subcommand(name).unwrap();
            let flags = command.get_arguments().filter_map(|arg| Some((arg, arg.get_long()?)));
            for (arg, long) in flags.filter(|(_, long)| *long != "help") {
                let wanted = format!("VAULTSECRET_{}", long.replace('-', "_").to_uppercase());
                assert_eq!(arg.get_env().and_then(std::ffi::OsStr::to_str), Some(&*wanted), "{name} --{long}");
            }
        }
    }

    #[test]
    fn linked_as_a_plugin_it_goes_by_that_name() {
        for (program, name) in [
            ("/usr/local/bin/kubectl-vaultsecret", "kubectl vaultsecret"),
            ("kubectl-vaultsecret.exe", "kubectl vaultsecret"),
            ("./vaultsecret", "vaultsecret"),
        ] {
            let said = |flag: &str| parse([program, flag].map(OsString::from)).expect_err("stops here").to_string();
            assert!(said("--version").starts_with(&format!("{name} {VERSION}")), "{}", said("--version"));
            assert!(said("--help").contains(&format!("Usage: {name} <COMMAND>")), "{}", said("--help"));
        }
    }

    #[test]
    fn the_version_starts_with_the_packages() {
        let error = Cli::try_parse_from(["vaultsecret", "--version"]).expect_err("stops here");
        assert!(error.to_string().starts_with(&format!("vaultsecret {VERSION}")), "{error}");
    }
}
