//! Which refusals of a facilitator are believed, and which say nothing.

use crate::remote_hours::{LIE, chain, file, until_served};
use anyhow::{Context, Result};
use hyper::StatusCode;
use obol_core::Reason;
use obol_devchain::fault::{Fault, FaultyRpc, Rule};
use obol_ledger::{Delivery, State};
use obol_tests::{
    AT, Manner, RemoteShop, ShopOptions, Stranger, Upstream, fetch, fetch_after, get, others, paid, reply,
    until,
};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_of_a_second_question_gives_nothing_back() -> Result<()> {
    let remote = RemoteShop::open(false, Manner::SettlesAndFails(StatusCode::BAD_GATEWAY)).await?;
    remote.customer(0).buy(AT).await?.expect_refusal(Reason::SettlementPending)?;
    remote.meddler.behave(Manner::refuses("insufficient_funds"));
    let before = remote.meddler.asked().len();
    until("refused, and asked again", async || Ok((remote.meddler.asked().len() > before + 1).then_some(())))
        .await?;
    assert_eq!(remote.transfers().await?.len(), 1);
    let state = remote.shop.payments().await?.first().context("one")?.state();
    assert!(matches!(state, State::Submitting | State::Submitted), "{state}: the money has moved");
    remote.abandon().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_for_a_used_nonce_gives_nothing_back_where_nobody_can_look() -> Result<()> {
    let remote = RemoteShop::open(false, Manner::refuses("invalid_exact_evm_nonce_already_used")).await?;
    remote.customer(0).buy(AT).await?.expect_refusal(Reason::SettlementPending)?;
    let record = remote.shop.payments().await?.pop().context("one")?;
    assert!(matches!(record.state(), State::Submitting | State::Submitted), "{record:?}");
    assert_eq!(record.delivery, Delivery::None);
    remote.abandon().await
}

/// A facilitator that finds every payment good, and answers each question to settle when the test says so.
async fn told() -> Result<(Upstream, mpsc::Receiver<oneshot::Sender<Manner>>)> {
    let (asked, asks) = mpsc::channel(8);
    let facilitator = Upstream::start(move |question| {
        let asked = asked.clone();
        async move {
            if question.uri().path() != "/settle" {
                return reply(StatusCode::OK, r#"{"isValid":true}"#);
            }
            let (tell, told) = oneshot::channel();
            asked.send(tell).await.expect("the test listens");
            match told.await {
                Ok(Manner::Says(status, text)) => reply(status, text),
                _ => std::future::pending().await,
            }
        }
    })
    .await?;
    Ok((facilitator, asks))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plain_refusal_is_not_lost_because_the_endpoint_has_a_bad_moment() -> Result<()> {
    let (facilitator, mut asks) = told().await?;
    let chain = chain().await?;
    let rpc = FaultyRpc::start(chain.url()).await?;
    let shape = |options: &mut ShopOptions| {
        others(options).urls = vec![facilitator.base().to_owned()];
        options.rpc = Some(rpc.url().to_owned());
    };
    let remote = RemoteShop::open_on(chain, Manner::Honest, shape).await?;
    let (_, header) = remote.customer(0).payment(AT).await?;
    let (address, request) = (remote.shop.address, paid(get(AT), &header));
    let buyer = tokio::spawn(async move { fetch(address, request).await });
    let first = asks.recv().await.context("asked")?;
    for fault in [Fault::Refuse { code: -32005, message: "too many requests".to_owned() }, Fault::Status(503)]
    {
        rpc.add(Rule::of(fault).on(["eth_call"]).times(2));
    }
    let before = rpc.seen("eth_call");
    let _left_meanwhile = first.send(Manner::refuses("insufficient_funds"));
    buyer.await??.expect_refusal(Reason::FacilitatorRefused)?;
    assert!(rpc.seen("eth_call") > before + 2, "it was looked at through the bad moment");
    remote.shop.until_payment(|record| record.state() == State::Released).await?;
    remote.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_for_which_a_transaction_was_named_does_not_fail_where_nobody_looks() -> Result<()> {
    let remote = RemoteShop::open(false, Manner::promises(LIE)).await?;
    remote.customer(0).buy(AT).await?.expect_refusal(Reason::SettlementPending)?;
    remote.shop.until_payment(|record| record.claim == Some(LIE)).await?;
    // As published ones answer when they are asked once more about what they have settled.
    remote.meddler.behave(Manner::refuses("invalid_exact_evm_nonce_already_used"));
    file(&remote)?.execute("UPDATE payments SET valid_before = unixepoch() - 2 * 86400", [])?;
    let before = remote.meddler.asked().len();
    until("asked twice more", async || Ok((remote.meddler.asked().len() > before + 2).then_some(()))).await?;
    let record = remote.shop.payments().await?.pop().context("one")?;
    assert_eq!(record.state(), State::Submitted, "{record:?}");
    let remote = remote.reopen(true).await?;
    remote.shop.until_payment(|record| record.state() == State::Failed).await?;
    remote.close().await
}

/// What another process does to the lease of one that was stopped for a moment.
async fn until_the_lease_moves(remote: &RemoteShop) -> Result<()> {
    let file = file(remote)?;
    let holder = || file.query_row("SELECT holder FROM leases", [], |row| row.get::<_, String>(0));
    let before = holder()?;
    until("another holder", async || {
        if holder()? != before {
            return Ok(Some(()));
        }
        file.execute("UPDATE leases SET expires_at = 0", [])?;
        Ok(None)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_lost_the_lease_believes_no_refusal() -> Result<()> {
    let (facilitator, mut asks) = told().await?;
    let patient = |options: &mut ShopOptions| {
        others(options).urls = vec![facilitator.base().to_owned()];
        options.seller.timing.settle_budget = Duration::from_secs(16);
    };
    let remote = RemoteShop::open_as(Manner::Honest, patient).await?;
    let mut options = remote.options();
    patient(&mut options);
    let second = remote.shop.second_till(options).await?;
    let (payment, header) = remote.customer(0).payment(AT).await?;
    let (address, request) = (remote.shop.address, paid(get(AT), &header));
    let buyer = tokio::spawn(async move { fetch(address, request).await });
    let first = asks.recv().await.context("asked")?;
    until_the_lease_moves(&remote).await?;
    let second_question = asks.recv().await.context("asked by the other")?;
    // It has one of the two, and says so to who asked first.
    let _left_meanwhile = first.send(Manner::refuses("insufficient_funds"));
    buyer.await??.expect_refusal(Reason::SettlementPending)?;
    let stranger = Stranger::on(&remote.shop.chain);
    let settled = stranger.settle(&payment).await?;
    stranger.done(settled).await?;
    let _left_meanwhile = second_question.send(Manner::claims(settled));
    remote.shop.until_payment(|record| record.state().is_paid()).await?;
    until_served(address, &header).await?;
    fetch_after(address, || paid(get(AT), &header)).await?.expect_refusal(Reason::AlreadyServed)?;
    assert_eq!(remote.transfers().await?, [settled]);
    second.stop().await?;
    remote.close().await
}
