//! Clocks that cross midnight, and clocks that are set back.

use crate::payments::{HOLD, SETTLER, attempt, inclusion, owe, payment, record, reserve};
use obol_core::Reason;
use obol_ledger::{Clock, Leased, Ledger, Place, Reservation, State, Stored, Timestamp};
use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

const DAY: i64 = 86_400_000;

/// The last second of a day in UTC.
const BEFORE_MIDNIGHT: i64 = 20_833 * DAY - 1_000;

struct Hand(Arc<AtomicI64>);

impl Hand {
    fn at(millis: i64) -> Self {
        Self(Arc::new(AtomicI64::new(millis)))
    }

    fn clock(&self) -> Clock {
        Clock::Manual(Arc::clone(&self.0))
    }

    fn set(&self, millis: i64) {
        self.0.store(millis, Ordering::SeqCst);
    }
}

fn ledger(hand: &Hand) -> Ledger {
    Ledger::open(&Place::Memory, hand.clock(), "gate").expect("a ledger")
}

async fn refused(ledger: &Ledger, number: u64) -> Option<Reason> {
    match ledger.reserve(payment(number), HOLD).await.expect("stored") {
        Reservation::Refused(refusal) => Some(refusal.reason),
        Reservation::Granted(_) | Reservation::Entitled(..) => None,
    }
}

#[test]
fn a_timestamps_seconds_round_towards_the_past() {
    for (millis, seconds) in [(0, 0), (999, 0), (1_000, 1), (-1, -1), (-1_000, -1), (-1_001, -2)] {
        assert_eq!(Timestamp(millis).seconds(), seconds, "{millis} ms");
    }
    assert_eq!(Timestamp(i64::MAX).after(Duration::from_millis(1)), Timestamp(i64::MAX));
}

#[tokio::test]
async fn a_hold_lasts_as_long_over_midnight_as_at_noon() {
    let hand = Hand::at(BEFORE_MIDNIGHT);
    let ledger = ledger(&hand);
    reserve(&ledger, payment(0)).await;
    hand.set(BEFORE_MIDNIGHT + 59_999);
    assert_eq!(refused(&ledger, 0).await, Some(Reason::InFlight));
    assert_eq!(ledger.recover().await, Ok(0));
    hand.set(BEFORE_MIDNIGHT + 60_000);
    assert_eq!(ledger.recover().await, Ok(1));
    assert_eq!(refused(&ledger, 0).await, None);
}

#[tokio::test]
async fn a_clock_that_is_set_back_ends_no_hold_and_loses_no_payment() {
    let hand = Hand::at(BEFORE_MIDNIGHT);
    let ledger = ledger(&hand);
    let held = reserve(&ledger, payment(0)).await;
    let owed = owe(&ledger, payment(1)).await;
    hand.set(BEFORE_MIDNIGHT - DAY);
    assert_eq!(refused(&ledger, 0).await, Some(Reason::InFlight));
    assert_eq!(ledger.recover().await, Ok(0));
    ledger.owe(held, None).await.expect("stored").expect("still held");
    ledger.include(payment(1).key, inclusion(1, 9), "settled").await.expect("stored");
    ledger.start_delivery(owed).await.expect("stored").expect("still held");
    let story = ledger.events(obol_ledger::PaymentId(2)).await.expect("read");
    let at: Vec<_> = story.iter().map(|event| event.at.0 - BEFORE_MIDNIGHT).collect();
    assert_eq!(at, [0, 0, -DAY, -DAY], "told in the order in which it happened");
}

#[tokio::test]
async fn a_lease_from_before_the_clock_was_set_back_is_taken_and_its_holder_fenced() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("ledger.db");
    let hand = Hand::at(BEFORE_MIDNIGHT);
    let open = |path: &Path, who| Ledger::open(&Place::File(path), hand.clock(), who).expect("a ledger");
    let (old, new) = (open(&path, "old"), open(&path, "new"));
    let due = owe(&old, payment(0)).await.id();
    let ttl = Duration::from_secs(10);
    let Ok(Leased::Mine(stale)) = old.lease(SETTLER, ttl).await else { panic!("not leased") };
    let held = new.lease(SETTLER, ttl).await.expect("stored");
    assert_eq!(held, Leased::HeldBy { holder: "old".to_owned(), until: Timestamp(BEFORE_MIDNIGHT + 10_000) });

    hand.set(BEFORE_MIDNIGHT - DAY);
    let Ok(Leased::Mine(lease)) = new.lease(SETTLER, ttl).await else { panic!("kept by a clock") };
    assert_eq!(lease.epoch, stale.epoch + 1);
    assert_eq!(old.store_batch(stale, 0, vec![due], attempt(0)).await, Ok(Stored::Fenced));
    assert_eq!(record(&old, due).await.state(), State::Due);
    assert_eq!(new.next_nonce(SETTLER).await, Ok(None));
    let stored = new.store_batch(lease, 0, vec![due], attempt(0)).await;
    assert!(matches!(stored, Ok(Stored::Batch(_))), "{stored:?}");
    assert!(matches!(old.lease(SETTLER, ttl).await, Ok(Leased::HeldBy { .. })));
}

#[tokio::test]
async fn a_payment_waits_for_its_next_try_until_that_time_and_no_longer() {
    let hand = Hand::at(BEFORE_MIDNIGHT);
    let ledger = ledger(&hand);
    let held = reserve(&ledger, payment(0)).await;
    let exposure = obol_core::Exposure { per_payer: u64::MAX.into(), per_offer: u64::MAX.into() };
    let id = held.id();
    ledger.owe(held, Some(exposure)).await.expect("stored").expect("held");
    ledger.defer(id, "no funds", Duration::from_secs(5)).await.expect("stored");
    let due = async || ledger.due(crate::payments::CHAIN, 10).await.expect("read").len();
    assert_eq!(due().await, 0);
    hand.set(BEFORE_MIDNIGHT + 4_999);
    assert_eq!(due().await, 0);
    hand.set(BEFORE_MIDNIGHT + 5_000);
    assert_eq!(due().await, 1);
}

#[tokio::test]
async fn a_payment_that_waits_does_not_wait_longer_when_the_clock_is_set_back() {
    let hand = Hand::at(BEFORE_MIDNIGHT);
    let ledger = ledger(&hand);
    let id = owe(&ledger, payment(0)).await.id();
    let batch = crate::payments::store(&ledger, 0, vec![id]).await;
    ledger.bury(batch, "its nonce was used").await.expect("stored");
    ledger.defer(id, "no funds", Duration::from_secs(15)).await.expect("stored");
    assert_eq!(ledger.due(payment(0).key.chain, 10).await.expect("read").len(), 0);
    hand.set(BEFORE_MIDNIGHT - 3_600_000);
    assert_eq!(ledger.due(payment(0).key.chain, 10).await.expect("read").len(), 1);
}

#[tokio::test]
async fn the_longer_a_payment_is_refused_the_longer_it_waits() {
    let hand = Hand::at(BEFORE_MIDNIGHT);
    let ledger = ledger(&hand);
    let id = owe(&ledger, payment(0)).await.id();
    let batch = crate::payments::store(&ledger, 0, vec![id]).await;
    ledger.bury(batch, "its nonce was used").await.expect("stored");
    let mut looks = 0;
    for minute in 0..7 * 24 * 60 {
        hand.set(BEFORE_MIDNIGHT + minute * 60_000);
        if !ledger.due(payment(0).key.chain, 10).await.expect("read").is_empty() {
            looks += 1;
            ledger.defer(id, "no funds", Duration::from_secs(15)).await.expect("stored");
        }
    }
    assert!((28..80).contains(&looks), "{looks} looks in a week");
}
