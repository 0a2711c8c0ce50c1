//! When the seller cannot sell: refused with the reason, nothing forwarded, nothing charged, and
//! the same payment is good later.

use anyhow::{Context, Result};
use hyper::{Method, StatusCode};
use obol_core::{Reason, WireVersion};
use obol_devchain::{
    Devchain, Mining, Options,
    fault::{Fault, FaultyRpc},
};
use obol_ledger::State;
use obol_tests::{Buyer, Customer, Shop, ShopOptions, Upstream, fetch, get, paid, request, until};
use std::time::{Duration, SystemTime};

const AT: &str = "/services/paid";

fn customer(shop: &Shop) -> Customer {
    Customer::new(Buyer::of(shop.chain.buyers()[0]), shop.address, WireVersion::V2)
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_sold_before_the_first_load_and_health_says_so() -> Result<()> {
    let shop = Shop::open(ShopOptions::default()).await?;
    for address in [shop.address, shop.admin] {
        assert_eq!(fetch(address, get("/healthz")).await?.status, StatusCode::OK);
        assert_eq!(fetch(address, get("/readyz")).await?.status, StatusCode::SERVICE_UNAVAILABLE);
    }
    fetch(shop.address, get(AT)).await?.expect_refusal(Reason::NotReady)?;

    let upstream = Upstream::hello().await?;
    shop.sell(AT, &upstream)?;
    for address in [shop.address, shop.admin] {
        assert_eq!(fetch(address, get("/readyz")).await?.status, StatusCode::OK);
    }
    assert_eq!(fetch(shop.address, get(AT)).await?.status, StatusCode::PAYMENT_REQUIRED);
    // The port for operators sells nothing.
    assert_eq!(fetch(shop.admin, get(AT)).await?.status, StatusCode::NOT_FOUND);
    assert_eq!(upstream.count(), 0);
    shop.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_offer_takes_no_payment_and_goes_on_where_it_stopped() -> Result<()> {
    let shop = Shop::open(ShopOptions::default()).await?;
    let upstream = Upstream::hello().await?;
    let mut offer = shop.offer(AT, &upstream);
    shop.publish(std::slice::from_ref(&offer))?;
    let (_, header) = customer(&shop).payment(AT).await?;
    offer.paused = true;
    shop.publish(std::slice::from_ref(&offer))?;
    for request in [get(AT), paid(get(AT), &header), request(Method::POST, AT, "body")] {
        let refused = fetch(shop.address, request).await?;
        refused.expect_refusal(Reason::OfferPaused)?;
        assert!(refused.header("retry-after").is_some() && refused.header("payment-required").is_none());
    }
    assert_eq!((upstream.count(), shop.payments().await?.len()), (0, 0));
    offer.paused = false;
    shop.publish(&[offer])?;
    assert_eq!(fetch(shop.address, paid(get(AT), &header)).await?.status, StatusCode::OK);
    shop.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_draining_offer_ends_by_the_clock_without_another_load() -> Result<()> {
    let shop = Shop::open(ShopOptions::default()).await?;
    let upstream = Upstream::hello().await?;
    let mut offer = shop.offer(AT, &upstream);
    let sunset = SystemTime::now() + Duration::from_secs(6);
    offer.sunset = Some(sunset);
    shop.publish(&[offer])?;
    let sold = customer(&shop).buy(AT).await?;
    assert!(sold.status == StatusCode::OK && sold.header("sunset").is_some(), "{sold:?}");
    let (_, header) = customer(&shop).payment(AT).await?;
    let ended = until("the offer has ended", async || {
        let answered = fetch(shop.address, get(AT)).await?;
        Ok((answered.status != StatusCode::PAYMENT_REQUIRED).then_some(answered))
    })
    .await?;
    assert!(SystemTime::now() >= sunset, "{ended:?}");
    for answered in [ended, fetch(shop.address, paid(get(AT), &header)).await?] {
        answered.expect_refusal(Reason::OfferDrained)?;
        assert!(answered.header("payment-required").is_none() && answered.header("retry-after").is_none());
    }
    assert_eq!((upstream.count(), shop.payments().await?.len()), (1, 1));
    shop.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn above_its_limit_the_gate_refuses_sales_and_still_answers_challenges() -> Result<()> {
    let shop = Shop::open(ShopOptions { max_sales: 1, ..ShopOptions::default() }).await?;
    let (upstream, mut asks) = Upstream::told().await?;
    shop.sell(AT, &upstream)?;
    let (_, first) = customer(&shop).payment(AT).await?;
    let selling = tokio::spawn(fetch(shop.address, paid(get(AT), &first)));
    let tell = asks.recv().await.context("not asked")?;

    let (_, second) = customer(&shop).payment(AT).await?;
    let refused = fetch(shop.address, paid(get(AT), &second)).await?;
    refused.expect_refusal(Reason::Overloaded)?;
    assert!(refused.header("retry-after").is_some(), "{refused:?}");
    assert_eq!((upstream.count(), shop.payments().await?.len()), (1, 1));

    tell.send("first").ok().context("nobody waits")?;
    assert_eq!(selling.await??.body, "first");
    let selling = tokio::spawn(fetch(shop.address, paid(get(AT), &second)));
    asks.recv().await.context("not asked")?.send("second").ok().context("nobody waits")?;
    assert_eq!(selling.await??.body, "second");
    shop.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_ledger_nothing_is_forwarded() -> Result<()> {
    let shop = Shop::open(ShopOptions { ledger_refuses: true, ..ShopOptions::default() }).await?;
    let upstream = Upstream::hello().await?;
    shop.sell(AT, &upstream)?;
    let (_, header) = customer(&shop).payment(AT).await?;
    let refused = fetch(shop.address, paid(get(AT), &header)).await?;
    let body = refused.expect_refusal(Reason::LedgerUnavailable)?;
    assert_eq!(body["paymentSettled"], false);
    assert_eq!(upstream.count(), 0);

    let shop = shop.reopen(ShopOptions::default()).await?;
    shop.sell(AT, &upstream)?;
    assert_eq!(fetch(shop.address, paid(get(AT), &header)).await?.status, StatusCode::OK);
    shop.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ledger_that_goes_away_during_a_sale_lets_nothing_out() -> Result<()> {
    let shop = Shop::open(ShopOptions::default()).await?;
    let (upstream, mut asks) = Upstream::told().await?;
    shop.sell(AT, &upstream)?;
    let (_, header) = customer(&shop).payment(AT).await?;
    let selling = tokio::spawn(fetch(shop.address, paid(get(AT), &header)));
    let tell = asks.recv().await.context("not asked")?;
    // Another process holds the database for longer than the gate waits for it.
    let file = shop.ledger_file();
    let other = tokio::task::spawn_blocking(move || {
        let db = rusqlite::Connection::open(file)?;
        db.execute_batch("BEGIN IMMEDIATE")?;
        anyhow::Ok(db)
    })
    .await??;
    tell.send("the service").ok().context("nobody waits")?;
    let refused = selling.await??;
    refused.expect_refusal(Reason::LedgerUnavailable)?;
    drop(other);
    // Nobody holds it any more, although nobody could write that down at first.
    shop.until_payment(|payment| payment.state() == State::Released).await?;
    let again = until("the seller sells", async || {
        let answered = fetch(shop.address, paid(get(AT), &header)).await?;
        Ok((answered.status != StatusCode::SERVICE_UNAVAILABLE).then_some(answered))
    });
    let answer =
        async { asks.recv().await.context("not asked")?.send("it works").ok().context("nobody waits") };
    let (again, answered) = tokio::join!(again, answer);
    answered?;
    assert_eq!(again?.status, StatusCode::OK);
    shop.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_chain_nothing_is_forwarded_and_the_payment_is_good_when_it_is_back() -> Result<()> {
    let chain = Devchain::start(Options::default()).await?;
    let rpc = FaultyRpc::start(chain.url()).await?;
    let options = ShopOptions { rpc: Some(rpc.url().to_owned()), ..ShopOptions::default() };
    let shop = Shop::open_on(chain, options).await?;
    let upstream = Upstream::hello().await?;
    shop.sell(AT, &upstream)?;
    let (_, header) = customer(&shop).payment(AT).await?;
    for fault in [
        Fault::Disconnect,
        Fault::LoseAnswer,
        Fault::Status(500),
        Fault::Status(429),
        Fault::Html,
        Fault::Refuse { code: -32_000, message: "header not found".to_owned() },
        Fault::Hang,
    ] {
        rpc.set(fault.clone());
        let refused = fetch(shop.address, paid(get(AT), &header)).await?;
        let body = refused.expect_refusal(Reason::ChainUnavailable).with_context(|| format!("{fault:?}"))?;
        assert_eq!(body["paymentSettled"], false);
        assert!(refused.header("retry-after").is_some(), "{refused:?}");
        assert!(!body.to_string().contains(rpc.url()), "endpoints are often secret: {body}");
    }
    assert_eq!((upstream.count(), shop.payments().await?.len()), (0, 0));
    rpc.heal();
    // The settler looks again in a moment.
    until("it is sold", async || {
        let answered = fetch(shop.address, paid(get(AT), &header)).await?;
        if answered.status == StatusCode::OK {
            return Ok(Some(()));
        }
        answered.expect_refusal(Reason::ChainUnavailable)?;
        Ok(None)
    })
    .await?;
    shop.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_paid_is_served_though_the_chain_is_away_and_nobody_else_with_its_nonce() -> Result<()> {
    let chain = Devchain::start(Options { mining: Mining::Manual, ..Options::default() }).await?;
    let rpc = FaultyRpc::start(chain.url()).await?;
    let mut options = ShopOptions { rpc: Some(rpc.url().to_owned()), ..ShopOptions::default() };
    options.seller.timing.settle_budget = Duration::from_secs(2);
    let shop = Shop::open_on(chain, options).await?;
    let upstream = Upstream::hello().await?;
    shop.sell(AT, &upstream)?;
    let customer = customer(&shop);
    let sale = customer.challenge(AT).await?;
    let (payment, header) = customer.pay(&sale)?;
    fetch(shop.address, paid(get(AT), &header)).await?.expect_refusal(Reason::SettlementPending)?;
    shop.chain.mine(1).await?;
    shop.until_payment(|payment| payment.state().is_paid()).await?;

    rpc.set(Fault::Disconnect);
    let stranger = Buyer::of(shop.chain.buyers()[1]);
    let requirement = obol_tests::requirement(&sale.offered[0]);
    let forged = stranger.sign(&requirement, payment.authorization.clone());
    let forged = customer.header(&sale, &forged)?;
    fetch(shop.address, paid(get(AT), &forged)).await?.expect_refusal(Reason::ChainUnavailable)?;
    assert_eq!(upstream.count(), 1);
    let served = fetch(shop.address, paid(get(AT), &header)).await?;
    assert_eq!((served.status, &served.body[..]), (StatusCode::OK, &b"hello"[..]));
    customer.receipt(&served)?;
    rpc.heal();
    shop.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_settler_without_gas_money_takes_no_more_payments() -> Result<()> {
    let mut options = ShopOptions::default();
    options.seller.timing.settle_budget = Duration::from_secs(1);
    let shop = Shop::open(options).await?;
    let upstream = Upstream::hello().await?;
    shop.sell(AT, &upstream)?;
    // It has looked at its account by then.
    assert_eq!(customer(&shop).buy(AT).await?.status, StatusCode::OK);
    shop.chain.set_balance(shop.chain.settler().address, alloy_primitives::U256::ZERO).await?;
    let (_, header) = customer(&shop).payment(AT).await?;
    // The first one finds out, and is given back.
    for asked in [2, 2] {
        let refused = fetch(shop.address, paid(get(AT), &header)).await?;
        refused.expect_refusal(Reason::SettlerUnavailable)?;
        assert_eq!(upstream.count(), asked);
        let released = async || {
            let second = shop.payments().await?.into_iter().nth(1);
            Ok(second.is_some_and(|payment| payment.state() == State::Released).then_some(()))
        };
        until("it is given back", released).await?;
    }
    let price = obol_tests::price(shop.chain.seller()).amount;
    assert_eq!(shop.chain.usdc_balance(shop.chain.seller().address).await?, price);
    shop.close().await
}
