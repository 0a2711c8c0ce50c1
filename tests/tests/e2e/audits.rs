//! What the comparison of ledger and chain says when one of the two is not what it should be.

use anyhow::Result;
use obol_core::{Amount, Finality};
use obol_devchain::{
    CHAIN, Devchain, Mining, Options,
    fault::{Fault, FaultyRpc, Rule},
};
use obol_facilitator::{AuditError, Difference, audit, reconcile};
use obol_ledger::State;
use obol_tests::{Buyer, Rig, Seller, SellerOptions, Stranger, chain_of};
use serde_json::Value;

#[tokio::test(flavor = "multi_thread")]
async fn what_is_paid_beyond_the_endpoints_head_is_a_difference() -> Result<()> {
    let rig = Rig::start(Mining::Automine, SellerOptions::default()).await?;
    let payment = rig.pay(0);
    rig.seller.sell(&payment).await?;
    let record = rig.until_state(&payment, State::Included).await?;
    let another = Devchain::start(Options { mining: Mining::Manual, ..Options::default() }).await?;
    let head = another.block_number().await?;
    assert!(record.inclusion.is_some_and(|at| at.block > head), "the other chain is the shorter one");
    let found = audit(&rig.seller.ledger, another.rpc(), CHAIN, &mut |_, _| {}).await?;
    assert!(matches!(found.differences[..], [Difference::NotOnChain(_)]), "{found:?}");
    rig.close().await?.assert(1, &[]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receipt_that_the_endpoint_does_not_have_is_no_agreement() -> Result<()> {
    let rig = Rig::start(Mining::Automine, SellerOptions::default()).await?;
    rig.seller.sell(&rig.pay(0)).await?;
    let rpc = obol_evm::Rpc::new(rig.rpc.url(), std::time::Duration::from_secs(5))?;
    rig.rpc.set_rules([Rule::of(Fault::Answer(Value::Null)).on(["eth_getTransactionReceipt"])]);
    let refused = audit(&rig.seller.ledger, &rpc, CHAIN, &mut |_, _| {}).await;
    assert!(matches!(refused, Err(AuditError::Rpc(_))), "{refused:?}");
    rig.rpc.heal();
    rig.close().await?.assert(1, &[]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn transactions_of_who_has_never_paid_are_not_looked_into() -> Result<()> {
    let chain = Devchain::start(Options::default()).await?;
    let rpc = FaultyRpc::start(chain.url()).await?;
    let file = tempfile::tempdir()?;
    let seller = Seller::open(&chain, rpc.url(), &file.path().join("ledger.db"), SellerOptions::default())?;
    let buyer = Buyer::of(chain.buyers()[0]);
    seller.sell(&buyer.pay(&seller.requirement)).await?;
    // Any number of events would fit into these.
    let stranger = Stranger::with(&chain, chain.buyers()[1]);
    for _ in 0..3 {
        stranger.done(stranger.give(chain.seller().address, Amount::from(1)).await?).await?;
    }
    seller.facilitator.stop().await;
    let endpoint = obol_evm::Rpc::new(rpc.url(), std::time::Duration::from_secs(5))?;
    rpc.reset_counts();
    let found = audit(&seller.ledger, &endpoint, CHAIN, &mut |_, _| {}).await?;
    assert_eq!((found.matched, found.unattributed.len()), (1, 3), "{found:?}");
    assert_eq!(rpc.seen("eth_getTransactionReceipt"), 1, "of the payment alone");
    chain.stop().await;
    Ok(())
}

/// Compares, reconciles, and compares again.
async fn mended(rig: &Rig) -> Result<(Vec<Difference>, Vec<Difference>)> {
    let (ledger, rpc) = (&rig.seller.ledger, rig.chain.rpc());
    let found = audit(ledger, rpc, CHAIN, &mut |_, _| {}).await?;
    reconcile(ledger, rpc, &chain_of(Finality::Finalized), &found).await?;
    let left = audit(ledger, rpc, CHAIN, &mut |_, _| {}).await?;
    Ok((found.differences, left.differences))
}

#[tokio::test(flavor = "multi_thread")]
async fn reconcile_takes_back_a_strangers_settlement_of_a_payment_that_was_sent() -> Result<()> {
    let rig = Rig::start(Mining::Manual, SellerOptions::default()).await?;
    let payment = rig.pay(0);
    rig.seller.trust(rig.seller.grant(&payment).await?).await?;
    rig.until_state(&payment, State::Submitted).await?;
    let stranger = Stranger::on(&rig.chain).eager();
    let before = rig.chain.block_number().await?;
    let settled = stranger.settle(&payment).await?;
    rig.chain.mine(1).await?;
    stranger.done(settled).await?;
    let record = rig.until_state(&payment, State::Included).await?;
    assert_eq!(record.inclusion.map(|at| at.tx), Some(settled));
    rig.seller.facilitator.stop().await;
    rig.chain.reorg(rig.chain.block_number().await? - before).await?;
    let (found, left) = mended(&rig).await?;
    assert!(matches!(found[..], [Difference::NotOnChain(_)]), "{found:?}");
    assert_eq!(left, []);
    assert_eq!(rig.seller.ledger.earnings().await?, []);
    assert_eq!(rig.record(&payment).await?.state(), State::Submitted);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn reconcile_writes_down_what_was_settled_while_nobody_looked_and_where_it_moved_to() -> Result<()> {
    let rig = Rig::start(Mining::Manual, SellerOptions::default()).await?;
    let (theirs, moved) = (rig.pay(0), rig.pay(1));
    rig.seller.grant(&theirs).await?;
    rig.seller.trust(rig.seller.grant(&moved).await?).await?;
    rig.until_state(&moved, State::Submitted).await?;
    let before = rig.chain.block_number().await?;
    rig.chain.mine(1).await?;
    let first = rig.until_state(&moved, State::Included).await?;
    rig.seller.facilitator.stop().await;
    // The same transaction comes again in another block; a stranger settles the other payment.
    rig.chain.reorg(rig.chain.block_number().await? - before).await?;
    let raw = rig.rpc.transactions().pop().expect("it was sent");
    // The node may still have it from the block that is gone.
    let _known_again = rig.chain.rpc().send_raw(&raw).await;
    let stranger = Stranger::on(&rig.chain);
    let settled = stranger.settle(&theirs).await?;
    rig.chain.mine(2).await?;
    stranger.done(settled).await?;
    let (found, left) = mended(&rig).await?;
    let is_elsewhere = |difference: &Difference| matches!(difference, Difference::Elsewhere(..));
    let is_new = |difference: &Difference| matches!(difference, Difference::NotInLedger(..));
    assert!(found.len() == 2 && found.iter().any(is_elsewhere) && found.iter().any(is_new), "{found:?}");
    assert_eq!(left, []);
    let second = rig.record(&moved).await?;
    assert!(second.state().is_paid() && second.inclusion != first.inclusion, "{second:?}");
    assert_eq!(rig.record(&theirs).await?.inclusion.map(|at| at.tx), Some(settled));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_allows_small_ranges_alone_is_asked_for_those() -> Result<()> {
    let rig = Rig::start(Mining::Automine, SellerOptions::default()).await?;
    rig.chain.mine(40).await?;
    let theirs = rig.pay(0);
    rig.seller.grant(&theirs).await?;
    rig.rpc.set_rules([Rule::of(Fault::MaxRange(10))]);
    let stranger = Stranger::on(&rig.chain);
    stranger.done(stranger.settle(&theirs).await?).await?;
    rig.mine_until(&theirs, State::Settled).await?;
    rig.chain.mine(30).await?;
    let rpc = obol_evm::Rpc::new(rig.rpc.url(), std::time::Duration::from_secs(5))?;
    let found = audit(&rig.seller.ledger, &rpc, CHAIN, &mut |_, _| {}).await?;
    assert_eq!((found.matched, found.differences), (1, vec![]));
    rig.rpc.heal();
    rig.close().await?.assert(1, &[]);
    Ok(())
}
