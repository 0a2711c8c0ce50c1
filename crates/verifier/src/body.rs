//! Response bodies: short ones of the gate's own, and those whose end is written down: upstream
//! streams, which are passed on as they come, and leaves to forward, which are empty.

use crate::held_page::HeldPage;
use bytes::Bytes;
use http_body_util::Full;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use obol_ledger::{Held, Ledger, held};
use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

/// What the gate answers with.
#[derive(Debug)]
pub enum GateBody {
    Own(Full<Bytes>),
    Upstream(Delivery),
    Passage(Leave),
    Page(HeldPage),
}

impl GateBody {
    pub(crate) fn own(bytes: impl Into<Bytes>) -> Self {
        Self::Own(Full::new(bytes.into()))
    }

    /// The client had left before anything was sent.
    pub(crate) async fn take_back(self) {
        let hold = match self {
            Self::Own(_) | Self::Page(_) => None,
            Self::Upstream(mut delivery) => delivery.hold.take(),
            Self::Passage(mut leave) => leave.0.take(),
        };
        let Some(Hold { ledger, held }) = hold else { return };
        if let Err(error) = ledger.undeliver(held, "the client left before its first byte").await {
            tracing::debug!(%error, "what was not delivered stands as if it was");
        }
    }
}

/// A delivery whose end is not written down yet.
#[derive(Debug)]
struct Hold {
    ledger: Ledger,
    held: Held<held::Delivering>,
}

impl Hold {
    /// The response is not waited for by its last write: nobody's answer depends on it.
    fn end(self, how: &'static str) {
        self.ledger.note_delivery(self.held, how);
    }
}

/// A proxy's leave to forward what was paid for. What becomes of that is not seen: when it is told,
/// it is delivered.
#[derive(Debug)]
pub struct Leave(Option<Hold>);

impl Leave {
    pub(crate) const fn new(ledger: Ledger, held: Held<held::Delivering>) -> Self {
        Self(Some(Hold { ledger, held }))
    }
}

impl Drop for Leave {
    fn drop(&mut self) {
        if let Some(hold) = self.0.take() {
            hold.end("let pass");
        }
    }
}

/// An upstream's body on its way to the client.
#[derive(Debug)]
pub struct Delivery {
    body: Incoming,
    hold: Option<Hold>,
}

impl Delivery {
    pub(crate) const fn new(body: Incoming, ledger: Ledger, held: Held<held::Delivering>) -> Self {
        Self { body, hold: Some(Hold { ledger, held }) }
    }

    /// Of a response that nothing is charged for.
    pub(crate) const fn unpaid(body: Incoming) -> Self {
        Self { body, hold: None }
    }

    fn end(&mut self, how: &'static str) {
        if let Some(hold) = self.hold.take() {
            hold.end(how);
        }
    }
}

impl Body for GateBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match &mut *self {
            Self::Own(full) => Pin::new(full).poll_frame(context).map_err(|never| match never {}),
            Self::Page(page) => Poll::Ready(page.next().map(Ok)),
            Self::Upstream(delivery) => {
                let frame = ready!(Pin::new(&mut delivery.body).poll_frame(context));
                match &frame {
                    None => delivery.end("delivered"),
                    Some(Err(_)) => delivery.end("the upstream broke off in the body"),
                    Some(Ok(_)) if delivery.body.is_end_stream() => delivery.end("delivered"),
                    Some(Ok(_)) => {}
                }
                Poll::Ready(frame)
            }
            Self::Passage(_) => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Own(full) => full.is_end_stream(),
            Self::Page(page) => page.rest() == 0,
            Self::Upstream(delivery) => delivery.body.is_end_stream(),
            Self::Passage(_) => true,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Own(full) => full.size_hint(),
            Self::Page(page) => SizeHint::with_exact(page.rest() as u64),
            Self::Upstream(delivery) => delivery.body.size_hint(),
            Self::Passage(_) => SizeHint::with_exact(0),
        }
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        let how = if self.body.is_end_stream() { "delivered" } else { "the client left in the body" };
        self.end(how);
    }
}
