//! What a payment is for, from the upstream.

use super::{Goods, Reply, Sale};
use crate::{
    door::Door,
    redirect,
    upstream::{Asker, Unanswered},
};
use http::{Request, Response, StatusCode, header};
use hyper::body::Incoming;
use obol_core::{Payment, Reason, Refusal, RequestPath};

/// What the upstream did.
pub(super) enum Asked {
    Succeeded(Goods),
    Refused(Response<Incoming>),
    Failed(Refusal),
    ClientLeft,
}

impl Sale {
    /// What the payment is for.
    pub(super) async fn fetch(
        &self,
        payment: &Payment,
        request: Request<Incoming>,
        reply: &mut Reply,
    ) -> Asked {
        match self.door {
            Door::Gate => self.ask_upstream(payment, request, reply).await,
            Door::ForwardAuth | Door::AuthRequest => Asked::Succeeded(Goods::Passage),
        }
    }

    async fn ask_upstream(&self, payment: &Payment, request: Request<Incoming>, reply: &mut Reply) -> Asked {
        let asker = Asker {
            payer: payment.authorization.from,
            client: self.outside.client,
            proto: self.outside.proto,
            host: self.outside.host.clone(),
        };
        let path = match RequestPath::parse(request.uri().path()) {
            Ok(path) => path.after(self.listed.segments).to_owned(),
            Err(refusal) => return Asked::Failed(refusal),
        };
        let method = request.method().clone();
        let answered = tokio::select! {
            answered = self.shared.upstream.forward(&self.listed.offer.upstream, request, &path, &asker) => answered,
            () = self.client_leaves(reply) => return Asked::ClientLeft,
            () = self.shared.closes() => {
                let detail = "the seller stops before the service has answered";
                return Asked::Failed(Refusal::new(Reason::UpstreamTimeout, detail));
            }
        };
        self.note_upstream(&answered);
        match answered {
            Ok(response) if response.status() == StatusCode::SWITCHING_PROTOCOLS => Asked::Failed(
                Refusal::new(Reason::UpstreamUnavailable, "the upstream changed the protocol unasked"),
            ),
            Ok(response) if response.status().as_u16() >= 400 => Asked::Refused(response),
            Ok(mut response) => match redirect::within(&self.listed.offer, &method, &response) {
                Some(location) => {
                    response.headers_mut().insert(header::LOCATION, location);
                    Asked::Refused(response)
                }
                None => Asked::Succeeded(Goods::Response(response)),
            },
            Err(Unanswered::Unsent(refusal) | Unanswered::Failed(refusal, _)) => Asked::Failed(refusal),
        }
    }

    /// Says once that the upstream begins to fail, and once that it works again.
    fn note_upstream(&self, answered: &Result<Response<Incoming>, Unanswered>) {
        let offer = &self.listed.offer;
        let upstream = offer.upstream.base.as_deref().unwrap_or_default();
        let (offer, trouble) = (&offer.id, &self.listed.upstream);
        let cause: &dyn std::fmt::Display = match answered {
            Ok(response) if response.status().is_server_error() => &response.status(),
            Ok(_) => {
                return trouble.works(|| tracing::info!(%offer, %upstream, "the upstream works again"));
            }
            Err(Unanswered::Unsent(_)) => return,
            Err(Unanswered::Failed(_, cause)) => cause,
        };
        trouble.fails(|| {
            tracing::warn!(%offer, %upstream, %cause, "the upstream fails; requests that it fails are not charged");
        });
    }
}
