//! 402s in the form in which they leave.

use crate::{asked, page::Menu, trust::Outside};
use arc_swap::ArcSwapOption;
use bytes::Bytes;
use http::{HeaderValue, Request};
use hyper::body::Incoming;
use obol_core::{Refusal, WireVersion};
use obol_wire::{Challenge, ChallengeTemplate};
use std::sync::Arc;

/// What a 402 says: the `PAYMENT-REQUIRED` header's value and the body. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Posted {
    pub(crate) header: HeaderValue,
    pub(crate) json: Bytes,
    /// For people.
    pub(crate) menu: Arc<Menu>,
}

/// An offer's 402s. Clients of an offer mostly ask for one address, and whoever floods it does
/// too: the last answer to an unpaid request is kept.
#[derive(Debug)]
pub(crate) struct Challenges {
    template: ChallengeTemplate,
    menu: Arc<Menu>,
    last: ArcSwapOption<Last>,
}

#[derive(Debug)]
struct Last {
    url: String,
    posted: Posted,
}

/// Longer URLs are not kept: ten thousand offers would need too much memory for them.
const KEPT: usize = 256;

impl Challenges {
    pub(crate) fn new(template: ChallengeTemplate, menu: Menu) -> Self {
        Self { template, menu: Arc::new(menu), last: ArcSwapOption::empty() }
    }

    /// To a request without a payment.
    pub(crate) fn unpaid(&self, outside: &Outside, request: &Request<Incoming>) -> Posted {
        if let Some(last) = &*self.last.load()
            && asked::is_url(&last.url, outside, request)
        {
            return last.posted.clone();
        }
        let url = asked::url(outside, request);
        let posted = self.post(self.template.render(&url, None, WireVersion::V2));
        if url.len() <= KEPT {
            self.last.store(Some(Arc::new(Last { url, posted: posted.clone() })));
        }
        posted
    }

    /// To a request whose payment is not taken.
    pub(crate) fn refused(&self, url: &str, refusal: &Refusal, version: WireVersion) -> Posted {
        self.post(self.template.render(url, Some(refusal), version))
    }

    fn post(&self, challenge: Challenge) -> Posted {
        // Base64 is always a header's value.
        let header = HeaderValue::try_from(challenge.header).unwrap_or_else(|_| HeaderValue::from_static(""));
        Posted { header, json: challenge.body.into(), menu: Arc::clone(&self.menu) }
    }
}
