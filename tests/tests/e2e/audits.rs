//! What the comparison of ledger and chain says when one of the two is not what it should be.

use anyhow::Result;
use obol_devchain::{
    CHAIN, Devchain, Mining, Options,
    fault::{Fault, Rule},
};
use obol_facilitator::{AuditError, Difference, audit};
use obol_ledger::State;
use obol_tests::{Rig, SellerOptions};
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
