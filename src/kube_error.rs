//! Errors of the Kubernetes API server, without what its messages may repeat of our objects.

use thiserror::Error;

/// What a call to the API server came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ApiErrorKind {
    /// 404.
    NotFound,
    /// 409: another version, or it exists already.
    Conflict,
    /// 403.
    Forbidden,
    /// 400, 422: the object is refused.
    Invalid,
    /// An answer that says that nothing was done, such as 429.
    Refused,
    /// No answer, or one that leaves open whether it was done.
    Unknown,
}

/// A failed call to the API server. Its text is made from what was called and the status; the server's own message is
/// left out, because it can quote the object that was sent.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{call}: {text}")]
pub struct ApiError {
    /// What was tried, e.g. `writing the status`.
    pub call: &'static str,
    /// What it came to.
    pub kind: ApiErrorKind,
    text: String,
}

impl ApiError {
    /// Reads a client's error.
    #[must_use]
    pub fn new(call: &'static str, error: &kube::Error) -> Self {
        let (kind, text) = match error {
            kube::Error::Api(status) => {
                let kind = match status.code {
                    404 => ApiErrorKind::NotFound,
                    409 => ApiErrorKind::Conflict,
                    403 => ApiErrorKind::Forbidden,
                    400 | 422 => ApiErrorKind::Invalid,
                    429 => ApiErrorKind::Refused,
                    _ => ApiErrorKind::Unknown,
                };
                (kind, format!("the API server answered {} {}", status.code, status.reason))
            }
            _ => (ApiErrorKind::Unknown, "the API server did not answer".to_owned()),
        };
        Self { call, kind, text }
    }

    /// The call took too long.
    #[must_use]
    pub fn timeout(call: &'static str) -> Self {
        Self { call, kind: ApiErrorKind::Unknown, text: "the API server did not answer in time".to_owned() }
    }
}

/// Limit of one call to the API server. kube's client has no read timeout of its own, so a hung connection would hold a
/// reconcile for ever.
pub const CALL_LIMIT: std::time::Duration = std::time::Duration::from_secs(15);

/// Runs a call within [`CALL_LIMIT`] and reads its error.
///
/// # Errors
/// What the call came to.
pub async fn within<T>(
    call: &'static str,
    future: impl Future<Output = Result<T, kube::Error>>,
) -> Result<T, ApiError> {
    match tokio::time::timeout(CALL_LIMIT, future).await {
        Ok(result) => result.map_err(|error| ApiError::new(call, &error)),
        Err(_) => Err(ApiError::timeout(call)),
    }
}
