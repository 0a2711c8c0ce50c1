//! What came of holding the ledger against a chain: remembered, so that it outlives the process that
//! found it, and is the same for every process on the ledger that asks the same endpoint. Endpoints may
//! differ, so that one's word is not another's.

use crate::{
    Ledger, LedgerError, Timestamp,
    op::Op,
    row::{account, amount, blob, chain_code, number, number_code},
};
use alloy_primitives::{Address, U256};
use obol_core::ChainId;
use rusqlite::params;
use std::{collections::BTreeMap, fmt};

/// What a comparison of the ledger with a chain came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Payments of which ledger and chain say different things.
    pub payments: u64,
    /// Transfers to the payees that are no payment of the ledger.
    pub unattributed: u64,
    /// By asset. One in which there is nothing may be left out.
    pub drifts: BTreeMap<Address, Drift>,
}

/// Atomic units that one side has and the other has not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Drift {
    pub ledger_only: U256,
    pub chain_only: U256,
    /// Of the transfers that are no payment: no part of the difference.
    pub unattributed: U256,
}

/// The last comparison, and when it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Comparison {
    pub at: Timestamp,
    /// With each asset that is paid in on the chain.
    pub found: Found,
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
    /// Remembers a comparison that has just ended, instead of the last one with this chain by this
    /// endpoint, whose origin it is.
    pub async fn compared(
        &self,
        with: ChainId,
        endpoint: &str,
        found: Found,
    ) -> Result<Comparison, LedgerError> {
        let endpoint = endpoint.to_owned();
        self.writer
            .write(Op::Compare, move |txn| {
                let (with, at) = (chain_code(with), txn.now());
                txn.execute(
                    "DELETE FROM drifts WHERE chain = ?1 AND endpoint = ?2",
                    params![with, endpoint],
                )?;
                for (asset, drift) in &found.drifts {
                    let Drift { ledger_only, chain_only, unattributed } = drift;
                    let sides = [ledger_only, chain_only, unattributed].map(|side| side.to_be_bytes::<32>());
                    let [ledger_only, chain_only, unattributed] = sides;
                    txn.execute(
                        "INSERT INTO drifts (chain, endpoint, asset, ledger_only, chain_only, unattributed) \
                         VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                        params![with, endpoint, asset.as_slice(), ledger_only, chain_only, unattributed],
                    )?;
                }
                let counts = [found.payments, found.unattributed].map(number_code);
                txn.execute(
                    "INSERT INTO comparisons (chain, endpoint, at, payments, unattributed) \
                     VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT (chain, endpoint) \
                     DO UPDATE SET at = ?3, payments = ?4, unattributed = ?5",
                    params![with, endpoint, at.0, counts[0], counts[1]],
                )?;
                Ok(Comparison { at, found })
            })
            .await
    }

    /// The last comparison with a chain by this endpoint.
    pub async fn comparison(&self, with: ChainId, endpoint: &str) -> Result<Option<Comparison>, LedgerError> {
        let endpoint = endpoint.to_owned();
        self.writer
            .write(Op::Read, move |txn| {
                let with = chain_code(with);
                let sql =
                    "SELECT at, payments, unattributed FROM comparisons WHERE chain = ?1 AND endpoint = ?2";
                let last = txn.one(sql, params![with, endpoint], |row| {
                    Ok((Timestamp(row.get(0)?), number(row.get(1)?)?, number(row.get(2)?)?))
                })?;
                let Some((at, payments, unattributed)) = last else { return Ok(None) };
                let paid_in =
                    txn.all("SELECT DISTINCT asset FROM payees WHERE chain = ?1", [with], |row| {
                        Ok((account(blob(row, 0)?)?, Drift::default()))
                    })?;
                let sql = "SELECT asset, ledger_only, chain_only, unattributed FROM drifts \
                           WHERE chain = ?1 AND endpoint = ?2";
                let drifting = txn.all(sql, params![with, endpoint], |row| {
                    let side = |column| Ok::<_, LedgerError>(amount(blob(row, column)?)?.atomic());
                    let drift = Drift { ledger_only: side(1)?, chain_only: side(2)?, unattributed: side(3)? };
                    Ok((account(blob(row, 0)?)?, drift))
                })?;
                let drifts = paid_in.into_iter().chain(drifting).collect();
                Ok(Some(Comparison { at, found: Found { payments, unattributed, drifts } }))
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
            unattributed: U256::from(7),
        };
        assert_eq!(drift(0, 0).to_string(), "0");
        assert_eq!(drift(5, 2).to_string(), "3");
        assert_eq!(drift(2, 5).to_string(), "-3");
    }
}
