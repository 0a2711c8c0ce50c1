//! Of each sale, and of what is not sold.

use super::{AT, OTHER, PAID, assert_counts, assert_ledger, customer, offer, open, refused_for, scrape};
use crate::forward_auth::{VERIFY, about, behind_a_proxy};
use anyhow::{Context, Result, ensure};
use hyper::StatusCode;
use obol_core::{Amount, Offer, Reason};
use obol_devchain::{
    Devchain, Mining, Options,
    fault::{Fault, FaultyRpc},
};
use obol_ledger::State;
use obol_tests::{Shop, ShopOptions, Upstream, fetch, get, paid, reply, until};
use obol_verifier::ForwardAuth;
use std::time::{Duration, SystemTime};

#[tokio::test(flavor = "multi_thread")]
async fn a_sale_is_counted_once_at_each_step_with_its_money_and_its_blocks_time() -> Result<()> {
    let (shop, _upstream) = open().await?;
    for _ in 0..2 {
        ensure!(customer(&shop).buy(AT).await?.status == StatusCode::OK);
    }
    let told = scrape(&shop).await?;
    let counts = [
        ("requests_total", 4),
        ("payment_required_total", 2),
        ("payment_verified_total", 2),
        ("charged_requests_total", 2),
        ("settled_amount_total", 20_000),
    ];
    assert_counts(&told, PAID, &counts)?;
    assert_ledger(&told, PAID, 2, 20_000)?;
    let newest = shop.payments().await?.into_iter().filter_map(|payment| payment.inclusion).next_back();
    let at = newest.context("not included")?.block_time;
    assert_eq!(told.one("last_payment_success_seconds", &offer(PAID))?, at.cast_unsigned());
    let chain = [("chain", "eip155:84532")];
    assert_eq!(told.one("verify_duration_seconds_count", &chain)?, 2);
    assert_eq!(told.one("settle_duration_seconds_count", &chain)?, 2);
    assert_eq!(told.one("chain_settled_amount_total", &[("asset_symbol", "USDC")])?, 20_000);
    // Final or not: it counts at its first inclusion.
    shop.chain.mine(100).await?;
    until("final", async || {
        let payments = shop.payments().await?;
        Ok(payments.iter().all(|payment| payment.state() == State::Settled).then_some(()))
    })
    .await?;
    assert_counts(&scrape(&shop).await?, PAID, &counts)?;
    shop.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sale_through_a_proxy_that_asks_is_counted_as_one_through_the_gate() -> Result<()> {
    let (shop, upstream) = (Shop::open(behind_a_proxy()?).await?, Upstream::hello().await?);
    shop.sell(AT, &upstream)?;
    let customer = customer(&shop);
    let asked = fetch(shop.address, about(VERIFY, AT)).await?;
    ensure!(asked.status == StatusCode::PAYMENT_REQUIRED, "{asked:?}");
    let (_, header) = customer.payment(AT).await?;
    let passed = fetch(shop.address, paid(about(VERIFY, AT), &header)).await?;
    ensure!(passed.status == StatusCode::OK, "{passed:?}");
    let told = scrape(&shop).await?;
    assert_counts(
        &told,
        PAID,
        &[
            ("requests_total", 3),
            ("payment_required_total", 2),
            ("payment_verified_total", 1),
            ("charged_requests_total", 1),
            ("settled_amount_total", 10_000),
        ],
    )?;
    assert_ledger(&told, PAID, 1, 10_000)?;
    shop.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_only_verified_is_not_charged() -> Result<()> {
    let forward_auth = ForwardAuth { verify_only: true, ..ForwardAuth::default() };
    let shop = Shop::open(ShopOptions { forward_auth, ..behind_a_proxy()? }).await?;
    let upstream = Upstream::hello().await?;
    shop.sell(AT, &upstream)?;
    let (_, header) = customer(&shop).payment(AT).await?;
    let passed = fetch(shop.address, paid(about(VERIFY, AT), &header)).await?;
    ensure!(passed.status == StatusCode::OK, "{passed:?}");
    let told = scrape(&shop).await?;
    let counts = [
        ("requests_total", 2),
        ("payment_required_total", 1),
        ("payment_verified_total", 1),
        ("waived_requests_total", 1),
    ];
    assert_counts(&told, PAID, &counts)?;
    assert_ledger(&told, PAID, 0, 0)?;
    assert_eq!(told.all("last_payment_success_seconds", &[]).count(), 0);
    shop.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_payments_are_counted_by_reason_and_charge_nothing() -> Result<()> {
    let (shop, _upstream) = open().await?;
    let customer = customer(&shop);
    let sale = customer.challenge(AT).await?;
    let (mut payment, _) = customer.pay(&sale)?;
    payment.authorization.value = Amount::from(1);
    let header = customer.header(&sale, &payment)?;
    fetch(shop.address, paid(get(AT), &header)).await?.expect_refusal(Reason::ValueMismatch)?;
    let mut garbage = get(AT);
    garbage.headers_mut().insert("payment-signature", "%%%".parse()?);
    fetch(shop.address, garbage).await?.expect_refusal(Reason::InvalidPayload)?;
    let (_, header) = customer.pay(&sale)?;
    ensure!(fetch(shop.address, paid(get(AT), &header)).await?.status == StatusCode::OK);
    fetch(shop.address, paid(get(AT), &header)).await?.expect_refusal(Reason::AlreadyServed)?;
    let told = scrape(&shop).await?;
    for reason in [Reason::ValueMismatch, Reason::InvalidPayload, Reason::AlreadyServed] {
        assert_eq!(refused_for(&told, reason)?, (1, 1), "{reason}");
    }
    let counts = [
        ("requests_total", 5),
        ("payment_required_total", 1),
        ("payment_verified_total", 1),
        ("payment_failed_total", 3),
        ("charged_requests_total", 1),
        ("settled_amount_total", 10_000),
    ];
    assert_counts(&told, PAID, &counts)?;
    shop.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_is_counted_as_failed_payments() -> Result<()> {
    let chain = Devchain::start(Options { mining: Mining::default(), ..Options::default() }).await?;
    let rpc = FaultyRpc::start(chain.url()).await?;
    let options = ShopOptions { rpc: Some(rpc.url().to_owned()), ..ShopOptions::default() };
    let (shop, upstream) = (Shop::open_on(chain, options).await?, Upstream::hello().await?);
    shop.sell(AT, &upstream)?;
    let (_, header) = customer(&shop).payment(AT).await?;
    rpc.set(Fault::Disconnect);
    let refused = fetch(shop.address, paid(get(AT), &header)).await?;
    refused.expect_refusal(Reason::ChainUnavailable)?;
    let told = scrape(&shop).await?;
    assert_eq!(refused_for(&told, Reason::ChainUnavailable)?, (1, 1));
    let counts = [("requests_total", 2), ("payment_required_total", 1), ("payment_failed_total", 1)];
    assert_counts(&told, PAID, &counts)?;
    until("the settler is said to be down", async || {
        let told = scrape(&shop).await?;
        let down = told.one("settler_state", &[("state", "rpc_down")])? == 1;
        let others: u64 = ["leading", "following", "starting"]
            .iter()
            .map(|state| told.one("settler_state", &[("state", state)]))
            .sum::<Result<u64>>()?;
        Ok((down && others == 0).then_some(()))
    })
    .await?;
    rpc.heal();
    shop.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_service_fails_is_told_apart_from_what_the_payment_fails() -> Result<()> {
    let shop = Shop::open(ShopOptions::default()).await?;
    let upstream = Upstream::start(|_| std::future::ready(reply(StatusCode::BAD_GATEWAY, "no"))).await?;
    shop.sell(AT, &upstream)?;
    let answered = customer(&shop).buy(AT).await?;
    ensure!(answered.status == StatusCode::BAD_GATEWAY, "{answered:?}");
    let counts = [
        ("requests_total", 2),
        ("payment_required_total", 1),
        ("payment_verified_total", 1),
        ("upstream_failed_after_verify_total", 1),
    ];
    assert_counts(&scrape(&shop).await?, PAID, &counts)?;
    shop.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_the_service_work_and_leaves_before_the_money_is_told() -> Result<()> {
    let shop = Shop::open(ShopOptions::default()).await?;
    let (upstream, mut asks) = Upstream::told().await?;
    shop.sell(AT, &upstream)?;
    let (_, header) = customer(&shop).payment(AT).await?;
    let leaves = tokio::spawn(fetch(shop.address, paid(get(AT), &header)));
    let _works = asks.recv().await.context("not asked")?;
    leaves.abort();
    until("it is told", async || {
        Ok((scrape(&shop).await?.one("client_left_total", &offer(PAID))? == 1).then_some(()))
    })
    .await?;
    let counts = [
        ("requests_total", 2),
        ("payment_required_total", 1),
        ("payment_verified_total", 1),
        ("client_left_total", 1),
    ];
    assert_counts(&scrape(&shop).await?, PAID, &counts)?;
    shop.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_offer_that_is_paused_or_drained_is_not_told_as_sold() -> Result<()> {
    let (shop, upstream) = (Shop::open(ShopOptions::default()).await?, Upstream::hello().await?);
    let told = async |paused: bool, sunset: Option<SystemTime>| -> Result<[u64; 2]> {
        let (open, closed) = (shop.offer(AT, &upstream), shop.offer(OTHER, &upstream));
        shop.publish(&[open, Offer { paused, sunset, ..closed }])?;
        let told = scrape(&shop).await?;
        Ok([told.one("offers_served", &[])?, told.one("offers_paused", &[])?])
    };
    let hour = Duration::from_secs(3_600);
    assert_eq!(told(false, None).await?, [2, 0]);
    assert_eq!(told(true, None).await?, [1, 1]);
    assert_eq!(told(false, Some(SystemTime::now() - hour)).await?, [1, 1]);
    assert_eq!(told(false, Some(SystemTime::now() + hour)).await?, [2, 0]);
    shop.close().await
}
