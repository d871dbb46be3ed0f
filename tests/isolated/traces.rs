//! Traces: what a collector gets, and what it never gets.

use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Uri};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Attribute;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;
use serde_json::json;

use crate::common::{Kind, Scene, entry};

/// A collector that keeps what it gets: path, content type, body.
#[derive(Clone, Default)]
struct Collector(Arc<Mutex<Vec<(String, String, Bytes)>>>);

impl Collector {
    async fn start() -> (Self, String) {
        async fn take(State(collector): State<Collector>, uri: Uri, headers: HeaderMap, body: Bytes) {
            let kind = headers["content-type"].to_str().unwrap().to_owned();
            collector.0.lock().unwrap_or_else(PoisonError::into_inner).push((uri.path().to_owned(), kind, body));
        }
        let collector = Self::default();
        let router = Router::new().fallback(take).with_state(collector.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await });
        (collector, endpoint)
    }

    fn all(&self) -> Vec<(String, String, Bytes)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn spans(&self) -> Vec<Span> {
        let requests = self.all().into_iter().map(|(_, _, body)| ExportTraceServiceRequest::decode(body).unwrap());
        let scopes = requests.flat_map(|request| request.resource_spans).flat_map(|spans| spans.scope_spans);
        scopes.flat_map(|scope| scope.spans).collect()
    }
}

fn text(span: &Span, name: &str) -> String {
    let found = span.attributes.iter().find(|attribute| attribute.key == format!("vaultsecret.{name}"));
    match found.and_then(|attribute| attribute.value.clone()?.value) {
        Some(Attribute::StringValue(text)) => text,
        Some(Attribute::IntValue(number)) => number.to_string(),
        _ => String::new(),
    }
}

#[tokio::test]
async fn a_reconcile_is_traced_with_its_calls_and_no_value() {
    let (collector, endpoint) = Collector::start().await;
    let scene = Scene::isolated("traces", &[&format!("--otlp-endpoint={endpoint}"), "--log-level=error"]).await;
    let remote = scene.remote(Kind::Mixpeek).await;
    scene.connect(&remote).await;
    let value = scene.canary("value");
    scene.source("source", &[("value", &value)]).await;
    let data = json!([entry("VALUE", "canary_name", "source/value")]);
    scene.vault_secret("app", json!({"connectionRef": {"name": remote.kind().member()}, "data": data})).await;
    scene.ready("app").await;
    remote.stop().await;
    scene.set_source("source", "value", &scene.canary("second")).await;

    let of_app = |span: &&Span| span.name == "reconcile" && text(span, "name") == "app";
    let child = |operation: &str, class: &str| {
        let spans = collector.spans();
        let reconciles: Vec<_> = spans.iter().filter(of_app).map(|span| (&span.trace_id, &span.span_id)).collect();
        let call = spans.iter().find(|span| {
            span.name == "remote call"
                && (text(span, "operation").as_str(), text(span, "status_class").as_str()) == (operation, class)
                && reconciles.contains(&(&span.trace_id, &span.parent_span_id))
        });
        call.cloned()
    };
    scene.eventually("a call within its reconcile", async || child("create", "2xx")).await;
    scene.eventually("a call without an answer", async || child("update", "none")).await;
    // What is left is delivered when the process ends.
    scene.operator.stop().await;

    let call = child("create", "2xx").unwrap();
    assert_eq!(text(&call, "connection"), format!("{}/mixpeek", scene.namespace));
    assert_eq!(text(&call, "attempt"), "1");
    assert!(call.end_time_unix_nano > call.start_time_unix_nano);
    let spans = collector.spans();
    let reconcile = spans.iter().find(|span| span.span_id == call.parent_span_id).unwrap();
    assert_eq!(
        (text(reconcile, "kind").as_str(), text(reconcile, "namespace")),
        ("VaultSecret", scene.namespace.clone())
    );
    assert!(spans.iter().filter(of_app).any(|span| text(span, "outcome") == "ok"), "{spans:?}");
    for (path, kind, body) in collector.all() {
        assert_eq!((path.as_str(), kind.as_str()), ("/v1/traces", "application/x-protobuf"));
        for secret in ["canary", "VALUE", "Bearer"] {
            let there = body.windows(secret.len()).any(|window| window == secret.as_bytes());
            assert!(!there, "{secret} is in a trace");
        }
    }
}

/// A collector that is away is said once, and nothing else suffers.
#[tokio::test]
async fn without_its_collector_the_operator_works() {
    let scene = Scene::isolated("untraced", &["--otlp-endpoint=http://127.0.0.1:1"]).await;
    scene.synced(Kind::Mixpeek, json!({})).await;
    scene.eventually("it is said", async || scene.operator.log_since(0).contains("traces are not delivered")).await;
    scene.operator.stop().await;
}
