//! What a process held when it died is taken over; what a living one holds is not.

use crate::payments::{HOLD, owe, payment, reserve};
use alloy_primitives::B256;
use obol_core::Reason;
use obol_ledger::{Census, Clock, Delivery, Inclusion, Ledger, PaymentRecord, Place, Reservation, State};
use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

const PATIENCE: Duration = Duration::from_secs(5);

/// Two processes on one ledger, and the hands of the clock.
struct Two {
    mine: Ledger,
    theirs: Ledger,
    time: Arc<AtomicI64>,
    census: Census,
    _folder: tempfile::TempDir,
}

impl Two {
    fn open() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("ledger.db");
        let time = Arc::new(AtomicI64::new(1_000_000));
        let open = |path: &Path, who| {
            Ledger::open(&Place::File(path), Clock::Manual(Arc::clone(&time)), who).expect("a ledger")
        };
        Self {
            mine: open(&path, "mine"),
            theirs: open(&path, "theirs"),
            census: Census::default(),
            _folder: folder,
            time,
        }
    }

    fn pass(&self, millis: i64) {
        self.time.fetch_add(millis, Ordering::SeqCst);
    }

    /// Looks at the other process, and again after its patience has ended.
    async fn watch(&mut self) -> usize {
        let before = self.mine.take_over(&mut self.census, PATIENCE).await.expect("stored");
        self.pass(5_000);
        before + self.mine.take_over(&mut self.census, PATIENCE).await.expect("stored")
    }

    async fn row(&self, number: u64) -> PaymentRecord {
        self.mine.payment_by_key(payment(number).key).await.expect("read").expect("stored")
    }
}

fn block() -> Inclusion {
    Inclusion {
        tx: B256::repeat_byte(1),
        block: 9,
        block_hash: B256::repeat_byte(2),
        block_time: 1_000,
        log_index: 0,
    }
}

#[tokio::test]
async fn a_dead_processs_reservation_is_released_before_its_hold_ends() {
    let mut two = Two::open();
    reserve(&two.theirs, payment(1)).await;
    assert_eq!(two.watch().await, 1);
    assert_eq!(two.row(1).await.state(), State::Released);
    reserve(&two.mine, payment(1)).await;
}

#[tokio::test]
async fn a_response_that_a_death_cut_off_is_owed_once_more_to_the_same_payment() {
    let mut two = Two::open();
    let owed = owe(&two.theirs, payment(1)).await;
    two.theirs.include(payment(1).key, block(), "paid").await.expect("stored");
    let delivering = two.theirs.start_delivery(owed).await.expect("stored").expect("held");
    match two.mine.reserve(payment(1), HOLD).await.expect("stored") {
        Reservation::Refused(refusal) => assert_eq!(refusal.reason, Reason::InFlight),
        other => panic!("{other:?}"),
    }
    assert_eq!(two.watch().await, 1);
    match two.mine.reserve(payment(1), HOLD).await.expect("stored") {
        Reservation::Entitled(held, record) => {
            assert_eq!((record.state(), record.delivery), (State::Included, Delivery::None));
            two.mine.start_delivery(held).await.expect("stored").expect("held");
        }
        other => panic!("{other:?}"),
    }
    // The process was only stalled: what it says about its lost delivery changes nothing.
    two.theirs.finish_delivery(delivering, "delivered").await.expect("stored");
    assert_eq!(two.row(1).await.delivery, Delivery::Started);
}

#[tokio::test]
async fn a_process_that_gives_signs_of_life_keeps_what_it_holds() {
    let mut two = Two::open();
    let mut theirs = Census::default();
    reserve(&two.theirs, payment(1)).await;
    for _ in 0..4 {
        assert_eq!(two.mine.take_over(&mut two.census, PATIENCE).await.expect("stored"), 0);
        two.pass(4_000);
        assert_eq!(two.theirs.take_over(&mut theirs, PATIENCE).await.expect("stored"), 0);
    }
    assert_eq!(two.row(1).await.state(), State::Reserved);
}

#[tokio::test]
async fn a_process_taken_for_dead_comes_back_as_a_living_one() {
    let mut two = Two::open();
    reserve(&two.theirs, payment(1)).await;
    assert_eq!(two.watch().await, 1);
    let mut theirs = Census::default();
    two.theirs.take_over(&mut theirs, PATIENCE).await.expect("stored");
    reserve(&two.theirs, payment(2)).await;
    assert_eq!(two.watch().await, 1, "its new reservation is taken over like the first");
    assert_eq!(two.row(2).await.state(), State::Released);
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_dead_who_could_not_write_because_nobody_could() {
    const PATIENCE: Duration = Duration::from_millis(400);
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("ledger.db");
    let (mine, theirs) = (crate::payments::open(&path, "mine"), crate::payments::open(&path, "theirs"));
    reserve(&theirs, payment(1)).await;
    let mut census = Census::default();
    assert_eq!(mine.take_over(&mut census, PATIENCE).await, Ok(0));
    let locked = rusqlite::Connection::open(&path).expect("the file");
    locked.execute_batch("BEGIN IMMEDIATE").expect("a lock");
    let unlock = tokio::task::spawn_blocking(move || {
        std::thread::sleep(2 * PATIENCE);
        drop(locked);
    });
    assert_eq!(mine.take_over(&mut census, PATIENCE).await, Ok(0));
    unlock.await.expect("unlocked");
    let record = mine.payment_by_key(payment(1).key).await.expect("read").expect("stored");
    assert_eq!(record.state(), State::Reserved);
}
