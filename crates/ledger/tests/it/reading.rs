//! What the ledger tells.

use crate::payments::{attempt, lease, open, owe, payment};
use obol_ledger::Stored;

#[tokio::test]
async fn the_newest_attempt_of_a_payment_is_its_last_replacement() {
    let folder = tempfile::tempdir().expect("a folder");
    let ledger = open(&folder.path().join("ledger.db"), "gate");
    let due = owe(&ledger, payment(0)).await.id();
    assert_eq!(ledger.newest_attempt(due).await, Ok(None));

    let lease = lease(&ledger).await;
    let stored = ledger.store_batch(lease, 0, vec![due], attempt(1)).await;
    let Ok(Stored::Batch(batch)) = stored else { panic!("not stored: {stored:?}") };
    assert_eq!(ledger.newest_attempt(due).await, Ok(Some(attempt(1).hash)));

    ledger.store_attempt(lease, batch, attempt(2)).await.expect("stored");
    assert_eq!(ledger.newest_attempt(due).await, Ok(Some(attempt(2).hash)));
}
