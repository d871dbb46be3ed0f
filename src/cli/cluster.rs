//! The cluster that a command speaks to, with the flags that kubectl has for it, and errors that say what to do.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use kube::Client;
use kube::api::{Api, ListParams, ObjectList, PartialObjectMeta};
use kube::config::{Config, KubeConfigOptions, Kubeconfig};
use kube::core::{ClusterResourceScope, NamespaceResourceScope};
use kube::{Resource, ResourceExt as _};
use serde::de::DeserializeOwned;

use super::values as flags;
use crate::api::VaultSecret;
use crate::kube_error::{ApiError, ApiErrorKind};

/// Objects a page.
pub(super) const PAGE: u32 = 500;
/// Most names that an error lists.
const MOST_NAMES: usize = 10;

/// How long one answer may take. A person would rather wait than hear of a busy API server.
const PATIENCE: Duration = Duration::from_secs(60);

/// Waits for an answer, and reads its error.
pub(super) async fn within<T>(
    call: &'static str,
    answer: impl Future<Output = Result<T, kube::Error>>,
) -> Result<T, ApiError> {
    match tokio::time::timeout(PATIENCE, answer).await {
        Ok(result) => result.map_err(|error| ApiError::new(call, &error)),
        Err(_) => Err(ApiError::timeout(call)),
    }
}

/// Flags of every command that speaks to a cluster.
#[derive(Clone, Debug, Default, Args)]
pub struct ClusterArgs {
    /// Namespace. Default: that of the kubeconfig's context
    #[arg(short, long, env = "VAULTSECRET_NAMESPACE", value_name = "NAMESPACE", value_parser = flags::namespace)]
    pub(super) namespace: Option<String>,

    /// Context of the kubeconfig. Default: its current one
    #[arg(long, env = "VAULTSECRET_CONTEXT", value_name = "CONTEXT")]
    context: Option<String>,

    /// Kubeconfig file. Default: as KUBECONFIG says, else ~/.kube/config, else the service account of the pod
    #[arg(long, env = "VAULTSECRET_KUBECONFIG", value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
}

/// A cluster, and the namespace that is meant.
#[derive(Clone)]
pub(super) struct Target {
    /// Speaks to the API server.
    pub(super) client: Client,
    /// Of the flag, else of the context.
    pub(super) namespace: String,
    server: String,
}

/// All that a list has, page by page.
///
/// # Errors
/// Of the first page that is not had.
pub(super) async fn every_page<T: Clone>(
    mut params: ListParams,
    mut page: impl AsyncFnMut(&ListParams) -> Result<ObjectList<T>, ApiError>,
) -> Result<Vec<T>, ApiError> {
    let mut all = Vec::new();
    params = params.limit(PAGE);
    loop {
        let one = page(&params).await?;
        all.extend(one.items);
        match one.metadata.continue_.filter(|next| !next.is_empty()) {
            Some(next) => params = params.continue_token(&next),
            None => return Ok(all),
        }
    }
}

impl ClusterArgs {
    /// The cluster that the flags name.
    pub(super) async fn connect(&self) -> anyhow::Result<Target> {
        let mut config = self.config().await?;
        config.default_retry = false;
        config.connect_timeout = Some(Duration::from_secs(10));
        let namespace = self.namespace.clone().unwrap_or_else(|| config.default_namespace.clone());
        let server = config.cluster_url.to_string();
        let client = Client::try_from(config).context("the client of the API server could not be built")?;
        Ok(Target { client, namespace, server })
    }

    async fn config(&self) -> anyhow::Result<Config> {
        let options = KubeConfigOptions { context: self.context.clone(), ..KubeConfigOptions::default() };
        let of = || self.context.as_ref().map(|name| format!(" (context {name:?})")).unwrap_or_default();
        match &self.kubeconfig {
            Some(path) => {
                let read = Kubeconfig::read_from(path).with_context(|| format!("--kubeconfig {}", path.display()))?;
                let config = Config::from_custom_kubeconfig(read, &options).await;
                config.with_context(|| format!("--kubeconfig {}{} names no usable cluster", path.display(), of()))
            }
            None if self.context.is_some() => Config::from_kubeconfig(&options)
                .await
                .with_context(|| format!("the kubeconfig{} names no usable cluster", of())),
            None => Config::infer().await.context(
                "there is no cluster to ask: KUBECONFIG names no usable file; set it, or give --kubeconfig or --context",
            ),
        }
    }
}

impl Target {
    /// Objects of a namespace.
    pub(super) fn namespaced<K>(&self) -> Api<K>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
    {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// Objects that are in no namespace.
    pub(super) fn of_cluster<K>(&self) -> Api<K>
    where
        K: Resource<Scope = ClusterResourceScope, DynamicType = ()>,
    {
        Api::all(self.client.clone())
    }

    /// One VaultSecret.
    ///
    /// # Errors
    /// One sentence; when there is none of that name, it names those that there are.
    pub(super) async fn vault_secret<K>(&self, name: &str) -> anyhow::Result<K>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Clone + DeserializeOwned + std::fmt::Debug,
    {
        match within("reading the VaultSecret", self.namespaced::<K>().get(name)).await {
            Ok(found) => Ok(found),
            Err(error) if error.kind == ApiErrorKind::NotFound => {
                let place = format!("namespace {}", self.namespace);
                Err(self.absent::<VaultSecret>(&self.namespaced(), name, &place).await)
            }
            Err(error) => Err(self.explain(&error, "get", "VaultSecrets", Some(&self.namespace))),
        }
    }

    /// Why an object of one of our kinds is not found.
    pub(super) async fn absent<K>(&self, api: &Api<K>, name: &str, place: &str) -> anyhow::Error
    where
        K: Resource<DynamicType = ()> + Clone + DeserializeOwned + std::fmt::Debug,
    {
        let kind = K::kind(&()).into_owned();
        let params = ListParams::default().limit(PAGE);
        let names = match within("listing names", api.list_metadata(&params)).await {
            Ok(found) => found.items.iter().map(PartialObjectMeta::name_any).collect(),
            Err(error) if error.kind == ApiErrorKind::NotFound => return no_such_kind(&kind),
            Err(_) => Vec::new(),
        };
        anyhow::anyhow!(not_found(&kind, name, place, names))
    }

    /// What a failed call means for whoever made it.
    pub(super) fn explain(&self, error: &ApiError, verb: &str, kinds: &str, namespace: Option<&str>) -> anyhow::Error {
        match error.kind {
            ApiErrorKind::NotFound => no_such_kind(kinds.trim_end_matches('s')),
            ApiErrorKind::Forbidden => anyhow::anyhow!(forbidden(verb, kinds, namespace)),
            ApiErrorKind::Unknown | ApiErrorKind::Refused => {
                anyhow::anyhow!("the API server at {} gives no usable answer ({error})", self.server)
            }
            ApiErrorKind::Conflict | ApiErrorKind::Invalid => anyhow::anyhow!("{error}"),
        }
    }
}

fn no_such_kind(kind: &str) -> anyhow::Error {
    anyhow::anyhow!(
        "the cluster does not know {kind}s: install the definitions first (vaultsecret crd | kubectl apply -f -)"
    )
}

fn forbidden(verb: &str, kinds: &str, namespace: Option<&str>) -> String {
    match namespace {
        Some(namespace) => format!("you may not {verb} {kinds} in namespace {namespace}: a role there has to allow it"),
        None if verb == "list" => {
            format!("you may not list {kinds} in all namespaces; name one that you may look at: -n NAMESPACE")
        }
        None => format!("you may not {verb} {kinds}: a cluster role has to allow it"),
    }
}

fn not_found(kind: &str, name: &str, place: &str, mut names: Vec<String>) -> String {
    if names.is_empty() {
        return format!("there is no {kind} {name:?} in {place}, and no other either; -n names another namespace");
    }
    // Those that are most alike first.
    names.sort_by_key(|other| (std::cmp::Reverse(alike(name, other)), other.clone()));
    let more = names.len().saturating_sub(MOST_NAMES);
    names.truncate(MOST_NAMES);
    let more = if more == 0 { String::new() } else { format!(" and {more} more") };
    format!("there is no {kind} {name:?} in {place}; there is {}{more}", names.join(", "))
}

/// How many characters two names have in common at their beginnings and ends.
fn alike(one: &str, other: &str) -> usize {
    let front = one.chars().zip(other.chars()).take_while(|(a, b)| a == b).count();
    let back = one.chars().rev().zip(other.chars().rev()).take_while(|(a, b)| a == b).count();
    front + back
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    #[test]
    fn what_is_not_found_names_what_there_is_the_likest_first() {
        let text = not_found("VaultSecret", "chekout", "namespace shop", names(&["billing", "checkout", "search"]));
        assert_eq!(text, "there is no VaultSecret \"chekout\" in namespace shop; there is checkout, billing, search");
        let many: Vec<String> = (0..25).map(|n| format!("app-{n}")).collect();
        assert!(not_found("VaultSecret", "x", "namespace shop", many).ends_with(" and 15 more"));
        assert!(not_found("VaultSecret", "x", "namespace shop", vec![]).contains("-n names another namespace"));
    }

    #[test]
    fn what_is_forbidden_says_what_and_where() {
        assert_eq!(
            forbidden("patch", "VaultSecrets", Some("shop")),
            "you may not patch VaultSecrets in namespace shop: a role there has to allow it"
        );
        assert!(forbidden("list", "VaultSecrets", None).contains("-n NAMESPACE"));
    }
}
