//! `vaultsecret doctor`: whether everything is as it should be, and what mends what is not. Nothing is written: what is tried is
//! tried as a dry run.

mod access;
mod connections;
mod definitions;
mod keys;
mod model;
mod objects;
mod operator;
mod policies;
mod ready;
mod render;
pub mod rights;
mod schema;
mod seen;
mod server;
mod setup;

use std::time::Duration;

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use k8s_openapi::api::apps::v1::Deployment;
use kube::{Client, Config};

use self::access::Account;
use self::model::{Area, Finding, Report};
use self::seen::Seen;
use self::setup::Setup;
use super::show::{self, colours, for_programs};
use super::{Exit, block_on, print, run, values};

/// How long a connection to the API server may take.
const CONNECT: Duration = Duration::from_secs(5);

/// Flags of `vaultsecret doctor`. Each is an environment variable too.
#[derive(Clone, Debug, Args)]
#[command(
    after_help = "Nothing is written: what the operator must not be able to do is tried as a dry run, and only if you may impersonate it. \
    No value is shown. What you may not look at is skipped and said. Exit codes: 0 all is well, 2 something has to be mended, 1 the \
    cluster could not be asked, 64 usage.\n\n\
    Examples:\n  \
    vaultsecret doctor\n  \
    vaultsecret doctor --operator-namespace ops -o json\n  \
    kubectl exec -n vaultsecret-system deploy/vaultsecret-operator -- vaultsecret doctor"
)]
pub struct DoctorArgs {
    /// The operator's namespace. Default: the pod's namespace, else vaultsecret-system
    #[arg(long, env = "VAULTSECRET_OPERATOR_NAMESPACE", value_name = "NAMESPACE", value_parser = values::namespace,
        default_value_t = run::pod_namespace(), hide_default_value = true)]
    operator_namespace: String,

    /// Namespaces that the operator works in, separated by commas. Default: as its Deployment says
    #[arg(long, env = "VAULTSECRET_NAMESPACES", value_name = "A,B", value_parser = values::namespaces)]
    namespaces: Option<NamespaceList>,

    /// The operator's service account. Default: as its Deployment says
    #[arg(long, env = "VAULTSECRET_SERVICE_ACCOUNT", value_name = "NAME")]
    service_account: Option<String>,

    /// What is printed
    #[arg(short, long, env = "VAULTSECRET_OUTPUT", value_enum, default_value_t = Output::Table)]
    output: Output,
}

/// A list as one value of a flag, and not a flag that may come several times.
type NamespaceList = Vec<String>;

/// What is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For a person
    Table,
    /// For programs
    Json,
    /// For programs
    Yaml,
}

/// Does it, and says what it came to.
pub(super) fn examine(args: &DoctorArgs) -> Exit {
    block_on(async {
        let (report, looked) = carry_out(args).await?;
        print(&match args.output {
            Output::Table => render::table(&report, colours()),
            Output::Json => for_programs(&render::value(&report), show::Output::Json)?,
            Output::Yaml => for_programs(&render::value(&report), show::Output::Yaml)?,
        })?;
        Ok(match (looked, report.is_well()) {
            (false, _) => Exit::Failed,
            (true, true) => Exit::Done,
            (true, false) => Exit::Attention,
        })
    })
}

/// The findings, and whether the cluster could be asked at all.
async fn carry_out(args: &DoctorArgs) -> anyhow::Result<(Report, bool)> {
    let mut config = Config::infer().await.context(
        "there is no cluster to ask: KUBECONFIG names no usable file, and this is no Pod with a service account",
    )?;
    config.default_retry = false;
    config.connect_timeout = Some(CONNECT);
    let url = config.cluster_url.to_string();
    let client = Client::try_from(config.clone()).context("the client of the API server could not be built")?;
    let server = match server::look(&client).await {
        Ok(server) => server,
        Err(why) => {
            let text = format!("{url} does not answer: {why}");
            let finding = Finding::failed(Area::Cluster, "API server", text)
                .mend("see whether the cluster runs, and whether KUBECONFIG and its context are the right ones: kubectl version");
            let rest =
                Finding::skipped(Area::Cluster, "all else", "was not looked at: it is the API server that knows it");
            return Ok((Report::new(vec![finding, rest]), false));
        }
    };
    Ok((Report::new(findings(args, config, &client, &server).await), true))
}

async fn findings(args: &DoctorArgs, config: Config, client: &Client, server: &server::Server) -> Vec<Finding> {
    let namespace = &args.operator_namespace;
    let me = server::myself(client).await;
    let mut all = server::judge(server, &me);
    let now = server.now();

    let definitions = definitions::look(client).await;
    all.extend(definitions::judge(&definitions));

    let installed = operator::look(client, namespace).await;
    let deployment = installed.deployments.here().and_then(|all| Setup::main(all));
    let setup = Setup::of(deployment, namespace, args.service_account.as_deref(), args.namespaces.as_deref());
    all.extend(operator::judge(&installed, &setup, now));
    all.extend(installed.lease.here().filter(|_| setup.leader_elect).and_then(server::operators_clock));
    if installed.namespace != Seen::Absent {
        let pods = installed.pods.here().map(Vec::as_slice).unwrap_or_default();
        all.extend(ready::judge(&ready::look(client, namespace, pods, setup.port).await, namespace));
        all.extend(keys::judge(&keys::look(client, namespace).await, namespace));
    }

    let myself = me.here().is_some_and(|user| *user == setup.account.user());
    all.extend(rights(client, &setup, myself).await);
    all.extend(policies(config, client, &setup, deployment, myself).await);

    let (objects, connections) =
        (objects::look(client, &setup.mode).await, connections::look(client, &setup.mode, namespace).await);
    all.extend(connections::judge(&connections, objects::used(&objects).as_ref(), namespace));
    all.extend(objects::judge(&objects, &connections, now));
    all
}

async fn rights(client: &Client, setup: &Setup, myself: bool) -> Vec<Finding> {
    let answers = access::ask(client, &setup.account, myself, &setup.mode).await;
    let install = match setup.mode {
        rights::Mode::Cluster => {
            "helm upgrade RELEASE charts/vaultsecret-operator --reuse-values --set rbac.create=true (or kubectl apply -k deploy/cluster)"
        }
        rights::Mode::Namespaced(_) => {
            "helm upgrade RELEASE charts/vaultsecret-operator --reuse-values --set rbac.create=true (or kubectl apply -k deploy/namespaced)"
        }
    };
    access::judge(&answers, &setup.account, install)
}

async fn policies(
    config: Config,
    client: &Client,
    setup: &Setup,
    deployment: Option<&Deployment>,
    myself: bool,
) -> Vec<Finding> {
    let there = policies::look(client).await;
    let operator = if myself { Some(client.clone()) } else { acting_as(config, &setup.account) };
    let attempts = match &operator {
        Some(operator) => policies::attempt(operator, setup, deployment.is_some()).await,
        None => Vec::new(),
    };
    policies::judge(&there, &attempts, setup)
}

/// A client that asks as the operator's account.
fn acting_as(mut config: Config, account: &Account) -> Option<Client> {
    config.auth_info.impersonate = Some(account.user());
    config.auth_info.impersonate_groups = Some(account.groups());
    Client::try_from(config).ok()
}
