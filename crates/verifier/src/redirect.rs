//! Redirects by an upstream that lead to the upstream itself: no service yet, only its name for
//! another place of the same offer.

use http::{HeaderValue, Response, Uri, header};
use obol_core::Offer;

/// Whether the response sends the client on within the same upstream. Then its `Location` is put
/// back under the offer's path, where the client can follow it. A redirect to elsewhere, such as
/// to a file that was made for the buyer, is a service like any other answer.
pub(crate) fn is_within<B>(offer: &Offer, response: &mut Response<B>) -> bool {
    if !matches!(response.status().as_u16(), 300..=303 | 307 | 308) {
        return false;
    }
    let Some(location) = response.headers().get(header::LOCATION).and_then(|to| to.to_str().ok()) else {
        return false;
    };
    let Some(path) = path_within(&offer.upstream.base, location) else { return false };
    let below = path.and_then(|path| below(&offer.upstream.base, path));
    let outside = below.map(|below| format!("{}{below}", offer.path.trim_end_matches('/')));
    if let Some(outside) = outside.and_then(|outside| HeaderValue::try_from(outside).ok()) {
        response.headers_mut().insert(header::LOCATION, outside);
    }
    true
}

/// The path that the upstream names; an inner none for one that is relative, which is right as it
/// is, and an outer for one on another server.
fn path_within<'l>(base: &str, location: &'l str) -> Option<Option<&'l str>> {
    let after_scheme = match (location.split_once("://"), location.strip_prefix("//")) {
        (Some((scheme, rest)), _) if !scheme.contains(['/', '?', '#']) => rest,
        (_, Some(rest)) => rest,
        _ => return Some(location.starts_with('/').then_some(location)),
    };
    let ends = after_scheme.find(['/', '?', '#']).unwrap_or(after_scheme.len());
    let (authority, path) = after_scheme.split_at(ends);
    let ours = base.parse::<Uri>().ok()?;
    ours.authority()?.as_str().eq_ignore_ascii_case(authority).then_some(Some(path))
}

/// What is left of the path when the upstream's own is taken off.
fn below<'p>(base: &str, path: &'p str) -> Option<&'p str> {
    let base = base.split_once("://").map_or(base, |(_, rest)| rest);
    let own = base.find('/').map_or("", |at| &base[at..]);
    path.strip_prefix(own).filter(|rest| rest.is_empty() || rest.starts_with(['/', '?', '#']))
}

#[cfg(test)]
mod tests {
    use super::*;
    use obol_core::{Charge, Disconnect, OfferId, Upstream};
    use std::time::Duration;

    fn led(base: &str, status: u16, location: &str) -> Option<String> {
        let offer = Offer {
            id: OfferId { namespace: "test".to_owned(), name: "test".to_owned() },
            description: String::new(),
            host: None,
            path: "/services/hello".to_owned(),
            upstream: Upstream {
                base: base.to_owned(),
                authorization: None,
                header_timeout: Duration::from_secs(1),
            },
            accepts: vec![],
            charge: Charge::BeforeBody,
            on_disconnect: Disconnect::Release,
            paused: false,
        };
        let mut response = Response::builder().status(status).header("location", location).body(()).unwrap();
        let within = is_within(&offer, &mut response);
        within.then(|| response.headers()["location"].to_str().unwrap().to_owned())
    }

    #[test]
    fn a_redirect_within_the_upstream_leads_to_the_same_place_of_the_offer() {
        let plain = "http://127.0.0.1:9000";
        let deep = "https://api.example/v2";
        for (base, location, outside) in [
            (plain, "/sub/", "/services/hello/sub/"),
            (plain, "/", "/services/hello/"),
            (plain, "http://127.0.0.1:9000/sub/?q=1#x", "/services/hello/sub/?q=1#x"),
            (plain, "//127.0.0.1:9000/sub", "/services/hello/sub"),
            (plain, "http://127.0.0.1:9000", "/services/hello"),
            (plain, "sub/", "sub/"),
            (plain, "?next=http://elsewhere.example/", "?next=http://elsewhere.example/"),
            (deep, "/v2/sub/", "/services/hello/sub/"),
            (deep, "HTTPS://API.EXAMPLE/v2?q", "/services/hello?q"),
            // Not in reach of the offer: as it is.
            (deep, "/v20/x", "/v20/x"),
            (deep, "/login", "/login"),
        ] {
            assert_eq!(led(base, 301, location).as_deref(), Some(outside), "{base} {location}");
        }
        for (status, location) in [
            (302, "https://files.example/made-for-you"),
            (302, "//files.example/made-for-you"),
            (302, "http://127.0.0.1:9001/"),
            (200, "/sub/"),
            (304, "/sub/"),
        ] {
            assert_eq!(led(plain, status, location), None, "{status} {location}");
        }
    }
}
