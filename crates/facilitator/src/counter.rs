//! Payments that others hand in: sellers with a server of their own, who have them verified and
//! settled here. What was settled is in the ledger, and told again to whoever asks again.

mod asked;

use crate::{Facilitator, Terms, settlement_calls};
use alloy_primitives::{B256, keccak256};
use asked::AskedFor;
use obol_core::{OfferId, Payment, PaymentKey, Reason, Refusal, Requirement};
use obol_ledger::{
    Delivery, Held, Inclusion, Ledger, LedgerError, Origin, Outcome, Owing, Reservation, State, held,
};
use std::{
    collections::HashSet,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::time::Instant;

/// The namespace of what is settled for others; its names are the callers'.
const NAMESPACE: &str = "facilitator";

/// Between the last step that a hold has to outlive and its end.
const SLACK: Duration = Duration::from_secs(15);

/// Takes payments in. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Counter {
    facilitator: Arc<Facilitator>,
    ledger: Ledger,
    /// Payments that are being settled for somebody who waits.
    busy: Arc<Mutex<HashSet<PaymentKey>>>,
    asked: Arc<AskedFor>,
}

/// What became of a payment that was handed in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Settled {
    /// The transfer is in a block.
    Included(B256),
    /// Not yet, and it may still come: ask again, with the same payment. With what is out for it.
    Pending(Option<B256>),
    /// It is not, and will not be by what was done here.
    Refused(Refusal),
}

impl From<Refusal> for Settled {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

/// A payment that somebody waits for: nobody else does meanwhile.
struct Busy {
    key: PaymentKey,
    busy: Arc<Mutex<HashSet<PaymentKey>>>,
}

impl Drop for Busy {
    fn drop(&mut self) {
        lock(&self.busy).remove(&self.key);
    }
}

fn lock(busy: &Mutex<HashSet<PaymentKey>>) -> std::sync::MutexGuard<'_, HashSet<PaymentKey>> {
    // One insertion or removal is never half done.
    busy.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Counter {
    pub fn new(facilitator: Arc<Facilitator>, ledger: Ledger) -> Self {
        Self { facilitator, ledger, busy: Arc::default(), asked: Arc::default() }
    }

    pub const fn facilitator(&self) -> &Arc<Facilitator> {
        &self.facilitator
    }

    /// Whether the payment could be settled now. Changes nothing and promises nothing.
    pub async fn verify(
        &self,
        payment: &Payment,
        requirement: &Requirement,
        caller: &str,
    ) -> Result<(), Refusal> {
        let verified = self.facilitator.verify(payment, terms(requirement)).await?;
        let new = verified.new_payment(payment, offer(caller), origin(payment, caller));
        match self.ledger.objection(new).await.map_err(unrecorded)? {
            Some(refusal) => Err(refusal),
            None => {
                self.asked.note(payment.key());
                Ok(())
            }
        }
    }

    /// Settles the payment, and waits for that. To be run in a task of its own: a caller that leaves
    /// must not stop it between two steps.
    pub async fn settle(&self, payment: &Payment, requirement: &Requirement, caller: &str) -> Settled {
        let key = payment.key();
        if !lock(&self.busy).insert(key) {
            return Refusal::new(Reason::InFlight, "it is being settled for another request").into();
        }
        let _busy = Busy { key, busy: Arc::clone(&self.busy) };
        match self.try_settle(payment, requirement, caller).await {
            Ok(settled) => settled,
            Err(refusal) => refusal.into(),
        }
    }

    async fn try_settle(
        &self,
        payment: &Payment,
        requirement: &Requirement,
        caller: &str,
    ) -> Result<Settled, Refusal> {
        let (key, origin) = (payment.key(), origin(payment, caller));
        let calls = settlement_calls(payment);
        if let Some(known) = self.ledger.payment_settled_by(key, calls.clone()).await.map_err(unrecorded)?
            && let Some(inclusion) = known.inclusion.filter(|_| known.state().is_paid())
            && known.delivery == Delivery::Done
        {
            let told = known.offer == offer(caller)
                && (known.payee, known.amount) == (requirement.pay_to, requirement.amount)
                && !self.asked.is_ambiguous(&key);
            return if told {
                Ok(Settled::Included(inclusion.tx))
            } else {
                Err(Reason::AlreadyServed.into())
            };
        }
        let recalled = self.ledger.recall(key, calls, origin, self.hold()).await.map_err(unrecorded)?;
        let reservation = match recalled {
            // A failure is looked at again: the chain has the last word.
            Some(Reservation::Refused(refusal)) if refusal.reason != Reason::SettlementFailed => {
                return Err(refusal);
            }
            Some(reservation @ (Reservation::Granted(_) | Reservation::Entitled(..))) => reservation,
            Some(Reservation::Refused(_)) | None => {
                let verified = self.facilitator.verify(payment, terms(requirement)).await?;
                let new = verified.new_payment(payment, offer(caller), origin);
                self.ledger.reserve(new, self.hold()).await.map_err(unrecorded)?
            }
        };
        match reservation {
            Reservation::Refused(refusal) => Err(refusal),
            Reservation::Entitled(owed, _) => Ok(self.finish(owed, payment).await),
            Reservation::Granted(held) => match self.ledger.owe(held, None).await.map_err(unrecorded)? {
                Ok(Owing::SettleFirst(owed)) => Ok(self.finish(owed, payment).await),
                // Only where an exposure was granted.
                Ok(Owing::Deliver(_)) => Err(Reason::LedgerUnavailable.into()),
                Err(lost) => Err(Refusal::new(Reason::InFlight, lost.to_string())),
            },
        }
    }

    /// Waits for the money of an owed payment. From here it may move: what is not known is pending.
    async fn finish(&self, owed: Held<held::Owed>, payment: &Payment) -> Settled {
        self.facilitator.wake(payment.chain);
        let (id, until) = (owed.id(), Instant::now() + self.facilitator.timing().settle_budget);
        let outcome = match self.ledger.outcome(id, until).await {
            Ok(outcome) => outcome,
            Err(error) => {
                self.let_go(owed, "the ledger failed during the request").await;
                return unknown(&error);
            }
        };
        match outcome {
            Outcome::Paid(inclusion) => self.tell(owed, inclusion).await,
            Outcome::Released(why) => Refusal::new(Reason::SimulationFailed, why.unwrap_or_default()).into(),
            Outcome::Failed(why) => Refusal::new(Reason::SettlementFailed, why.unwrap_or_default()).into(),
            Outcome::Open(_) => match self.let_go(owed, "the settlement outlasted the request").await {
                Some(State::Released) => {
                    Refusal::new(Reason::SettlerUnavailable, "the payment was not submitted in time").into()
                }
                _ => match self.ledger.newest_attempt(id).await {
                    Ok(transaction) => Settled::Pending(transaction),
                    Err(error) => unknown(&error),
                },
            },
        }
    }

    async fn let_go(&self, owed: Held<held::Owed>, why: &str) -> Option<State> {
        match self.ledger.let_go(owed, why).await {
            Ok(record) => Some(record.state()),
            Err(error) => {
                tracing::debug!(%error, "the end of a hold is not in the ledger yet");
                None
            }
        }
    }

    /// Notes that it is told: from then on it is told again to whoever asks.
    async fn tell(&self, owed: Held<held::Owed>, inclusion: Inclusion) -> Settled {
        let told = match self.ledger.start_delivery(owed).await {
            Ok(Ok(held)) => self.ledger.finish_delivery(held, "told the seller").await,
            // Another process has it now, or the note cannot be written: the next question is answered.
            Ok(Err(_)) => return Settled::Pending(Some(inclusion.tx)),
            Err(error) => Err(error),
        };
        match told {
            Ok(()) => Settled::Included(inclusion.tx),
            Err(error) => {
                tracing::debug!(%error, "the ledger failed at the counter");
                Settled::Pending(Some(inclusion.tx))
            }
        }
    }

    fn hold(&self) -> Duration {
        self.facilitator.timing().settle_budget + SLACK
    }
}

/// The seller serves between the two questions, on its own time.
const fn terms(requirement: &Requirement) -> Terms<'_> {
    Terms { requirement, header_timeout: Duration::ZERO }
}

fn offer(caller: &str) -> OfferId {
    OfferId { namespace: NAMESPACE.to_owned(), name: caller.to_owned() }
}

/// Of this payment and caller alone: what is owed for it is owed to nobody else.
fn origin(payment: &Payment, caller: &str) -> Origin {
    let key = payment.key();
    let chain = key.chain.reference().to_be_bytes();
    let parts = [&chain[..], key.asset.as_slice(), key.payer.as_slice(), key.nonce.as_slice()];
    Origin { fingerprint: keccak256(parts.concat()), client: keccak256(caller) }
}

/// The same payment finds out later what became of it.
fn unknown(error: &LedgerError) -> Settled {
    tracing::debug!(%error, "the ledger failed at the counter");
    Settled::Pending(None)
}

fn unrecorded(error: LedgerError) -> Refusal {
    tracing::debug!(%error, "the ledger failed at the counter");
    Reason::LedgerUnavailable.into()
}
