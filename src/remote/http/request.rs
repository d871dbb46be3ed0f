//! A described request: method, path, headers and body with placeholders, and the request that comes of them.

use reqwest::Method;
use reqwest::header::{HeaderMap, HeaderName};
use serde_json::Value;
use url::Url;

use super::body::{BodyError, BodyTemplate, header_value};
use super::path::{PathError, PathTemplate};
use super::template::{Template, Values};
use crate::api::http::{HttpField, HttpHeader, HttpList, HttpLogin, HttpMethod, HttpOperation};
use crate::remote::client::{Request, refused_here};
use crate::remote::{CallError, Operation};

/// Headers that the client makes itself, or that would change how a request is read.
const OWN_HEADERS: [&str; 12] = [
    "host",
    "content-length",
    "transfer-encoding",
    "connection",
    "keep-alive",
    "te",
    "trailer",
    "upgrade",
    "expect",
    "proxy-authorization",
    "proxy-connection",
    "accept-encoding",
];

/// A described request. No `Debug` of what it makes: a body holds a value.
#[derive(Debug)]
pub(crate) struct RequestTemplate {
    operation: Operation,
    method: Method,
    path: PathTemplate,
    headers: Vec<(HeaderName, Template)>,
    body: BodyTemplate,
}

/// What a request is described by.
pub(crate) struct Parts<'a> {
    pub(crate) operation: Operation,
    pub(crate) method: Method,
    pub(crate) path: &'a str,
    pub(crate) headers: Vec<&'a HttpHeader>,
    pub(crate) json: Option<&'a Value>,
    pub(crate) form: Option<&'a [HttpField]>,
}

/// Which placeholders may stand where.
pub(crate) struct Allowed<'a> {
    /// In the path and its query.
    pub(crate) path: &'a [&'a str],
    /// In headers.
    pub(crate) headers: &'a [&'a str],
    /// In the body.
    pub(crate) body: &'a [&'a str],
}

impl<'a> Parts<'a> {
    /// The parts of an operation that changes something.
    pub(crate) fn of_operation(
        operation: Operation,
        method: Method,
        spec: &'a HttpOperation,
        common: &'a [HttpHeader],
    ) -> Self {
        Self {
            operation,
            method: spec.method.map_or(method, http_method),
            path: &spec.path,
            headers: common.iter().chain(&spec.headers).collect(),
            json: spec.json.as_ref(),
            form: spec.form.as_deref(),
        }
    }

    /// The parts of the list.
    pub(crate) fn of_list(spec: &'a HttpList, common: &'a [HttpHeader]) -> Self {
        Self {
            operation: Operation::List,
            method: spec.method.map_or(Method::GET, http_method),
            path: &spec.path,
            headers: common.iter().chain(&spec.headers).collect(),
            json: spec.json.as_ref(),
            form: spec.form.as_deref(),
        }
    }

    /// The parts of a login at this path.
    pub(crate) fn of_login(spec: &'a HttpLogin, path: &'a str) -> Self {
        Self {
            operation: Operation::Login,
            method: spec.method.map_or(Method::POST, http_method),
            path,
            headers: spec.headers.iter().collect(),
            json: spec.json.as_ref(),
            form: spec.form.as_deref(),
        }
    }
}

impl RequestTemplate {
    /// Reads the description; the error is a sentence without its subject.
    pub(crate) fn parse(parts: &Parts<'_>, allowed: &Allowed<'_>) -> Result<Self, String> {
        let mut headers: Vec<(HeaderName, Template)> = Vec::new();
        for header in &parts.headers {
            let name = header_name(&header.name)?;
            let template = Template::parse(&header.value, allowed.headers)
                .map_err(|error| format!("header {}: {error}", header.name))?;
            if template.is_fixed() && header_value(&header.value).is_none() {
                return Err(format!("header {} is not one line of ASCII", header.name));
            }
            // What an operation says of a header replaces what all say of it.
            headers.retain(|(known, _)| *known != name);
            headers.push((name, template));
        }
        let body = BodyTemplate::parse(parts.json, parts.form, allowed.body)?;
        if parts.method == Method::GET && !matches!(body, BodyTemplate::None) {
            return Err("a GET has no body".to_owned());
        }
        let path = PathTemplate::parse(parts.path, allowed.path).map_err(|error| format!("path: {error}"))?;
        Ok(Self { operation: parts.operation, method: parts.method.clone(), path, headers, body })
    }

    /// Whether a placeholder of that name is in the path, a header or the body.
    pub(crate) fn uses(&self, name: &str) -> bool {
        self.path.uses(name) || self.headers.iter().any(|(_, template)| template.uses(name)) || self.body.uses(name)
    }

    /// Whether a placeholder of that name is in the body.
    pub(crate) fn body_uses(&self, name: &str) -> bool {
        self.body.uses(name)
    }

    /// The request, with everything in its place.
    pub(crate) fn render(&self, base: &Url, values: Values<'_>) -> Result<Request, CallError> {
        let refused = |why: &str| refused_here(self.operation, why);
        let url = self.path.url(base, values).map_err(|error| match error {
            PathError::Absent(absent) => refused(absent_text(&absent.0)),
            PathError::Segment => refused("the entry's name or id cannot stand in a path"),
        })?;
        let mut headers = HeaderMap::new();
        for (name, template) in &self.headers {
            let text = template.text(values).map_err(|absent| refused(absent_text(&absent.0)))?;
            let value =
                header_value(&text).ok_or_else(|| refused("the entry's name or id cannot stand in a header"))?;
            headers.insert(name.clone(), value);
        }
        let body = self.body.render(values).map_err(|error| match error {
            BodyError::Absent(absent) => refused(absent_text(&absent.0)),
            BodyError::SameKey => refused("the entry's name is another key of the body"),
            BodyError::Json => refused("the request cannot be written as JSON"),
        })?;
        Ok(Request { headers, ..Request::new(self.operation, self.method.clone(), url, body) })
    }
}

/// A header's name that a description may set.
pub(crate) fn header_name(name: &str) -> Result<HeaderName, String> {
    let shown: String = name.chars().take(40).collect();
    let known = HeaderName::from_bytes(name.as_bytes()).map_err(|_| format!("{shown:?} is no name of a header"))?;
    if OWN_HEADERS.contains(&known.as_str()) {
        return Err(format!("the header {known} is made by the client"));
    }
    Ok(known)
}

fn absent_text(name: &str) -> &'static str {
    match name {
        "id" => "the entry's id is not known yet",
        _ => "a part of the request is not known",
    }
}

fn http_method(method: HttpMethod) -> Method {
    match method {
        HttpMethod::Get => Method::GET,
        HttpMethod::Post => Method::POST,
        HttpMethod::Put => Method::PUT,
        HttpMethod::Patch => Method::PATCH,
        HttpMethod::Delete => Method::DELETE,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use serde_json::json;

    use super::*;
    use crate::remote::ErrorClass;

    fn parse(operation: Value) -> Result<RequestTemplate, String> {
        let spec: HttpOperation = serde_json::from_value(operation).unwrap();
        let common = [HttpHeader { name: "X-Org".to_owned(), value: "acme".to_owned() }];
        let names = ["name", "id"];
        let allowed = Allowed { path: &names, headers: &names, body: &["name", "id", "value"] };
        RequestTemplate::parse(&Parts::of_operation(Operation::Update, Method::PUT, &spec, &common), &allowed)
    }

    fn render(template: &RequestTemplate, name: &str) -> Result<Request, CallError> {
        template.render(&"https://a.example".parse().unwrap(), Values(&[("name", name), ("value", "v")]))
    }

    #[test]
    fn a_request_is_put_together() {
        let template = parse(json!({"path": "/s/{{ name }}", "json": {"v": "{{ value }}"},
            "headers": [{"name": "x-entry", "value": "{{ name }}"}, {"name": "X-Org", "value": "shop"}]}))
        .unwrap();
        let request = render(&template, "a").unwrap();
        assert_eq!((request.method, request.url.as_str()), (Method::PUT, "https://a.example/s/a"));
        assert_eq!(request.headers["x-entry"], "a");
        assert_eq!(request.headers["x-org"], "shop");
        assert!(template.body_uses("value") && template.uses("name") && !template.uses("id"));
    }

    #[test]
    fn a_name_begins_no_header_of_its_own() {
        let template = parse(json!({"path": "/s", "headers": [{"name": "x-entry", "value": "{{ name }}"}]})).unwrap();
        for name in ["a\r\nx-evil: 1", "a\n", "\0", "ключ"] {
            let error = render(&template, name).err().unwrap();
            assert_eq!(error.class, ErrorClass::Invalid);
            assert!(error.message.contains("header") && !error.message.contains("evil"), "{error}");
        }
    }

    #[test]
    fn mistakes_are_found_before_anything_is_sent() {
        for (operation, words) in [
            (json!({"path": "/s", "headers": [{"name": "Host", "value": "b"}]}), "made by the client"),
            (json!({"path": "/s", "headers": [{"name": "a b", "value": "b"}]}), "no name of a header"),
            (json!({"path": "/s", "headers": [{"name": "a", "value": "b\r\nc: d"}]}), "one line"),
            (json!({"path": "/s", "headers": [{"name": "a", "value": "{{ value }}"}]}), "header a: \"value\" is no"),
            (json!({"path": "/s/{{ value }}"}), "path: \"value\" is no placeholder"),
            (json!({"method": "GET", "path": "/s", "json": {}}), "a GET has no body"),
            (json!({"path": "/s", "json": {}, "form": []}), "exclude each other"),
            (json!({"path": "/s", "json": ["{{ token }}"]}), "\"token\" is no placeholder"),
        ] {
            let error = parse(operation.clone()).unwrap_err();
            assert!(error.contains(words), "{operation}: {error}");
        }
    }
}
