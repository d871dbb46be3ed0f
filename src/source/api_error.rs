//! What the API server answered, without its words.
//!
//! A refusal may repeat what it refuses: a Secret's data, base64 or plain, in the message of an admission webhook, in a
//! decoding error, in the body of a proxy. So nothing of a message is kept except forms that are known to be harmless:
//! the permission that is missing, the name of a webhook or policy, the names of the fields that are wrong.

use std::collections::BTreeSet;

use kube::core::Status;

/// How a request failed, as far as a caller has to tell cases apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ApiFailure {
    /// 404.
    NotFound,
    /// 409 on a create.
    AlreadyExists,
    /// 409: the object changed, or a precondition does not hold.
    Conflict,
    /// 403: no permission, or an admission webhook said no.
    Forbidden,
    /// 403: a resource quota is used up.
    QuotaExceeded,
    /// 400 or 422: the object is not acceptable.
    Invalid,
    /// 413.
    TooLarge,
    /// 401, 429, 5xx: worth another try later.
    Unavailable,
    /// No answer at all.
    Unreachable,
    /// An answer that is not what the API server would send.
    Unreadable,
}

/// A request to the API server that failed. Holds nothing of what was sent, nor of the answer's free text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot {doing}: {}", self.reason())]
pub struct ApiError {
    /// What was being done, such as `read Secret "a" in namespace shop`.
    pub doing: String,
    /// How it failed.
    pub failure: ApiFailure,
    /// HTTP status, where there was an answer.
    pub status: Option<u16>,
    /// What is known to be harmless of the answer.
    pub detail: Option<String>,
}

impl ApiError {
    /// Keeps what is harmless of a client error.
    #[must_use]
    pub fn new(doing: impl Into<String>, error: &kube::Error) -> Self {
        let (failure, status, detail) = match error {
            kube::Error::Api(status) => {
                let failure = classify(status);
                (failure, (status.code != 0).then_some(status.code), detail(failure, status))
            }
            kube::Error::SerdeError(_) | kube::Error::FromUtf8(_) => (ApiFailure::Unreadable, None, None),
            _ => (ApiFailure::Unreachable, None, None),
        };
        Self { doing: doing.into(), failure, status, detail }
    }

    fn reason(&self) -> String {
        let word = match self.failure {
            ApiFailure::NotFound => "not found",
            ApiFailure::AlreadyExists => "it exists already",
            ApiFailure::Conflict => "it changed meanwhile",
            ApiFailure::Forbidden => "forbidden",
            ApiFailure::QuotaExceeded => "forbidden, a resource quota of the namespace is used up",
            ApiFailure::Invalid => "the API server does not accept it",
            ApiFailure::TooLarge => "it is too large",
            ApiFailure::Unavailable => "the API server could not serve the request",
            ApiFailure::Unreachable => "no answer from the API server",
            ApiFailure::Unreadable => "the answer of the API server cannot be read",
        };
        let status = self.status.map(|s| format!(" (status {s})")).unwrap_or_default();
        let detail = self.detail.as_ref().map(|d| format!(": {d}")).unwrap_or_default();
        format!("{word}{status}{detail}")
    }
}

fn classify(status: &Status) -> ApiFailure {
    match (status.code, status.reason.as_str()) {
        (_, "AlreadyExists") => ApiFailure::AlreadyExists,
        (404, _) | (_, "NotFound") => ApiFailure::NotFound,
        (409, _) | (_, "Conflict") => ApiFailure::Conflict,
        (403, _) | (_, "Forbidden") if status.message.contains("exceeded quota") => ApiFailure::QuotaExceeded,
        (403, _) | (_, "Forbidden") => ApiFailure::Forbidden,
        (413, _) => ApiFailure::TooLarge,
        (400 | 422, _) | (_, "Invalid" | "BadRequest") => ApiFailure::Invalid,
        _ => ApiFailure::Unavailable,
    }
}

fn detail(failure: ApiFailure, status: &Status) -> Option<String> {
    if let Some(name) = quoted(&status.message, "admission webhook \"", '"') {
        return Some(format!("admission webhook {name} refused it"));
    }
    if let Some(name) = quoted(&status.message, "ValidatingAdmissionPolicy '", '\'') {
        return Some(format!("ValidatingAdmissionPolicy {name} refused it"));
    }
    match failure {
        ApiFailure::Forbidden if status.message.contains("because it is being terminated") => {
            Some("the namespace is being deleted".to_owned())
        }
        ApiFailure::Forbidden => permission(&status.message),
        ApiFailure::Invalid => {
            let causes = status.details.as_ref().map(|d| d.causes.as_slice()).unwrap_or_default();
            let fields: BTreeSet<&str> = causes.iter().map(|c| c.field.as_str()).filter(|f| harmless(f, 300)).collect();
            let fields: Vec<&str> = fields.into_iter().take(5).collect();
            (!fields.is_empty()).then(|| format!("look at {}", fields.join(", ")))
        }
        _ => None,
    }
}

/// `<user> cannot get resource "secrets" …`, as the authorizer writes it, reduced to verb and resource.
fn permission(message: &str) -> Option<String> {
    let (_, tail) = message.split_once(" cannot ")?;
    let (verb, tail) = tail.split_once(" resource \"")?;
    let (resource, _) = tail.split_once('"')?;
    (harmless(verb, 32) && harmless(resource, 64))
        .then(|| format!("the operator's role does not allow it to {verb} {resource}"))
}

fn quoted(message: &str, before: &str, after: char) -> Option<String> {
    let (_, tail) = message.split_once(before)?;
    let (name, _) = tail.split_once(after)?;
    harmless(name, 253).then(|| name.to_owned())
}

/// Names of fields, webhooks and resources look like this; a message that carries data does not.
fn harmless(text: &str, longest: usize) -> bool {
    !text.is_empty()
        && text.len() <= longest
        && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '/' | '[' | ']'))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use kube::core::response::StatusDetails;

    use super::*;

    fn api(code: u16, reason: &str, message: &str) -> kube::Error {
        kube::Error::Api(Status::failure(message, reason).with_code(code).boxed())
    }

    #[test]
    fn an_answer_that_repeats_the_value_is_not_repeated() {
        let errors = [
            api(422, "Invalid", "Secret \"a\" is invalid: data[x]: Invalid value: \"aHVudGVyMg==\" hunter2"),
            api(403, "Forbidden", "admission webhook \"w.example\" denied the request: found hunter2"),
            api(403, "Forbidden", "hunter2 cannot hunter2 resource \"hunter2 hunter2\""),
            api(500, "InternalError", "cannot write hunter2"),
            api(502, "Failed to parse error data", "<html>hunter2</html>"),
            kube::Error::SerdeError(serde_json::from_str::<u8>("\"hunter2\"").unwrap_err()),
            kube::Error::FromUtf8(String::from_utf8(b"hunter2\xff".to_vec()).unwrap_err()),
        ];
        for error in errors {
            let shown = ApiError::new("create Secret \"a\"", &error);
            for text in [shown.to_string(), format!("{shown:?}")] {
                assert!(!text.contains("hunter2") && !text.contains("aHVudGVyMg"), "{text}");
            }
        }
    }

    #[test]
    fn what_helps_is_said() {
        let rbac = "secrets \"a\" is forbidden: User \"system:serviceaccount:x:y\" cannot update resource \"secrets\" in API group \"\" in the namespace \"shop\"";
        let cases = [
            (api(403, "Forbidden", rbac), "the operator's role does not allow it to update secrets"),
            (
                api(403, "Forbidden", "admission webhook \"deny.kyverno.svc-fail\" denied the request: no"),
                "admission webhook deny.kyverno.svc-fail refused it",
            ),
            (
                api(403, "Forbidden", "unable to create new content in namespace shop because it is being terminated"),
                "the namespace is being deleted",
            ),
            (api(403, "Forbidden", "secrets \"a\" is forbidden: exceeded quota: q"), "quota"),
        ];
        for (error, wanted) in cases {
            let text = ApiError::new("write Secret \"a\"", &error).to_string();
            assert!(text.starts_with("cannot write Secret \"a\": forbidden") && text.contains(wanted), "{text}");
        }
    }

    #[test]
    fn fields_that_are_wrong_are_named() {
        let details: StatusDetails = serde_json::from_value(serde_json::json!({
            "causes": [{"field": "data[tls.crt]"}, {"field": "data[tls.crt]"}, {"field": "has: a value"}]
        }))
        .unwrap();
        let status = Status::failure("secret", "Invalid").with_code(422).with_details(details);
        let error = ApiError::new("create Secret \"a\"", &kube::Error::Api(status.boxed()));
        assert_eq!(error.failure, ApiFailure::Invalid);
        assert_eq!(error.detail.as_deref(), Some("look at data[tls.crt]"));
    }
}
