//! `vaultsecret adopt`: takes over entries that are refused because they exist and are somebody else's.

mod decide;

use std::time::Duration;

use clap::Args;
use clap::builder::FalseyValueParser;
use kube::api::{Patch, PatchParams};
use serde_json::json;

use self::decide::{asked, chosen, refused};
use super::cluster::{ClusterArgs, within};
use super::rotate::MANAGER;
use super::show::{Answer, ask, one_line};
use super::wait::{self, Progress};
use super::{Exit, block_on, print, values as flags};
use crate::api::{VaultSecret, names};
use crate::kube_error::ApiErrorKind;

/// Flags of `vaultsecret adopt`. Each is an environment variable too.
#[derive(Clone, Debug, Args)]
#[command(
    after_help = "What is at the remote under these names is overwritten with our values, and is ours from then on. It sets the \
    annotation vaultsecret.dev/adopt to their names, which the operator deals with once. Entries of another VaultSecret are not taken.\n\n\
    Examples:\n  \
    kubectl vaultsecret adopt checkout -n shop                   # asks\n  \
    kubectl vaultsecret adopt checkout STRIPE_API_KEY -n shop --yes --wait"
)]
pub struct AdoptArgs {
    /// The VaultSecret
    #[arg(value_name = "NAME")]
    name: String,

    /// One of its keys, or the remote name of one entry. Default: all entries that are refused
    #[arg(value_name = "KEY")]
    key: Option<String>,

    /// Flags for the cluster.
    #[command(flatten)]
    cluster: ClusterArgs,

    /// Do not ask. It is asked at a terminal only
    #[arg(short, long, env = "VAULTSECRET_YES", value_parser = FalseyValueParser::new())]
    yes: bool,

    /// Wait until none of them is refused any more
    #[arg(long, env = "VAULTSECRET_WAIT", value_parser = FalseyValueParser::new())]
    wait: bool,

    /// How long --wait waits
    #[arg(long, env = "VAULTSECRET_TIMEOUT", value_name = "DURATION", value_parser = flags::positive_duration, default_value = "5m")]
    timeout: Duration,
}

/// Does it, and says what it came to.
pub(super) fn run(args: &AdoptArgs) -> Exit {
    block_on(carry_out(args))
}

async fn carry_out(args: &AdoptArgs) -> anyhow::Result<Exit> {
    let target = args.cluster.connect().await?;
    let vs: VaultSecret = target.vault_secret(&args.name).await?;
    let all = refused(&vs);
    let path = format!("{}/{}", target.namespace, args.name);
    let some = chosen(&all, args.key.as_deref()).map_err(|text| anyhow::anyhow!("VaultSecret {path}: {text}"))?;
    let annotation = asked(&vs, &some, all.len()).map_err(|text| anyhow::anyhow!(text))?;
    let told: Vec<String> = some.iter().map(|entry| format!("  {}\n", one_line(&entry.told()))).collect();
    print(&format!("These entries exist at the remote and are not ours:\n{}", told.concat()))?;
    if ask("Overwrite them with our values, for good?", args.yes) == Answer::No {
        print("Nothing was changed.\n")?;
        return Ok(Exit::Failed);
    }
    let patch = json!({"metadata": {
        "resourceVersion": vs.metadata.resource_version, "annotations": {names::ADOPT: annotation}}});
    let params = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
    let api = target.namespaced::<VaultSecret>();
    match within("asking for the adoption", api.patch_metadata(&args.name, &params, &Patch::Merge(&patch))).await {
        Ok(_) => {}
        Err(error) if error.kind == ApiErrorKind::Conflict => {
            anyhow::bail!("VaultSecret {path} changed meanwhile: nothing was changed; look at it again")
        }
        Err(error) => return Err(target.explain(&error, "patch", "VaultSecrets", Some(&target.namespace))),
    }
    let count = some.len();
    let noun = if count == 1 { "entry is" } else { "entries are" };
    print(&format!("vaultsecret {path}: {count} {noun} to be taken over\n"))?;
    if vs.spec.suspended() {
        print("note: spec.suspend is set: they are taken over when it is unset\n")?;
    }
    if !args.wait {
        return Ok(Exit::Done);
    }
    let done = |now: &VaultSecret| {
        if some.iter().all(|entry| entry.is_taken_over(now)) {
            let noun = if count == 1 {
                "the entry is ours and has our value"
            } else {
                "the entries are ours and have our values"
            };
            Progress::Done(format!("vaultsecret {path}: {noun}\n"))
        } else {
            Progress::Waiting
        }
    };
    wait::until(&target, &args.name, args.timeout, done).await
}
