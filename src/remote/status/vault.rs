//! What Vault and OpenBao mean by a status. Both say the same in the same words; where their words are looked at, it is
//! because a status alone does not tell.

use reqwest::StatusCode;
use serde_json::Value;

use crate::remote::{ErrorClass, Operation};

/// The class of an answer, where it is another than that of any HTTP API.
pub(super) fn class(operation: Operation, status: StatusCode, body: &Value) -> Option<ErrorClass> {
    Some(match (operation, status.as_u16()) {
        // A wrong secret id is a 400, a service account that the role does not know a 403.
        (Operation::Login, 400 | 401 | 403) => ErrorClass::Authentication,
        (Operation::Create, 400) if says(body, "check-and-set") => ErrorClass::Exists,
        (Operation::Update, 400) if says(body, "check-and-set") => ErrorClass::Stale,
        (_, 403) if refuses_token(body) => ErrorClass::Authentication,
        // A mount or a namespace that is not there must not pass for an entry that is gone.
        (_, 404) if says_anything(body) => ErrorClass::Refused,
        (_, 503) if says(body, "sealed") => ErrorClass::RefusedClean,
        // A standby, of one kind or another, that passes nothing on; or one that has not caught up yet.
        (_, 412 | 472 | 473) => ErrorClass::RefusedClean,
        _ => return None,
    })
}

/// What there is to say about it, where it is more than the class says.
pub(super) fn meaning(operation: Operation, status: StatusCode, body: &Value) -> Option<&'static str> {
    Some(match status.as_u16() {
        307 | 308 => {
            "this server sends its clients to another one, which is not followed; let the URL name the active server"
        }
        400 | 401 | 403 if operation == Operation::Login => "the credential was not accepted",
        403 if refuses_token(body) => "the token was not accepted; it has expired or was revoked",
        403 => "the token's policies do not allow it",
        404 if operation == Operation::Login => "there is no such auth method, are namespace and mount right?",
        404 if says_anything(body) => "there is no such secrets engine, are namespace and mount right?",
        412 => "this server has not caught up yet",
        472 | 473 => "this server is a standby that takes no requests",
        503 if says(body, "sealed") => "the server is sealed",
        _ => return None,
    })
}

/// Whether a 403 is for a token that is dead. That reads `permission denied` alone, or with `invalid token` or `bad token`
/// beside it; what a good token's policies do not allow reads `1 error occurred: * permission denied`.
pub(super) fn refuses_token(body: &Value) -> bool {
    errors(body).any(|error| {
        error.trim() == "permission denied" || error.contains("invalid token") || error.contains("bad token")
    })
}

fn errors(body: &Value) -> impl Iterator<Item = &str> {
    body.get("errors").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str)
}

fn says(body: &Value, words: &str) -> bool {
    errors(body).any(|error| error.contains(words))
}

fn says_anything(body: &Value) -> bool {
    errors(body).next().is_some()
}
