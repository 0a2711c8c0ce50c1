//! What a reorganisation takes is on the chain again afterwards, once.

use anyhow::Result;
use obol_core::Finality;
use obol_devchain::{
    Mining,
    fault::{Fault, Rule},
};
use obol_ledger::{Reservation, State};
use obol_tests::{Rig, Sale, Seller, SellerOptions, Stranger, until};
use std::time::Duration;

/// Deeper than every reorganisation here.
const FINAL: Finality = Finality::Depth(25);

fn options() -> SellerOptions {
    let mut options = SellerOptions { finality: FINAL, ..SellerOptions::default() };
    // Nothing is replaced for its fees: what is out has to come back with the same bytes.
    options.timing.stuck = Duration::from_secs(60);
    options.timing.back_off = Duration::from_millis(500);
    options
}

async fn survives(depth: u64) -> Result<()> {
    let rig = Rig::start(Mining::Manual, options()).await?;
    let (seller, stranger) = (&rig.seller, Stranger::on(&rig.chain));
    rig.chain.mine(depth + 2).await?;
    let [ours, theirs, unserved, reserved, submitted, due] = std::array::from_fn(|n| rig.pay(n));

    // In one block: a payment that we settled, two that a stranger did. One of these is not served.
    let held_ours = seller.grant(&ours).await?;
    let held_theirs = seller.grant(&theirs).await?;
    let held_unserved = seller.grant(&unserved).await?;
    let owed_ours = seller.owe(held_ours).await?;
    rig.until_state(&ours, State::Submitted).await?;
    stranger.settle_together(&[theirs.clone(), unserved.clone()]).await?;
    rig.chain.mine(1).await?;
    assert_eq!(seller.finish(owed_ours).await?, Sale::Served);
    let owed_theirs = seller.owe(held_theirs).await?;
    assert_eq!(seller.finish(owed_theirs).await?, Sale::Served);
    seller.owe(held_unserved).await?;
    rig.until_state(&unserved, State::Included).await?;
    if depth > 1 {
        rig.chain.mine(depth - 1).await?;
    }
    // In the pool, in the queue, and in a request's hands.
    seller.trust(seller.grant(&submitted).await?).await?;
    rig.until_state(&submitted, State::Submitted).await?;
    let held = seller.grant(&reserved).await?;
    let held_due = seller.grant(&due).await?;
    rig.rpc.set_rules([Rule::of(Fault::Status(503)).on(["eth_maxPriorityFeePerGas"])]);
    seller.trust(held_due).await?;
    assert_eq!(rig.record(&due).await?.state(), State::Due);
    for payment in [&ours, &theirs, &unserved] {
        assert_eq!(rig.record(payment).await?.state(), State::Included, "nothing is final yet");
    }

    rig.chain.reorg(depth).await?;
    rig.rpc.heal();
    for payment in [&ours, &theirs, &submitted, &due] {
        rig.mine_until(payment, State::Settled).await?;
    }
    // What the stranger paid and we did not serve is not owed.
    rig.until_state(&unserved, State::Released).await?;
    assert_eq!(rig.record(&reserved).await?.state(), State::Reserved);
    seller.trust(held).await?;
    rig.mine_until(&reserved, State::Settled).await?;
    for payment in [&ours, &submitted, &due, &reserved] {
        assert_eq!(rig.transactions_of(payment), 1, "the same bytes came back");
    }
    rig.close().await?.assert(5, &[(State::Released, 1)]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn payments_in_every_state_survive_a_reorganisation_of_one_block() -> Result<()> {
    survives(1).await
}

#[tokio::test(flavor = "multi_thread")]
async fn payments_in_every_state_survive_a_reorganisation_of_five_blocks() -> Result<()> {
    survives(5).await
}

#[tokio::test(flavor = "multi_thread")]
async fn payments_in_every_state_survive_a_reorganisation_of_twenty_blocks() -> Result<()> {
    survives(20).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_settlement_that_the_new_blocks_hold_as_well_is_found_where_it_is_now() -> Result<()> {
    let rig = Rig::start(Mining::Manual, options()).await?;
    rig.chain.mine(5).await?;
    let payment = rig.pay(0);
    rig.seller.trust(rig.seller.grant(&payment).await?).await?;
    rig.until_state(&payment, State::Submitted).await?;
    rig.chain.mine(2).await?;
    let before = rig.until_state(&payment, State::Included).await?.inclusion.expect("a place");
    // As real nodes do it: the transaction is in the new branch at once, a block later.
    let raw = rig.rpc.transactions().pop().expect("ours");
    rig.chain.reorg_with(3, &[(raw, 2)]).await?;
    let after = until("the ledger has the new place", async || {
        let at = rig.record(&payment).await?.inclusion;
        Ok(at.filter(|at| at.block_hash != before.block_hash))
    })
    .await?;
    assert_eq!((after.tx, after.block), (before.tx, before.block + 1));
    assert_eq!(rig.transactions_of(&payment), 1);
    rig.close().await?.assert(1, &[]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_strangers_transfer_that_is_gone_is_noticed_behind_newer_blocks_of_ours() -> Result<()> {
    let rig = Rig::start(Mining::Manual, options()).await?;
    let (seller, stranger) = (&rig.seller, Stranger::on(&rig.chain));
    rig.chain.mine(5).await?;
    let (theirs, ours) = (rig.pay(0), rig.pay(1));
    let held = seller.grant(&theirs).await?;
    stranger.settle(&theirs).await?;
    rig.chain.mine(1).await?;
    let owed = seller.owe(held).await?;
    assert_eq!(seller.finish(owed).await?, Sale::Served);
    seller.trust(seller.grant(&ours).await?).await?;
    rig.until_state(&ours, State::Submitted).await?;
    // While the settler sees nothing, the stranger's block is replaced, and ours is mined later.
    rig.rpc.set(Fault::Disconnect);
    rig.chain.reorg(1).await?;
    let raw = rig.rpc.transactions().pop().expect("ours");
    // The pool may have kept it.
    let _ = rig.chain.rpc().send_raw(&raw).await;
    rig.chain.mine(3).await?;
    rig.rpc.heal();
    rig.until_state(&ours, State::Included).await?;
    rig.mine_until(&theirs, State::Settled).await?;
    assert_eq!(rig.transactions_of(&theirs), 1, "it is ours to settle now");
    rig.close().await?.assert(2, &[]);
    Ok(())
}

async fn keeps_nobody_elses_payment_waiting(lose: impl FnOnce(u64) -> Fault) -> Result<()> {
    let rig = Rig::start(Mining::Manual, options()).await?;
    rig.chain.mine(5).await?;
    let [lost, taken, later] = std::array::from_fn(|n| rig.pay(n));
    for payment in [&lost, &taken] {
        rig.seller.trust(rig.seller.grant(payment).await?).await?;
        rig.until_state(payment, State::Submitted).await?;
        rig.chain.mine(1).await?;
        rig.until_state(payment, State::Included).await?;
    }
    let before = rig.record(&lost).await?;
    let height = before.inclusion.expect("a place").block;
    rig.rpc.set_rules([Rule::of(lose(height))]);
    rig.chain.reorg(1).await?;
    // Before a block could be final.
    rig.until_state(&taken, State::Submitted).await?;
    rig.mine_until(&taken, State::Settled).await?;
    rig.seller.trust(rig.seller.grant(&later).await?).await?;
    rig.mine_until(&later, State::Settled).await?;
    assert_eq!(rig.record(&lost).await?, before, "nobody knows whether it is there");
    rig.rpc.heal();
    rig.until_state(&lost, State::Settled).await?;
    rig.close().await?.assert(3, &[]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_block_that_the_endpoint_lost_keeps_nobody_elses_payment_waiting() -> Result<()> {
    keeps_nobody_elses_payment_waiting(Fault::Lacks).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_block_that_the_endpoint_refuses_keeps_nobody_elses_payment_waiting() -> Result<()> {
    keeps_nobody_elses_payment_waiting(Fault::Prunes).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_with_many_blocks_that_are_not_final_settles_through_a_slow_endpoint() -> Result<()> {
    let deep = || SellerOptions { finality: Finality::Depth(400), ..options() };
    let rig = Rig::start(Mining::Manual, deep()).await?;
    rig.chain.mine(5).await?;
    for number in 0..60 {
        let payment = rig.pay(number);
        rig.seller.trust(rig.seller.grant(&payment).await?).await?;
        rig.until_state(&payment, State::Submitted).await?;
        rig.chain.mine(1).await?;
        rig.until_state(&payment, State::Included).await?;
    }
    rig.seller.facilitator.stop().await;
    // Looked at one after the other, the blocks take longer than a lease lasts. Few endpoints take fifty
    // calls in a request.
    rig.rpc.set_rules([Rule::of(Fault::MaxBatch(10)), Rule::of(Fault::Delay(Duration::from_millis(50)))]);
    let again = Seller::open(&rig.chain, rig.rpc.url(), &rig.ledger_file(), deep())?;
    let payment = rig.pay(1);
    again.trust(again.grant(&payment).await?).await?;
    rig.until_state(&payment, State::Submitted).await?;
    again.facilitator.stop().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payer_whose_strangers_transfer_is_gone_can_pay_again_with_the_same_payment() -> Result<()> {
    let rig = Rig::start(Mining::Manual, options()).await?;
    let (seller, stranger) = (&rig.seller, Stranger::on(&rig.chain));
    rig.chain.mine(5).await?;
    let payment = rig.pay(0);
    let held = seller.grant(&payment).await?;
    stranger.settle(&payment).await?;
    rig.chain.mine(1).await?;
    let owed = seller.owe(held).await?;
    rig.until_state(&payment, State::Included).await?;
    seller.ledger.let_go(owed, "the client left").await?;
    rig.chain.reorg(1).await?;
    rig.until_state(&payment, State::Released).await?;
    match seller.reserve(&payment).await? {
        Reservation::Granted(held) => seller.trust(held).await?,
        other => panic!("{other:?}"),
    };
    rig.mine_until(&payment, State::Settled).await?;
    rig.close().await?.assert(1, &[]);
    Ok(())
}
