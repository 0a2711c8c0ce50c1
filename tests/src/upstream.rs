use bytes::Bytes;
use futures_util::stream;
use http_body_util::{BodyExt, Full, StreamBody, combinators::BoxBody};
use hyper::{
    HeaderMap, Method, Request, Response, StatusCode, Uri,
    body::{Frame, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use std::{
    convert::Infallible,
    io,
    sync::{Arc, Mutex, PoisonError},
};
use tokio::{
    net::TcpListener,
    sync::{mpsc, oneshot},
    task::{JoinHandle, JoinSet},
};

pub type Reply = Response<BoxBody<Bytes, io::Error>>;

/// A request's head as the upstream got it.
#[derive(Clone, Debug)]
pub struct Heard {
    pub method: Method,
    /// Path and query.
    pub target: Uri,
    pub headers: HeaderMap,
}

impl Heard {
    /// All values of a header, joined as if they had come in one line.
    pub fn header(&self, name: &str) -> Option<String> {
        let values: Vec<_> = self
            .headers
            .get_all(name)
            .iter()
            .map(|value| String::from_utf8_lossy(value.as_bytes()))
            .collect();
        (!values.is_empty()).then(|| values.join(", "))
    }
}

/// The service behind the gate: answers as the test says, and remembers what it was asked.
/// Dropping it closes its connections and frees its port.
#[derive(Debug)]
pub struct Upstream {
    base: String,
    heard: Arc<Mutex<Vec<Heard>>>,
    server: JoinHandle<()>,
}

impl Upstream {
    pub async fn start<A, F>(answer: A) -> io::Result<Self>
    where
        A: Fn(Request<Incoming>) -> F + Send + Sync + 'static,
        F: Future<Output = Reply> + Send + 'static,
    {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let base = format!("http://{}", listener.local_addr()?);
        let heard = Arc::<Mutex<Vec<Heard>>>::default();
        let server = tokio::spawn(serve(listener, Arc::new(answer), Arc::clone(&heard)));
        Ok(Self { base, heard, server })
    }

    /// Says hello to everybody.
    pub async fn hello() -> io::Result<Self> {
        Self::answering(StatusCode::OK, "hello").await
    }

    pub async fn answering(status: StatusCode, body: &'static str) -> io::Result<Self> {
        Self::start(move |_| std::future::ready(reply(status, body))).await
    }

    /// Answers each request when the test says so. Who asked and does not wait any more is seen by
    /// `is_closed`.
    pub async fn told() -> io::Result<(Self, mpsc::Receiver<oneshot::Sender<&'static str>>)> {
        let (asked, asks) = mpsc::channel(8);
        let upstream = Self::start(move |_| {
            let asked = asked.clone();
            async move {
                let (tell, told) = oneshot::channel();
                asked.send(tell).await.expect("the test listens");
                reply(StatusCode::OK, told.await.expect("the test tells"))
            }
        })
        .await?;
        Ok((upstream, asks))
    }

    pub fn base(&self) -> &str {
        &self.base
    }

    /// Every request that arrived, in order.
    pub fn heard(&self) -> Vec<Heard> {
        lock(&self.heard).clone()
    }

    pub fn count(&self) -> usize {
        lock(&self.heard).len()
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.server.abort();
    }
}

fn lock(heard: &Mutex<Vec<Heard>>) -> std::sync::MutexGuard<'_, Vec<Heard>> {
    // A push leaves nothing half done.
    heard.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn serve<A, F>(listener: TcpListener, answer: Arc<A>, heard: Arc<Mutex<Vec<Heard>>>)
where
    A: Fn(Request<Incoming>) -> F + Send + Sync + 'static,
    F: Future<Output = Reply> + Send + 'static,
{
    // Dropped with this task, and its connections with it.
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        while connections.try_join_next().is_some() {}
        let (answer, heard) = (Arc::clone(&answer), Arc::clone(&heard));
        let service = service_fn(move |request: Request<Incoming>| {
            lock(&heard).push(Heard {
                method: request.method().clone(),
                target: request.uri().clone(),
                headers: request.headers().clone(),
            });
            let answered = answer(request);
            async move { Ok::<_, Infallible>(answered.await) }
        });
        connections.spawn(async move {
            // A connection that the gate broke off, or that the test told to break, is no fault.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

pub fn reply(status: StatusCode, body: impl Into<Bytes>) -> Reply {
    let mut reply = Response::new(Full::new(body.into()).map_err(|never| match never {}).boxed());
    *reply.status_mut() = status;
    reply
}

/// A body that is what is sent to the channel; an error breaks the connection off. The reader's
/// pace is felt here: one chunk waits at most.
pub fn chunks() -> (mpsc::Sender<io::Result<Bytes>>, BoxBody<Bytes, io::Error>) {
    let (sender, receiver) = mpsc::channel(1);
    let chunks = stream::unfold(receiver, |mut receiver| async move {
        let chunk: io::Result<Bytes> = receiver.recv().await?;
        Some((chunk.map(Frame::data), receiver))
    });
    (sender, BodyExt::boxed(StreamBody::new(Box::pin(chunks))))
}

/// A reply with such a body.
pub fn streamed() -> (mpsc::Sender<io::Result<Bytes>>, Reply) {
    let (sender, body) = chunks();
    (sender, Response::new(body))
}
