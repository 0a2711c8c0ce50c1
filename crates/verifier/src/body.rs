//! Response bodies: short ones of the gate's own, and upstream streams that are passed on as
//! they come and whose end is written down.

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
}

impl GateBody {
    pub(crate) fn own(bytes: impl Into<Bytes>) -> Self {
        Self::Own(Full::new(bytes.into()))
    }
}

/// An upstream's body on its way to the client.
#[derive(Debug)]
pub struct Delivery {
    body: Incoming,
    note: Option<Note>,
}

#[derive(Debug)]
struct Note {
    ledger: Ledger,
    held: Held<held::Delivering>,
}

impl Delivery {
    pub(crate) const fn new(body: Incoming, ledger: Ledger, held: Held<held::Delivering>) -> Self {
        Self { body, note: Some(Note { ledger, held }) }
    }

    /// Of a response that nothing is charged for.
    pub(crate) const fn unpaid(body: Incoming) -> Self {
        Self { body, note: None }
    }

    /// The client had left before anything was sent.
    pub(crate) async fn take_back(mut self) {
        let Some(Note { ledger, held }) = self.note.take() else { return };
        if let Err(error) = ledger.undeliver(held, "the client left before its first byte").await {
            tracing::debug!(%error, "what was not delivered stands as if it was");
        }
    }

    /// The response is not waited for by its last write: nobody's answer depends on it.
    fn end(&mut self, how: &'static str) {
        if let Some(Note { ledger, held }) = self.note.take() {
            ledger.note_delivery(held, how);
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
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Own(full) => full.is_end_stream(),
            Self::Upstream(delivery) => delivery.body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Own(full) => full.size_hint(),
            Self::Upstream(delivery) => delivery.body.size_hint(),
        }
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        let how = if self.body.is_end_stream() { "delivered" } else { "the client left in the body" };
        self.end(how);
    }
}
