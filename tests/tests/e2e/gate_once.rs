//! One payment is one service, whatever is sent how often and when.

use anyhow::{Result, ensure};
use futures_util::{StreamExt, TryStreamExt, future::join_all, stream};
use hyper::{Method, StatusCode};
use obol_core::{Amount, Reason, WireVersion};
use obol_tests::{
    Buyer, Customer, Shop, ShopOptions, Upstream, fetch, fetch_after, get, paid, reply, request,
};
use std::{
    collections::HashSet,
    sync::{
        Arc,
        atomic::{AtomicU16, Ordering},
    },
    time::Duration,
};

const AT: &str = "/services/demo-hello";

fn customer(shop: &Shop, version: WireVersion) -> Customer {
    Customer::new(Buyer::of(shop.chain.buyers()[0]), shop.address, version)
}

async fn fifty_at_once(version: WireVersion) -> Result<()> {
    let shop = Shop::open(ShopOptions::default()).await?;
    let upstream = Upstream::hello().await?;
    shop.sell(AT, &upstream)?;
    let (_, header) = customer(&shop, version).payment(AT).await?;
    let sent = (0..50).map(|_| fetch(shop.address, paid(get(AT), &header)));
    let mut served = 0;
    for answered in join_all(sent).await {
        let answered = answered?;
        match answered.status {
            StatusCode::OK => served += 1,
            StatusCode::CONFLICT => drop(answered.expect_refusal(Reason::InFlight)?),
            _ => drop(answered.expect_refusal(Reason::AlreadyServed)?),
        }
    }
    assert_eq!((served, upstream.count()), (1, 1));
    assert_eq!(shop.payments().await?.len(), 1);
    shop.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_v2_payment_sent_fifty_times_at_once_is_served_once() -> Result<()> {
    fifty_at_once(WireVersion::V2).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_v1_payment_sent_fifty_times_at_once_is_served_once() -> Result<()> {
    fifty_at_once(WireVersion::V1).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_sent_to_two_gates_on_one_ledger_is_served_by_one_of_them_once() -> Result<()> {
    let shop = Shop::open(ShopOptions::default()).await?;
    let second = shop.second_till(ShopOptions::default()).await?;
    let upstream = Upstream::hello().await?;
    let offer = shop.offer(AT, &upstream);
    shop.publish(std::slice::from_ref(&offer))?;
    second.publish(&[offer])?;
    let customer = customer(&shop, WireVersion::V2);
    let sale = customer.challenge(AT).await?;
    for round in 1..=10 {
        let (_, header) = customer.pay(&sale)?;
        let gates = [shop.address, second.address].into_iter().cycle().take(20);
        let answers = join_all(gates.map(|gate| fetch(gate, paid(get(AT), &header)))).await;
        let answers: Vec<_> = answers.into_iter().collect::<Result<_>>()?;
        let served = answers.iter().filter(|answered| answered.status == StatusCode::OK).count();
        assert_eq!((served, upstream.count()), (1, round));
        for gate in [shop.address, second.address] {
            fetch_after(gate, || paid(get(AT), &header)).await?.expect_refusal(Reason::AlreadyServed)?;
        }
    }
    second.stop().await?;
    shop.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_in_flight_is_a_conflict_for_everybody_else() -> Result<()> {
    let shop = Shop::open(ShopOptions::default()).await?;
    let (asked, mut was_asked) = tokio::sync::mpsc::channel(1);
    let (go, may_go) = tokio::sync::watch::channel(false);
    let upstream = Upstream::start(move |_| {
        let (asked, mut may_go) = (asked.clone(), may_go.clone());
        async move {
            asked.send(()).await.expect("the test waits");
            may_go.wait_for(|go| *go).await.expect("the test lives");
            reply(StatusCode::OK, "hello")
        }
    })
    .await?;
    shop.sell(AT, &upstream)?;
    let (_, header) = customer(&shop, WireVersion::V2).payment(AT).await?;
    let first = tokio::spawn(fetch(shop.address, paid(get(AT), &header)));
    was_asked.recv().await;

    let second = fetch(shop.address, paid(get(AT), &header)).await?;
    second.expect_refusal(Reason::InFlight)?;
    assert!(second.header("retry-after").is_some(), "{second:?}");
    let other = fetch(shop.address, paid(request(Method::POST, AT, "else"), &header)).await?;
    other.expect_refusal(Reason::InFlight)?;

    go.send(true)?;
    assert_eq!(first.await??.status, StatusCode::OK);
    assert_eq!(upstream.count(), 1);
    shop.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn five_hundred_payments_over_http_are_all_served_and_settled_and_none_twice() -> Result<()> {
    const PAYMENTS: usize = 500;
    let shop = Shop::open(ShopOptions::default()).await?;
    let upstream = Upstream::hello().await?;
    shop.sell(AT, &upstream)?;
    let sale = customer(&shop, WireVersion::V2).challenge(AT).await?;
    let buyers = shop.chain.buyers();
    let requests: Vec<_> = (0..PAYMENTS)
        .map(|n| {
            let buyer = Buyer::of(buyers[n % buyers.len()]);
            let (_, header) = Customer::new(buyer, shop.address, WireVersion::V2).pay(&sale)?;
            Ok(fetch(shop.address, paid(get(AT), &header)))
        })
        .collect::<Result<_>>()?;
    let answers: Vec<_> = stream::iter(requests).buffer_unordered(32).try_collect().await?;
    for answered in &answers {
        ensure!(answered.status == StatusCode::OK && answered.body == "hello", "{answered:?}");
    }
    assert_eq!(upstream.count(), PAYMENTS);
    let paid: HashSet<_> = shop.payments().await?.iter().map(|payment| payment.key).collect();
    assert_eq!(paid.len(), PAYMENTS);
    let expected = Amount::from(10_000 * PAYMENTS as u64);
    assert_eq!(shop.chain.usdc_balance(shop.chain.seller().address).await?, expected);
    shop.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_served_payment_is_never_served_again_in_any_form_nor_after_a_restart() -> Result<()> {
    let shop = Shop::open(ShopOptions::default()).await?;
    let upstream = Upstream::hello().await?;
    shop.sell(AT, &upstream)?;
    let (v2, v1) = (customer(&shop, WireVersion::V2), customer(&shop, WireVersion::V1));
    let (payment, header) = v2.payment(AT).await?;
    let old_header = v1.header(&v1.challenge(AT).await?, &payment)?;
    assert_eq!(fetch(shop.address, paid(get(AT), &header)).await?.status, StatusCode::OK);

    let shop = {
        for header in [&header, &old_header] {
            fetch_after(shop.address, || paid(get(AT), header))
                .await?
                .expect_refusal(Reason::AlreadyServed)?;
            let posted = paid(request(Method::POST, AT, "x"), header);
            fetch(shop.address, posted).await?.expect_refusal(Reason::AlreadyServed)?;
        }
        shop.reopen(ShopOptions::default()).await?
    };
    shop.sell(AT, &upstream)?;
    for header in [&header, &old_header] {
        fetch_after(shop.address, || paid(get(AT), header)).await?.expect_refusal(Reason::AlreadyServed)?;
    }
    assert_eq!(upstream.count(), 1);
    shop.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_that_the_upstream_failed_can_be_used_again_three_times_at_most() -> Result<()> {
    let shop = Shop::open(ShopOptions::default()).await?;
    let status = Arc::new(AtomicU16::new(500));
    let answers = Arc::clone(&status);
    let upstream = Upstream::start(move |_| {
        let status = StatusCode::from_u16(answers.load(Ordering::SeqCst)).expect("a status");
        std::future::ready(reply(status, "said the upstream"))
    })
    .await?;
    shop.sell(AT, &upstream)?;
    let customer = customer(&shop, WireVersion::V2);
    let sale = customer.challenge(AT).await?;

    let (_, lucky) = customer.pay(&sale)?;
    for _ in 0..2 {
        let failed = fetch(shop.address, paid(get(AT), &lucky)).await?;
        assert_eq!(failed.status, StatusCode::INTERNAL_SERVER_ERROR);
        assert_eq!(failed.header("x-payment-settled"), Some("false"));
    }
    status.store(200, Ordering::SeqCst);
    assert_eq!(fetch(shop.address, paid(get(AT), &lucky)).await?.status, StatusCode::OK);

    status.store(502, Ordering::SeqCst);
    let (_, unlucky) = customer.pay(&sale)?;
    for _ in 0..4 {
        assert_eq!(fetch(shop.address, paid(get(AT), &unlucky)).await?.status, StatusCode::BAD_GATEWAY);
    }
    fetch(shop.address, paid(get(AT), &unlucky)).await?.expect_refusal(Reason::TooManyAttempts)?;
    assert_eq!(upstream.count(), 2 + 1 + 4);
    shop.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn once_expired_a_served_payment_stays_served_and_an_unserved_one_is_refused() -> Result<()> {
    let shop = Shop::open(ShopOptions::default()).await?;
    let upstream = Upstream::hello().await?;
    shop.sell(AT, &upstream)?;
    let customer = customer(&shop, WireVersion::V2);
    let sale = customer.challenge(AT).await?;
    let (_, served) = customer.pay(&sale)?;
    let (_, unserved) = customer.pay(&sale)?;
    assert_eq!(fetch(shop.address, paid(get(AT), &served)).await?.status, StatusCode::OK);

    // Time cannot be moved; but to a gate that wants an hour more, ten minutes are over.
    let mut strict = ShopOptions::default();
    strict.seller.timing.clock_skew = Duration::from_secs(3_600);
    let shop = shop.reopen(strict).await?;
    shop.sell(AT, &upstream)?;
    fetch_after(shop.address, || paid(get(AT), &served)).await?.expect_refusal(Reason::AlreadyServed)?;
    fetch(shop.address, paid(get(AT), &unserved)).await?.expect_refusal(Reason::Expired)?;
    assert_eq!(upstream.count(), 1);
    shop.close().await
}
