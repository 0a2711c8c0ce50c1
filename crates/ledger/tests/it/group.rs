//! Operations that share a commit share nothing else.

use crate::payments::{HOLD, attempt, id_of, lease, open, owe, payment};
use obol_ledger::{Reservation, State};
use rusqlite::Connection;

/// Keeps the writer from committing, so that what is asked meanwhile comes in one group.
struct Gate(Connection);

impl Gate {
    fn shut(path: &std::path::Path) -> Self {
        let db = Connection::open(path).expect("the same file");
        db.execute_batch("BEGIN IMMEDIATE").expect("the write lock");
        Self(db)
    }

    async fn open(self) {
        // On one thread a task that yields comes after all that were spawned before it.
        tokio::task::yield_now().await;
        self.0.execute_batch("ROLLBACK").expect("released");
    }
}

#[tokio::test]
async fn an_operation_that_fails_takes_nobody_of_its_group_with_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("ledger.db");
    let ledger = open(&path, "gate");
    let due = owe(&ledger, payment(0)).await.id();
    let lease = lease(&ledger).await;
    let story = ledger.events(due).await.expect("read").len();

    let gate = Gate::shut(&path);
    let spawn_good = |number| {
        let ledger = ledger.clone();
        tokio::spawn(async move { ledger.reserve(payment(number), HOLD).await })
    };
    let mut good: Vec<_> = (1..20).map(spawn_good).collect();
    let bad = {
        let ledger = ledger.clone();
        // The second mention fails after the first was stored.
        tokio::spawn(async move { ledger.store_batch(lease, 0, vec![due, due], attempt(0)).await })
    };
    good.extend((20..40).map(spawn_good));
    gate.open().await;

    bad.await.expect("ran").expect_err("a payment cannot be in a batch twice");
    for told in good {
        let told = told.await.expect("ran");
        assert!(matches!(told, Ok(Reservation::Granted(_))), "{told:?}");
    }
    let seen = open(&path, "another process");
    for number in 1..40 {
        assert!(
            id_of(&seen, &payment(number)).await.is_some(),
            "payment {number} was granted and not stored"
        );
    }
    let record = seen.payment(due).await.expect("read").expect("stored");
    assert_eq!((record.state(), record.batch), (State::Due, None), "half of the batch is stored");
    assert_eq!(seen.events(due).await.expect("read").len(), story);
    assert_eq!(seen.next_nonce(lease.settler).await.expect("read"), None);
}

#[tokio::test]
async fn a_read_that_fails_takes_nobody_of_its_group_with_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("ledger.db");
    let ledger = open(&path, "gate");
    let spoiled = owe(&ledger, payment(0)).await.id();
    let raw = Connection::open(&path).expect("the same file");
    raw.execute("UPDATE payments SET amount = x'00' WHERE id = ?1", [spoiled.0]).expect("spoiled");

    let gate = Gate::shut(&path);
    let bad = {
        let ledger = ledger.clone();
        tokio::spawn(async move { ledger.payment(spoiled).await })
    };
    let good = {
        let ledger = ledger.clone();
        tokio::spawn(async move { ledger.reserve(payment(1), HOLD).await })
    };
    gate.open().await;

    bad.await.expect("ran").expect_err("an amount of one byte");
    let told = good.await.expect("ran");
    assert!(matches!(told, Ok(Reservation::Granted(_))), "{told:?}");
    assert!(id_of(&ledger, &payment(1)).await.is_some());
}
