//! A reverse proxy that does nothing but forward.

use super::http1;
use bytes::Bytes;
use http::{Response, StatusCode, Uri, uri::PathAndQuery};
use http_body_util::{Either, Empty};
use hyper::body::Incoming;
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use std::net::SocketAddr;
use tokio::net::TcpListener;

pub(super) fn start(listener: TcpListener, upstream: SocketAddr) {
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    let client = Client::builder(TokioExecutor::new()).pool_timer(TokioTimer::new()).build(connector);
    http1::start(listener, move |mut request| {
        let client = client.clone();
        async move {
            let target = request.uri().path_and_query().map_or("/", PathAndQuery::as_str);
            match format!("http://{upstream}{target}").parse::<Uri>() {
                Ok(uri) => *request.uri_mut() = uri,
                Err(_) => return failed(StatusCode::BAD_REQUEST),
            }
            match client.request(request).await {
                Ok(response) => response.map(Either::Left),
                Err(_) => failed(StatusCode::BAD_GATEWAY),
            }
        }
    });
}

type ProxyBody = Either<Incoming, Empty<Bytes>>;

fn failed(status: StatusCode) -> Response<ProxyBody> {
    let mut response = Response::new(Either::Right(Empty::new()));
    *response.status_mut() = status;
    response
}
