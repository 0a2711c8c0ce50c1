//! Payments that others hand in: sellers with a server of their own, who have them verified and
//! settled here. What was settled is in the ledger, and told again to whoever asks again.

mod asked;

use crate::{Facilitator, Terms, settlement_calls};
use alloy_primitives::{Address, B256, Bytes, keccak256};
use asked::AskedFor;
use obol_core::{ChainId, OfferId, Payment, PaymentKey, Reason, Refusal, Requirement};
use obol_ledger::{
    Delivery, Held, Inclusion, Ledger, LedgerError, Origin, Outcome, Owing, PaymentId, PaymentRecord,
    Reservation, State, held,
};
use std::{
    collections::HashSet,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::{sync::watch, time::Instant};

/// The namespace of what is settled for others; its names are the callers'.
const NAMESPACE: &str = obol_core::FACILITATOR_NAMESPACE;

/// Between the last step that a hold has to outlive and its end.
const SLACK: Duration = Duration::from_secs(15);

/// Takes payments in. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Counter {
    facilitator: Arc<Facilitator>,
    ledger: Ledger,
    /// The only accounts that may be paid; any if not given.
    payees: Option<Arc<HashSet<Address>>>,
    /// Payments that are being settled for somebody who waits.
    busy: Arc<Mutex<HashSet<PaymentKey>>>,
    asked: Arc<AskedFor>,
    /// Whether who waits has to be answered now.
    closing: watch::Sender<bool>,
}

/// What became of a payment that was handed in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Settled {
    /// The transfer is in a block.
    Included(B256),
    /// Not yet, and it may still come: ask again, with the same payment. With what is out for it.
    Pending(Option<B256>),
    /// Not for this question. With the transaction that has settled it, when one has.
    Refused(Refusal, Option<B256>),
}

impl From<Refusal> for Settled {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal, None)
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
    pub fn new(facilitator: Arc<Facilitator>, ledger: Ledger, payees: Option<HashSet<Address>>) -> Self {
        Self {
            facilitator,
            ledger,
            payees: payees.map(Arc::new),
            busy: Arc::default(),
            asked: Arc::default(),
            closing: watch::Sender::new(false),
        }
    }

    pub const fn facilitator(&self) -> &Arc<Facilitator> {
        &self.facilitator
    }

    /// Has those answered who wait for a settlement.
    pub fn close(&self) {
        self.closing.send_replace(true);
    }

    /// Waits until every end of a hold is in the ledger: what a process does last.
    pub async fn finish_notes(&self) {
        self.ledger.all_ended().await;
    }

    /// Whether the payment could be settled now. Changes nothing and promises nothing.
    ///
    /// One that is on its way for this caller, and was never told of, is as good: its buyer has come
    /// back for what was paid.
    pub async fn verify(
        &self,
        payment: &Payment,
        requirement: &Requirement,
        caller: &str,
    ) -> Result<(), Refusal> {
        let known = self.ledger.payment_settled_by(payment.key(), settlement_calls(payment)).await;
        let known = known.map_err(unrecorded)?;
        let held = known.as_ref().is_some_and(|known| self.ledger.is_held(known));
        if held || lock(&self.busy).contains(&payment.key()) {
            return Err(Refusal::new(Reason::InFlight, "it is being settled for another question"));
        }
        let waits = |known: &PaymentRecord| {
            is_for(known, requirement, caller) && is_owed(known.state()) && known.delivery == Delivery::None
        };
        if !known.as_ref().is_some_and(waits) {
            self.check_payee(requirement)?;
            let verified = self.facilitator.verify(payment, terms(requirement)).await?;
            let new = verified.new_payment(payment, offer(caller), origin(payment, caller));
            if let Some(refusal) = self.ledger.objection(new).await.map_err(unrecorded)? {
                return Err(refusal);
            }
        }
        self.asked.note(payment.key(), caller);
        Ok(())
    }

    /// Settles the payment, and waits for that. To be run in a task of its own: a caller that leaves
    /// must not stop it between two steps.
    pub async fn settle(&self, payment: &Payment, requirement: &Requirement, caller: &str) -> Settled {
        let key = payment.key();
        if !lock(&self.busy).insert(key) {
            return Refusal::new(Reason::InFlight, "it is being settled for another question").into();
        }
        let _busy = Busy { key, busy: Arc::clone(&self.busy) };
        let settled = self.try_settle(payment, requirement, caller).await;
        // Who was refused serves nobody; another request may still wait to be.
        if matches!(settled, Settled::Refused(_, None)) {
            self.asked.withdraw(key, caller);
        }
        settled
    }

    async fn try_settle(&self, payment: &Payment, requirement: &Requirement, caller: &str) -> Settled {
        let calls = settlement_calls(payment);
        let known = match self.ledger.payment_settled_by(payment.key(), calls.clone()).await {
            Ok(known) => known,
            // It may be on its way.
            Err(error) => return unknown(&error),
        };
        if let Some(known) = known.filter(|known| is_owed(known.state()))
            && let Some(settled) = self.go_on(&known, (payment, calls), requirement, caller).await
        {
            return settled;
        }
        // A failure is looked at again: the chain has the last word.
        match self.begin(payment, requirement, caller).await {
            Ok(owed) => self.finish(owed, payment).await,
            Err(refusal) => refusal.into(),
        }
    }

    /// Of a payment that was taken before, and is due, out or paid; none when nothing is owed for it
    /// any more.
    async fn go_on(
        &self,
        known: &PaymentRecord,
        (payment, calls): (&Payment, Vec<Bytes>),
        requirement: &Requirement,
        caller: &str,
    ) -> Option<Settled> {
        let paid = known.inclusion.filter(|_| known.state().is_paid());
        let told = known.delivery == Delivery::Done;
        if !is_for(known, requirement, caller) || told && self.asked.is_ambiguous(payment.key(), caller) {
            return Some(Settled::Refused(Reason::AlreadyServed.into(), paid.map(|at| at.tx)));
        }
        let inclusion = match paid {
            Some(inclusion) => inclusion,
            None => match self.outcome(known.id, payment.chain).await {
                Ok(Outcome::Paid(inclusion)) => inclusion,
                // Another process of this ledger had somebody else settle it, and nobody has looked.
                Ok(Outcome::Claimed(tx)) => return Some(Settled::Pending(Some(tx))),
                Ok(Outcome::Open(_)) => return Some(self.pending(known.id).await),
                Ok(Outcome::Released(_) | Outcome::Failed(_)) => return None,
                Err(error) => return Some(unknown(&error)),
            },
        };
        if told {
            return Some(Settled::Included(inclusion.tx));
        }
        let recalled = self.ledger.recall(payment.key(), calls, origin(payment, caller), self.hold()).await;
        Some(match recalled {
            Ok(Some(Reservation::Entitled(owed, _))) => self.tell(owed, inclusion).await,
            Ok(Some(Reservation::Refused(refusal))) => Settled::Refused(refusal, Some(inclusion.tx)),
            Ok(Some(Reservation::Granted(_)) | None) => Settled::Pending(Some(inclusion.tx)),
            Err(error) => {
                tracing::debug!(%error, "the ledger failed at the counter");
                Settled::Pending(Some(inclusion.tx))
            }
        })
    }

    /// Takes a payment that nothing is owed for.
    async fn begin(
        &self,
        payment: &Payment,
        requirement: &Requirement,
        caller: &str,
    ) -> Result<Held<held::Owed>, Refusal> {
        self.check_payee(requirement)?;
        let verified = self.facilitator.verify(payment, terms(requirement)).await?;
        let new = verified.new_payment(payment, offer(caller), origin(payment, caller));
        match self.ledger.reserve(new, self.hold()).await.map_err(unrecorded)? {
            Reservation::Refused(refusal) => Err(refusal),
            Reservation::Entitled(owed, _) => Ok(owed),
            Reservation::Granted(held) => match self.ledger.owe(held, None).await.map_err(unrecorded)? {
                Ok(Owing::SettleFirst(owed)) => Ok(owed),
                // Only where an exposure was granted.
                Ok(Owing::Deliver(_)) => Err(Reason::LedgerUnavailable.into()),
                Err(lost) => Err(Refusal::new(Reason::InFlight, lost.to_string())),
            },
        }
    }

    fn check_payee(&self, requirement: &Requirement) -> Result<(), Refusal> {
        match &self.payees {
            Some(payees) if !payees.contains(&requirement.pay_to) => {
                let detail = format!("{} is no payee that this facilitator settles for", requirement.pay_to);
                Err(Refusal::new(Reason::RecipientMismatch, detail))
            }
            Some(_) | None => Ok(()),
        }
    }

    /// What became of it, as soon as that is known, or when nobody may wait any longer.
    async fn outcome(&self, id: PaymentId, chain: ChainId) -> Result<Outcome, LedgerError> {
        self.facilitator.wake(chain);
        let until = Instant::now() + self.facilitator.timing().settle_budget;
        tokio::select! {
            outcome = self.ledger.outcome(id, until) => outcome,
            () = self.closes() => self.ledger.outcome(id, Instant::now()).await,
        }
    }

    /// Ends when those who wait have to be answered.
    async fn closes(&self) {
        // The sender lives as long as this.
        let _ = self.closing.subscribe().wait_for(|closing| *closing).await;
    }

    async fn pending(&self, id: PaymentId) -> Settled {
        match self.ledger.newest_attempt(id).await {
            Ok(transaction) => Settled::Pending(transaction),
            Err(error) => unknown(&error),
        }
    }

    /// Waits for the money of an owed payment. From here it may move: what is not known is pending.
    async fn finish(&self, owed: Held<held::Owed>, payment: &Payment) -> Settled {
        let id = owed.id();
        match self.outcome(id, payment.chain).await {
            Err(error) => {
                self.let_go(owed, "the ledger failed during the question").await;
                unknown(&error)
            }
            Ok(Outcome::Paid(inclusion)) => self.tell(owed, inclusion).await,
            Ok(Outcome::Claimed(tx)) => {
                self.let_go(owed, "said to be settled, and seen by nobody").await;
                Settled::Pending(Some(tx))
            }
            Ok(Outcome::Released(why)) => {
                Refusal::new(Reason::SimulationFailed, why.unwrap_or_default()).into()
            }
            Ok(Outcome::Failed(why)) => {
                Refusal::new(Reason::SettlementFailed, why.unwrap_or_default()).into()
            }
            Ok(Outcome::Open(_)) => match self.let_go(owed, "the settlement outlasted the question").await {
                Some(State::Released) => {
                    Refusal::new(Reason::SettlerUnavailable, "the payment was not submitted in time").into()
                }
                _ => self.pending(id).await,
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

/// Whether it was taken for this caller, on these terms.
fn is_for(known: &PaymentRecord, requirement: &Requirement, caller: &str) -> bool {
    known.offer == offer(caller) && (known.payee, known.amount) == (requirement.pay_to, requirement.amount)
}

/// Whether money is due, out or there.
const fn is_owed(state: State) -> bool {
    match state {
        State::Due
        | State::Submitting
        | State::Submitted
        | State::Included
        | State::Settled
        | State::Claimed => true,
        State::Reserved | State::Released | State::Failed | State::Waived => false,
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
