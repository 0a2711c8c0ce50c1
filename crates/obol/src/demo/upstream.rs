//! The service that the demo sells: it knows nothing of payments.

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::{Request, Response, header};
use http_body_util::{BodyExt, Full, StreamBody, combinators::BoxBody};
use hyper::{
    body::{Frame, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use std::{convert::Infallible, time::Duration};
use tokio::net::TcpListener;

/// Serves until the listener's task is dropped.
pub(super) async fn serve(listener: TcpListener) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let service = service_fn(|request| std::future::ready(Ok::<_, Infallible>(answer(&request))));
        tokio::spawn(async move {
            if let Err(error) = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await {
                tracing::debug!(%error, "a connection to the demo's service broke");
            }
        });
    }
}

fn answer(request: &Request<Incoming>) -> Response<BoxBody<Bytes, Infallible>> {
    if request.uri().path() == "/stream" {
        return events();
    }
    let payer = request.headers().get("x-payment-payer").and_then(|payer| payer.to_str().ok());
    let hello = serde_json::json!({"message": "hello", "path": request.uri().path(), "payer": payer});
    let mut response = Response::new(Full::new(Bytes::from(format!("{hello}\n"))).boxed());
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
    response
}

/// Five server-sent events, one every fifth of a second.
fn events() -> Response<BoxBody<Bytes, Infallible>> {
    let events = stream::iter(1..=5).then(|count| async move {
        tokio::time::sleep(Duration::from_millis(200)).await;
        Ok::<_, Infallible>(Frame::data(Bytes::from(format!("data: hello {count}\n\n"))))
    });
    let mut response = Response::new(BodyExt::boxed(StreamBody::new(Box::pin(events))));
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, header::HeaderValue::from_static("text/event-stream"));
    response
}
