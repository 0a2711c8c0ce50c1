//! `/verify`: a proxy asks whether it may forward a request, and describes it in headers.
//!
//! Only proxies that the seller has named may ask: whoever describes a request says who its client
//! is. What they describe goes the way of every other request, up to the payment; instead of an
//! upstream's response the proxy gets leave to forward. It forwards after the money has moved, and
//! the gate does not see what comes of it.

use crate::trust::{FORWARDED_FOR, FORWARDED_HOST};
use http::{HeaderMap, HeaderName, Method, Request, Uri};
use hyper::body::Incoming;
use obol_core::{Reason, Refusal};

/// Where proxies ask that pass each refusal on.
pub(crate) const VERIFY: &str = "/verify";
/// Where nginx's `auth_request` asks.
pub(crate) const AUTH_REQUEST: &str = "/verify/auth-request";
/// Where it gets the refusal that it had to drop.
pub(crate) const RENDER: &str = "/verify/refusal";

const FORWARDED_URI: HeaderName = HeaderName::from_static("x-forwarded-uri");
const FORWARDED_METHOD: HeaderName = HeaderName::from_static("x-forwarded-method");

/// How `/verify` answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ForwardAuth {
    /// Lets verified payments pass without settling them: they are waived, for good.
    pub verify_only: bool,
    /// Tells proxies the offer's upstream credential, for them to pass on.
    pub credentials: bool,
}

/// The request that a proxy describes, in the place of the one that describes it.
pub(crate) fn described(mut request: Request<Incoming>) -> Result<Request<Incoming>, Refusal> {
    let headers = request.headers();
    let uri = parsed::<Uri>(headers, &FORWARDED_URI)?;
    // Cut off when it is parsed, and passed on by proxies.
    if headers.get(FORWARDED_URI).is_some_and(|uri| uri.as_bytes().contains(&b'#')) {
        return Err(Refusal::new(Reason::PathRefused, "it holds a fragment (#)"));
    }
    let method = parsed::<Method>(headers, &FORWARDED_METHOD)?;
    // Otherwise the proxy's own would be taken for the client's.
    for name in [&FORWARDED_HOST, &FORWARDED_FOR] {
        if !headers.contains_key(name) {
            return Err(refuse(name, "is missing"));
        }
    }
    *request.uri_mut() = uri;
    *request.method_mut() = method;
    Ok(request)
}

/// A header that a proxy sets, and that has to be there once: of two, one is the client's.
fn parsed<T: std::str::FromStr>(headers: &HeaderMap, name: &HeaderName) -> Result<T, Refusal> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => {
            let read = value.to_str().ok().and_then(|text| text.parse().ok());
            read.ok_or_else(|| refuse(name, "cannot be read"))
        }
        (Some(_), Some(_)) => Err(refuse(name, "came more than once")),
        (None, _) => Err(refuse(name, "is missing")),
    }
}

fn refuse(name: &HeaderName, what: &str) -> Refusal {
    Refusal::new(
        Reason::RequestRefused,
        format!("{name} {what}; the proxy has to set it from the client\'s request"),
    )
}
