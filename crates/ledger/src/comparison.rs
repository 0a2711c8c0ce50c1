//! What came of holding the ledger against a chain: remembered, so that it outlives the process that
//! found it, and is the same for every process on the ledger.

use crate::{
    Ledger, LedgerError, Timestamp,
    op::Op,
    row::{account, amount, blob, chain, chain_code, number, number_code},
};
use alloy_primitives::{Address, U256};
use obol_core::ChainId;
use rusqlite::params;
use std::{collections::BTreeMap, fmt};

/// What the last comparison of the ledger with a chain came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Comparison {
    pub chain: ChainId,
    /// When it ended.
    pub at: Timestamp,
    /// Payments of which ledger and chain say different things.
    pub payments: u64,
    /// For each asset that is paid in on this chain.
    pub drifts: BTreeMap<Address, Drift>,
}

/// Atomic units that one side has and the other has not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Drift {
    pub ledger_only: U256,
    pub chain_only: U256,
}

/// What the ledger has less what the chain shows.
impl fmt::Display for Drift {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.ledger_only.checked_sub(self.chain_only) {
            Some(surplus) => write!(f, "{surplus}"),
            None => write!(f, "-{}", self.chain_only - self.ledger_only),
        }
    }
}

impl Ledger {
    /// Remembers a comparison that has just ended, instead of the last one of this chain. An asset that
    /// does not drift may be left out.
    pub async fn compared(
        &self,
        with: ChainId,
        payments: u64,
        drifts: BTreeMap<Address, Drift>,
    ) -> Result<(), LedgerError> {
        let with = chain_code(with);
        self.writer
            .write(Op::Compare, move |txn| {
                txn.execute("DELETE FROM drifts WHERE chain = ?1", [with])?;
                for (asset, drift) in &drifts {
                    let sides = [drift.ledger_only, drift.chain_only].map(|side| side.to_be_bytes::<32>());
                    let [ledger_only, chain_only] = sides;
                    txn.execute(
                        "INSERT INTO drifts (chain, asset, ledger_only, chain_only) VALUES (?1, ?2, ?3, ?4)",
                        params![with, asset.as_slice(), ledger_only, chain_only],
                    )?;
                }
                txn.execute(
                    "INSERT INTO comparisons (chain, at, payments) VALUES (?1, ?2, ?3) \
                     ON CONFLICT (chain) DO UPDATE SET at = ?2, payments = ?3",
                    params![with, txn.now().0, number_code(payments)],
                )?;
                Ok(())
            })
            .await
    }

    /// The last comparison with each chain that there was one with.
    pub async fn comparisons(&self) -> Result<Vec<Comparison>, LedgerError> {
        self.writer
            .write(Op::Read, |txn| {
                let mut drifts: BTreeMap<ChainId, BTreeMap<Address, Drift>> = BTreeMap::new();
                for (with, asset) in txn.all("SELECT DISTINCT chain, asset FROM payees", [], |row| {
                    Ok((chain(row.get(0)?), account(blob(row, 1)?)?))
                })? {
                    drifts.entry(with).or_default().insert(asset, Drift::default());
                }
                for (with, asset, drift) in
                    txn.all("SELECT chain, asset, ledger_only, chain_only FROM drifts", [], |row| {
                        let side = |column| Ok::<_, LedgerError>(amount(blob(row, column)?)?.atomic());
                        let drift = Drift { ledger_only: side(2)?, chain_only: side(3)? };
                        Ok((chain(row.get(0)?), account(blob(row, 1)?)?, drift))
                    })?
                {
                    drifts.entry(with).or_default().insert(asset, drift);
                }
                txn.all("SELECT chain, at, payments FROM comparisons", [], |row| {
                    let with = chain(row.get(0)?);
                    Ok(Comparison {
                        chain: with,
                        at: Timestamp(row.get(1)?),
                        payments: number(row.get(2)?)?,
                        drifts: drifts.get(&with).cloned().unwrap_or_default(),
                    })
                })
            })
            .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_chain_has_more_of_is_negative() {
        let drift = |ledger_only: u64, chain_only: u64| Drift {
            ledger_only: U256::from(ledger_only),
            chain_only: U256::from(chain_only),
        };
        assert_eq!(drift(0, 0).to_string(), "0");
        assert_eq!(drift(5, 2).to_string(), "3");
        assert_eq!(drift(2, 5).to_string(), "-3");
    }
}
