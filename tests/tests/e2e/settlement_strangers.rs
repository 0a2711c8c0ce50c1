//! Whoever settles a payment, it counts once, by the token's events.

use alloy_primitives::Address;
use anyhow::Result;
use obol_core::{Amount, Payment};
use obol_devchain::{
    Execution, Mining,
    fault::{Fault, Rule},
};
use obol_ledger::{Delivery, PaymentId, State};
use obol_tests::{Rig, Sale, SellerOptions, Stranger, until};
use std::time::Duration;

fn quick_to_look_again() -> SellerOptions {
    let mut options = SellerOptions::default();
    options.timing.back_off = Duration::from_secs(1);
    options
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_that_a_stranger_settled_before_us_is_served_without_our_gas() -> Result<()> {
    let rig = Rig::start(Mining::Automine, SellerOptions::default()).await?;
    let stranger = Stranger::on(&rig.chain);
    let payment = rig.pay(0);
    let held = rig.seller.grant(&payment).await?;
    let transaction = stranger.settle(&payment).await?;
    stranger.done(transaction).await?;
    let owed = rig.seller.owe(held).await?;
    assert_eq!(rig.seller.finish(owed).await?, Sale::Served);
    let record = rig.record(&payment).await?;
    assert_eq!(record.inclusion.map(|at| at.tx), Some(transaction));
    assert!(rig.spent().await?.is_empty());
    rig.close().await?.assert(1, &[]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_who_comes_first_in_our_block_is_believed_and_not_us() -> Result<()> {
    let rig = Rig::start(Mining::Manual, quick_to_look_again()).await?;
    let stranger = Stranger::on(&rig.chain).eager();
    let (payment, other) = (rig.pay(0), rig.pay(1));
    for payment in [&payment, &other] {
        rig.seller.trust(rig.seller.grant(payment).await?).await?;
    }
    rig.until_state(&payment, State::Submitted).await?;
    rig.until_state(&other, State::Submitted).await?;
    let transaction = stranger.settle(&payment).await?;
    rig.chain.mine(1).await?;
    stranger.done(transaction).await?;
    let record = rig.mine_until(&payment, State::Settled).await?;
    assert_eq!(record.inclusion.map(|at| at.tx), Some(transaction));
    rig.close().await?.assert(2, &[]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_who_comes_after_us_changes_nothing() -> Result<()> {
    let rig = Rig::start(Mining::Automine, SellerOptions::default()).await?;
    let stranger = Stranger::on(&rig.chain);
    let payment = rig.pay(0);
    rig.seller.sell(&payment).await?;
    let before = rig.record(&payment).await?.inclusion;
    let transaction = stranger.settle(&payment).await?;
    assert_eq!(rig.chain.mined(transaction).await?.execution, Execution::Reverted);
    assert_eq!(rig.record(&payment).await?.inclusion, before);
    rig.close().await?.assert(1, &[]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_strangers_batch_counts_what_is_ours_in_it_whatever_state_that_was_in() -> Result<()> {
    let rig = Rig::start(Mining::Automine, SellerOptions::default()).await?;
    let stranger = Stranger::on(&rig.chain);
    let (reserved, released, elsewhere) = (rig.pay(0), rig.pay(1), {
        let mut authorization = rig.buyer(2).authorize(&rig.seller.requirement);
        authorization.to = Address::repeat_byte(7);
        rig.buyer(2).sign(&rig.seller.requirement, authorization)
    });
    let held = rig.seller.grant(&reserved).await?;
    let given_back = rig.seller.grant(&released).await?;
    rig.seller.ledger.release(given_back, "the upstream failed").await??;
    let batch = [elsewhere, reserved.clone(), released.clone()];
    let transaction = stranger.settle_together(&batch).await?;
    stranger.done(transaction).await?;
    // Found in final blocks, without anybody asking for these payments.
    for payment in [&reserved, &released] {
        let record = rig.mine_until(payment, State::Settled).await?;
        assert_eq!((record.delivery, record.inclusion.map(|at| at.tx)), (Delivery::None, Some(transaction)));
    }
    // The request that holds one of them is served on it; the other payer comes back.
    let owed = rig.seller.owe(held).await?;
    assert_eq!(rig.seller.finish(owed).await?, Sale::Served);
    assert!(rig.spent().await?.is_empty());
    rig.close().await?.assert(2, &[]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_authorization_cancelled_after_we_sent_it_fails_when_that_is_final() -> Result<()> {
    let rig = Rig::start(Mining::Manual, quick_to_look_again()).await?;
    let stranger = Stranger::on(&rig.chain).eager();
    let (payment, other) = (rig.pay(0), rig.pay(1));
    let owed = rig.seller.owe(rig.seller.grant(&payment).await?).await?;
    rig.seller.trust(rig.seller.grant(&other).await?).await?;
    rig.until_state(&payment, State::Submitted).await?;
    let asset = &rig.seller.requirement.asset;
    let cancelled = stranger.cancel(asset, &rig.buyer(0), payment.authorization.nonce).await?;
    rig.chain.mine(1).await?;
    stranger.done(cancelled).await?;
    // Known, and not final: a reorganisation could still undo it.
    let record = rig.until_state(&payment, State::Due).await?;
    assert!(record.reason.is_none() || record.batch.is_some(), "{record:?}");
    judged_and_still_due(&rig, &payment).await?;
    let (sale, failed) = tokio::join!(rig.seller.finish(owed), rig.mine_until(&payment, State::Failed));
    let word = failed?.reason.expect("a failure has a reason");
    assert!(word.contains("cancelled"), "{word}");
    assert_eq!(sale?, Sale::Failed(Some(word)));
    rig.close().await?.assert(1, &[(State::Failed, 1)]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancellation_is_found_also_in_small_ranges_of_blocks() -> Result<()> {
    let rig = Rig::start(Mining::Automine, quick_to_look_again()).await?;
    let stranger = Stranger::on(&rig.chain);
    let payment = rig.pay(0);
    let held = rig.seller.grant(&payment).await?;
    let asset = &rig.seller.requirement.asset;
    stranger.done(stranger.cancel(asset, &rig.buyer(0), payment.authorization.nonce).await?).await?;
    rig.chain.mine(150).await?;
    rig.rpc.set_rules([Rule::of(Fault::MaxRange(80))]);
    rig.seller.owe(held).await?;
    let word = rig.mine_until(&payment, State::Failed).await?.reason.unwrap_or_default();
    assert!(word.contains("cancelled"), "{word}");
    rig.close().await?.assert(0, &[(State::Failed, 1)]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_nonce_that_the_payer_spent_on_another_transfer_fails_the_payment() -> Result<()> {
    let rig = Rig::start(Mining::Automine, quick_to_look_again()).await?;
    let stranger = Stranger::on(&rig.chain);
    for (n, delivered, value, to) in [
        (0, true, Amount::from(1), Address::repeat_byte(7)),
        (1, false, rig.seller.requirement.amount, Address::repeat_byte(7)),
        (2, false, Amount::from(1), rig.seller.requirement.pay_to),
    ] {
        let payment = rig.pay(n);
        let held = rig.seller.grant(&payment).await?;
        // The payer signed twice with one nonce; the other transfer pays somebody else, or less.
        let mut cheaper = payment.authorization.clone();
        (cheaper.value, cheaper.to) = (value, to);
        stranger.done(stranger.settle(&rig.buyer(n).sign(&rig.seller.requirement, cheaper)).await?).await?;
        if delivered {
            rig.seller.trust(held).await?;
            judged_and_still_due(&rig, &payment).await?;
        } else {
            rig.chain.mine(3).await?;
            rig.seller.owe(held).await?;
        }
        let record = rig.mine_until(&payment, State::Failed).await?;
        let word = record.reason.unwrap_or_default();
        assert!(word.contains("another transfer"), "{word}");
    }
    rig.seller.facilitator.stop().await;
    let records = rig.seller.ledger.list(PaymentId(0), 10).await?;
    assert!(
        records.len() == 3 && records.iter().all(|record| record.state() == State::Failed),
        "{records:?}"
    );
    Ok(())
}

/// Looked at several times while no block comes: what is not final decides nothing.
async fn judged_and_still_due(rig: &Rig, payment: &Payment) -> Result<()> {
    let id = rig.record(payment).await?.id;
    let looks = async || {
        let events = rig.seller.ledger.events(id).await?;
        anyhow::Ok(events.iter().rev().take_while(|event| event.to == State::Due).count())
    };
    let before = looks().await?;
    until("three more looks", async || Ok((looks().await? >= before + 3).then_some(()))).await?;
    assert_eq!(rig.record(payment).await?.state(), State::Due);
    Ok(())
}
