//! What an answer's status means, by provider and operation. Pure, and the only place that looks into the body of an
//! error; nothing of it gets out but a class and a wait.

mod vault;

use jiff::Timestamp;
use reqwest::StatusCode;
use serde_json::Value;

use super::client::Answer;
use super::{CallError, ErrorClass, Operation, Provider, retry_after};

/// The error that an answer other than 2xx stands for. `provider` is `None` for a token endpoint.
pub(crate) fn refusal(provider: Option<Provider>, answer: &Answer, now: Timestamp) -> CallError {
    let body = serde_json::from_slice(answer.body_or_empty()).unwrap_or(Value::Null);
    let class = class(provider, answer.operation, answer.status, &body);
    let hints: &[&str] = if provider == Some(Provider::Mixpeek) { &retry_after::MIXPEEK } else { &[] };
    let error = error(answer, class, hints, &body, now);
    let vaults =
        (provider == Some(Provider::Vault)).then(|| vault::meaning(answer.operation, answer.status, &body)).flatten();
    match vaults {
        Some(what) => CallError { message: sentence(answer, what), ..error },
        None => error,
    }
}

/// The error of an answer whose class is known. `hints` are the places where its body may say how long to wait.
pub(crate) fn error(
    answer: &Answer,
    class: ErrorClass,
    hints: &[impl AsRef<str>],
    body: &Value,
    now: Timestamp,
) -> CallError {
    let header = answer.retry_after.as_ref().and_then(|value| value.to_str().ok());
    CallError {
        operation: answer.operation,
        class,
        status: Some(answer.status.as_u16()),
        retry_after: retry_after::wanted(hints, header, body, answer.date, now),
        message: sentence(answer, meaning(class, answer.operation, answer.status)),
    }
}

fn sentence(answer: &Answer, what: &str) -> String {
    format!("{} was answered with {}: {what}", answer.operation.as_str(), status_text(answer.status))
}

/// The class of a status.
pub(crate) fn class(provider: Option<Provider>, operation: Operation, status: StatusCode, body: &Value) -> ErrorClass {
    if provider == Some(Provider::Vault)
        && let Some(class) = vault::class(operation, status, body)
    {
        return class;
    }
    if operation == Operation::Login && matches!(status.as_u16(), 400 | 401) {
        return ErrorClass::Authentication;
    }
    let mixpeek = provider == Some(Provider::Mixpeek);
    match status.as_u16() {
        400 | 422 if operation == Operation::Create && mixpeek && mixpeek_says_exists(body) => ErrorClass::Exists,
        400 | 422 => ErrorClass::Invalid,
        401 => ErrorClass::Authentication,
        403 => ErrorClass::Forbidden,
        404 | 410 if matches!(operation, Operation::Update | Operation::Delete) => ErrorClass::NotFound,
        409 if operation == Operation::Create => ErrorClass::Exists,
        // The server gave up waiting for us; what it had read of the request by then is not known.
        408 => ErrorClass::Timeout,
        425 => ErrorClass::Unavailable,
        429 if provider == Some(Provider::Dreadnode) && dreadnode_says_no_credit(body) => ErrorClass::NoCredits,
        429 if mixpeek && mixpeek_retryable(body) == Some(false) => ErrorClass::NoCredits,
        429 => ErrorClass::RateLimited,
        503 if mixpeek && mixpeek_retryable(body) == Some(false) => ErrorClass::Refused,
        503 if mixpeek && mixpeek_stored_nothing(body) => ErrorClass::RefusedClean,
        500.. => ErrorClass::Unavailable,
        _ => ErrorClass::Refused,
    }
}

/// Whether an answer says that the token, and not what it was used for, is what is wrong.
pub(crate) fn refuses_token(provider: Provider, answer: &Answer) -> bool {
    match answer.status.as_u16() {
        401 => true,
        403 if provider == Provider::Vault => {
            vault::refuses_token(&serde_json::from_slice(answer.body_or_empty()).unwrap_or(Value::Null))
        }
        _ => false,
    }
}

fn dreadnode_says_no_credit(body: &Value) -> bool {
    body.get("detail").and_then(Value::as_str).is_some_and(|detail| detail.to_ascii_lowercase().contains("credit"))
}

/// Mixpeek's error object, in its newer or its older nesting.
fn mixpeek_error(body: &Value) -> Option<&Value> {
    body.get("error").or_else(|| body.pointer("/detail/error")).filter(|error| error.is_object())
}

fn mixpeek_text<'a>(body: &'a Value, field: &str) -> &'a str {
    mixpeek_error(body).and_then(|error| error.get(field)?.as_str()).unwrap_or_default()
}

/// Which status a taken name has is not declared, so its other forms are known too.
fn mixpeek_says_exists(body: &Value) -> bool {
    let code = mixpeek_text(body, "code");
    mixpeek_text(body, "type") == "AlreadyExistsError"
        || code.ends_with("_exists")
        || code.ends_with("_taken")
        || mixpeek_text(body, "message").to_ascii_lowercase().contains("already exists")
}

fn mixpeek_retryable(body: &Value) -> Option<bool> {
    mixpeek_error(body)?.pointer("/details/retryable")?.as_bool()
}

/// A 503 that the API itself made (a proxy in front of it knows no such fields): such a write stored nothing.
fn mixpeek_stored_nothing(body: &Value) -> bool {
    mixpeek_retryable(body).is_some() || mixpeek_text(body, "type") == "WriterReadOnlyError"
}

fn status_text(status: StatusCode) -> String {
    match status.canonical_reason() {
        Some(reason) => format!("{} {reason}", status.as_u16()),
        None => status.as_u16().to_string(),
    }
}

fn meaning(class: ErrorClass, operation: Operation, status: StatusCode) -> &'static str {
    match class {
        ErrorClass::Exists => "an entry of that name exists",
        ErrorClass::NotFound => "there is no such entry",
        ErrorClass::Stale => "somebody else wrote the entry meanwhile",
        ErrorClass::Invalid => "the remote does not take the request",
        ErrorClass::Forbidden => "the credential lacks the permission",
        ErrorClass::Authentication => "the credential was not accepted",
        ErrorClass::RateLimited => "too many requests",
        ErrorClass::NoCredits => "the account has used up what it may use",
        ErrorClass::RefusedClean => "the remote takes no writes now and stored nothing",
        ErrorClass::Unavailable | ErrorClass::Timeout => "the remote is in trouble",
        _ if status.is_redirection() => "redirects are not followed, is the URL right?",
        _ if matches!(status.as_u16(), 404 | 410) && operation == Operation::Login => {
            "there is nothing to log in at, are URL and realm right?"
        }
        _ if matches!(status.as_u16(), 404 | 410) => "there is no such API, is the URL right?",
        _ if status.as_u16() == 426 => "the remote wants an upgrade, of the plan or of the client",
        _ => "the remote refused the request",
    }
}
