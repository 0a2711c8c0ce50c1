//! What is sold changes, and the gate stops, while requests run.

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use futures_util::future::try_join_all;
use http_body_util::BodyExt;
use hyper::StatusCode;
use obol_core::{Amount, Offer, Reason, WireVersion};
use obol_devchain::Mining;
use obol_ledger::{Delivery, State};
use obol_tests::{
    Buyer, Customer, Shop, ShopOptions, Upstream, fetch, get, paid, reply, send, streamed, until,
};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::{
    net::TcpStream,
    sync::{mpsc, oneshot},
    time::timeout,
};

const AT: &str = "/services/paid";

fn customer(shop: &Shop, buyer: usize) -> Customer {
    Customer::new(Buyer::of(shop.chain.buyers()[buyer]), shop.address, WireVersion::V2)
}

/// One offer in two editions that differ in everything: what is paid for one must not buy, nor
/// be told in the words of, the other.
fn editions(shop: &Shop, upstream: &Upstream) -> [Offer; 2] {
    [("first", 10_000), ("second", 20_000)].map(|(edition, units)| {
        let mut offer = shop.offer(AT, upstream);
        offer.description = edition.to_owned();
        offer.upstream.base = Some(format!("{}/{edition}", upstream.base()));
        offer.accepts[0].amount = Amount::from(units);
        offer
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn each_request_is_sold_by_one_edition_of_the_catalog() -> Result<()> {
    const BUYERS: usize = 8;
    const SALES: usize = 12;
    let shop = Arc::new(Shop::open(ShopOptions::default()).await?);
    let upstream = Upstream::start(|request| {
        let edition = request.uri().path().trim_start_matches('/').to_owned();
        std::future::ready(reply(StatusCode::OK, edition))
    })
    .await?;
    let editions = editions(&shop, &upstream);
    shop.publish(&editions[..1])?;
    let sold_out = Arc::new(AtomicBool::new(false));
    let (reloads, over, two) = (Arc::clone(&shop), Arc::clone(&sold_out), editions.clone());
    let reloading = tokio::spawn(async move {
        let mut turns = 0;
        while !over.load(Ordering::Relaxed) {
            turns += 1;
            reloads.publish(std::slice::from_ref(&two[turns % 2]))?;
            tokio::task::yield_now().await;
        }
        anyhow::Ok(turns)
    });
    let buying = (0..BUYERS).map(|buyer| {
        let shop = &shop;
        let customer = customer(shop, buyer);
        async move {
            let mut served = 0;
            for _ in 0..SALES {
                let challenge = fetch(shop.address, get(AT)).await?.challenge()?;
                let told = (
                    challenge["resource"]["description"].as_str(),
                    challenge["accepts"][0]["amount"].as_str(),
                );
                ensure!(
                    matches!(told, (Some("first"), Some("10000")) | (Some("second"), Some("20000"))),
                    "{told:?}"
                );
                let (payment, header) = customer.payment(AT).await?;
                let answered = fetch(shop.address, paid(get(AT), &header)).await?;
                let edition =
                    if payment.authorization.value == Amount::from(10_000) { "first" } else { "second" };
                match answered.status {
                    StatusCode::OK => {
                        ensure!(answered.body == edition, "paid for {edition}: {answered:?}");
                        served += 1;
                    }
                    // The price has changed in between.
                    _ => drop(answered.expect_refusal(Reason::ValueMismatch)?),
                }
            }
            Ok(served)
        }
    });
    let served: usize = try_join_all(buying).await?.iter().sum();
    sold_out.store(true, Ordering::Relaxed);
    assert!(reloading.await?? > BUYERS * SALES, "reloads kept pace with the sales");
    assert!(served > 0 && upstream.count() == served, "{served} served");
    Arc::into_inner(shop).context("still used")?.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_response_goes_on_when_its_offer_is_withdrawn() -> Result<()> {
    let shop = Shop::open(ShopOptions::default()).await?;
    let (opened, mut bodies) = mpsc::channel(1);
    let upstream = Upstream::start(move |_| {
        let (body, reply) = streamed();
        opened.try_send(body).expect("the test takes it");
        std::future::ready(reply)
    })
    .await?;
    shop.sell(AT, &upstream)?;
    let (_, header) = customer(&shop, 0).payment(AT).await?;
    let response = send(shop.address, paid(get(AT), &header)).await?;
    let body = bodies.recv().await.context("not asked")?;
    shop.publish(&[])?;
    fetch(shop.address, get(AT)).await?.expect_refusal(Reason::NoRoute)?;
    body.send(Ok(Bytes::from_static(b"to the end"))).await?;
    drop(body);
    assert_eq!(response.into_body().collect().await?.to_bytes(), "to the end");
    shop.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_lets_running_sales_and_responses_finish_and_takes_no_new_ones() -> Result<()> {
    let shop = Shop::open(ShopOptions::default()).await?;
    let (opened, mut bodies) = mpsc::channel(1);
    let (asked, mut asks) = mpsc::channel(1);
    let upstream = Upstream::start(move |request| {
        let (opened, asked) = (opened.clone(), asked.clone());
        async move {
            if request.uri().path() == "/streams" {
                let (body, reply) = streamed();
                opened.try_send(body).expect("the test takes it");
                return reply;
            }
            let (tell, told) = oneshot::channel();
            asked.try_send(tell).expect("the test listens");
            reply(StatusCode::OK, told.await.unwrap_or("never told"))
        }
    })
    .await?;
    shop.sell(AT, &upstream)?;
    let streams = format!("{AT}/streams");
    let (_, header) = customer(&shop, 0).payment(&streams).await?;
    let response = send(shop.address, paid(get(&streams), &header)).await?;
    let body = bodies.recv().await.context("not asked")?;
    let (_, header) = customer(&shop, 1).payment(AT).await?;
    let selling = tokio::spawn(fetch(shop.address, paid(get(AT), &header)));
    let tell = asks.recv().await.context("not asked")?;

    shop.begin_stop();
    let deadline = Instant::now() + Duration::from_secs(10);
    while TcpStream::connect(shop.address).await.is_ok() {
        ensure!(Instant::now() < deadline, "new connections are still taken");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    tell.send("sold").ok().context("nobody waits")?;
    let sold = selling.await??;
    assert_eq!((sold.status, &sold.body[..]), (StatusCode::OK, &b"sold"[..]));
    customer(&shop, 1).receipt(&sold)?;
    body.send(Ok(Bytes::from_static(b"to the end"))).await?;
    drop(body);
    assert_eq!(response.into_body().collect().await?.to_bytes(), "to the end");
    shop.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_grace_of_a_stop_is_one_for_responses_and_sales() -> Result<()> {
    let mut options = ShopOptions::default();
    options.limits.grace = Duration::from_secs(3);
    let grace = options.limits.grace;
    let shop = Shop::open(options).await?;
    let (asked, mut asks) = mpsc::channel(1);
    let upstream = Upstream::start(move |_| {
        let asked = asked.clone();
        async move {
            asked.try_send(()).expect("the test listens");
            std::future::pending().await
        }
    })
    .await?;
    shop.sell(AT, &upstream)?;
    let (_, header) = customer(&shop, 0).payment(AT).await?;
    // Both its response and its sale are on their way until the end.
    let buying = tokio::spawn(fetch(shop.address, paid(get(AT), &header)));
    asks.recv().await.context("not asked")?;
    let stopping = Instant::now();
    shop.begin_stop();
    // It is told before the grace is over.
    buying.await??.expect_refusal(Reason::UpstreamTimeout)?;
    shop.until_payment(|payment| payment.state() == State::Released).await?;
    shop.close().await?;
    let took = stopping.elapsed();
    ensure!(took >= grace / 2 && took < 2 * grace, "{took:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_while_the_chain_decides_tells_the_buyer_and_keeps_what_was_sent() -> Result<()> {
    let mut options = ShopOptions { mining: Mining::Manual, ..ShopOptions::default() };
    options.seller.timing.stuck = Duration::from_secs(600);
    options.limits.grace = Duration::from_secs(3);
    let grace = options.limits.grace;
    let shop = Shop::open(options).await?;
    let upstream = Upstream::hello().await?;
    shop.sell(AT, &upstream)?;
    let (_, header) = customer(&shop, 0).payment(AT).await?;
    let buying = tokio::spawn(fetch(shop.address, paid(get(AT), &header)));
    shop.until_payment(|payment| payment.state() == State::Submitted).await?;
    let stopping = Instant::now();
    shop.begin_stop();
    buying.await??.expect_refusal(Reason::SettlementPending)?;
    ensure!(stopping.elapsed() < grace, "{:?}", stopping.elapsed());
    let left = shop.until_payment(|payment| payment.held_until.0 == 0).await?;
    assert_eq!((left.state(), left.delivery), (State::Submitted, Delivery::None));
    shop.chain.mine(1).await?;
    shop.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_waits_until_the_end_of_each_delivery_is_written_down() -> Result<()> {
    let shop = Shop::open(ShopOptions::default()).await?;
    let (opened, mut bodies) = mpsc::channel(1);
    let upstream = Upstream::start(move |_| {
        let (body, reply) = streamed();
        opened.try_send(body).expect("the test takes it");
        std::future::ready(reply)
    })
    .await?;
    shop.sell(AT, &upstream)?;
    let (_, header) = customer(&shop, 0).payment(AT).await?;
    let response = send(shop.address, paid(get(AT), &header)).await?;
    let body = bodies.recv().await.context("not asked")?;
    shop.until_payment(|payment| payment.state().is_paid()).await?;
    // Another process is busy with the ledger.
    let other = rusqlite::Connection::open(shop.ledger_file())?;
    other.execute_batch("BEGIN IMMEDIATE")?;
    body.send(Ok(Bytes::from_static(b"to the end"))).await?;
    drop(body);
    assert_eq!(response.into_body().collect().await?.to_bytes(), "to the end");
    shop.begin_stop();
    let ended = until("it has ended", async || Ok(shop.has_ended().then_some(())));
    ensure!(timeout(Duration::from_millis(500), ended).await.is_err(), "nothing is written down yet");
    drop(other);
    until("it has ended", async || Ok(shop.has_ended().then_some(()))).await?;
    let payments = shop.payments().await?;
    assert_eq!(payments.iter().map(|payment| payment.delivery).collect::<Vec<_>>(), [Delivery::Done]);
    shop.close().await
}
