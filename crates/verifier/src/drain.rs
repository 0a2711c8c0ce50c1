//! Reading off the body of a request that is refused: a client that is still sending does not
//! read its refusal, and closing on it may destroy the refusal on its way.

use http::{Request, header};
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use std::time::Duration;

/// Bytes that are read and thrown away; a client with more has to ask first with
/// `Expect: 100-continue`, or loses its connection.
const LIMIT: u64 = 32 * 1024 * 1024;

const PATIENCE: Duration = Duration::from_secs(10);

/// Whether there is something to read off.
pub(crate) fn is_due(request: &Request<Incoming>) -> bool {
    // Who asks first is told before it sends anything.
    !request.body().is_end_stream() && !request.headers().contains_key(header::EXPECT)
}

pub(crate) async fn drain(request: Request<Incoming>) {
    if !is_due(&request) {
        return;
    }
    let mut body = request.into_body();
    let reading = async {
        let mut read = 0;
        while let Some(Ok(frame)) = body.frame().await {
            read += frame.data_ref().map_or(0, |data| u64::try_from(data.len()).unwrap_or(u64::MAX));
            if read > LIMIT {
                break;
            }
        }
    };
    // However it ends, the refusal follows.
    let _ = tokio::time::timeout(PATIENCE, reading).await;
}
