//! Expiry and finality go by the chain's clock and its final blocks.

use alloy_primitives::U256;
use anyhow::Result;
use obol_core::{Finality, Payment};
use obol_devchain::{CHAIN, Mining};
use obol_evm::BlockTag;
use obol_ledger::State;
use obol_tests::{Rig, SellerOptions, Stranger, until};
use std::time::Duration;

fn options(finality: Finality) -> SellerOptions {
    let mut options = SellerOptions { finality, ..SellerOptions::default() };
    options.timing.back_off = Duration::from_millis(200);
    options
}

/// A rig whose settler already looks for transfers to the seller: a payment was given back.
async fn watched(finality: Finality) -> Result<Rig> {
    let rig = Rig::start(Mining::Manual, options(finality)).await?;
    let given_back = rig.seller.grant(&rig.pay(9)).await?;
    rig.seller.ledger.release(given_back, "the upstream failed").await??;
    rig.chain.mine(10).await?;
    Ok(rig)
}

/// Waits until the settler has looked at everything that is final now.
async fn until_looked(rig: &Rig, behind: u64) -> Result<()> {
    let last = rig.chain.block_number().await? - behind;
    until(format!("the settler looks at block {last}"), async || {
        Ok((rig.seller.ledger.scanned(CHAIN).await? == Some(last)).then_some(()))
    })
    .await
}

async fn settles_when_this_far_behind(finality: Finality, behind: u64) -> Result<()> {
    let rig = watched(finality).await?;
    let payment = rig.pay(0);
    rig.seller.trust(rig.seller.grant(&payment).await?).await?;
    rig.until_state(&payment, State::Submitted).await?;
    rig.chain.mine(1).await?;
    rig.until_state(&payment, State::Included).await?;
    for _ in 1..behind {
        rig.chain.mine(1).await?;
        until_looked(&rig, behind).await?;
        assert_eq!(rig.record(&payment).await?.state(), State::Included, "{finality:?}");
        let earned = rig.seller.ledger.earnings().await?;
        assert_eq!((earned[0].payments, earned[0].final_payments), (1, 0));
    }
    rig.chain.mine(1).await?;
    rig.until_state(&payment, State::Settled).await?;
    rig.close().await?.assert(1, &[(State::Released, 1)]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_is_settled_when_its_block_is_finalized() -> Result<()> {
    settles_when_this_far_behind(Finality::Finalized, 2).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_is_settled_when_its_block_is_safe_where_that_is_final() -> Result<()> {
    settles_when_this_far_behind(Finality::Safe, 1).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_is_settled_when_its_block_is_deep_enough_where_depth_is_final() -> Result<()> {
    settles_when_this_far_behind(Finality::Depth(5), 5).await
}

/// Delivered on trust, and due: the payer has no funds any more.
async fn due_without_funds(rig: &Rig, valid_for: u64) -> Result<Payment> {
    let mut authorization = rig.buyer(0).authorize(&rig.seller.requirement);
    let head = rig.chain.rpc().latest_block().await?;
    authorization.valid_before = U256::from(head.timestamp.to::<u64>() + valid_for);
    let payment = rig.buyer(0).sign(&rig.seller.requirement, authorization);
    let held = rig.seller.grant(&payment).await?;
    let account = rig.chain.buyers()[0];
    let all = rig.chain.usdc_balance(account.address).await?;
    let spender = Stranger::with(&rig.chain, account);
    let gone = spender.give(rig.chain.buyers()[5].address, all).await?;
    rig.chain.mine(1).await?;
    spender.done(gone).await?;
    rig.seller.trust(held).await?;
    until("the settler finds no funds", async || {
        Ok(rig.record(&payment).await?.reason.filter(|why| why.contains("exceeds balance")))
    })
    .await?;
    Ok(payment)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_due_payment_that_expires_fails_only_when_a_final_block_is_past_its_end() -> Result<()> {
    let rig = watched(Finality::Depth(4)).await?;
    let payment = due_without_funds(&rig, 300).await?;
    rig.chain.increase_time(Duration::from_secs(400)).await?;
    // The head is past its end from the first of these blocks on; that block is final after four.
    for _ in 0..4 {
        rig.chain.mine(1).await?;
        until_looked(&rig, 4).await?;
        let deferred = rig.record(&payment).await?.changed_at;
        until("the settler judges it again", async || {
            Ok((rig.record(&payment).await?.changed_at > deferred).then_some(()))
        })
        .await?;
        assert_eq!(rig.record(&payment).await?.state(), State::Due);
    }
    rig.chain.mine(1).await?;
    let word = rig.until_state(&payment, State::Failed).await?.reason.unwrap_or_default();
    assert!(word.contains("expired"), "{word}");
    rig.close().await?.assert(0, &[(State::Failed, 1), (State::Released, 1)]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_due_payment_settles_when_its_payer_has_funds_again() -> Result<()> {
    let rig = Rig::start(Mining::Manual, options(Finality::Finalized)).await?;
    let payment = due_without_funds(&rig, 3_000).await?;
    rig.chain.mint_usdc(payment.authorization.from, payment.authorization.value).await?;
    rig.mine_until(&payment, State::Settled).await?;
    rig.close().await?.assert(1, &[]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn time_that_ran_out_in_the_pool_costs_one_try_and_then_fails() -> Result<()> {
    let rig = Rig::start(Mining::Manual, options(Finality::Finalized)).await?;
    let (late, other) = (rig.pay(0), {
        let mut authorization = rig.buyer(1).authorize(&rig.seller.requirement);
        authorization.valid_before = U256::MAX;
        rig.buyer(1).sign(&rig.seller.requirement, authorization)
    });
    for payment in [&late, &other] {
        rig.seller.trust(rig.seller.grant(payment).await?).await?;
        rig.until_state(payment, State::Submitted).await?;
    }
    rig.chain.increase_time(Duration::from_secs(3_600)).await?;
    rig.mine_until(&late, State::Failed).await?;
    assert!(rig.chain.rpc().block(BlockTag::Finalized).await?.is_some());
    assert_eq!(rig.spent().await?.len(), 2, "one transaction each");
    rig.close().await?.assert(1, &[(State::Failed, 1)]);
    Ok(())
}
