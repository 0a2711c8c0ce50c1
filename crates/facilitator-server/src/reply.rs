//! Answers of the server.

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use http_body_util::Full;
use serde_json::json;
use std::time::Duration;

pub(crate) type Reply = Response<Full<Bytes>>;

pub(crate) fn json_with(status: StatusCode, body: impl Into<Bytes>) -> Reply {
    let mut reply = Response::new(Full::new(body.into()));
    *reply.status_mut() = status;
    let headers = reply.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    reply
}

/// What is wrong with the question itself, and nothing about a payment.
pub(crate) fn refuse(status: StatusCode, error: &str, hint: &str) -> Reply {
    json_with(status, json!({"error": error, "hint": hint}).to_string())
}

pub(crate) fn unauthorized() -> Reply {
    let mut reply = refuse(
        StatusCode::UNAUTHORIZED,
        "unauthorized",
        "Send Authorization: Bearer with the token that the facilitator's operator gave you.",
    );
    reply.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    reply
}

pub(crate) fn too_often(wait: Duration) -> Reply {
    let mut reply =
        refuse(StatusCode::TOO_MANY_REQUESTS, "too_many_requests", "Ask again after Retry-After seconds.");
    // Whole seconds, and never less than it takes.
    reply.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(wait.as_secs() + 1));
    reply
}
