//! The ways in which a request comes to the gate, and what a refusal looks like at each.

use crate::{
    answer,
    body::GateBody,
    note::{self, Note},
};
use http::{HeaderValue, Response, StatusCode, header};

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Door {
    /// The client, or a proxy for it: what is paid for is fetched and passed on.
    Gate,
    /// A proxy that forwards by itself what is let pass, and passes each refusal on as it is.
    ForwardAuth,
    /// nginx's `auth_request`, which knows of refusals only 401 and 403 and drops their bodies. It
    /// gets 401 with a note, and asks with that for the refusal itself: see [`crate::note`].
    AuthRequest,
}

impl Door {
    /// `refusal` as it is told at this door.
    pub(crate) fn refuse(
        self,
        note: impl FnOnce() -> Note,
        refusal: impl FnOnce() -> Response<GateBody>,
    ) -> Response<GateBody> {
        match self {
            Self::Gate | Self::ForwardAuth => refusal(),
            Self::AuthRequest => unauthorized(&note()),
        }
    }
}

fn unauthorized(note: &Note) -> Response<GateBody> {
    let mut response = Response::new(GateBody::own(""));
    *response.status_mut() = StatusCode::UNAUTHORIZED;
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, answer::NO_STORE);
    // Base64 is always a header's value.
    if let Ok(value) = HeaderValue::try_from(note.encode()) {
        headers.insert(note::REFUSAL, value);
    }
    response
}
