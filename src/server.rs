//! `/healthz`, `/readyz` and `/metrics` over HTTP.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::extract::{RawQuery, State};
use axum::http::header::{ACCEPT, CONTENT_TYPE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::IntoResponse;
use axum::routing::get;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::metrics::{self, Metrics};

/// How long a client may take to send a request's head, or be silent between two requests.
const HEADER_LIMIT: Duration = Duration::from_secs(10);

/// How long one connection lives; then it may finish its request and is closed.
const CONNECTION_LIMIT: Duration = Duration::from_secs(120);

/// How long a request that is under way may hold up a closing connection.
const CLOSE_LIMIT: Duration = Duration::from_secs(5);

/// Connections at one time; more wait in the kernel's queue.
const CONNECTIONS: usize = 64;

/// Greatest request head, with all headers.
const HEAD_BYTES: usize = 16 << 10;

/// Pause after a connection could not be accepted, which mostly means that file descriptors have run out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// What must hold before the operator does its work. Gates are in the order in which they were made.
#[derive(Debug, Default)]
pub struct Readiness {
    gates: Mutex<Vec<(&'static str, Option<String>)>>,
    /// Who leads, while this replica stands by.
    leader: Mutex<Option<String>>,
}

/// One thing that must hold. It does not hold until [`Gate::pass`].
#[derive(Clone, Debug)]
pub struct Gate {
    readiness: Arc<Readiness>,
    name: &'static str,
}

impl Readiness {
    /// No gates yet, so not ready.
    #[must_use]
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// The gate of that name; made closed the first time.
    #[must_use]
    pub fn gate(self: &Arc<Self>, name: &'static str) -> Gate {
        let mut gates = self.gates();
        if !gates.iter().any(|(known, _)| *known == name) {
            gates.push((name, Some("not yet".to_owned())));
        }
        Gate { readiness: Arc::clone(self), name }
    }

    /// This replica stands by, ready to take over from that leader; `None`: it leads, or there is no telling.
    pub fn stand_by(&self, leader: Option<&str>) {
        *self.leader.lock().unwrap_or_else(PoisonError::into_inner) = leader.map(str::to_owned);
    }

    fn leader(&self) -> Option<String> {
        self.leader.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether this replica stands by, or every gate is open, and there is one.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        if self.leader().is_some() {
            return true;
        }
        let gates = self.gates();
        !gates.is_empty() && gates.iter().all(|(_, reason)| reason.is_none())
    }

    fn gates(&self) -> MutexGuard<'_, Vec<(&'static str, Option<String>)>> {
        self.gates.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, name: &'static str, reason: Option<String>) {
        if let Some(gate) = self.gates().iter_mut().find(|(known, _)| *known == name) {
            gate.1 = reason;
        }
    }

    /// The answer to `/readyz`: closed gates with their reasons, or with `verbose` all gates.
    pub(crate) fn report(&self, verbose: bool) -> (bool, String) {
        if let Some(leader) = self.leader() {
            return (true, format!("[+] standing by: {leader} leads\nready\n"));
        }
        let gates = self.gates().clone();
        let ready = !gates.is_empty() && gates.iter().all(|(_, reason)| reason.is_none());
        let mut text = String::new();
        for (name, reason) in &gates {
            match reason {
                Some(reason) => text.push_str(&format!("[-] {name}: {reason}\n")),
                None if verbose => text.push_str(&format!("[+] {name}\n")),
                None => {}
            }
        }
        text.push_str(if ready { "ready\n" } else { "not ready\n" });
        (ready, text)
    }
}

impl Gate {
    /// It holds.
    pub fn pass(&self) {
        self.readiness.set(self.name, None);
    }

    /// It does not hold, and why: one line for a person.
    pub fn fail(&self, reason: impl AsRef<str>) {
        let line = reason.as_ref().split_whitespace().collect::<Vec<_>>().join(" ");
        self.readiness.set(self.name, Some(line));
    }
}

/// Nothing can listen at the address.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {error}; choose another address with --listen")]
pub struct BindError {
    address: SocketAddr,
    error: std::io::Error,
}

/// The HTTP server, listening and not answering yet.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
}

impl Server {
    /// Listens; port 0 is a free one.
    ///
    /// # Errors
    /// When the address is taken, is not this machine's, or may not be used.
    pub async fn bind(address: SocketAddr) -> Result<Self, BindError> {
        let wrong = |error| BindError { address, error };
        let listener = TcpListener::bind(address).await.map_err(wrong)?;
        let address = listener.local_addr().map_err(wrong)?;
        Ok(Self { listener, address })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers until told to stop, and then finishes the requests that are under way.
    pub async fn serve(self, readiness: Arc<Readiness>, metrics: Arc<Metrics>, stop: CancellationToken) {
        let router = router(readiness, metrics);
        let places = Arc::new(Semaphore::new(CONNECTIONS));
        let tasks = TaskTracker::new();
        let accept = async {
            // The semaphore is never closed, so this ends only from outside.
            while let Ok(place) = Arc::clone(&places).acquire_owned().await {
                match self.listener.accept().await {
                    Ok((stream, _)) => {
                        let connection = connection(stream, router.clone(), stop.clone());
                        tasks.spawn(async move {
                            connection.await;
                            drop(place);
                        });
                    }
                    Err(error) => {
                        tracing::debug!(%error, "a connection cannot be accepted");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                }
            }
        };
        tokio::select! {
            () = accept => {}
            () = stop.cancelled() => {}
        }
        drop(self.listener);
        tasks.close();
        tasks.wait().await;
    }
}

/// One connection, from its first request to its end.
async fn connection(stream: TcpStream, router: Router, stop: CancellationToken) {
    let mut connection = pin!(
        hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEADER_LIMIT)
            .max_buf_size(HEAD_BYTES)
            .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router))
    );
    tokio::select! {
        // A client that breaks off is its own business.
        _ = connection.as_mut() => return,
        () = stop.cancelled() => {}
        () = tokio::time::sleep(CONNECTION_LIMIT) => {}
    }
    connection.as_mut().graceful_shutdown();
    let _ = tokio::time::timeout(CLOSE_LIMIT, connection).await;
}

fn router(readiness: Arc<Readiness>, metrics: Arc<Metrics>) -> Router {
    Router::new()
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz).with_state(readiness))
        .route("/metrics", get(show_metrics).with_state(metrics))
}

/// Liveness. That it is answered at all is the whole check: it runs on the runtime that does the work, so a runtime whose
/// threads are all held up does not answer. A broken remote or API server is nothing that a restart would mend.
async fn healthz() -> Result<&'static str, Infallible> {
    Ok("ok\n")
}

async fn readyz(State(readiness): State<Arc<Readiness>>, RawQuery(query): RawQuery) -> (StatusCode, String) {
    let verbose = query.is_some_and(|query| query.split('&').any(|part| part.split('=').next() == Some("verbose")));
    let (ready, text) = readiness.report(verbose);
    (if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }, text)
}

/// OpenMetrics where it is asked for, as Prometheus does.
async fn show_metrics(State(metrics): State<Arc<Metrics>>, headers: HeaderMap) -> impl IntoResponse {
    let asked = headers.get_all(ACCEPT).into_iter().filter_map(|value| value.to_str().ok());
    if asked.into_iter().any(metrics::classic::wants_open_metrics) {
        ([(CONTENT_TYPE, metrics::CONTENT_TYPE)], metrics.encode())
    } else {
        ([(CONTENT_TYPE, metrics::classic::CONTENT_TYPE)], metrics.encode_classic())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::task::JoinHandle;

    use super::*;

    struct Running {
        address: SocketAddr,
        readiness: Arc<Readiness>,
        stop: CancellationToken,
        task: JoinHandle<()>,
    }

    async fn start() -> Running {
        let server = Server::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.expect("a free port");
        let (address, readiness, stop) = (server.address(), Readiness::new(), CancellationToken::new());
        let task = tokio::spawn(server.serve(Arc::clone(&readiness), Metrics::new(), stop.clone()));
        Running { address, readiness, stop, task }
    }

    impl Running {
        /// Sends one request over a connection of its own; status line, head and body of the answer.
        async fn ask(&self, request: &str) -> (String, String, String) {
            let mut stream = TcpStream::connect(self.address).await.expect("a connection");
            stream.write_all(request.as_bytes()).await.expect("sent");
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.expect("an answer");
            let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
            (head.lines().next().expect("a status").to_owned(), head.to_owned(), body.to_owned())
        }

        async fn get(&self, path: &str) -> (String, String) {
            let (status, _, body) =
                self.ask(&format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")).await;
            (status, body)
        }
    }

    #[tokio::test]
    async fn readiness_follows_its_gates() {
        let server = start().await;
        assert_eq!(server.get("/readyz").await, ("HTTP/1.1 503 Service Unavailable".into(), "not ready\n".into()));
        let api = server.readiness.gate("api server reached");
        let keys = server.readiness.gate("key ring loaded");
        api.pass();
        keys.fail("Secret ops/vaultsecret-key-ring:\n  403 Forbidden");
        let body = "[-] key ring loaded: Secret ops/vaultsecret-key-ring: 403 Forbidden\nnot ready\n";
        assert_eq!(server.get("/readyz").await, ("HTTP/1.1 503 Service Unavailable".into(), body.into()));
        assert_eq!(server.get("/readyz?verbose").await.1, format!("[+] api server reached\n{body}"));
        assert!(!server.readiness.is_ready());
        // The same name is the same gate.
        server.readiness.gate("key ring loaded").pass();
        assert_eq!(server.get("/readyz").await, ("HTTP/1.1 200 OK".into(), "ready\n".into()));
        let all = "[+] api server reached\n[+] key ring loaded\nready\n";
        assert_eq!(server.get("/readyz?verbose=1").await.1, all);
        assert!(server.readiness.is_ready());
        api.fail("gone");
        assert_eq!(server.get("/readyz").await.1, "[-] api server reached: gone\nnot ready\n");
    }

    #[tokio::test]
    async fn liveness_does_not_depend_on_readiness() {
        let server = start().await;
        server.readiness.gate("api server reached").fail("down");
        assert_eq!(server.get("/healthz").await, ("HTTP/1.1 200 OK".into(), "ok\n".into()));
    }

    #[tokio::test]
    async fn metrics_are_in_the_format_that_is_asked_for() {
        let server = start().await;
        let accept = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.4,*/*;q=0.1";
        let request = format!("GET /metrics HTTP/1.1\r\nHost: x\r\nAccept: {accept}\r\nConnection: close\r\n\r\n");
        let (status, head, body) = server.ask(&request).await;
        assert_eq!(status, "HTTP/1.1 200 OK");
        assert!(head.contains("content-type: application/openmetrics-text; version=1.0.0; charset=utf-8"), "{head}");
        assert!(body.ends_with("# EOF\n"), "{body}");
        let (_, head, body) = server.ask("GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await;
        assert!(head.contains("content-type: text/plain; version=0.0.4; charset=utf-8"), "{head}");
        assert!(body.contains("\n# TYPE vaultsecret_probes_total counter\n") && !body.contains("# EOF"), "{body}");
    }

    #[tokio::test]
    async fn nothing_else_is_served() {
        let server = start().await;
        assert_eq!(server.get("/").await.0, "HTTP/1.1 404 Not Found");
        let post = "POST /readyz HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
        assert_eq!(server.ask(post).await.0, "HTTP/1.1 405 Method Not Allowed");
        let long = format!("GET / HTTP/1.1\r\nHost: x\r\nX: {}\r\n\r\n", "a".repeat(HEAD_BYTES));
        assert_eq!(server.ask(&long).await.0, "HTTP/1.1 431 Request Header Fields Too Large");
    }

    #[tokio::test]
    async fn it_stops_when_told_to_even_with_an_idle_client() {
        let server = start().await;
        let mut idle = TcpStream::connect(server.address).await.expect("a connection");
        idle.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").await.expect("sent");
        let mut answer = [0; 12];
        idle.read_exact(&mut answer).await.expect("an answer");
        assert_eq!(&answer, b"HTTP/1.1 200");
        server.stop.cancel();
        server.task.await.expect("it ends");
        let mut rest = Vec::new();
        idle.read_to_end(&mut rest).await.expect("the connection is closed");
        assert!(TcpStream::connect(server.address).await.is_err());
    }

    #[tokio::test]
    async fn an_address_in_use_is_said_in_one_sentence() {
        let server = start().await;
        let error = Server::bind(server.address).await.expect_err("taken").to_string();
        let start = format!("cannot listen on {}: Address already in use", server.address);
        assert!(error.starts_with(&start) && error.ends_with("choose another address with --listen"), "{error}");
        assert_eq!(error.lines().count(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_says_nothing_is_cut_off() {
        let server = start().await;
        let mut silent = TcpStream::connect(server.address).await.expect("a connection");
        silent.write_all(b"GET /healthz HT").await.expect("sent");
        let mut answer = Vec::new();
        // Time is paused and goes on by itself while everybody waits, so this takes no time; without the limit it would
        // not end.
        silent.read_to_end(&mut answer).await.expect("the connection is closed");
        assert_eq!(answer, b"");
    }
}
