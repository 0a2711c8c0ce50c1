//! Requests that every HTTP parser reads alike. What a proxy in front reads differently from the
//! gate, or the gate from an upstream, is refused rather than repaired.

use http::{HeaderMap, Version, header};
use obol_core::{Reason, Refusal};

/// hyper has refused what has no single meaning for the body's length; who is asked, and how the
/// body is coded, is left to us.
pub(crate) fn check(version: Version, headers: &HeaderMap) -> Result<(), Refusal> {
    let refuse = |detail: &'static str| Err(Refusal::new(Reason::RequestRefused, detail));
    match headers.get_all(header::HOST).iter().count() {
        1 => {}
        0 if version < Version::HTTP_11 => {}
        0 => return refuse("it has no Host header"),
        _ => return refuse("it has more than one Host header"),
    }
    let mut codings = headers.get_all(header::TRANSFER_ENCODING).iter();
    match (codings.next(), codings.next()) {
        (None, _) => Ok(()),
        (Some(coding), None) if coding.as_bytes().eq_ignore_ascii_case(b"chunked") => Ok(()),
        _ => refuse("its Transfer-Encoding is not just chunked"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn checked(version: Version, pairs: &[(&'static str, &'static str)]) -> Result<(), Reason> {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, HeaderValue::from_static(value));
        }
        check(version, &headers).map_err(|refusal| refusal.reason)
    }

    #[test]
    fn one_host_is_named_except_by_old_clients() {
        assert_eq!(checked(Version::HTTP_11, &[("host", "a")]), Ok(()));
        assert_eq!(checked(Version::HTTP_10, &[]), Ok(()));
        for (version, pairs) in [
            (Version::HTTP_11, &[][..]),
            (Version::HTTP_11, &[("host", "a"), ("host", "a")]),
            (Version::HTTP_10, &[("host", "a"), ("host", "b")]),
        ] {
            assert_eq!(checked(version, pairs), Err(Reason::RequestRefused), "{pairs:?}");
        }
    }

    #[test]
    fn a_body_is_chunked_or_has_a_length_and_is_nothing_else() {
        let with = |coding| checked(Version::HTTP_11, &[("host", "a"), ("transfer-encoding", coding)]);
        assert_eq!((with("chunked"), with("Chunked")), (Ok(()), Ok(())));
        for coding in ["gzip, chunked", "chunked, chunked", "identity", ""] {
            assert_eq!(with(coding), Err(Reason::RequestRefused), "{coding}");
        }
    }
}
