//! Leave to forward, which a proxy that has asked gets in the place of a response.

use super::Sale;
use crate::{answer, body::GateBody};
use alloy_primitives::Address;
use http::{HeaderValue, Response, header};

impl Sale {
    /// What a proxy is told for its upstream, beside that it may forward.
    pub(super) fn passage(&self, payer: Address) -> Response<GateBody> {
        let mut response = Response::new(GateBody::own(""));
        let headers = response.headers_mut();
        headers.insert(header::CACHE_CONTROL, answer::NO_STORE);
        if let Ok(payer) = HeaderValue::try_from(payer.to_checksum(None)) {
            headers.insert("x-payment-payer", payer);
        }
        if self.shared.forward_auth.credentials
            && let Some(credential) = &self.listed.offer.upstream.authorization
            && let Ok(mut credential) = HeaderValue::try_from(credential.as_str())
        {
            credential.set_sensitive(true);
            headers.insert(header::AUTHORIZATION, credential);
        }
        response
    }
}
