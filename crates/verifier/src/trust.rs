//! Which peers may say what the client's request was.

use http::{HeaderMap, HeaderName, header};
use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    str::FromStr,
};

pub(crate) const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
pub(crate) const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// A network in CIDR form, or one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    prefix: u8,
}

/// Why a text is not a network of proxies.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NetworkError {
    #[error("{0:?} is neither an IP address nor a network such as 10.0.0.0/8")]
    NotANetwork(String),
    #[error("{0} is everybody, and whoever is trusted can forge a client's address; name your proxies only")]
    Everybody(String),
}

impl FromStr for Network {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, NetworkError> {
        let refused = || NetworkError::NotANetwork(text.to_owned());
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| refused())?;
        let longest = if address.is_ipv4() { 32 } else { 128 };
        let prefix = prefix.map_or(Ok(longest), |prefix| prefix.parse().map_err(|_| refused()))?;
        if prefix > longest {
            return Err(refused());
        }
        if prefix == 0 {
            return Err(NetworkError::Everybody(text.to_owned()));
        }
        Ok(Self { address, prefix })
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

impl Network {
    fn contains(&self, peer: IpAddr) -> bool {
        let (mine, theirs, width) = match (self.address, peer.to_canonical()) {
            (IpAddr::V4(mine), IpAddr::V4(theirs)) => {
                (u128::from(mine.to_bits()), u128::from(theirs.to_bits()), 32)
            }
            (IpAddr::V6(mine), IpAddr::V6(theirs)) => (mine.to_bits(), theirs.to_bits(), 128),
            _ => return false,
        };
        let shift = width - u32::from(self.prefix);
        mine.checked_shr(shift).unwrap_or(0) == theirs.checked_shr(shift).unwrap_or(0)
    }
}

/// What the client's request looked like from outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Outside {
    pub(crate) client: IpAddr,
    pub(crate) proto: &'static str,
    /// As the client spelled it, port included.
    pub(crate) host: Option<String>,
}

/// The peers whose forwarded headers count. Empty by default: then they are ignored.
#[derive(Clone, Debug, Default)]
pub struct TrustedProxies(Vec<Network>);

impl TrustedProxies {
    pub const fn new(networks: Vec<Network>) -> Self {
        Self(networks)
    }

    pub(crate) fn trusts(&self, peer: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(peer))
    }

    pub(crate) fn outside(&self, peer: IpAddr, headers: &HeaderMap) -> Outside {
        let host = headers.get(header::HOST).and_then(|value| value.to_str().ok()).map(str::to_owned);
        if !self.trusts(peer) {
            return Outside { client: peer, proto: "http", host };
        }
        // The last address that no trusted proxy added is the client. What cannot be read ends the
        // search: before it stands what anybody may have written.
        let mut client = peer;
        for entry in entries(headers, FORWARDED_FOR).rev() {
            let Some(address) = entry.and_then(address) else { break };
            client = address;
            if !self.trusts(address) {
                break;
            }
        }
        let last = |name| entries(headers, name).next_back().flatten();
        let proto = if last(FORWARDED_PROTO) == Some("https") { "https" } else { "http" };
        Outside { client, proto, host: last(FORWARDED_HOST).map(str::to_owned).or(host) }
    }
}

/// The entries of a list that proxies append to; none in place of one that is not text.
fn entries(headers: &HeaderMap, name: HeaderName) -> impl DoubleEndedIterator<Item = Option<&str>> {
    let lists = headers.get_all(name).into_iter().map(|value| value.to_str().ok());
    lists
        .flat_map(|list| list.map_or(vec![None], |list| list.split(',').map(str::trim).map(Some).collect()))
        .collect::<Vec<_>>()
        .into_iter()
}

/// With or without a port, as proxies write it.
fn address(entry: &str) -> Option<IpAddr> {
    let bare = || entry.strip_prefix('[')?.strip_suffix(']')?.parse().ok();
    entry.parse().ok().or_else(|| entry.parse::<SocketAddr>().ok().map(|at| at.ip())).or_else(bare)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn request() -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("host", "inside:8080"),
            ("x-forwarded-host", "shop.example"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-for", "6.6.6.6, 203.0.113.9, 10.1.2.3"),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn forwarded_headers_of_a_stranger_count_for_nothing() {
        let peer = "198.51.100.7".parse().unwrap();
        let seen = TrustedProxies::default().outside(peer, &request());
        assert_eq!(seen, Outside { client: peer, proto: "http", host: Some("inside:8080".to_owned()) });
    }

    #[test]
    fn a_trusted_proxy_tells_the_outside_and_the_client_cannot_add_to_it() {
        let trusted = TrustedProxies::new(vec!["10.0.0.0/8".parse().unwrap()]);
        let seen = trusted.outside("10.9.9.9".parse().unwrap(), &request());
        let client = "203.0.113.9".parse().unwrap();
        assert_eq!(seen, Outside { client, proto: "https", host: Some("shop.example".to_owned()) });
    }

    #[test]
    fn no_entry_that_a_client_wrote_is_taken_for_its_address() {
        let trusted = TrustedProxies::new(vec!["10.0.0.0/8".parse().unwrap()]);
        for (list, client) in [
            ("6.6.6.6, 203.0.113.9:4711", "203.0.113.9"),
            ("6.6.6.6, [2001:db8::1]:4711, 10.1.2.3", "2001:db8::1"),
            ("6.6.6.6, [2001:db8::1]", "2001:db8::1"),
            ("6.6.6.6, unknown", "10.9.9.9"),
            ("6.6.6.6, , 10.1.2.3", "10.1.2.3"),
            ("10.1.2.3", "10.1.2.3"),
            ("", "10.9.9.9"),
        ] {
            let mut headers = request();
            headers.insert(FORWARDED_FOR, HeaderValue::from_static(list));
            headers.append(FORWARDED_HOST, HeaderValue::from_static("evil.example, last.example"));
            let seen = trusted.outside("10.9.9.9".parse().unwrap(), &headers);
            assert_eq!(seen.client, client.parse::<IpAddr>().unwrap(), "{list}");
            assert_eq!(seen.host.as_deref(), Some("last.example"));
        }
    }

    #[test]
    fn networks_contain_what_their_prefix_says() {
        for (network, inside, outside) in [
            ("10.0.0.0/8", "10.255.0.1", "11.0.0.1"),
            ("192.168.1.7", "192.168.1.7", "192.168.1.8"),
            ("fd00::/8", "fd12::1", "fe80::1"),
            ("10.0.0.0/8", "::ffff:10.0.0.1", "::1"),
        ] {
            let network: Network = network.parse().unwrap();
            assert!(network.contains(inside.parse().unwrap()), "{network} {inside}");
            assert!(!network.contains(outside.parse().unwrap()), "{network} {outside}");
        }
        for text in ["", "10.0.0.0/33", "10.0.0/8", "example.org", "10.0.0.0/x"] {
            assert!(matches!(text.parse::<Network>(), Err(NetworkError::NotANetwork(_))), "{text:?}");
        }
    }

    #[test]
    fn everybody_is_no_proxy() {
        for text in ["0.0.0.0/0", "::/0", "10.1.2.3/0"] {
            assert_eq!(text.parse::<Network>(), Err(NetworkError::Everybody(text.to_owned())));
        }
    }
}
