//! The values of a VaultSecret: read once at the start of a pass that needs them, gone with it.

mod escrowed;

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;

use super::backoff::{Pace, REFUSED};
use super::desired::{Issue, check};
use super::fields;
use super::pass::{Pass, Want};
use super::readable::{self, ReadValues};
use super::refs::{Known, Ref};
use super::sources;
use super::templates;
use crate::api::Reason;
use crate::api::vault_secret::DataEntry;
use crate::kube_error::CALL_LIMIT;
use crate::remote::spec::Rules;
use crate::source::api_error::{ApiError, ApiFailure};
use crate::source::encoding::encode;
use crate::source::escrow::{EntryId as EscrowEntry, EscrowError, escrow_name};
use crate::source::reference::{Namespaced, SourceError, SourceKind, SourceRef, Sources, read_others};
use crate::sync::ledger::{EntryState, Row};
use crate::value::SecretValue;

pub use escrowed::{give_up, leaves_unnamed};

/// The version of a value that stands in the spec: the generation tells when it changes.
pub(super) const INLINE: &str = "spec";

/// One value, as it was read.
#[derive(Clone)]
pub struct Value {
    /// The bytes, for the Secret.
    pub raw: SecretValue,
    /// The text for the remote; the same bytes unless an encoding is asked for.
    pub text: SecretValue,
    /// resourceVersion of its source.
    pub version: String,
}

/// What was read for each key of `spec.data`.
pub struct Values {
    /// By position in `spec.data`.
    pub by_index: Vec<Result<Value, Issue>>,
    /// Entries of an earlier VaultSecret of this name, which are ours without being taken over.
    pub inherited: Vec<EscrowEntry>,
    /// The value before the last rotation of the generated ones, by key.
    pub previous: BTreeMap<String, SecretValue>,
    /// When the next of the generated values is due to be made anew.
    pub next_rotation: Option<Timestamp>,
    /// Entries that the escrow names as those that its values are made for.
    pub named: Vec<EscrowEntry>,
    /// The API server or a remote refused something, and nothing tells when it does so no more: it is tried again at this pace.
    pub retry: Option<Pace>,
}

/// Why nothing can be said of the values: another try may succeed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// The API server failed.
    #[error("reading values: {0}")]
    Api(String),
    /// A Secret changed between two looks at it.
    #[error("Secret {0:?} changed while it was read")]
    Moved(String),
    /// The escrow cannot be used.
    #[error(transparent)]
    Escrow(#[from] EscrowError),
}

/// The version of a value, as far as it is known without reading it.
#[must_use]
pub fn known_version(pass: &Pass<'_>, entry: &DataEntry) -> Option<Arc<str>> {
    if entry.template().is_some() {
        return templates::known_version(pass, &entry.key);
    }
    let Some(from) = &entry.value_from else { return Some(INLINE.into()) };
    let namespace = &pass.key.namespace;
    if let Some(bundle) = &from.bundle {
        return sources::known_bundle_version(pass, bundle);
    }
    let of = if let Some(key) = &from.secret_key_ref {
        Ref::secret(namespace, &key.name)
    } else if let Some(key) = &from.config_map_key_ref {
        Ref::config_map(namespace, &key.name)
    } else if let Some(from) = &from.remote {
        return readable::known_version(pass, entry, from);
    } else if from.sealed.is_some() {
        return pass.ctx.sealing.version();
    } else {
        Ref::secret(namespace, &escrow_name(&pass.key.name))
    };
    match pass.ctx.refs.known(&of) {
        Known::At(version) => Some(version),
        Known::Unseen | Known::Gone => None,
    }
}

/// Whether a row's fingerprint is that of the value as it now is, without reading it: the spec and the source are those that
/// it was made from.
#[must_use]
pub fn is_unchanged(pass: &Pass<'_>, want: &Want, row: &Row) -> bool {
    let observed = pass.vs.status.as_ref().and_then(|s| s.observed_generation);
    observed.is_some()
        && observed == pass.vs.metadata.generation
        && row.is_ours()
        && row.fingerprint.is_some()
        && !row.resend
        && !matches!(row.state, EntryState::Refused | EntryState::Pending | EntryState::Failed | EntryState::Queued)
        && row.source_version.is_some()
        && want.row.is_some_and(|index| row.source_version == fields::known_versions(pass, index))
}

/// Reads every value once.
///
/// # Errors
/// When the API server fails, or the escrow cannot be written: nothing may be pushed then.
pub async fn read(pass: &Pass<'_>, remote: &ReadValues) -> Result<Values, ReadError> {
    let data = &pass.vs.spec.data;
    let references: Vec<Option<SourceRef>> =
        data.iter().map(|e| e.value_from.as_ref().and_then(SourceRef::of)).collect();
    let bundled = data.iter().filter_map(|e| e.value_from.as_ref()?.bundle.as_ref()).flat_map(|b| &b.members);
    let wanted: Vec<SourceRef> = references.iter().flatten().cloned().chain(bundled.map(sources::reference)).collect();
    let before: Vec<(Ref, Known)> = wanted
        .iter()
        .filter(|r| r.kind != SourceKind::Secret || !pass.sources.read.contains_key(&r.name))
        .map(|r| watched(pass, r))
        .map(|of| {
            let known = pass.ctx.refs.known(&of);
            (of, known)
        })
        .collect();
    let namespaced = Namespaced::new(pass.ctx.client.clone(), &*pass.key.namespace);
    let sources = limited(read_others(&namespaced, wanted, &pass.sources.read)).await?;
    note_versions(pass, &sources, &before);
    sources::check_versions(pass, &sources)?;
    let wanted = escrowed::wanted_values(pass);
    let escrow = match escrowed::ensure(pass, &wanted).await {
        Ok(escrow) => Ok(escrow),
        Err(ReadError::Escrow(EscrowError::Api(error))) if is_refused(&error) => {
            Err(Issue::new(Reason::SourceMissing, error.to_string()))
        }
        Err(ReadError::Escrow(error)) if !matches!(error, EscrowError::Api(_) | EscrowError::Contended { .. }) => {
            Err(Issue::new(Reason::TargetConflict, error.to_string()))
        }
        Err(error) => return Err(error),
    };
    let refused = sources.iter().any(|(_, source)| source.as_ref().is_err_and(SourceError::is_forbidden))
        || escrow.as_ref().is_err_and(|issue| issue.reason == Reason::SourceMissing);
    let retry = refused.then_some(REFUSED).or(remote.retry);
    let mut unsealed = super::unseal::open_all(pass).await?;
    let mut by_index = Vec::with_capacity(data.len());
    for (entry, reference) in data.iter().zip(&references) {
        if let Some(issue) = check(entry) {
            by_index.push(Err(issue));
            continue;
        }
        let raw = if let Some(value) = &entry.value {
            Ok((SecretValue::from(value.0.as_str()), INLINE.to_owned()))
        } else if let Some(opened) = unsealed.remove(&by_index.len()) {
            opened
        } else if let Some(bundle) = entry.value_from.as_ref().and_then(|from| from.bundle.as_ref()) {
            sources::bundle_value(&entry.key, bundle, &sources)
        } else if let Some(read) = remote.by_index.get(&by_index.len()) {
            read.clone()
        } else if let Some(reference) = reference {
            match sources.get(reference) {
                Some(Ok(source)) => Ok((source.value.clone(), source.resource_version.clone())),
                Some(Err(error)) if error.is_missing() => {
                    Err(Issue::new(Reason::SourceMissing, format!("key {}: {error}", entry.key)))
                }
                Some(Err(error)) => return Err(ReadError::Api(error.to_string())),
                None => Err(Issue::new(Reason::SourceMissing, format!("key {}: its source was not read", entry.key))),
            }
        } else if entry.template().is_some() {
            // Made of the others, below.
            Err(templates::refusal(&pass.templates, entry).unwrap_or_else(|| templates::not_yet(&entry.key)))
        } else {
            match &escrow {
                Ok(escrow) => escrowed::generated(entry, escrow.as_ref()),
                Err(issue) => Err(Issue::new(issue.reason, format!("key {}: {}", entry.key, issue.message))),
            }
        };
        by_index.push(raw.and_then(|(raw, version)| gate(pass, entry, raw, version)));
    }
    templates::render(pass, &mut by_index).await;
    let escrow = escrow.ok().flatten().unwrap_or_default();
    let inherited = escrow.made_for_entries.into_iter().collect();
    let (previous, next_rotation) = (escrow.previous, escrow.next_rotation);
    let named = wanted.into_iter().flat_map(|value| value.entries).collect();
    Ok(Values { by_index, inherited, named, previous, next_rotation, retry })
}

/// Whether the API server will say the same again until a person mends it.
fn is_refused(error: &ApiError) -> bool {
    matches!(
        error.failure,
        ApiFailure::Forbidden | ApiFailure::QuotaExceeded | ApiFailure::Invalid | ApiFailure::TooLarge
    )
}

pub(super) fn gate(pass: &Pass<'_>, entry: &DataEntry, raw: SecretValue, version: String) -> Result<Value, Issue> {
    gate_by(pass.route.handle.as_ref().map(|handle| &handle.rules), entry, raw, version)
}

/// Fails closed: what is empty, not text or too large for the remote goes nowhere. Pure.
///
/// # Errors
/// Why the value is refused.
pub fn gate_by(rules: Option<&Rules>, entry: &DataEntry, raw: SecretValue, version: String) -> Result<Value, Issue> {
    let refused = |text: String| Issue::new(Reason::ValueRefused, format!("key {}: {text}", entry.key));
    if raw.is_empty() {
        return Err(refused("the value is empty".to_owned()));
    }
    if !entry.pushes() {
        return Ok(Value { text: SecretValue::new(Vec::new()), raw, version });
    }
    let text = encode(raw.expose(), entry.encoding()).map_err(|e| refused(e.to_string()))?;
    if let Some(rules) = rules {
        rules.check_value(text.len()).map_err(|e| refused(e.to_string()))?;
    }
    Ok(Value { raw, text, version })
}

fn watched(pass: &Pass<'_>, reference: &SourceRef) -> Ref {
    match reference.kind {
        SourceKind::Secret => Ref::secret(&pass.key.namespace, &reference.name),
        SourceKind::ConfigMap => Ref::config_map(&pass.key.namespace, &reference.name),
    }
}

fn note_versions(pass: &Pass<'_>, sources: &Sources, before: &[(Ref, Known)]) {
    for (reference, source) in sources.iter() {
        let of = watched(pass, reference);
        let Some((_, before)) = before.iter().find(|(r, _)| *r == of) else { continue };
        match source {
            Ok(source) => pass.ctx.refs.note(&of, before, Known::At(source.resource_version.as_str().into())),
            Err(SourceError::ObjectMissing { .. }) => pass.ctx.refs.note(&of, before, Known::Gone),
            Err(_) => {}
        }
    }
}

pub(super) async fn limited<T>(future: impl Future<Output = T>) -> Result<T, ReadError> {
    tokio::time::timeout(CALL_LIMIT, future)
        .await
        .map_err(|_| ReadError::Api("the API server did not answer in time".to_owned()))
}
