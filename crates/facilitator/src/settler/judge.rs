//! When a payment cannot be settled as planned, the token's events decide what became of it.

use super::Settler;
use crate::sight::{Resolved, TickError};
use obol_ledger::PaymentRecord;

impl Settler {
    /// Decides about a due payment that the token refuses, `why` being its words.
    pub(super) async fn judge(&self, payment: &PaymentRecord, why: &str) -> Result<(), TickError> {
        if let Resolved::Open | Resolved::Unclear | Resolved::Untold =
            self.watch.sight.resolve(payment).await?
        {
            tracing::warn!(chain = %self.chain.id, payment = payment.id.0, offer = %payment.offer, why,
                "a payment cannot be settled now");
            self.ledger.defer(payment.id, why, self.timing.back_off).await?;
        }
        Ok(())
    }
}
