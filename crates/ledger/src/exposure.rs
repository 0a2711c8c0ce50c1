//! What was delivered before its money was on the chain.

use crate::{
    Ledger, LedgerError, Position, Timestamp,
    op::Op,
    row::{account, amount, blob, chain, number},
    sets::{lost, owed},
    txn::Txn,
};
use alloy_primitives::U256;
use obol_core::{Amount, OfferId};

/// Delivered, and not on the chain: not yet, or never.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unsettled {
    pub position: Position,
    pub payments: u64,
    pub amount: Amount,
    /// When the first of them was taken.
    pub oldest: Timestamp,
}

impl Ledger {
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
