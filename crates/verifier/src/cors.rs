//! What browsers ask before they let a page pay.

use crate::body::GateBody;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, header};

const READABLE: HeaderValue =
    HeaderValue::from_static("PAYMENT-REQUIRED, PAYMENT-RESPONSE, X-PAYMENT-RESPONSE, Retry-After, Sunset");

const ALWAYS_ALLOWED: &str = "payment-signature, x-payment, content-type, authorization, accept";

/// The answer to a preflight, or nothing when the request is none. Only the question is
/// answered: the upstream is not asked, so nothing is given away.
pub(crate) fn preflight(method: &Method, headers: &HeaderMap) -> Option<Response<GateBody>> {
    if method != Method::OPTIONS {
        return None;
    }
    let asked = headers.get(header::ACCESS_CONTROL_REQUEST_METHOD)?;
    let origin = headers.get(header::ORIGIN)?;
    let mut allowed = ALWAYS_ALLOWED.to_owned();
    if let Some(more) =
        headers.get(header::ACCESS_CONTROL_REQUEST_HEADERS).and_then(|more| more.to_str().ok())
    {
        for name in more.split(',').map(str::trim) {
            if name.parse::<HeaderName>().is_ok() {
                allowed.push_str(", ");
                allowed.push_str(name);
            }
        }
    }
    let mut response = Response::new(GateBody::own(""));
    *response.status_mut() = StatusCode::NO_CONTENT;
    let answer = response.headers_mut();
    answer.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
    answer.insert(header::VARY, HeaderValue::from_static("Origin"));
    answer.insert(header::ACCESS_CONTROL_ALLOW_METHODS, asked.clone());
    answer.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
    if let Ok(allowed) = HeaderValue::from_str(&allowed) {
        answer.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, allowed);
    }
    Some(response)
}

/// Lets a page of another origin read the response and its receipts. An upstream that has its
/// own word on origins keeps it.
pub(crate) fn expose(headers: &mut HeaderMap, origin: Option<&HeaderValue>) {
    let Some(origin) = origin else { return };
    if !headers.contains_key(header::ACCESS_CONTROL_ALLOW_ORIGIN) {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
        headers.append(header::VARY, HeaderValue::from_static("Origin"));
    }
    headers.append(header::ACCESS_CONTROL_EXPOSE_HEADERS, READABLE);
}
