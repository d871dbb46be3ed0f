//! Many keys as one JSON object.

use std::collections::{BTreeMap, BTreeSet};

use sha2::{Digest as _, Sha256};

use crate::api::Reason;
use crate::api::vault_secret::{Bundle, Member};
use crate::controller::desired::Issue;
use crate::source::encoding::encode;
use crate::source::reference::{SourceKind, SourceRef, Sources};
use crate::value::SecretValue;

/// The version of a bundle: that of its Secret; of several, one that changes with each of them.
#[must_use]
pub fn version(bundle: &Bundle, of: impl Fn(&str) -> Option<String>) -> Option<String> {
    let secrets: BTreeSet<&str> = bundle.members.iter().map(|member| member.secret.as_str()).collect();
    if let [secret] = *secrets.iter().copied().collect::<Vec<_>>() {
        return of(secret);
    }
    let mut digest = Sha256::new();
    for secret in secrets {
        // Neither a name nor a version has a zero byte in it.
        digest.update(secret.as_bytes());
        digest.update([0]);
        digest.update(of(secret)?.as_bytes());
        digest.update([0]);
    }
    Some(digest.finalize().iter().take(12).map(|byte| format!("{byte:02x}")).collect())
}

/// What a member is read by.
#[must_use]
pub fn reference(member: &Member) -> SourceRef {
    SourceRef { kind: SourceKind::Secret, name: member.secret.clone(), key: member.key.clone() }
}

/// The object, with its names in order so that the same values make the same text, and its version.
///
/// # Errors
/// The first of its values that cannot be had: it is one value, and not known without all of them.
pub fn value(key: &str, bundle: &Bundle, sources: &Sources) -> Result<(SecretValue, String), Issue> {
    let mut texts: BTreeMap<&str, SecretValue> = BTreeMap::new();
    let mut versions: BTreeMap<&str, &str> = BTreeMap::new();
    for member in &bundle.members {
        let of = format!("key {key}: key {} of Secret {}", member.key, member.secret);
        let source = match sources.get(&reference(member)) {
            Some(Ok(source)) => source,
            Some(Err(error)) => return Err(Issue::new(Reason::SourceMissing, format!("key {key}: {error}"))),
            None => return Err(Issue::new(Reason::SourceMissing, format!("{of} was not read"))),
        };
        let text = encode(source.value.expose(), bundle.encoding)
            .map_err(|error| Issue::new(Reason::ValueRefused, format!("{of}: {error}")))?;
        texts.insert(&member.name, text);
        versions.insert(&member.secret, &source.resource_version);
    }
    let object: BTreeMap<&str, &str> =
        texts.iter().filter_map(|(name, text)| Some((*name, text.expose_str()?))).collect();
    let text = serde_json::to_vec(&object)
        .map_err(|_| Issue::new(Reason::ValueRefused, format!("key {key}: it cannot be written as JSON")))?;
    let version = version(bundle, |secret| versions.get(secret).map(|version| (*version).to_owned()));
    Ok((SecretValue::new(text), version.unwrap_or_default()))
}
