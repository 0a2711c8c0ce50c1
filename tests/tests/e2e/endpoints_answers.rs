//! An endpoint whose answers are wrong in one respect, and right in all others.

use alloy_primitives::Address;
use anyhow::Result;
use obol_core::{Amount, Reason};
use obol_devchain::{
    CHAIN, Devchain, Mining, Options, USDC,
    fault::{Fault, Rule},
};
use obol_evm::RpcError;
use obol_facilitator::SettlerState;
use obol_ledger::State;
use obol_tests::{Rig, Sale, SellerOptions, Stranger, until};
use serde_json::{Value, json};
use std::time::Duration;

fn options() -> SellerOptions {
    let mut options = SellerOptions::default();
    options.timing.stuck = Duration::from_secs(60);
    options.timing.back_off = Duration::from_millis(500);
    options
}

fn wrong(method: &str, answer: Value) -> [Rule; 1] {
    [Rule::of(Fault::Answer(answer)).on([method])]
}

#[tokio::test(flavor = "multi_thread")]
async fn receipts_that_are_missing_for_a_while_make_no_second_transaction() -> Result<()> {
    let rig = Rig::start(Mining::Manual, options()).await?;
    let [ours, theirs] = std::array::from_fn(|n| rig.pay(n));
    let stranger = Stranger::on(&rig.chain);
    rig.seller.grant(&theirs).await?;
    rig.rpc.set_rules(wrong("eth_getTransactionReceipt", Value::Null));
    rig.seller.trust(rig.seller.grant(&ours).await?).await?;
    rig.until_state(&ours, State::Submitted).await?;
    stranger.settle(&theirs).await?;
    // Final, and by its count the nonce is used: by what, nobody says.
    rig.chain.mine(6).await?;
    let before = rig.rpc.seen("eth_getTransactionReceipt");
    until("receipts are asked for", async || {
        Ok((rig.rpc.seen("eth_getTransactionReceipt") > before + 6).then_some(()))
    })
    .await?;
    assert!(!rig.record(&ours).await?.state().is_paid());
    rig.rpc.heal();
    rig.mine_until(&ours, State::Settled).await?;
    // The stranger's transfer was not overlooked for good either.
    rig.mine_until(&theirs, State::Settled).await?;
    assert_eq!(rig.transactions_of(&ours), 1);
    rig.close().await?.assert(2, &[]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_count_of_transactions_stops_sales_or_changes_nothing() -> Result<()> {
    let rig = Rig::start(Mining::Automine, options()).await?;
    rig.seller.sell(&rig.pay(0)).await?;
    // Too low: as a node that is behind answers. The ledger knows better.
    rig.rpc.set_rules(wrong("eth_getTransactionCount", json!("0x0")));
    rig.seller.sell(&rig.pay(1)).await?;
    // Too high: as if another program used the key.
    rig.rpc.set_rules(wrong("eth_getTransactionCount", json!("0x64")));
    let waits = rig.pay(2);
    rig.seller.trust(rig.seller.grant(&waits).await?).await?;
    rig.until_settler(SettlerState::KeyShared).await?;
    match rig.seller.attempt(&rig.pay(3)).await? {
        Sale::Refused(refusal) => assert_eq!(refusal.reason, Reason::SettlerUnavailable, "{refusal}"),
        other => panic!("{other:?}"),
    }
    rig.rpc.heal();
    rig.mine_until(&waits, State::Settled).await?;
    rig.seller.sell(&rig.pay(3)).await?;
    assert_eq!(rig.transactions_of(&waits), 1);
    rig.close().await?.assert(4, &[]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_refuses_to_search_events_holds_up_one_payment_and_no_other() -> Result<()> {
    let rig = Rig::start(Mining::Automine, options()).await?;
    let stranger = Stranger::on(&rig.chain);
    let [theirs, spent] = std::array::from_fn(|n| rig.pay(n));
    let held = [rig.seller.grant(&theirs).await?, rig.seller.grant(&spent).await?];
    stranger.done(stranger.settle(&theirs).await?).await?;
    let mut elsewhere = spent.authorization.clone();
    elsewhere.to = Address::repeat_byte(7);
    let elsewhere = rig.buyer(1).sign(&rig.seller.requirement, elsewhere);
    stranger.done(stranger.settle(&elsewhere).await?).await?;
    let refuse = Fault::Refuse { code: -32602, message: "query exceeds max block range 10".to_owned() };
    rig.rpc.set_rules([Rule::of(refuse).on(["eth_getLogs"])]);
    for held in held {
        rig.seller.trust(held).await?;
    }
    for n in 2..5 {
        rig.seller.sell(&rig.pay(n)).await?;
    }
    for payment in [&theirs, &spent] {
        let record = rig.record(payment).await?;
        assert!(record.state() == State::Due && record.reason.is_some(), "{record:?}");
    }
    rig.rpc.heal();
    rig.mine_until(&theirs, State::Settled).await?;
    rig.mine_until(&spent, State::Failed).await?;
    rig.close().await?.assert(4, &[(State::Failed, 1)]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transfer_that_an_empty_search_overlooked_is_found_by_a_later_one() -> Result<()> {
    let rig = Rig::start(Mining::Manual, options()).await?;
    let theirs = rig.pay(0);
    rig.seller.grant(&theirs).await?;
    // As from a node that knows the block's number before it knows its events.
    rig.rpc.set_rules(wrong("eth_getLogs", json!([])));
    let stranger = Stranger::on(&rig.chain);
    let settled = stranger.settle(&theirs).await?;
    rig.chain.mine(1).await?;
    stranger.done(settled).await?;
    let block = rig.chain.block_number().await?;
    rig.chain.mine(5).await?;
    until("the search is past the transfer", async || {
        Ok(rig.seller.ledger.scanned(CHAIN).await?.is_some_and(|scanned| scanned >= block).then_some(()))
    })
    .await?;
    assert_eq!(rig.record(&theirs).await?.state(), State::Reserved);
    rig.rpc.heal();
    let found = rig.mine_until(&theirs, State::Settled).await?;
    assert_eq!(found.inclusion.map(|at| at.tx), Some(settled));
    rig.close().await?.assert(1, &[]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn events_of_blocks_that_the_node_does_not_have_are_not_taken_for_none() -> Result<()> {
    let rig = Rig::start(Mining::Manual, options()).await?;
    let watched = [(rig.seller.requirement.asset.address, rig.seller.requirement.pay_to)];
    let head = rig.chain.block_number().await?;
    let rpc = rig.chain.rpc();
    assert_eq!(rpc.transfers_to(&watched, head, head).await?, []);
    match rpc.transfers_to(&watched, head, head + 1).await {
        Err(RpcError::Malformed(why)) => assert!(why.contains("does not have"), "{why}"),
        other => panic!("{other:?}"),
    }
    rig.close().await?.assert(0, &[]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transfer_of_nothing_is_no_transfer_to_a_payee() -> Result<()> {
    let chain = Devchain::start(Options::default()).await?;
    let payee = chain.seller().address;
    // Who has no coins at all.
    let stranger = Stranger::on(&chain);
    stranger.done(stranger.give(payee, Amount::ZERO).await?).await?;
    let at = chain.block_number().await?;
    assert!(chain.transfer_events(at).await?.iter().any(|made| made.to == payee), "it is on the chain");
    assert_eq!(chain.rpc().transfers_to(&[(USDC, payee)], at, at).await?, []);
    chain.stop().await;
    Ok(())
}
