//! Bodies pass as they come, in both directions, and nothing gathers in the gate.

use anyhow::{Context, Result};
use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::{Method, Request, StatusCode, body::Incoming, header::HeaderValue};
use obol_core::WireVersion;
use obol_ledger::Delivery;
use obol_tests::{
    Buyer, Customer, Reply, Shop, ShopOptions, Upstream, chunks, get, paid, reply, send, streamed,
};
use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::sync::{Semaphore, mpsc};

const AT: &str = "/services/paid";

const CHUNK: usize = 64 * 1024;

/// 100 MB.
const CHUNKS: u64 = 1_600;

/// What four kernel buffers between the ends can hold, and hardly any more.
const IN_FLIGHT: u64 = 40 * 1024 * 1024;

async fn payment(shop: &Shop) -> Result<obol_wire::PaymentHeader> {
    let customer = Customer::new(Buyer::of(shop.chain.buyers()[0]), shop.address, WireVersion::V2);
    Ok(customer.payment(AT).await?.1)
}

/// An upstream whose bodies the test writes, reply by reply.
async fn written() -> Result<(Upstream, mpsc::Receiver<mpsc::Sender<io::Result<Bytes>>>)> {
    let (opened, bodies) = mpsc::channel(8);
    let upstream = Upstream::start(move |_| {
        let (body, mut reply) = streamed();
        opened.try_send(body).expect("the test takes them");
        reply.headers_mut().insert("content-type", HeaderValue::from_static("text/event-stream"));
        std::future::ready(reply)
    })
    .await?;
    Ok((upstream, bodies))
}

async fn next(body: &mut Incoming) -> Result<Bytes> {
    let frame = body.frame().await.context("the body has ended")??;
    frame.into_data().ok().context("not data")
}

#[tokio::test(flavor = "multi_thread")]
async fn each_event_arrives_before_the_upstream_sends_the_next() -> Result<()> {
    let shop = Shop::open(ShopOptions::default()).await?;
    let (upstream, mut bodies) = written().await?;
    shop.sell(AT, &upstream)?;
    let mut response = send(shop.address, paid(get(AT), &payment(&shop).await?)).await?;
    assert_eq!(response.status(), StatusCode::OK);
    assert!(response.headers().contains_key("payment-response"), "the receipt comes before the events");
    let events = bodies.recv().await.context("not asked")?;
    for n in 0..5 {
        let event = Bytes::from(format!("data: {n}\n\n"));
        events.send(Ok(event.clone())).await?;
        assert_eq!(next(response.body_mut()).await?, event);
        let delivery = shop.payments().await?[0].delivery;
        assert_eq!(delivery, Delivery::Started);
    }
    drop(events);
    assert!(response.body_mut().frame().await.is_none());
    shop.until_payment(|payment| payment.delivery == Delivery::Done).await?;
    shop.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_body_reaches_the_upstream_while_the_client_still_sends() -> Result<()> {
    let shop = Shop::open(ShopOptions::default()).await?;
    let (heard, mut hears) = mpsc::channel(8);
    let upstream = Upstream::start(move |mut request: Request<Incoming>| {
        let heard = heard.clone();
        async move {
            while let Ok(chunk) = next(request.body_mut()).await {
                heard.send(chunk).await.expect("the test listens");
            }
            reply(StatusCode::OK, "heard")
        }
    })
    .await?;
    shop.sell(AT, &upstream)?;
    let (body, sent) = chunks();
    let mut request = Request::new(sent);
    *request.method_mut() = Method::POST;
    *request.uri_mut() = AT.parse()?;
    let answer = tokio::spawn(send(shop.address, paid(request, &payment(&shop).await?)));
    for chunk in ["one", "two", "three"] {
        body.send(Ok(Bytes::from(chunk))).await?;
        assert_eq!(hears.recv().await.context("not heard")?, chunk);
    }
    drop(body);
    assert_eq!(answer.await??.into_body().collect().await?.to_bytes(), "heard");
    shop.close().await
}

/// Counts what is written and what is read of a body, and how far apart they were.
#[derive(Default)]
struct Meter {
    written: AtomicU64,
    read: AtomicU64,
    apart: AtomicU64,
}

impl Meter {
    /// Writes the whole body, as fast as it is taken.
    async fn write(&self, body: mpsc::Sender<io::Result<Bytes>>) {
        for _ in 0..CHUNKS {
            if body.send(Ok(Bytes::from_static(&[7; CHUNK]))).await.is_err() {
                return;
            }
            let written = self.written.fetch_add(CHUNK as u64, Ordering::SeqCst) + CHUNK as u64;
            self.apart.fetch_max(written.saturating_sub(self.read.load(Ordering::SeqCst)), Ordering::SeqCst);
        }
    }

    /// Reads the whole body, once it may.
    async fn read(&self, mut body: Incoming, may_read: &Semaphore) {
        let _permit = may_read.acquire().await.expect("not closed");
        while let Ok(chunk) = next(&mut body).await {
            self.read.fetch_add(chunk.len() as u64, Ordering::SeqCst);
        }
    }

    /// Waits until the writer waits for the reader: nothing was written for a while.
    async fn until_stalled(&self) {
        let mut before = 0;
        loop {
            tokio::time::sleep(Duration::from_millis(200)).await;
            let written = self.written.load(Ordering::SeqCst);
            if written > 0 && written == before {
                return;
            }
            before = written;
        }
    }

    fn check(&self) {
        assert_eq!(self.read.load(Ordering::SeqCst), CHUNKS * CHUNK as u64);
        let apart = self.apart.load(Ordering::SeqCst);
        assert!(apart < IN_FLIGHT, "{apart} bytes were in the gate and the kernel");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_client_holds_back_an_upstream_with_a_hundred_megabytes() -> Result<()> {
    let shop = Shop::open(ShopOptions::default()).await?;
    let meter = Arc::new(Meter::default());
    let writer = Arc::clone(&meter);
    let upstream = Upstream::start(move |_| {
        let (body, reply) = streamed();
        let writer = Arc::clone(&writer);
        tokio::spawn(async move { writer.write(body).await });
        std::future::ready(reply)
    })
    .await?;
    shop.sell(AT, &upstream)?;
    let response = send(shop.address, paid(get(AT), &payment(&shop).await?)).await?;
    meter.until_stalled().await;
    meter.read(response.into_body(), &Semaphore::new(1)).await;
    meter.check();
    shop.until_payment(|payment| payment.delivery == Delivery::Done).await?;
    shop.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_upstream_holds_back_a_client_with_a_hundred_megabytes() -> Result<()> {
    let shop = Shop::open(ShopOptions::default()).await?;
    let (meter, may_read) = (Arc::new(Meter::default()), Arc::new(Semaphore::new(0)));
    let (reader, gate) = (Arc::clone(&meter), Arc::clone(&may_read));
    let upstream = Upstream::start(move |request: Request<Incoming>| {
        let (reader, gate) = (Arc::clone(&reader), Arc::clone(&gate));
        async move {
            reader.read(request.into_body(), &gate).await;
            reply(StatusCode::OK, "read")
        }
    })
    .await?;
    shop.sell(AT, &upstream)?;
    let (body, sent) = chunks();
    let mut request = Request::new(sent);
    *request.method_mut() = Method::PUT;
    *request.uri_mut() = AT.parse()?;
    let answer = tokio::spawn(send(shop.address, paid(request, &payment(&shop).await?)));
    let writer = Arc::clone(&meter);
    let writing = tokio::spawn(async move { writer.write(body).await });
    meter.until_stalled().await;
    may_read.add_permits(1);
    assert_eq!(answer.await??.status(), StatusCode::OK);
    writing.await?;
    meter.check();
    shop.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_the_upstream_breaks_off_is_noted_and_stays_paid() -> Result<()> {
    let shop = Shop::open(ShopOptions::default()).await?;
    let (upstream, mut bodies) = written().await?;
    shop.sell(AT, &upstream)?;
    let mut response = send(shop.address, paid(get(AT), &payment(&shop).await?)).await?;
    let body = bodies.recv().await.context("not asked")?;
    body.send(Ok(Bytes::from_static(b"half"))).await?;
    assert_eq!(next(response.body_mut()).await?, "half");
    body.send(Err(io::Error::other("broken"))).await?;
    let end = response.body_mut().frame().await;
    assert!(matches!(end, Some(Err(_))), "a client can tell that it has not got everything: {end:?}");
    let payment = shop.until_payment(|payment| payment.delivery == Delivery::Done).await?;
    assert!(payment.state().is_paid());
    let story = shop.ledger.events(payment.id).await?;
    assert!(story.iter().any(|event| event.why == "the upstream broke off in the body"), "{story:?}");
    shop.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reply_that_needs_no_body_of_the_request_comes_before_it_has_ended() -> Result<()> {
    let shop = Shop::open(ShopOptions::default()).await?;
    let upstream = Upstream::start(|request: Request<Incoming>| {
        // Keeps the rest of the request's body unread until the reply has been sent.
        let (body, mut answer): (_, Reply) = streamed();
        answer.headers_mut().insert("x-early", HeaderValue::from_static("yes"));
        tokio::spawn(async move {
            let _sent = body.send(Ok(Bytes::from_static(b"early"))).await;
            let _rest = request.into_body().collect().await;
        });
        std::future::ready(answer)
    })
    .await?;
    shop.sell(AT, &upstream)?;
    let (body, sent) = chunks();
    let mut request = Request::new(sent);
    *request.method_mut() = Method::POST;
    *request.uri_mut() = AT.parse()?;
    body.send(Ok(Bytes::from_static(b"first"))).await?;
    let mut response = send(shop.address, paid(request, &payment(&shop).await?)).await?;
    assert_eq!(next(response.body_mut()).await?, "early");
    body.send(Ok(Bytes::from_static(b"last"))).await?;
    drop(body);
    assert!(response.body_mut().frame().await.is_none());
    shop.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_uploads_unpaid_gets_its_challenge_all_the_same() -> Result<()> {
    let shop = Shop::open(ShopOptions::default()).await?;
    let upstream = Upstream::hello().await?;
    shop.sell(AT, &upstream)?;
    let (body, sent) = chunks();
    let mut request = Request::new(sent);
    *request.method_mut() = Method::POST;
    *request.uri_mut() = AT.parse()?;
    let answer = tokio::spawn(send(shop.address, request));
    // Closing on a client that still sends would destroy the answer on its way.
    for _ in 0..300 {
        body.send(Ok(Bytes::from_static(&[7; CHUNK]))).await?;
    }
    drop(body);
    assert_eq!(answer.await??.status(), StatusCode::PAYMENT_REQUIRED);
    assert_eq!(upstream.count(), 0);
    shop.close().await
}
