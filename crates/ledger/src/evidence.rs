//! What the chain shows about payments, applied to the ledger.

use crate::{
    BatchId, Delivery, Inclusion, Ledger, LedgerError, PaymentId, PaymentRecord, State, Timestamp,
    asking::is_out,
    batch::{FINAL, MINED, OPEN},
    journal::note_spending,
    op::Op,
    reserve::unhold,
    row::{blob, chain, chain_code, number_code, select_payments, word},
    sets::{due, entitled, included, moving, reserved},
    state::{Fail, Finalize, Forgo, Include, Orphan, OrphanOwed, OrphanUnsent, OrphanWaived, Redue, Release},
    txn::Txn,
};
use alloy_primitives::{B256, U256};
use obol_core::{ChainId, PaymentKey};
use rusqlite::params;
use std::time::Duration;

/// A mined transaction of ours and what its events show.
#[derive(Clone, Debug)]
pub struct MinedBatch {
    pub batch: BatchId,
    pub tx: B256,
    pub block: u64,
    pub block_hash: B256,
    /// In seconds since the Unix epoch.
    pub block_time: i64,
    /// What it has cost, in wei.
    pub cost: U256,
    pub paid: Vec<(PaymentId, Inclusion)>,
    /// In the transaction, but its events do not show their transfers.
    pub unpaid: Vec<PaymentId>,
    /// When the unpaid ones may be submitted again, the first time; each further time they wait
    /// fifteen times longer, but never beyond their own end.
    pub retry_after: Duration,
}

/// Recovery looks at this many payments in one commit, so that it never holds the writer long.
const RECOVERED_AT_ONCE: u32 = 500;

impl Ledger {
    /// A transaction of ours is in a block: each of its payments is on the chain or due again.
    pub async fn mined(&self, mined: MinedBatch) -> Result<(), LedgerError> {
        self.writer
            .write(Op::Include, move |txn| {
                txn.execute(
                    "UPDATE batches SET state = ?2, block = ?3, block_hash = ?4, tx = ?5 WHERE id = ?1",
                    params![
                        mined.batch.0,
                        MINED,
                        number_code(mined.block),
                        mined.block_hash.as_slice(),
                        mined.tx.as_slice()
                    ],
                )?;
                note_spending(txn, mined.batch.0, mined.cost, mined.block_time)?;
                for (id, inclusion) in &mined.paid {
                    include(txn, *id, *inclusion, "its transfer is in a block")?;
                }
                let cap = u32::try_from(mined.unpaid.len() + mined.paid.len()).unwrap_or(u32::MAX) / 2;
                let now = txn.now();
                for &id in &mined.unpaid {
                    let Some(record) = txn.payment(id)? else { continue };
                    if record.batch != Some(mined.batch) {
                        continue;
                    }
                    let _moved_meanwhile =
                        txn.follow::<Redue>(record, "mined without its transfer", |record| {
                            record.batch_cap = cap.max(1);
                            record.retry_at = after_miss(now, mined.retry_after, record);
                            record.misses = record.misses.saturating_add(1);
                        })?;
                }
                Ok(())
            })
            .await
    }

    /// The token's events show this payment's transfer, whoever sent it. Tells whether a
    /// payment of the ledger is meant.
    pub async fn include(
        &self,
        key: PaymentKey,
        inclusion: Inclusion,
        why: impl Into<String>,
    ) -> Result<Option<PaymentId>, LedgerError> {
        let why = why.into();
        self.writer
            .write(Op::Include, move |txn| {
                let Some(record) = txn.payment_by_key(&key)? else { return Ok(None) };
                let id = record.id;
                include(txn, id, inclusion, &why)?;
                Ok(Some(id))
            })
            .await
    }

    /// A mined batch's block is gone: its bytes are to be seen on the chain again. What a stranger
    /// settled of its payments stays where it is.
    pub async fn orphan_batch(&self, batch: BatchId) -> Result<(), LedgerError> {
        self.writer.write(Op::Orphan, move |txn| reopen(txn, batch)).await
    }

    /// The block of a transfer is gone that nobody has taken back with its batch: no batch of this
    /// ledger brought it there, or one of a settler that this process does not look after.
    pub async fn orphan(&self, id: PaymentId, block_hash: B256) -> Result<(), LedgerError> {
        self.writer
            .write(Op::Orphan, move |txn| {
                let Some(record) = txn.payment(id)? else { return Ok(()) };
                if record.inclusion.is_none_or(|inclusion| inclusion.block_hash != block_hash) {
                    return Ok(());
                }
                unpay(txn, record)
            })
            .await
    }

    /// Payments on the chain whose block is not final yet.
    pub async fn included(&self, chain: ChainId) -> Result<Vec<PaymentRecord>, LedgerError> {
        self.writer
            .write(Op::Read, move |txn| {
                txn.payments(
                    select_payments!(included!(), " AND ", moving!(), " AND chain = ?1 ORDER BY block, id"),
                    [chain_code(chain)],
                )
            })
            .await
    }

    /// These batches and payments are in final blocks; the caller has checked that the blocks
    /// are still on the chain. Tells how many payments became settled.
    pub async fn finalize(
        &self,
        batches: Vec<BatchId>,
        payments: Vec<(PaymentId, B256)>,
    ) -> Result<usize, LedgerError> {
        self.writer
            .write(Op::Finalize, move |txn| {
                for batch in batches {
                    txn.execute(
                        "UPDATE batches SET state = ?3 WHERE id = ?1 AND state = ?2",
                        params![batch.0, MINED, FINAL],
                    )?;
                }
                let mut settled = 0;
                for (id, block_hash) in payments {
                    let Some(record) = txn.payment(id)? else { continue };
                    let same = record.inclusion.is_some_and(|inclusion| inclusion.block_hash == block_hash);
                    if same && txn.follow::<Finalize>(record, "its block is final", |_| {})?.is_ok() {
                        settled += 1;
                    }
                }
                Ok(settled)
            })
            .await
    }

    /// A due payment cannot be submitted now. One that was never submitted and has not been
    /// delivered is released at once: nothing is owed for nothing.
    pub async fn defer(
        &self,
        id: PaymentId,
        why: impl Into<String>,
        retry_after: Duration,
    ) -> Result<(), LedgerError> {
        let why = why.into();
        self.writer
            .write(Op::Defer, move |txn| {
                let Some(record) = txn.payment(id)? else { return Ok(()) };
                if record.state() != State::Due {
                    return Ok(());
                }
                let note = |record: &mut PaymentRecord| record.reason = Some(why.clone());
                if record.batch.is_none() && record.delivery == Delivery::None {
                    let _moved_meanwhile = txn.follow::<Forgo>(record, &why, |record| {
                        note(record);
                        record.held_until = Timestamp(0);
                    })?;
                } else {
                    let retry_at = after_refusal(txn.now(), retry_after, &record);
                    txn.amend(record, &why, |record| {
                        note(record);
                        record.retry_at = retry_at;
                    })?;
                }
                Ok(())
            })
            .await
    }

    /// Final reads show that the payment was cancelled, or has expired without a transfer.
    pub async fn fail(&self, id: PaymentId, why: impl Into<String>) -> Result<(), LedgerError> {
        let why = why.into();
        self.writer
            .write(Op::Fail, move |txn| {
                let Some(record) = txn.payment(id)? else { return Ok(()) };
                let _moved_meanwhile = txn.follow::<Fail>(record, &why, |record| {
                    record.reason = Some(why.clone());
                })?;
                Ok(())
            })
            .await
    }

    /// Gives back what dead requests hold: reservations, and what is due for a response that
    /// never left and was never submitted. Tells how many payments it moved.
    pub async fn recover(&self) -> Result<usize, LedgerError> {
        self.writer
            .write(Op::Recover, move |txn| {
                let now = txn.now().0;
                let reserved = txn.payments(
                    select_payments!(reserved!(), " AND held_until <= ?1 LIMIT ?2"),
                    params![now, RECOVERED_AT_ONCE],
                )?;
                let due = txn.payments(
                    select_payments!(
                        due!(),
                        " AND ",
                        entitled!(),
                        " AND batch IS NULL AND held_until <= ?1 LIMIT ?2"
                    ),
                    params![now, RECOVERED_AT_ONCE],
                )?;
                let moved = reserved.len() + due.len();
                for record in reserved {
                    let _moved_meanwhile = txn.follow::<Release>(record, "the hold ran out", unhold)?;
                }
                for record in due {
                    let _moved_meanwhile =
                        txn.follow::<Forgo>(record, "never submitted, never delivered", unhold)?;
                }
                Ok(moved)
            })
            .await
    }

    /// The block up to which the token's events have been looked at.
    pub async fn scanned(&self, chain: ChainId) -> Result<Option<u64>, LedgerError> {
        self.writer
            .write(Op::Read, move |txn| {
                txn.one("SELECT block FROM scans WHERE chain = ?1", [chain_code(chain)], |row| {
                    crate::row::number(row.get(0)?)
                })
            })
            .await
    }

    /// Moves that mark; it may move back after a reorganisation.
    pub async fn set_scanned(&self, chain: ChainId, block: u64) -> Result<(), LedgerError> {
        self.writer
            .write(Op::Scan, move |txn| {
                txn.execute(
                    "INSERT INTO scans (chain, block) VALUES (?1, ?2) \
                     ON CONFLICT (chain) DO UPDATE SET block = ?2",
                    params![chain_code(chain), number_code(block)],
                )?;
                Ok(())
            })
            .await
    }
}

fn include(txn: &Txn<'_>, id: PaymentId, inclusion: Inclusion, why: &str) -> Result<(), LedgerError> {
    let Some(record) = txn.payment(id)? else { return Ok(()) };
    match record.state() {
        State::Settled => Ok(()),
        State::Included if record.inclusion == Some(inclusion) => Ok(()),
        State::Included => {
            txn.amend(record, "its transfer is in another block", |r| r.inclusion = Some(inclusion))?;
            Ok(())
        }
        _ => {
            let included = txn.follow::<Include>(record, why, |record| {
                record.inclusion = Some(inclusion);
                record.reason = None;
            })?;
            included.map(drop).map_err(|record| {
                LedgerError::Corrupt(format!("payment {} cannot be included from {}", id.0, record.state()))
            })
        }
    }
}

/// The batch's bytes are to be seen on the chain again, and its payments with them.
fn reopen(txn: &Txn<'_>, batch: BatchId) -> Result<(), LedgerError> {
    let Some(tx) = mined_in(txn, batch)? else { return Ok(()) };
    txn.execute(
        "UPDATE batches SET state = ?2, block = NULL, block_hash = NULL, tx = NULL WHERE id = ?1",
        params![batch.0, OPEN],
    )?;
    let ours = select_payments!("batch = ?1 AND ", included!(), " AND tx = ?2");
    for record in txn.payments(ours, params![batch.0, tx.as_slice()])? {
        let _moved_meanwhile = txn.follow::<Orphan>(record, "its block is gone", |r| r.inclusion = None)?;
    }
    Ok(())
}

/// The transaction of a batch that is in a block, and not in a final one.
fn mined_in(txn: &Txn<'_>, batch: BatchId) -> Result<Option<B256>, LedgerError> {
    txn.one("SELECT tx FROM batches WHERE id = ?1 AND state = ?2", params![batch.0, MINED], |row| {
        word(blob(row, 0)?)
    })
}

/// A stranger's transfer is gone. A payment that bytes of ours may pay, now or after their own
/// block is gone, is not given back.
fn unpay(txn: &Txn<'_>, record: PaymentRecord) -> Result<(), LedgerError> {
    if let (Some(batch), Some(at)) = (record.batch, record.inclusion)
        && mined_in(txn, batch)? == Some(at.tx)
    {
        return reopen(txn, batch);
    }
    let why = "the block of its transfer is gone";
    let forget = |record: &mut PaymentRecord| record.inclusion = None;
    if txn.was(record.id, State::Waived)? {
        let _moved_meanwhile = txn.follow::<OrphanWaived>(record, why, forget)?;
        return Ok(());
    }
    let batch = match record.batch {
        Some(batch) => {
            txn.one("SELECT state FROM batches WHERE id = ?1", [batch.0], |row| Ok(row.get::<_, i64>(0)?))?
        }
        None => None,
    };
    let _moved_meanwhile = match (batch, record.delivery) {
        (Some(OPEN), _) => txn.follow::<Orphan>(record, why, forget)?,
        // Who was asked has settled it, and may again.
        (None, _) if is_out(txn, record.id)? => txn.follow::<Orphan>(record, why, forget)?,
        (None, Delivery::None) => txn.follow::<OrphanUnsent>(record, why, forget)?,
        (Some(_), _) | (None, Delivery::Started | Delivery::Done) => {
            txn.follow::<OrphanOwed>(record, why, forget)?
        }
    };
    Ok(())
}

/// The longest pause of a payment that the token refuses, in milliseconds.
const LONGEST: i64 = 6 * 60 * 60 * 1_000;

/// The longer a payment has been refused, the longer it waits: an authorization may never end, and
/// each try costs an event and reads of the chain.
pub(crate) fn after_refusal(now: Timestamp, first: Duration, record: &PaymentRecord) -> Timestamp {
    let age = now.0.saturating_sub(record.created_at.0);
    let left = record.valid_before.saturating_mul(1_000).saturating_sub(now.0);
    let pause = (age / 4).min(left / 2).clamp(0, LONGEST);
    now.after(first).max(Timestamp(now.0.saturating_add(pause)))
}

/// A payer can let each attempt fail at the last moment, at the seller's cost of gas: growing
/// pauses bound how often that can be done before the authorization ends by itself.
fn after_miss(now: Timestamp, first: Duration, record: &PaymentRecord) -> Timestamp {
    let pause = first.saturating_mul(15u32.saturating_pow(record.misses));
    let end = record.valid_before.saturating_add(1).saturating_mul(1_000);
    now.after(pause).min(Timestamp(end)).max(now.after(first))
}

/// The chains that have payments in this ledger.
pub(crate) fn chains(txn: &Txn<'_>) -> Result<Vec<ChainId>, LedgerError> {
    txn.all("SELECT DISTINCT chain FROM payees", [], |row| Ok(chain(row.get(0)?)))
}
