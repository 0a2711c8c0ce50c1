//! The door for those who have paid already: their payment cannot be verified again, since the
//! chain has it, but what it paid for may still be owed to them.

use crate::{
    Ledger, LedgerError, Origin, Reservation,
    op::Op,
    reserve::{Known, answer_known, entitlement, is_settled_by, redeem},
};
use alloy_primitives::Bytes;
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
                if !is_settled_by(txn, known.id, &calls)? {
                    return Ok(None);
                }
                Ok(match answer_known(txn, known, origin, txn.now().after(hold))? {
                    Known::Answered(answer) => Some(answer),
                    Known::Free(_) => None,
                })
            })
            .await
    }

    /// Opens the door to a payer without funds, who has paid for this very request before and was
    /// not served. The payment proves who it is when nobody else can have it: a new one, which is
    /// not needed and not stored, or one that was never sent. What was sent is answered by itself.
    pub async fn recall_payer(
        &self,
        key: PaymentKey,
        calls: Vec<Bytes>,
        origin: Origin,
        hold: Duration,
    ) -> Result<Option<Reservation>, LedgerError> {
        self.writer
            .write(Op::Recall, move |txn| {
                let until = txn.now().after(hold);
                if let Some(known) = txn.payment_by_key(&key)? {
                    if !is_settled_by(txn, known.id, &calls)? {
                        return Ok(None);
                    }
                    if let Known::Answered(answer) = answer_known(txn, known, origin, until)? {
                        return Ok(Some(answer));
                    }
                }
                match entitlement(txn, &key, origin.fingerprint)? {
                    Some(paid) => redeem(txn, paid, until, "the payer came back without funds").map(Some),
                    None => Ok(None),
                }
            })
            .await
    }
}
