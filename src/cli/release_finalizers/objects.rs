//! Takes the operator's finalizer out of VaultSecrets.

use std::collections::BTreeMap;

use kube::api::{Api, ApiResource, DynamicObject, ListParams, PartialObjectMeta, Patch, PatchParams};
use kube::{Client, ResourceExt as _};
use serde_json::{Value, json};

use crate::api::{VaultSecret, names};
use crate::cli::cluster::PAGE;
use crate::kube_error::{ApiError, ApiErrorKind, within};
use crate::sync::ledger::Row;

/// How often an object is looked at again that changes under our hands, and a list is begun anew that ran out.
const ATTEMPTS: usize = 5;

/// What it came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Done {
    /// Objects that have our finalizer no more.
    pub(super) released: usize,
    /// Objects that still have it.
    pub(super) failed: usize,
    /// Namespaces whose VaultSecrets could not be listed.
    pub(super) unlisted: Vec<String>,
}

impl Done {
    /// What is left to do; `None` where nothing is.
    pub(super) fn left(&self) -> Option<String> {
        let mut parts = Vec::new();
        if self.failed > 0 {
            parts.push(format!("{} could not be released", count(self.failed)));
        }
        match self.unlisted.as_slice() {
            [] => {}
            [one] => parts.push(format!("namespace {one} could not be listed")),
            several => parts.push(format!("namespaces {} could not be listed", several.join(", "))),
        }
        let released = if self.released == 1 { "1 was".to_owned() } else { format!("{} were", self.released) };
        (!parts.is_empty()).then(|| format!("{}; {released} released; run it again", parts.join(", and ")))
    }
}

/// Where a line for the user goes.
type Say<'a> = dyn FnMut(&str) -> anyhow::Result<()> + 'a;

/// Releases all of these namespaces, or of all where none is named. One that cannot be released does not hold up the others, nor
/// does a namespace that cannot be listed.
///
/// # Errors
/// When VaultSecrets of all namespaces cannot be listed.
pub(super) async fn release_all(client: &Client, namespaces: &[String], say: &mut Say<'_>) -> anyhow::Result<Done> {
    let mut done = Done::default();
    if namespaces.is_empty() {
        let all = Api::all_with(client.clone(), &resource());
        if let Some(error) = release_in(client, &all, &mut done, say).await? {
            return Err(error.into());
        }
    }
    for namespace in namespaces {
        let api = Api::namespaced_with(client.clone(), namespace, &resource());
        if let Some(error) = release_in(client, &api, &mut done, say).await? {
            say(&unlisted(namespace, &error))?;
            done.unlisted.push(namespace.clone());
        }
    }
    Ok(done)
}

/// Untyped: an object that this program cannot read has to go too.
fn resource() -> ApiResource {
    ApiResource::erase::<VaultSecret>(&())
}

/// Releases what a list has; the error where it cannot be listed.
async fn release_in(
    client: &Client,
    api: &Api<DynamicObject>,
    done: &mut Done,
    say: &mut Say<'_>,
) -> anyhow::Result<Option<ApiError>> {
    let mut restarts = 0;
    let mut page = ListParams::default().limit(PAGE);
    loop {
        // Specs may hold values, and are not asked for.
        let list = match within("listing VaultSecrets", api.list_metadata(&page)).await {
            Ok(list) => list,
            // The definition is gone, and all objects with it.
            Err(error) if error.kind == ApiErrorKind::NotFound => return Ok(None),
            // 410: the list took too long to read. What is released already is not in the way of a new one.
            Err(error) if page.continue_token.is_some() && restarts < ATTEMPTS => {
                tracing::debug!(%error, "the list is begun anew");
                restarts += 1;
                page.continue_token = None;
                continue;
            }
            Err(error) => return Ok(Some(error)),
        };
        for object in list.items {
            let Some(namespace) = object.namespace() else { continue };
            let shown = format!("{namespace}/{}", object.name_any());
            let api = Api::namespaced_with(client.clone(), &namespace, &resource());
            match release(&api, object).await {
                Ok(Release::Nothing) => {}
                Ok(Release::Done) => {
                    done.released += 1;
                    say(&line(&shown, None))?;
                }
                Ok(Release::Gone(entries)) => {
                    done.released += 1;
                    say(&line(&shown, Some(&entries)))?;
                }
                Err(error) => {
                    done.failed += 1;
                    say(&format!("{shown}: not released: {error}"))?;
                }
            }
        }
        match list.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => page.continue_token = Some(token),
            None => return Ok(None),
        }
    }
}

/// What there was to do for an object.
enum Release {
    Nothing,
    Done,
    /// It was being deleted, with these rows in its status.
    Gone(Vec<Value>),
}

async fn release(api: &Api<DynamicObject>, mut object: PartialObjectMeta<DynamicObject>) -> Result<Release, ApiError> {
    let name = object.name_any();
    let mut attempt = 1;
    loop {
        let mut metadata = object.metadata;
        let mut outcome = Release::Done;
        if metadata.deletion_timestamp.is_some() {
            // Read before: with its last finalizer it is gone.
            let Some(whole) = within("reading a VaultSecret", api.get_opt(&name)).await? else {
                return Ok(Release::Nothing);
            };
            metadata = whole.metadata;
            outcome = Release::Gone(entries(&whole.data));
        }
        let Some(finalizers) = others(metadata.finalizers.as_deref().unwrap_or_default()) else {
            return Ok(Release::Nothing);
        };
        let patch = json!({"metadata": {"resourceVersion": metadata.resource_version, "finalizers": finalizers}});
        let params = PatchParams { field_manager: Some(names::OPERATOR.to_owned()), ..PatchParams::default() };
        match within("writing the finalizers", api.patch_metadata(&name, &params, &Patch::Merge(&patch))).await {
            Ok(_) => return Ok(outcome),
            // It went without us: that is what was wanted.
            Err(error) if error.kind == ApiErrorKind::NotFound => return Ok(Release::Nothing),
            Err(error) if error.kind == ApiErrorKind::Conflict && attempt < ATTEMPTS => attempt += 1,
            Err(error) => return Err(error),
        }
        let Some(again) = within("reading a VaultSecret", api.get_metadata_opt(&name)).await? else {
            return Ok(Release::Nothing);
        };
        object = again;
    }
}

/// The finalizers that stay; `None` where ours is not among them.
pub(super) fn others(finalizers: &[String]) -> Option<Vec<&String>> {
    let stay: Vec<_> = finalizers.iter().filter(|finalizer| *finalizer != names::FINALIZER).collect();
    (stay.len() < finalizers.len()).then_some(stay)
}

/// `status.entries`, whatever is in it.
fn entries(object: &Value) -> Vec<Value> {
    object.pointer("/status/entries").and_then(Value::as_array).cloned().unwrap_or_default()
}

/// What is said of an object that was released; of one that was being deleted, what it leaves.
pub(super) fn line(object: &str, entries: Option<&[Value]>) -> String {
    let Some(entries) = entries else { return format!("{object}: released") };
    let mut left: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for entry in entries {
        // Of one that cannot be read it is not known that there is none at the remote.
        if serde_json::from_value::<Row>(entry.clone()).is_ok_and(|row| !row.holds()) {
            continue;
        }
        let text = |field: &str| entry.get(field).and_then(Value::as_str).unwrap_or("?");
        left.entry(text("connection")).or_default().push(format!("{:?}", text("remoteName")));
    }
    if left.is_empty() {
        return format!("{object}: released; it was being deleted, and had no entries at a remote");
    }
    let left: Vec<_> = left.iter().map(|(at, names)| format!("at {at} {}", names.join(", "))).collect();
    format!("{object}: released; it was being deleted, and its entries stay: {}", left.join("; "))
}

/// What is said of a namespace that cannot be listed. Rights there go with it, and at once when its deletion begins, so a missing
/// right says the same of one that is gone and of one that hangs.
pub(super) fn unlisted(namespace: &str, error: &ApiError) -> String {
    let line = format!("namespace {namespace}: not released: {error}");
    match error.kind {
        ApiErrorKind::Forbidden => format!(
            "{line}. If the namespace is gone, nothing is left to do; if it is there or being deleted, run this with rights to its \
             VaultSecrets: vaultsecret release-finalizers --namespaces={namespace}"
        ),
        _ => line,
    }
}

/// So many VaultSecrets.
pub(super) fn count(number: usize) -> String {
    format!("{number} {}", if number == 1 { "VaultSecret" } else { "VaultSecrets" })
}
