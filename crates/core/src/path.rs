use crate::{Reason, Refusal};
use std::borrow::Cow;

/// First segments of paths that a gate answers itself: nothing is sold there.
pub const OWN_PATHS: [&str; 4] = ["healthz", "readyz", "receipts", "verify"];

/// A request's path that every reader reads the same way.
///
/// Proxies, gates and upstreams normalise paths differently, and what one of them takes for an
/// unpaid path another takes for a paid one. Paths with a spelling that leaves room for that
/// are refused rather than repaired.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestPath<'a> {
    raw: &'a str,
    decoded: Cow<'a, str>,
}

impl<'a> RequestPath<'a> {
    /// `raw` is the path of an origin-form request target: without query and fragment.
    pub fn parse(raw: &'a str) -> Result<Self, Refusal> {
        if !raw.starts_with('/') {
            return refuse("it does not begin with a slash");
        }
        let decoded = decode(raw)?;
        // The first is what is before the leading slash; only the last may be empty too.
        let mut segments = decoded.as_bytes().split(|&byte| byte == b'/').skip(1).peekable();
        while let Some(segment) = segments.next() {
            match segment {
                b"" if segments.peek().is_some() => return refuse("it holds an empty segment (//)"),
                b"." | b".." => return refuse("it holds a dot segment"),
                _ => {}
            }
        }
        Ok(Self { raw, decoded })
    }

    /// Percent-decoded, for matching.
    pub fn decoded(&self) -> &str {
        &self.decoded
    }

    /// What is left, as the client spelled it, without the first `segments` segments: empty, or
    /// beginning with a slash.
    pub fn after(&self, segments: usize) -> &'a str {
        let mut slashes = self.raw.match_indices('/');
        // No segment can hold an encoded slash, so raw and decoded segments are the same ones.
        match slashes.nth(segments) {
            Some((at, _)) => &self.raw[at..],
            None => "",
        }
    }
}

fn refuse<T>(detail: &'static str) -> Result<T, Refusal> {
    Err(Refusal::new(Reason::PathRefused, detail))
}

fn decode(raw: &str) -> Result<Cow<'_, str>, Refusal> {
    let ambiguous = |byte: u8| matches!(byte, b'\\' | b';' | b'?' | b'#') || byte.is_ascii_control();
    if raw.bytes().any(|byte| ambiguous(byte) || byte == b' ' || !byte.is_ascii()) {
        return refuse("it holds a backslash, a semicolon, or a character that has to be encoded");
    }
    if !raw.contains('%') {
        return Ok(Cow::Borrowed(raw));
    }
    let mut bytes = Vec::with_capacity(raw.len());
    let mut rest = raw.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        rest = tail;
        if first != b'%' {
            bytes.push(first);
            continue;
        }
        let [high, low, tail @ ..] = tail else { return refuse("it holds a broken percent encoding") };
        let (Some(high), Some(low)) = (hex(*high), hex(*low)) else {
            return refuse("it holds a broken percent encoding");
        };
        let byte = high << 4 | low;
        if byte == b'/' || byte == b'\\' || byte == b';' || byte.is_ascii_control() {
            return refuse("it holds an encoded slash, backslash, semicolon or control character");
        }
        bytes.push(byte);
        rest = tail;
    }
    let Ok(text) = String::from_utf8(bytes) else {
        return refuse("it is not UTF-8 when decoded");
    };
    let encoded_twice = text
        .as_bytes()
        .windows(3)
        .any(|three| three[0] == b'%' && hex(three[1]).is_some() && hex(three[2]).is_some());
    if encoded_twice {
        return refuse("it is percent-encoded twice");
    }
    Ok(Cow::Owned(text))
}

const fn hex(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_paths_pass_unchanged() {
        for path in
            ["/", "/a", "/a/", "/services/demo-hello/x.json", "/~me/a_b/c..d/...", "/a:b@c,d=e+f!$&'()*"]
        {
            assert_eq!(RequestPath::parse(path).expect(path).decoded(), path);
        }
    }

    #[test]
    fn encoded_letters_are_matched_as_what_they_are() {
        let path = RequestPath::parse("/services/demo%2Dhello/a%20b/%F0%9F%99%82").expect("plain");
        assert_eq!(path.decoded(), "/services/demo-hello/a b/🙂");
        assert_eq!(path.after(2), "/a%20b/%F0%9F%99%82");
    }

    #[test]
    fn spellings_that_readers_disagree_about_are_refused() {
        for path in [
            "",
            "a",
            "*",
            "http://x/a",
            "//",
            "//a",
            "/a//b",
            "/a//",
            "/.",
            "/./a",
            "/a/.",
            "/a/..",
            "/../a",
            "/a/../b",
            "/%2e/a",
            "/a/%2e%2e/b",
            "/a/.%2E/b",
            "/a/%2E",
            "/a%2fb",
            "/a%2Fb",
            "/%2F/a",
            "/a%5cb",
            "/a%5C..%5Cb",
            "/a\\b",
            "/a;x=1/b",
            "/a%3bx",
            "/a%3B",
            "/a%00",
            "/a%0a",
            "/a%7f",
            "/a%",
            "/a%2",
            "/a%zz",
            "/a%252e%252e/b",
            "/a%252Fb",
            "/%c0%ae%c0%ae/a",
            "/a%ff",
            "/a b",
            "/a\u{e9}",
            "/a#b",
            "/a?b",
            "/a\tb",
        ] {
            let refusal = RequestPath::parse(path).expect_err(path);
            assert_eq!(refusal.reason, Reason::PathRefused, "{path}");
        }
    }

    #[test]
    fn the_rest_after_segments_keeps_its_slash() {
        let path = RequestPath::parse("/a/b/c/").expect("plain");
        let rests: Vec<_> = (0..6).map(|segments| path.after(segments)).collect();
        assert_eq!(rests, ["/a/b/c/", "/b/c/", "/c/", "/", "", ""]);
    }
}
