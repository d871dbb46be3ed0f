//! Listening, and carrying out faults on a call.

use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures::{StreamExt as _, stream};
use http_body_util::{BodyExt as _, Limited, StreamBody};
use hyper::body::{Bytes, Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use super::faults::{Action, Faults};
use super::http::{Answer, Call};
use super::log::Op;
use super::shared::{Core, Provider};
use super::tls::TlsOptions;

/// Greatest body that is read.
const BODY_LIMIT: usize = 8 << 20;

/// Where a remote listens.
#[derive(Debug, Clone)]
pub struct Listen {
    /// Address.
    pub address: IpAddr,
    /// Port; 0 is a free one, which is then kept.
    pub port: u16,
    /// HTTPS instead of HTTP.
    pub tls: Option<TlsOptions>,
}

impl Default for Listen {
    fn default() -> Self {
        Self { address: Ipv4Addr::LOCALHOST.into(), port: 0, tls: None }
    }
}

/// The connection ends here, without an answer.
#[derive(Debug, thiserror::Error)]
#[error("the connection is cut")]
pub(crate) struct Cut;

type Body = http_body_util::combinators::UnsyncBoxBody<Bytes, Cut>;

/// What a running remote consists of; it stops when this is dropped.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    tasks: TaskTracker,
    stop: DropGuard,
}

impl Server {
    pub(crate) fn run<P: Provider>(
        core: Arc<Core<P>>,
        faults: Arc<Faults>,
        listener: TcpListener,
        address: SocketAddr,
        tls: Option<TlsAcceptor>,
    ) -> Self {
        let stop = CancellationToken::new();
        let tasks = TaskTracker::new();
        let (stopped, connections) = (stop.clone(), tasks.clone());
        tasks.spawn(async move {
            loop {
                let stream = tokio::select! {
                    () = stopped.cancelled() => break,
                    accepted = listener.accept() => match accepted {
                        Ok((stream, _)) => stream,
                        Err(_) => continue,
                    },
                };
                let _ = stream.set_nodelay(true);
                let (core, faults, tls, stopped) = (core.clone(), faults.clone(), tls.clone(), stopped.clone());
                connections.spawn(async move {
                    let connection = async {
                        match tls {
                            Some(tls) => match tls.accept(stream).await {
                                Ok(stream) => connection(core, faults, stream, true).await,
                                Err(error) => tracing::debug!(%error, "TLS handshake failed"),
                            },
                            None => connection(core, faults, stream, false).await,
                        }
                    };
                    tokio::select! {
                        () = stopped.cancelled() => {}
                        () = connection => {}
                    }
                });
            }
        });
        tasks.close();
        Self { address, tasks, stop: stop.drop_guard() }
    }

    /// Closes the port and all connections.
    pub(crate) async fn stop(self) {
        drop(self.stop);
        self.tasks.wait().await;
    }
}

async fn connection<P: Provider>(
    core: Arc<Core<P>>,
    faults: Arc<Faults>,
    stream: impl AsyncRead + AsyncWrite + Unpin,
    https: bool,
) {
    let service = service_fn(|request: hyper::Request<Incoming>| {
        let (core, faults) = (core.clone(), faults.clone());
        async move {
            let (parts, body) = request.into_parts();
            let body = Limited::new(body, BODY_LIMIT).collect().await.map_err(|_| Cut)?.to_bytes();
            respond(core, &faults, Arc::new(Call::new(parts, body, https))).await
        }
    });
    let served = pin!(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service));
    let _ = served.await;
}

/// Records the end of a call, however it ends.
struct Ending<P: Provider> {
    core: Arc<Core<P>>,
    seq: u64,
    status: Option<u16>,
}

impl<P: Provider> Drop for Ending<P> {
    fn drop(&mut self) {
        self.core.write(|state| state.log.end(self.seq, self.status));
    }
}

async fn respond<P: Provider>(
    core: Arc<Core<P>>,
    faults: &Faults,
    call: Arc<Call>,
) -> Result<hyper::Response<Body>, Cut> {
    let arrival = core.arrive(&call, faults);
    let mut ending = Ending { core: core.clone(), seq: arrival.seq, status: None };
    let seq = arrival.seq;
    // On a task of its own: what has arrived is processed, whether or not the client still waits.
    let process = |after: Duration| {
        let (core, call) = (core.clone(), call.clone());
        tokio::spawn(async move {
            pause(after).await;
            core.process(seq, &call)
        })
    };
    let latency = arrival.latency;
    let mut truncate = false;
    let answer = match arrival.fault {
        None => process(latency).await.map_err(|_| Cut)?,
        Some(Action::Status { code, retry_after, hint }) => {
            pause(latency).await;
            let answer = P::error(&core.options(), code, hint.as_ref(), &[]);
            retry_after.into_iter().fold(answer, |answer, value| answer.header("retry-after", value))
        }
        Some(Action::Hang(limit)) => {
            let mut released = arrival.released;
            match limit {
                Some(limit) => drop(tokio::time::timeout(limit, released.changed()).await),
                None => drop(released.changed().await),
            }
            process(latency).await.map_err(|_| Cut)?
        }
        Some(Action::CutBefore) => {
            pause(latency).await;
            return Err(Cut);
        }
        Some(Action::CutAfter) => {
            let _ = process(latency).await;
            return Err(Cut);
        }
        Some(Action::LateProcessing { delay, cut_after }) => {
            let _late = process(delay);
            match cut_after {
                Some(cut_after) => pause(cut_after).await,
                None => std::future::pending().await,
            }
            return Err(Cut);
        }
        Some(Action::SlowAnswer(delay)) => {
            let answer = process(latency).await.map_err(|_| Cut)?;
            pause(delay).await;
            answer
        }
        Some(Action::TruncatedList) => {
            truncate = true;
            process(latency).await.map_err(|_| Cut)?
        }
        Some(Action::PartialList(how)) => {
            let answer = process(latency).await.map_err(|_| Cut)?;
            if arrival.op == Op::List && answer.processed { P::spoil(&call, answer, how) } else { answer }
        }
        Some(Action::EchoValue(status)) => {
            pause(latency).await;
            P::error(&core.options(), status, None, &spellings(P::submitted(&call)))
        }
        Some(Action::NotJson(status)) => {
            if (200..300).contains(&status) {
                process(latency).await.map_err(|_| Cut)?;
            } else {
                pause(latency).await;
            }
            Answer::text(status, "text/html", "<html><body><h1>The proxy says hello</h1></body></html>")
        }
    };
    let response = respond_with(answer, truncate)?;
    ending.status = Some(response.status().as_u16());
    Ok(response)
}

async fn pause(time: Duration) {
    if !time.is_zero() {
        tokio::time::sleep(time).await;
    }
}

/// A secret in the forms in which a server might repeat it.
fn spellings(secret: Option<String>) -> Vec<String> {
    let spell = |secret: String| {
        let encoded = utf8_percent_encode(&secret, NON_ALPHANUMERIC).to_string();
        vec![STANDARD.encode(&secret), encoded, secret]
    };
    secret.map(spell).unwrap_or_default()
}

fn respond_with(answer: Answer, truncate: bool) -> Result<hyper::Response<Body>, Cut> {
    let mut response = hyper::Response::builder().status(answer.status);
    for (name, value) in answer.headers {
        response = response.header(name, value);
    }
    let length = answer.body.len();
    let body: Body = if truncate {
        let half = Bytes::copy_from_slice(answer.body.get(..length / 2).unwrap_or_default());
        response = response.header("content-length", length);
        let first = stream::once(async move { Ok(Frame::data(half)) });
        // A turn of the scheduler in between, in which the first half goes out.
        let end = stream::once(async {
            tokio::task::yield_now().await;
            Err(Cut)
        });
        StreamBody::new(first.chain(end)).boxed_unsync()
    } else {
        http_body_util::Full::new(Bytes::from(answer.body)).map_err(|never: Infallible| match never {}).boxed_unsync()
    };
    response.body(body).map_err(|_| Cut)
}
