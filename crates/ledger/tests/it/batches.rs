//! What may be stored for sending.

use crate::payments::{CHAIN, SETTLER, attempt, lease, ledger, owe, payment, record, submit};
use alloy_primitives::Address;
use obol_core::ChainId;
use obol_ledger::{Attendant, Awaited, Settler, State, Stored};

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

#[tokio::test]
async fn what_no_settler_of_a_process_looks_after_is_told_by_chain_and_account() {
    let ledger = ledger();
    let mut elsewhere = payment(0);
    elsewhere.key.chain = ChainId::new(CHAIN.reference() + 1);
    let far = elsewhere.key.chain;
    owe(&ledger, elsewhere).await;
    submit(&ledger, 1).await;
    // Due here: any settler of this chain sends it.
    owe(&ledger, payment(2)).await;
    let other = Settler { account: Address::repeat_byte(0x66), ..SETTLER };
    let there = Settler { chain: far, ..other };
    let (theirs, sent, due) = (
        (far, Awaited::AnySettler, 1),
        (CHAIN, Awaited::Settler(SETTLER.account), 1),
        (CHAIN, Awaited::AnySettler, 1),
    );
    for (settlers, left) in [
        (vec![], vec![due.clone(), sent.clone(), theirs.clone()]),
        (vec![SETTLER], vec![theirs.clone()]),
        (vec![other], vec![sent.clone(), theirs]),
        (vec![there], vec![due, sent]),
        (vec![SETTLER, there], vec![]),
    ] {
        let attendants = settlers.iter().copied().map(Attendant::Settler).collect();
        assert_eq!(ledger.unattended(attendants).await, Ok(left), "{settlers:?}");
    }
}
