//! Serving the gate on a listener, and its health on another.

use crate::{
    body::GateBody,
    gate::{self, Gate},
    held_page::HeldPage,
    meters::Unwritten,
};
use http::{Request, Response, StatusCode, header};
use hyper::body::Incoming;
use obol_serve::{Limits, serve};
use std::time::Duration;
use tokio::{net::TcpListener, sync::watch};

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

/// Answers `/healthz`, `/readyz`, `/status` and `/metrics` until `stop` is set.
pub async fn serve_admin(gate: Gate, listener: TcpListener, limits: Limits, stop: watch::Receiver<bool>) {
    serve(listener, limits, stop, move |request: Request<Incoming>, _| {
        let gate = gate.clone();
        async move {
            let answer = match request.uri().path() {
                "/status" => Some(status(&gate)),
                "/metrics" => gate.metrics().await.map(metrics),
                path => health(&gate, path),
            };
            answer.unwrap_or_else(|| plain(StatusCode::NOT_FOUND, "not found\n"))
        }
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

/// A page that could not be written is no empty page: Prometheus has to see that it has none.
fn metrics(page: Result<HeldPage, Unwritten>) -> Response<GateBody> {
    let page = match page {
        Ok(page) => page,
        Err(Unwritten::Crowded) => {
            return plain(StatusCode::SERVICE_UNAVAILABLE, "too many scrapes are being read; try again\n");
        }
        Err(error @ Unwritten::Failed(_)) => {
            tracing::error!(%error, "a scrape has no page");
            return plain(StatusCode::INTERNAL_SERVER_ERROR, "the page could not be written\n");
        }
    };
    let mut response = Response::new(GateBody::Page(page));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, http::HeaderValue::from_static(obol_telemetry::CONTENT_TYPE));
    headers.insert(header::CACHE_CONTROL, http::HeaderValue::from_static("no-store"));
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
