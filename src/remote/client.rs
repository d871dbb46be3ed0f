//! The HTTP client that all providers use: one request out, one answer in, no retries, no redirects.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::{ACCEPT, CONTENT_LENGTH, CONTENT_TYPE, DATE, HOST, HeaderMap, HeaderValue, LINK, RETRY_AFTER};
use reqwest::{Method, StatusCode};
use rustls::pki_types::ServerName;
use url::{Host, Url};

use super::{BuildError, CallError, ErrorClass, Operation, RemoteConfig, stamp, tls, transport};

const USER_AGENT: &str = concat!("vaultsecret-operator/", env!("CARGO_PKG_VERSION"));
/// Common servers close a connection that was idle for five seconds. Ours go first: a request sent into a connection
/// that is being closed would leave a write in doubt.
const IDLE: Duration = Duration::from_secs(4);
/// Connections that are kept for the next request.
const MAX_IDLE: usize = 4;
/// No answer is read beyond this.
const MAX_BODY: usize = 16 * 1024 * 1024;
/// Everything but the unreserved characters of RFC 3986.
pub(crate) const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// A client of one base URL. No `Debug`: it holds keys.
pub(crate) struct Http {
    client: reqwest::Client,
    base: Url,
    disguise: Option<Disguise>,
    /// Sent with every request.
    headers: HeaderMap,
}

/// How a server is reached under another name than it must prove to have: the URL's host becomes that name, so that
/// both SNI and verification use it, while the address and the `Host` header stay those of the real host.
struct Disguise {
    server_name: String,
    host_header: HeaderValue,
}

/// One request. No `Debug`: its body holds a value or a credential.
pub(crate) struct Request {
    pub(crate) operation: Operation,
    pub(crate) method: Method,
    pub(crate) url: Url,
    /// Besides those that every request has, and in their place where both are given.
    pub(crate) headers: HeaderMap,
    pub(crate) body: Body,
}

impl Request {
    /// A request with the usual headers.
    pub(crate) fn new(operation: Operation, method: Method, url: Url, body: Body) -> Self {
        Self { operation, method, url, headers: HeaderMap::new(), body }
    }
}

/// A request's body.
pub(crate) enum Body {
    None,
    Json(Vec<u8>),
    /// A JSON merge patch.
    MergePatch(Vec<u8>),
    Form(String),
}

/// One answer. No `Debug`: its body may echo a value.
pub(crate) struct Answer {
    pub(crate) operation: Operation,
    pub(crate) status: StatusCode,
    /// The remote's clock.
    pub(crate) date: Option<Timestamp>,
    pub(crate) retry_after: Option<HeaderValue>,
    /// `Link` headers, joined.
    pub(crate) link: String,
    /// `Err` when it broke off, took too long or was too long.
    pub(crate) body: Result<Vec<u8>, ErrorClass>,
}

impl Http {
    /// The client of a remote.
    pub(crate) fn new(config: &RemoteConfig) -> Result<Self, BuildError> {
        Self::at(config, config.url.clone(), config.server_name.as_deref())
    }

    /// The client of another host that belongs to the remote, under the same rules for TLS.
    pub(crate) fn elsewhere(config: &RemoteConfig, base: Url) -> Result<Self, BuildError> {
        Self::at(config, base, None)
    }

    fn at(config: &RemoteConfig, base: Url, server_name: Option<&str>) -> Result<Self, BuildError> {
        check_url(&base)?;
        if config.timeout.is_zero() {
            return Err(BuildError("the timeout must be longer than nothing".to_owned()));
        }
        let tls = tls::client_config(config.ca_bundle.as_deref(), config.client_identity.as_ref())?;
        let mut builder = reqwest::Client::builder()
            .tls_backend_preconfigured(tls)
            .http1_only()
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .referer(false)
            .user_agent(USER_AGENT)
            .timeout(config.timeout)
            // Shorter than the whole, so that a connection that cannot be made is known as such and leaves no doubt.
            .connect_timeout(config.timeout.div_f32(2.0))
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(MAX_IDLE);
        let disguise = disguise(&base, server_name)?;
        if let (Some(_), Some(host)) = (&disguise, base.host()) {
            builder = builder.dns_resolver(Arc::new(Elsewhere(plain_host(&host))));
        }
        // A proxy would be asked for the disguised name; and what is on this host is not behind one.
        if disguise.is_some() || is_loopback(&base) {
            builder = builder.no_proxy();
        }
        let client = builder.build().map_err(|_| BuildError("the HTTP client cannot be set up".to_owned()))?;
        Ok(Self { client, base, disguise, headers: HeaderMap::new() })
    }

    /// Sends these headers with every request.
    pub(crate) fn with_headers(self, headers: HeaderMap) -> Self {
        Self { headers, ..self }
    }

    /// The base URL.
    pub(crate) fn base(&self) -> &Url {
        &self.base
    }

    /// The URL of a path below the base URL. Each segment is encoded, with no character let through that could end it.
    pub(crate) fn url(&self, prefix: &str, segments: &[&str]) -> Url {
        let mut path = format!("{}{prefix}", self.base.path().trim_end_matches('/'));
        for segment in segments {
            path.push('/');
            path.extend(utf8_percent_encode(segment, SEGMENT));
        }
        let mut url = self.base.clone();
        url.set_path(&path);
        url
    }

    /// Sends a request and reads its answer, whatever its status.
    pub(crate) async fn send(&self, request: &Request, authorization: &HeaderMap) -> Result<Answer, CallError> {
        let operation = request.operation;
        let mut headers = self.headers.clone();
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        let mut url = request.url.clone();
        if let Some(disguise) = &self.disguise {
            headers.insert(HOST, disguise.host_header.clone());
            url.set_host(Some(&disguise.server_name))
                .map_err(|_| refused_here(operation, "the server name cannot stand in a URL"))?;
        }
        let (kind, body) = match &request.body {
            Body::None => (None, None),
            Body::Json(bytes) => (Some("application/json"), Some(bytes.clone())),
            Body::MergePatch(bytes) => (Some("application/merge-patch+json"), Some(bytes.clone())),
            Body::Form(text) => (Some("application/x-www-form-urlencoded"), Some(text.clone().into_bytes())),
        };
        if let Some(kind) = kind {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        }
        if body.is_none() && request.method == Method::POST {
            // Some proxies want a length even of nothing.
            headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
        }
        for (name, value) in request.headers.iter().chain(authorization) {
            headers.insert(name.clone(), value.clone());
        }
        let mut builder = self.client.request(request.method.clone(), url).headers(headers);
        if let Some(body) = body {
            builder = builder.body(body);
        }
        super::count::sent();
        let mut response = builder.send().await.map_err(|error| transport::failure(operation, &error))?;
        let text = |name| response.headers().get(name).cloned();
        let date = text(DATE).and_then(|value| stamp::http_date(value.to_str().ok()?));
        let retry_after = text(RETRY_AFTER);
        let links = response.headers().get_all(LINK).iter().filter_map(|value| value.to_str().ok());
        let link = links.collect::<Vec<_>>().join(", ");
        let status = response.status();
        let body = read(&mut response).await;
        Ok(Answer { operation, status, date, retry_after, link, body })
    }
}

impl Answer {
    /// The body, or nothing when it could not be read: for answers whose status says all that must be known.
    pub(crate) fn body_or_empty(&self) -> &[u8] {
        self.body.as_deref().unwrap_or_default()
    }

    /// The body of an answer that is worth nothing without it.
    pub(crate) fn required_body(&self) -> Result<&[u8], CallError> {
        self.body.as_deref().map_err(|class| {
            let what = match class {
                ErrorClass::Timeout => "the answer was not complete within the timeout",
                _ => "the answer broke off or is too long",
            };
            self.error(*class, what)
        })
    }

    /// An answer that arrived and is not what it should be.
    pub(crate) fn unreadable(&self, what: &str) -> CallError {
        self.error(ErrorClass::Unreadable, what)
    }

    fn error(&self, class: ErrorClass, what: &str) -> CallError {
        CallError {
            operation: self.operation,
            class,
            status: Some(self.status.as_u16()),
            retry_after: None,
            message: format!("{} failed: {what}", self.operation.as_str()),
        }
    }
}

/// A call that is refused on our side, before anything is sent.
pub(crate) fn refused_here(operation: Operation, why: &str) -> CallError {
    CallError {
        operation,
        class: ErrorClass::Invalid,
        status: None,
        retry_after: None,
        message: format!("{} was not sent: {why}", operation.as_str()),
    }
}

async fn read(response: &mut reqwest::Response) -> Result<Vec<u8>, ErrorClass> {
    let mut body = Vec::new();
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) if body.len() + chunk.len() <= MAX_BODY => body.extend_from_slice(&chunk),
            Ok(Some(_)) => return Err(ErrorClass::Unreadable),
            Ok(None) => return Ok(body),
            Err(error) if error.is_timeout() => return Err(ErrorClass::Timeout),
            Err(_) => return Err(ErrorClass::Unreadable),
        }
    }
}

fn check_url(url: &Url) -> Result<(), BuildError> {
    let problem = if !matches!(url.scheme(), "https" | "http") {
        "must begin with https://"
    } else if url.host_str().is_none_or(str::is_empty) {
        "has no host"
    } else if !url.username().is_empty() || url.password().is_some() {
        "must not hold credentials"
    } else if url.query().is_some() || url.fragment().is_some() {
        "must end with its path"
    } else {
        return Ok(());
    };
    Err(BuildError(format!("the URL {problem}")))
}

fn disguise(base: &Url, server_name: Option<&str>) -> Result<Option<Disguise>, BuildError> {
    let Some(server_name) = server_name.filter(|name| !name.is_empty() && base.scheme() == "https") else {
        return Ok(None);
    };
    if !matches!(ServerName::try_from(server_name), Ok(ServerName::DnsName(_))) {
        return Err(BuildError("the TLS server name is not a DNS name".to_owned()));
    }
    let mut host = base.host_str().unwrap_or_default().to_owned();
    if let Some(port) = base.port() {
        host = format!("{host}:{port}");
    }
    let host_header =
        HeaderValue::from_str(&host).map_err(|_| BuildError("the URL's host cannot stand in a header".to_owned()))?;
    Ok(Some(Disguise { server_name: server_name.to_owned(), host_header }))
}

fn plain_host(host: &Host<&str>) -> String {
    match host {
        Host::Domain(name) => (*name).to_owned(),
        Host::Ipv4(address) => address.to_string(),
        Host::Ipv6(address) => address.to_string(),
    }
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

/// Resolves every name to the addresses of one host.
struct Elsewhere(String);

impl Resolve for Elsewhere {
    fn resolve(&self, _: Name) -> Resolving {
        let host = self.0.clone();
        Box::pin(async move {
            // Port 0 stands for the URL's own.
            let addresses: Vec<_> = tokio::net::lookup_host((host, 0)).await?.collect();
            Ok(Box::new(addresses.into_iter()) as Addrs)
        })
    }
}
