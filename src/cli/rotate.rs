//! `vaultsecret rotate`: one rotation of a generated value. Rotation is asked for by a number, so this counts it up.

mod decide;
mod owner;

use std::time::Duration;

use clap::Args;
use clap::builder::FalseyValueParser;
use kube::api::{DynamicObject, Patch, PatchParams};
use serde_json::Value;

use self::decide::{Order, order};
use super::cluster::{ClusterArgs, within};
use super::wait::{self, Progress};
use super::{Exit, block_on, print, usage, values as flags};
use crate::api::VaultSecret;
use crate::kube_error::ApiErrorKind;

/// Field manager of what this program changes.
pub(super) const MANAGER: &str = "kubectl-vaultsecret";

/// Flags of `vaultsecret rotate`. Each is an environment variable too.
#[derive(Clone, Debug, Args)]
#[command(
    after_help = "A rotation is asked for by a number: this counts up spec.data[].valueFrom.generate.epoch, by a patch that the API \
    server refuses if the field has changed meanwhile. Where a tool applies the VaultSecret from a manifest by itself (Argo CD, Flux, \
    Helm), the number has to be changed there: it says which line, and changes nothing unless --force is given.\n\n\
    Examples:\n  \
    kubectl vaultsecret rotate checkout DB_PASSWORD -n shop --wait"
)]
pub struct RotateArgs {
    /// The VaultSecret
    #[arg(value_name = "NAME")]
    name: String,

    /// The key in its spec.data
    #[arg(value_name = "KEY")]
    key: String,

    /// Flags for the cluster.
    #[command(flatten)]
    cluster: ClusterArgs,

    /// Change the number in the cluster although a tool applies it from a manifest
    #[arg(long, env = "VAULTSECRET_FORCE", value_parser = FalseyValueParser::new())]
    force: bool,

    /// Wait until the new value is at the remote and in the Secret
    #[arg(long, env = "VAULTSECRET_WAIT", value_parser = FalseyValueParser::new())]
    wait: bool,

    /// How long --wait waits
    #[arg(long, env = "VAULTSECRET_TIMEOUT", value_name = "DURATION", value_parser = flags::positive_duration, default_value = "5m")]
    timeout: Duration,
}

/// Does it, and says what it came to.
pub(super) fn run(args: &RotateArgs) -> Exit {
    if args.key.is_empty() {
        return usage("KEY is empty: name a key of spec.data");
    }
    block_on(carry_out(args))
}

async fn carry_out(args: &RotateArgs) -> anyhow::Result<Exit> {
    let target = args.cluster.connect().await?;
    // As it was written, so that the patch can say what it was made for.
    let api: kube::Api<DynamicObject> = kube::Api::namespaced_with(
        target.client.clone(),
        &target.namespace,
        &kube::api::ApiResource::erase::<VaultSecret>(&()),
    );
    let before: VaultSecret = target.vault_secret(&args.name).await?;
    let raw = within("reading the VaultSecret", api.get(&args.name)).await;
    let raw = raw.map_err(|error| target.explain(&error, "get", "VaultSecrets", Some(&target.namespace)))?;
    let object = serde_json::to_value(&raw)?;
    let Order { epoch, patch } = order(&object, &args.key).map_err(|text| anyhow::anyhow!(text))?;
    if let Some(maker) = owner::maker(&object) {
        anyhow::bail!(owner::made(&maker, &target.namespace, &args.name, &args.key));
    }
    let owner = owner::of(&object, &args.key);
    if let Some(owner) = owner.as_ref().filter(|owner| owner.by_itself && !args.force) {
        anyhow::bail!(owner::refusal(&owner.name, &target.namespace, &args.name, &args.key, epoch));
    }
    let patch: json_patch::Patch = serde_json::from_value(Value::Array(patch))?;
    let params = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
    let written =
        match within("asking for the rotation", api.patch(&args.name, &params, &Patch::<()>::Json(patch))).await {
            Ok(written) => written,
            Err(error) if matches!(error.kind, ApiErrorKind::Conflict | ApiErrorKind::Invalid) => anyhow::bail!(
                "VaultSecret {}/{} changed meanwhile, or the new number is refused: nothing was changed; try again",
                target.namespace,
                args.name
            ),
            Err(error) => return Err(target.explain(&error, "patch", "VaultSecrets", Some(&target.namespace))),
        };
    let (key, name) = (&args.key, format!("{}/{}", target.namespace, args.name));
    print(&format!("vaultsecret {name}: a new value of {key} is asked for (epoch {epoch}, was {})\n", epoch - 1))?;
    if let Some(owner) = owner {
        print(&owner::reminder(&owner.name, key, epoch))?;
    }
    if before.spec.suspended() {
        print("note: spec.suspend is set: the new value is made when it is unset\n")?;
    }
    if !args.wait {
        return Ok(Exit::Done);
    }
    let attempts = decide::attempts(&before, key);
    let generation = written.metadata.generation;
    let done = |vs: &VaultSecret| match decide::arrived(vs, key, generation, attempts) {
        true => {
            Progress::Done(format!("vaultsecret {name}: the new value of {key} {}\n", decide::where_it_is(vs, key)))
        }
        false => Progress::Waiting,
    };
    wait::until(&target, &args.name, args.timeout, done).await
}
