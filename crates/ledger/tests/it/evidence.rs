//! What blocks that come and go do to payments.

use crate::payments::{
    CHAIN, HOLD, SETTLER, inclusion, ledger, owe, payment, receipt, record, reserve, store, submit,
};
use alloy_primitives::B256;
use obol_core::{Reason, Refusal};
use obol_ledger::{BatchState, Reservation, State};

/// The transaction of somebody else.
const STRANGER: u64 = 77;

#[tokio::test]
async fn a_payment_whose_bytes_are_out_is_not_given_back_when_a_strangers_block_is_gone() {
    let ledger = ledger();
    let (id, batch) = submit(&ledger, 0).await;
    let at = inclusion(STRANGER, 10);
    ledger.include(payment(0).key, at, "settled by another transaction").await.expect("stored");
    ledger.orphan(id, at.block_hash).await.expect("stored");
    let live = ledger.live_batches(SETTLER).await.expect("read");
    assert_eq!(record(&ledger, id).await.state(), State::Submitted);
    assert_eq!(live.iter().map(|live| (live.id, live.payments.len())).collect::<Vec<_>>(), [(batch, 1)]);
}

#[tokio::test]
async fn a_payment_that_was_ever_sent_is_due_when_a_strangers_block_is_gone() {
    let ledger = ledger();
    let (id, batch) = submit(&ledger, 0).await;
    let (stranger, ours) = (inclusion(STRANGER, 10), inclusion(0, 11));
    ledger.include(payment(0).key, stranger, "settled by another transaction").await.expect("stored");
    ledger.mined(receipt(batch, ours, &[], &[id])).await.expect("stored");
    ledger.orphan(id, stranger.block_hash).await.expect("stored");
    assert_eq!(record(&ledger, id).await.state(), State::Due);
    store(&ledger, 1, vec![id]).await;
}

#[tokio::test]
async fn a_waived_payment_is_waived_again_when_a_strangers_block_is_gone() {
    let ledger = ledger();
    let held = reserve(&ledger, payment(0)).await;
    let id = held.id();
    ledger.waive(held).await.expect("stored").expect("held");
    let at = inclusion(STRANGER, 10);
    ledger.include(payment(0).key, at, "settled by another transaction").await.expect("stored");
    ledger.orphan(id, at.block_hash).await.expect("stored");
    assert_eq!(record(&ledger, id).await.state(), State::Waived);
    assert_eq!(ledger.due(CHAIN, 10).await, Ok(vec![]), "never settled by us");
}

#[tokio::test]
async fn a_batch_whose_block_is_gone_takes_no_strangers_transfer_with_it() {
    let ledger = ledger();
    let (strange, batch) = submit(&ledger, 0).await;
    let (stranger, ours) = (inclusion(STRANGER, 10), inclusion(0, 11));
    ledger.include(payment(0).key, stranger, "settled by another transaction").await.expect("stored");
    ledger.mined(receipt(batch, ours, &[], &[strange])).await.expect("stored");
    ledger.orphan_batch(batch).await.expect("stored");
    let record = record(&ledger, strange).await;
    assert_eq!((record.state(), record.inclusion), (State::Included, Some(stranger)));
    let live = ledger.live_batches(SETTLER).await.expect("read");
    assert_eq!(live.iter().map(|live| live.state).collect::<Vec<_>>(), [BatchState::Open]);
}

#[tokio::test]
async fn a_batch_that_is_final_is_not_sent_again_by_who_looked_before() {
    let ledger = ledger();
    let (id, batch) = submit(&ledger, 0).await;
    let ours = inclusion(0, 11);
    ledger.mined(receipt(batch, ours, &[id], &[])).await.expect("stored");
    ledger.finalize(vec![batch], vec![(id, ours.block_hash)]).await.expect("stored");
    ledger.orphan_batch(batch).await.expect("stored");
    assert_eq!(ledger.live_batches(SETTLER).await, Ok(vec![]));
    assert_eq!(record(&ledger, id).await.state(), State::Settled);
}

#[tokio::test]
async fn a_batch_that_is_in_a_block_is_not_buried_by_who_looked_before() {
    let ledger = ledger();
    let (id, batch) = submit(&ledger, 0).await;
    let ours = inclusion(0, 11);
    ledger.mined(receipt(batch, ours, &[id], &[])).await.expect("stored");
    ledger.bury(batch, "its nonce was used by something else").await.expect("stored");
    ledger.orphan_batch(batch).await.expect("stored");
    let live = ledger.live_batches(SETTLER).await.expect("read");
    let found: Vec<_> = live.iter().map(|live| (live.id, live.state, live.payments.len())).collect();
    assert_eq!(found, [(batch, BatchState::Open, 1)]);
}

#[tokio::test]
async fn a_receipt_that_is_read_late_takes_no_payment_out_of_its_next_batch() {
    let ledger = ledger();
    let (id, first) = submit(&ledger, 0).await;
    let without = receipt(first, inclusion(0, 11), &[], &[id]);
    ledger.mined(without.clone()).await.expect("stored");
    let second = store(&ledger, 1, vec![id]).await;
    // By a process that read the receipt before, and slept.
    ledger.mined(without).await.expect("stored");
    let record = record(&ledger, id).await;
    assert_eq!((record.state(), record.batch, record.misses), (State::Submitting, Some(second), 1));
}

#[tokio::test]
async fn a_payment_that_is_due_again_after_it_was_sent_is_not_given_to_who_copied_it() {
    let ledger = ledger();
    let held = owe(&ledger, payment(0)).await;
    let id = held.id();
    let batch = store(&ledger, 0, vec![id]).await;
    ledger.let_go(held, "the client left").await.expect("stored");
    ledger.mined(receipt(batch, inclusion(0, 11), &[], &[id])).await.expect("stored");
    let mut copied = payment(0);
    copied.origin.client = B256::repeat_byte(6);
    let answer = ledger.reserve(copied, HOLD).await.expect("stored");
    assert_unproven(&answer);
}

#[tokio::test]
async fn a_payment_that_a_stranger_published_is_not_given_to_who_copied_it_when_the_block_is_gone() {
    let ledger = ledger();
    let held = reserve(&ledger, payment(0)).await;
    let id = held.id();
    let at = inclusion(STRANGER, 10);
    ledger.include(payment(0).key, at, "settled by another transaction").await.expect("stored");
    let _ = ledger.release(held, "the upstream answered 500").await.expect("stored");
    ledger.orphan(id, at.block_hash).await.expect("stored");
    assert_eq!(record(&ledger, id).await.state(), State::Released);
    let mut copied = payment(0);
    copied.origin.client = B256::repeat_byte(6);
    copied.origin.fingerprint = B256::repeat_byte(7);
    let answer = ledger.reserve(copied, HOLD).await.expect("stored");
    assert_unproven(&answer);
}

fn assert_unproven(answer: &Reservation) {
    let unproven = |refusal: &Refusal| refusal.reason == Reason::PayerUnproven;
    assert!(matches!(answer, Reservation::Refused(refusal) if unproven(refusal)), "{answer:?}");
}
