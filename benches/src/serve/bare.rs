//! Servers that do nothing but answer.

use super::http1;
use crate::load::{Connection, get};
use anyhow::{Context, Result};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};
use http_body_util::Full;
use std::{future::ready, net::SocketAddr};
use tokio::net::TcpListener;

/// Answers every request as `of` answers this one: with the same status, headers and body.
pub(super) async fn start_like(listener: TcpListener, of: SocketAddr, path: &str) -> Result<()> {
    let mut connection = Connection::open(of).await?;
    let model = connection.exchange(&get(path, &[])).await?;
    let status: StatusCode = model.status().parse()?;
    let mut headers = HeaderMap::new();
    for line in model.head().lines().skip(1) {
        let (name, value) = line.split_once(": ").context("a header without a value")?;
        let name: HeaderName = name.parse()?;
        // hyper writes these itself.
        if name != header::DATE && name != header::CONTENT_LENGTH {
            headers.append(name, HeaderValue::from_str(value)?);
        }
    }
    let body = Bytes::copy_from_slice(model.body());
    http1::start(listener, move |_| {
        let mut response = Response::new(Full::new(body.clone()));
        *response.status_mut() = status;
        *response.headers_mut() = headers.clone();
        ready(response)
    });
    Ok(())
}

/// Answers 200 with a kilobyte.
pub(super) fn start_upstream(listener: TcpListener) {
    http1::start(listener, |_| {
        let mut response = Response::new(Full::new(Bytes::from_static(&[b'x'; 1024])));
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain"));
        ready(response)
    });
}
