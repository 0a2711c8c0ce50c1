//! A disk that takes no more.

use crate::payments::{HOLD, id_of, inclusion, open, owe, payment, reserve};
use obol_ledger::{Delivery, Ledger, LedgerError, PaymentId, Reservation};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::{fs, path::Path, process::Command};

/// The ledger on the disk that fills up, told to the child.
const LEDGER: &str = "OBOL_TEST_FULL_DISK_LEDGER";

/// How many requests come at once.
const AT_ONCE: u64 = 16;

/// Files may grow to this size and no further, as on a disk that is full.
fn limit(bytes: Option<u64>) {
    let maximum = getrlimit(Resource::Fsize).maximum;
    setrlimit(Resource::Fsize, Rlimit { current: bytes.or(maximum), maximum }).expect("a soft limit");
}

async fn reserve_at_once(ledger: &Ledger, first: u64) -> Vec<Result<Reservation, LedgerError>> {
    let asked: Vec<_> = (first..first + AT_ONCE)
        .map(|number| {
            let ledger = ledger.clone();
            tokio::spawn(async move { ledger.reserve(payment(number), HOLD).await })
        })
        .collect();
    let mut told = Vec::new();
    for asked in asked {
        told.push(asked.await.expect("ran"));
    }
    told
}

/// Fills the disk, makes room again, and tells how many payments it was granted.
async fn fill(path: &Path) -> u64 {
    let ledger = open(path, "gate");
    reserve(&ledger, payment(0)).await;
    assert!(ledger.commits());
    let log = fs::metadata(path.with_extension("db-wal")).expect("a log").len();
    limit(Some(log + 100_000));
    let mut next = 1;
    let told = loop {
        let told = reserve_at_once(&ledger, next).await;
        if told.iter().any(Result::is_err) {
            break told;
        }
        next += AT_ONCE;
        assert!(next < 10_000, "the disk is never full");
    };
    assert!(next > 1, "nothing was stored before the disk was full");
    for (number, told) in (next..).zip(&told) {
        let stored = id_of(&ledger, &payment(number)).await.is_some();
        match told {
            Ok(Reservation::Granted(_)) => assert!(stored, "payment {number} was granted and is lost"),
            Err(LedgerError::Unavailable(_)) => assert!(!stored, "payment {number} is stored in secret"),
            told => panic!("payment {number}: {told:?}"),
        }
    }
    limit(Some(1));
    let last = ledger.reserve(payment(9_999), HOLD).await;
    assert!(matches!(last, Err(LedgerError::Unavailable(_))), "not a byte was left: {last:?}");
    assert!(!ledger.commits());
    assert_eq!(id_of(&ledger, &payment(9_999)).await, None);
    assert!(!ledger.commits(), "what is read says nothing of what is written");

    limit(None);
    for (number, told) in (next..).zip(&told) {
        if told.is_err() {
            reserve(&ledger, payment(number)).await;
        }
    }
    assert!(ledger.commits());
    next + AT_ONCE
}

/// Runs one of these tests in a process whose disk may be filled, and tells what it said.
fn in_a_child(test: &str, ledger: &Path) -> String {
    // A file that grows too large is told by a signal first, which would end the child.
    let mut child = Command::new("sh");
    child.args(["-c", "trap '' XFSZ; exec \"$0\" \"$@\""]).arg(std::env::current_exe().expect("this test"));
    let told = child.args(["--exact", test, "--nocapture"]).env(LEDGER, ledger).output().expect("a child");
    let (out, errors) = (String::from_utf8_lossy(&told.stdout), String::from_utf8_lossy(&told.stderr));
    assert!(told.status.success(), "the child failed: {out}{errors}");
    out.into_owned()
}

#[tokio::test]
async fn a_full_disk_is_told_to_everybody_whose_payment_it_did_not_take() {
    if let Some(path) = std::env::var_os(LEDGER) {
        println!("granted: {}", fill(Path::new(&path)).await);
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("ledger.db");
    let out = in_a_child("disk::a_full_disk_is_told_to_everybody_whose_payment_it_did_not_take", &path);
    let granted = out.lines().find_map(|line| line.split_once("granted: ")?.1.parse::<usize>().ok());
    let granted = granted.unwrap_or_else(|| panic!("the child failed: {out}"));

    let ledger = open(&path, "the next process");
    let payments = ledger.list(PaymentId(0), 100_000).await.expect("read");
    assert_eq!(payments.len(), granted);
    for payment in payments {
        assert_eq!(ledger.events(payment.id).await.map(|events| events.len()), Ok(1));
    }
}

/// Delivers while the disk is full, and makes room again.
async fn deliver(path: &Path) {
    let ledger = open(path, "gate");
    let owed = owe(&ledger, payment(0)).await;
    ledger.include(payment(0).key, inclusion(1, 9), "settled").await.expect("stored");
    let delivering = ledger.start_delivery(owed).await.expect("stored").expect("held");
    limit(Some(1));
    let told = ledger.finish_delivery(delivering, "delivered").await;
    assert!(matches!(told, Err(LedgerError::Unavailable(_))), "{told:?}");
    let delivery =
        async || ledger.payment_by_key(payment(0).key).await.map(|row| row.map(|row| row.delivery));
    assert_eq!(delivery().await, Ok(Some(Delivery::Started)));
    limit(None);
    ledger.all_ended().await;
    assert_eq!(delivery().await, Ok(Some(Delivery::Done)));
    println!("written down");
}

#[tokio::test]
async fn a_delivery_whose_end_the_disk_did_not_take_is_written_down_when_it_does() {
    if let Some(path) = std::env::var_os(LEDGER) {
        return deliver(Path::new(&path)).await;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("ledger.db");
    let out =
        in_a_child("disk::a_delivery_whose_end_the_disk_did_not_take_is_written_down_when_it_does", &path);
    assert!(out.contains("written down"), "{out}");
}
