//! Payments that a facilitator of others settles: what it is asked, and what it says.
//!
//! A question is stored with its payment, and put to one facilitator until that has plainly refused:
//! whoever has seen the authorization may settle it, whatever it answers.

use crate::{
    Delivery, Ledger, LedgerError, PaymentId, PaymentRecord, State, Timestamp, UNKNOWN_BLOCK,
    evidence::after_refusal,
    op::Op,
    row::{blob, chain_code, select_payments},
    sets::{claimed, due, sent},
    state::{Claim, Decline, Doubt, Redue, Submit, Take},
    txn::Txn,
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

/// Whether a step of a question was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asking {
    /// It is durable.
    Noted,
    /// It was not for this caller: the payment has moved, or the question was put by another process
    /// or to another facilitator.
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

    /// The payments whose questions were put, or were about to be, and that are not known to be on the
    /// chain.
    pub async fn open_questions(&self, chain: ChainId) -> Result<Vec<PaymentId>, LedgerError> {
        self.writer
            .write(Op::Read, move |txn| {
                let sql =
                    concat!("SELECT id FROM payments WHERE ", sent!(), asked_on_chain!(), " ORDER BY id");
                txn.all(sql, [chain_code(chain)], |row| Ok(PaymentId(row.get(0)?)))
            })
            .await
    }

    /// The question of one of them.
    pub async fn question(&self, id: PaymentId) -> Result<Option<Question>, LedgerError> {
        self.writer
            .write(Op::Read, move |txn| {
                let sent =
                    |record: &PaymentRecord| matches!(record.state(), State::Submitting | State::Submitted);
                let record = asked(txn, id)?.filter(sent);
                Ok(with_questions(txn, record.into_iter().collect())?.pop())
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
                    "UPDATE questions SET facilitator = ?2, puts = puts + 1 \
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

    /// The question is about to be put once more: from here on a refusal says nothing, whichever of the
    /// two it is about.
    pub async fn ask_again(&self, id: PaymentId) -> Result<Asking, LedgerError> {
        self.writer
            .write(Op::Ask, move |txn| {
                let sent =
                    |record: &PaymentRecord| matches!(record.state(), State::Submitting | State::Submitted);
                if asked(txn, id)?.is_none_or(|record| !sent(&record)) {
                    return Ok(Asking::Moved);
                }
                txn.execute("UPDATE questions SET puts = puts + 1 WHERE payment = ?1", [id.0])?;
                Ok(Asking::Noted)
            })
            .await
    }

    /// The facilitator says that a transaction is out, or even in a block, which is still to be seen.
    pub async fn promised(&self, id: PaymentId, transaction: Option<B256>) -> Result<(), LedgerError> {
        self.writer
            .write(Op::Promise, move |txn| match asked(txn, id)? {
                Some(record) => promise(txn, record, transaction, "the facilitator says that it is out"),
                None => Ok(()),
            })
            .await
    }

    /// The facilitator says that it is settled, and there is no endpoint to check that by. A payment
    /// that was verified by one has to be seen by one: of it this is a promise.
    pub async fn claimed(&self, id: PaymentId, transaction: B256) -> Result<(), LedgerError> {
        self.writer
            .write(Op::Claim, move |txn| {
                let Some(record) = asked(txn, id)? else { return Ok(()) };
                if record.has_to_be_seen() {
                    let why = "the facilitator says that it is settled";
                    return promise(txn, record, Some(transaction), why);
                }
                let why = "the facilitator says that it is settled; there is no endpoint to check it by";
                let _moved_meanwhile = txn.follow::<Claim>(record, why, |record| {
                    record.claim = Some(transaction);
                    record.reason = None;
                })?;
                Ok(())
            })
            .await
    }

    /// The nonce of what was claimed is unused: it is to be asked for again, and from now on to be seen,
    /// in whatever block it may be.
    pub async fn doubt(&self, id: PaymentId) -> Result<(), LedgerError> {
        self.writer
            .write(Op::Claim, move |txn| {
                let Some(record) = txn.payment(id)? else { return Ok(()) };
                let why = "the facilitator says that it is settled, and its authorization is unused";
                let _moved_meanwhile = txn.follow::<Doubt>(record, why, |record| {
                    record.verified_block = record.verified_block.max(UNKNOWN_BLOCK);
                })?;
                Ok(())
            })
            .await
    }

    /// The facilitator refused when it was first asked, and nobody has asked again. What was not
    /// delivered is released; what was is due again later. Either may be put to another one.
    pub async fn declined(
        &self,
        id: PaymentId,
        why: impl Into<String>,
        retry_after: Duration,
    ) -> Result<Asking, LedgerError> {
        let why = why.into();
        self.writer
            .write(Op::Decline, move |txn| {
                let Some(record) = asked(txn, id)? else { return Ok(Asking::Moved) };
                if puts(txn, id)? != 1 {
                    return Ok(Asking::Moved);
                }
                let retry_at = after_refusal(txn.now(), retry_after, &record);
                let note = |record: &mut PaymentRecord| record.reason = Some(why.clone());
                let followed = match record.delivery {
                    Delivery::None => txn.follow::<Decline>(record, &why, |record| {
                        note(record);
                        record.held_until = Timestamp(0);
                    })?,
                    Delivery::Started | Delivery::Done => txn.follow::<Redue>(record, &why, |record| {
                        note(record);
                        record.retry_at = retry_at;
                    })?,
                };
                if followed.is_err() {
                    return Ok(Asking::Moved);
                }
                let free = "UPDATE questions SET facilitator = NULL, puts = 0 WHERE payment = ?1";
                txn.execute(free, [id.0])?;
                Ok(Asking::Noted)
            })
            .await
    }
}

fn promise(
    txn: &Txn<'_>,
    record: PaymentRecord,
    transaction: Option<B256>,
    why: &str,
) -> Result<(), LedgerError> {
    let note = |record: &mut PaymentRecord| record.claim = transaction.or(record.claim);
    match txn.follow::<Take>(record, why, note)? {
        Ok(_) => {}
        Err(record)
            if record.state() == State::Submitted && transaction.is_some() && record.claim != transaction =>
        {
            txn.amend(record, "the facilitator names another transaction", note)?;
        }
        Err(_moved_meanwhile) => {}
    }
    Ok(())
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

/// How often the question was put since nobody was asked.
fn puts(txn: &Txn<'_>, id: PaymentId) -> Result<i64, LedgerError> {
    let puts = txn.one("SELECT puts FROM questions WHERE payment = ?1", [id.0], |row| Ok(row.get(0)?))?;
    Ok(puts.unwrap_or(0))
}

/// Whether a facilitator is shown the payment.
pub(crate) fn has_question(txn: &Txn<'_>, id: PaymentId) -> Result<bool, LedgerError> {
    Ok(txn.one("SELECT 1 FROM questions WHERE payment = ?1", [id.0], |_| Ok(()))?.is_some())
}

/// Whether a facilitator has the question, and may settle the payment at any time.
pub(crate) fn is_out(txn: &Txn<'_>, id: PaymentId) -> Result<bool, LedgerError> {
    Ok(puts(txn, id)? > 0)
}

/// The payment, if a facilitator was asked about it and nobody else settles it.
fn asked(txn: &Txn<'_>, id: PaymentId) -> Result<Option<PaymentRecord>, LedgerError> {
    let asked = is_out(txn, id)?;
    Ok(txn.payment(id)?.filter(|record| asked && record.batch.is_none()))
}
