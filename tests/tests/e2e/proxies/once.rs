//! What was let pass once is asked of the service once.

use crate::{
    forward_auth::behind_a_proxy,
    gate_paths::{PAID, offers},
};
use anyhow::{Result, ensure};
use hyper::StatusCode;
use obol_core::WireVersion;
use obol_tests::{Buyer, Customer, Proxy, ProxyKind, Shop, Upstream, fetch, get, paid};
use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

/// Answers the first request on a connection, and offers to take more; hangs up on the second as a
/// service does that has just stopped waiting. A proxy may take that for a request that never came.
async fn hangs_up(mut connection: TcpStream, heard: &AtomicUsize) -> std::io::Result<()> {
    for answer in [&b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"[..], b""] {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            match connection.read_u8().await {
                Ok(byte) => head.push(byte),
                Err(_) => return Ok(()),
            }
        }
        heard.fetch_add(1, Ordering::Relaxed);
        connection.write_all(answer).await?;
    }
    Ok(())
}

async fn a_service_that_hangs_up_is_not_asked_again(kind: ProxyKind) -> Result<()> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let (at, heard) = (listener.local_addr()?.to_string(), Arc::new(AtomicUsize::new(0)));
    let hears = Arc::clone(&heard);
    let service = tokio::spawn(async move {
        while let Ok((connection, _)) = listener.accept().await {
            let hears = Arc::clone(&hears);
            tokio::spawn(async move { hangs_up(connection, &hears).await });
        }
    });
    // It serves what comes through the gate itself: nothing does.
    let (shop, other) = (Shop::open(behind_a_proxy()?).await?, Upstream::hello().await?);
    shop.publish(&offers(&shop, &other))?;
    let Some(proxy) = Proxy::start(kind, shop.address, &at).await? else { return Ok(()) };
    let customer = Customer::new(Buyer::of(shop.chain.buyers()[0]), proxy.address, WireVersion::V2);
    for paid_for in 1..=4 {
        let (_, payment) = customer.payment(PAID).await?;
        let answered = fetch(proxy.address, paid(get(PAID), &payment)).await?;
        let asked = heard.load(Ordering::Relaxed);
        ensure!(asked <= paid_for, "asked {asked} times for {paid_for} payments: {answered:?}");
        ensure!(answered.status == StatusCode::OK, "{answered:?}");
    }
    service.abort();
    shop.close().await
}

with_each_proxy! {
    a_service_that_hangs_up_is_not_asked_again
}
