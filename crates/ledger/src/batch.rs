//! Settler transactions: leased sender, nonces, stored bytes, attempts.

use crate::{
    BatchId, Ledger, LedgerError, PaymentId, PaymentRecord, State, Timestamp,
    op::Op,
    row::{account, amount, amount_code, blob, chain_code, number, number_code, select_payments, word},
    sets::{due, moving, sent, submitting},
    state::{Redue, Submit, Take},
    txn::Txn,
};
use alloy_primitives::{Address, B256, Bytes};
use obol_core::{Amount, ChainId, Deployment, SettlementCall};
use rusqlite::{Row, params};
use std::time::Duration;

/// A settler account on a chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Settler {
    pub chain: ChainId,
    pub account: Address,
}

/// The right to send for a settler. Fenced: whoever's epoch is not the stored one, or whose
/// time is over by the ledger's clock, cannot store, and what is not stored is not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    pub settler: Settler,
    pub epoch: i64,
}

/// Who may send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Leased {
    Mine(Lease),
    HeldBy { holder: String, until: Timestamp },
}

/// What a store of signed bytes came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stored {
    /// Durable: they may be broadcast.
    Batch(BatchId),
    /// The lease is another's by now.
    Fenced,
    /// The nonce has been given to another batch.
    NonceTaken,
    /// A payment is not due on this chain any more; build the batch again without it.
    Moved(PaymentId),
}

/// Signed bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewAttempt {
    pub hash: B256,
    pub raw: Bytes,
    /// Fee ceiling and tip per gas, in wei.
    pub max_fee: Amount,
    pub tip: Amount,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    pub number: i64,
    pub hash: B256,
    pub raw: Bytes,
    pub max_fee: Amount,
    pub tip: Amount,
    pub created_at: Timestamp,
    pub taken_at: Option<Timestamp>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BatchState {
    /// No attempt is in a block, as far as is known.
    Open,
    Mined {
        block: u64,
        block_hash: B256,
        tx: B256,
    },
}

/// A batch whose outcome is not final.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LiveBatch {
    pub id: BatchId,
    pub nonce: u64,
    pub state: BatchState,
    pub created_at: Timestamp,
    pub attempts: Vec<Attempt>,
    /// The payments that wait for it, or were included by it.
    pub payments: Vec<PaymentRecord>,
}

/// A payment that waits to be submitted, and what settles it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DuePayment {
    pub record: PaymentRecord,
    pub call: SettlementCall,
}

pub(crate) const OPEN: i64 = 0;
pub(crate) const MINED: i64 = 1;
pub(crate) const FINAL: i64 = 2;
pub(crate) const DEAD: i64 = 3;

impl Ledger {
    /// Takes or renews the right to send for a settler.
    pub async fn lease(&self, settler: Settler, ttl: Duration) -> Result<Leased, LedgerError> {
        let holder = self.holder.clone();
        self.writer.write(Op::Lease, move |txn| lease(txn, settler, holder, ttl)).await
    }

    /// The epoch of a settler's lease, if somebody has one at the moment. `ttl` is what leases last for.
    pub async fn epoch_in_force(&self, settler: Settler, ttl: Duration) -> Result<Option<i64>, LedgerError> {
        self.writer
            .write(Op::Read, move |txn| {
                let known = known_lease(txn, settler)?.filter(|known| known.is_in_force(txn.now(), ttl));
                Ok(known.map(|known| known.epoch))
            })
            .await
    }

    /// Gives the right back at a clean stop, so that the next process need not wait.
    pub async fn end_lease(&self, lease: Lease) -> Result<(), LedgerError> {
        self.writer
            .write(Op::Lease, move |txn| {
                txn.execute(
                    "UPDATE leases SET expires_at = 0 WHERE chain = ?1 AND settler = ?2 AND epoch = ?3",
                    params![chain_code(lease.settler.chain), lease.settler.account.as_slice(), lease.epoch],
                )?;
                Ok(())
            })
            .await
    }

    /// Payments whose time to be submitted has come, oldest first. One that was last changed in
    /// the future waits by a clock that was wrong, then or now: its time has come.
    pub async fn due(&self, chain: ChainId, limit: u32) -> Result<Vec<DuePayment>, LedgerError> {
        self.writer
            .write(Op::Read, move |txn| {
                let records = txn.payments(
                    select_payments!(
                        due!(),
                        " AND chain = ?1 AND (retry_at <= ?2 OR changed_at > ?2) ORDER BY retry_at, id LIMIT ?3"
                    ),
                    params![chain_code(chain), txn.now().0, limit],
                )?;
                records.into_iter().map(|record| with_call(txn, record)).collect()
            })
            .await
    }

    /// The nonce after the last one that the ledger gave out; none before the first batch.
    pub async fn next_nonce(&self, settler: Settler) -> Result<Option<u64>, LedgerError> {
        self.nonce_after(settler, OPEN).await
    }

    /// The nonce after the last one that a final block used; none before the first. A chain that
    /// expects a lower one is not the chain that the ledger knows.
    pub async fn final_nonce(&self, settler: Settler) -> Result<Option<u64>, LedgerError> {
        self.nonce_after(settler, FINAL).await
    }

    /// The nonce after the last batch whose state is this one or a later one.
    async fn nonce_after(&self, settler: Settler, state: i64) -> Result<Option<u64>, LedgerError> {
        self.writer
            .write(Op::Read, move |txn| {
                let last = txn.one(
                    "SELECT max(nonce) FROM batches WHERE chain = ?1 AND settler = ?2 AND state >= ?3",
                    params![chain_code(settler.chain), settler.account.as_slice(), state],
                    |row| Ok(row.get::<_, Option<i64>>(0)?),
                )?;
                last.flatten().map(|nonce| number(nonce).map(|n| n + 1)).transpose()
            })
            .await
    }

    /// Gives `nonce` to these payments and stores the signed bytes that pay them, in one
    /// transaction. With no payments the bytes only fill the nonce.
    pub async fn store_batch(
        &self,
        lease: Lease,
        nonce: u64,
        payments: Vec<PaymentId>,
        attempt: NewAttempt,
    ) -> Result<Stored, LedgerError> {
        let holder = self.holder.clone();
        self.writer
            .write(Op::StoreBatch, move |txn| {
                if !is_in_force(txn, lease, &holder)? {
                    return Ok(Stored::Fenced);
                }
                store_batch(txn, lease, nonce, &payments, &attempt)
            })
            .await
    }

    /// Stores a replacement of the same nonce.
    pub async fn store_attempt(
        &self,
        lease: Lease,
        batch: BatchId,
        attempt: NewAttempt,
    ) -> Result<Stored, LedgerError> {
        let holder = self.holder.clone();
        self.writer
            .write(Op::StoreAttempt, move |txn| {
                if !is_in_force(txn, lease, &holder)? {
                    return Ok(Stored::Fenced);
                }
                insert_attempt(txn, lease, batch, &attempt)?;
                Ok(Stored::Batch(batch))
            })
            .await
    }

    /// A node has taken an attempt's bytes.
    pub async fn taken(&self, batch: BatchId, hash: B256) -> Result<(), LedgerError> {
        self.writer
            .write(Op::Taken, move |txn| {
                txn.execute(
                    "UPDATE attempts SET taken_at = ?3 WHERE batch = ?1 AND hash = ?2 AND taken_at IS NULL",
                    params![batch.0, hash.as_slice(), txn.now().0],
                )?;
                for record in txn.payments(select_payments!("batch = ?1 AND ", submitting!()), [batch.0])? {
                    let _moved_meanwhile = txn.follow::<Take>(record, "a node took it", |_| {})?;
                }
                Ok(())
            })
            .await
    }

    /// Batches whose outcome is not final, in the order of their nonces.
    pub async fn live_batches(&self, settler: Settler) -> Result<Vec<LiveBatch>, LedgerError> {
        self.writer.write(Op::Read, move |txn| live_batches(txn, settler)).await
    }

    /// What a batch still has to settle: nothing when all its payments were settled otherwise.
    pub async fn batch_calls(&self, batch: BatchId) -> Result<Vec<SettlementCall>, LedgerError> {
        self.writer
            .write(Op::Read, move |txn| {
                txn.all(
                    concat!(
                        "SELECT asset, call, factory, factory_data FROM payments WHERE batch = ?1 AND ",
                        sent!(),
                        " ORDER BY id"
                    ),
                    [batch.0],
                    read_call,
                )
            })
            .await
    }

    /// No attempt of this batch can ever be mined: its nonce was used by something else. Nothing
    /// happens to one that is in a block by now.
    pub async fn bury(&self, batch: BatchId, why: impl Into<String>) -> Result<(), LedgerError> {
        let why = why.into();
        self.writer
            .write(Op::Bury, move |txn| {
                let buried = txn.execute(
                    "UPDATE batches SET state = ?2 WHERE id = ?1 AND state = ?3",
                    params![batch.0, DEAD, OPEN],
                )?;
                if buried == 0 {
                    return Ok(());
                }
                for record in txn.payments(select_payments!("batch = ?1 AND ", sent!()), [batch.0])? {
                    let _moved_meanwhile = txn.follow::<Redue>(record, &why, |_| {})?;
                }
                Ok(())
            })
            .await
    }
}

fn with_call(txn: &Txn<'_>, record: PaymentRecord) -> Result<DuePayment, LedgerError> {
    let call = txn.one(
        "SELECT asset, call, factory, factory_data FROM payments WHERE id = ?1",
        [record.id.0],
        read_call,
    )?;
    let call = call.ok_or_else(|| LedgerError::Corrupt(format!("payment {} has no call", record.id.0)))?;
    Ok(DuePayment { record, call })
}

fn read_call(row: &Row<'_>) -> Result<SettlementCall, LedgerError> {
    let bytes = |index| blob(row, index).map(Bytes::copy_from_slice);
    let deployment = match row.get::<_, Option<Vec<u8>>>(2)? {
        None => None,
        Some(factory) => Some(Deployment { factory: account(&factory)?, data: bytes(3)? }),
    };
    Ok(SettlementCall { token: account(blob(row, 0)?)?, data: bytes(1)?, deployment })
}

struct KnownLease {
    holder: String,
    epoch: i64,
    until: Timestamp,
}

impl KnownLease {
    /// A clock that was set back must not keep a dead holder's lease alive for longer than any lease
    /// can last.
    fn is_in_force(&self, now: Timestamp, ttl: Duration) -> bool {
        self.until > now && self.until <= now.after(ttl.saturating_mul(2))
    }
}

fn known_lease(txn: &Txn<'_>, settler: Settler) -> Result<Option<KnownLease>, LedgerError> {
    txn.one(
        "SELECT holder, epoch, expires_at FROM leases WHERE chain = ?1 AND settler = ?2",
        params![chain_code(settler.chain), settler.account.as_slice()],
        |row| Ok(KnownLease { holder: row.get(0)?, epoch: row.get(1)?, until: Timestamp(row.get(2)?) }),
    )
}

fn lease(txn: &Txn<'_>, settler: Settler, holder: String, ttl: Duration) -> Result<Leased, LedgerError> {
    let now = txn.now();
    let epoch = match known_lease(txn, settler)? {
        None => 1,
        Some(other) if other.holder != holder && other.is_in_force(now, ttl) => {
            return Ok(Leased::HeldBy { holder: other.holder, until: other.until });
        }
        Some(same) if same.holder == holder && same.until > now => same.epoch,
        Some(over) => over.epoch + 1,
    };
    txn.execute(
        "INSERT INTO leases (chain, settler, holder, epoch, expires_at) VALUES (?1, ?2, ?3, ?4, ?5) \
         ON CONFLICT (chain, settler) DO UPDATE SET holder = ?3, epoch = ?4, expires_at = ?5",
        params![chain_code(settler.chain), settler.account.as_slice(), holder, epoch, now.after(ttl).0],
    )?;
    Ok(Leased::Mine(Lease { settler, epoch }))
}

fn is_in_force(txn: &Txn<'_>, lease: Lease, holder: &str) -> Result<bool, LedgerError> {
    let found = txn.one(
        "SELECT 1 FROM leases WHERE chain = ?1 AND settler = ?2 AND holder = ?3 AND epoch = ?4 \
         AND expires_at > ?5",
        params![
            chain_code(lease.settler.chain),
            lease.settler.account.as_slice(),
            holder,
            lease.epoch,
            txn.now().0
        ],
        |_| Ok(()),
    )?;
    Ok(found.is_some())
}

fn store_batch(
    txn: &Txn<'_>,
    lease: Lease,
    nonce: u64,
    payments: &[PaymentId],
    attempt: &NewAttempt,
) -> Result<Stored, LedgerError> {
    let settler = lease.settler;
    let taken = txn.one(
        "SELECT 1 FROM batches WHERE chain = ?1 AND settler = ?2 AND nonce = ?3",
        params![chain_code(settler.chain), settler.account.as_slice(), number_code(nonce)],
        |_| Ok(()),
    )?;
    if taken.is_some() {
        return Ok(Stored::NonceTaken);
    }
    let mut records = Vec::with_capacity(payments.len());
    for &id in payments {
        match txn.payment(id)? {
            Some(record) if record.state() == State::Due && record.key.chain == settler.chain => {
                records.push(record);
            }
            _ => return Ok(Stored::Moved(id)),
        }
    }
    txn.execute(
        "INSERT INTO batches (chain, settler, nonce, state, created_at) VALUES (?1, ?2, ?3, ?4, ?5)",
        params![chain_code(settler.chain), settler.account.as_slice(), number_code(nonce), OPEN, txn.now().0],
    )?;
    let batch = BatchId(txn.last_insert());
    insert_attempt(txn, lease, batch, attempt)?;
    let why = format!("nonce {nonce} in transaction {}", attempt.hash);
    for record in records {
        let id = record.id;
        let submitted = txn.follow::<Submit>(record, &why, |record| {
            record.batch = Some(batch);
            record.reason = None;
        })?;
        if submitted.is_err() {
            return Err(LedgerError::Corrupt(format!("payment {} moved under a write lock", id.0)));
        }
    }
    Ok(Stored::Batch(batch))
}

fn insert_attempt(
    txn: &Txn<'_>,
    lease: Lease,
    batch: BatchId,
    attempt: &NewAttempt,
) -> Result<(), LedgerError> {
    txn.execute(
        "INSERT INTO attempts (batch, attempt, epoch, hash, raw, max_fee, tip, created_at) \
         SELECT ?1, 1 + coalesce(max(attempt), 0), ?2, ?3, ?4, ?5, ?6, ?7 FROM attempts WHERE batch = ?1",
        params![
            batch.0,
            lease.epoch,
            attempt.hash.as_slice(),
            &attempt.raw[..],
            amount_code(attempt.max_fee),
            amount_code(attempt.tip),
            txn.now().0
        ],
    )?;
    Ok(())
}

/// Asked many times a second. Left to itself SQLite takes the index that is sorted by nonce, and
/// with it every batch that there ever was.
const LIVE: &str = "SELECT id, nonce, state, block, block_hash, tx, created_at \
                    FROM batches INDEXED BY live_batches \
                    WHERE chain = ?1 AND settler = ?2 AND state IN (0, 1) ORDER BY nonce";

fn live_batches(txn: &Txn<'_>, settler: Settler) -> Result<Vec<LiveBatch>, LedgerError> {
    let heads = txn.all(LIVE, params![chain_code(settler.chain), settler.account.as_slice()], |row| {
        let state = match row.get::<_, i64>(2)? {
            OPEN => BatchState::Open,
            _ => BatchState::Mined {
                block: number(row.get(3)?)?,
                block_hash: word(blob(row, 4)?)?,
                tx: word(blob(row, 5)?)?,
            },
        };
        Ok((BatchId(row.get(0)?), number(row.get(1)?)?, state, Timestamp(row.get(6)?)))
    })?;
    heads
        .into_iter()
        .map(|(id, nonce, state, created_at)| {
            let attempts = txn.all(
                "SELECT attempt, hash, raw, max_fee, tip, created_at, taken_at FROM attempts \
                 WHERE batch = ?1 ORDER BY attempt",
                [id.0],
                |row| {
                    Ok(Attempt {
                        number: row.get(0)?,
                        hash: word(blob(row, 1)?)?,
                        raw: Bytes::copy_from_slice(blob(row, 2)?),
                        max_fee: amount(blob(row, 3)?)?,
                        tip: amount(blob(row, 4)?)?,
                        created_at: Timestamp(row.get(5)?),
                        taken_at: row.get::<_, Option<i64>>(6)?.map(Timestamp),
                    })
                },
            )?;
            let payments =
                txn.payments(select_payments!("batch = ?1 AND ", moving!(), " ORDER BY id"), [id.0])?;
            Ok(LiveBatch { id, nonce, state, created_at, attempts, payments })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn live_batches_are_found_without_those_that_are_final() {
        let db = crate::schema::open(&crate::Place::Memory).expect("a ledger");
        let plan: String = db
            .query_row(&format!("EXPLAIN QUERY PLAN {LIVE}"), params![1, [0u8; 20]], |row| row.get("detail"))
            .expect("a plan");
        assert_eq!(plan, "SEARCH batches USING INDEX live_batches (chain=? AND settler=?)");
    }
}
