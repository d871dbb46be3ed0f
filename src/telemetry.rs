//! The log: text or JSON on stderr, and never a value or a token in it, whatever level is asked for.
//!
//! Our own types have no `Debug` that shows a value. Other crates know nothing of that: `hyper`, `h2` and `kube_client`
//! write headers, frames and whole bodies at debug and trace. So a second filter stands behind the user's: events and
//! spans of other crates come through from info upwards only, whatever the user's filter says. It lists who may say
//! more, not who may not, so that a new dependency is covered.
//!
//! One module is held back further: `kube_client::client` writes the whole body of an answer that it cannot decode as a
//! warning, and that body may be a Secret. The error itself reaches us in the result of the call.
//!
//! Records of the `log` crate (`reqwest`, `rustls`) are not collected at all: no bridge is installed.

use std::io::IsTerminal as _;

use tracing::subscriber::Interest;
use tracing::{Level, Metadata, Subscriber};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::{Context, SubscriberExt as _};
use tracing_subscriber::{EnvFilter, Layer, Registry};

/// What is logged when nobody says anything.
const DEFAULT_FILTER: &str = "info";

/// How the log is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// A line for a person.
    Text,
    /// One JSON object a line.
    Json,
}

/// The log cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The filter cannot be read.
    #[error("`{0}` is not a log level or filter; write it like info or info,vaultsecret_operator=debug")]
    Filter(String),
    /// Somebody else was first.
    #[error("the log is set up already")]
    Again,
}

/// The filter to use: the flag's, else `RUST_LOG`'s, else info. An empty one counts as not given.
#[must_use]
pub fn filter_text<'a>(flag: Option<&'a str>, rust_log: Option<&'a str>) -> &'a str {
    [flag, rust_log].into_iter().flatten().map(str::trim).find(|text| !text.is_empty()).unwrap_or(DEFAULT_FILTER)
}

/// Reads a filter.
///
/// # Errors
/// When it is neither a level nor a list of directives.
pub fn filter(text: &str) -> Result<EnvFilter, TelemetryError> {
    EnvFilter::try_new(text).map_err(|_| TelemetryError::Filter(text.to_owned()))
}

/// Starts the log of this process.
///
/// # Errors
/// When the filter cannot be read, or the log was started before.
pub fn init(format: LogFormat, filter_text: &str) -> Result<(), TelemetryError> {
    let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let ansi = std::io::stderr().is_terminal() && !no_color;
    let subscriber = subscriber(format, filter(filter_text)?, ansi, std::io::stderr);
    tracing::subscriber::set_global_default(subscriber).map_err(|_| TelemetryError::Again)
}

fn subscriber<W>(format: LogFormat, filter: EnvFilter, ansi: bool, writer: W) -> impl Subscriber + Send + Sync
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let layer = tracing_subscriber::fmt::layer().with_writer(writer).with_ansi(ansi);
    let output = match format {
        LogFormat::Text => layer.boxed(),
        LogFormat::Json => layer.json().flatten_event(true).with_span_list(false).boxed(),
    };
    Registry::default().with(filter).with(PayloadCap).with(output)
}

/// Holds back what may show a payload; see the module's documentation.
struct PayloadCap;

/// Whether an event or span may come through.
fn is_harmless(target: &str, level: Level) -> bool {
    let root = target.split("::").next().unwrap_or(target);
    match (root, target) {
        ("vaultsecret_operator" | "vaultsecret", _) => true,
        (_, "kube_client::client") => level <= Level::ERROR,
        _ => level <= Level::INFO,
    }
}

impl<S: Subscriber> Layer<S> for PayloadCap {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        if is_harmless(metadata.target(), *metadata.level()) { Interest::always() } else { Interest::never() }
    }

    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        is_harmless(metadata.target(), *metadata.level())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use std::io;
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("sink").extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Sink {
        fn text(&self) -> String {
            String::from_utf8(self.0.lock().expect("sink").clone()).expect("UTF-8")
        }
    }

    fn logged(format: LogFormat, filter_text: &str, work: impl FnOnce()) -> String {
        let sink = Sink::default();
        let writer = sink.clone();
        let subscriber = subscriber(format, filter(filter_text).expect("a filter"), false, move || writer.clone());
        tracing::subscriber::with_default(subscriber, work);
        sink.text()
    }

    #[test]
    fn other_crates_are_capped_whatever_is_asked_for() {
        for asked in ["trace", "trace,hyper=trace,h2=trace,kube_client=trace", "hyper=trace,vaultsecret_operator=trace"]
        {
            let text = logged(LogFormat::Text, asked, || {
                tracing::trace!("ours at trace");
                tracing::trace!(target: "hyper", "hyper at trace");
                tracing::debug!(target: "hyper::proto::h1::conn", "hyper at debug");
                tracing::debug!(target: "kube_client::client", "kube at debug");
                tracing::trace!(target: "some_new_crate", "stranger at trace");
                tracing::debug!(target: "vaultsecret_operator_fake", "impostor at debug");
                tracing::warn!(target: "hyper", "hyper at warn");
            });
            assert!(text.contains("ours at trace") && text.contains("hyper at warn"), "{asked}: {text}");
            assert_eq!(text.lines().count(), 2, "{asked}: {text}");
        }
    }

    #[test]
    fn spans_of_other_crates_are_capped_too() {
        let text = logged(LogFormat::Text, "trace", || {
            let span = tracing::debug_span!(target: "kube_client::client::builder", "HTTP", header = "Bearer abc");
            let ours = tracing::debug_span!("reconcile", object = "shop/checkout");
            span.in_scope(|| ours.in_scope(|| tracing::info!("inside")));
        });
        assert!(text.contains("inside") && text.contains("shop/checkout") && !text.contains("Bearer"), "{text}");
    }

    #[test]
    fn the_users_filter_still_counts() {
        let text = logged(LogFormat::Text, "warn", || {
            tracing::info!("ours at info");
            tracing::info!(target: "hyper", "hyper at info");
            tracing::warn!("ours at warn");
        });
        assert_eq!(text.lines().count(), 1, "{text}");
        assert!(text.contains("ours at warn"));
    }

    #[test]
    fn json_is_one_object_a_line() {
        let text = logged(LogFormat::Json, "info", || tracing::info!(connection = "shop/kelvin", "two\nlines"));
        assert_eq!(text.lines().count(), 1, "{text}");
        let line: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!((&line["level"], &line["message"]), (&"INFO".into(), &"two\nlines".into()));
        assert_eq!(line["connection"], "shop/kelvin");
    }

    #[test]
    fn the_flag_wins_over_rust_log() {
        assert_eq!(filter_text(Some("debug"), Some("trace")), "debug");
        assert_eq!(filter_text(None, Some("trace")), "trace");
        assert_eq!(filter_text(Some(""), Some(" ")), "info");
        assert_eq!(filter_text(None, None), "info");
        assert!(filter("hyper=loud").expect_err("no level").to_string().contains("`hyper=loud`"));
    }

    /// Asks a server that answers with a Secret of a wrong shape, and gives back what kube's client logged.
    fn logged_of_an_undecodable_secret(subscriber: impl Subscriber + Send + Sync + 'static, sink: &Sink) -> String {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let dispatch = tracing::Dispatch::new(subscriber);
        tracing::dispatcher::with_default(&dispatch, || {
            runtime.block_on(async {
                let answer = r#"{"kind":"Secret","metadata":{"name":"x"},"data":{"k":["czNjcjN0"]}}"#;
                let router = axum::Router::new().fallback(move || async move { answer });
                let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
                let url = format!("http://{}", listener.local_addr().expect("an address"));
                tokio::spawn(async move { axum::serve(listener, router).await });
                let client = kube::Client::try_from(kube::Config::new(url.parse().expect("a URL"))).expect("a client");
                let secrets: kube::Api<k8s_openapi::api::core::v1::Secret> = kube::Api::namespaced(client, "shop");
                secrets.get("x").await.expect_err("the answer cannot be decoded");
            });
        });
        sink.text()
    }

    #[test]
    fn kubes_client_does_not_log_a_secret_that_it_cannot_decode() {
        let (capped, open) = (Sink::default(), Sink::default());
        let writer = capped.clone();
        let ours = subscriber(LogFormat::Text, filter("trace").expect("a filter"), false, move || writer.clone());
        let text = logged_of_an_undecodable_secret(ours, &capped);
        assert!(!text.contains("czNjcjN0"), "{text}");
        // Without the cap it does: this test would see it.
        let writer = open.clone();
        let layer = tracing_subscriber::fmt::layer().with_writer(move || writer.clone());
        assert!(logged_of_an_undecodable_secret(Registry::default().with(layer), &open).contains("czNjcjN0"));
    }
}
