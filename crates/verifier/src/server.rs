//! Serving the gate on a listener, and its health on another.

use crate::{
    body::GateBody,
    gate::{self, Gate},
    trouble::Trouble,
};
use futures_util::FutureExt;
use http::{Request, Response, StatusCode, header};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
};
use std::{convert::Infallible, net::IpAddr, sync::Arc, time::Duration};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Semaphore, watch},
    time::Instant,
};

/// What a server allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Open client connections. Above it new ones wait in the kernel.
    pub connections: usize,
    /// How long a client may take over a request's head.
    pub header_read: Duration,
    /// How long responses and sales may go on when the server is to stop.
    pub grace: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { connections: 20_000, header_read: Duration::from_secs(10), grace: Duration::from_secs(30) }
    }
}

/// Bytes of a request's head: two payment headers and what browsers add fit four times.
const MAX_HEAD: usize = 128 * 1024;

/// What is left of the grace for the answers of sales that give up.
const ANSWER: Duration = Duration::from_secs(2);

/// How long a stop waits for the ledger.
const NOTES: Duration = Duration::from_secs(15);

/// Sells until `stop` is set, then lets responses and sales finish, also those whose buyer has
/// left: their upstream may still be at work.
pub async fn serve_gate(gate: Gate, listener: TcpListener, limits: Limits, stop: watch::Receiver<bool>) {
    let sales = gate.clone();
    tokio::spawn(close_in_time(gate.clone(), limits.grace, stop.clone()));
    let end = serve(listener, limits, stop, move |request: Request<Incoming>, peer| {
        match health(&gate, request.uri().path()) {
            Some(response) => gate::at_once(response),
            None => gate.answer(request, peer),
        }
    })
    .await;
    if tokio::time::timeout_at(end, sales.finish_sales()).await.is_err() {
        tracing::warn!(after = ?limits.grace, "sales were left unfinished; their holds end by themselves");
    }
    if tokio::time::timeout(NOTES, sales.finish_notes()).await.is_err() {
        tracing::error!(after = ?NOTES, "the ends of some deliveries are not in the ledger: they may be served again");
    }
}

/// Lets sales that wait give up before the grace is over: their buyers get an answer, and what was
/// not submitted is given back.
async fn close_in_time(gate: Gate, grace: Duration, mut stop: watch::Receiver<bool>) {
    if stop.wait_for(|stop| *stop).await.is_ok() {
        tokio::time::sleep(grace.saturating_sub(ANSWER.min(grace / 4))).await;
        gate.close_sales();
    }
}

/// Answers `/healthz`, `/readyz` and `/status` until `stop` is set.
pub async fn serve_admin(gate: Gate, listener: TcpListener, limits: Limits, stop: watch::Receiver<bool>) {
    serve(listener, limits, stop, move |request: Request<Incoming>, _| {
        let response = match request.uri().path() {
            "/status" => status(&gate),
            path => health(&gate, path).unwrap_or_else(|| plain(StatusCode::NOT_FOUND, "not found\n")),
        };
        std::future::ready(response)
    })
    .await;
}

fn health(gate: &Gate, path: &str) -> Option<Response<GateBody>> {
    match path {
        "/healthz" => Some(plain(StatusCode::OK, "ok\n")),
        "/readyz" if gate.is_ready() => Some(plain(StatusCode::OK, "ready\n")),
        "/readyz" => {
            Some(plain(StatusCode::SERVICE_UNAVAILABLE, "not ready: routes not loaded, or stopping\n"))
        }
        _ => None,
    }
}

/// For operators: it says more than buyers need to know.
fn status(gate: &Gate) -> Response<GateBody> {
    let mut response = Response::new(GateBody::own(gate.status()));
    response.headers_mut().insert(header::CONTENT_TYPE, http::HeaderValue::from_static("application/json"));
    response.headers_mut().insert(header::CACHE_CONTROL, http::HeaderValue::from_static("no-store"));
    response
}

fn plain(status: StatusCode, text: &'static str) -> Response<GateBody> {
    let mut response = Response::new(GateBody::own(text));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, http::HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(header::CACHE_CONTROL, http::HeaderValue::from_static("no-store"));
    response
}

/// The time at which the grace that began with `stop` is over.
async fn serve<A, F>(
    listener: TcpListener,
    limits: Limits,
    mut stop: watch::Receiver<bool>,
    answer: A,
) -> Instant
where
    A: Fn(Request<Incoming>, IpAddr) -> F + Clone + Send + 'static,
    F: Future<Output = Response<GateBody>> + Send + 'static,
{
    let graceful = GracefulShutdown::new();
    let accepting = Trouble::default();
    let room = Arc::new(Semaphore::new(limits.connections.min(Semaphore::MAX_PERMITS)));
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(limits.header_read).max_buf_size(MAX_HEAD);
    loop {
        let accepted = tokio::select! {
            accepted = accept(&listener, &room, &accepting) => accepted,
            _ = stop.wait_for(|stop| *stop) => break,
        };
        let Some((stream, peer, permit)) = accepted else { continue };
        let answer = answer.clone();
        let service = service_fn(move |request| answer(request, peer).map(Ok::<_, Infallible>));
        let connection = graceful.watch(builder.serve_connection(TokioIo::new(stream), service));
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%peer, %error, "a client's connection broke");
            }
            drop(permit);
        });
    }
    drop(listener);
    let end = Instant::now() + limits.grace;
    if tokio::time::timeout_at(end, graceful.shutdown()).await.is_err() {
        tracing::warn!(after = ?limits.grace, "responses were cut off");
    }
    end
}

async fn accept(
    listener: &TcpListener,
    room: &Arc<Semaphore>,
    accepting: &Trouble,
) -> Option<(TcpStream, IpAddr, tokio::sync::OwnedSemaphorePermit)> {
    let permit = Arc::clone(room).acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((stream, peer)) => {
            accepting.works(|| tracing::info!("accepts connections again"));
            // Without it small responses wait for an acknowledgement; a refusal costs nothing more.
            if let Err(error) = stream.set_nodelay(true) {
                tracing::debug!(%error, "a connection broke before it was served");
                return None;
            }
            Some((stream, peer.ip(), permit))
        }
        Err(error) => {
            accepting.fails(|| tracing::error!(%error, "cannot accept connections"));
            // Out of file descriptors, most likely: only time brings some back.
            tokio::time::sleep(Duration::from_millis(100)).await;
            None
        }
    }
}
