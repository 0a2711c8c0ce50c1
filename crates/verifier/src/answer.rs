//! From a refusal to a response: the one place that does it.

use crate::{body::GateBody, page, posted::Posted};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};
use obol_core::{Reason, Refusal, Registry, WireVersion};
use obol_wire::{ErrorBody, Money, Receipt};
use std::sync::LazyLock;

const PAYMENT_REQUIRED: HeaderName = HeaderName::from_static(obol_wire::header::PAYMENT_REQUIRED);
const PAYMENT_RESPONSE: HeaderName = HeaderName::from_static(obol_wire::header::PAYMENT_RESPONSE);
const X_PAYMENT_RESPONSE: HeaderName = HeaderName::from_static(obol_wire::header::X_PAYMENT_RESPONSE);

pub(crate) const JSON: HeaderValue = HeaderValue::from_static("application/json");
pub(crate) const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");

/// Seconds after which a retriable refusal may be gone.
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("2");

/// A refusal that does not ask for a payment.
pub(crate) fn refuse(refusal: &Refusal, version: WireVersion, money: Money) -> Response<GateBody> {
    let mut response = Response::new(GateBody::own(ErrorBody::new(refusal, version, money).to_json()));
    *response.status_mut() =
        StatusCode::from_u16(refusal.reason.status()).unwrap_or(StatusCode::SERVICE_UNAVAILABLE);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, JSON);
    headers.insert(header::CACHE_CONTROL, NO_STORE);
    if matches!(refusal.reason.status(), 409 | 503) && refusal.reason.retriable() {
        headers.insert(header::RETRY_AFTER, RETRY_AFTER);
    }
    if refusal.reason == Reason::UpgradeRefused {
        headers.insert(header::UPGRADE, HeaderValue::from_static("HTTP/1.1"));
        headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    }
    if refusal.reason == Reason::RequestRefused {
        // Where it ends is what parsers do not agree about: nothing after it is believed.
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    if refusal.reason == Reason::MethodNotAllowed {
        headers
            .insert(header::ALLOW, HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"));
    }
    response
}

/// The answer of an offer that refuses: a challenge where a payment is asked for.
pub(crate) fn refuse_on_offer(
    refusal: &Refusal,
    version: WireVersion,
    money: Money,
    request: &HeaderMap,
    posted: impl FnOnce() -> Posted,
) -> Response<GateBody> {
    match refusal.reason.status() {
        402 => challenge(posted(), request),
        _ => refuse(refusal, version, money),
    }
}

/// A 402's headers but for what the offer asks: a copy costs less than building them.
static CHALLENGE: LazyLock<HeaderMap> = LazyLock::new(|| {
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, JSON);
    headers.insert(header::CACHE_CONTROL, NO_STORE);
    headers.insert(header::VARY, HeaderValue::from_static("Accept"));
    headers.insert(PAYMENT_REQUIRED, HeaderValue::from_static(""));
    headers
});

/// A 402: what to pay and, when a payment came, why it was not taken.
fn challenge(posted: Posted, request: &HeaderMap) -> Response<GateBody> {
    let html = page::is_wanted(request);
    let body = if html { page::render(&posted.json, &posted.menu).into() } else { posted.json };
    let mut response = Response::new(GateBody::own(body));
    *response.status_mut() = StatusCode::PAYMENT_REQUIRED;
    let headers = response.headers_mut();
    headers.clone_from(&CHALLENGE);
    headers.insert(PAYMENT_REQUIRED, posted.header);
    if html {
        headers.insert(header::CONTENT_TYPE, page::CONTENT_TYPE);
        headers.insert(header::CONTENT_SECURITY_POLICY, page::POLICY);
    }
    response
}

/// Adds the receipt, under the names of both versions, and keeps the response out of shared
/// caches: one payment is one service.
pub(crate) fn give_receipt(
    headers: &mut HeaderMap,
    receipt: &Receipt,
    version: WireVersion,
    registry: &Registry,
) {
    give_encoded_receipt(headers, &receipt.encode(version, registry));
}

/// As [`give_receipt`].
pub(crate) fn give_encoded_receipt(headers: &mut HeaderMap, receipt: &str) {
    if let Ok(value) = HeaderValue::try_from(receipt) {
        headers.insert(PAYMENT_RESPONSE, value.clone());
        headers.insert(X_PAYMENT_RESPONSE, value);
    }
    // What caches obey before `Cache-Control`.
    let obeyed = |name: &HeaderName| {
        let name = name.as_str();
        name.ends_with("-cache-control")
            || matches!(name, "surrogate-control" | "edge-control" | "x-accel-expires")
    };
    let others: Vec<_> = headers.keys().filter(|name| obeyed(name)).cloned().collect();
    for name in others {
        headers.remove(name);
    }
    // With a list of fields it forbids to store those alone; within quotes it is none.
    let private = headers.get_all(header::CACHE_CONTROL).iter().any(|control| {
        let control = control.to_str().ok().filter(|control| !control.contains('"')).unwrap_or_default();
        let mut directives = control.split(',').map(str::trim);
        directives
            .any(|directive| ["private", "no-store"].iter().any(|word| directive.eq_ignore_ascii_case(word)))
    });
    if !private {
        headers.append(header::CACHE_CONTROL, HeaderValue::from_static("private"));
    }
}
