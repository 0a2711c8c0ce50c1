//! Which headers pass the gate, in both directions.

use http::{HeaderMap, HeaderName, HeaderValue, header};
use std::net::IpAddr;

/// The payment and what the gate says about it: never the client's to forge, and none of the
/// upstream's business. Compared in a spelling in which `_` and `.` are `-`, since some servers
/// read them as the same name.
const STRIPPED: &[&str] = &[
    "payment-signature",
    "payment-required",
    "payment-response",
    // The mark that a published client leaves on a request that it has paid for.
    "payment-retry",
    "x-payment",
    "x-payment-response",
    "x-payment-payer",
    "x-payment-verified",
    "x-payment-settled",
    "x-verified-wallet",
    "sign-in-with-x",
    "forwarded",
    // CGI programs take it for the proxy that they are to use.
    "proxy",
    "remote-user",
    "x-remote-user",
    "x-client-ip",
    "x-cluster-client-ip",
    "true-client-ip",
    "cf-connecting-ip",
    "x-original-url",
    "x-original-uri",
    "x-original-method",
    "x-rewrite-url",
    "x-http-method-override",
    "x-http-method",
    "x-method-override",
    "x-real-ip",
];

/// Of one connection, not of the message.
const HOP_BY_HOP: &[&str] = &[
    "connection",
    "keep-alive",
    "proxy-connection",
    "proxy-authenticate",
    "proxy-authorization",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// The gate's own names for the upstream, and what proxies say about who asks.
const PREFIXES: &[&str] = &["x-obol-", "x-forwarded", "x-auth-request-"];

fn canonical(name: &HeaderName) -> String {
    name.as_str().replace(['_', '.'], "-")
}

/// What goes to the upstream: the client's headers without those that are the gate's to set, the
/// connection's, or named by `Connection`.
pub(crate) fn to_upstream(client: HeaderMap) -> HeaderMap {
    without(client, |canonical| {
        STRIPPED.contains(&canonical)
            || HOP_BY_HOP.contains(&canonical)
            || PREFIXES.iter().any(|prefix| canonical.starts_with(prefix))
    })
}

/// What comes back from the upstream, without what only the gate may say.
pub(crate) fn from_upstream(upstream: HeaderMap) -> HeaderMap {
    const OURS: &[&str] =
        &["payment-required", "payment-response", "x-payment-response", "x-payment-settled"];
    without(upstream, |canonical| OURS.contains(&canonical) || HOP_BY_HOP.contains(&canonical))
}

fn without(headers: HeaderMap, dropped: impl Fn(&str) -> bool) -> HeaderMap {
    let named: Vec<String> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(|name| name.trim().to_ascii_lowercase())
        // A client must not be able to strip what the upstream needs for a correct answer.
        .filter(|name| !matches!(name.as_str(), "host" | "content-length" | "content-type" | "authorization"))
        .collect();
    let mut kept = HeaderMap::with_capacity(headers.len() + 4);
    let mut last = None;
    for (name, value) in headers {
        // A repeated name comes without its name after the first.
        let name = match (name, &last) {
            (Some(name), _) => name,
            (None, Some(last)) => HeaderName::clone(last),
            (None, None) => continue,
        };
        last = Some(name.clone());
        let canonical = canonical(&name);
        // `Content_Length` is the length of another message to some servers.
        let disguised = canonical == "content-length" && name != header::CONTENT_LENGTH;
        if !disguised && !dropped(&canonical) && !named.iter().any(|named| named == name.as_str()) {
            kept.append(name, value);
        }
    }
    kept
}

/// Tells the upstream who asked, as far as the gate knows it.
pub(crate) fn tell_client(headers: &mut HeaderMap, client: IpAddr, host: Option<&str>, proto: &'static str) {
    let mut set = |name: &'static str, value: &str| {
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.insert(HeaderName::from_static(name), value);
        }
    };
    set("x-forwarded-for", &client.to_string());
    set("x-forwarded-proto", proto);
    if let Some(host) = host {
        set("x-forwarded-host", host);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in pairs {
            map.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_static(value));
        }
        map
    }

    #[test]
    fn payment_and_identity_headers_stop_here_in_every_spelling() {
        for name in [
            "x-payment",
            "X_PAYMENT",
            "x.payment",
            "PAYMENT-SIGNATURE",
            "payment_signature",
            "Payment-Retry",
            "X-Payment-Payer",
            "x_payment_payer",
            "x.payment.payer",
            "x-verified-wallet",
            "X-Forwarded-For",
            "x_forwarded_uri",
            "X-Forwarded-User",
            "X-Forwarded-Groups",
            "x.auth.request.email",
            "True-Client-IP",
            "forwarded",
            "x-original-url",
            "x-http-method-override",
            "x-obol-anything",
            "x_obol_anything",
            "te",
            "upgrade",
            "proxy-authorization",
        ] {
            assert!(to_upstream(headers(&[(name, "forged")])).is_empty(), "{name}");
        }
    }

    #[test]
    fn ordinary_headers_pass_with_all_their_values() {
        let passed = to_upstream(headers(&[("accept", "a"), ("accept", "b"), ("x-mine", "c")]));
        let accepted: Vec<_> = passed.get_all("accept").iter().collect();
        assert_eq!(accepted, ["a", "b"]);
        assert_eq!(passed["x-mine"], "c");
    }

    #[test]
    fn headers_named_by_connection_are_dropped_but_not_those_that_frame_the_message() {
        let passed = to_upstream(headers(&[
            ("connection", "close, X-Mine, Authorization"),
            ("x-mine", "dropped"),
            ("authorization", "kept"),
        ]));
        assert!(!passed.contains_key("x-mine") && passed.contains_key("authorization"));
        assert!(!passed.contains_key("connection"));
    }

    #[test]
    fn an_upstream_cannot_forge_a_receipt() {
        let passed =
            from_upstream(headers(&[("payment-response", "x"), ("X_PAYMENT_RESPONSE", "x"), ("etag", "1")]));
        assert_eq!(passed.len(), 1);
    }
}
