//! Sales that a facilitator of others settles: whatever its answer, each is settled once, delivered
//! once, and earned only as far as somebody has seen it.

use anyhow::{Result, bail};
use futures_util::future::try_join_all;
use hyper::StatusCode;
use obol_core::{Reason, WireVersion};
use obol_devchain::{Devchain, Mining, Options};
use obol_ledger::{Delivery, State};
use obol_tests::{
    AT, Answered, Buyer, Customer, Manner, Others, PublishedServer, RemoteShop, Shop, ShopOptions, Upstream,
    fetch, fetch_after, get, npm_clients, paid, until,
};
use obol_wire::Receipt;

fn transaction(customer: &Customer, answered: &Answered) -> Result<alloy_primitives::B256> {
    assert_eq!((answered.status, &answered.body[..]), (StatusCode::OK, &b"hello"[..]), "{answered:?}");
    match customer.receipt(answered)? {
        Receipt::Settled { transaction, .. } => Ok(transaction),
        other => bail!("not settled: {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_chain_shows_of_a_facilitators_settlement_is_earned() -> Result<()> {
    let remote = RemoteShop::open(true, Manner::Honest).await?;
    let customer = remote.customer(0);
    let paid = transaction(&customer, &customer.buy(AT).await?)?;
    assert_eq!(remote.transfers().await?, [paid]);
    let record = remote.shop.until_payment(|record| record.state() == State::Included).await?;
    assert_eq!(record.inclusion.map(|at| at.tx), Some(paid));
    let earned = remote.shop.ledger.earnings().await?;
    assert_eq!((earned[0].payments, earned[0].claimed_payments), (1, 0));
    remote.shop.chain.mine(3).await?;
    remote.shop.until_payment(|record| record.state() == State::Settled).await?;
    assert_eq!(remote.meddler.asked().len(), 1);
    remote.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn without_an_endpoint_it_is_claimed_and_seen_when_there_is_one() -> Result<()> {
    let remote = RemoteShop::open(false, Manner::Honest).await?;
    let customer = remote.customer(0);
    let (payment, header) = customer.payment(AT).await?;
    let buy = || paid(get(AT), &header);
    let claimed = transaction(&customer, &fetch(remote.shop.address, buy()).await?)?;
    assert_eq!(remote.transfers().await?, [claimed]);
    let record = remote.shop.until_payment(|record| record.delivery == Delivery::Done).await?;
    assert_eq!((record.state(), record.claim), (State::Claimed, Some(claimed)));
    let earned = remote.shop.ledger.earnings().await?;
    assert_eq!((earned[0].payments, earned[0].claimed_payments), (0, 1));
    assert_eq!(earned[0].claimed_amount, payment.authorization.value);
    fetch_after(remote.shop.address, buy).await?.expect_refusal(Reason::AlreadyServed)?;

    let remote = remote.reopen(true).await?;
    remote.shop.until_payment(|record| record.state().is_paid()).await?;
    let earned = remote.shop.ledger.earnings().await?;
    assert_eq!((earned[0].payments, earned[0].claimed_payments), (1, 0));
    assert_eq!(remote.meddler.asked().len(), 1);
    remote.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_facilitator_that_fails_after_it_has_settled_costs_nobody_a_cent() -> Result<()> {
    for sees in [true, false] {
        let manner = Manner::SettlesAndFails(StatusCode::INTERNAL_SERVER_ERROR);
        let remote = RemoteShop::open(sees, manner).await?;
        let customer = remote.customer(0);
        let (_, header) = customer.payment(AT).await?;
        let buy = || paid(get(AT), &header);
        let first = fetch(remote.shop.address, buy()).await?;
        // Where the chain can be looked at, it is found out in time.
        let served = match sees {
            true => first,
            false => {
                first.expect_refusal(Reason::SettlementPending)?;
                remote.meddler.behave(Manner::Honest);
                until("served", async || {
                    let answered = fetch(remote.shop.address, buy()).await?;
                    Ok((answered.status == StatusCode::OK).then_some(answered))
                })
                .await?
            }
        };
        let told = transaction(&customer, &served)?;
        assert_eq!(remote.transfers().await?, [told], "sees: {sees}");
        let bodies = remote.meddler.asked();
        assert!(bodies.iter().all(|body| *body == bodies[0]), "the question has changed: {bodies:?}");
        fetch_after(remote.shop.address, buy).await?.expect_refusal(Reason::AlreadyServed)?;
        let remote = remote.reopen(true).await?;
        remote.shop.until_payment(|record| record.state().is_paid()).await?;
        remote.close().await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_facilitator_that_hangs_after_it_has_settled_is_not_waited_for_where_the_chain_tells() -> Result<()>
{
    let remote = RemoteShop::open(true, Manner::SettlesAndHangs).await?;
    let customer = remote.customer(0);
    let told = transaction(&customer, &customer.buy(AT).await?)?;
    assert_eq!((remote.transfers().await?, remote.served()), (vec![told], 1));
    assert_eq!(remote.meddler.asked().len(), 1);
    remote.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_that_the_facilitator_refuses_to_settle_is_given_back_undelivered() -> Result<()> {
    for sees in [true, false] {
        let remote = RemoteShop::open(sees, Manner::refuses("insufficient_funds")).await?;
        let customer = remote.customer(0);
        let (_, header) = customer.payment(AT).await?;
        let buy = || paid(get(AT), &header);
        let refused = fetch(remote.shop.address, buy()).await?;
        assert_eq!(refused.status, StatusCode::PAYMENT_REQUIRED, "{refused:?}");
        let told = refused.challenge()?;
        assert_eq!(told["error"], "facilitator_refused", "{told}");
        let record = remote.shop.until_payment(|record| record.state() == State::Released).await?;
        assert!(record.reason.is_some_and(|why| why.contains("insufficient_funds")));
        assert!(remote.transfers().await?.is_empty());
        // Nothing was spent: the same payment is as good as ever.
        remote.meddler.behave(Manner::Honest);
        let told = transaction(&customer, &fetch(remote.shop.address, buy()).await?)?;
        assert_eq!(remote.transfers().await?, [told]);
        let remote = remote.reopen(true).await?;
        remote.shop.until_payment(|record| record.state().is_paid()).await?;
        remote.close().await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_second_facilitator_is_asked_when_the_first_does_not_answer_and_never_about_its_payments()
-> Result<()> {
    let (remote, second) = RemoteShop::open_with_second(Manner::Hangs).await?;
    let customer = remote.customer(0);
    // Verified by the first, which then hangs: it alone may be asked again.
    let (lost, header) = customer.payment(AT).await?;
    fetch(remote.shop.address, paid(get(AT), &header)).await?.expect_refusal(Reason::SettlementPending)?;
    // Another buyer: the first one's next payment would be for what the lost one is owed.
    let other = remote.customer(1);
    let told = transaction(&other, &other.buy(AT).await?)?;
    assert_eq!(remote.transfers().await?, [told]);
    let nonce = lost.authorization.nonce.to_string();
    assert!(remote.meddler.asked().iter().all(|body| body.contains(&nonce)));
    assert!(!second.asked().is_empty() && second.asked().iter().all(|body| !body.contains(&nonce)));
    // It mends, and the payment that waited is settled by it, once.
    remote.meddler.behave(Manner::Honest);
    let told = until("served", async || {
        let answered = fetch(remote.shop.address, paid(get(AT), &header)).await?;
        Ok((answered.status == StatusCode::OK).then_some(answered))
    })
    .await?;
    let told = transaction(&customer, &told)?;
    assert_eq!(remote.transfers().await?.last(), Some(&told));
    assert!(second.asked().iter().all(|body| !body.contains(&nonce)));
    remote.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_published_facilitator_settles_for_buyers_of_both_versions() -> Result<()> {
    let Some(packages) = npm_clients().await? else { return Ok(()) };
    let chain = Devchain::start(Options { mining: Mining::Automine, ..Options::default() }).await?;
    let published = PublishedServer::facilitator(&packages, &chain).await?;
    let others = Others { urls: vec![format!("http://{}", published.address)], sees: true };
    let shop = Shop::open_on(chain, ShopOptions { others: Some(others), ..ShopOptions::default() }).await?;
    let upstream = Upstream::hello().await?;
    shop.sell(AT, &upstream)?;
    for (number, version) in [WireVersion::V2, WireVersion::V1].into_iter().enumerate() {
        let customer = Customer::new(Buyer::of(shop.chain.buyers()[number]), shop.address, version);
        transaction(&customer, &customer.buy(AT).await?)?;
    }
    let earned = shop.ledger.earnings().await?;
    assert_eq!((earned[0].payments, earned[0].claimed_payments), (2, 0));
    shop.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_shops_on_one_ledger_each_payment_is_put_to_the_facilitator_once() -> Result<()> {
    let remote = RemoteShop::open(true, Manner::Honest).await?;
    let second = remote.shop.second_till(remote.options()).await?;
    second.publish(&[remote.offer()])?;
    let sales = (0..16).map(|number| {
        let mut customer = remote.customer(number % 8);
        customer.shop = if number % 2 == 0 { remote.shop.address } else { second.address };
        async move { transaction(&customer, &customer.buy(AT).await?) }
    });
    let mut told = try_join_all(sales).await?;
    let mut transfers = remote.transfers().await?;
    told.sort_unstable();
    transfers.sort_unstable();
    assert_eq!(told, transfers);
    assert_eq!(remote.meddler.asked().len(), 16);
    second.stop().await?;
    remote.close().await
}
