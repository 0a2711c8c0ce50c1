//! A chain's JSON-RPC endpoint. Nothing here retries: whoever calls knows whether a call may
//! be repeated, and an answer that was lost is not an answer that was "no".

use alloy_json_rpc::{RpcError as JsonRpcError, RpcRecv, RpcSend};
use alloy_rpc_client::{BatchRequest, RpcClient};
use alloy_transport::{TransportError, TransportErrorKind};
use std::{fmt, time::Duration};

/// Why a call to a chain's endpoint brought no result.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RpcError {
    /// The request may or may not have been carried out.
    #[error("no answer: {0}")]
    NoAnswer(String),
    /// HTTP 429.
    #[error("rate limited (HTTP 429)")]
    RateLimited,
    /// A status that is no success, without a JSON-RPC error in it.
    #[error("HTTP {0}")]
    Status(u16),
    /// Something else than JSON-RPC, such as a web page.
    #[error("the answer is not the JSON-RPC that was asked for: {0}")]
    Malformed(String),
    /// The node understood and refused.
    #[error("refused with code {code}: {message}")]
    Refused { code: i64, message: String, data: Option<String> },
}

/// Why an endpoint's URL is not one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EndpointError {
    #[error("not a URL: {0}")]
    NotUrl(String),
    #[error("the scheme is {0:?}, not http or https")]
    Scheme(String),
    #[error("no TLS or HTTP client can be built: {0}")]
    Client(String),
}

/// One endpoint of one chain, over HTTP. Cheap to clone.
#[derive(Clone)]
pub struct Rpc {
    client: RpcClient,
    shown: String,
}

impl fmt::Debug for Rpc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Rpc").field(&self.shown).finish()
    }
}

impl Rpc {
    /// `timeout` bounds each call from its start to its last byte.
    pub fn new(url: &str, timeout: Duration) -> Result<Self, EndpointError> {
        let url: reqwest::Url = url.parse().map_err(|error| EndpointError::NotUrl(format!("{error}")))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(EndpointError::Scheme(url.scheme().to_owned()));
        }
        // The client panics without one; an error means that the process has one, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let shown = url.origin().ascii_serialization();
        let http = reqwest::Client::builder()
            .timeout(timeout)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .build()
            .map_err(|error| EndpointError::Client(error.to_string()))?;
        Ok(Self { client: RpcClient::new_http_with_client(http, url), shown })
    }

    /// The endpoint's origin: what logs may show, since a path or query often holds a key.
    pub fn shown(&self) -> &str {
        &self.shown
    }

    pub async fn call<P: RpcSend, R: RpcRecv>(&self, method: &'static str, params: P) -> Result<R, RpcError> {
        obol_stop::reach_call(method, "before");
        let answer = self.client.request(method, params).await.map_err(RpcError::from);
        obol_stop::reach_call(method, "after");
        answer
    }

    /// Several calls in one HTTP request.
    pub fn batch(&self) -> BatchRequest<'_> {
        self.client.new_batch()
    }
}

/// A node's own words are shown up to this length.
const EXCERPT: usize = 200;

fn excerpt(text: &str) -> String {
    text.chars().take(EXCERPT).collect()
}

impl From<TransportError> for RpcError {
    fn from(error: TransportError) -> Self {
        match error {
            JsonRpcError::ErrorResp(payload) => Self::Refused {
                code: payload.code,
                message: excerpt(&payload.message),
                data: payload.data.map(|data| data.get().trim_matches('"').to_owned()),
            },
            JsonRpcError::Transport(TransportErrorKind::HttpError(error)) => Self::from_status(error.status),
            JsonRpcError::Transport(TransportErrorKind::HttpErrorWithRetryAfter { error, .. }) => {
                Self::from_status(error.status)
            }
            JsonRpcError::Transport(TransportErrorKind::Custom(error)) => {
                Self::NoAnswer(match error.downcast_ref::<reqwest::Error>() {
                    Some(error) if error.is_timeout() => "timed out".to_owned(),
                    Some(error) if error.is_connect() => "cannot connect".to_owned(),
                    _ => "the connection broke".to_owned(),
                })
            }
            JsonRpcError::Transport(_) => Self::Malformed("part of the batch is missing".to_owned()),
            JsonRpcError::NullResp => Self::Malformed("null".to_owned()),
            JsonRpcError::DeserError { text, .. } => Self::Malformed(excerpt(&text)),
            JsonRpcError::SerError(error) => Self::Malformed(format!("request: {error}")),
            other => Self::Malformed(excerpt(&other.to_string())),
        }
    }
}

impl RpcError {
    const fn from_status(status: u16) -> Self {
        match status {
            429 => Self::RateLimited,
            status => Self::Status(status),
        }
    }
}
