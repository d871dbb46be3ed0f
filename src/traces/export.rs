//! How spans get to a collector.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig as _, WithHttpConfig as _};
use tokio::runtime::Handle;

/// Limit of one delivery.
const LIMIT: Duration = Duration::from_secs(5);

/// Traces cannot be sent.
#[derive(Debug, thiserror::Error)]
pub enum TracesError {
    /// The HTTP client cannot be made.
    #[error("the HTTP client for traces cannot be set up")]
    Client,
    /// The endpoint is of no use.
    #[error("traces cannot be sent to --otlp-endpoint: write it like http://collector:4318")]
    Endpoint,
}

/// An exporter for the collector at an endpoint; where the endpoint has no path, it is the usual one.
pub(super) fn exporter(endpoint: &url::Url) -> Result<SpanExporter, TracesError> {
    let mut endpoint = endpoint.clone();
    if matches!(endpoint.path(), "" | "/") {
        endpoint.set_path("/v1/traces");
    }
    let tls = crate::remote::tls::client_config(None, None).map_err(|_| TracesError::Client)?;
    let client = reqwest::Client::builder().tls_backend_preconfigured(tls).timeout(LIMIT).build();
    let client = Sender {
        client: client.map_err(|_| TracesError::Client)?,
        runtime: Handle::current(),
        fails: AtomicBool::new(false),
    };
    SpanExporter::builder()
        .with_http()
        .with_http_client(client)
        .with_protocol(Protocol::HttpBinary)
        .with_endpoint(endpoint)
        .with_timeout(LIMIT)
        .build()
        .map_err(|_| TracesError::Endpoint)
}

/// Sends on the operator's runtime: the exporter has a thread of its own, without one.
#[derive(Debug)]
struct Sender {
    client: reqwest::Client,
    runtime: Handle,
    /// The last delivery failed, and that was said.
    fails: AtomicBool,
}

impl Sender {
    fn note(&self, problem: Option<String>) {
        let failed = self.fails.swap(problem.is_some(), Ordering::Relaxed);
        match problem {
            Some(problem) if !failed => tracing::warn!(problem, "traces are not delivered"),
            None if failed => tracing::info!("traces are delivered again"),
            _ => {}
        }
    }
}

#[async_trait::async_trait]
impl HttpClient for Sender {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let (parts, body) = request.into_parts();
        let call = self.client.request(parts.method, parts.uri.to_string()).headers(parts.headers).body(body);
        let sent = self.runtime.spawn(async move {
            let answer = call.send().await?;
            let mut response = Response::builder().status(answer.status());
            if let Some(headers) = response.headers_mut() {
                headers.clone_from(answer.headers());
            }
            Ok::<_, reqwest::Error>((response, answer.bytes().await?))
        });
        // The error of a request names its address, which may hold a password.
        match sent.await? {
            Ok((response, body)) => {
                let response = response.body(body)?;
                let status = response.status();
                self.note((!status.is_success()).then(|| format!("the collector answered {}", status.as_u16())));
                Ok(response)
            }
            Err(error) => {
                let what = if error.is_timeout() { "no answer in time" } else { "no connection" };
                self.note(Some(what.to_owned()));
                Err(what.into())
            }
        }
    }
}
