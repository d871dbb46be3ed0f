//! What stands between operator and OpenBao: it counts, and loses answers when it is told to.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// A request that came by.
#[derive(Clone, Debug)]
pub struct Call {
    /// Method and path with query, below `/v1/`.
    pub line: String,
    /// Status of the answer, as OpenBao gave it.
    pub status: u16,
    /// Whether the answer was passed on.
    pub answered: bool,
}

#[derive(Default)]
struct Shared {
    calls: Mutex<Vec<Call>>,
    /// Beginning of the lines whose answers are lost, and how many more.
    lose: Mutex<Option<(String, usize)>>,
}

/// The proxy. It ends with this value.
pub struct Proxy {
    /// Its address.
    pub url: String,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

#[derive(Clone)]
struct Upstream {
    url: String,
    client: reqwest::Client,
    shared: Arc<Shared>,
}

impl Proxy {
    /// Passes on to the server at `url`.
    pub async fn start(url: &str) -> Self {
        let shared = Arc::new(Shared::default());
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let upstream = Upstream { url: url.to_owned(), client, shared: Arc::clone(&shared) };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new().fallback(pass_on).with_state(upstream);
        let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { url, shared, task }
    }

    /// What came by so far.
    pub fn calls(&self) -> Vec<Call> {
        self.shared.calls.lock().unwrap().clone()
    }

    /// How many calls begin like that.
    pub fn count(&self, line: &str) -> usize {
        self.calls().iter().filter(|call| call.line.starts_with(line)).count()
    }

    /// The calls that change an entry or its metadata.
    pub fn mutations(&self) -> Vec<Call> {
        let of_entries = |call: &Call| call.line.contains("/data/") || call.line.contains("/metadata/");
        self.calls().into_iter().filter(|call| !call.line.starts_with("GET ") && of_entries(call)).collect()
    }

    /// How many lists were begun.
    pub fn lists(&self) -> usize {
        self.calls().iter().filter(|call| call.line.contains("metadata/") && call.line.contains("list=true")).count()
    }

    /// Loses the answers to the next so many calls that begin like that.
    pub fn lose(&self, line: &str, times: usize) {
        *self.shared.lose.lock().unwrap() = Some((line.to_owned(), times));
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn pass_on(
    State(up): State<Upstream>,
    method: Method,
    uri: Uri,
    mut headers: HeaderMap,
    body: Bytes,
) -> Response {
    headers.remove("host");
    let line = format!("{method} {}", uri.to_string().trim_start_matches("/v1/"));
    let request = up.client.request(method, format!("{}{uri}", up.url)).headers(headers).body(body);
    let Ok(answer) = request.send().await else { return StatusCode::BAD_GATEWAY.into_response() };
    let status = answer.status();
    let mut headers = answer.headers().clone();
    headers.remove("transfer-encoding");
    let body = answer.bytes().await.unwrap_or_default();
    let lost = {
        let mut lose = up.shared.lose.lock().unwrap();
        match lose.as_mut() {
            Some((beginning, left)) if *left > 0 && line.starts_with(&**beginning) => {
                *left -= 1;
                true
            }
            _ => false,
        }
    };
    up.shared.calls.lock().unwrap().push(Call { line, status: status.as_u16(), answered: !lost });
    if lost {
        std::future::pending::<()>().await;
    }
    (status, headers, body).into_response()
}
