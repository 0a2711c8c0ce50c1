//! The door for those who have paid already: their payment cannot be verified again, since the
//! chain has it, but what it paid for may still be owed to them.

use crate::{
    Delivery, Ledger, LedgerError, PaymentRecord, Reservation, State, Timestamp,
    op::Op,
    reserve::{entitlement, redeem, refuse},
    txn::{Txn, blob},
};
use alloy_primitives::{Address, B256, Bytes};
use obol_core::{PaymentKey, Reason};
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
        fingerprint: B256,
        hold: Duration,
    ) -> Result<Option<Reservation>, LedgerError> {
        let hold = millis(hold);
        self.writer
            .write(Op::Recall, move |txn| {
                let Some(known) = txn.payment_by_key(&key)? else { return Ok(None) };
                let same = txn.one("SELECT call FROM payments WHERE id = ?1", [known.id.0], |row| {
                    let stored = blob(row, 0)?;
                    Ok(calls.iter().any(|call| &call[..] == stored))
                })?;
                match same {
                    Some(true) => known_payment(txn, known, fingerprint, txn.now().plus_millis(hold)),
                    Some(false) | None => Ok(None),
                }
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
        let hold = millis(hold);
        self.writer
            .write(Op::Recall, move |txn| match entitlement(txn, payer, fingerprint)? {
                Some(paid) => {
                    redeem(txn, paid, txn.now().plus_millis(hold), "the payer came back without funds")
                        .map(Some)
                }
                None => Ok(None),
            })
            .await
    }
}

fn millis(hold: Duration) -> i64 {
    i64::try_from(hold.as_millis()).unwrap_or(i64::MAX)
}

fn known_payment(
    txn: &Txn<'_>,
    known: PaymentRecord,
    fingerprint: B256,
    held_until: Timestamp,
) -> Result<Option<Reservation>, LedgerError> {
    let held = known.held_until > txn.now();
    let answer = match (known.state(), known.delivery) {
        (State::Waived, _) | (_, Delivery::Done) => {
            refuse(Reason::AlreadyServed, "this payment was used before")
        }
        (_, Delivery::Started) => refuse(Reason::InFlight, "its response is being sent"),
        (State::Failed, _) => refuse(Reason::SettlementFailed, known.reason.unwrap_or_default()),
        (_, Delivery::None) if held => refuse(Reason::InFlight, "another request holds this payment"),
        (State::Reserved | State::Released, Delivery::None) => return Ok(None),
        (_, Delivery::None) if known.fingerprint != fingerprint => {
            refuse(Reason::FingerprintMismatch, "it was paid for another request")
        }
        (_, Delivery::None) => redeem(txn, known, held_until, "the payer came back with this payment"),
    };
    answer.map(Some)
}
