//! Payments that a facilitator of others settles: what it is asked, and what it says.
//!
//! A question is stored with its payment, and put to one facilitator for good: whoever has seen the
//! authorization may settle it, whatever it answers.

use crate::{
    Delivery, Ledger, LedgerError, PaymentId, PaymentRecord, State, Timestamp,
    evidence::after_refusal,
    op::Op,
    sets::{claimed, due, sent},
    state::{Claim, Decline, Redue, Submit, Take},
    txn::{Txn, blob, chain_code, select_payments},
};
use alloy_primitives::{B256, Bytes};
use obol_core::ChainId;
use rusqlite::params;
use std::time::Duration;

/// What a facilitator is asked to settle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    pub record: PaymentRecord,
    /// The body of the request, byte by byte the same each time.
    pub body: Bytes,
    /// The only one whom it may be put to, once it was put to one.
    pub facilitator: Option<String>,
}

/// Whether a question may be put now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asking {
    /// Durable: from here on the payment may be settled at any time.
    Noted,
    /// The payment is not due any more, or its question was put to another facilitator.
    Moved,
}

/// Of a query whose first parameter is the chain: payments that have a question. One that a
/// transaction of ours was signed for is for who signs.
macro_rules! asked_on_chain {
    () => {
        " AND batch IS NULL AND chain = ?1 AND EXISTS (SELECT 1 FROM questions WHERE payment = payments.id)"
    };
}

impl Ledger {
    /// Questions of due payments whose time has come, oldest first.
    pub async fn due_questions(&self, chain: ChainId, limit: u32) -> Result<Vec<Question>, LedgerError> {
        self.writer
            .write(Op::Read, move |txn| {
                let records = txn.payments(
                    select_payments!(
                        due!(),
                        asked_on_chain!(),
                        " AND (retry_at <= ?2 OR changed_at > ?2) ORDER BY retry_at, id LIMIT ?3"
                    ),
                    params![chain_code(chain), txn.now().0, limit],
                )?;
                with_questions(txn, records)
            })
            .await
    }

    /// A page of the questions that were put, or were about to be, and whose payments are not known to
    /// be on the chain; those after `after`, in the order in which their payments came.
    pub async fn open_questions(
        &self,
        chain: ChainId,
        after: PaymentId,
        limit: u32,
    ) -> Result<Vec<Question>, LedgerError> {
        self.writer
            .write(Op::Read, move |txn| {
                let records = txn.payments(
                    select_payments!(sent!(), asked_on_chain!(), " AND id > ?2 ORDER BY id LIMIT ?3"),
                    params![chain_code(chain), after.0, limit],
                )?;
                with_questions(txn, records)
            })
            .await
    }

    /// A page of the payments that facilitators say are on the chain, and that nobody has seen there.
    pub async fn claims(
        &self,
        chain: ChainId,
        after: PaymentId,
        limit: u32,
    ) -> Result<Vec<PaymentRecord>, LedgerError> {
        self.writer
            .write(Op::Read, move |txn| {
                txn.payments(
                    select_payments!(claimed!(), " AND chain = ?1 AND id > ?2 ORDER BY id LIMIT ?3"),
                    params![chain_code(chain), after.0, limit],
                )
            })
            .await
    }

    /// The due payment's question is about to be put to this facilitator.
    pub async fn ask(&self, id: PaymentId, facilitator: String) -> Result<Asking, LedgerError> {
        self.writer
            .write(Op::Ask, move |txn| {
                let due = |record: &PaymentRecord| record.state() == State::Due && record.batch.is_none();
                let Some(record) = txn.payment(id)?.filter(due) else { return Ok(Asking::Moved) };
                let pinned = txn.execute(
                    "UPDATE questions SET facilitator = ?2 \
                     WHERE payment = ?1 AND (facilitator IS NULL OR facilitator = ?2)",
                    params![id.0, facilitator],
                )?;
                if pinned == 0 {
                    return Ok(Asking::Moved);
                }
                let why = format!("asking {facilitator}");
                Ok(match txn.follow::<Submit>(record, &why, |record| record.reason = None)? {
                    Ok(_) => Asking::Noted,
                    Err(_) => Asking::Moved,
                })
            })
            .await
    }

    /// The facilitator says that a transaction is out, or even in a block, which is still to be seen.
    pub async fn promised(&self, id: PaymentId, transaction: Option<B256>) -> Result<(), LedgerError> {
        self.writer
            .write(Op::Promise, move |txn| {
                let Some(record) = asked(txn, id)? else { return Ok(()) };
                let note = |record: &mut PaymentRecord| record.claim = transaction.or(record.claim);
                match txn.follow::<Take>(record, "the facilitator says that it is out", note)? {
                    Ok(_) => {}
                    Err(record) if record.state() == State::Submitted && record.claim != transaction => {
                        txn.amend(record, "the facilitator names another transaction", note)?;
                    }
                    Err(_moved_meanwhile) => {}
                }
                Ok(())
            })
            .await
    }

    /// The facilitator says that it is settled, and there is no endpoint to check that by.
    pub async fn claimed(&self, id: PaymentId, transaction: B256) -> Result<(), LedgerError> {
        self.writer
            .write(Op::Claim, move |txn| {
                let Some(record) = asked(txn, id)? else { return Ok(()) };
                let why = "the facilitator says that it is settled; there is no endpoint to check it by";
                let _moved_meanwhile = txn.follow::<Claim>(record, why, |record| {
                    record.claim = Some(transaction);
                    record.reason = None;
                })?;
                Ok(())
            })
            .await
    }

    /// The facilitator refused when it was first asked. What was not delivered is released; what was
    /// is due again later.
    pub async fn declined(
        &self,
        id: PaymentId,
        why: impl Into<String>,
        retry_after: Duration,
    ) -> Result<(), LedgerError> {
        let why = why.into();
        self.writer
            .write(Op::Decline, move |txn| {
                let Some(record) = asked(txn, id)? else { return Ok(()) };
                let retry_at = after_refusal(txn.now(), retry_after, &record);
                let note = |record: &mut PaymentRecord| record.reason = Some(why.clone());
                let _moved_meanwhile = match record.delivery {
                    Delivery::None => txn.follow::<Decline>(record, &why, |record| {
                        note(record);
                        record.held_until = Timestamp(0);
                    })?,
                    Delivery::Started | Delivery::Done => txn.follow::<Redue>(record, &why, |record| {
                        note(record);
                        record.retry_at = retry_at;
                    })?,
                };
                Ok(())
            })
            .await
    }
}

fn with_questions(txn: &Txn<'_>, records: Vec<PaymentRecord>) -> Result<Vec<Question>, LedgerError> {
    let mut questions = Vec::with_capacity(records.len());
    for record in records {
        let asked =
            txn.one("SELECT body, facilitator FROM questions WHERE payment = ?1", [record.id.0], |row| {
                Ok((Bytes::copy_from_slice(blob(row, 0)?), row.get(1)?))
            })?;
        let (body, facilitator) =
            asked.ok_or_else(|| LedgerError::Corrupt(format!("payment {} has no question", record.id.0)))?;
        questions.push(Question { record, body, facilitator });
    }
    Ok(questions)
}

/// The payment, if a facilitator was asked about it and nobody else settles it.
fn asked(txn: &Txn<'_>, id: PaymentId) -> Result<Option<PaymentRecord>, LedgerError> {
    let asked = "SELECT 1 FROM questions WHERE payment = ?1 AND facilitator IS NOT NULL";
    let asked = txn.one(asked, [id.0], |_| Ok(()))?.is_some();
    Ok(txn.payment(id)?.filter(|record| asked && record.batch.is_none()))
}
