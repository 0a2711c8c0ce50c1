//! The journal of what was earned and spent: rows in the order in which it came to be known, from
//! which exact sums over any window can be kept up to date.

use crate::{
    Charged, Ledger, LedgerError, PaymentRecord, State,
    op::Op,
    row::{account, amount, blob, chain},
    txn::Txn,
};
use alloy_primitives::{Address, U256};
use obol_core::{Amount, ChainId, OfferId};
use rusqlite::{Row, params};
use std::time::Duration;

/// What a row says of its payment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Its transfer is in a block for the first time: counted once, whatever becomes of the block.
    First = 0,
    Reversed = 1,
    Again = 2,
}

/// Of one offer, in one asset: what sums are kept by.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Position {
    pub offer: OfferId,
    pub chain: ChainId,
    pub asset: Address,
}

/// A row of the journal.
#[derive(Clone, Debug)]
pub(crate) struct ChargeRow {
    pub(crate) seq: i64,
    pub(crate) position: Position,
    pub(crate) kind: Kind,
    pub(crate) amount: Amount,
    pub(crate) payment: i64,
    /// Of the block, or of the reversal's discovery; in seconds since the Unix epoch.
    pub(crate) at: i64,
    /// Of its first block: when it counts.
    pub(crate) first: i64,
}

/// A row of what facilitators say.
#[derive(Clone, Debug)]
pub(crate) struct ClaimRow {
    pub(crate) seq: i64,
    pub(crate) position: Position,
    /// Whether it is claimed from here on, or no more.
    pub(crate) stands: bool,
    pub(crate) amount: Amount,
    /// Of the claim, also where it is one no more; in seconds since the Unix epoch.
    pub(crate) at: i64,
}

/// What a transaction of ours has cost.
#[derive(Clone, Debug)]
pub(crate) struct SpendingRow {
    pub(crate) seq: i64,
    pub(crate) settler: (ChainId, Address),
    pub(crate) wei: U256,
    pub(crate) at: i64,
}

/// What a change of state that was just written means for what was earned, if anything: the journal has
/// its row by now.
pub(crate) fn charged(
    txn: &Txn<'_>,
    record: &PaymentRecord,
    from: State,
) -> Result<Option<Charged>, LedgerError> {
    if from.is_paid() == record.state().is_paid() {
        return Ok(None);
    }
    if record.state().is_paid() && record.inclusion.is_none() {
        let why = format!("payment {} is paid, and nowhere on the chain", record.id.0);
        return Err(LedgerError::Corrupt(why));
    }
    let row = "SELECT kind FROM charges WHERE seq = (SELECT max(seq) FROM charges) AND payment = ?1";
    let row = txn.one(row, [record.id.0], |row| kind(row.get(0)?))?;
    let row = row.ok_or_else(|| {
        LedgerError::Corrupt(format!("the journal does not have what became of payment {}", record.id.0))
    })?;
    Ok(Some(match row {
        Kind::First => Charged::First { owed_for: owed_for(txn, record)? },
        Kind::Reversed => Charged::Reversed,
        Kind::Again => Charged::Again,
    }))
}

fn owed_for(txn: &Txn<'_>, record: &PaymentRecord) -> Result<Option<Duration>, LedgerError> {
    let sql = "SELECT at FROM events WHERE payment = ?1 AND state_to = ?2 ORDER BY revision DESC LIMIT 1";
    let since = txn.one(sql, params![record.id.0, State::Due.code()], |row| Ok(row.get::<_, i64>(0)?))?;
    // By a clock that went back it cannot be told.
    let millis = since.and_then(|since| u64::try_from(txn.now().0 - since).ok());
    Ok(millis.map(Duration::from_millis))
}

/// A transaction of ours is in a block, and has cost this. What it costs in another block, after a
/// reorganisation, is much the same, and not counted: the sum is for a rate, not for the books.
pub(crate) fn note_spending(txn: &Txn<'_>, batch: i64, wei: U256, at: i64) -> Result<(), LedgerError> {
    txn.execute(
        "INSERT INTO spendings (batch, wei, at) SELECT id, ?2, ?3 FROM batches WHERE id = ?1 ON CONFLICT DO NOTHING",
        params![batch, wei.to_be_bytes::<32>(), at],
    )?;
    Ok(())
}

fn kind(code: i64) -> Result<Kind, LedgerError> {
    [Kind::First, Kind::Reversed, Kind::Again]
        .into_iter()
        .find(|kind| *kind as i64 == code)
        .ok_or_else(|| LedgerError::Corrupt(format!("a charge of kind {code}")))
}

/// Which rows of the journal were read, the last of each kind.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Seen {
    pub(crate) charges: i64,
    pub(crate) claims: i64,
    pub(crate) spendings: i64,
}

/// Rows that were read at one moment.
#[derive(Debug)]
pub(crate) struct Rows {
    pub(crate) charges: Vec<ChargeRow>,
    pub(crate) claims: Vec<ClaimRow>,
    pub(crate) spendings: Vec<SpendingRow>,
}

impl Ledger {
    /// The journal after these rows, so many of each kind at most.
    pub(crate) async fn journal(&self, after: Seen, limit: u32) -> Result<Rows, LedgerError> {
        self.writer
            .write(Op::Read, move |txn| {
                Ok(Rows {
                    charges: txn.all(CHARGES, params![after.charges, limit], |row| {
                        Ok(ChargeRow {
                            seq: row.get(0)?,
                            position: position(row)?,
                            amount: amount(blob(row, 5)?)?,
                            kind: kind(row.get(6)?)?,
                            at: row.get(7)?,
                            payment: row.get(8)?,
                            first: row.get(9)?,
                        })
                    })?,
                    claims: txn.all(CLAIMS, params![after.claims, limit], |row| {
                        Ok(ClaimRow {
                            seq: row.get(0)?,
                            position: position(row)?,
                            amount: amount(blob(row, 5)?)?,
                            stands: row.get(6)?,
                            at: row.get(7)?,
                        })
                    })?,
                    spendings: txn.all(SPENDINGS, params![after.spendings, limit], |row| {
                        Ok(SpendingRow {
                            seq: row.get(0)?,
                            settler: (chain(row.get(1)?), account(blob(row, 2)?)?),
                            wei: amount(blob(row, 3)?)?.atomic(),
                            at: row.get(4)?,
                        })
                    })?,
                })
            })
            .await
    }
}

const CHARGES: &str = "SELECT c.seq, p.offer_namespace, p.offer_name, p.chain, p.asset, p.amount, c.kind, c.at, c.payment, \
     CASE c.kind WHEN 0 THEN c.at ELSE (SELECT at FROM charges WHERE payment = c.payment AND kind = 0) END \
     FROM charges c JOIN payments p ON p.id = c.payment WHERE c.seq > ?1 ORDER BY c.seq LIMIT ?2";
const CLAIMS: &str = "SELECT c.seq, p.offer_namespace, p.offer_name, p.chain, p.asset, p.amount, c.stands, c.at \
     FROM claims c JOIN payments p ON p.id = c.payment WHERE c.seq > ?1 ORDER BY c.seq LIMIT ?2";
const SPENDINGS: &str = "SELECT s.seq, b.chain, b.settler, s.wei, s.at \
     FROM spendings s JOIN batches b ON b.id = s.batch WHERE s.seq > ?1 ORDER BY s.seq LIMIT ?2";

/// After the row's number.
fn position(row: &Row<'_>) -> Result<Position, LedgerError> {
    Ok(Position {
        offer: OfferId { namespace: row.get(1)?, name: row.get(2)? },
        chain: chain(row.get(3)?),
        asset: account(blob(row, 4)?)?,
    })
}
