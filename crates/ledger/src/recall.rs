//! The door for those who have paid already: their payment cannot be verified again, since the
//! chain has it, but what it paid for may still be owed to them.

use crate::{
    Ledger, LedgerError, Origin, Reservation,
    op::Op,
    reserve::{Known, answer_known, entitlement, redeem},
    txn::blob,
};
use alloy_primitives::{Address, B256, Bytes};
use obol_core::PaymentKey;
use std::time::Duration;

impl Ledger {
    /// What this ledger has to say to a payment that verification refuses because of what
    /// happened since it was first taken; nothing, if it never took it.
    ///
    /// `calls` are the token calls that the payment stands for: one of them has to be the
    /// stored one, which was verified, so that knowing a nonce is not enough.
    pub async fn recall(
        &self,
        key: PaymentKey,
        calls: Vec<Bytes>,
        origin: Origin,
        hold: Duration,
    ) -> Result<Option<Reservation>, LedgerError> {
        self.writer
            .write(Op::Recall, move |txn| {
                let Some(known) = txn.payment_by_key(&key)? else { return Ok(None) };
                let same = txn.one("SELECT call FROM payments WHERE id = ?1", [known.id.0], |row| {
                    let stored = blob(row, 0)?;
                    Ok(calls.iter().any(|call| &call[..] == stored))
                })?;
                if same != Some(true) {
                    return Ok(None);
                }
                Ok(match answer_known(txn, known, origin, txn.now().after(hold))? {
                    Known::Answered(answer) => Some(answer),
                    Known::Free(_) => None,
                })
            })
            .await
    }

    /// Opens the door to a payer, proven by a new signature, who has paid for this very request
    /// before and was not served. The new payment is not needed and not stored.
    pub async fn recall_payer(
        &self,
        payer: Address,
        fingerprint: B256,
        hold: Duration,
    ) -> Result<Option<Reservation>, LedgerError> {
        self.writer
            .write(Op::Recall, move |txn| match entitlement(txn, payer, fingerprint)? {
                Some(paid) => {
                    redeem(txn, paid, txn.now().after(hold), "the payer came back without funds").map(Some)
                }
                None => Ok(None),
            })
            .await
    }
}
