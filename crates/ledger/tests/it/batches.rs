//! What may be stored for sending.

use crate::payments::{CHAIN, attempt, lease, ledger, owe, payment, record};
use obol_core::ChainId;
use obol_ledger::{State, Stored};

#[tokio::test]
async fn a_batch_takes_no_payment_of_another_chain() {
    let ledger = ledger();
    let mut elsewhere = payment(0);
    elsewhere.key.chain = ChainId::new(CHAIN.reference() + 1);
    let here = owe(&ledger, payment(1)).await.id();
    let elsewhere = owe(&ledger, elsewhere).await.id();
    let lease = lease(&ledger).await;
    let stored = ledger.store_batch(lease, 0, vec![here, elsewhere], attempt(0)).await;
    assert_eq!(stored, Ok(Stored::Moved(elsewhere)));
    assert_eq!(record(&ledger, here).await.state(), State::Due);
    assert_eq!(ledger.next_nonce(lease.settler).await, Ok(None));
}
