use anyhow::{Context, Result, bail, ensure};
use std::{net::SocketAddr, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// How long a server may leave a connection open that it should close.
const PATIENCE: Duration = Duration::from_secs(15);

/// One response on a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawResponse {
    pub status: u16,
    /// Lines after the status line.
    pub head: String,
    pub body: Vec<u8>,
}

/// Sends bytes that no HTTP library would send, and reads until the server closes. No response
/// at all means that the connection was just closed.
pub async fn raw(to: SocketAddr, bytes: &[u8]) -> Result<Vec<RawResponse>> {
    let mut stream = TcpStream::connect(to).await?;
    let (mut reading, mut writing) = stream.split();
    let mut answer = Vec::new();
    let read = async {
        let mut chunk = [0; 16 * 1024];
        // A reset after the answer, for bytes that were never read, is as good as a close.
        while let Ok(count @ 1..) = reading.read(&mut chunk).await {
            answer.extend_from_slice(&chunk[..count]);
        }
    };
    // The server may refuse, and close, long before it has read everything.
    let write = async { drop(writing.write_all(bytes).await) };
    tokio::time::timeout(PATIENCE, async { tokio::join!(read, write) })
        .await
        .with_context(|| format!("not closed after {PATIENCE:?}: {}", shown(bytes)))?;
    responses(&answer, bytes.starts_with(b"HEAD "))
        .with_context(|| format!("to {}: {}", shown(bytes), shown(&answer)))
}

/// A client that leaves in time for the server to notice.
#[derive(Debug)]
pub struct Leaver(TcpStream);

impl Leaver {
    pub async fn send(to: SocketAddr, request: &str) -> Result<Self> {
        let mut stream = TcpStream::connect(to).await?;
        stream.write_all(request.as_bytes()).await?;
        Ok(Self(stream))
    }

    /// Says no more, and waits until the server has hung up on it without an answer.
    pub async fn leave(mut self) -> Result<()> {
        self.0.shutdown().await?;
        let mut answer = Vec::new();
        tokio::time::timeout(PATIENCE, self.0.read_to_end(&mut answer)).await.context("not noticed")??;
        ensure!(answer.is_empty(), "answered: {}", shown(&answer));
        Ok(())
    }
}

fn responses(mut answer: &[u8], without_body: bool) -> Result<Vec<RawResponse>> {
    let mut responses = Vec::new();
    while !answer.is_empty() {
        let end = answer.windows(4).position(|four| four == b"\r\n\r\n").context("no end of the head")?;
        let head = std::str::from_utf8(&answer[..end])?;
        answer = &answer[end + 4..];
        let (first, head) = head.split_once("\r\n").unwrap_or((head, ""));
        let status = first.split(' ').nth(1).context("no status")?.parse()?;
        let length = if without_body { 0 } else { length(head, answer.len())? };
        if answer.len() < length {
            bail!("the body breaks off");
        }
        let (body, rest) = answer.split_at(length);
        responses.push(RawResponse { status, head: head.to_owned(), body: body.to_vec() });
        answer = rest;
    }
    Ok(responses)
}

/// `rest` is all that came after the head: a chunked body is taken to be that, as it came, and so
/// is one that only the connection's end delimits.
fn length(head: &str, rest: usize) -> Result<usize> {
    let mut closes = false;
    for line in head.lines() {
        match line.split_once(':') {
            Some((name, value)) if name.eq_ignore_ascii_case("content-length") => {
                return Ok(value.trim().parse()?);
            }
            Some((name, _)) if name.eq_ignore_ascii_case("transfer-encoding") => return Ok(rest),
            Some((name, value)) if name.eq_ignore_ascii_case("connection") => {
                closes = value.trim().eq_ignore_ascii_case("close");
            }
            _ => {}
        }
    }
    Ok(if closes { rest } else { 0 })
}

fn shown(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string().chars().take(300).collect()
}
