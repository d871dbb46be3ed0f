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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use serde_json::json;

    use super::*;
    use crate::api::vault_secret::Encoding;
    use crate::source::fake_api::FakeApi;
    use crate::source::reference::{Namespaced, read_all};

    fn member(name: &str, secret: &str, key: &str) -> Member {
        Member { name: name.to_owned(), secret: secret.to_owned(), key: key.to_owned() }
    }

    async fn made(bundle: &Bundle) -> Result<(SecretValue, String), Issue> {
        let api = FakeApi::start().await;
        for (name, data) in [("one", json!({"a": "cSJx", "bytes": "//4=", "empty": ""})), ("two", json!({"b": "Qg=="}))]
        {
            api.put("secrets", json!({"metadata": {"name": name, "namespace": "shop"}, "data": data}));
        }
        let sources = read_all(&Namespaced::new(api.client(), "shop"), bundle.members.iter().map(reference)).await;
        value("all", bundle, &sources)
    }

    #[tokio::test]
    async fn values_of_several_secrets_are_one_object() {
        let members = vec![member("z", "one", "a"), member("b", "two", "b")];
        let (text, version) = made(&Bundle { members: members.clone(), encoding: Encoding::UTF8 }).await.unwrap();
        assert_eq!(text.expose_str(), Some(r#"{"b":"B","z":"q\"q"}"#));
        let bundle = Bundle { members, encoding: Encoding::UTF8 };
        let of = |one: &'static str, two: &'static str| {
            super::version(&bundle, |name| Some(if name == "one" { one } else { two }.to_owned()))
        };
        assert_eq!(of("1", "2"), Some(version));
        assert!(of("1", "3") != of("1", "2") && of("2", "2") != of("1", "2"));
        assert_eq!(super::version(&bundle, |_| None), None);
        let encoded = Bundle { members: vec![member("x", "one", "bytes")], encoding: Encoding::Base64 };
        let (text, version) = made(&encoded).await.unwrap();
        assert_eq!((text.expose_str(), &*version), (Some(r#"{"x":"//4="}"#), "1"));
    }

    #[tokio::test]
    async fn without_one_of_them_there_is_none() {
        for (key, reason, said) in [
            ("bytes", Reason::ValueRefused, "key all: key bytes of Secret one: the value is not UTF-8"),
            ("empty", Reason::ValueRefused, "key all: key empty of Secret one: the value is empty"),
            ("gone", Reason::SourceMissing, "has no key \"gone\""),
        ] {
            let bundle =
                Bundle { members: vec![member("a", "one", "a"), member("x", "one", key)], ..Bundle::default() };
            let issue = made(&bundle).await.unwrap_err();
            assert_eq!(issue.reason, reason);
            assert!(issue.message.contains(said), "{}", issue.message);
        }
    }
}
