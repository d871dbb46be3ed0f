//! Traces, where somebody collects them: a span for each reconcile, and in it one for each call to a remote.
//!
//! They are not made of what is logged. What is exported is said here and nowhere else, so that no value, no token and no name of an
//! entry gets into it. Without an endpoint everything here does nothing.

mod export;

use std::time::{Duration, SystemTime};

use opentelemetry::context::FutureExt as _;
use opentelemetry::trace::{Span as _, SpanKind, Status, TraceContextExt as _, Tracer as _};
use opentelemetry::{Context, KeyValue, global};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SdkTracerProvider;

pub use export::TracesError;

/// Who speaks.
const SCOPE: &str = "vaultsecret-operator";

/// How long the last spans may take to be delivered when the process ends.
const LAST: Duration = Duration::from_secs(3);

/// Collects spans until it is ended.
#[derive(Debug)]
pub struct Traces(SdkTracerProvider);

impl Traces {
    /// Sends spans to a collector from now on, as OTLP over HTTP. To be called within a runtime.
    ///
    /// # Errors
    /// When the endpoint cannot be used.
    pub fn start(endpoint: &url::Url) -> Result<Self, TracesError> {
        let resource = Resource::builder()
            .with_service_name(SCOPE)
            .with_attributes([KeyValue::new("service.version", crate::cli::VERSION)])
            .build();
        let exporter = export::exporter(endpoint)?;
        let provider = SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource).build();
        global::set_tracer_provider(provider.clone());
        Ok(Self(provider))
    }

    /// Delivers what is left. Blocks for a while at most.
    pub fn end(&self) {
        if self.0.shutdown_with_timeout(LAST).is_err() {
            tracing::warn!("the last traces were not delivered");
        }
    }
}

/// Runs a reconcile in a span of its own.
pub async fn reconcile<T>(kind: &'static str, namespace: &str, name: &str, work: impl Future<Output = T>) -> T {
    let tracer = global::tracer(SCOPE);
    let attributes = [
        KeyValue::new("vaultsecret.kind", kind),
        KeyValue::new("vaultsecret.namespace", namespace.to_owned()),
        KeyValue::new("vaultsecret.name", name.to_owned()),
    ];
    let context = Context::new().with_span(tracer.span_builder("reconcile").with_attributes(attributes).start(&tracer));
    let done = work.with_context(context.clone()).await;
    context.span().end();
    done
}

/// Says how the reconcile ended that this is called in.
pub(crate) fn reconciled(outcome: &'static str) {
    let context = Context::current();
    let span = context.span();
    span.set_attribute(KeyValue::new("vaultsecret.outcome", outcome));
    if outcome == "error" {
        span.set_status(Status::error(""));
    }
}

/// A call to a remote that is over: a span in that of the reconcile that made it, if one did.
pub(crate) fn remote_call(
    connection: &str,
    operation: &'static str,
    class: &'static str,
    attempt: Option<u64>,
    took: Duration,
) {
    let parent = Context::current();
    let now = SystemTime::now();
    let tracer = global::tracer(SCOPE);
    let mut attributes = vec![
        KeyValue::new("vaultsecret.connection", connection.to_owned()),
        KeyValue::new("vaultsecret.operation", operation),
        KeyValue::new("vaultsecret.status_class", class),
    ];
    if let Some(attempt) = attempt.and_then(|number| i64::try_from(number).ok()) {
        attributes.push(KeyValue::new("vaultsecret.attempt", attempt));
    }
    let mut span = tracer
        .span_builder("remote call")
        .with_kind(SpanKind::Client)
        .with_start_time(now.checked_sub(took).unwrap_or(now))
        .with_attributes(attributes)
        .start_with_context(&tracer, &parent);
    if !matches!(class, "2xx" | "3xx") {
        span.set_status(Status::error(""));
    }
    span.end_with_timestamp(now);
}
