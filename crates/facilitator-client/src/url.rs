use reqwest::Url as Parsed;
use std::fmt;

/// Where a facilitator is: `https`, or `http` on this machine. Payments travel there whole, so that
/// nobody on the way may read them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Url(String);

/// Why a facilitator cannot be asked there. An address is never repeated, since it may hold a secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    #[error("it is no URL: {0}")]
    NotUrl(String),
    #[error(
        "it begins with {0}://, not https:// (http:// is for this machine only, such as http://127.0.0.1:8090)"
    )]
    Scheme(String),
    #[error("it has a user or password; a token goes into --facilitator-tokens-file")]
    Credentials,
    #[error("it has a query or a fragment; write it up to where /verify and /settle follow")]
    Tail,
}

impl Url {
    pub fn parse(text: &str) -> Result<Self, UrlError> {
        let url: Parsed = text.parse().map_err(|error| UrlError::NotUrl(format!("{error}")))?;
        let here = url.host_str().is_some_and(is_this_machine);
        match url.scheme() {
            "https" => {}
            "http" if here => {}
            other => return Err(UrlError::Scheme(other.to_owned())),
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(UrlError::Credentials);
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(UrlError::Tail);
        }
        Ok(Self(url.as_str().trim_end_matches('/').to_owned()))
    }

    /// Without a slash at its end.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Scheme, host and port: a path may hold a secret.
    pub fn origin(&self) -> &str {
        let host = self.0.find("://").map_or(0, |at| at + 3);
        let end = self.0[host..].find('/').map_or(self.0.len(), |at| host + at);
        &self.0[..end]
    }

    pub(crate) fn at(&self, path: &str) -> String {
        format!("{}{path}", self.0)
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn is_this_machine(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || address.parse().is_ok_and(|address: std::net::IpAddr| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payments_leave_this_machine_encrypted_only() {
        for good in
            ["https://x402.example/v1/", "http://127.0.0.1:8090", "http://[::1]:1/a", "http://localhost:2"]
        {
            assert_eq!(
                Url::parse(good).map(|url| url.to_string()),
                Ok(good.trim_end_matches('/').to_owned())
            );
        }
        for clear in ["http://x402.example", "http://10.0.0.1", "ftp://127.0.0.1", "http://localhost.example"]
        {
            assert!(matches!(Url::parse(clear), Err(UrlError::Scheme(_))), "{clear}");
        }
    }

    #[test]
    fn an_address_holds_no_secret() {
        assert_eq!(Url::parse("https://me:sesame@x402.example"), Err(UrlError::Credentials));
        for tail in ["https://x402.example/?key=sesame", "https://x402.example/#sesame"] {
            assert_eq!(Url::parse(tail), Err(UrlError::Tail));
        }
        assert!(matches!(Url::parse("x402.example"), Err(UrlError::NotUrl(_))));
    }
}
