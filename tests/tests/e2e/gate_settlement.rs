//! Money that comes later than the request waits, and money that is not waited for.

use alloy_primitives::B256;
use anyhow::{Context, Result, bail};
use hyper::StatusCode;
use obol_core::{Amount, Charge, Exposure, Reason, WireVersion};
use obol_devchain::Mining;
use obol_ledger::{Delivery, State};
use obol_tests::{
    Answered, Buyer, Customer, Shop, ShopOptions, Stranger, Upstream, fetch, fetch_after, get, paid,
};
use obol_verifier::TrustedProxies;
use obol_wire::{PaymentHeader, Receipt};
use std::time::Duration;

const AT: &str = "/services/paid";

/// Blocks come only when asked for, and requests wait two seconds: enough for a transaction to
/// be out, also on a busy machine.
async fn slow_shop() -> Result<Shop> {
    slow_shop_behind(TrustedProxies::default()).await
}

async fn slow_shop_behind(trusted: TrustedProxies) -> Result<Shop> {
    let mut options = ShopOptions { mining: Mining::Manual, trusted, ..ShopOptions::default() };
    options.seller.timing.settle_budget = Duration::from_secs(2);
    options.seller.timing.stuck = Duration::from_secs(600);
    Shop::open(options).await
}

fn customer(shop: &Shop, buyer: usize, version: WireVersion) -> Customer {
    Customer::new(Buyer::of(shop.chain.buyers()[buyer]), shop.address, version)
}

/// The transaction of a 503 that asks to come again.
fn pending(customer: &Customer, answered: &Answered) -> Result<B256> {
    let body = answered.expect_refusal(Reason::SettlementPending)?;
    assert_eq!(body["error"], Reason::SettlementPending.code(customer.version));
    assert_eq!((&body["paymentVerified"], &body["paymentSettled"]), (&true.into(), &false.into()));
    assert!(answered.header("retry-after").is_some(), "{answered:?}");
    match customer.receipt(answered)? {
        Receipt::Unsettled { transaction: Some(transaction), .. } => Ok(transaction),
        other => bail!("not a pending receipt: {other:?}"),
    }
}

fn settled(customer: &Customer, answered: &Answered) -> Result<B256> {
    assert_eq!((answered.status, &answered.body[..]), (StatusCode::OK, &b"hello"[..]));
    match customer.receipt(answered)? {
        Receipt::Settled { transaction, .. } => Ok(transaction),
        other => bail!("not settled: {other:?}"),
    }
}

async fn ask(shop: &Shop, target: &str, header: &PaymentHeader) -> Result<Answered> {
    fetch(shop.address, paid(get(target), header)).await
}

async fn transfers(shop: &Shop) -> Result<usize> {
    let seller = shop.chain.seller().address;
    Ok(shop.chain.transfer_events(0).await?.iter().filter(|transfer| transfer.to == seller).count())
}

/// Mines until nothing is owed.
async fn mine_all(shop: &Shop) -> Result<()> {
    while !shop.ledger.owed(obol_devchain::CHAIN).await?.is_empty() {
        shop.chain.mine(1).await?;
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Ok(())
}

async fn comes_back_with_the_same_payment(version: WireVersion) -> Result<()> {
    let shop = slow_shop().await?;
    let upstream = Upstream::hello().await?;
    shop.sell(AT, &upstream)?;
    let customer = customer(&shop, 0, version);
    let (_, header) = customer.payment(AT).await?;
    let transaction = pending(&customer, &ask(&shop, AT, &header).await?)?;
    // Not yet, and still the same transaction.
    assert_eq!(pending(&customer, &ask(&shop, AT, &header).await?)?, transaction);
    assert_eq!(transfers(&shop).await?, 0);

    mine_all(&shop).await?;
    ask(&shop, &format!("{AT}/other"), &header).await?.expect_refusal(Reason::FingerprintMismatch)?;
    assert_eq!(settled(&customer, &ask(&shop, AT, &header).await?)?, transaction);
    fetch_after(shop.address, || paid(get(AT), &header)).await?.expect_refusal(Reason::AlreadyServed)?;
    assert_eq!((transfers(&shop).await?, shop.payments().await?.len()), (1, 1));
    shop.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_v2_payment_that_settles_late_is_served_later_and_settled_once() -> Result<()> {
    comes_back_with_the_same_payment(WireVersion::V2).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_v1_payment_that_settles_late_is_served_later_and_settled_once() -> Result<()> {
    comes_back_with_the_same_payment(WireVersion::V1).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_payment_for_what_is_paid_already_is_left_unused() -> Result<()> {
    let shop = slow_shop().await?;
    let upstream = Upstream::hello().await?;
    shop.sell(AT, &upstream)?;
    let customer = customer(&shop, 0, WireVersion::V2);
    let (first, header) = customer.payment(AT).await?;
    let transaction = pending(&customer, &ask(&shop, AT, &header).await?)?;

    // Before the block, as clients do that sign again at once; and after it.
    let (impatient, header) = customer.payment(AT).await?;
    assert_eq!(pending(&customer, &ask(&shop, AT, &header).await?)?, transaction);
    mine_all(&shop).await?;
    let (patient, header) = customer.payment(AT).await?;
    assert_eq!(settled(&customer, &ask(&shop, AT, &header).await?)?, transaction);

    for (payment, state) in [(&impatient, State::Released), (&patient, State::Released)] {
        let unused = shop.ledger.payment_by_key(payment.key()).await?.context("not noted")?;
        assert_eq!((unused.state(), unused.delivery), (state, Delivery::None));
    }
    let served = shop.ledger.payment_by_key(first.key()).await?.context("not stored")?;
    assert!(served.state().is_paid() && served.delivery != Delivery::None, "{served:?}");
    assert_eq!(transfers(&shop).await?, 1);
    shop.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn somebody_elses_payment_for_the_same_request_is_their_own() -> Result<()> {
    let shop = slow_shop().await?;
    let upstream = Upstream::hello().await?;
    shop.sell(AT, &upstream)?;
    let (one, other) = (customer(&shop, 0, WireVersion::V2), customer(&shop, 1, WireVersion::V2));
    let (_, header) = one.payment(AT).await?;
    let transaction = pending(&one, &ask(&shop, AT, &header).await?)?;
    let (_, others) = other.payment(AT).await?;
    assert_ne!(pending(&other, &ask(&shop, AT, &others).await?)?, transaction);
    mine_all(&shop).await?;
    assert_eq!(settled(&one, &ask(&shop, AT, &header).await?)?, transaction);
    settled(&other, &ask(&shop, AT, &others).await?)?;
    assert_eq!(transfers(&shop).await?, 2);
    shop.close().await
}

/// Sells optimistically up to these ceilings.
fn sell_on_trust(shop: &Shop, upstream: &Upstream, per_payer: u64, per_offer: u64) -> Result<()> {
    let mut offer = shop.offer(AT, upstream);
    let exposure = Exposure { per_payer: Amount::from(per_payer), per_offer: Amount::from(per_offer) };
    offer.charge = Charge::Optimistic(exposure);
    shop.publish(&[offer])
}

/// Served, with a receipt that says that the money is still to come.
async fn served_on_trust(shop: &Shop, customer: &Customer) -> Result<()> {
    let answered = customer.buy(AT).await?;
    assert_eq!((answered.status, &answered.body[..]), (StatusCode::OK, &b"hello"[..]), "{answered:?}");
    let receipt = customer.receipt(&answered)?;
    assert!(matches!(receipt, Receipt::Unsettled { .. }), "{receipt:?}");
    assert_eq!(shop.chain.usdc_balance(shop.chain.seller().address).await?, Amount::ZERO);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_optimistic_offer_answers_before_the_money_up_to_the_payers_ceiling() -> Result<()> {
    let shop = slow_shop().await?;
    let upstream = Upstream::hello().await?;
    sell_on_trust(&shop, &upstream, 20_000, 1_000_000)?;
    let (one, other) = (customer(&shop, 0, WireVersion::V2), customer(&shop, 1, WireVersion::V2));
    served_on_trust(&shop, &one).await?;
    served_on_trust(&shop, &one).await?;
    let (_, third) = one.payment(AT).await?;
    let transaction = pending(&one, &ask(&shop, AT, &third).await?)?;
    // The ceiling is this payer's.
    served_on_trust(&shop, &other).await?;

    mine_all(&shop).await?;
    assert_eq!(settled(&one, &ask(&shop, AT, &third).await?)?, transaction);
    assert_eq!(transfers(&shop).await?, 4);
    let answered = one.buy(AT).await?;
    assert!(matches!(one.receipt(&answered)?, Receipt::Unsettled { .. }), "trusted again: {answered:?}");
    mine_all(&shop).await?;
    shop.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_optimistic_offer_answers_before_the_money_up_to_its_own_ceiling() -> Result<()> {
    let shop = slow_shop().await?;
    let upstream = Upstream::hello().await?;
    sell_on_trust(&shop, &upstream, 1_000_000, 20_000)?;
    served_on_trust(&shop, &customer(&shop, 0, WireVersion::V2)).await?;
    served_on_trust(&shop, &customer(&shop, 1, WireVersion::V2)).await?;
    let late = customer(&shop, 2, WireVersion::V2);
    let (_, third) = late.payment(AT).await?;
    let transaction = pending(&late, &ask(&shop, AT, &third).await?)?;
    mine_all(&shop).await?;
    assert_eq!(settled(&late, &ask(&shop, AT, &third).await?)?, transaction);
    shop.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_taken_and_never_paid_counts_against_the_offers_ceiling_for_good() -> Result<()> {
    let shop = slow_shop().await?;
    let upstream = Upstream::hello().await?;
    sell_on_trust(&shop, &upstream, 10_000, 10_000)?;
    let thief = customer(&shop, 0, WireVersion::V2);
    served_on_trust(&shop, &thief).await?;
    let stolen = shop.until_payment(|payment| payment.state() == State::Submitted).await?;
    let asset = obol_tests::price(shop.chain.seller()).asset;
    let buyer = Buyer::of(shop.chain.buyers()[0]);
    Stranger::on(&shop.chain).eager().cancel(&asset, &buyer, stolen.key.nonce).await?;
    while shop.ledger.payment(stolen.id).await?.context("stored")?.state() != State::Failed {
        shop.chain.mine(1).await?;
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    // Another face of the same thief, perhaps.
    let next = customer(&shop, 1, WireVersion::V2);
    let (_, header) = next.payment(AT).await?;
    let transaction = pending(&next, &ask(&shop, AT, &header).await?)?;
    mine_all(&shop).await?;
    assert_eq!(settled(&next, &ask(&shop, AT, &header).await?)?, transaction);
    shop.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_for_delivery_is_not_given_to_who_copied_the_payment_from_the_chain() -> Result<()> {
    let shop = slow_shop_behind(TrustedProxies::new(vec!["127.0.0.0/8".parse()?])).await?;
    let upstream = Upstream::hello().await?;
    shop.sell(AT, &upstream)?;
    let customer = customer(&shop, 0, WireVersion::V2);
    let from = async |client: &'static str, header: &PaymentHeader| {
        let mut request = paid(get(AT), header);
        request.headers_mut().insert("x-forwarded-for", client.parse()?);
        fetch(shop.address, request).await
    };
    let (_, header) = customer.payment(AT).await?;
    let transaction = pending(&customer, &from("2001:db8::1", &header).await?)?;
    // Out, and then on the chain.
    from("203.0.113.9", &header).await?.expect_refusal(Reason::PayerUnproven)?;
    mine_all(&shop).await?;
    from("2001:db8:0:1::1", &header).await?.expect_refusal(Reason::PayerUnproven)?;
    assert_eq!(upstream.count(), 1);
    // The payer itself, whose address has changed, signs again and is not charged again.
    let (unused, header) = customer.payment(AT).await?;
    assert_eq!(settled(&customer, &from("203.0.113.7", &header).await?)?, transaction);
    let unused = shop.ledger.payment_by_key(unused.key()).await?.context("not noted")?;
    assert_eq!(unused.state(), State::Released);
    assert_eq!(transfers(&shop).await?, 1);
    shop.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payer_may_come_back_from_the_same_network_of_its_own() -> Result<()> {
    let shop = slow_shop_behind(TrustedProxies::new(vec!["127.0.0.0/8".parse()?])).await?;
    let upstream = Upstream::hello().await?;
    shop.sell(AT, &upstream)?;
    let customer = customer(&shop, 0, WireVersion::V2);
    let (_, header) = customer.payment(AT).await?;
    let from = async |client: &'static str| {
        let mut request = paid(get(AT), &header);
        request.headers_mut().insert("x-forwarded-for", client.parse()?);
        fetch(shop.address, request).await
    };
    let transaction = pending(&customer, &from("2001:db8::1").await?)?;
    mine_all(&shop).await?;
    // As addresses change for privacy.
    assert_eq!(settled(&customer, &from("2001:db8::2").await?)?, transaction);
    shop.close().await
}
