//! The labels of Secrets, where a selector looks for some. What is in them is not asked for.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Client;
use kube::api::{Api, ListParams};

use crate::cli::cluster::every_page;
use crate::cli::plan::world::{Cluster, Observed, World};
use crate::kube_error::{ApiError, ApiErrorKind, within};

/// Lists them.
pub(super) async fn all(client: &Client, world: &World, cluster: &mut Cluster) -> Result<(), ApiError> {
    let selects = world.wanted.iter().filter(|(_, vs)| vs.spec.data_from.iter().any(|from| from.selector.is_some()));
    let spaces: BTreeSet<String> = selects.map(|(key, _)| key.namespace.to_string()).collect();
    for space in spaces {
        let observed = match list(client, &space).await {
            Ok(found) => Observed::Here(found),
            Err(error) if error.kind == ApiErrorKind::Forbidden => Observed::Unseen("you may not list Secrets"),
            Err(error) => return Err(error),
        };
        cluster.labels.insert(space, observed);
    }
    Ok(())
}

async fn list(client: &Client, space: &str) -> Result<BTreeMap<String, ObjectMeta>, ApiError> {
    let api: Api<Secret> = Api::namespaced(client.clone(), space);
    let listed = async |params: &ListParams| within("listing Secrets by their labels", api.list_metadata(params)).await;
    let all = every_page(ListParams::default(), listed).await?;
    Ok(all.into_iter().filter_map(|one| Some((one.metadata.name.clone()?, one.metadata))).collect())
}
