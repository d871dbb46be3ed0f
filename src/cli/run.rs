//! `vaultsecret run`: the operator.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::BoolishValueParser;
use clap::{ArgAction, Args};

use super::{Exit, VERSION, commit, fail, values};
use crate::telemetry::{self, LogFormat};
use crate::traces::Traces;

/// Where a pod finds the namespace that it runs in.
const POD_NAMESPACE: &str = "/var/run/secrets/kubernetes.io/serviceaccount/namespace";

/// The operator's namespace outside a cluster.
const DEFAULT_NAMESPACE: &str = "vaultsecret-system";

/// How long tasks that are left over may hold up the exit.
const LEFT_OVER: Duration = Duration::from_secs(1);

/// A list as one value of a flag, and not a flag that may come several times.
pub(super) type NamespaceList = Vec<String>;

/// Flags of `vaultsecret run`. Each is an environment variable too.
#[derive(Clone, Debug, Args)]
pub struct RunArgs {
    /// The operator's own namespace, with the key ring and the credentials of ClusterVaultConnections.
    /// Default: the pod's namespace, else vaultsecret-system. It must exist
    #[arg(long, env = "VAULTSECRET_OPERATOR_NAMESPACE", value_name = "NAMESPACE", value_parser = values::namespace,
        default_value_t = pod_namespace(), hide_default_value = true)]
    pub operator_namespace: String,

    /// Namespaces to work in, separated by commas. Default: all
    #[arg(long, env = "VAULTSECRET_NAMESPACES", value_name = "A,B", value_parser = values::namespaces,
        default_value = "", hide_default_value = true)]
    pub namespaces: NamespaceList,

    /// Where /healthz, /readyz and /metrics are served
    #[arg(long, env = "VAULTSECRET_LISTEN", value_name = "ADDRESS", value_parser = values::listen,
        default_value = "0.0.0.0:8080")]
    pub listen: SocketAddr,

    /// Work only while this replica leads, by a Lease in the operator's namespace. Without it, run one replica
    #[arg(long, env = "VAULTSECRET_LEADER_ELECT", value_name = "BOOL", value_parser = BoolishValueParser::new(),
        action = ArgAction::Set, num_args = 0..=1, default_missing_value = "true", default_value = "true")]
    pub leader_elect: bool,

    /// How long a replica leads after it renewed its lease last: another takes over that long after a crash. At least twice the
    /// longest limits.timeout of the connections
    #[arg(long, env = "VAULTSECRET_LEASE_DURATION", value_name = "DURATION", value_parser = lease_duration,
        default_value = "30s")]
    pub lease_duration: Duration,

    /// How the log is written
    #[arg(long, env = "VAULTSECRET_LOG_FORMAT", value_name = "FORMAT", value_enum, default_value_t = LogFormat::Text)]
    pub log_format: LogFormat,

    /// What is logged: a level, or directives such as `info,vaultsecret_operator=debug`. Default: RUST_LOG, else info.
    /// Other crates are never logged below info, because they would show tokens and values
    #[arg(long, env = "VAULTSECRET_LOG_LEVEL", value_name = "FILTER", value_parser = log_level)]
    pub log_level: Option<String>,

    /// Where traces are sent, as OTLP over HTTP, such as http://collector:4318. Default: nowhere
    #[arg(long, env = "VAULTSECRET_OTLP_ENDPOINT", value_name = "URL", value_parser = values::endpoint)]
    pub otlp_endpoint: Option<url::Url>,

    /// How long an object that is going waits for its entries at the remote to be deleted
    #[arg(long, env = "VAULTSECRET_FINALIZER_DEADLINE", value_name = "DURATION", value_parser = values::duration,
        default_value = "15m")]
    pub finalizer_deadline: Duration,

    /// The longest wait that a remote may ask for with Retry-After
    #[arg(long, env = "VAULTSECRET_MAX_RETRY_AFTER", value_name = "DURATION", value_parser = values::positive_duration,
        default_value = "1h")]
    pub max_retry_after: Duration,

    /// Reconciles that talk to the API server at one time
    #[arg(long, env = "VAULTSECRET_WORKERS", value_name = "NUMBER", value_parser = workers, default_value = "32")]
    pub workers: usize,

    /// Workloads of rolloutRestartTargets that may be restarted in a minute, in the whole cluster
    #[arg(long, env = "VAULTSECRET_ROLLOUT_RESTARTS_PER_MINUTE", value_name = "NUMBER", default_value = "60",
        value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub rollout_restarts_per_minute: u32,

    /// How often at the latest an object is looked at again, in case a change was missed
    #[arg(long, env = "VAULTSECRET_SAFETY_NET", value_name = "DURATION", value_parser = values::positive_duration,
        default_value = "6h")]
    pub safety_net: Duration,

    /// The projected service account token with which the operator logs in to a Vault that knows it (auth.kubernetes of a
    /// ClusterVaultConnection). Not the token for the API server: whoever serves the Vault's URL gets to see it
    #[arg(
        long,
        env = "VAULTSECRET_VAULT_TOKEN_FILE",
        value_name = "FILE",
        default_value = "/var/run/secrets/vaultsecret.dev/vault-token"
    )]
    pub vault_token_file: PathBuf,
}

/// The namespace of the pod that this runs in, else the default.
pub(super) fn pod_namespace() -> String {
    own_namespace(std::fs::read_to_string(POD_NAMESPACE).ok())
}

/// The pod's namespace as its file has it, else the default.
fn own_namespace(file: Option<String>) -> String {
    file.map(|text| text.trim().to_owned())
        .filter(|name| !name.is_empty())
        .unwrap_or_else(|| DEFAULT_NAMESPACE.to_owned())
}

fn workers(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(number) if (1..=1024).contains(&number) => Ok(number),
        _ => Err("must be a number between 1 and 1024".to_owned()),
    }
}

fn lease_duration(text: &str) -> Result<Duration, String> {
    let duration = values::duration(text)?;
    match duration.as_secs() {
        3..=3600 => Ok(duration),
        _ => Err("must be between 3s and 1h".to_owned()),
    }
}

fn log_level(text: &str) -> Result<String, String> {
    telemetry::filter(text).map(|_| text.to_owned()).map_err(|error| error.to_string())
}

/// Starts the log and the runtime, and runs the operator until it is told to stop.
pub(super) fn run(args: RunArgs) -> Exit {
    let rust_log = std::env::var("RUST_LOG").ok();
    let filter = telemetry::filter_text(args.log_level.as_deref(), rust_log.as_deref());
    if let Err(error) = telemetry::init(args.log_format, filter) {
        fail(&error.into());
        return Exit::Usage;
    }
    tracing::info!(version = VERSION, commit = commit().unwrap_or("unknown"), "starting");
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!(%error, "cannot start the runtime");
            return Exit::Failed;
        }
    };
    let traces = match args.otlp_endpoint.as_ref().map(|endpoint| {
        let _runtime = runtime.enter();
        Traces::start(endpoint)
    }) {
        Some(Err(error)) => {
            tracing::error!(%error, "cannot start");
            return Exit::Usage;
        }
        started => started.and_then(Result::ok),
    };
    let result = runtime.block_on(crate::app::run(args));
    match result {
        Ok(()) => {
            if let Some(traces) = traces {
                traces.end();
            }
            runtime.shutdown_timeout(LEFT_OVER);
            tracing::info!("stopped");
            Exit::Done
        }
        Err(error) => {
            // Without the lease another replica may write already, and reconciles still run here: nothing may hold up the exit, not
            // even the last traces.
            runtime.shutdown_background();
            tracing::error!("{error:#}");
            Exit::Failed
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use clap::{CommandFactory as _, Parser};

    use super::*;

    #[derive(Debug, Parser)]
    struct Harness {
        #[command(flatten)]
        args: RunArgs,
    }

    fn parse(args: &[&str]) -> Result<RunArgs, clap::Error> {
        Harness::try_parse_from(std::iter::once("run").chain(args.iter().copied())).map(|harness| harness.args)
    }

    #[test]
    fn the_defaults_are_as_documented() {
        let args = parse(&[]).expect("no flag is needed");
        assert_eq!(args.namespaces, Vec::<String>::new());
        assert_eq!(args.listen.to_string(), "0.0.0.0:8080");
        assert!(args.leader_elect);
        assert_eq!(args.lease_duration, Duration::from_secs(30));
        assert_eq!((args.log_format, args.log_level), (LogFormat::Text, None));
        assert_eq!(args.otlp_endpoint, None);
        assert_eq!(args.finalizer_deadline, Duration::from_secs(15 * 60));
        assert_eq!(args.max_retry_after, Duration::from_secs(60 * 60));
        assert_eq!((args.workers, args.rollout_restarts_per_minute), (32, 60));
        assert_eq!(args.safety_net, Duration::from_secs(6 * 60 * 60));
        assert_eq!(args.vault_token_file, PathBuf::from("/var/run/secrets/vaultsecret.dev/vault-token"));
    }

    #[test]
    fn the_namespace_is_the_pods_or_the_default() {
        assert_eq!(own_namespace(Some("team-a\n".to_owned())), "team-a");
        assert_eq!(own_namespace(Some(String::new())), "vaultsecret-system");
        assert_eq!(own_namespace(None), "vaultsecret-system");
    }

    #[test]
    fn every_flag_is_taken() {
        let args = parse(&[
            "--operator-namespace=ops",
            "--namespaces",
            "shop,blog",
            "--listen=127.0.0.1:9090",
            "--leader-elect=false",
            "--lease-duration=15s",
            "--log-format=json",
            "--log-level=info,vaultsecret_operator=trace",
            "--otlp-endpoint=https://collector.example:4318",
            "--finalizer-deadline=1h30m",
            "--max-retry-after=500ms",
            "--workers=4",
            "--rollout-restarts-per-minute=7",
            "--safety-net=10m",
            "--vault-token-file=/tmp/token",
        ])
        .expect("flags");
        assert_eq!(args.operator_namespace, "ops");
        assert_eq!(args.namespaces, ["blog", "shop"]);
        assert_eq!(args.listen.port(), 9090);
        assert!(!args.leader_elect);
        assert_eq!(args.lease_duration, Duration::from_secs(15));
        assert_eq!(args.log_format, LogFormat::Json);
        assert_eq!(args.otlp_endpoint.map(String::from).as_deref(), Some("https://collector.example:4318/"));
        assert_eq!(args.log_level.as_deref(), Some("info,vaultsecret_operator=trace"));
        assert_eq!(args.finalizer_deadline, Duration::from_secs(5400));
        assert_eq!(args.max_retry_after, Duration::from_millis(500));
        assert_eq!(args.rollout_restarts_per_minute, 7);
        assert_eq!((args.workers, args.safety_net), (4, Duration::from_secs(600)));
        assert_eq!(args.vault_token_file, PathBuf::from("/tmp/token"));
    }

    #[test]
    fn leader_elect_is_a_switch_and_a_value() {
        assert!(parse(&["--leader-elect"]).expect("a switch").leader_elect);
        assert!(parse(&["--leader-elect=true"]).expect("a value").leader_elect);
        assert!(!parse(&["--leader-elect", "false", "--workers=4"]).expect("a value").leader_elect);
        assert!(parse(&["--leader-elect", "--workers=4"]).expect("a switch").leader_elect);
        assert!(parse(&["--leader-elect=perhaps"]).is_err());
    }

    #[test]
    fn every_flag_is_an_environment_variable() {
        let command = Harness::command();
        let flags: Vec<_> = command.get_arguments().filter(|arg| arg.get_long().is_some_and(|l| l != "help")).collect();
        assert_eq!(flags.len(), 14);
        for flag in flags {
            let name = flag.get_long().expect("a long flag").replace('-', "_").to_uppercase();
            let env = flag.get_env().and_then(std::ffi::OsStr::to_str);
            assert_eq!(env, Some(format!("VAULTSECRET_{name}").as_str()));
        }
    }

    #[test]
    fn a_mistake_is_named_with_its_flag() {
        for (flag, part) in [
            ("--finalizer-deadline=15", "write it like 15m, 1h30m or 500ms"),
            ("--safety-net=0", "must be more than 0"),
            ("--workers=0", "between 1 and 1024"),
            ("--lease-duration=1s", "between 3s and 1h"),
            ("--listen=8080", "write it like 0.0.0.0:8080"),
            ("--namespaces=Shop", "is not the name of a namespace"),
            ("--otlp-endpoint=collector:4318", "write it like http://collector:4318"),
            ("--log-format=xml", "possible values: text, json"),
            ("--log-level=hyper=loud", "--log-level"),
        ] {
            let error = parse(&[flag]).expect_err(flag).to_string();
            assert!(error.contains(part) && error.contains(flag.split('=').next().expect("a name")), "{error}");
        }
    }
}
