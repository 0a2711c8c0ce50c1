//! Reserving a payment for one request: the door through which each paid request comes, once.

use crate::{
    Delivery, Held, Ledger, LedgerError, NewPayment, Origin, PaymentId, PaymentRecord, Proof, State,
    Timestamp,
    asking::has_question,
    held,
    op::Op,
    row::{amount, blob, chain_code, number_code, select_payments},
    sets::{entitled, failed, included, open},
    state::{Release, Retry},
    txn::{First, Txn},
};
use alloy_primitives::{B256, Bytes};
use obol_core::{Amount, PaymentKey, Reason, Refusal};
use rusqlite::params;
use std::time::Duration;

/// How often a released payment may be reserved again.
const RETRIES: i64 = 3;

/// How often what is owed to a payer may be asked for: each time the upstream works.
const REDEMPTIONS: i64 = 20;

/// How long a payer is not taken one of whose payments cost gas and failed.
const DISTRUST: i64 = 24 * 60 * 60 * 1_000;

/// What became of a request to reserve.
#[derive(Debug)]
pub enum Reservation {
    /// The payment is this request's.
    Granted(Held<held::Reserved>),
    /// The payer has paid for this very request before and was not served. The payment that
    /// came now, when it is another one, is left unused.
    Entitled(Held<held::Owed>, Box<PaymentRecord>),
    /// With the reason; nothing changed.
    Refused(Refusal),
}

impl Ledger {
    /// Holds a verified payment for one request, for `hold` at most.
    ///
    /// Of any number of callers, in any number of processes on this ledger, one is granted the
    /// payment. The payer's balance has to cover it together with the payer's other open
    /// payments of the asset.
    pub async fn reserve(&self, new: NewPayment, hold: Duration) -> Result<Reservation, LedgerError> {
        self.writer.write(Op::Reserve, move |txn| reserve(txn, &new, txn.now().after(hold))).await
    }

    /// Why this verified payment could not be reserved now, without reserving it. It promises nothing
    /// for later.
    pub async fn objection(&self, new: NewPayment) -> Result<Option<Refusal>, LedgerError> {
        self.writer
            .write(Op::Read, move |txn| {
                let Some(known) = txn.payment_by_key(&new.key)? else { return uncovered(txn, &new) };
                if !is_same(txn, &known, &new)? {
                    return Ok(Some(Reason::TermsChanged.into()));
                }
                let held = known.held_until > txn.now();
                match known.state() {
                    State::Reserved if held => Ok(Some(Reason::InFlight.into())),
                    State::Reserved | State::Released => used_up(txn, &known, &new),
                    State::Failed => {
                        let why = known.reason.unwrap_or_default();
                        Ok(Some(Refusal::new(Reason::SettlementFailed, why)))
                    }
                    State::Due
                    | State::Submitting
                    | State::Submitted
                    | State::Included
                    | State::Settled
                    | State::Claimed
                    | State::Waived => Ok(Some(Reason::AlreadyServed.into())),
                }
            })
            .await
    }

    /// The payment with this key, if it was ever taken and one of the calls is the one that settles it.
    pub async fn payment_settled_by(
        &self,
        key: PaymentKey,
        calls: Vec<Bytes>,
    ) -> Result<Option<PaymentRecord>, LedgerError> {
        self.writer
            .write(Op::Read, move |txn| {
                let Some(known) = txn.payment_by_key(&key)? else { return Ok(None) };
                Ok(is_settled_by(txn, known.id, &calls)?.then_some(known))
            })
            .await
    }
}

fn reserve(txn: &Txn<'_>, new: &NewPayment, held_until: Timestamp) -> Result<Reservation, LedgerError> {
    match txn.payment_by_key(&new.key)? {
        Some(known) => again(txn, known, new, held_until),
        None => first(txn, new, held_until),
    }
}

fn first(txn: &Txn<'_>, new: &NewPayment, held_until: Timestamp) -> Result<Reservation, LedgerError> {
    if let Some(paid) = owed(txn, new)? {
        let (unused, _) = txn.insert(
            new,
            First::Unused,
            Timestamp(0),
            &format!("unused: payment {} is served", paid.id.0),
        )?;
        return redeem(txn, paid, held_until, &format!("the payer came back with payment {}", unused.0));
    }
    if let Some(refusal) = uncovered(txn, new)? {
        return Ok(Reservation::Refused(refusal));
    }
    let (id, reservation) = txn.insert(new, First::Reserved, held_until, "verified")?;
    Ok(Reservation::Granted(Held::new(id, reservation)))
}

fn again(
    txn: &Txn<'_>,
    known: PaymentRecord,
    new: &NewPayment,
    held_until: Timestamp,
) -> Result<Reservation, LedgerError> {
    if !is_same(txn, &known, new)? {
        return refuse(Reason::TermsChanged, "this nonce came before with other terms");
    }
    match answer_known(txn, known, new.origin, held_until)? {
        Known::Answered(answer) => Ok(answer),
        Known::Free(released) if released.state() == State::Released => {
            retry(txn, *released, new, held_until)
        }
        Known::Free(expired) => match txn.follow::<Release>(*expired, "the hold ran out", unhold)? {
            Ok(released) => retry(txn, released, new, held_until),
            Err(_) => refuse(Reason::InFlight, "another request holds this payment"),
        },
    }
}

/// What the ledger has to say to a payment that came before.
pub(crate) enum Known {
    Answered(Reservation),
    /// Nobody holds it and nothing is owed for it: it may be reserved again.
    Free(Box<PaymentRecord>),
}

/// The caller has shown that it has the payment, not only its nonce.
pub(crate) fn answer_known(
    txn: &Txn<'_>,
    known: PaymentRecord,
    origin: Origin,
    held_until: Timestamp,
) -> Result<Known, LedgerError> {
    let held = known.held_until > txn.now();
    let answer = match (known.state(), known.delivery) {
        (State::Waived, _) | (_, Delivery::Done) => {
            refuse(Reason::AlreadyServed, "this payment was used before")
        }
        (_, Delivery::Started) => refuse(Reason::InFlight, "its response is being sent"),
        (State::Failed, _) => refuse(Reason::SettlementFailed, known.reason.unwrap_or_default()),
        (_, Delivery::None) if held => refuse(Reason::InFlight, "another request holds this payment"),
        (State::Reserved | State::Released, Delivery::None) => {
            // A block that is gone has shown the signature to everybody, and a facilitator has seen it.
            let is_secret = || {
                Ok::<_, LedgerError>(!has_question(txn, known.id)? && !txn.was(known.id, State::Included)?)
            };
            if known.origin.client == origin.client || is_secret()? {
                return Ok(Known::Free(Box::new(known)));
            }
            unproven()
        }
        (
            State::Due
            | State::Submitting
            | State::Submitted
            | State::Included
            | State::Settled
            | State::Claimed,
            Delivery::None,
        ) => {
            if known.origin.fingerprint != origin.fingerprint {
                refuse(Reason::FingerprintMismatch, "it was paid for another request")
            } else if known.origin.client != origin.client {
                // Its transaction may have shown the signature to everybody.
                unproven()
            } else {
                redeem(txn, known, held_until, "the payer came back with this payment")
            }
        }
    };
    answer.map(Known::Answered)
}

/// Whether a nonce that came before stands for the same payment.
fn is_same(txn: &Txn<'_>, known: &PaymentRecord, new: &NewPayment) -> Result<bool, LedgerError> {
    let same = (known.payee, known.amount) == (new.payee, new.amount);
    Ok(same && is_settled_by(txn, known.id, std::slice::from_ref(&new.call.data))?)
}

/// Why a payment that nothing is owed for is not taken again, whoever its payer is.
fn worn_out(free: &PaymentRecord, new: &NewPayment) -> Option<Refusal> {
    if free.offer != new.offer {
        return Some(Refusal::new(Reason::TermsChanged, "this nonce came before for another offer"));
    }
    let often = free.reservation() > RETRIES;
    often.then(|| Refusal::new(Reason::TooManyAttempts, "it was reserved and released too often"))
}

/// As [`worn_out`], and whether its payer can pay it.
fn used_up(txn: &Txn<'_>, free: &PaymentRecord, new: &NewPayment) -> Result<Option<Refusal>, LedgerError> {
    match worn_out(free, new) {
        Some(refusal) => Ok(Some(refusal)),
        None => uncovered(txn, new),
    }
}

fn unproven() -> Result<Reservation, LedgerError> {
    refuse(Reason::PayerUnproven, "it came from somewhere else when it was taken")
}

fn retry(
    txn: &Txn<'_>,
    released: PaymentRecord,
    new: &NewPayment,
    held_until: Timestamp,
) -> Result<Reservation, LedgerError> {
    if let Some(refusal) = worn_out(&released, new) {
        return Ok(Reservation::Refused(refusal));
    }
    if let Some(paid) = owed(txn, new)? {
        return redeem(txn, paid, held_until, &format!("the payer came back with payment {}", released.id.0));
    }
    if let Some(refusal) = uncovered(txn, new)? {
        return Ok(Reservation::Refused(refusal));
    }
    let retried = txn.follow::<Retry>(released, "verified again", |record| {
        record.reservation += 1;
        record.origin = new.origin;
        record.held_until = held_until;
        record.verified_block = new.verified_block;
        record.reason = None;
    })?;
    match retried {
        Ok(record) => {
            txn.own(record.id)?;
            txn.note_question(record.id, new)?;
            Ok(Reservation::Granted(Held::new(record.id, record.reservation())))
        }
        Err(_) => refuse(Reason::InFlight, "another request holds this payment"),
    }
}

/// What this payment's payer is owed for this very request, if it is known to be the payer.
fn owed(txn: &Txn<'_>, new: &NewPayment) -> Result<Option<PaymentRecord>, LedgerError> {
    match new.proof {
        Proof::Signature => entitlement(txn, &new.key, new.origin.fingerprint),
        Proof::Word => Ok(None),
    }
}

/// An undelivered payment of this payer for this very request that no request holds. Of the same chain:
/// the account at one address may be somebody else's on another.
pub(crate) fn entitlement(
    txn: &Txn<'_>,
    key: &PaymentKey,
    fingerprint: B256,
) -> Result<Option<PaymentRecord>, LedgerError> {
    let found = txn.payments(
        select_payments!(
            "payer = ?1 AND fingerprint = ?2 AND ",
            entitled!(),
            " AND held_until <= ?3 AND reservation <= ?4 AND chain = ?5 ORDER BY id LIMIT 1"
        ),
        params![
            key.payer.as_slice(),
            fingerprint.as_slice(),
            txn.now().0,
            REDEMPTIONS,
            chain_code(key.chain)
        ],
    )?;
    Ok(found.into_iter().next())
}

pub(crate) fn redeem(
    txn: &Txn<'_>,
    paid: PaymentRecord,
    held_until: Timestamp,
    why: &str,
) -> Result<Reservation, LedgerError> {
    if paid.reservation() > REDEMPTIONS {
        return refuse(Reason::TooManyAttempts, "what it paid for was asked for too often and never taken");
    }
    let record = txn.amend(paid, why, |record| {
        record.reservation += 1;
        record.held_until = held_until;
    })?;
    txn.own(record.id)?;
    Ok(Reservation::Entitled(Held::new(record.id, record.reservation()), Box::new(record)))
}

/// Why the payer's balance does not cover this payment and its other open ones, if so. Open is
/// all that the balance, read at a block, does not show as spent yet. A payer one of whose
/// payments has cost gas for nothing has to see that one settled first, or wait for a day.
fn uncovered(txn: &Txn<'_>, new: &NewPayment) -> Result<Option<Refusal>, LedgerError> {
    let open = txn.all(
        concat!(
            "SELECT amount, misses FROM payments WHERE payer = ?1 AND asset = ?2 AND chain = ?3 AND ",
            open!(),
            " AND (NOT (",
            included!(),
            ") OR block > ?4)"
        ),
        params![
            new.key.payer.as_slice(),
            new.key.asset.as_slice(),
            chain_code(new.key.chain),
            number_code(new.verified_block)
        ],
        |row| Ok((amount(blob(row, 0)?)?, row.get::<_, u32>(1)?)),
    )?;
    let failed = txn.one(
        concat!(
            "SELECT 1 FROM payments WHERE payer = ?1 AND asset = ?2 AND chain = ?3 AND ",
            failed!(),
            " AND misses > 0 AND changed_at > ?4 LIMIT 1"
        ),
        params![
            new.key.payer.as_slice(),
            new.key.asset.as_slice(),
            chain_code(new.key.chain),
            txn.now().0.saturating_sub(DISTRUST)
        ],
        |_| Ok(()),
    )?;
    if failed.is_some() || open.iter().any(|(_, misses)| *misses > 0) {
        let detail = "another payment of this payer was mined without its transfer";
        return Ok(Some(Refusal::new(Reason::SimulationFailed, detail)));
    }
    let needed = open.into_iter().map(|(amount, _)| amount).try_fold(new.amount, Amount::checked_add);
    match needed {
        Some(needed) if needed <= new.balance => Ok(None),
        Some(needed) => Ok(Some(Refusal::new(
            Reason::InsufficientBalance,
            format!(
                "the balance is {}, this and the payer's other open payments need {needed} atomic units",
                new.balance
            ),
        ))),
        None => Ok(Some(Refusal::new(Reason::InsufficientBalance, "the open payments exceed 256 bits"))),
    }
}

/// Whether one of the calls is the one that settles the payment.
pub(crate) fn is_settled_by(txn: &Txn<'_>, id: PaymentId, calls: &[Bytes]) -> Result<bool, LedgerError> {
    let same = txn.one("SELECT call FROM payments WHERE id = ?1", [id.0], |row| {
        let stored = blob(row, 0)?;
        Ok(calls.iter().any(|call| &call[..] == stored))
    })?;
    Ok(same == Some(true))
}

pub(crate) fn unhold(record: &mut PaymentRecord) {
    record.held_until = Timestamp(0);
}

pub(crate) fn refuse(
    reason: Reason,
    detail: impl Into<std::borrow::Cow<'static, str>>,
) -> Result<Reservation, LedgerError> {
    Ok(Reservation::Refused(Refusal::new(reason, detail)))
}
