//! The 402 as a page, for people who open a paid address in a browser.

use http::{HeaderMap, HeaderValue, header};

pub(crate) const CONTENT_TYPE: HeaderValue = HeaderValue::from_static("text/html; charset=utf-8");

/// The page runs nothing and loads nothing.
pub(crate) const POLICY: HeaderValue =
    HeaderValue::from_static("default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'");

/// Whether a browser asks: it names `text/html` itself, which programs with `*/*` do not.
pub(crate) fn is_wanted(headers: &HeaderMap) -> bool {
    headers
        .get_all(header::ACCEPT)
        .iter()
        .filter_map(|accept| accept.to_str().ok())
        .any(|accept| accept.contains("text/html") || accept.contains("application/xhtml+xml"))
}

/// Shows the challenge's JSON. Everything in it is text to the page.
pub(crate) fn render(challenge: &[u8]) -> String {
    let pretty = serde_json::from_slice::<serde_json::Value>(challenge)
        .and_then(|value| serde_json::to_string_pretty(&value))
        .unwrap_or_else(|_| String::from_utf8_lossy(challenge).into_owned());
    format!(
        "<!doctype html><html lang=en><meta charset=utf-8>\
         <meta name=viewport content=\"width=device-width,initial-scale=1\"><title>Payment required</title>\
         <style>:root{{color-scheme:light dark}}body{{font:16px/1.5 system-ui,sans-serif;max-width:44rem;\
         margin:10vh auto;padding:0 1rem}}pre{{overflow:auto;padding:1rem;border:1px solid;border-radius:.5rem;\
         font-size:.85rem}}</style><h1>Payment required</h1>\
         <p>This address answers each request for a small payment in a stablecoin, by the open x402 protocol. \
         A browser cannot pay by itself; an x402 client or agent can, with what is below.</p>\
         <pre>{}</pre></html>",
        escape(&pretty)
    )
}

fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len() + text.len() / 8);
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_manifest_says_cannot_become_markup() {
        let page = render(br#"{"description":"<script>alert('x')</script>"}"#);
        assert!(!page.contains("<script>"), "{page}");
    }

    #[test]
    fn programs_that_take_anything_get_json() {
        let mut headers = HeaderMap::new();
        assert!(!is_wanted(&headers));
        headers.insert(header::ACCEPT, HeaderValue::from_static("*/*"));
        assert!(!is_wanted(&headers));
        headers.insert(header::ACCEPT, HeaderValue::from_static("text/html,application/xhtml+xml,*/*;q=0.8"));
        assert!(is_wanted(&headers));
    }
}
