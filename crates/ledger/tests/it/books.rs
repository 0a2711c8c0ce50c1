//! What was earned, over windows, to the last atomic unit.

use crate::payments::{
    ASSET, CHAIN, PRICE, SETTLER, inclusion, ledger, open, owe, payment, receipt, reserve, submit,
};
use alloy_primitives::{B256, Bytes, U256};
use obol_core::OfferId;
use obol_ledger::{
    Books, Charged, Clock, Drift, Found, Inclusion, Ledger, NewPayment, PaymentId, Place, Position, State,
    Sum, Takings, Transition, Unsettled, Windows,
};
use std::sync::{
    Arc, Mutex,
    atomic::{AtomicI64, Ordering},
};

const DAY: i64 = 86_400;
const NOW: i64 = 1_800_000_000;

/// The offer that all payments of these tests are for.
fn hello() -> Position {
    let offer = OfferId { namespace: "llm".to_owned(), name: "hello".to_owned() };
    Position { offer, chain: CHAIN, asset: ASSET }
}

fn of(payments: u64) -> Sum {
    Sum { payments, amount: (payments * PRICE).into() }
}

fn at(number: u64, seconds: i64) -> Inclusion {
    Inclusion { block_time: seconds, ..inclusion(number, 10 + number) }
}

async fn paid(ledger: &Ledger, number: u64, seconds: i64) -> Inclusion {
    let _held = owe(ledger, payment(number)).await;
    let at = at(number, seconds);
    ledger.include(payment(number).key, at, "seen").await.expect("stored");
    at
}

async fn takings(books: &mut Books, ledger: &Ledger) -> Takings {
    books.follow(ledger).await.expect("read");
    books.takings(&hello())
}

fn by_hand(seconds: i64) -> (Arc<AtomicI64>, Ledger) {
    let hand = Arc::new(AtomicI64::new(seconds * 1_000));
    let ledger = Ledger::open(&Place::Memory, Clock::Manual(Arc::clone(&hand)), "gate").expect("a ledger");
    (hand, ledger)
}

#[tokio::test]
async fn a_payment_is_in_a_window_until_its_block_is_that_old_and_in_the_lifetime_for_good() {
    let (hand, ledger) = by_hand(NOW);
    let mut books = Books::default();
    assert_eq!(takings(&mut books, &ledger).await, Takings::default());
    paid(&ledger, 1, NOW - 7 * DAY).await;
    paid(&ledger, 2, NOW - DAY).await;
    paid(&ledger, 3, NOW - DAY + 1).await;
    let now = takings(&mut books, &ledger).await;
    assert_eq!((now.charged.day, now.charged.week, now.charged.lifetime), (of(1), of(2), of(3)));
    assert_eq!(now.last, Some(NOW - DAY + 1));
    for (seconds, day, week) in [(1, 0, 2), (6 * DAY - 1, 0, 2), (6 * DAY, 0, 1), (6 * DAY + 1, 0, 0)] {
        hand.store((NOW + seconds) * 1_000, Ordering::SeqCst);
        let then = takings(&mut books, &ledger).await;
        assert_eq!(
            (then.charged.day, then.charged.week, then.charged.lifetime),
            (of(day), of(week), of(3)),
            "after {seconds} s"
        );
        let anew = takings(&mut Books::default(), &ledger).await;
        assert_eq!(anew, then, "the same when read anew");
    }
}

#[tokio::test]
async fn a_clock_that_was_ahead_for_a_while_leaves_no_hole_in_the_windows() {
    let (hand, ledger) = by_hand(NOW);
    let mut books = Books::default();
    paid(&ledger, 1, NOW - 60).await;
    let before = takings(&mut books, &ledger).await;
    hand.store((NOW + 10 * DAY) * 1_000, Ordering::SeqCst);
    assert_eq!(takings(&mut books, &ledger).await.charged.week, of(0));
    hand.store((NOW + 1) * 1_000, Ordering::SeqCst);
    assert_eq!(takings(&mut books, &ledger).await, before);
    paid(&ledger, 2, NOW).await;
    let after = takings(&mut books, &ledger).await;
    assert_eq!((after.charged.day, after.charged.week, after.charged.lifetime), (of(2), of(2), of(2)));
}

#[tokio::test]
async fn a_payment_counts_once_whatever_becomes_of_its_block() {
    let (_hand, ledger) = by_hand(NOW);
    let mut books = Books::default();
    let first = paid(&ledger, 1, NOW - 60).await;
    paid(&ledger, 2, NOW - 90).await;
    let id = ledger.payment_by_key(payment(1).key).await.expect("read").expect("stored").id;
    ledger.orphan(id, first.block_hash).await.expect("stored");
    let gone = takings(&mut books, &ledger).await;
    assert_eq!((gone.charged.day, gone.charged.lifetime), (of(2), of(2)));
    assert_eq!(gone.reversed, Windows { day: of(1), week: of(1), lifetime: of(1) });
    assert_eq!(gone.last, Some(NOW - 90), "of the one that is on the chain");
    ledger.include(payment(1).key, at(9, NOW), "seen again").await.expect("stored");
    let back = takings(&mut books, &ledger).await;
    assert_eq!((back.charged.day, back.charged.lifetime), (of(2), of(2)));
    assert_eq!(back.reversed, Windows::default());
    assert_eq!(back.last, Some(NOW));
    assert_eq!(takings(&mut Books::default(), &ledger).await, back);
}

#[tokio::test]
async fn a_payment_that_is_found_in_another_block_counts_when_it_did_and_was_last_seen_there() {
    let (_hand, ledger) = by_hand(NOW);
    let mut books = Books::default();
    paid(&ledger, 1, NOW - 60).await;
    paid(&ledger, 2, NOW - DAY - 60).await;
    ledger.include(payment(1).key, at(9, NOW - 70), "seen elsewhere").await.expect("stored");
    ledger.include(payment(2).key, at(8, NOW - 80), "seen elsewhere").await.expect("stored");
    let now = takings(&mut books, &ledger).await;
    assert_eq!((now.charged.day, now.charged.lifetime), (of(1), of(2)));
    assert_eq!((now.reversed, now.last), (Windows::default(), Some(NOW - 70)));
}

#[tokio::test]
async fn who_reverses_an_old_payment_takes_nothing_from_the_window_of_the_new_ones() {
    let (_hand, ledger) = by_hand(NOW);
    let first = paid(&ledger, 1, NOW - 2 * DAY).await;
    paid(&ledger, 2, NOW - 60).await;
    let id = ledger.payment_by_key(payment(1).key).await.expect("read").expect("stored").id;
    ledger.orphan(id, first.block_hash).await.expect("stored");
    let now = takings(&mut Books::default(), &ledger).await;
    assert_eq!(now.reversed, Windows { day: of(0), week: of(1), lifetime: of(1) });
    assert_eq!(now.charged, Windows { day: of(1), week: of(2), lifetime: of(2) });
}

#[tokio::test]
async fn only_accounts_that_have_paid_are_known() {
    let (_hand, ledger) = by_hand(NOW);
    paid(&ledger, 1, NOW).await;
    let (payer, stranger) = (payment(1).key.payer, alloy_primitives::Address::repeat_byte(0x99));
    let mut asked = vec![stranger; 1_500];
    asked.extend([payer, payer]);
    assert_eq!(ledger.known_payers(asked).await, Ok([payer].into()));
}

#[tokio::test]
async fn without_the_reversed_the_lifetime_is_what_the_ledger_calls_earned() {
    let (_hand, ledger) = by_hand(NOW);
    let first = paid(&ledger, 1, NOW).await;
    paid(&ledger, 2, NOW).await;
    paid(&ledger, 3, NOW).await;
    let id = ledger.payment_by_key(payment(1).key).await.expect("read").expect("stored").id;
    ledger.orphan(id, first.block_hash).await.expect("stored");
    let takings = takings(&mut Books::default(), &ledger).await;
    let earned = &ledger.earnings().await.expect("read")[0];
    assert_eq!(takings.charged.lifetime.payments - takings.reversed.lifetime.payments, earned.payments);
    assert_eq!(
        takings.charged.lifetime.amount.checked_sub(takings.reversed.lifetime.amount),
        Some(earned.amount)
    );
}

#[tokio::test]
async fn what_is_earned_in_an_asset_is_added_up_over_offers() {
    let (_hand, ledger) = by_hand(NOW);
    paid(&ledger, 1, NOW).await;
    let mut other = payment(2);
    other.offer.name = "gone".to_owned();
    let key = other.key;
    let _held = owe(&ledger, other).await;
    ledger.include(key, at(2, NOW), "seen").await.expect("stored");
    let mut books = Books::default();
    books.follow(&ledger).await.expect("read");
    let sums = books.by_asset().expect("a sum");
    assert_eq!(
        sums.get(&(CHAIN, ASSET)).map(|sum| (sum.charged.day, sum.charged.lifetime)),
        Some((of(2), of(2)))
    );
}

#[tokio::test]
async fn books_follow_what_other_processes_write() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("ledger.db");
    let (mine, other) = (open(&path, "mine"), open(&path, "other"));
    let mut books = Books::default();
    paid(&mine, 1, NOW).await;
    assert_eq!(takings(&mut books, &mine).await.charged.lifetime, of(1));
    paid(&other, 2, NOW).await;
    assert_eq!(takings(&mut books, &mine).await.charged.lifetime, of(2));
}

#[tokio::test]
async fn a_long_journal_is_read_to_its_end() {
    let (_hand, ledger) = by_hand(NOW);
    for number in 0..2_001 {
        paid(&ledger, number, NOW).await;
    }
    assert_eq!(takings(&mut Books::default(), &ledger).await.charged.week, of(2_001));
}

/// A payment whose only witness is a facilitator, at the time that the clock shows.
async fn claimed(ledger: &Ledger, number: u64) -> PaymentId {
    let blind =
        NewPayment { verified_block: 0, question: Some(Bytes::from_static(b"{}")), ..payment(number) };
    let id = owe(ledger, blind).await.id();
    ledger.ask(id, "https://x402.example".to_owned()).await.expect("stored");
    ledger.claimed(id, B256::repeat_byte(7)).await.expect("stored");
    id
}

#[tokio::test]
async fn a_claim_is_told_at_its_time_until_the_chain_tells() {
    let (hand, ledger) = by_hand(NOW - 2 * DAY);
    claimed(&ledger, 1).await;
    hand.store(NOW * 1_000, Ordering::SeqCst);
    let fails = claimed(&ledger, 2).await;
    claimed(&ledger, 3).await;
    let mut books = Books::default();
    let now = takings(&mut books, &ledger).await;
    assert_eq!(now.claimed, Windows { day: of(2), week: of(3), lifetime: of(3) });
    assert_eq!((now.charged, now.last), (Windows::default(), None), "nobody has seen them");
    ledger.fail(fails, "final blocks do not have it").await.expect("stored");
    ledger.include(payment(3).key, at(3, NOW), "seen").await.expect("stored");
    let now = takings(&mut books, &ledger).await;
    assert_eq!(now.claimed, Windows { day: of(0), week: of(1), lifetime: of(1) });
    assert_eq!(now.charged.lifetime, of(1));
    assert_eq!(takings(&mut Books::default(), &ledger).await, now, "the same when read anew");
    ledger.include(payment(1).key, at(4, NOW), "seen").await.expect("stored");
    assert_eq!(takings(&mut books, &ledger).await.claimed, Windows::default());
}

#[tokio::test]
async fn a_comparison_is_remembered_for_every_process_that_asks_the_same_endpoint() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("ledger.db");
    let ledger = open(&path, "mine");
    paid(&ledger, 1, NOW).await;
    assert_eq!(ledger.comparison(CHAIN, "http://a").await, Ok(None));
    let drift = Drift { ledger_only: U256::MAX, chain_only: U256::from(1), unattributed: U256::from(2) };
    let found = Found { payments: 2, unattributed: 3, drifts: [(ASSET, drift)].into() };
    let made = ledger.compared(CHAIN, "http://a", found.clone()).await.expect("stored");
    assert_eq!(made.found, found);
    let other = open(&path, "other");
    assert_eq!(other.comparison(CHAIN, "http://a").await, Ok(Some(made.clone())));
    // What another endpoint shows is its own.
    other.compared(CHAIN, "http://b", Found::default()).await.expect("stored");
    assert_eq!(ledger.comparison(CHAIN, "http://a").await, Ok(Some(made)));
    ledger.compared(CHAIN, "http://a", Found::default()).await.expect("stored");
    let last = other.comparison(CHAIN, "http://a").await.expect("read").expect("remembered").found;
    assert_eq!((last.payments, last.unattributed), (0, 0));
    assert_eq!(last.drifts, [(ASSET, Drift::default())].into(), "what does not drift says so");
}

#[tokio::test]
async fn a_payment_that_the_journal_has_otherwise_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("ledger.db");
    let ledger = open(&path, "mine");
    let first = paid(&ledger, 1, NOW).await;
    paid(&ledger, 2, NOW).await;
    let id = ledger.payment_by_key(payment(1).key).await.expect("read").expect("stored").id;
    ledger.orphan(id, first.block_hash).await.expect("stored");
    let claim = claimed(&ledger, 3).await;
    let _owed = owe(&ledger, payment(4)).await;
    assert_eq!(ledger.journal_faults(10).await, Ok(vec![]));
    let db = rusqlite::Connection::open(&path).expect("a database");
    db.execute("DELETE FROM charges WHERE kind = 1", []).expect("written");
    assert_eq!(ledger.journal_faults(10).await, Ok(vec![id]));
    db.execute("INSERT INTO charges (payment, kind, at) VALUES (?1, 1, 0)", [id.0]).expect("written");
    // It is back, and its newest row says so; that it was charged is lost.
    ledger.include(payment(1).key, at(9, NOW), "again").await.expect("stored");
    assert_eq!(ledger.journal_faults(10).await, Ok(vec![]));
    db.execute("DELETE FROM charges WHERE payment = ?1 AND kind = 0", [id.0]).expect("written");
    assert_eq!(ledger.journal_faults(10).await, Ok(vec![id]));
    db.execute("DELETE FROM claims", []).expect("written");
    assert_eq!(ledger.journal_faults(10).await, Ok(vec![id, claim]));
    assert_eq!(ledger.journal_faults(1).await, Ok(vec![id]));
}

#[tokio::test]
async fn a_journal_in_which_a_row_is_too_many_or_of_another_time_is_at_fault() {
    for edit in [
        "INSERT INTO charges (payment, kind, at) VALUES (1, 2, 7)",
        "INSERT INTO charges (payment, kind, at) SELECT payment, kind, at FROM charges WHERE seq = 2",
        "UPDATE charges SET at = at - 31536000 WHERE payment = 1",
        "UPDATE charges SET kind = 2 WHERE payment = 1",
        "UPDATE payments SET block_time = block_time + 100000 WHERE id = 1",
        "INSERT INTO claims (payment, stands, at) VALUES (1, 1, 7), (1, 0, 8)",
    ] {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("ledger.db");
        let ledger = open(&path, "mine");
        let first = paid(&ledger, 1, NOW).await;
        let id = ledger.payment_by_key(payment(1).key).await.expect("read").expect("stored").id;
        ledger.orphan(id, first.block_hash).await.expect("stored");
        ledger.include(payment(1).key, at(2, NOW + 5), "again").await.expect("stored");
        assert_eq!(ledger.journal_faults(10).await, Ok(vec![]));
        let db = rusqlite::Connection::open(&path).expect("a database");
        db.execute_batch("DROP TRIGGER moved").expect("written");
        db.execute_batch(edit).expect("written");
        assert_eq!(ledger.journal_faults(10).await, Ok(vec![id]), "{edit}");
    }
}

#[tokio::test]
async fn gas_is_spent_once_for_each_transaction_and_for_a_day() {
    let (hand, ledger) = by_hand(NOW);
    let (id, batch) = submit(&ledger, 1).await;
    let mined = at(1, NOW);
    for _ in 0..2 {
        ledger.mined(receipt(batch, mined, &[id], &[])).await.expect("stored");
        ledger.orphan_batch(batch).await.expect("stored");
    }
    let mut books = Books::default();
    books.follow(&ledger).await.expect("read");
    assert_eq!(books.spent(CHAIN, SETTLER.account), U256::from(100_000));
    hand.store((NOW + DAY) * 1_000, Ordering::SeqCst);
    books.follow(&ledger).await.expect("read");
    assert_eq!(books.spent(CHAIN, SETTLER.account), U256::ZERO);
}

#[tokio::test]
async fn exposure_is_what_is_delivered_and_not_on_the_chain() {
    let ledger = ledger();
    let _waits_for_its_settlement = owe(&ledger, payment(1)).await;
    assert_eq!(ledger.exposure().await, Ok(vec![]));
    for number in [2, 3] {
        let at = at(number, NOW);
        let owed = owe(&ledger, payment(number)).await;
        let id = owed.id();
        ledger.include(payment(number).key, at, "seen").await.expect("stored");
        let delivering = ledger.start_delivery(owed).await.expect("stored").expect("held");
        ledger.finish_delivery(delivering, "sent").await.expect("stored");
        assert_eq!(ledger.exposure().await.expect("read").len(), usize::from(number == 3));
        ledger.orphan(id, at.block_hash).await.expect("stored");
    }
    let first = ledger.payment_by_key(payment(2).key).await.expect("read").expect("stored");
    let amount = (2 * PRICE).into();
    let unsettled = Unsettled { position: hello(), payments: 2, amount, oldest: first.created_at };
    assert_eq!(ledger.exposure().await, Ok(vec![unsettled]));
    assert_eq!(ledger.losses().await, Ok(vec![]));
    ledger.fail(first.id, "it has expired").await.expect("stored");
    let left = ledger.exposure().await.expect("read");
    assert_eq!((left.len(), left[0].payments), (1, 1));
    let lost = ledger.losses().await.expect("read");
    let wanted = Unsettled { position: hello(), payments: 1, amount: PRICE.into(), oldest: first.created_at };
    assert_eq!(lost, [wanted]);
}

#[tokio::test]
async fn each_change_of_state_is_told_once_and_only_when_it_is_durable() {
    let ledger = ledger();
    let told: Arc<Mutex<Vec<Transition>>> = Arc::default();
    let notes = Arc::clone(&told);
    ledger.observe(move |change| notes.lock().expect("unlocked").push(change.clone())).expect("observed");
    let seen =
        || told.lock().expect("unlocked").drain(..).map(|t| (t.from, t.to, t.charge)).collect::<Vec<_>>();
    let held = reserve(&ledger, payment(1)).await;
    let id = held.id();
    assert_eq!(seen(), [(None, State::Reserved, None)]);
    // Refused: nothing is written, and nothing told.
    ledger.reserve(payment(1), crate::payments::HOLD).await.expect("read");
    assert_eq!(seen(), []);
    ledger.owe(held, None).await.expect("stored").expect("held");
    assert_eq!(seen(), [(Some(State::Reserved), State::Due, None)]);
    let at = at(1, NOW);
    ledger.include(payment(1).key, at, "seen").await.expect("stored");
    ledger.include(payment(1).key, at, "seen once more").await.expect("stored");
    let first = seen();
    assert!(
        matches!(
            first[..],
            [(Some(State::Due), State::Included, Some(Charged::First { owed_for: Some(_) }))]
        ),
        "{first:?}"
    );
    ledger.orphan(id, at.block_hash).await.expect("stored");
    assert_eq!(seen(), [(Some(State::Included), State::Released, Some(Charged::Reversed))]);
    ledger.include(payment(1).key, at, "seen again").await.expect("stored");
    assert_eq!(seen(), [(Some(State::Released), State::Included, Some(Charged::Again))]);
}
