//! What `vaultsecret seal` asks of the cluster, with the rights of whoever calls it.

use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::api::{Api, Patch, PatchParams};
use kube::{Client, ResourceExt as _};

use crate::api::names;
use crate::kube_error::{ApiError, ApiErrorKind, within};
use crate::source::sealed::{Recipient, Ring, generate, identities, next_id, recipient};
use crate::value::SecretValue;

/// The operator's namespace in a cluster.
pub(super) struct Cluster {
    client: Client,
    /// Namespace of the kubeconfig's context.
    pub(super) default_namespace: String,
    system: String,
}

impl Cluster {
    /// Takes the cluster that a kubeconfig names.
    pub(super) async fn connect(system: &str) -> anyhow::Result<Self> {
        let mut config = kube::Config::infer().await.context(
            "there is no cluster to ask: KUBECONFIG names no usable file; without one, give --recipient or --recipients-file \
             (and --identity-file to open)",
        )?;
        config.default_retry = false;
        config.connect_timeout = Some(std::time::Duration::from_secs(10));
        let default_namespace = config.default_namespace.clone();
        let client = Client::try_from(config).context("the client of the API server could not be built")?;
        Ok(Self { client, default_namespace, system: system.to_owned() })
    }

    /// The recipient that is to be sealed to.
    pub(super) async fn newest_recipient(&self) -> anyhow::Result<Recipient> {
        let api: Api<ConfigMap> = Api::namespaced(self.client.clone(), &self.system);
        let what = format!("ConfigMap {}/{}", self.system, names::SEALING_RECIPIENTS);
        let read = within("reading the recipients", api.get(names::SEALING_RECIPIENTS)).await;
        let found = read.map_err(|error| explain(error, &what))?;
        let text = found.data.unwrap_or_default().remove(names::NEWEST_RECIPIENT);
        let text = text.with_context(|| format!("{what} has no key {}", names::NEWEST_RECIPIENT))?;
        recipient(&text).map_err(|why| anyhow::anyhow!("{what}: {why}"))
    }

    /// The operator's identities.
    pub(super) async fn ring(&self) -> anyhow::Result<Ring> {
        let secret = self.secret().await?;
        let data = secret.data.unwrap_or_default().into_iter();
        let (ring, _) = Ring::read(data.map(|(id, bytes)| (id, SecretValue::new(bytes.0))));
        ring.with_context(|| format!("{} holds no identity", self.secret_name()))
    }

    /// Adds an identity to the operator's. Returns its id and its recipient.
    pub(super) async fn add_identity(&self) -> anyhow::Result<(String, Recipient)> {
        let secret = self.secret().await?;
        let id = next_id(secret.data.iter().flatten().map(|(id, _)| id.as_str()));
        let text = generate();
        let made = text.expose_str().map(identities).and_then(Result::ok).and_then(|mut all| all.pop());
        let made = made.context("the identity could not be made")?.to_public();
        let patch = serde_json::json!({
            "metadata": {"resourceVersion": secret.resource_version()},
            "data": {id.as_str(): STANDARD.encode(text.expose())},
        });
        let api: Api<Secret> = Api::namespaced(self.client.clone(), &self.system);
        let params = PatchParams { field_manager: Some("vaultsecret-seal".to_owned()), ..PatchParams::default() };
        let patch = Patch::Merge(patch);
        let written = api.patch(names::SEALING_IDENTITIES, &params, &patch);
        match within("adding the identity", written).await {
            Ok(_) => Ok((id, made)),
            Err(error) if error.kind == ApiErrorKind::Conflict => {
                anyhow::bail!("{} changed meanwhile; try again", self.secret_name())
            }
            Err(error) => Err(explain(error, &self.secret_name())),
        }
    }

    async fn secret(&self) -> anyhow::Result<Secret> {
        let api: Api<Secret> = Api::namespaced(self.client.clone(), &self.system);
        let read = within("reading the sealing identities", api.get(names::SEALING_IDENTITIES)).await;
        read.map_err(|error| explain(error, &self.secret_name()))
    }

    fn secret_name(&self) -> String {
        format!("Secret {}/{}", self.system, names::SEALING_IDENTITIES)
    }
}

fn explain(error: ApiError, what: &str) -> anyhow::Error {
    let hint = match error.kind {
        ApiErrorKind::NotFound => {
            "it is not there; the operator makes it at its first start, in the namespace that --operator-namespace names"
        }
        ApiErrorKind::Forbidden => "you may not",
        _ => "no success",
    };
    anyhow::Error::new(error).context(format!("{what}: {hint}"))
}
