use super::{
    Fault, State,
    call::{Body, Fate},
    count, lock,
};
use bytes::Bytes;
use http::{Request, Response, StatusCode, Uri, header::CONTENT_TYPE};
use http_body_util::{BodyExt, Full, Limited};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioIo},
};
use serde_json::Value;
use std::{
    future::pending,
    sync::{Arc, Mutex},
};
use tokio::{net::TcpListener, task::JoinSet};

/// Why a connection ends without an answer: that is the fault, or the node itself is gone.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Broken(String);

fn broken(error: impl std::fmt::Display) -> Broken {
    Broken(error.to_string())
}

/// Far above the largest batch that the project sends.
const BODY_LIMIT: usize = 64 << 20;

#[derive(Clone)]
struct Endpoint {
    node: Client<HttpConnector, Full<Bytes>>,
    target: Uri,
    state: Arc<Mutex<State>>,
}

/// Serves until it is dropped, and its connections with it.
pub(super) async fn serve(listener: TcpListener, target: Uri, state: Arc<Mutex<State>>) {
    let node = Client::builder(TokioExecutor::new()).build_http();
    let endpoint = Endpoint { node, target, state };
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let endpoint = endpoint.clone();
        let service = service_fn(move |request| {
            let endpoint = endpoint.clone();
            async move { endpoint.answer(request).await }
        });
        connections.spawn(async move {
            // Broken connections are this server's trade.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
        while connections.try_join_next().is_some() {}
    }
}

impl Endpoint {
    async fn answer(&self, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Broken> {
        let bytes = read(request.into_body()).await?;
        let Some(body) = Body::parse(&bytes) else {
            return Ok(plain(StatusCode::BAD_REQUEST, "not JSON-RPC"));
        };
        let (whole, single) = {
            let mut state = lock(&self.state);
            state.requests += 1;
            body.calls.iter().for_each(|call| state.note(call));
            state.rules.judge(&body.calls)
        };
        match whole {
            Some(Fault::Hang) => pending().await,
            Some(Fault::Disconnect) => return Err(broken("disconnected, as told")),
            Some(Fault::Delay(time)) => tokio::time::sleep(time).await,
            Some(Fault::Status(status)) => {
                return Ok(plain(StatusCode::from_u16(status).map_err(broken)?, "as told"));
            }
            Some(Fault::MaxBatch(_)) => return Ok(plain(StatusCode::PAYLOAD_TOO_LARGE, "too many calls")),
            Some(Fault::Html) => return Ok(page()),
            _ => {}
        }
        let answer = self.answer_calls(&body, &single).await?;
        match whole {
            Some(Fault::LoseAnswer) => Err(broken("answer lost, as told")),
            Some(Fault::HangAfter) => pending().await,
            _ => Ok(json(&answer)),
        }
    }

    /// The calls that are passed on travel as one batch, in their order.
    async fn answer_calls(&self, body: &Body, faults: &[Vec<Fault>]) -> Result<Value, Broken> {
        let fates: Vec<_> = body.calls.iter().zip(faults).map(|(call, faults)| call.fate(faults)).collect();
        let requests: Vec<_> = fates
            .iter()
            .filter_map(|fate| match fate {
                Fate::Forwarded { request, .. } => Some(request),
                Fate::Answered(_) => None,
            })
            .collect();
        let mut from_node = self.ask(&requests).await?;
        let mut answers = Vec::with_capacity(fates.len());
        for (call, fate) in body.calls.iter().zip(fates) {
            answers.push(match fate {
                Fate::Answered(answer) => answer,
                Fate::Forwarded { request, stale_at } => {
                    let position = from_node.iter().position(|answer| answer["id"] == request["id"]);
                    let answer =
                        from_node.swap_remove(position.ok_or_else(|| broken("the node left a call out"))?);
                    call.pass_back(answer, stale_at)
                }
            });
        }
        Ok(body.answer(answers))
    }

    async fn ask(&self, requests: &[&Value]) -> Result<Vec<Value>, Broken> {
        if requests.is_empty() {
            return Ok(vec![]);
        }
        for request in requests {
            count(&mut lock(&self.state).forwarded, request["method"].as_str().unwrap_or_default());
        }
        let request = Request::post(self.target.clone())
            .header(CONTENT_TYPE, "application/json")
            .body(Full::from(serde_json::to_vec(requests).map_err(broken)?))
            .map_err(broken)?;
        let response = self.node.request(request).await.map_err(broken)?;
        let bytes = read(response.into_body()).await?;
        serde_json::from_slice(&bytes).map_err(broken)
    }
}

async fn read(body: Incoming) -> Result<Bytes, Broken> {
    Ok(Limited::new(body, BODY_LIMIT).collect().await.map_err(broken)?.to_bytes())
}

fn respond(status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, http::HeaderValue::from_static(kind));
    response
}

fn plain(status: StatusCode, words: &'static str) -> Response<Full<Bytes>> {
    respond(status, "text/plain", words)
}

fn page() -> Response<Full<Bytes>> {
    respond(StatusCode::OK, "text/html", "<!doctype html><title>Sign in</title><h1>Sign in</h1>")
}

fn json(answer: &Value) -> Response<Full<Bytes>> {
    respond(StatusCode::OK, "application/json", answer.to_string())
}
