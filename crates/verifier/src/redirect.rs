//! Redirects by an upstream that lead to another place of the same offer: no service yet, only the
//! place's other name.

use http::{HeaderValue, Method, Response, StatusCode, Uri, header};
use obol_core::{Offer, Pattern};

/// Where the response to a request of this method sends the client on within the offer: its
/// `Location` under the offer's path, where the client can follow it. Any other redirect is a
/// service like any other answer: to what was made by a POST, to a file that was made for the buyer,
/// to what the same upstream has beside the offer.
pub(crate) fn within<B>(offer: &Offer, method: &Method, response: &Response<B>) -> Option<HeaderValue> {
    let moved = matches!(
        response.status(),
        StatusCode::MOVED_PERMANENTLY
            | StatusCode::FOUND
            | StatusCode::TEMPORARY_REDIRECT
            | StatusCode::PERMANENT_REDIRECT
    );
    if !moved || !matches!(*method, Method::GET | Method::HEAD) {
        return None;
    }
    let location = response.headers().get(header::LOCATION)?.to_str().ok()?;
    let base = offer.upstream.base.as_deref()?;
    // Two slashes would be another server's name.
    let below = below(base, path_within(base, location)?).filter(|below| !below.starts_with("//"))?;
    let outside = format!("{}{below}", offer.upstream.strip);
    is_sold_with(offer, &outside).then(|| HeaderValue::try_from(outside).ok())?
}

/// Whether the offer's path is this one, or it sells everything below its path and this is there.
fn is_sold_with(offer: &Offer, outside: &str) -> bool {
    let path = outside.split(['?', '#']).next().unwrap_or_default();
    match &offer.path {
        Pattern::Exact(own) => path == own,
        Pattern::Below(own) => {
            let rest = path.strip_prefix(own.trim_end_matches('/'));
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        }
        // Where it leads to may be another offer's.
        Pattern::Glob(_) => false,
    }
}

/// The path that the upstream names on itself.
fn path_within<'l>(base: &str, location: &'l str) -> Option<&'l str> {
    let after_scheme = match (location.split_once("://"), location.strip_prefix("//")) {
        (Some((scheme, rest)), _) if !scheme.contains(['/', '?', '#']) => rest,
        (_, Some(rest)) => rest,
        _ => return location.starts_with('/').then_some(location),
    };
    let ends = after_scheme.find(['/', '?', '#']).unwrap_or(after_scheme.len());
    let (authority, path) = after_scheme.split_at(ends);
    let ours = base.parse::<Uri>().ok()?;
    ours.authority()?.as_str().eq_ignore_ascii_case(authority).then_some(path)
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

    fn led(base: &str, method: &Method, status: u16, location: &str) -> Option<String> {
        let offer = Offer {
            id: OfferId { namespace: "test".to_owned(), name: "test".to_owned() },
            description: String::new(),
            host: None,
            path: Pattern::Below("/services/hello".to_owned()),
            upstream: Upstream {
                base: Some(base.to_owned()),
                strip: "/services/hello".to_owned(),
                authorization: None,
                header_timeout: Duration::from_secs(1),
            },
            accepts: vec![],
            charge: Charge::BeforeBody,
            on_disconnect: Disconnect::Release,
            paused: false,
            sunset: None,
        };
        let response = Response::builder().status(status).header("location", location).body(()).unwrap();
        within(&offer, method, &response).map(|location| location.to_str().unwrap().to_owned())
    }

    #[test]
    fn a_redirect_within_the_offer_leads_back_to_it_and_every_other_is_a_service() {
        let plain = "http://127.0.0.1:9000";
        let deep = "https://api.example/v2";
        for (base, location, outside) in [
            (plain, "/sub/", "/services/hello/sub/"),
            (plain, "/", "/services/hello/"),
            (plain, "http://127.0.0.1:9000/sub/?q=1#x", "/services/hello/sub/?q=1#x"),
            (plain, "//127.0.0.1:9000/sub", "/services/hello/sub"),
            (plain, "http://127.0.0.1:9000", "/services/hello"),
            (deep, "/v2/sub/", "/services/hello/sub/"),
            (deep, "HTTPS://API.EXAMPLE/v2?q", "/services/hello?q"),
        ] {
            for status in [301, 302, 307, 308] {
                assert_eq!(
                    led(base, &Method::GET, status, location).as_deref(),
                    Some(outside),
                    "{base} {location}"
                );
            }
        }
        for (base, method, status, location) in [
            (plain, Method::GET, 302, "https://files.example/made-for-you"),
            (plain, Method::GET, 302, "//files.example/made-for-you"),
            (plain, Method::GET, 302, "http://127.0.0.1:9001/"),
            (plain, Method::GET, 302, "http://127.0.0.1:9000//evil.example/x"),
            (plain, Method::GET, 302, "sub/"),
            (plain, Method::GET, 303, "/sub/"),
            (plain, Method::GET, 300, "/sub/"),
            (plain, Method::GET, 200, "/sub/"),
            (plain, Method::GET, 304, "/sub/"),
            (plain, Method::POST, 302, "/sub/"),
            (plain, Method::POST, 307, "/sub/"),
            (deep, Method::GET, 302, "https://api.example/files/made-for-you"),
            (deep, Method::GET, 302, "/v20/x"),
            (deep, Method::GET, 302, "/login"),
        ] {
            assert_eq!(led(base, &method, status, location), None, "{method} {status} {location}");
        }
    }
}
