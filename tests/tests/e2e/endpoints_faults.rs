//! An endpoint that fails stops sales for its time, and costs nobody a payment.

use anyhow::Result;
use futures_util::future::try_join_all;
use obol_core::Reason;
use obol_devchain::{
    Mining,
    fault::{Fault, Rule},
};
use obol_facilitator::SettlerState;
use obol_ledger::State;
use obol_tests::{Rig, Sale, SellerOptions, until};
use serde_json::json;
use std::time::Duration;

fn options() -> SellerOptions {
    let mut options = SellerOptions { rpc_timeout: Duration::from_millis(400), ..SellerOptions::default() };
    // Nothing is replaced for its fees: each payment has one transaction.
    options.timing.stuck = Duration::from_secs(60);
    options.timing.back_off = Duration::from_millis(500);
    options
}

/// Waits until the endpoint was asked this often again.
async fn until_asked(rig: &Rig, times: u64) -> Result<()> {
    let before = rig.rpc.requests();
    until("the endpoint is asked", async || Ok((rig.rpc.requests() >= before + times).then_some(()))).await
}

/// Payments in a request's hands and in the pool when everything begins to fail.
async fn is_weathered(fault: Fault) -> Result<()> {
    let rig = Rig::start(Mining::Manual, options()).await?;
    let seller = &rig.seller;
    let [reserved, submitted, tried] = std::array::from_fn(|n| rig.pay(n));
    let held = seller.grant(&reserved).await?;
    seller.trust(seller.grant(&submitted).await?).await?;
    rig.until_state(&submitted, State::Submitted).await?;

    rig.rpc.set(fault.clone());
    rig.chain.mine(1).await?;
    match seller.attempt(&tried).await? {
        Sale::Refused(refusal) => {
            assert_eq!(refusal.reason, Reason::ChainUnavailable, "{fault:?}: {refusal}")
        }
        other => panic!("{fault:?}: {other:?}"),
    }
    seller.trust(held).await?;
    rig.until_settler(SettlerState::RpcDown).await?;
    until_asked(&rig, 3).await?;
    assert_eq!(rig.record(&reserved).await?.state(), State::Due, "{fault:?}");
    assert_eq!(rig.record(&submitted).await?.state(), State::Submitted, "{fault:?}");
    assert_eq!(rig.transactions_of(&reserved), 0, "{fault:?}");

    rig.rpc.heal();
    rig.mine_until(&submitted, State::Settled).await?;
    rig.mine_until(&reserved, State::Settled).await?;
    seller.trust(seller.grant(&tried).await?).await?;
    rig.mine_until(&tried, State::Settled).await?;
    for payment in [&reserved, &submitted, &tried] {
        assert_eq!(rig.transactions_of(payment), 1, "{fault:?}");
    }
    rig.close().await?.assert(3, &[]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_gives_no_answers_is_weathered() -> Result<()> {
    let faults = [Fault::Hang, Fault::HangAfter, Fault::LoseAnswer, Fault::Disconnect];
    try_join_all(faults.map(is_weathered)).await.map(drop)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_gives_other_answers_is_weathered() -> Result<()> {
    let refuse = Fault::Refuse { code: -32005, message: "daily request count exceeded".to_owned() };
    let faults = [Fault::Status(429), Fault::Status(500), Fault::Html, refuse];
    try_join_all(faults.map(is_weathered)).await.map(drop)
}

/// Only the broadcast fails; whether the node took the bytes, the settler cannot know.
async fn is_sent_once(fault: Fault) -> Result<()> {
    let rig = Rig::start(Mining::Automine, options()).await?;
    let payment = rig.pay(0);
    rig.rpc.set_rules([Rule::of(fault.clone()).on(["eth_sendRawTransaction"])]);
    rig.seller.trust(rig.seller.grant(&payment).await?).await?;
    until("it is sent", async || Ok((rig.transactions_of(&payment) == 1).then_some(()))).await?;
    until_asked(&rig, 3).await?;
    rig.rpc.heal();
    rig.mine_until(&payment, State::Settled).await?;
    assert_eq!(rig.transactions_of(&payment), 1, "{fault:?}");
    assert_eq!(rig.spent().await?.len(), 1, "{fault:?}");
    rig.close().await?.assert(1, &[]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_that_was_taken_without_an_answer_is_not_made_anew() -> Result<()> {
    try_join_all([Fault::LoseAnswer, Fault::HangAfter].map(is_sent_once)).await.map(drop)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_that_reached_no_node_is_sent_again_with_the_same_bytes() -> Result<()> {
    let refuse = Fault::Refuse { code: -32000, message: "txpool is full".to_owned() };
    let faults =
        [Fault::Hang, Fault::Disconnect, Fault::Status(429), Fault::Status(500), Fault::Html, refuse];
    try_join_all(faults.map(is_sent_once)).await.map(drop)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_behind_vouches_for_no_payment_and_takes_nothing_back() -> Result<()> {
    let rig = Rig::start(Mining::Manual, options()).await?;
    let seller = &rig.seller;
    let [included, submitted, tried, fresh] = std::array::from_fn(|n| rig.pay(n));
    let old = rig.chain.block_number().await?;
    rig.chain.mine(12).await?;
    seller.trust(seller.grant(&included).await?).await?;
    rig.until_state(&included, State::Submitted).await?;
    rig.chain.mine(1).await?;
    let before = rig.until_state(&included, State::Included).await?;
    seller.trust(seller.grant(&submitted).await?).await?;
    rig.until_state(&submitted, State::Submitted).await?;
    seller.ledger.release(seller.grant(&fresh).await?, "the upstream failed").await??;

    rig.rpc.set(Fault::StaleAt(old));
    rig.chain.mine(1).await?;
    match seller.attempt(&tried).await? {
        Sale::Refused(refusal) => assert_eq!(refusal.reason, Reason::ChainUnavailable, "{refusal}"),
        other => panic!("{other:?}"),
    }
    // Two surveys of the settler's.
    until_asked(&rig, 20).await?;
    assert_eq!(rig.record(&included).await?, before, "nothing was taken back");
    assert_eq!(rig.record(&submitted).await?.state(), State::Submitted);

    rig.rpc.heal();
    rig.mine_until(&submitted, State::Settled).await?;
    seller.trust(seller.grant(&tried).await?).await?;
    rig.mine_until(&tried, State::Settled).await?;
    for payment in [&included, &submitted, &tried] {
        assert_eq!(rig.transactions_of(payment), 1);
    }
    rig.close().await?.assert(3, &[(State::Released, 1)]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_whose_head_is_old_vouches_for_no_payment() -> Result<()> {
    let mut options = options();
    options.timing.stale_head = Duration::from_secs(1);
    let rig = Rig::start(Mining::Manual, options).await?;
    let payment = rig.pay(0);
    until("the head is old", async || match rig.seller.verify(&payment).await {
        Err(refusal) => {
            assert_eq!(refusal.reason, Reason::ChainUnavailable, "{refusal}");
            Ok(Some(()))
        }
        Ok(_) => Ok(None),
    })
    .await?;
    rig.chain.mine(1).await?;
    rig.seller.trust(rig.seller.grant(&payment).await?).await?;
    rig.mine_until(&payment, State::Settled).await?;
    rig.close().await?.assert(1, &[]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn another_chains_endpoint_is_not_believed_about_anything() -> Result<()> {
    let rig = Rig::start(Mining::Manual, options()).await?;
    let seller = &rig.seller;
    let [included, due, tried] = std::array::from_fn(|n| rig.pay(n));
    seller.trust(seller.grant(&included).await?).await?;
    rig.until_state(&included, State::Submitted).await?;
    rig.chain.mine(1).await?;
    let before = rig.until_state(&included, State::Included).await?;
    let held = seller.grant(&due).await?;
    // The node itself is another chain's now: also the EVM says so.
    let set =
        async |id: u64| rig.chain.rpc().call::<_, serde_json::Value>("anvil_setChainId", json!([id])).await;
    set(10).await?;
    rig.chain.mine(5).await?;
    match seller.attempt(&tried).await? {
        Sale::Refused(refusal) => assert_eq!(refusal.reason, Reason::ChainUnavailable, "{refusal}"),
        other => panic!("{other:?}"),
    }
    seller.trust(held).await?;
    rig.until_settler(SettlerState::RpcDown).await?;
    until_asked(&rig, 3).await?;
    // It may have become final before its chain was another one.
    let after = rig.record(&included).await?;
    assert!(after.state().is_paid() && after.inclusion == before.inclusion, "{after:?}");
    assert_eq!(rig.record(&due).await?.state(), State::Due);
    assert_eq!(rig.transactions_of(&due), 0);
    set(84532).await?;
    rig.mine_until(&due, State::Settled).await?;
    rig.close().await?.assert(2, &[]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn buyers_do_not_wait_for_an_endpoint_that_is_known_to_hang() -> Result<()> {
    let mut options = options();
    options.rpc_timeout = Duration::from_secs(3);
    let rig = Rig::start(Mining::Automine, options).await?;
    rig.seller.sell(&rig.pay(0)).await?;
    rig.rpc.set(Fault::Hang);
    rig.until_settler(SettlerState::RpcDown).await?;
    let payment = rig.pay(1);
    match tokio::time::timeout(Duration::from_secs(1), rig.seller.attempt(&payment)).await? {
        Ok(Sale::Refused(refusal)) => assert_eq!(refusal.reason, Reason::ChainUnavailable, "{refusal}"),
        other => panic!("{other:?}"),
    }
    rig.rpc.heal();
    rig.until_settler(SettlerState::Leading).await?;
    rig.seller.sell(&payment).await?;
    rig.close().await?.assert(2, &[]);
    Ok(())
}
