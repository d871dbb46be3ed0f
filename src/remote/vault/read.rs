//! Entries whose values are wanted here: a look at the metadata tells whether there is another version than before, and only
//! then is the value read.

use std::collections::BTreeMap;

use jiff::Timestamp;
use reqwest::Method;
use serde::Deserialize;
use serde_json::value::RawValue;
use zeroize::Zeroize as _;

use super::Vault;
use super::metadata::{self, Sight, Wrapped};
use crate::remote::client::{Answer, Body};
use crate::remote::entry::entry_segment;
use crate::remote::{CallError, Content, Operation, Pace, Provider, Sighted, status};
use crate::value::SecretValue;

/// The values are where the answer has them: nothing is copied that is not asked for.
#[derive(Deserialize)]
struct ReadData<'a> {
    #[serde(borrow, default)]
    data: Option<BTreeMap<String, &'a RawValue>>,
    metadata: ReadVersion,
}

#[derive(Deserialize)]
struct ReadVersion {
    version: u64,
    #[serde(default)]
    created_time: String,
    #[serde(default)]
    destroyed: bool,
}

/// A name with folders in it, segment by segment.
fn segments(operation: Operation, name: &str) -> Result<Vec<&str>, CallError> {
    name.split('/').map(|segment| entry_segment(operation, segment)).collect()
}

impl Vault {
    pub(super) async fn look_for_value(&self, name: &str, pace: Pace) -> Result<Sighted, CallError> {
        let segments = segments(Operation::Look, name)?;
        self.know_mount(&pace).await?;
        let url = self.url_below("metadata", segments);
        Ok(match self.look_at_url(Operation::Look, url).await? {
            None => Sighted::Gone("it does not exist".to_owned()),
            Some((meta, now)) => match meta.sight(now) {
                Sight::Live { version, .. } => Sighted::Live(version),
                Sight::Gone => Sighted::Gone(meta.why_gone()),
            },
        })
    }

    pub(super) async fn read_entry(&self, name: &str) -> Result<Content, CallError> {
        let url = self.url_below("data", segments(Operation::Read, name)?);
        let mut answer = self.exchange(Operation::Read, Method::GET, url, Body::None).await?;
        let read = content(&answer);
        // It holds values: what was not taken out of it is overwritten.
        if let Ok(body) = &mut answer.body {
            body.zeroize();
        }
        read
    }
}

fn content(answer: &Answer) -> Result<Content, CallError> {
    let body = if matches!(answer.status.as_u16(), 200 | 404) { answer.required_body()? } else { &[] };
    let read = serde_json::from_slice::<Wrapped<ReadData<'_>>>(body).map(|wrapped| wrapped.data);
    match (answer.status.as_u16(), read) {
        // What was deleted is a 404 with its metadata.
        (404, Ok(read)) => Ok(Content::Gone(metadata::why_gone(read.metadata.version, read.metadata.destroyed))),
        (404, Err(_)) if metadata::is_silent(body) => Ok(Content::Gone("it does not exist".to_owned())),
        (200, Ok(ReadData { data: Some(data), metadata: version })) => {
            let fields = data.into_iter().filter_map(|(field, raw)| Some((field, text(raw)?))).collect();
            Ok(Content::Fields(fields, metadata::version_text(version.version, &version.created_time)))
        }
        (200, _) => Err(answer.unreadable("the answer is not what an entry holds")),
        _ => Err(status::refusal(Some(Provider::Vault), answer, Timestamp::now())),
    }
}

/// A text as it is; anything else as the JSON that it is. Null is nothing.
fn text(raw: &RawValue) -> Option<SecretValue> {
    match raw.get() {
        "null" => None,
        text if text.starts_with('"') => serde_json::from_str::<String>(text).ok().map(SecretValue::from),
        json => Some(SecretValue::from(json)),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use crate::remote::ErrorClass;

    #[test]
    fn a_field_is_its_text_or_its_json() {
        let of = |json: &'static str| text(serde_json::from_str(json).unwrap());
        assert_eq!(of(r#""a \"b\" \u00e9""#), Some(SecretValue::from("a \"b\" é")));
        assert_eq!(of("12345678901234567890.50"), Some(SecretValue::from("12345678901234567890.50")));
        assert_eq!(of(r#"{"a":[1,true]}"#), Some(SecretValue::from(r#"{"a":[1,true]}"#)));
        assert_eq!(of("null"), None);
    }

    #[test]
    fn no_segment_walks_out_of_its_folder() {
        assert_eq!(segments(Operation::Read, "db/creds").unwrap(), ["db", "creds"]);
        for name in ["", "..", "a/../b", "a//b", "/a", "a/", "."] {
            assert_eq!(segments(Operation::Read, name).unwrap_err().class, ErrorClass::Invalid, "{name}");
        }
    }
}
