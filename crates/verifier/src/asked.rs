//! What a request asks for, as far as the money is concerned.

use crate::trust::Outside;
use alloy_primitives::{B256, Keccak256, keccak256};
use http::{Request, header};
use hyper::body::{Body, Incoming};
use obol_core::OfferId;
use std::net::IpAddr;

/// Where a request is made when its client names no host, as HTTP/1.0 allows.
const NO_HOST: &str = "localhost";

/// The resource's address as the client knows it.
pub(crate) fn url(outside: &Outside, request: &Request<Incoming>) -> String {
    let host = outside.host.as_deref().unwrap_or(NO_HOST);
    let target = request.uri().path_and_query().map_or("/", |target| target.as_str());
    [outside.proto, "://", host, target].concat()
}

/// Whether [`url`] would give this.
pub(crate) fn is_url(known: &str, outside: &Outside, request: &Request<Incoming>) -> bool {
    let host = outside.host.as_deref().unwrap_or(NO_HOST);
    let target = request.uri().path_and_query().map_or("/", |target| target.as_str());
    let rest = known.strip_prefix(outside.proto).and_then(|rest| rest.strip_prefix("://"));
    rest.and_then(|rest| rest.strip_prefix(host)) == Some(target)
}

/// Tells clients apart, as far as the network tells: by address, and by its first half where
/// machines change the other half for privacy. A hash, since nothing needs the address itself.
pub(crate) fn client(outside: &Outside) -> B256 {
    match outside.client.to_canonical() {
        IpAddr::V4(address) => keccak256(address.octets()),
        IpAddr::V6(address) => keccak256(&address.octets()[..8]),
    }
}

/// Tells requests apart for entitlements: the offer that they are for, method, host, target and
/// the body's length and type. The body itself is streamed and not read here.
pub(crate) fn fingerprint(offer: &OfferId, outside: &Outside, request: &Request<Incoming>) -> B256 {
    let length = request.body().size_hint().exact().map(u64::to_be_bytes);
    let target = request.uri().path_and_query().map_or("/", |target| target.as_str());
    let content_type = request.headers().get(header::CONTENT_TYPE);
    let parts: [&[u8]; 7] = [
        // What was paid at one offer's price is not owed by another that took its path.
        offer.namespace.as_bytes(),
        offer.name.as_bytes(),
        request.method().as_str().as_bytes(),
        outside.host.as_deref().unwrap_or_default().as_bytes(),
        target.as_bytes(),
        content_type.map(|value| value.as_bytes()).unwrap_or_default(),
        length.as_ref().map(<[u8; 8]>::as_slice).unwrap_or_default(),
    ];
    let mut hash = Keccak256::new();
    for part in parts {
        // Lengths keep two different requests from being one text.
        hash.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
        hash.update(part);
    }
    hash.finalize()
}
