//! Serving HTTP on a listener: what every role of obol that answers requests has in common.

mod trouble;

pub use trouble::Trouble;

use futures_util::FutureExt;
use http::{Request, Response};
use hyper::{
    body::{Body, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
};
use std::{convert::Infallible, error::Error, net::IpAddr, sync::Arc, time::Duration};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    time::Instant,
};

/// What a server allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Open client connections. Above it new ones wait in the kernel.
    pub connections: usize,
    /// How long a client may take over a request's head.
    pub header_read: Duration,
    /// How long responses and sales may go on when the server is to stop.
    pub grace: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { connections: 20_000, header_read: Duration::from_secs(10), grace: Duration::from_secs(30) }
    }
}

/// Bytes of a request's head: two payment headers and what browsers add fit four times.
const MAX_HEAD: usize = 128 * 1024;

/// Serves until `stop` is set, and then lets responses finish for the grace. The time at which that
/// is over.
pub async fn serve<A, F, B>(
    listener: TcpListener,
    limits: Limits,
    mut stop: watch::Receiver<bool>,
    answer: A,
) -> Instant
where
    A: Fn(Request<Incoming>, IpAddr) -> F + Clone + Send + 'static,
    F: Future<Output = Response<B>> + Send + 'static,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let graceful = GracefulShutdown::new();
    let accepting = Trouble::default();
    let room = Arc::new(Semaphore::new(limits.connections.min(Semaphore::MAX_PERMITS)));
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(limits.header_read).max_buf_size(MAX_HEAD);
    loop {
        let accepted = tokio::select! {
            accepted = accept(&listener, &room, &accepting) => accepted,
            _ = stop.wait_for(|stop| *stop) => break,
        };
        let Some((stream, peer, permit)) = accepted else { continue };
        let answer = answer.clone();
        let service = service_fn(move |request| answer(request, peer).map(Ok::<_, Infallible>));
        let connection = graceful.watch(builder.serve_connection(TokioIo::new(stream), service));
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%peer, %error, "a client's connection broke");
            }
            drop(permit);
        });
    }
    drop(listener);
    let end = Instant::now() + limits.grace;
    if tokio::time::timeout_at(end, graceful.shutdown()).await.is_err() {
        tracing::warn!(after = ?limits.grace, "responses were cut off");
    }
    end
}

async fn accept(
    listener: &TcpListener,
    room: &Arc<Semaphore>,
    accepting: &Trouble,
) -> Option<(TcpStream, IpAddr, OwnedSemaphorePermit)> {
    let permit = Arc::clone(room).acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((stream, peer)) => {
            accepting.works(|| tracing::info!("accepts connections again"));
            // Without it small responses wait for an acknowledgement; a refusal costs nothing more.
            if let Err(error) = stream.set_nodelay(true) {
                tracing::debug!(%error, "a connection broke before it was served");
                return None;
            }
            Some((stream, peer.ip(), permit))
        }
        Err(error) => {
            accepting.fails(|| tracing::error!(%error, "cannot accept connections"));
            // Out of file descriptors, most likely: only time brings some back.
            tokio::time::sleep(Duration::from_millis(100)).await;
            None
        }
    }
}
