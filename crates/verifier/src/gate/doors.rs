//! The gate's other doors: proxies that ask before they forward, and clients that ask for receipts.

use super::{Answering, Around, Gate, Shared, at_once, drained};
use crate::{
    door::Door,
    drain::drain,
    forward_auth,
    note::{self, Note},
};
use futures_util::{FutureExt, future::Either};
use http::{Method, Request, header};
use hyper::body::Incoming;
use obol_core::{Reason, Refusal, WireVersion};
use std::net::IpAddr;

impl Gate {
    /// A proxy asks whether it may forward.
    pub(super) fn ask(&self, door: Door, request: Request<Incoming>, peer: IpAddr) -> Answering {
        match self.described(request, peer) {
            Ok(request) => self.admit(door, request, peer),
            Err(refusal) => {
                // A stranger at any door is told so: only proxies know what a note is for.
                let door = if refusal.reason == Reason::ProxyNotTrusted { Door::Gate } else { door };
                at_once(self.refuse_at(door, &refusal, WireVersion::V2))
            }
        }
    }

    /// The request that a proxy asks about.
    fn described(&self, request: Request<Incoming>, peer: IpAddr) -> Result<Request<Incoming>, Refusal> {
        let described = match self.shared.trusted.trusts(peer) {
            true => forward_auth::described(request),
            false => Err(Reason::ProxyNotTrusted.into()),
        };
        match &described {
            Ok(_) => self.shared.proxies.works(|| tracing::info!("proxies ask as they should again")),
            Err(refusal) => self.shared.proxies.fails(|| {
                tracing::warn!(%peer, %refusal, "/verify is asked wrongly: nothing is let pass");
            }),
        }
        described
    }

    /// Gives a proxy the refusal of which it has a note. No payment is looked at.
    pub(super) fn render(&self, request: Request<Incoming>, peer: IpAddr) -> Answering {
        let request = match self.described(request, peer) {
            Ok(request) => request,
            Err(refusal) => return at_once(self.refuse_at(Door::Gate, &refusal, WireVersion::V2)),
        };
        let outside = self.shared.trusted.outside(peer, request.headers());
        let mut notes = request.headers().get_all(note::REFUSAL).iter();
        let listed = self.listed(&request, &outside);
        let around = Around {
            origin: request.headers().get(header::ORIGIN).cloned(),
            sunset: listed.as_ref().ok().and_then(|listed| listed.sunset.clone()),
        };
        let response = match (notes.next().and_then(|note| Note::decode(note.as_bytes())), notes.next()) {
            (Some(note), None) => note.render(&request, &outside, listed),
            _ => {
                let detail = "it has no note of a refusal in X-Obol-Refusal";
                let refusal = Refusal::new(Reason::RequestRefused, detail);
                self.refuse_at(Door::Gate, &refusal, WireVersion::V2)
            }
        };
        // nginx would keep the whole body on disk before it asks, if it were not to pass it on.
        drained(request, around.put(response))
    }

    /// A settled payment's receipt.
    pub(super) fn receipt(&self, request: Request<Incoming>) -> Answering {
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return drained(
                request,
                self.refuse_at(Door::Gate, &Reason::MethodNotAllowed.into(), WireVersion::V2),
            );
        }
        let gate = self.clone();
        let around = Around { origin: request.headers().get(header::ORIGIN).cloned(), sunset: None };
        let answered = async move {
            let Shared { receipts, registry, ledger, .. } = &*gate.shared;
            let response = receipts
                .answer(request.uri().path(), registry, ledger)
                .await
                .unwrap_or_else(|refusal| gate.refuse_at(Door::Gate, &refusal, WireVersion::V2));
            drain(request).await;
            around.put(response)
        };
        Either::Right(answered.boxed())
    }
}
