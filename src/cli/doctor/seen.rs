//! What was seen of a thing: it, that it is not there, or why it could not be looked at.

use k8s_openapi::jiff::Timestamp;
use kube::Client;
use kube::api::{Api, ListParams};
use serde::de::DeserializeOwned;

use crate::cli::cluster::every_page;
use crate::kube_error::{ApiError, ApiErrorKind, within};

/// What was seen of a thing.
#[derive(Clone, Debug, PartialEq)]
pub enum Seen<T> {
    /// It is this.
    Here(T),
    /// It is not there, or the cluster does not know its kind.
    Absent,
    /// Whoever calls may not look at it.
    Forbidden,
    /// It could not be looked at, and why.
    Unknown(String),
}

impl<T> Seen<T> {
    /// Reads an answer.
    #[must_use]
    pub fn of(answer: Result<Option<T>, ApiError>) -> Self {
        match answer {
            Ok(Some(found)) => Self::Here(found),
            Ok(None) => Self::Absent,
            Err(error) => match error.kind {
                ApiErrorKind::NotFound => Self::Absent,
                ApiErrorKind::Forbidden => Self::Forbidden,
                _ => Self::Unknown(error.to_string()),
            },
        }
    }

    /// What is there.
    #[must_use]
    pub fn here(&self) -> Option<&T> {
        match self {
            Self::Here(found) => Some(found),
            _ => None,
        }
    }

    /// Why it could not be looked at; `None` when it could. `action` is such as "read Lease a/b".
    #[must_use]
    pub fn unseen(&self, action: &str) -> Option<String> {
        match self {
            Self::Here(_) | Self::Absent => None,
            Self::Forbidden => Some(format!("you may not {action}")),
            Self::Unknown(why) => Some(why.clone()),
        }
    }
}

/// One object.
pub async fn get<K>(call: &'static str, api: &Api<K>, name: &str) -> Seen<K>
where
    K: Clone + DeserializeOwned + std::fmt::Debug,
{
    Seen::of(within(call, api.get_opt(name)).await)
}

/// All objects; absent when the cluster does not know the kind.
pub async fn list<K>(call: &'static str, api: &Api<K>, selector: &str) -> Seen<Vec<K>>
where
    K: Clone + DeserializeOwned + std::fmt::Debug,
{
    let params = match selector {
        "" => ListParams::default(),
        selector => ListParams::default().labels(selector),
    };
    Seen::of(every_page(params, async |params| within(call, api.list(params)).await).await.map(Some))
}

/// A raw answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// When it was sent, by the API server's clock.
    pub date: Option<Timestamp>,
    /// The body, as far as it is text.
    pub body: String,
}

/// Reads a path of the API server.
///
/// # Errors
/// When there is no answer.
pub async fn raw(client: &Client, path: &str) -> Result<Answer, String> {
    let request =
        axum::http::Request::get(path).body(kube::client::Body::empty()).map_err(|error| error.to_string())?;
    let ask = async {
        let response = client.send(request).await.map_err(|error| root_of(&error))?;
        let status = response.status().as_u16();
        let date = response.headers().get("date").and_then(|date| date.to_str().ok()).and_then(http_date);
        let body = response.into_body().collect_bytes().await.map_err(|error| root_of(&error))?;
        Ok(Answer { status, date, body: String::from_utf8_lossy(&body).into_owned() })
    };
    match tokio::time::timeout(crate::kube_error::CALL_LIMIT, ask).await {
        Ok(answer) => answer,
        Err(_) => Err("it does not answer in time".to_owned()),
    }
}

/// The innermost reason, which is the one that a person can do something about.
fn root_of(error: &dyn std::error::Error) -> String {
    let mut last = error;
    while let Some(source) = last.source() {
        last = source;
    }
    last.to_string()
}

/// A time such as `Thu, 26 Nov 2026 18:00:00 GMT`.
fn http_date(text: &str) -> Option<Timestamp> {
    let mut words = text.split_ascii_whitespace().skip(1);
    let (day, month, year, time) = (words.next()?, words.next()?, words.next()?, words.next()?);
    let months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let month = months.iter().position(|name| *name == month)? + 1;
    format!("{year}-{month:02}-{day:0>2}T{time}Z").parse().ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn dates_of_http_are_read() {
        let at = |text: &str| http_date(text).map(|at| at.to_string());
        assert_eq!(at("Thu, 26 Nov 2026 18:01:02 GMT").as_deref(), Some("2026-11-26T18:01:02Z"));
        assert_eq!(at("Fri, 1 Jan 2027 00:00:00 GMT").as_deref(), Some("2027-01-01T00:00:00Z"));
        for wrong in ["", "yesterday", "Thu, 26 Xxx 2026 18:01:02 GMT", "Thu, 32 Nov 2026 18:01:02 GMT"] {
            assert_eq!(at(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn what_was_not_seen_says_why() {
        assert_eq!(Seen::<()>::Forbidden.unseen("read it").as_deref(), Some("you may not read it"));
        assert_eq!(Seen::<()>::Absent.unseen("read it"), None);
        let timeout = Seen::<()>::of(Err(ApiError::timeout("reading it")));
        assert_eq!(timeout.unseen("read it").as_deref(), Some("reading it: the API server did not answer in time"));
    }
}
