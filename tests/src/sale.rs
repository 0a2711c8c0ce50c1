use crate::Seller;
use anyhow::{Context, Result, bail};
use obol_core::{Amount, Exposure, Payment, Refusal};
use obol_devchain::CHAIN;
use obol_facilitator::{Terms, Verified};
use obol_ledger::{Held, Outcome, Owing, PaymentId, Reservation, State, held};
use std::time::Duration;

/// How an attempt to buy ended, as the gate would answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sale {
    Served,
    Refused(Refusal),
    /// Given back, with the settler's word for it.
    Released(Option<String>),
    Failed(Option<String>),
    /// The settlement outlasted the request.
    Pending(State),
}

const HEADER_TIMEOUT: Duration = Duration::from_secs(10);

impl Seller {
    pub async fn verify(&self, payment: &Payment) -> Result<Verified, Refusal> {
        let terms = Terms { requirement: &self.requirement, header_timeout: HEADER_TIMEOUT };
        self.facilitator.verify(payment, terms).await
    }

    /// Verified and held for one request; anything else is a failure of the test.
    pub async fn grant(&self, payment: &Payment) -> Result<Held<held::Reserved>> {
        match self.reserve(payment).await? {
            Reservation::Granted(held) => Ok(held),
            other => bail!("not granted: {other:?}"),
        }
    }

    /// A whole request, with the upstream succeeding at once.
    pub async fn attempt(&self, payment: &Payment) -> Result<Sale> {
        let owed = match self.reserve(payment).await? {
            Reservation::Granted(held) => self.owe(held).await?,
            Reservation::Entitled(owed, _) => owed,
            Reservation::Refused(refusal) => return Ok(Sale::Refused(refusal)),
        };
        self.finish(owed).await
    }

    /// Waits for the money, then delivers; lets go when it does not come in time.
    pub async fn finish(&self, owed: Held<held::Owed>) -> Result<Sale> {
        match self.outcome(&owed).await? {
            Outcome::Paid(_) | Outcome::Claimed(_) => {
                let delivering =
                    self.ledger.start_delivery(owed).await?.context("lost before the first byte")?;
                self.ledger.finish_delivery(delivering, "done").await?;
                Ok(Sale::Served)
            }
            Outcome::Released(why) => Ok(Sale::Released(why)),
            Outcome::Failed(why) => Ok(Sale::Failed(why)),
            Outcome::Open(_) => {
                let record = self.ledger.let_go(owed, "the settlement outlasted the request").await?;
                Ok(match record.state() {
                    State::Released => Sale::Released(record.reason),
                    state => Sale::Pending(state),
                })
            }
        }
    }

    /// Delivers on a reservation before the money is there, as an offer that trusts its payers
    /// does, and leaves the settlement to the settler.
    pub async fn trust(&self, held: Held<held::Reserved>) -> Result<PaymentId> {
        let id = held.id();
        let all = Amount::from_atomic(alloy_primitives::U256::MAX);
        match self.ledger.owe(held, Some(Exposure { per_payer: all, per_offer: all })).await? {
            Ok(Owing::Deliver(delivering)) => self.ledger.finish_delivery(delivering, "done").await?,
            other => bail!("not delivered: {other:?}"),
        }
        self.facilitator.wake(CHAIN);
        Ok(id)
    }
}
