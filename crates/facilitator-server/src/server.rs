//! The addresses that are answered.

use crate::{
    Caller, Callers, Discovery, Rate,
    discovery::{Query, QueryError},
    limits::Asker,
    reply::{Reply, json_with, refuse, too_often, unauthorized},
};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Incoming;
use obol_core::{Reason, Refusal, Registry, WireVersion};
use obol_facilitator::{Counter, Settled};
use obol_serve::{Limits, serve};
use obol_wire::{
    Facilitation, SettleReply, Supported, VerifyReply, discovery::BAZAAR, header::EXTENSION_RESPONSES,
};
use serde::Serialize;
use std::{
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::{
    net::TcpListener,
    sync::{Semaphore, watch},
};

/// Bytes of a question: a payment is about 1,000, a smart wallet's a few thousand more.
const MAX_BODY: usize = 64 * 1024;

/// How long a question's body may take.
const BODY_TIME: Duration = Duration::from_secs(10);

/// What is left of the grace for the answers of those who wait.
const ANSWER: Duration = Duration::from_secs(2);

/// How long a stop waits for the ledger.
const NOTES: Duration = Duration::from_secs(15);

/// What a server is made of.
#[derive(Debug)]
pub struct ServerParts {
    pub counter: Counter,
    pub registry: Arc<Registry>,
    pub callers: Callers,
    pub rate: Rate,
    /// Where what was sold is listed, if it is.
    pub discovery: Option<Discovery>,
    /// Questions that may be answered at once; above it callers get 503.
    pub max_requests: usize,
}

/// The facilitator for others. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Server {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    parts: ServerParts,
    room: Arc<Semaphore>,
    retired: AtomicBool,
}

impl Server {
    pub fn new(parts: ServerParts) -> Self {
        let room = Arc::new(Semaphore::new(parts.max_requests.min(Semaphore::MAX_PERMITS)));
        Self { shared: Arc::new(Shared { parts, room, retired: AtomicBool::new(false) }) }
    }

    /// Says that it is not ready from now on, so that no more callers are sent here.
    pub fn retire(&self) {
        self.shared.retired.store(true, Ordering::Relaxed);
    }

    async fn answer(self, request: Request<Incoming>, peer: IpAddr) -> Reply {
        let parts = &self.shared.parts;
        if let Some(health) = self.health(request.uri().path()) {
            return health;
        }
        if let Some(refused) = browsers(&parts.callers, request.headers()) {
            return refused;
        }
        let caller = parts.callers.find(request.headers()).cloned();
        let asker = caller.clone().map_or(Asker::Unknown(peer), Asker::Known);
        if let Err(wait) = parts.rate.check(&asker) {
            return too_often(wait);
        }
        let get = matches!(*request.method(), Method::GET | Method::HEAD);
        let post = request.method() == Method::POST;
        match request.uri().path() {
            "/supported" if get => self.supported(),
            "/discovery/resources" if get => self.resources(request.uri().query().unwrap_or_default()),
            "/verify" if post => self.facilitate(request, caller, Task::Verify).await,
            "/settle" if post => self.facilitate(request, caller, Task::Settle).await,
            "/supported" | "/verify" | "/settle" | "/discovery/resources" => refuse(
                StatusCode::METHOD_NOT_ALLOWED,
                "method_not_allowed",
                "GET /supported and /discovery/resources, POST /verify and POST /settle.",
            ),
            _ => refuse(
                StatusCode::NOT_FOUND,
                "not_found",
                "A facilitator answers /verify, /settle, /supported and /discovery/resources.",
            ),
        }
    }

    fn health(&self, path: &str) -> Option<Reply> {
        let ready = !self.shared.retired.load(Ordering::Relaxed);
        match path {
            "/healthz" => Some(json_with(StatusCode::OK, r#"{"status":"ok"}"#)),
            "/readyz" if ready => Some(json_with(StatusCode::OK, r#"{"status":"ready"}"#)),
            "/readyz" => Some(json_with(StatusCode::SERVICE_UNAVAILABLE, r#"{"status":"stopping"}"#)),
            _ => None,
        }
    }

    fn supported(&self) -> Reply {
        let Shared { parts, .. } = &*self.shared;
        let mut settlers: Vec<_> = parts.counter.facilitator().settlers().collect();
        settlers.sort_unstable();
        let extensions = parts.discovery.iter().map(|_| BAZAAR).collect();
        json_with(StatusCode::OK, text(&Supported::new(&settlers, extensions, &parts.registry)))
    }

    fn resources(&self, query: &str) -> Reply {
        let query = match Query::parse(query) {
            Ok(query) => query,
            Err(error @ (QueryError::Limit | QueryError::Offset)) => {
                return refuse(StatusCode::BAD_REQUEST, "invalid_query", &error.to_string());
            }
        };
        let discovery = self.shared.parts.discovery.as_ref();
        json_with(StatusCode::OK, discovery.map_or_else(|| query.none(), |known| known.page(&query)))
    }

    async fn facilitate(&self, request: Request<Incoming>, caller: Option<Caller>, task: Task) -> Reply {
        let Some(caller) = caller else { return unauthorized() };
        if !is_json(request.headers()) {
            return refuse(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "unsupported_media_type",
                "Send the question as application/json.",
            );
        }
        let Ok(room) = Arc::clone(&self.shared.room).try_acquire_owned() else {
            return refuse(StatusCode::SERVICE_UNAVAILABLE, "overloaded", "Ask again in a moment.");
        };
        let body = match read(request).await {
            Ok(body) => body,
            Err(reply) => return *reply,
        };
        let server = self.clone();
        // A caller that leaves must not stop the money path between two steps.
        let done = tokio::spawn(async move {
            let reply = server.look(body, &caller, task).await;
            drop(room);
            reply
        });
        done.await.unwrap_or_else(|error| {
            tracing::error!(%error, "a question's task ended");
            refuse(StatusCode::INTERNAL_SERVER_ERROR, "failed", "Ask again with the same payment.")
        })
    }

    async fn look(&self, body: Bytes, caller: &Caller, task: Task) -> Reply {
        let ServerParts { counter, registry, .. } = &self.shared.parts;
        let asked = match Facilitation::read(&body, registry) {
            Ok(asked) => asked,
            Err(unreadable) => {
                tracing::debug!(?caller, refusal = %unreadable.refusal, "a question is not understood");
                return match task {
                    Task::Verify => json_with(StatusCode::OK, text(&VerifyReply::from(&*unreadable))),
                    Task::Settle => json_with(StatusCode::OK, text(&SettleReply::from(&*unreadable))),
                };
            }
        };
        let Facilitation { requirement, payment } = &asked;
        let (version, payer) = (payment.version, payment.authorization.from);
        match task {
            Task::Verify => {
                let verdict = counter.verify(payment, requirement, caller.name()).await;
                let reply = match &verdict {
                    Ok(()) => VerifyReply::valid(payer),
                    Err(refusal) => VerifyReply::invalid(refusal, version, Some(payer)),
                };
                told(caller, verdict.as_ref().err(), version, text(&reply))
            }
            Task::Settle => {
                let settled = counter.settle(payment, requirement, caller.name()).await;
                match &settled {
                    Settled::Included(transaction) => {
                        let reply = text(&SettleReply::settled(payment, *transaction, registry));
                        self.listed(body, caller, &asked, json_with(StatusCode::OK, reply)).await
                    }
                    Settled::Pending(transaction) => {
                        let pending = Refusal::from(Reason::SettlementPending);
                        let reply = SettleReply::refused(payment, &pending, *transaction, registry);
                        told(caller, Some(&pending), version, text(&reply))
                    }
                    Settled::Refused(refusal, transaction) => {
                        let reply = SettleReply::refused(payment, refusal, *transaction, registry);
                        told(caller, Some(refusal), version, text(&reply))
                    }
                }
            }
        }
    }

    /// The answer to a settlement, and whether what was paid for is listed now.
    async fn listed(&self, body: Bytes, caller: &Caller, asked: &Facilitation, mut reply: Reply) -> Reply {
        let Some(discovery) = &self.shared.parts.discovery else { return reply };
        let told = discovery.list(body, caller, &asked.requirement, &asked.payment).await;
        if let Some(Ok(told)) = told.map(|told| HeaderValue::try_from(told.encode())) {
            reply.headers_mut().insert(EXTENSION_RESPONSES, told);
        }
        reply
    }
}

/// Pages in a browser on this machine reach its loopback addresses, too: none of them is a caller.
fn browsers(callers: &Callers, headers: &HeaderMap) -> Option<Reply> {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    // A name that a page's own server made lead here.
    let strange = matches!(callers, Callers::Anybody(_)) && !is_loopback(host);
    (headers.contains_key(header::ORIGIN) || strange).then(|| {
        refuse(
            StatusCode::FORBIDDEN,
            "browsers_refused",
            "Ask from a server, at 127.0.0.1 or localhost where no tokens are asked for.",
        )
    })
}

fn is_loopback(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let address = name.trim_start_matches('[').trim_end_matches(']');
    name.eq_ignore_ascii_case("localhost")
        || address.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// What a page could send without being asked first is not.
fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    kind.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json"))
}

#[derive(Clone, Copy, Debug)]
enum Task {
    Verify,
    Settle,
}

/// What is wrong with a payment is an answer like any other: published servers take another status
/// than 200 for a facilitator that is out of order.
fn told(caller: &Caller, refusal: Option<&Refusal>, version: WireVersion, body: String) -> Reply {
    if let Some(refusal) = refusal {
        tracing::debug!(?caller, ?version, %refusal, "a payment is refused");
    }
    json_with(StatusCode::OK, body)
}

async fn read(request: Request<Incoming>) -> Result<Bytes, Box<Reply>> {
    let body = Limited::new(request.into_body(), MAX_BODY).collect();
    match tokio::time::timeout(BODY_TIME, body).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(Box::new(refuse(
            StatusCode::PAYLOAD_TOO_LARGE,
            "body_too_large",
            "A payment and its requirement take less than 64 KiB.",
        ))),
        Ok(Err(_)) => Err(Box::new(refuse(StatusCode::BAD_REQUEST, "body_broken", "Send the body whole."))),
        Err(_) => Err(Box::new(refuse(
            StatusCode::REQUEST_TIMEOUT,
            "body_too_slow",
            "Send the body within 10 seconds.",
        ))),
    }
}

/// Of plain structs of strings, for which serialization cannot fail.
fn text(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

/// Answers callers until `stop` is set, then lets what was begun finish within the grace.
pub async fn serve_facilitator(
    server: Server,
    listener: TcpListener,
    limits: Limits,
    stop: watch::Receiver<bool>,
) {
    let (room, counter) = (Arc::clone(&server.shared.room), server.shared.parts.counter.clone());
    tokio::spawn(close_in_time(counter.clone(), limits.grace, stop.clone()));
    let all = u32::try_from(server.shared.parts.max_requests).unwrap_or(u32::MAX);
    let end = serve(listener, limits, stop, move |request, peer| server.clone().answer(request, peer)).await;
    // Also those whose caller has left.
    if tokio::time::timeout_at(end, room.acquire_many(all)).await.is_err() {
        tracing::warn!(after = ?limits.grace, "settlements were left unfinished; their holds end by themselves");
    }
    if tokio::time::timeout(NOTES, counter.finish_notes()).await.is_err() {
        tracing::error!(after = ?NOTES, "the ends of some holds are not in the ledger; they end by themselves");
    }
}

/// Has callers answered that wait, before the grace is over.
async fn close_in_time(counter: Counter, grace: Duration, mut stop: watch::Receiver<bool>) {
    if stop.wait_for(|stop| *stop).await.is_ok() {
        tokio::time::sleep(grace.saturating_sub(ANSWER.min(grace / 4))).await;
        counter.close();
    }
}

/// Answers `/healthz` and `/readyz` until `stop` is set.
pub async fn serve_admin(server: Server, listener: TcpListener, limits: Limits, stop: watch::Receiver<bool>) {
    serve(listener, limits, stop, move |request: Request<Incoming>, _| {
        let unknown =
            || refuse(StatusCode::NOT_FOUND, "not_found", "/healthz and /readyz are answered here.");
        std::future::ready(server.health(request.uri().path()).unwrap_or_else(unknown))
    })
    .await;
}

#[cfg(test)]
mod tests {
    use super::is_loopback;

    #[test]
    fn only_names_of_this_machine_are_loopback() {
        for host in [
            "localhost",
            "LOCALHOST:8090",
            "127.0.0.1",
            "127.0.0.1:8090",
            "[::1]:8090",
            "[::1]",
            "127.1.2.3:1",
        ] {
            assert!(is_loopback(host), "{host}");
        }
        for host in [
            "",
            "evil.example",
            "evil.example:8090",
            "127.0.0.1.evil.example",
            "localhost.evil:1",
            "10.0.0.1",
            ":80",
        ] {
            assert!(!is_loopback(host), "{host}");
        }
    }
}
