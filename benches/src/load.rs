//! A client that costs little: one request at a time per kept connection, on bare sockets.

use anyhow::{Context, Result, bail};
use futures_util::future::try_join_all;
use std::{net::SocketAddr, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
    time::Instant,
};

/// The longest response that a bench gets.
const RESPONSE: usize = 64 * 1024;

/// A connection and its place for one response.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: TcpStream,
    response: Box<[u8]>,
}

impl Connection {
    pub(crate) async fn open(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address).await.with_context(|| format!("connect to {address}"))?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, response: vec![0; RESPONSE].into() })
    }

    /// Sends a request and reads the whole response, which has to state its length.
    pub(crate) async fn exchange(&mut self, request: &[u8]) -> Result<Response<'_>> {
        self.stream.write_all(request).await?;
        let mut read = 0;
        let mut whole = None;
        while whole.is_none_or(|whole| read < whole) {
            match self.stream.read(&mut self.response[read..]).await? {
                0 => bail!("the server closed after {read} bytes"),
                more => read += more,
            }
            if whole.is_none() {
                whole = length(&self.response[..read])?;
            }
        }
        Ok(Response { bytes: &self.response[..read] })
    }
}

/// A whole response.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Response<'a> {
    bytes: &'a [u8],
}

impl<'a> Response<'a> {
    pub(crate) fn status(self) -> &'a str {
        self.bytes.get(9..12).and_then(|status| std::str::from_utf8(status).ok()).unwrap_or("none")
    }

    pub(crate) fn head(self) -> &'a str {
        let head = find(self.bytes, b"\r\n\r\n").map_or(self.bytes, |end| &self.bytes[..end]);
        std::str::from_utf8(head).unwrap_or_default()
    }

    pub(crate) fn body(self) -> &'a [u8] {
        find(self.bytes, b"\r\n\r\n").map_or(&[], |end| &self.bytes[end + 4..])
    }

    /// Fails unless it has this status.
    pub(crate) fn expect(self, status: &str) -> Result<Self> {
        if self.status() != status {
            bail!("{} where {status} was due: {}", self.status(), String::from_utf8_lossy(self.bytes));
        }
        Ok(self)
    }
}

/// The length of a response whose head is complete. hyper writes names in lower case.
fn length(response: &[u8]) -> Result<Option<usize>> {
    let Some(end) = find(response, b"\r\n\r\n") else { return Ok(None) };
    let name = b"\r\ncontent-length: ";
    let at = find(&response[..end], name).context("a response without content-length")? + name.len();
    let digits = response[at..].iter().take_while(|byte| byte.is_ascii_digit());
    let body = digits.fold(0, |sum, digit| sum * 10 + usize::from(digit - b'0'));
    Ok(Some(end + 4 + body))
}

fn find(text: &[u8], what: &[u8]) -> Option<usize> {
    text.windows(what.len()).position(|window| window == what)
}

/// A request without a body.
pub(crate) fn get(path: &str, headers: &[(&str, &str)]) -> Vec<u8> {
    let mut request = format!("GET {path} HTTP/1.1\r\nhost: bench.example\r\naccept: */*\r\n");
    for (name, value) in headers {
        request.push_str(&format!("{name}: {value}\r\n"));
    }
    request.push_str("\r\n");
    request.into_bytes()
}

/// A request with a JSON body.
pub(crate) fn post(path: &str, body: &str) -> Vec<u8> {
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body.as_bytes()].concat()
}

/// Several connections that send the same request as often as they can.
#[derive(Debug)]
pub(crate) struct Load {
    connections: Vec<Connection>,
    request: Arc<[u8]>,
    status: &'static str,
}

impl Load {
    pub(crate) async fn open(
        address: SocketAddr,
        connections: usize,
        request: Vec<u8>,
        status: &'static str,
    ) -> Result<Self> {
        let connections = try_join_all((0..connections).map(|_| Connection::open(address))).await?;
        Ok(Self { connections, request: request.into(), status })
    }

    /// How long each exchange took, in seconds, for as long as `time` lasts.
    pub(crate) async fn run(&mut self, time: Duration) -> Result<Vec<f64>> {
        let until = Instant::now() + time;
        let status = self.status;
        let mut workers = JoinSet::new();
        for mut connection in self.connections.drain(..) {
            let request = Arc::clone(&self.request);
            workers.spawn(async move {
                let mut times = Vec::new();
                while Instant::now() < until {
                    let begun = Instant::now();
                    connection.exchange(&request).await?.expect(status)?;
                    times.push(begun.elapsed().as_secs_f64());
                }
                anyhow::Ok((connection, times))
            });
        }
        let mut all = Vec::new();
        while let Some(done) = workers.join_next().await {
            let (connection, times) = done??;
            self.connections.push(connection);
            all.extend(times);
        }
        Ok(all)
    }
}
