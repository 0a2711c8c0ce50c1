use crate::{Amount, Pattern, Requirement};
use std::{
    fmt,
    time::{Duration, SystemTime},
};

/// The namespace under which a facilitator's ledger keeps what it settles for others: no offer's.
pub const FACILITATOR_NAMESPACE: &str = "facilitator";

/// The identity of an offer, stable across reloads and prices.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OfferId {
    pub namespace: String,
    pub name: String,
}

/// Whether a text can be a name or namespace: a DNS label, as Kubernetes asks.
pub fn is_label(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=63).contains(&text.len())
        && text.bytes().all(inner)
        && !text.starts_with('-')
        && !text.ends_with('-')
}

impl fmt::Display for OfferId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// The HTTP service behind an offer.
#[derive(Clone, PartialEq, Eq)]
pub struct Upstream {
    /// `http` or `https` origin with an optional base path and no trailing slash, such as
    /// `http://127.0.0.1:9000` or `https://api.example/v2`. None when only proxies that forward by
    /// themselves know where it is: the gate has nowhere to forward to then.
    pub base: Option<String>,
    /// What is taken off a client's path before it is forwarded: the beginning of the offer's, in
    /// whole segments; empty when nothing is.
    pub strip: String,
    /// Replaces the client's `Authorization`. Never shown.
    pub authorization: Option<String>,
    /// How long the upstream may take until its response headers are here.
    pub header_timeout: Duration,
}

impl fmt::Debug for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upstream")
            .field("base", &self.base)
            .field("strip", &self.strip)
            .field("authorization", &self.authorization.as_ref().map(|_| "[hidden]"))
            .field("header_timeout", &self.header_timeout)
            .finish()
    }
}

/// How much may be delivered and not yet settled when an offer charges optimistically.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exposure {
    /// Atomic units outstanding per payer.
    pub per_payer: Amount,
    /// Atomic units outstanding for the whole offer.
    pub per_offer: Amount,
}

/// When the gate settles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Charge {
    /// After the upstream's success headers and before the first body byte.
    BeforeBody,
    /// After the response, up to this exposure; above it, before the first body byte.
    Optimistic(Exposure),
}

/// What a client's disconnect before the upstream answered means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disconnect {
    /// The payment is released; the payer can use it again.
    Release,
    /// The upstream has side effects: it is waited for, and charged when it succeeds.
    Charge,
}

/// What is sold: an upstream behind a path, and the ways to pay for one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    pub id: OfferId,
    pub description: String,
    /// Only requests for this host are matched, when given. Lower case, without port.
    pub host: Option<String>,
    /// The paths at which the offer is sold, such as `/services/demo-hello` and everything below it.
    pub path: Pattern,
    pub upstream: Upstream,
    /// At least one; all with the same resource and description.
    pub accepts: Vec<Requirement>,
    pub charge: Charge,
    pub on_disconnect: Disconnect,
    /// A paused offer answers 503 and forwards nothing.
    pub paused: bool,
    /// When the offer drains: the moment from which it is not sold any more.
    pub sunset: Option<SystemTime>,
}

impl Offer {
    /// Whether the offer was drained by then.
    pub fn is_drained(&self, now: SystemTime) -> bool {
        self.sunset.is_some_and(|sunset| now >= sunset)
    }
}
