//! What the providers share in writing requests and reading entries.

use serde::{Deserialize, Deserializer, Serialize};

use super::client::{Body, refused_here};
use super::{CallError, ErrorClass, Operation};
use crate::value::SecretValue;

/// A name or id as the segment of a path. Dots alone would walk up the path, encoded or not.
pub(crate) fn entry_segment(operation: Operation, segment: &str) -> Result<&str, CallError> {
    match segment {
        "" | "." | ".." => Err(refused_here(operation, "the entry's name cannot stand in a path")),
        segment => Ok(segment),
    }
}

/// An entry of ours whose create was acknowledged without its id. A list tells it, so an update is decided on again then; a delete
/// is not taken for done.
pub(crate) fn id_not_known(operation: Operation) -> CallError {
    let error = refused_here(operation, "the entry's id is not known yet");
    match operation {
        Operation::Update => CallError { class: ErrorClass::Stale, ..error },
        _ => error,
    }
}

/// A value as the text that goes into JSON.
pub(crate) fn value_text(operation: Operation, value: &SecretValue) -> Result<&str, CallError> {
    value.expose_str().ok_or_else(|| refused_here(operation, "the value is not UTF-8"))
}

/// A JSON body.
pub(crate) fn json(operation: Operation, body: &impl Serialize) -> Result<Body, CallError> {
    serde_json::to_vec(body)
        .map(Body::Json)
        .map_err(|_| refused_here(operation, "the request cannot be written as JSON"))
}

/// A field that is of use only if it is text, and no reason to refuse an answer if it is not.
pub(crate) fn lenient_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    Ok(match serde_json::Value::deserialize(deserializer)? {
        serde_json::Value::String(text) => Some(text),
        _ => None,
    })
}

/// The same for an id, which may be a number.
pub(crate) fn lenient_id<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    Ok(match serde_json::Value::deserialize(deserializer)? {
        serde_json::Value::String(text) => Some(text),
        serde_json::Value::Number(number) => Some(number.to_string()),
        _ => None,
    })
}
