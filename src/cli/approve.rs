//! `vaultsecret approve`: releases a connection that is frozen, after a person has looked where it leads.

use clap::Args;
use clap::builder::FalseyValueParser;
use kube::Resource;
use kube::api::{Api, Patch, PatchParams};
use serde::de::DeserializeOwned;
use serde_json::json;

use super::cluster::{ClusterArgs, Target, within};
use super::rotate::MANAGER;
use super::show::{Answer, ask, one_line};
use super::{Exit, block_on, print, usage};
use crate::api::condition::{self, types};
use crate::api::connection::ConnectionStatus;
use crate::api::vault_secret::ConnectionKind;
use crate::api::{ClusterVaultConnection, VaultConnection, names};
use crate::controller::keys::ConnectionKey;
use crate::controller::shown::AsShown;
use crate::kube_error::ApiErrorKind;

/// Flags of `vaultsecret approve`. Each is an environment variable too.
#[derive(Clone, Debug, Args)]
#[command(
    group = clap::ArgGroup::new("answer").required(true).args(["same", "new"]),
    after_help = "A connection is frozen when much of what is ours there is suddenly missing or changed, or when it is pointed at another \
    remote: perhaps its credential opens somebody else's account. Nothing is written until you have made sure and said:\n  \
    --same  it is the same remote: what is missing or changed is put right\n  \
    --new   it is another remote: it is filled with our values, and what is there already is left alone\n\n\
    Examples:\n  \
    kubectl vaultsecret approve kelvin -n shop --same\n  \
    kubectl vaultsecret approve cvconn/kelvin --new --yes"
)]
pub struct ApproveArgs {
    /// A VaultConnection of the namespace, else a ClusterVaultConnection; cvconn/NAME, or --cluster, is the latter for sure
    #[arg(value_name = "CONNECTION")]
    connection: String,

    /// Flags for the cluster.
    #[command(flatten)]
    cluster_args: ClusterArgs,

    /// It is a ClusterVaultConnection
    #[arg(long = "cluster", env = "VAULTSECRET_CLUSTER", value_parser = FalseyValueParser::new())]
    of_cluster: bool,

    /// It is the same remote
    #[arg(long, env = "VAULTSECRET_SAME", value_parser = FalseyValueParser::new())]
    same: bool,

    /// It is another remote
    #[arg(long, env = "VAULTSECRET_NEW", value_parser = FalseyValueParser::new())]
    new: bool,

    /// Do not ask. It is asked at a terminal only
    #[arg(short, long, env = "VAULTSECRET_YES", value_parser = FalseyValueParser::new())]
    yes: bool,
}

/// Does it, and says what it came to.
pub(super) fn run(args: &ApproveArgs) -> Exit {
    match which(&args.connection, args.of_cluster) {
        Ok((kind, name)) => block_on(carry_out(args, kind, name)),
        Err(text) => usage(&text),
    }
}

/// The connection that a word names. Pure.
fn which(word: &str, of_cluster: bool) -> Result<(ConnectionKind, String), String> {
    let Some((kind, name)) = word.split_once('/') else {
        let kind = if of_cluster { ConnectionKind::ClusterVaultConnection } else { ConnectionKind::VaultConnection };
        return Ok((kind, word.to_owned()));
    };
    let kind = match kind.to_lowercase().trim_end_matches(".vaultsecret.dev") {
        "vconn" | "vaultconnection" | "vaultconnections" if !of_cluster => ConnectionKind::VaultConnection,
        "cvconn" | "clustervaultconnection" | "clustervaultconnections" => ConnectionKind::ClusterVaultConnection,
        other => return Err(format!("{other:?} is no kind of connection here: write NAME, vconn/NAME or cvconn/NAME")),
    };
    Ok((kind, name.to_owned()))
}

async fn carry_out(args: &ApproveArgs, kind: ConnectionKind, name: String) -> anyhow::Result<Exit> {
    let target = args.cluster_args.connect().await?;
    match kind {
        ConnectionKind::VaultConnection => {
            let place = format!("namespace {}", target.namespace);
            let api = target.namespaced::<VaultConnection>();
            if !args.connection.contains('/') && is_there(&api, &name).await == Some(false) {
                let of_cluster = target.of_cluster::<ClusterVaultConnection>();
                if is_there(&of_cluster, &name).await == Some(true) {
                    let kind = ConnectionKind::ClusterVaultConnection;
                    return release(args, &target, &of_cluster, kind, &name, "the cluster").await;
                }
            }
            release(args, &target, &api, kind, &name, &place).await
        }
        ConnectionKind::ClusterVaultConnection => {
            release(args, &target, &target.of_cluster::<ClusterVaultConnection>(), kind, &name, "the cluster").await
        }
    }
}

/// Whether there is one of that name; `None` where that cannot be told.
async fn is_there<K>(api: &Api<K>, name: &str) -> Option<bool>
where
    K: Clone + DeserializeOwned + std::fmt::Debug,
{
    within("looking for the connection", api.get_metadata_opt(name)).await.ok().map(|found| found.is_some())
}

async fn release<K>(
    args: &ApproveArgs,
    target: &Target,
    api: &Api<K>,
    kind: ConnectionKind,
    name: &str,
    place: &str,
) -> anyhow::Result<Exit>
where
    K: Resource<DynamicType = ()> + AsShown + Clone + DeserializeOwned + std::fmt::Debug,
{
    let kinds = format!("{}s", kind.as_str());
    let namespace = Some(&*target.namespace).filter(|_| kind == ConnectionKind::VaultConnection);
    let found = match within("reading the connection", api.get(name)).await {
        Ok(found) => found,
        Err(error) if error.kind == ApiErrorKind::NotFound => return Err(target.absent(api, name, place).await),
        Err(error) => return Err(target.explain(&error, "get", &kinds, namespace)),
    };
    let shown = found.as_shown(&ConnectionKey::new(kind, &target.namespace, name));
    let what = format!("{}/{name}", kind.as_str());
    let Some(frozen) = freeze(&shown.status) else {
        anyhow::bail!("{what} is not frozen, so there is nothing to approve ({})", one_line(&standing(&shown.status)))
    };
    let (answer, meaning) = if args.same {
        ("same", "it is the same remote: what is missing or changed there is put right with our values")
    } else {
        ("new", "it is another remote: it is filled with our values, and what is there already is left alone")
    };
    let entries = shown.status.entries.unwrap_or_default();
    print(&format!(
        "{what} is frozen (token {}): {}\nEntries of ours: {entries}. You say: {meaning}.\n",
        one_line(&frozen.0),
        one_line(&frozen.1)
    ))?;
    if ask("Go on?", args.yes) == Answer::No {
        print("Nothing was changed.\n")?;
        return Ok(Exit::Failed);
    }
    // The token says which freeze was meant: one that comes meanwhile is not released.
    let patch = json!({"metadata": {"annotations": {names::APPROVE: format!("{}={answer}", frozen.0)}}});
    let params = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
    let written = within("approving", api.patch_metadata(name, &params, &Patch::Merge(&patch))).await;
    written.map_err(|error| target.explain(&error, "patch", &kinds, namespace))?;
    print(&format!("{what}: approved as the {answer} remote; writing goes on\n"))?;
    Ok(Exit::Done)
}

/// Token and reason of the freeze, if it is frozen. Pure.
fn freeze(status: &ConnectionStatus) -> Option<(String, String)> {
    if let Some(freeze) = &status.freeze {
        return Some((freeze.token.clone(), freeze.reason.clone()));
    }
    // As the message says it, for whoever reads that alone.
    let ready = condition::find(&status.conditions, types::READY).filter(|c| c.reason == "RemoteDiverged")?;
    let (reason, rest) = ready.message.rsplit_once(&format!("{}=", names::APPROVE))?;
    let token = rest.strip_suffix("=same|new")?;
    Some((token.to_owned(), reason.trim_end().trim_end_matches(':').to_owned()))
}

fn standing(status: &ConnectionStatus) -> String {
    match condition::find(&status.conditions, types::READY) {
        Some(ready) if ready.message.is_empty() => ready.reason.clone(),
        Some(ready) => format!("{}: {}", ready.reason, ready.message),
        None => "the operator has not looked at it yet".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn a_connection_is_named_as_kubectl_names_things() {
        let (own, cluster) = (ConnectionKind::VaultConnection, ConnectionKind::ClusterVaultConnection);
        for (word, of_cluster, kind) in [
            ("kelvin", false, own),
            ("vconn/kelvin", false, own),
            ("VaultConnection/kelvin", false, own),
            ("kelvin", true, cluster),
            ("cvconn/kelvin", false, cluster),
            ("cvconn/kelvin", true, cluster),
            ("clustervaultconnections.vaultsecret.dev/kelvin", false, cluster),
        ] {
            assert_eq!(which(word, of_cluster), Ok((kind, "kelvin".to_owned())), "{word}");
        }
        assert!(which("vconn/kelvin", true).is_err());
        assert!(which("pod/kelvin", false).unwrap_err().contains("cvconn/NAME"));
    }

    #[test]
    fn the_token_is_in_the_status_and_in_the_message() {
        let read = |value: serde_json::Value| freeze(&serde_json::from_value::<ConnectionStatus>(value).unwrap());
        let both = Some((
            "ab12".to_owned(),
            "9 of 9 entries are missing; nothing is written until somebody approves".to_owned(),
        ));
        let ready = |reason: &str| {
            json!([{"type": "Ready", "status": "False", "reason": reason, "lastTransitionTime": "1970-01-01T00:00:00Z",
                    "message": "9 of 9 entries are missing; nothing is written until somebody approves: vaultsecret.dev/approve=ab12=same|new"}])
        };
        assert_eq!(read(json!({"conditions": ready("RemoteDiverged")})), both);
        assert_eq!(read(json!({"conditions": ready("Connected")})), None);
        assert_eq!(
            read(json!({"freeze": {"token": "ab12", "reason": "r"}})),
            Some(("ab12".to_owned(), "r".to_owned()))
        );
    }
}
