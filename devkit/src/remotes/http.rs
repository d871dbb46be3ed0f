//! A call as it came and an answer as it goes, free of any provider.

use hyper::body::Bytes;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE};
use hyper::http::request::Parts;
use hyper::{HeaderMap, Method};
use jiff::Timestamp;
use percent_encoding::percent_decode_str;
use serde_json::{Map, Value};

use super::log::AuthKind;

/// A call with its whole body.
pub(crate) struct Call {
    pub(crate) method: Method,
    pub(crate) path: String,
    /// Decoded segments of the path.
    pub(crate) segments: Vec<String>,
    pub(crate) raw_query: Option<String>,
    pub(crate) query: Vec<(String, String)>,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) https: bool,
}

/// Why a body is no JSON object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BodyProblem {
    /// `Content-Type` is missing or another.
    ContentType,
    /// It cannot be parsed.
    Syntax,
    /// It is JSON, but no object.
    NotAnObject,
}

impl Call {
    pub(crate) fn new(parts: Parts, body: Bytes, https: bool) -> Self {
        let path = parts.uri.path().to_owned();
        let segments = path
            .strip_prefix('/')
            .unwrap_or(&path)
            .split('/')
            .map(|segment| percent_decode_str(segment).decode_utf8_lossy().into_owned())
            .collect();
        let raw_query = parts.uri.query().map(str::to_owned);
        let query = raw_query.as_deref().map(|query| form_urlencoded::parse(query.as_bytes()).into_owned().collect());
        Self {
            method: parts.method,
            path,
            segments,
            raw_query,
            query: query.unwrap_or_default(),
            headers: parts.headers,
            body,
            https,
        }
    }

    /// The decoded segments, to match on.
    pub(crate) fn route(&self) -> Vec<&str> {
        self.segments.iter().map(String::as_str).collect()
    }

    pub(crate) fn header(&self, name: impl hyper::header::AsHeaderName) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The token of `Authorization: Bearer`.
    pub(crate) fn bearer(&self) -> Option<&str> {
        let (scheme, token) = self.header(AUTHORIZATION)?.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then_some(token)
    }

    /// How the caller says who it is, going by the headers.
    pub(crate) fn auth_kind(&self) -> AuthKind {
        if self.headers.contains_key("x-api-key") {
            AuthKind::ApiKey
        } else if self.bearer().is_some() {
            AuthKind::Bearer
        } else if self.headers.contains_key(AUTHORIZATION) {
            AuthKind::Other
        } else {
            AuthKind::None
        }
    }

    /// Whether `Content-Type` is this, parameters aside.
    pub(crate) fn has_type(&self, wanted: &str) -> bool {
        let given = self.header(CONTENT_TYPE).and_then(|given| given.split(';').next());
        given.is_some_and(|given| given.trim().eq_ignore_ascii_case(wanted))
    }

    /// The body as a JSON object.
    pub(crate) fn object(&self) -> Result<Map<String, Value>, BodyProblem> {
        if !self.has_type("application/json") {
            return Err(BodyProblem::ContentType);
        }
        match serde_json::from_slice(&self.body) {
            Ok(Value::Object(object)) => Ok(object),
            Ok(_) => Err(BodyProblem::NotAnObject),
            Err(_) => Err(BodyProblem::Syntax),
        }
    }

    /// A string of the body, whatever else is wrong with the call; for the log and the faults.
    pub(crate) fn peek(&self, field: &str) -> Option<String> {
        let body: Value = serde_json::from_slice(&self.body).ok()?;
        body.get(field)?.as_str().map(str::to_owned)
    }

    /// Fields of a form body.
    pub(crate) fn form(&self) -> Vec<(String, String)> {
        form_urlencoded::parse(&self.body).into_owned().collect()
    }

    /// The address that the client used, without a path.
    pub(crate) fn base(&self) -> String {
        let scheme = if self.https { "https" } else { "http" };
        format!("{scheme}://{}", self.header("host").unwrap_or("localhost"))
    }
}

/// An answer.
#[derive(Clone)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: Vec<u8>,
    /// Whether what was asked was done.
    pub(crate) processed: bool,
}

impl Answer {
    /// Done, with a JSON body.
    pub(crate) fn done(status: u16, body: &Value) -> Self {
        Self { processed: true, ..Self::refused(status, body) }
    }

    /// Done, without a body.
    pub(crate) fn empty(status: u16) -> Self {
        Self { status, headers: Vec::new(), body: Vec::new(), processed: true }
    }

    /// Not done, with a JSON body.
    pub(crate) fn refused(status: u16, body: &Value) -> Self {
        let headers = vec![("content-type", "application/json".to_owned())];
        Self { status, headers, body: body.to_string().into_bytes(), processed: false }
    }

    /// Not done, with some other text.
    pub(crate) fn text(status: u16, kind: &str, body: &str) -> Self {
        Self {
            status,
            headers: vec![("content-type", kind.to_owned())],
            body: body.as_bytes().to_vec(),
            processed: false,
        }
    }

    pub(crate) fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }
}

/// How finely a remote writes moments down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Precision {
    /// `2026-04-15T12:00:00Z`
    Seconds,
    /// Three digits.
    Millis,
    /// Six digits.
    #[default]
    Micros,
    /// Nine digits.
    Nanos,
}

impl Precision {
    /// A moment in RFC 3339, UTC.
    pub(crate) fn write(self, at: Timestamp) -> String {
        let format = match self {
            Self::Seconds => "%Y-%m-%dT%H:%M:%SZ",
            Self::Millis => "%Y-%m-%dT%H:%M:%S.%3fZ",
            Self::Micros => "%Y-%m-%dT%H:%M:%S.%6fZ",
            Self::Nanos => "%Y-%m-%dT%H:%M:%S.%9fZ",
        };
        at.strftime(format).to_string()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    fn call(uri: &str, headers: &[(&'static str, &str)], body: &'static str) -> Call {
        let mut request = hyper::Request::builder().method("POST").uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        Call::new(request.body(()).unwrap().into_parts().0, Bytes::from_static(body.as_bytes()), false)
    }

    #[test]
    fn moments_have_as_many_digits_as_asked() {
        let at: Timestamp = "2025-11-24T07:06:03.694621Z".parse().unwrap();
        assert_eq!(Precision::Seconds.write(at), "2025-11-24T07:06:03Z");
        assert_eq!(Precision::Millis.write(at), "2025-11-24T07:06:03.694Z");
        assert_eq!(Precision::Micros.write(at), "2025-11-24T07:06:03.694621Z");
        assert_eq!(Precision::Nanos.write(at), "2025-11-24T07:06:03.694621000Z");
        let whole: Timestamp = "2026-04-15T12:00:00Z".parse().unwrap();
        assert_eq!(Precision::Micros.write(whole), "2026-04-15T12:00:00.000000Z");
    }

    #[test]
    fn a_segment_is_decoded_after_it_is_split() {
        assert_eq!(call("/a/b%2Fc/?x=1%20y", &[], "").route(), ["a", "b/c", ""]);
        assert_eq!(call("/a?x=1%20y&x=2", &[], "").query.len(), 2);
    }

    #[test]
    fn a_body_without_its_content_type_is_no_object() {
        let json = [("content-type", "application/json; charset=utf-8")];
        assert_eq!(call("/", &[], "{}").object(), Err(BodyProblem::ContentType));
        assert_eq!(call("/", &json, "{").object(), Err(BodyProblem::Syntax));
        assert_eq!(call("/", &json, "[]").object(), Err(BodyProblem::NotAnObject));
        assert!(call("/", &json, "{}").object().is_ok());
    }

    #[test]
    fn the_kind_of_credential_is_told_from_the_headers() {
        assert_eq!(call("/", &[], "").auth_kind(), AuthKind::None);
        assert_eq!(call("/", &[("authorization", "bearer x")], "").bearer(), Some("x"));
        assert_eq!(call("/", &[("authorization", "Basic x")], "").auth_kind(), AuthKind::Other);
        assert_eq!(call("/", &[("x-api-key", "x")], "").auth_kind(), AuthKind::ApiKey);
    }
}
