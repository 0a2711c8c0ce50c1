//! When a payment cannot be settled as planned, the token's events decide what became of it.

use super::{Settler, TickError};
use obol_evm::AuthorizationEvent;
use obol_ledger::PaymentRecord;
use std::time::Duration;

/// How long a payment waits that the token refuses for now, such as for lack of funds.
const BACK_OFF: Duration = Duration::from_secs(15);

/// A reorganisation can move a use of the nonce to before the block at which it was unused.
const MARGIN: u64 = 64;

/// What the token's events and the final clock say about an authorization.
enum Finding {
    /// Its transfer is on the chain and was written down.
    Paid,
    Cancelled,
    Expired,
    /// It may still be settled.
    Usable,
}

impl Settler {
    /// Decides about a due payment that the token refuses, `why` being its words.
    pub(super) async fn judge(&self, payment: &PaymentRecord, why: &str) -> Result<(), TickError> {
        match self.find(payment).await? {
            Finding::Paid => {}
            Finding::Cancelled => {
                self.ledger.fail(payment.id, "the payer cancelled the authorization").await?
            }
            Finding::Expired => self.ledger.fail(payment.id, "the authorization expired unused").await?,
            Finding::Usable => {
                tracing::warn!(chain = %self.chain.id, payment = payment.id.0, offer = %payment.offer, why,
                    "a payment cannot be settled now");
                self.ledger.defer(payment.id, why, BACK_OFF).await?;
            }
        }
        Ok(())
    }

    async fn find(&self, payment: &PaymentRecord) -> Result<Finding, TickError> {
        let head = self.rpc.latest_block().await?.number.to::<u64>();
        let last = self.final_block(head).await?;
        let key = &payment.key;
        let event = self
            .rpc
            .authorization_event(
                key.asset,
                key.payer,
                key.nonce,
                payment.verified_block.saturating_sub(MARGIN),
                head,
            )
            .await?;
        let last_number = last.as_ref().map_or(0, |block| block.number.to::<u64>());
        match event {
            Some(AuthorizationEvent::Used { tx, .. }) => {
                let Some(receipt) = self.rpc.receipt(tx).await? else { return Ok(Finding::Usable) };
                self.include_all(&receipt, "settled by another transaction").await?;
                Ok(Finding::Paid)
            }
            Some(AuthorizationEvent::Canceled { block, .. }) if block <= last_number => {
                Ok(Finding::Cancelled)
            }
            Some(AuthorizationEvent::Canceled { .. }) => Ok(Finding::Usable),
            None => {
                let final_time = last.map_or(0, |block| block.timestamp.to::<i64>());
                Ok(if final_time > payment.valid_before { Finding::Expired } else { Finding::Usable })
            }
        }
    }
}
