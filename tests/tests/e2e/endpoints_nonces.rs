//! Pools forget, nonces are used by others: what is owed is settled once all the same.

use alloy_primitives::{Bytes, keccak256};
use anyhow::{Context, Result};
use obol_core::Reason;
use obol_devchain::{
    Devchain, Mining, Options,
    fault::{Fault, Rule},
};
use obol_evm::BlockTag;
use obol_facilitator::SettlerState;
use obol_ledger::State;
use obol_tests::{Rig, Sale, Seller, SellerOptions, Stranger, until};
use std::time::Duration;

fn options() -> SellerOptions {
    let mut options = SellerOptions::default();
    options.timing.stuck = Duration::from_secs(60);
    options
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_that_the_pool_dropped_is_sent_again() -> Result<()> {
    let rig = Rig::start(Mining::Manual, options()).await?;
    let payment = rig.pay(0);
    rig.seller.trust(rig.seller.grant(&payment).await?).await?;
    rig.until_state(&payment, State::Submitted).await?;
    rig.chain.drop_all_transactions().await?;
    rig.chain.mine(1).await?;
    assert_eq!(rig.record(&payment).await?.state(), State::Submitted);
    rig.mine_until(&payment, State::Settled).await?;
    assert_eq!(rig.transactions_of(&payment), 1);
    rig.close().await?.assert(1, &[]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gap_between_nonces_is_closed_with_the_bytes_that_were_lost() -> Result<()> {
    let rig = Rig::start(Mining::Manual, options()).await?;
    let (lost, behind) = (rig.pay(0), rig.pay(1));
    for payment in [&lost, &behind] {
        rig.seller.trust(rig.seller.grant(payment).await?).await?;
        rig.until_state(payment, State::Submitted).await?;
    }
    let first = rig.rpc.transactions().into_iter().next().context("a transaction was sent")?;
    rig.chain.drop_transaction(keccak256(&first)).await?;
    rig.mine_until(&lost, State::Settled).await?;
    rig.mine_until(&behind, State::Settled).await?;
    assert_eq!((rig.transactions_of(&lost), rig.transactions_of(&behind)), (1, 1));
    rig.close().await?.assert(2, &[]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_uses_the_settlers_key_stops_sales() -> Result<()> {
    let mut options = options();
    options.timing.settle_budget = Duration::from_secs(2);
    let rig = Rig::start(Mining::Automine, options).await?;
    rig.seller.sell(&rig.pay(0)).await?;
    let other = Stranger::with(&rig.chain, rig.chain.settler());
    other.done(other.send(rig.chain.seller().address, &Bytes::new()).await?).await?;
    // Found out at the next payment at the latest: it is given back.
    let payment = rig.pay(1);
    let first = rig.seller.attempt(&payment).await?;
    let refused = |sale: &Sale| matches!(sale, Sale::Refused(r) if r.reason == Reason::SettlerUnavailable);
    assert!(refused(&first) || matches!(first, Sale::Released(_)), "{first:?}");
    rig.until_settler(SettlerState::KeyShared).await?;
    let next = rig.seller.attempt(&payment).await?;
    assert!(refused(&next), "{next:?}");
    assert_eq!(rig.transactions_of(&payment), 0);
    rig.close().await?.assert(1, &[(State::Released, 1)]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attempt_whose_nonce_something_else_used_is_dead_when_that_is_final() -> Result<()> {
    let rig = Rig::start(Mining::Manual, options()).await?;
    let settler = rig.chain.settler();
    let (payment, behind) = (rig.pay(0), rig.pay(1));
    for payment in [&payment, &behind] {
        rig.seller.trust(rig.seller.grant(payment).await?).await?;
        rig.until_state(payment, State::Submitted).await?;
    }
    rig.chain.drop_all_transactions().await?;
    let nonce = rig.chain.rpc().transaction_count(settler.address, BlockTag::Latest).await?;
    let other = Stranger::with(&rig.chain, settler);
    let used = other.send_at(nonce, rig.chain.seller().address, &Bytes::new()).await?;
    rig.chain.mine(1).await?;
    other.done(used).await?;
    assert_eq!(rig.record(&payment).await?.state(), State::Submitted, "not final yet");
    rig.mine_until(&payment, State::Settled).await?;
    rig.mine_until(&behind, State::Settled).await?;
    assert_eq!((rig.transactions_of(&payment), rig.transactions_of(&behind)), (2, 1));
    // One transaction of the other program's, one for each payment.
    assert_eq!(rig.spent().await?.len(), 3);
    rig.close().await?.assert(2, &[]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_nonce_whose_payment_a_stranger_settled_holds_up_nobody() -> Result<()> {
    let mut options = options();
    options.timing.stuck = Duration::from_secs(1);
    let rig = Rig::start(Mining::Manual, options).await?;
    let (theirs, ours) = (rig.pay(0), rig.pay(1));
    for payment in [&theirs, &ours] {
        rig.seller.trust(rig.seller.grant(payment).await?).await?;
        rig.until_state(payment, State::Submitted).await?;
    }
    // The pool forgets both; a stranger settles the first.
    rig.chain.drop_all_transactions().await?;
    let stranger = Stranger::on(&rig.chain).eager();
    let settled = stranger.settle(&theirs).await?;
    rig.chain.mine(1).await?;
    stranger.done(settled).await?;
    rig.mine_until(&theirs, State::Settled).await?;
    rig.mine_until(&ours, State::Settled).await?;
    assert_eq!(rig.record(&theirs).await?.inclusion.map(|at| at.tx), Some(settled));
    rig.close().await?.assert(2, &[]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn nonces_that_an_endpoint_made_up_before_the_first_batch_are_filled() -> Result<()> {
    let rig = Rig::start(Mining::Automine, options()).await?;
    let payment = rig.pay(0);
    let held = rig.seller.grant(&payment).await?;
    rig.rpc.set_rules([Rule::of(Fault::Answer("0x3".into())).on(["eth_getTransactionCount"]).times(1)]);
    rig.seller.trust(held).await?;
    rig.mine_until(&payment, State::Settled).await?;
    assert_eq!(rig.transactions_of(&payment), 1);
    rig.close().await?.assert(1, &[]);
    Ok(())
}

/// The count as of so many transactions ago, whatever is asked for.
fn behind(rig_count: u64, by: u64) -> [Rule; 1] {
    [Rule::of(Fault::Answer(format!("{:#x}", rig_count - by).into())).on(["eth_getTransactionCount"])]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chain_that_was_thought_lost_is_believed_again_when_the_endpoint_is_well() -> Result<()> {
    let rig = Rig::start(Mining::Automine, options()).await?;
    let (first, second, third) = (rig.pay(0), rig.pay(1), rig.pay(2));
    rig.seller.sell(&first).await?;
    rig.mine_until(&first, State::Settled).await?;
    let settler = rig.chain.settler().address;
    let count = rig.chain.rpc().transaction_count(settler, BlockTag::Latest).await?;
    rig.chain.set_mining(Mining::Manual).await?;
    rig.seller.trust(rig.seller.grant(&second).await?).await?;
    rig.until_state(&second, State::Submitted).await?;
    rig.rpc.set_rules(behind(count, 1));
    rig.until_settler(SettlerState::ChainLost).await?;
    rig.rpc.heal();
    rig.chain.set_mining(Mining::Automine).await?;
    rig.mine_until(&second, State::Settled).await?;
    rig.until_settler(SettlerState::Leading).await?;
    rig.seller.sell(&third).await?;
    rig.close().await?.assert(3, &[]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_count_that_is_too_low_for_a_moment_does_not_hold_up_settlements() -> Result<()> {
    let mut options = options();
    // No filler is found dead while the test runs.
    options.finality = obol_core::Finality::Depth(10_000);
    let rig = Rig::start(Mining::Automine, options).await?;
    let settler = rig.chain.settler();
    // The account has a past that this ledger does not know.
    let other = Stranger::with(&rig.chain, settler);
    for _ in 0..10 {
        other.done(other.send(rig.chain.seller().address, &Bytes::new()).await?).await?;
    }
    let count = rig.chain.rpc().transaction_count(settler.address, BlockTag::Latest).await?;
    rig.chain.set_mining(Mining::Manual).await?;
    let (first, second) = (rig.pay(0), rig.pay(1));
    rig.seller.trust(rig.seller.grant(&first).await?).await?;
    rig.until_state(&first, State::Submitted).await?;
    rig.rpc.set_rules(behind(count, 9));
    until("eight nonces are filled", async || Ok((rig.rpc.transactions().len() > 8).then_some(()))).await?;
    rig.rpc.heal();
    rig.chain.set_mining(Mining::Automine).await?;
    rig.mine_until(&first, State::Included).await?;
    rig.seller.sell(&second).await?;
    rig.seller.facilitator.stop().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chain_that_was_started_anew_is_noticed_before_anybody_buys() -> Result<()> {
    let rig = Rig::start(Mining::Automine, options()).await?;
    let payment = rig.pay(0);
    rig.seller.sell(&payment).await?;
    rig.mine_until(&payment, State::Settled).await?;
    rig.seller.facilitator.stop().await;
    let anew = Devchain::start(Options::default()).await?;
    let seller = Seller::open(&anew, anew.url(), &rig.ledger_file(), options())?;
    until("the chain is found lost", async || {
        let state = seller.facilitator.states().next().map(|(_, state)| state);
        assert_ne!(state, Some(SettlerState::Leading));
        Ok((state == Some(SettlerState::ChainLost)).then_some(()))
    })
    .await?;
    match seller.attempt(&rig.pay(1)).await? {
        Sale::Refused(refusal) => assert_eq!(refusal.reason, Reason::SettlerUnavailable, "{refusal}"),
        other => panic!("{other:?}"),
    }
    seller.facilitator.stop().await;
    Ok(())
}
