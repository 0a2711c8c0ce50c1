//! Several processes on one file.

use crate::payments::{
    HOLD, PRICE, SETTLER, close, id_of, inclusion, lease, open, owe, payment, record, reserve, store,
};
use obol_core::{Exposure, Reason};
use obol_ledger::{Delivery, Ledger, LedgerError, Outcome, Owing, PaymentId, Reservation, State, Stored};
use rusqlite::Connection;
use std::{
    fs,
    io::{BufRead, BufReader},
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

/// Two processes, as far as the file can tell.
fn two(path: &Path) -> [Ledger; 2] {
    [open(path, "gate-0"), open(path, "gate-1")]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_sent_fifty_times_at_once_is_granted_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let both = two(&folder.path().join("ledger.db"));
    let asked: Vec<_> = (0..50)
        .map(|number| {
            let ledger = both[number % 2].clone();
            tokio::spawn(async move { ledger.reserve(payment(0), HOLD).await })
        })
        .collect();
    let (mut granted, mut in_flight) = (0, 0);
    for asked in asked {
        match asked.await.expect("ran").expect("stored") {
            Reservation::Granted(_) => granted += 1,
            Reservation::Refused(refusal) if refusal.reason == Reason::InFlight => in_flight += 1,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!((granted, in_flight), (1, 49));
    let id = id_of(&both[0], &payment(0)).await.expect("stored");
    assert_eq!(both[1].events(id).await.map(|events| events.len()), Ok(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_balance_is_spent_once_however_many_requests_come_at_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let both = two(&folder.path().join("ledger.db"));
    let payer = payment(0).key.payer;
    let asked: Vec<_> = (0..40)
        .map(|number| {
            let ledger = both[number % 2].clone();
            let mut new = payment(number as u64);
            new.key.payer = payer;
            new.balance = (PRICE * 7).into();
            tokio::spawn(async move { ledger.reserve(new, HOLD).await })
        })
        .collect();
    let mut granted = 0;
    for asked in asked {
        match asked.await.expect("ran").expect("stored") {
            Reservation::Granted(_) => granted += 1,
            Reservation::Refused(refusal) => assert_eq!(refusal.reason, Reason::InsufficientBalance),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(granted, 7);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_delivered_before_its_money_stays_within_both_ceilings() {
    let folder = tempfile::tempdir().expect("a folder");
    let both = two(&folder.path().join("ledger.db"));
    let exposure = Exposure { per_payer: (PRICE * 3).into(), per_offer: (PRICE * 10).into() };
    let mut asked = Vec::new();
    for number in 0..40 {
        let ledger = both[number % 2].clone();
        let mut new = payment(number as u64);
        // Five payers, whose ceilings together are above the offer's.
        new.key.payer = payment(number as u64 % 5).key.payer;
        let held = reserve(&ledger, new).await;
        asked.push(tokio::spawn(async move { ledger.owe(held, Some(exposure)).await }));
    }
    let mut delivering = 0;
    for asked in asked {
        match asked.await.expect("ran").expect("stored").expect("held") {
            Owing::Deliver(_) => delivering += 1,
            Owing::SettleFirst(_) => {}
        }
    }
    assert_eq!(delivering, 10, "as much as the offer bears, and no more");
    let all = both[0].list(PaymentId(0), 100).await.expect("read");
    for payer in (0..5).map(|number| payment(number).key.payer) {
        let out =
            all.iter().filter(|row| row.key.payer == payer && row.delivery == Delivery::Started).count();
        assert!(out <= 3, "payer {payer} has {out}");
    }
}

#[tokio::test]
async fn who_waits_for_a_payment_is_woken_by_another_processs_commit() {
    let folder = tempfile::tempdir().expect("a folder");
    let [mine, theirs] = two(&folder.path().join("ledger.db"));
    let id = owe(&mine, payment(0)).await.id();
    let until = tokio::time::Instant::now() + Duration::from_secs(60);
    let waiting = {
        let mine = mine.clone();
        tokio::spawn(async move { mine.outcome(id, until).await })
    };
    // A change that does not end the waiting.
    store(&theirs, 0, vec![id]).await;
    let begun = Instant::now();
    theirs.include(payment(0).key, inclusion(0, 11), "settled").await.expect("stored");
    assert_eq!(waiting.await.expect("ran"), Ok(Outcome::Paid(inclusion(0, 11))));
    assert!(begun.elapsed() < Duration::from_secs(10), "woken after {:?}", begun.elapsed());
}

#[tokio::test]
async fn who_waits_for_a_payment_is_told_where_it_stands_when_the_time_is_over() {
    let folder = tempfile::tempdir().expect("a folder");
    let [mine, theirs] = two(&folder.path().join("ledger.db"));
    let id = owe(&mine, payment(0)).await.id();
    store(&theirs, 0, vec![id]).await;
    let until = tokio::time::Instant::now() + Duration::from_millis(30);
    assert_eq!(mine.outcome(id, until).await, Ok(Outcome::Open(State::Submitting)));
}

#[tokio::test]
async fn another_process_is_waited_for_while_it_commits() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("ledger.db");
    let ledger = open(&path, "gate");
    let other = Connection::open(&path).expect("the same file");
    other.execute_batch("BEGIN IMMEDIATE").expect("the write lock");
    let asked = tokio::spawn(async move { ledger.reserve(payment(0), HOLD).await });
    tokio::task::yield_now().await;
    other.execute_batch("COMMIT").expect("released");
    let told = asked.await.expect("ran");
    assert!(matches!(told, Ok(Reservation::Granted(_))), "{told:?}");
}

#[tokio::test]
async fn a_copy_from_earlier_opens_and_goes_on() {
    let folder = tempfile::tempdir().expect("a folder");
    let (path, copy) = (folder.path().join("ledger.db"), folder.path().join("copy.db"));
    let ledger = open(&path, "gate");
    let id = ledger.id().await.expect("read");
    let kept = owe(&ledger, payment(0)).await.id();
    let epoch = lease(&ledger).await.epoch;
    close(ledger, &path).await;
    fs::copy(&path, &copy).expect("copied");

    let ledger = open(&path, "gate");
    reserve(&ledger, payment(1)).await;
    store(&ledger, 0, vec![kept]).await;
    close(ledger, &path).await;
    fs::rename(&copy, &path).expect("restored");

    let ledger = open(&path, "gate");
    assert_eq!(ledger.id().await, Ok(id));
    assert_eq!(record(&ledger, kept).await.state(), State::Due);
    assert_eq!(id_of(&ledger, &payment(1)).await, None);
    let lease = lease(&ledger).await;
    assert!(lease.epoch >= epoch);
    assert_eq!(ledger.next_nonce(SETTLER).await, Ok(None), "what was sent since is not known to it");
    let stored = ledger.store_batch(lease, 5, vec![kept], crate::payments::attempt(5)).await;
    assert!(matches!(stored, Ok(Stored::Batch(_))), "{stored:?}");
    reserve(&ledger, payment(1)).await;
}

/// The ledger of the process that is killed, told to the child.
const KILLED: &str = "OBOL_TEST_KILLED_LEDGER";

#[tokio::test]
async fn a_killed_process_has_stored_all_that_it_was_told() {
    if let Some(path) = std::env::var_os(KILLED) {
        let ledger = open(Path::new(&path), "to be killed");
        for number in 0.. {
            let told: Result<_, LedgerError> = ledger.reserve(payment(number), HOLD).await;
            told.expect("stored");
            println!("granted: {number}");
        }
    }
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("ledger.db");
    let mut child = Command::new(std::env::current_exe().expect("this test"))
        .args(["--exact", "sharing::a_killed_process_has_stored_all_that_it_was_told", "--nocapture"])
        .env(KILLED, &path)
        .stdout(Stdio::piped())
        .spawn()
        .expect("a child");
    let mut granted = 0;
    for line in BufReader::new(child.stdout.take().expect("piped")).lines() {
        if line.expect("text").contains("granted: ") {
            granted += 1;
        }
        if granted == 50 {
            child.kill().expect("killed");
        }
    }
    child.wait().expect("ended");
    assert!(granted >= 50);
    let ledger = open(&path, "the next process");
    for number in 0..granted {
        let id = id_of(&ledger, &payment(number)).await.expect("what was told is stored");
        assert_eq!(ledger.events(id).await.map(|events| events.len()), Ok(1));
    }
}
