//! Facilitators that lie, answer nonsense or nothing: nobody loses a cent, and what is not on the chain is
//! not earned.

use alloy_primitives::B256;
use anyhow::{Context, Result};
use hyper::StatusCode;
use obol_core::{Finality, Reason};
use obol_devchain::CHAIN;
use obol_facilitator::{Difference, SettlerState, audit, reconcile};
use obol_ledger::{Delivery, State};
use obol_tests::{AT, Customer, Manner, RemoteShop, Stranger, chain_of, fetch, get, paid, until};

/// Nothing is earned, and nothing was delivered.
async fn assert_nothing_came_of_it(remote: &RemoteShop) -> Result<()> {
    assert!(remote.transfers().await?.is_empty());
    let earned = remote.shop.ledger.earnings().await?;
    assert!(earned.is_empty(), "{earned:?}");
    let payments = remote.shop.payments().await?;
    assert!(payments.iter().all(|record| record.delivery == Delivery::None), "{payments:?}");
    Ok(())
}

async fn does_not_pass(manner: Manner) -> Result<()> {
    let remote = RemoteShop::open(true, manner.clone()).await?;
    let (_, header) = remote.customer(0).payment(AT).await?;
    let answered = fetch(remote.shop.address, paid(get(AT), &header)).await?;
    answered.expect_refusal(Reason::SettlementPending).with_context(|| format!("{manner:?}"))?;
    assert_nothing_came_of_it(&remote).await?;
    // Final time ends it, and nobody else's word.
    remote.outlive().await?;
    remote.shop.until_payment(|record| record.state() == State::Failed).await?;
    assert_nothing_came_of_it(&remote).await?;
    remote.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_settlement_that_no_block_has_is_not_believed() -> Result<()> {
    does_not_pass(Manner::claims(B256::repeat_byte(0x77))).await
}

#[tokio::test(flavor = "multi_thread")]
async fn nonsense_is_no_answer() -> Result<()> {
    does_not_pass(Manner::html()).await?;
    does_not_pass(Manner::Says(StatusCode::OK, r#"{"success":true}"#.to_owned())).await
}

#[tokio::test(flavor = "multi_thread")]
async fn silence_is_no_answer() -> Result<()> {
    does_not_pass(Manner::Hangs).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_with_a_refusal_in_it_is_no_refusal() -> Result<()> {
    let body = r#"{"success":false,"errorReason":"insufficient_funds"}"#;
    does_not_pass(Manner::Says(StatusCode::INTERNAL_SERVER_ERROR, body.to_owned())).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_that_pays_somebody_else_is_not_believed_and_the_facilitator_is_left_alone()
-> Result<()> {
    let remote = RemoteShop::open(true, Manner::Hangs).await?;
    // A real settlement, of another payment to another payee.
    let customer = remote.customer(1);
    let mut requirement =
        obol_tests::requirement(customer.challenge(AT).await?.offered.first().context("nothing offered")?);
    requirement.pay_to = remote.shop.chain.buyers()[2].address;
    let other = customer.buyer.pay(&requirement);
    let stranger = Stranger::on(&remote.shop.chain);
    let elsewhere = stranger.settle(&other).await?;
    stranger.done(elsewhere).await?;
    remote.meddler.behave(Manner::claims(elsewhere));

    let (_, header) = remote.customer(0).payment(AT).await?;
    let answered = fetch(remote.shop.address, paid(get(AT), &header)).await?;
    answered.expect_refusal(Reason::SettlementPending)?;
    assert_nothing_came_of_it(&remote).await?;
    let state = || remote.shop.settler_states().find(|(chain, _)| *chain == CHAIN).map(|(_, state)| state);
    until("left alone", async || Ok((state() == Some(SettlerState::FacilitatorDown)).then_some(()))).await?;
    let (_, header) = remote.customer(3).payment(AT).await?;
    let refused = fetch(remote.shop.address, paid(get(AT), &header)).await?;
    refused.expect_refusal(Reason::FacilitatorUnavailable)?;
    assert_eq!(remote.shop.payments().await?.len(), 1);
    remote.outlive().await?;
    remote.shop.until_payment(|record| record.state() == State::Failed).await?;
    remote.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lie_that_nobody_could_check_comes_out_when_somebody_can() -> Result<()> {
    let lie = B256::repeat_byte(0x77);
    let remote = RemoteShop::open(false, Manner::claims(lie)).await?;
    let customer = remote.customer(0);
    let served = customer.buy(AT).await?;
    assert_eq!(served.status, StatusCode::OK);
    let record = remote.shop.until_payment(|record| record.delivery == Delivery::Done).await?;
    assert_eq!(record.state(), State::Claimed);
    let earned = remote.shop.ledger.earnings().await?;
    assert_eq!((earned[0].payments, earned[0].claimed_payments), (0, 1));

    let (ledger, rpc) = (&remote.shop.ledger, remote.shop.chain.rpc());
    let found = audit(ledger, rpc, CHAIN, &mut |_, _| {}).await?;
    assert!(matches!(found.differences[..], [Difference::NotOnChain(_)]), "{found:?}");
    remote.outlive().await?;
    reconcile(ledger, rpc, &chain_of(Finality::Finalized), &found).await?;
    remote.shop.until_payment(|record| record.state() == State::Failed).await?;
    assert!(remote.shop.ledger.earnings().await?.is_empty());
    let found = audit(ledger, rpc, CHAIN, &mut |_, _| {}).await?;
    assert!(found.differences.is_empty(), "{found:?}");
    remote.abandon().await
}

/// Of a claim that is true the comparison says nothing, and the reconciliation makes it evidence.
#[tokio::test(flavor = "multi_thread")]
async fn a_true_claim_is_no_difference_and_becomes_evidence() -> Result<()> {
    let remote = RemoteShop::open(false, Manner::Honest).await?;
    let customer: Customer = remote.customer(0);
    assert_eq!(customer.buy(AT).await?.status, StatusCode::OK);
    remote.shop.until_payment(|record| record.delivery == Delivery::Done).await?;
    let (ledger, rpc) = (&remote.shop.ledger, remote.shop.chain.rpc());
    let found = audit(ledger, rpc, CHAIN, &mut |_, _| {}).await?;
    assert_eq!((found.differences.len(), found.matched, found.proven.len()), (0, 1, 1));
    reconcile(ledger, rpc, &chain_of(Finality::Finalized), &found).await?;
    let record = remote.shop.until_payment(|record| record.state() == State::Included).await?;
    assert_eq!(record.inclusion.map(|at| at.tx), record.claim);
    remote.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_that_the_facilitator_finds_bad_never_reaches_the_service() -> Result<()> {
    // Without an endpoint only the facilitator sees that the payer has nothing.
    let remote = RemoteShop::open(false, Manner::Honest).await?;
    let account = remote.shop.chain.buyers()[0];
    let all = remote.shop.chain.usdc_balance(account.address).await?;
    let spender = Stranger::with(&remote.shop.chain, account);
    let given = spender.give(remote.shop.chain.buyers()[5].address, all).await?;
    spender.done(given).await?;
    let (_, header) = remote.customer(0).payment(AT).await?;
    let refused = fetch(remote.shop.address, paid(get(AT), &header)).await?;
    assert_eq!(refused.status, StatusCode::PAYMENT_REQUIRED);
    assert_eq!(refused.challenge()?["error"], Reason::InsufficientBalance.code(obol_core::WireVersion::V2));
    assert_eq!((remote.served(), remote.shop.payments().await?.len()), (0, 0));
    remote.close().await
}
