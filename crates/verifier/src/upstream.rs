//! Requests to the services behind the gate.

use crate::headers::{self, tell_client};
use http::{HeaderName, HeaderValue, Method, Request, Response, Uri, header, request, uri::PathAndQuery};
use hyper::body::Incoming;
use hyper_rustls::HttpsConnector;
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use obol_core::{Reason, Refusal, Upstream};
use std::{borrow::Cow, net::IpAddr, time::Duration};

/// One pool of connections for all upstreams.
#[derive(Clone, Debug)]
pub(crate) struct UpstreamClient {
    client: Client<HttpsConnector<HttpConnector>, Incoming>,
}

/// The answer to requests for an offer that the gate has no upstream of.
pub(crate) const NOT_HERE: Refusal = Refusal {
    reason: Reason::NoRoute,
    detail: Cow::Borrowed("it is served only through a proxy that asks at /verify and forwards by itself"),
};

/// How long a connection to an upstream may take.
const CONNECT: Duration = Duration::from_secs(5);

/// How long an unused connection is kept.
const IDLE: Duration = Duration::from_secs(30);

/// Who asked, for the upstream.
#[derive(Clone, Debug)]
pub(crate) struct Asker {
    pub(crate) payer: alloy_primitives::Address,
    pub(crate) client: IpAddr,
    pub(crate) proto: &'static str,
    pub(crate) host: Option<String>,
}

impl UpstreamClient {
    /// Fails when the machine's certificate store cannot be read.
    pub(crate) fn new() -> std::io::Result<Self> {
        let mut http = HttpConnector::new();
        http.enforce_http(false);
        http.set_nodelay(true);
        http.set_connect_timeout(Some(CONNECT));
        let https = hyper_rustls::HttpsConnectorBuilder::new()
            .with_native_roots()?
            .https_or_http()
            .enable_http1()
            .wrap_connector(http);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .build(https);
        Ok(Self { client })
    }

    /// Sends the client's request on and waits for the response's head. The body is streamed
    /// both ways.
    pub(crate) async fn forward(
        &self,
        upstream: &Upstream,
        request: Request<Incoming>,
        path: &str,
        asker: &Asker,
    ) -> Result<Response<Incoming>, Unanswered> {
        let request = rewrite(upstream, request, path, asker).map_err(Unanswered::Unsent)?;
        obol_stop::reach("upstream.before");
        let answer = tokio::time::timeout(upstream.header_timeout, self.client.request(request)).await;
        obol_stop::reach("upstream.after");
        match answer {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(error)) => {
                let detail = "the upstream could not be reached or broke off";
                Err(Unanswered::Failed(Refusal::new(Reason::UpstreamUnavailable, detail), chain(&error)))
            }
            Err(_) => {
                let cause = format!("no response within {} s", upstream.header_timeout.as_secs());
                Err(Unanswered::Failed(Refusal::new(Reason::UpstreamTimeout, cause.clone()), cause))
            }
        }
    }
}

/// Why there is no response.
#[derive(Debug)]
pub(crate) enum Unanswered {
    /// The request cannot be sent on.
    Unsent(Refusal),
    /// The upstream failed; with the cause, which is the operator's to know.
    Failed(Refusal, String),
}

/// An error and its causes on one line.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

/// `path` is what is left of the client's path when the offer's own is taken off; it begins
/// with a slash or is empty.
fn rewrite(
    upstream: &Upstream,
    request: Request<Incoming>,
    path: &str,
    asker: &Asker,
) -> Result<Request<Incoming>, Refusal> {
    let (request::Parts { method, uri, headers, .. }, body) = request.into_parts();
    let base = upstream.base.as_deref().ok_or(NOT_HERE)?;
    let target = match uri.query() {
        Some(query) => format!("{base}{path}?{query}"),
        None => format!("{base}{path}"),
    };
    let mut target: Uri = target
        .parse()
        .map_err(|_| Refusal::new(Reason::PathRefused, "the path does not fit the upstream's address"))?;
    if target.path_and_query().is_none_or(|path| path.as_str().is_empty()) {
        let mut parts = target.into_parts();
        parts.path_and_query = Some(PathAndQuery::from_static("/"));
        target = Uri::from_parts(parts)
            .map_err(|_| Refusal::new(Reason::PathRefused, "the path does not fit the upstream's address"))?;
    }
    let mut headers = headers::to_upstream(headers);
    headers.remove(header::HOST);
    headers.remove(header::EXPECT);
    // Browsers' marks of the page that asked: the service sees the gate as its client.
    for name in ["origin", "sec-fetch-site", "sec-fetch-mode", "sec-fetch-dest", "sec-fetch-user"] {
        headers.remove(name);
    }
    if let Some(authorization) = &upstream.authorization {
        let mut value = HeaderValue::from_str(authorization).map_err(|_| {
            Refusal::new(Reason::UpstreamUnavailable, "the upstream's credential is not a header value")
        })?;
        value.set_sensitive(true);
        headers.insert(header::AUTHORIZATION, value);
    }
    tell_client(&mut headers, asker.client, asker.host.as_deref(), asker.proto);
    if let Ok(payer) = HeaderValue::from_str(&asker.payer.to_checksum(None)) {
        headers.insert(HeaderName::from_static("x-payment-payer"), payer);
    }
    let mut forwarded = Request::builder().method(method).uri(target).body(body).map_err(|error| {
        Refusal::new(Reason::RequestRefused, format!("the request cannot be forwarded: {error}"))
    })?;
    *forwarded.headers_mut() = headers;
    Ok(forwarded)
}

/// Methods that are sold. TRACE would show stripped headers, CONNECT is no request for a service;
/// some servers read them in any case.
pub(crate) fn is_sold(method: &Method) -> bool {
    !["trace", "connect"].iter().any(|other| method.as_str().eq_ignore_ascii_case(other))
}
