//! Clients that leave: who pays for what was begun, and who gets it in the end.

use anyhow::{Context, Result};
use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::{Method, Request, StatusCode, body::Incoming};
use obol_core::{Amount, Charge, Disconnect, Exposure, Reason, WireVersion};
use obol_devchain::Mining;
use obol_ledger::{Delivery, State};
use obol_tests::{
    Buyer, Customer, Leaver, Shop, ShopOptions, Upstream, chunks, fetch, fetch_after, get, paid, reply, send,
    streamed,
};
use obol_wire::Receipt;
use std::{io, time::Duration};
use tokio::sync::{mpsc, oneshot};

const AT: &str = "/services/paid";

fn customer(shop: &Shop) -> Customer {
    Customer::new(Buyer::of(shop.chain.buyers()[0]), shop.address, WireVersion::V2)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_leaves_before_the_upstream_answers_can_use_its_payment_again() -> Result<()> {
    let shop = Shop::open(ShopOptions::default()).await?;
    let (upstream, mut asks) = Upstream::told().await?;
    shop.sell(AT, &upstream)?;
    let (_, header) = customer(&shop).payment(AT).await?;
    let leaving = tokio::spawn(send(shop.address, paid(get(AT), &header)));
    let mut first = asks.recv().await.context("not asked")?;
    leaving.abort();
    // The upstream is not kept at work for nobody.
    first.closed().await;
    let released = shop.until_payment(|payment| payment.state() == State::Released).await?;
    assert_eq!(released.reason.as_deref(), Some("the client left before the upstream answered"));

    let again = tokio::spawn(fetch(shop.address, paid(get(AT), &header)));
    asks.recv().await.context("not asked again")?.send("hello").ok().context("nobody waits")?;
    let answered = again.await??;
    assert_eq!((answered.status, &answered.body[..]), (StatusCode::OK, &b"hello"[..]));
    assert_eq!(
        shop.chain.transfer_events(0).await?.iter().filter(|t| t.to == shop.chain.seller().address).count(),
        1
    );
    shop.close().await
}

/// Pays under `onDisconnect: charge`, leaves, and waits until the money is there. Returns the
/// payment that was charged for nothing yet.
async fn charged_and_left(
    shop: &Shop,
    upstream: &Upstream,
    asks: &mut mpsc::Receiver<oneshot::Sender<&'static str>>,
    charge: Charge,
) -> Result<(obol_wire::PaymentHeader, alloy_primitives::B256)> {
    let mut offer = shop.offer(AT, upstream);
    offer.on_disconnect = Disconnect::Charge;
    offer.charge = charge;
    shop.publish(&[offer])?;
    let (_, header) = customer(shop).payment(AT).await?;
    // As `fetch` sends it, so that it is the same request when it comes again.
    let request =
        format!("GET {AT} HTTP/1.1\r\nHost: {}\r\n{}: {}\r\n\r\n", shop.address, header.name, header.value);
    let leaving = Leaver::send(shop.address, &request).await?;
    let first = asks.recv().await.context("not asked")?;
    leaving.leave().await?;
    let held = shop.payments().await?;
    assert_eq!(held[0].state(), State::Reserved, "it is not given back");
    first.send("first").ok().context("the gate waits all the same")?;
    let free = |payment: &obol_ledger::PaymentRecord| payment.state().is_paid() && payment.held_until.0 == 0;
    let charged = shop.until_payment(free).await?;
    assert_eq!(charged.delivery, Delivery::None, "nobody got it");
    Ok((header, charged.inclusion.context("paid without a transaction")?.tx))
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_charged_though_it_left_is_served_when_it_returns_with_the_same_payment() -> Result<()> {
    let shop = Shop::open(ShopOptions::default()).await?;
    let (upstream, mut asks) = Upstream::told().await?;
    let (header, transaction) = charged_and_left(&shop, &upstream, &mut asks, Charge::BeforeBody).await?;

    let other = fetch(shop.address, paid(get(&format!("{AT}/other")), &header)).await?;
    other.expect_refusal(Reason::FingerprintMismatch)?;

    let again = tokio::spawn(fetch(shop.address, paid(get(AT), &header)));
    asks.recv().await.context("not asked")?.send("second").ok().context("nobody waits")?;
    let answered = again.await??;
    assert_eq!((answered.status, &answered.body[..]), (StatusCode::OK, &b"second"[..]));
    let receipt = customer(&shop).receipt(&answered)?;
    assert!(matches!(receipt, Receipt::Settled { transaction: tx, .. } if tx == transaction), "{receipt:?}");
    fetch_after(shop.address, || paid(get(AT), &header)).await?.expect_refusal(Reason::AlreadyServed)?;
    assert_eq!(shop.payments().await?.len(), 1);
    shop.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_charged_though_it_left_is_served_for_its_next_payment_which_stays_unused() -> Result<()> {
    let shop = Shop::open(ShopOptions::default()).await?;
    let (upstream, mut asks) = Upstream::told().await?;
    // An offer that delivers on trust does not deliver to nobody.
    let trusting = Exposure { per_payer: Amount::from(1_000_000), per_offer: Amount::from(1_000_000) };
    let charge = Charge::Optimistic(trusting);
    let (_, transaction) = charged_and_left(&shop, &upstream, &mut asks, charge).await?;

    let (next, header) = customer(&shop).payment(AT).await?;
    let again = tokio::spawn(fetch(shop.address, paid(get(AT), &header)));
    asks.recv().await.context("not asked")?.send("second").ok().context("nobody waits")?;
    let answered = again.await??;
    assert_eq!((answered.status, &answered.body[..]), (StatusCode::OK, &b"second"[..]));
    let receipt = customer(&shop).receipt(&answered)?;
    assert!(matches!(receipt, Receipt::Settled { transaction: tx, .. } if tx == transaction), "{receipt:?}");
    let unused = shop.ledger.payment_by_key(next.key()).await?.context("not noted")?;
    assert_eq!((unused.state(), unused.delivery), (State::Released, Delivery::None));

    // It is still money: for another request it pays.
    let sold = tokio::spawn(fetch(shop.address, paid(get(AT), &header)));
    asks.recv().await.context("not asked")?.send("third").ok().context("nobody waits")?;
    assert_eq!(sold.await??.body, "third");
    shop.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_leaves_in_the_body_has_been_served() -> Result<()> {
    let shop = Shop::open(ShopOptions::default()).await?;
    let (opened, mut bodies) = mpsc::channel::<mpsc::Sender<io::Result<Bytes>>>(8);
    let upstream = Upstream::start(move |_| {
        let (body, reply) = streamed();
        opened.try_send(body).expect("the test takes them");
        std::future::ready(reply)
    })
    .await?;
    shop.sell(AT, &upstream)?;
    let (_, header) = customer(&shop).payment(AT).await?;
    let mut response = send(shop.address, paid(get(AT), &header)).await?;
    let body = bodies.recv().await.context("not asked")?;
    body.send(Ok(Bytes::from_static(b"half"))).await?;
    assert!(response.body_mut().frame().await.is_some());
    drop(response);
    // Also a silent upstream is told that nobody listens any more.
    body.closed().await;
    let payment = shop.until_payment(|payment| payment.delivery == Delivery::Done).await?;
    let story = shop.ledger.events(payment.id).await?;
    assert!(story.iter().any(|event| event.why == "the client left in the body"), "{story:?}");
    fetch_after(shop.address, || paid(get(AT), &header)).await?.expect_refusal(Reason::AlreadyServed)?;
    assert_eq!(upstream.count(), 1);
    shop.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_leaves_in_its_own_body_is_not_charged() -> Result<()> {
    let shop = Shop::open(ShopOptions::default()).await?;
    let (asked, mut asks) = mpsc::channel(8);
    let upstream = Upstream::start(move |request: Request<Incoming>| {
        let asked = asked.clone();
        async move {
            asked.send(()).await.expect("the test listens");
            let whole = request.into_body().collect().await.is_ok();
            reply(if whole { StatusCode::OK } else { StatusCode::BAD_REQUEST }, "read")
        }
    })
    .await?;
    shop.sell(AT, &upstream)?;
    let (_, header) = customer(&shop).payment(AT).await?;
    let (body, sent) = chunks();
    let mut request = Request::new(sent);
    *request.method_mut() = Method::POST;
    *request.uri_mut() = AT.parse()?;
    let leaving = tokio::spawn(send(shop.address, paid(request, &header)));
    body.send(Ok(Bytes::from_static(b"half"))).await?;
    asks.recv().await.context("not asked")?;
    body.send(Err(io::Error::other("leaves"))).await?;
    assert!(leaving.await?.is_err());
    shop.until_payment(|payment| payment.state() == State::Released).await?;
    assert_eq!(fetch(shop.address, paid(get(AT), &header)).await?.status, StatusCode::OK);
    shop.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_leaves_while_its_money_moves_is_served_when_it_returns() -> Result<()> {
    let mut options = ShopOptions { mining: Mining::Manual, ..ShopOptions::default() };
    options.seller.timing.stuck = Duration::from_secs(600);
    let shop = Shop::open(options).await?;
    let upstream = Upstream::hello().await?;
    shop.sell(AT, &upstream)?;
    let (_, header) = customer(&shop).payment(AT).await?;
    let leaving = tokio::spawn(send(shop.address, paid(get(AT), &header)));
    shop.until_payment(|payment| payment.state() == State::Submitted).await?;
    leaving.abort();
    shop.until_payment(|payment| payment.held_until.0 == 0).await?;
    shop.chain.mine(1).await?;
    let paid_for = shop.until_payment(|payment| payment.state().is_paid()).await?;
    assert_eq!(paid_for.delivery, Delivery::None);

    let answered = fetch(shop.address, paid(get(AT), &header)).await?;
    assert_eq!(answered.status, StatusCode::OK, "{answered:?}");
    let transaction = paid_for.inclusion.context("paid without a transaction")?.tx;
    let receipt = customer(&shop).receipt(&answered)?;
    assert!(matches!(receipt, Receipt::Settled { transaction: tx, .. } if tx == transaction), "{receipt:?}");
    shop.close().await
}
