//! Holds: who has a payment, and when nobody has it any more.

use crate::payments::{HOLD, inclusion, ledger, payment, reserve};
use obol_core::Reason;
use obol_ledger::{Clock, Ledger, Lost, Place, Reservation, State};
use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};

#[tokio::test]
async fn who_cannot_be_served_after_a_stranger_settled_has_the_payment_back_at_once() {
    let ledger = ledger();
    let held = reserve(&ledger, payment(0)).await;
    ledger.include(payment(0).key, inclusion(9, 10), "settled by a stranger").await.expect("stored");
    let released = ledger.release(held, "the upstream answered 500").await.expect("stored");
    assert_eq!(released, Err(Lost(State::Included)), "it is paid: there is nothing to give back");
    let again = ledger.reserve(payment(0), HOLD).await.expect("stored");
    assert!(matches!(again, Reservation::Entitled(..)), "{again:?}");
}

#[tokio::test]
async fn a_recovered_payment_is_held_by_nobody_even_when_the_clock_is_set_back() {
    let time = Arc::new(AtomicI64::new(1_800_000_000_000));
    let ledger = Ledger::open(&Place::Memory, Clock::Manual(Arc::clone(&time)), "gate").expect("a ledger");
    let _of_a_dead_request = reserve(&ledger, payment(0)).await;
    let refused = ledger.reserve(payment(0), HOLD).await.expect("stored");
    assert!(matches!(refused, Reservation::Refused(r) if r.reason == Reason::InFlight));
    time.fetch_add(61_000, Ordering::SeqCst);
    assert_eq!(ledger.recover().await, Ok(1));
    time.fetch_sub(3_600_000, Ordering::SeqCst);
    reserve(&ledger, payment(0)).await;
}
