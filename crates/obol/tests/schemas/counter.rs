//! Shops that the gate is not: one that sells for nothing, one that takes a payment and says nothing.

use anyhow::{Context, Result};
use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
};

pub(crate) struct Counter {
    address: SocketAddr,
    closed: Arc<AtomicBool>,
    served: Option<JoinHandle<()>>,
}

impl Counter {
    /// The same bytes to everybody.
    pub(crate) fn giving(body: &[u8]) -> Result<Self> {
        let head = format!("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", body.len());
        let answer = [head.as_bytes(), body].concat();
        Self::open(move |_| Some(answer.clone()))
    }

    /// The challenge of another shop, and no answer to who pays.
    pub(crate) fn breaking_off(shop: &str) -> Result<Self> {
        let (host, path) =
            shop.strip_prefix("http://").and_then(|rest| rest.split_once('/')).context("a URL")?;
        let mut asked = TcpStream::connect(host)?;
        write!(asked, "GET /{path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n")?;
        let mut challenge = Vec::new();
        asked.read_to_end(&mut challenge)?;
        Self::open(move |head| (!head.contains("payment-signature")).then(|| challenge.clone()))
    }

    fn open(answer: impl Fn(&str) -> Option<Vec<u8>> + Send + 'static) -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        let (address, closed) = (listener.local_addr()?, Arc::<AtomicBool>::default());
        let until = Arc::clone(&closed);
        let served = thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if until.load(Ordering::Relaxed) {
                    return;
                }
                // Who leaves early has what it wanted.
                let _ = serve(stream, &answer);
            }
        });
        Ok(Self { address, closed, served: Some(served) })
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/", self.address)
    }
}

fn serve(mut stream: TcpStream, answer: &impl Fn(&str) -> Option<Vec<u8>>) -> std::io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        head.extend(byte);
    }
    let head = String::from_utf8_lossy(&head).to_lowercase();
    answer(&head).map_or(Ok(()), |answer| stream.write_all(&answer))
}

impl Drop for Counter {
    fn drop(&mut self) {
        self.closed.store(true, Ordering::Relaxed);
        // Wakes the thread, which then looks.
        let _ = TcpStream::connect(self.address);
        if let Some(served) = self.served.take() {
            let _ = served.join();
        }
    }
}
