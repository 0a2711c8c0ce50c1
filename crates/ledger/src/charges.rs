//! The journal of what was earned and spent: rows in the order in which it came to be known, from
//! which exact sums over any window can be kept up to date.

use crate::{
    Charged, Ledger, LedgerError, PaymentRecord, State, Timestamp,
    op::Op,
    row::{account, amount, blob, chain, number},
    sets::{lost, owed},
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
pub(crate) struct Charge {
    pub(crate) seq: i64,
    pub(crate) position: Position,
    pub(crate) kind: Kind,
    pub(crate) amount: Amount,
    /// Of the block, or of the reversal's discovery; in seconds since the Unix epoch.
    pub(crate) at: i64,
}

/// A row of what facilitators say.
#[derive(Clone, Debug)]
pub(crate) struct Claim {
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
pub(crate) struct Spending {
    pub(crate) seq: i64,
    pub(crate) settler: (ChainId, Address),
    pub(crate) wei: U256,
    pub(crate) at: i64,
}

/// Delivered, and not on the chain: not yet, or never.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unsettled {
    pub position: Position,
    pub payments: u64,
    pub amount: Amount,
    /// When the first of them was taken.
    pub oldest: Timestamp,
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

/// After the row's number.
fn position(row: &Row<'_>) -> Result<Position, LedgerError> {
    Ok(Position {
        offer: OfferId { namespace: row.get(1)?, name: row.get(2)? },
        chain: chain(row.get(3)?),
        asset: account(blob(row, 4)?)?,
    })
}

impl Ledger {
    /// A page of the journal, after this row.
    pub(crate) async fn charges(&self, after: i64, limit: u32) -> Result<Vec<Charge>, LedgerError> {
        self.writer
            .write(Op::Read, move |txn| {
                txn.all(
                    "SELECT c.seq, p.offer_namespace, p.offer_name, p.chain, p.asset, p.amount, c.kind, c.at \
                     FROM charges c JOIN payments p ON p.id = c.payment WHERE c.seq > ?1 ORDER BY c.seq LIMIT ?2",
                    params![after, limit],
                    |row| {
                        Ok(Charge {
                            seq: row.get(0)?,
                            position: position(row)?,
                            amount: amount(blob(row, 5)?)?,
                            kind: kind(row.get(6)?)?,
                            at: row.get(7)?,
                        })
                    },
                )
            })
            .await
    }

    /// A page of what facilitators say, after this row.
    pub(crate) async fn claim_rows(&self, after: i64, limit: u32) -> Result<Vec<Claim>, LedgerError> {
        self.writer
            .write(Op::Read, move |txn| {
                txn.all(
                    "SELECT c.seq, p.offer_namespace, p.offer_name, p.chain, p.asset, p.amount, c.stands, c.at \
                     FROM claims c JOIN payments p ON p.id = c.payment WHERE c.seq > ?1 ORDER BY c.seq LIMIT ?2",
                    params![after, limit],
                    |row| {
                        Ok(Claim {
                            seq: row.get(0)?,
                            position: position(row)?,
                            amount: amount(blob(row, 5)?)?,
                            stands: row.get(6)?,
                            at: row.get(7)?,
                        })
                    },
                )
            })
            .await
    }

    /// A page of what our transactions have cost, after this row.
    pub(crate) async fn spendings(&self, after: i64, limit: u32) -> Result<Vec<Spending>, LedgerError> {
        self.writer
            .write(Op::Read, move |txn| {
                txn.all(
                    "SELECT s.seq, b.chain, b.settler, s.wei, s.at FROM spendings s JOIN batches b ON b.id = s.batch \
                     WHERE s.seq > ?1 ORDER BY s.seq LIMIT ?2",
                    params![after, limit],
                    |row| {
                        Ok(Spending {
                            seq: row.get(0)?,
                            settler: (chain(row.get(1)?), account(blob(row, 2)?)?),
                            wei: amount(blob(row, 3)?)?.atomic(),
                            at: row.get(4)?,
                        })
                    },
                )
            })
            .await
    }

    /// What is delivered and not on the chain, by offer and asset.
    pub async fn exposure(&self) -> Result<Vec<Unsettled>, LedgerError> {
        self.writer.write(Op::Read, |txn| unsettled(txn, EXPOSED)).await
    }

    /// What was delivered and will never be paid, by offer and asset.
    pub async fn losses(&self) -> Result<Vec<Unsettled>, LedgerError> {
        self.writer.write(Op::Read, |txn| unsettled(txn, LOST)).await
    }
}

// Each in the order of an index that holds no other payment: as many rows come back as there are prices,
// and of losses for each payer. What is open is read at each scrape while much may be: its index holds
// all that is asked.
const EXPOSED: &str = concat!(
    "SELECT offer_namespace, offer_name, chain, asset, amount, count(*), min(created_at) FROM payments \
     INDEXED BY exposed_by_offer WHERE delivery <> 0 AND ",
    owed!(),
    " GROUP BY offer_namespace, offer_name, asset, chain, amount"
);
const LOST: &str = concat!(
    "SELECT offer_namespace, offer_name, chain, asset, amount, count(*), min(created_at) FROM payments \
     INDEXED BY lost_by_offer WHERE ",
    lost!(),
    " GROUP BY offer_namespace, offer_name, asset, chain, payer, amount"
);

fn unsettled(txn: &Txn<'_>, sql: &str) -> Result<Vec<Unsettled>, LedgerError> {
    let rows = txn.all(sql, [], |row| {
        let position = Position {
            offer: OfferId { namespace: row.get(0)?, name: row.get(1)? },
            chain: chain(row.get(2)?),
            asset: account(blob(row, 3)?)?,
        };
        let (payments, oldest) = (number(row.get(5)?)?, Timestamp(row.get(6)?));
        let each = amount(blob(row, 4)?)?.atomic();
        let amount = each.checked_mul(U256::from(payments)).map(Amount::from_atomic).ok_or_else(too_much)?;
        Ok(Unsettled { position, payments, amount, oldest })
    })?;
    let mut lines: Vec<Unsettled> = Vec::new();
    for row in rows {
        match lines.last_mut().filter(|line| line.position == row.position) {
            Some(line) => {
                line.payments += row.payments;
                line.amount = line.amount.checked_add(row.amount).ok_or_else(too_much)?;
                line.oldest = line.oldest.min(row.oldest);
            }
            None => lines.push(row),
        }
    }
    Ok(lines)
}

fn too_much() -> LedgerError {
    LedgerError::Corrupt("a sum exceeds 256 bits".to_owned())
}
