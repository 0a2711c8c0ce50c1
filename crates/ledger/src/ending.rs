//! How a request lets go of the payment that it holds.
//!
//! A hold that ends is written down later when it cannot be at once, as on a full disk:
//! otherwise the payment would stay with a request that is long gone, or a response that was
//! delivered would count as cut off.

use crate::{
    Delivery, Held, Ledger, LedgerError, Lost, PaymentRecord, State, Timestamp, held,
    hold::load,
    op::Op,
    state::{Forgo, Release},
    txn::Txn,
};
use std::time::Duration;

/// How long an end that could not be written waits for the next try.
const AGAIN: Duration = Duration::from_secs(1);

/// What an end does to the payment.
type End<S, T> = fn(&Txn<'_>, &Held<S>, &str) -> Result<T, LedgerError>;

impl Ledger {
    /// Gives a reserved payment back: nothing was delivered, nothing is owed. One that a stranger
    /// settled meanwhile cannot be given back, but its payer may come for it at once.
    pub async fn release(
        &self,
        held: Held<held::Reserved>,
        why: impl Into<String>,
    ) -> Result<Result<(), Lost>, LedgerError> {
        self.end(Op::Release, held, why.into(), release).await
    }

    /// Notes how the response ended.
    pub async fn finish_delivery(
        &self,
        held: Held<held::Delivering>,
        why: impl Into<String>,
    ) -> Result<(), LedgerError> {
        self.end(Op::FinishDelivery, held, why.into(), finish_delivery).await
    }

    /// As [`Self::finish_delivery`], for who does not wait for it: [`Self::all_ended`] does.
    pub fn note_delivery(&self, held: Held<held::Delivering>, how: &'static str) {
        let ledger = self.clone();
        self.ends.spawn(async move {
            if let Err(error) = ledger.finish_delivery(held, how).await {
                tracing::debug!(%error, "the end of a delivery is not in the ledger yet");
            }
        });
    }

    /// Waits until every end of a hold is written that was begun: what a process does before it
    /// ends, so that what it has delivered is not taken for cut off.
    pub async fn all_ended(&self) {
        self.ends.close();
        self.ends.wait().await;
    }

    /// Ends the hold of a request that cannot deliver. What was never submitted is released;
    /// what was stays open to the same payment, or the payer's next one for the same request.
    pub async fn let_go(
        &self,
        held: Held<held::Owed>,
        why: impl Into<String>,
    ) -> Result<PaymentRecord, LedgerError> {
        self.end(Op::LetGo, held, why.into(), take_back).await
    }

    /// As [`Self::let_go`], for a response whose first byte was allowed and never left.
    pub async fn undeliver(
        &self,
        held: Held<held::Delivering>,
        why: impl Into<String>,
    ) -> Result<(), LedgerError> {
        self.end(Op::LetGo, held, why.into(), take_back).await.map(drop)
    }

    async fn end<S: Send + Sync + 'static, T: Send + 'static>(
        &self,
        op: Op,
        held: Held<S>,
        why: String,
        end: End<S, T>,
    ) -> Result<T, LedgerError> {
        let (again, same) = (held.again(), why.clone());
        let ended = self.writer.write(op, move |txn| end(txn, &held, &why)).await;
        if let Err(LedgerError::Unavailable(_)) = ended {
            let ledger = self.clone();
            self.ends.spawn(async move { ledger.keep_ending(op, again, same, end).await });
        }
        ended
    }

    /// For a hold whose next step was not written, as far as is known; nothing of its response was
    /// sent.
    pub(crate) fn take_back_later<S: Send + Sync + 'static>(&self, op: Op, held: Held<S>) {
        let (ledger, why) = (self.clone(), "the ledger failed during the request".to_owned());
        self.ends.spawn(async move { ledger.keep_ending(op, held, why, take_back).await });
    }

    async fn keep_ending<S: Send + Sync + 'static, T: Send + 'static>(
        &self,
        op: Op,
        held: Held<S>,
        why: String,
        end: End<S, T>,
    ) {
        loop {
            tokio::time::sleep(AGAIN).await;
            let (again, why) = (held.again(), why.clone());
            match self.writer.write(op, move |txn| end(txn, &again, &why)).await {
                Err(LedgerError::Unavailable(_)) => {}
                Ok(_) | Err(_) => return,
            }
        }
    }
}

fn release(txn: &Txn<'_>, held: &Held<held::Reserved>, why: &str) -> Result<Result<(), Lost>, LedgerError> {
    let record = load(txn, held)?;
    if !held.holds(&record) {
        return Ok(Err(Lost(record.state())));
    }
    if record.state().is_paid() {
        let paid = txn.amend(record, why, |record| record.held_until = Timestamp(0))?;
        return Ok(Err(Lost(paid.state())));
    }
    let released = txn.follow::<Release>(record, why, |record| {
        record.held_until = Timestamp(0);
        record.reason = Some(why.to_owned());
    })?;
    Ok(released.map(drop).map_err(|record| Lost(record.state())))
}

fn finish_delivery(txn: &Txn<'_>, held: &Held<held::Delivering>, why: &str) -> Result<(), LedgerError> {
    let record = load(txn, held)?;
    if held.holds(&record) && record.delivery == Delivery::Started {
        txn.amend(record, why, |record| record.delivery = Delivery::Done)?;
    }
    Ok(())
}

/// Gives back what the request has, however far it came: nothing of its response was sent.
fn take_back<S>(txn: &Txn<'_>, held: &Held<S>, why: &str) -> Result<PaymentRecord, LedgerError> {
    let record = load(txn, held)?;
    if !held.holds(&record) || record.delivery == Delivery::Done {
        return Ok(record);
    }
    let record = match record.delivery {
        Delivery::Started => txn.amend(record, why, |record| record.delivery = Delivery::None)?,
        Delivery::None | Delivery::Done => record,
    };
    let given_back = |record: &mut PaymentRecord| {
        record.held_until = Timestamp(0);
        record.reason = Some(why.to_owned());
    };
    let record = match (record.state(), record.batch) {
        (State::Reserved, _) => txn.follow::<Release>(record, why, given_back)?,
        // Never submitted: nothing is owed.
        (State::Due, None) => txn.follow::<Forgo>(record, why, given_back)?,
        _ => Err(record),
    };
    match record {
        Ok(released) => Ok(released),
        Err(record) => txn.amend(record, why, |record| record.held_until = Timestamp(0)),
    }
}
