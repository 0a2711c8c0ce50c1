//! Where a resource is.

use serde::{Deserialize, Serialize};
use std::fmt;
use url::Url;

/// Bytes of an address.
const LONGEST: usize = 2_048;

/// How often a template may have been encoded.
const PASSES: usize = 5;

/// The canonical address of a resource: `http` or `https`, without credentials, query and fragment.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct ResourceUrl(String);

/// The pattern that many addresses of one resource share, such as `/users/:id`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct RouteTemplate(String);

/// Why text is no address of a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ResourceError {
    #[error("resource.url is not an http or https URL")]
    Scheme,
    #[error("resource.url has a user name or a password")]
    Credentials,
    #[error("resource.url is longer than {LONGEST} bytes")]
    Long,
    #[error("routeTemplate is not a path of letters, digits and _ / : . - ~ % without .. and ://")]
    Template,
}

impl ResourceUrl {
    /// A template stands for the path.
    pub fn parse(text: &str, template: Option<&RouteTemplate>) -> Result<Self, ResourceError> {
        if text.len() > LONGEST {
            return Err(ResourceError::Long);
        }
        let mut url = Url::parse(text).map_err(|_| ResourceError::Scheme)?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(ResourceError::Scheme);
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(ResourceError::Credentials);
        }
        if let Some(RouteTemplate(template)) = template {
            url.set_path(template);
        }
        Ok(Self(format!("{}{}", url.origin().ascii_serialization(), url.path())))
    }
}

impl RouteTemplate {
    pub fn parse(text: &str) -> Result<Self, ResourceError> {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_/:.-~%".contains(&byte);
        let has_form = text.len() > 1 && text.starts_with('/') && text.bytes().all(is_plain);
        let decoded = decoded(text).filter(|decoded| !decoded.contains("..") && !decoded.contains("://"));
        match decoded {
            Some(_) if has_form && text.len() <= LONGEST => Ok(Self(text.to_owned())),
            _ => Err(ResourceError::Template),
        }
    }
}

/// What is left when nothing is encoded any more.
fn decoded(text: &str) -> Option<String> {
    let mut text = text.to_owned();
    for _ in 0..PASSES {
        let next = decoded_once(&text)?;
        if next == text {
            return Some(text);
        }
        text = next;
    }
    None
}

fn decoded_once(text: &str) -> Option<String> {
    let mut parts = text.split('%');
    let mut bytes = parts.next()?.as_bytes().to_vec();
    for part in parts {
        let (hex, rest) = part.split_at_checked(2)?;
        bytes.push(u8::from_str_radix(hex, 16).ok().filter(|_| !hex.starts_with('+'))?);
        bytes.extend_from_slice(rest.as_bytes());
    }
    String::from_utf8(bytes).ok()
}

impl TryFrom<String> for ResourceUrl {
    type Error = ResourceError;

    /// Of what was canonical before: a template is in it already.
    fn try_from(text: String) -> Result<Self, ResourceError> {
        Self::parse(&text, None)
    }
}

impl TryFrom<String> for RouteTemplate {
    type Error = ResourceError;

    fn try_from(text: String) -> Result<Self, ResourceError> {
        Self::parse(&text)
    }
}

impl fmt::Display for ResourceUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for RouteTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_told_without_what_changes_from_request_to_request() {
        for (text, expected) in [
            ("https://Shop.Example/a?b=c#d", "https://shop.example/a"),
            ("https://shop.example:443", "https://shop.example/"),
            ("http://127.0.0.1:8080/x/../y/%2e%2e/z", "http://127.0.0.1:8080/z"),
            ("https://b\u{fc}cher.example/\u{fc}", "https://xn--bcher-kva.example/%C3%BC"),
        ] {
            let parsed = ResourceUrl::parse(text, None).map(|url| url.to_string());
            assert_eq!(parsed.as_deref(), Ok(expected));
            let again = ResourceUrl::try_from(expected.to_owned()).map(|url| url.to_string());
            assert_eq!(again.as_deref(), Ok(expected), "what is canonical stays");
        }
    }

    #[test]
    fn what_is_no_address_of_a_server_is_refused() {
        for (text, expected) in [
            ("", ResourceError::Scheme),
            ("/relative", ResourceError::Scheme),
            ("ftp://shop.example/x", ResourceError::Scheme),
            ("javascript:alert(1)", ResourceError::Scheme),
            ("file:///etc/passwd", ResourceError::Scheme),
            ("https://", ResourceError::Scheme),
            ("https://user@shop.example/", ResourceError::Credentials),
            ("https://user:word@shop.example/", ResourceError::Credentials),
            (&format!("https://shop.example/{}", "x".repeat(LONGEST)), ResourceError::Long),
        ] {
            assert_eq!(ResourceUrl::parse(text, None), Err(expected), "{text}");
        }
    }

    #[test]
    fn a_template_stands_for_the_path_and_leads_nowhere_else() {
        let template = RouteTemplate::parse("/users/:id/a-b_c.d~%20").expect("a template");
        let url = ResourceUrl::parse("https://shop.example/users/7?x=1", Some(&template));
        assert_eq!(
            url.map(|url| url.to_string()).as_deref(),
            Ok("https://shop.example/users/:id/a-b_c.d~%20")
        );
        for text in [
            "",
            "/",
            "users/:id",
            "/a b",
            "/a?b",
            "/a#b",
            "/a\\b",
            "/\u{e9}",
            "/a/../b",
            "/%2e%2e/b",
            "/%252e%252e/b",
            "/.%2e",
            "/http://evil.example",
            "/http%3a%2f%2fevil.example",
            "/%",
            "/%zz",
            "/%+1",
            "/%ff",
            "/%2525252525252e",
        ] {
            assert_eq!(RouteTemplate::parse(text), Err(ResourceError::Template), "{text}");
        }
    }
}
