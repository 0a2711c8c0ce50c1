//! Asks the real ledger what a step says.

use crate::step::{Step, Told, WHY};
use alloy_primitives::{B256, Bytes, U256};
use obol_ledger::{
    Asking, Census, Held, Leased, Ledger, LedgerError, MinedBatch, NewAttempt, Owing, PaymentId, Reservation,
    Stored, held,
};

/// A hold that the ledger gave out.
#[derive(Debug)]
pub(crate) enum Hold {
    Reserved(Held<held::Reserved>),
    Owed(Held<held::Owed>),
    Delivering(Held<held::Delivering>),
}

type Answer = (Told, Option<Hold>);

/// Steps that are no request to the ledger, and a take over, whose census is the caller's, are
/// not for here.
pub(crate) async fn perform(ledger: &Ledger, step: Step, hold: Option<Hold>) -> Result<Answer, LedgerError> {
    let done = |()| (Told::Done, None);
    match step {
        Step::Reserve { new, hold } => ledger.reserve(*new, hold).await.map(reserved),
        Step::Recall { key, calls, origin, hold } => {
            ledger.recall(key, calls, origin, hold).await.map(recalled)
        }
        Step::RecallPayer { key, calls, origin, hold } => {
            ledger.recall_payer(key, calls, origin, hold).await.map(recalled)
        }
        Step::Lease { settler, ttl } => ledger.lease(settler, ttl).await.map(|leased| match leased {
            Leased::Mine(lease) => (Told::Mine(lease.epoch), None),
            Leased::HeldBy { holder, until } => (Told::HeldBy(holder, until.0), None),
        }),
        Step::EndLease(lease) => ledger.end_lease(lease).await.map(done),
        Step::StoreBatch { lease, nonce, payments, hash } => {
            ledger.store_batch(lease, nonce, payments, attempt(hash)).await.map(stored)
        }
        Step::StoreAttempt { lease, batch, hash } => {
            ledger.store_attempt(lease, batch, attempt(hash)).await.map(stored)
        }
        Step::Taken { batch, hash } => ledger.taken(batch, hash).await.map(done),
        Step::Mined { batch, at, paid, unpaid, retry } => {
            let paid = paid.into_iter().map(|id| (id, at)).collect();
            let (tx, block, block_hash) = (at.tx, at.block, at.block_hash);
            let (block_time, cost) = (at.block_time, U256::from(100_000));
            let mined = MinedBatch {
                batch,
                tx,
                block,
                block_hash,
                block_time,
                cost,
                paid,
                unpaid,
                retry_after: retry,
            };
            ledger.mined(mined).await.map(done)
        }
        Step::OrphanBatch(batch) => ledger.orphan_batch(batch).await.map(done),
        Step::Bury(batch) => ledger.bury(batch, WHY).await.map(done),
        Step::Include { key, at } => {
            ledger.include(key, at, WHY).await.map(|found| (found.map_or(Told::Unknown, Told::Found), None))
        }
        Step::Orphan { id, block_hash } => ledger.orphan(id, block_hash).await.map(done),
        Step::Finalize { batches, payments } => ledger.finalize(batches, payments).await.map(count),
        Step::Defer { id, retry } => ledger.defer(id, WHY, retry).await.map(done),
        Step::Fail(id) => ledger.fail(id, WHY).await.map(done),
        Step::Ask { id, facilitator } => {
            ledger.ask(id, facilitator.to_string()).await.map(|asking| asked(id, asking))
        }
        Step::AskAgain(id) => ledger.ask_again(id).await.map(|asking| asked(id, asking)),
        Step::Doubt(id) => ledger.doubt(id).await.map(done),
        Step::Promise(id, tx) => ledger.promised(id, tx).await.map(done),
        Step::Claim(id, tx) => ledger.claimed(id, tx).await.map(done),
        Step::Decline { id, retry } => ledger.declined(id, WHY, retry).await.map(|asking| asked(id, asking)),
        Step::Recover => ledger.recover().await.map(count),
        step => hold_step(ledger, step, hold).await,
    }
}

async fn hold_step(ledger: &Ledger, step: Step, hold: Option<Hold>) -> Result<Answer, LedgerError> {
    match (step, hold) {
        (Step::Release(_), Some(Hold::Reserved(held))) => ledger.release(held, WHY).await.map(done_or_lost),
        (Step::Waive(_), Some(Hold::Reserved(held))) => ledger.waive(held).await.map(done_or_lost),
        (Step::Owe(_, exposure), Some(Hold::Reserved(held))) => {
            ledger.owe(held, exposure).await.map(|owed| match owed {
                Ok(Owing::SettleFirst(held)) => (Told::SettleFirst, Some(Hold::Owed(held))),
                Ok(Owing::Deliver(held)) => (Told::Deliver, Some(Hold::Delivering(held))),
                Err(lost) => (Told::Lost(lost.0), None),
            })
        }
        (Step::StartDelivery(_), Some(Hold::Owed(held))) => {
            ledger.start_delivery(held).await.map(|started| match started {
                Ok(held) => (Told::Done, Some(Hold::Delivering(held))),
                Err(lost) => (Told::Lost(lost.0), None),
            })
        }
        (Step::LetGo(_), Some(Hold::Owed(held))) => {
            ledger.let_go(held, WHY).await.map(|record| (Told::Left(record.state()), None))
        }
        (Step::Undeliver(_), Some(Hold::Delivering(held))) => {
            ledger.undeliver(held, WHY).await.map(|()| (Told::Done, None))
        }
        (Step::FinishDelivery(_), Some(Hold::Delivering(held))) => {
            ledger.finish_delivery(held, WHY).await.map(|()| (Told::Done, None))
        }
        (step, hold) => panic!("{step} cannot be asked with {hold:?}"),
    }
}

pub(crate) async fn take_over(
    ledger: &Ledger,
    census: &mut Census,
    patience: std::time::Duration,
) -> Result<Answer, LedgerError> {
    ledger.take_over(census, patience).await.map(count)
}

fn attempt(hash: B256) -> NewAttempt {
    NewAttempt { hash, raw: Bytes::copy_from_slice(&hash[..]), max_fee: 9.into(), tip: 1.into() }
}

fn reserved(reservation: Reservation) -> Answer {
    match reservation {
        Reservation::Granted(held) => (Told::Granted(held.id()), Some(Hold::Reserved(held))),
        Reservation::Entitled(held, record) => {
            assert_eq!(held.id(), record.id);
            (Told::Entitled(held.id()), Some(Hold::Owed(held)))
        }
        Reservation::Refused(refusal) => (Told::Refused(refusal.reason), None),
    }
}

fn recalled(reservation: Option<Reservation>) -> Answer {
    reservation.map_or((Told::Unknown, None), reserved)
}

fn stored(stored: Stored) -> Answer {
    let told = match stored {
        Stored::Batch(batch) => Told::Stored(batch),
        Stored::Fenced => Told::Fenced,
        Stored::NonceTaken => Told::NonceTaken,
        Stored::Moved(id) => Told::Moved(id),
    };
    (told, None)
}

fn done_or_lost(outcome: Result<(), obol_ledger::Lost>) -> Answer {
    (outcome.map_or_else(|lost| Told::Lost(lost.0), |()| Told::Done), None)
}

const fn asked(id: PaymentId, asking: Asking) -> Answer {
    let told = match asking {
        Asking::Noted => Told::Done,
        Asking::Moved => Told::Moved(id),
    };
    (told, None)
}

const fn count(count: usize) -> Answer {
    (Told::Count(count), None)
}
