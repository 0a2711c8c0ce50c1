//! Reading the ledger: the operator's lists, a payment's story, earnings.

use crate::{
    Event, Inclusion, Ledger, LedgerError, PaymentId, PaymentRecord, State, Timestamp,
    evidence::chains,
    op::Op,
    row::{account, amount, blob, chain, chain_code, select_payments, state},
    sets::{claimed, owed, paid},
    txn::Txn,
};
use alloy_primitives::{Address, B256};
use obol_core::{Amount, ChainId, OfferId, PaymentKey};
use rusqlite::params;
use std::collections::{BTreeMap, HashSet};

/// Accounts that are looked up in one read.
const PAYERS: usize = 1_000;

/// One line of the earnings: what an offer received in one asset. Derived from the payments
/// each time, never kept beside them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Earning {
    pub offer: OfferId,
    pub chain: ChainId,
    pub asset: Address,
    /// Payments on the chain, `final_payments` of them in final blocks.
    pub payments: u64,
    pub final_payments: u64,
    pub amount: Amount,
    pub final_amount: Amount,
    /// Beside them, what facilitators say that they have settled, and nobody has checked.
    pub claimed_payments: u64,
    pub claimed_amount: Amount,
}

/// An account that payments of an asset are made out to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Payee {
    pub asset: Address,
    pub payee: Address,
    /// The block at which the first payment to it was verified.
    pub since: u64,
}

/// How a payment ended, or how far it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    Paid(Inclusion),
    /// A facilitator says so, of this transaction, and there is no endpoint to check that by.
    Claimed(B256),
    Released(Option<String>),
    Failed(Option<String>),
    /// Owed, and not on the chain yet.
    Open(State),
}

impl PaymentRecord {
    pub fn outcome(&self) -> Outcome {
        match (self.state, self.inclusion, self.claim) {
            (State::Included | State::Settled, Some(inclusion), _) => Outcome::Paid(inclusion),
            (State::Claimed, _, Some(claim)) => Outcome::Claimed(claim),
            (State::Released, ..) => Outcome::Released(self.reason.clone()),
            (State::Failed, ..) => Outcome::Failed(self.reason.clone()),
            (state, ..) => Outcome::Open(state),
        }
    }
}

impl Ledger {
    /// The ledger's own id, drawn when it was made.
    pub async fn id(&self) -> Result<String, LedgerError> {
        self.writer.write(Op::Read, |txn| txn.ledger_id()).await
    }

    pub async fn payment(&self, id: PaymentId) -> Result<Option<PaymentRecord>, LedgerError> {
        self.writer.write(Op::Read, move |txn| txn.payment(id)).await
    }

    pub async fn payment_by_key(&self, key: PaymentKey) -> Result<Option<PaymentRecord>, LedgerError> {
        self.writer.write(Op::Read, move |txn| txn.payment_by_key(&key)).await
    }

    /// Payments with this nonce, or settled in this transaction.
    pub async fn find(&self, hash: B256) -> Result<Vec<PaymentRecord>, LedgerError> {
        self.writer
            .write(Op::Read, move |txn| {
                let by_nonce = txn.payments(select_payments!("nonce = ?1 ORDER BY id"), [hash.as_slice()])?;
                if !by_nonce.is_empty() {
                    return Ok(by_nonce);
                }
                txn.payments(select_payments!("tx = ?1 ORDER BY id"), [hash.as_slice()])
            })
            .await
    }

    /// A payment's story, oldest event first.
    pub async fn events(&self, id: PaymentId) -> Result<Vec<Event>, LedgerError> {
        self.writer.write(Op::Read, move |txn| txn.events(id)).await
    }

    /// A page of payments after `after`, in the order in which they came.
    pub async fn list(&self, after: PaymentId, limit: u32) -> Result<Vec<PaymentRecord>, LedgerError> {
        self.writer
            .write(Op::Read, move |txn| {
                txn.payments(select_payments!("id > ?1 ORDER BY id LIMIT ?2"), params![after.0, limit])
            })
            .await
    }

    /// The newest payments, newest first.
    pub async fn newest(&self, limit: u32) -> Result<Vec<PaymentRecord>, LedgerError> {
        self.writer
            .write(Op::Read, move |txn| {
                txn.payments(select_payments!("id > 0 ORDER BY id DESC LIMIT ?1"), [limit])
            })
            .await
    }

    /// What each offer has earned, exactly.
    pub async fn earnings(&self) -> Result<Vec<Earning>, LedgerError> {
        self.writer.write(Op::Read, earnings).await
    }

    /// Where the newest transfer for an offer is. Reads in proportion to what the ledger holds.
    pub async fn last_inclusion(&self, offer: OfferId) -> Result<Option<Inclusion>, LedgerError> {
        self.writer
            .write(Op::Read, move |txn| {
                let newest = txn.payments(
                    select_payments!(
                        "offer_namespace = ?1 AND offer_name = ?2 AND ",
                        paid!(),
                        " ORDER BY block_time DESC LIMIT 1"
                    ),
                    params![offer.namespace, offer.name],
                )?;
                Ok(newest.into_iter().next().and_then(|record| record.inclusion))
            })
            .await
    }

    /// The chains that have payments here.
    pub async fn chains(&self) -> Result<Vec<ChainId>, LedgerError> {
        self.writer.write(Op::Read, chains).await
    }

    /// Who was ever to be paid on a chain, in which asset, and the first block that can matter.
    pub async fn payees(&self, chain: ChainId) -> Result<Vec<Payee>, LedgerError> {
        self.writer
            .write(Op::Read, move |txn| {
                txn.all(
                    "SELECT asset, payee, since FROM payees WHERE chain = ?1",
                    [chain_code(chain)],
                    |row| {
                        Ok(Payee {
                            asset: account(blob(row, 0)?)?,
                            payee: account(blob(row, 1)?)?,
                            since: crate::row::number(row.get(2)?)?,
                        })
                    },
                )
            })
            .await
    }

    /// Of these accounts those that some payment is by.
    pub async fn known_payers(&self, mut of: Vec<Address>) -> Result<HashSet<Address>, LedgerError> {
        of.sort_unstable();
        of.dedup();
        let mut known = HashSet::new();
        // The writer serves sales between two reads.
        for some in of.chunks(PAYERS) {
            let some = some.to_vec();
            let found = self.writer.write(Op::Read, move |txn| {
                let mut found = Vec::new();
                for payer in some {
                    let sql = "SELECT 1 FROM payments WHERE payer = ?1 LIMIT 1";
                    found.extend(txn.one(sql, [payer.as_slice()], |_| Ok(payer))?);
                }
                Ok(found)
            });
            known.extend(found.await?);
        }
        Ok(known)
    }

    /// When the first payment came to a payee of this chain of whom it is not known from which block on
    /// they are paid: the first one was taken without an endpoint. Reads in proportion to what the ledger
    /// holds.
    pub async fn first_unseen(&self, chain: ChainId) -> Result<Option<Timestamp>, LedgerError> {
        self.writer
            .write(Op::Read, move |txn| {
                let first = txn.one(
                    "SELECT min(p.created_at) FROM payments p JOIN payees y \
                     ON y.chain = p.chain AND y.asset = p.asset AND y.payee = p.payee \
                     WHERE p.chain = ?1 AND y.since = 0",
                    [chain_code(chain)],
                    |row| Ok(row.get::<_, Option<i64>>(0)?),
                )?;
                Ok(first.flatten().map(Timestamp))
            })
            .await
    }

    /// Payments that are owed and not on the chain yet.
    pub async fn owed(&self, chain: ChainId) -> Result<Vec<PaymentRecord>, LedgerError> {
        self.writer
            .write(Op::Read, move |txn| {
                txn.payments(
                    select_payments!("chain = ?1 AND ", owed!(), " ORDER BY id"),
                    [chain_code(chain)],
                )
            })
            .await
    }

    /// Waits until the payment is paid, released or failed, or is no longer the caller's to wait
    /// for because `until` has passed.
    pub async fn outcome(&self, id: PaymentId, until: tokio::time::Instant) -> Result<Outcome, LedgerError> {
        loop {
            let woken = self.writer.watch(id).await?;
            let record = self
                .payment(id)
                .await?
                .ok_or_else(|| LedgerError::Corrupt(format!("payment {} is not stored", id.0)))?;
            match record.outcome() {
                Outcome::Open(state) => {
                    if tokio::time::timeout_at(until, woken).await.is_err() {
                        return Ok(Outcome::Open(state));
                    }
                }
                settled => return Ok(settled),
            }
        }
    }

    /// The hash of the newest transaction that was signed for this payment, or that a facilitator
    /// names, if there is one.
    pub async fn newest_attempt(&self, id: PaymentId) -> Result<Option<B256>, LedgerError> {
        self.writer
            .write(Op::Read, move |txn| {
                txn.one(
                    "SELECT coalesce(a.hash, p.claim) FROM payments p LEFT JOIN attempts a ON a.batch = p.batch \
                     WHERE p.id = ?1 ORDER BY a.attempt DESC LIMIT 1",
                    [id.0],
                    |row| Ok(row.get::<_, Option<Vec<u8>>>(0)?),
                )?
                .flatten()
                .as_deref()
                .map(crate::row::word)
                .transpose()
            })
            .await
    }
}

fn earnings(txn: &Txn<'_>) -> Result<Vec<Earning>, LedgerError> {
    let earned = txn.all(
        concat!(
            "SELECT offer_namespace, offer_name, chain, asset, state, amount FROM payments WHERE (",
            paid!(),
            ") OR ",
            claimed!()
        ),
        [],
        |row| {
            let offer = OfferId { namespace: row.get(0)?, name: row.get(1)? };
            let place = (offer, chain(row.get(2)?), account(blob(row, 3)?)?);
            Ok((place, state(row.get(4)?)?, amount(blob(row, 5)?)?))
        },
    )?;
    let mut lines = BTreeMap::new();
    for ((offer, chain, asset), state, amount) in earned {
        let line = lines.entry((offer.clone(), chain, asset)).or_insert_with(|| Earning {
            offer,
            chain,
            asset,
            payments: 0,
            final_payments: 0,
            amount: Amount::ZERO,
            final_amount: Amount::ZERO,
            claimed_payments: 0,
            claimed_amount: Amount::ZERO,
        });
        let sum = |total: Amount| {
            total
                .checked_add(amount)
                .ok_or_else(|| LedgerError::Corrupt("earnings exceed 256 bits".to_owned()))
        };
        if state == State::Claimed {
            line.claimed_payments += 1;
            line.claimed_amount = sum(line.claimed_amount)?;
            continue;
        }
        line.payments += 1;
        line.amount = sum(line.amount)?;
        if state == State::Settled {
            line.final_payments += 1;
            line.final_amount = sum(line.final_amount)?;
        }
    }
    Ok(lines.into_values().collect())
}
