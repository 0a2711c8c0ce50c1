//! When a payment cannot be settled as planned, the token's events decide what became of it.

use super::{Settler, TickError, watch_chain::pays};
use crate::limits::REORGANISED;
use obol_evm::{AuthorizationEvent, NonceState, RpcError};
use obol_ledger::PaymentRecord;

/// What the token's events and the final clock say about an authorization.
enum Finding {
    /// Its transfer is on the chain and was written down.
    Paid,
    Cancelled,
    /// The payer used its nonce for another transfer.
    SpentElsewhere,
    Expired,
    /// It may still be settled.
    Usable,
}

impl Settler {
    /// Decides about a due payment that the token refuses, `why` being its words.
    pub(super) async fn judge(&self, payment: &PaymentRecord, why: &str) -> Result<(), TickError> {
        let finding = match self.find(payment).await {
            // Whatever the endpoint has against this question, others need not wait for it.
            Err(TickError::Rpc(RpcError::Refused { message, .. })) => {
                tracing::warn!(chain = %self.chain.id, payment = payment.id.0, message,
                    "the endpoint refuses to tell what became of a payment");
                Finding::Usable
            }
            finding => finding?,
        };
        match finding {
            Finding::Paid => {}
            Finding::Cancelled => {
                self.ledger.fail(payment.id, "the payer cancelled the authorization").await?
            }
            Finding::SpentElsewhere => {
                let why = "the payer used the authorization's nonce for another transfer";
                self.ledger.fail(payment.id, why).await?
            }
            Finding::Expired => self.ledger.fail(payment.id, "the authorization expired unused").await?,
            Finding::Usable => {
                tracing::warn!(chain = %self.chain.id, payment = payment.id.0, offer = %payment.offer, why,
                    "a payment cannot be settled now");
                self.ledger.defer(payment.id, why, self.timing.back_off).await?;
            }
        }
        Ok(())
    }

    async fn find(&self, payment: &PaymentRecord) -> Result<Finding, TickError> {
        let head = self.read_head().await?.number.to::<u64>();
        let last = self.final_block(head).await?;
        let key = &payment.key;
        // Most are unused, and events can be far back: they are searched only when there is one.
        if self.rpc.nonce_state(key.asset, key.payer, key.nonce).await? == NonceState::Unused {
            let final_time = last.map_or(0, |block| block.timestamp.to::<i64>());
            return Ok(if final_time > payment.valid_before { Finding::Expired } else { Finding::Usable });
        }
        let event = self.search(payment, head).await?;
        let last = last.map_or(0, |block| block.number.to::<u64>());
        match event {
            Some(AuthorizationEvent::Used { tx, block }) => {
                let Some(receipt) = self.rpc.receipt(tx).await? else { return Ok(Finding::Usable) };
                self.include_all(&receipt, "settled by another transaction").await?;
                let paid = receipt.authorized_transfers().iter().any(|transfer| pays(transfer, payment));
                Ok(match paid {
                    true => Finding::Paid,
                    false if block <= last => Finding::SpentElsewhere,
                    false => Finding::Usable,
                })
            }
            Some(AuthorizationEvent::Canceled { block, .. }) if block <= last => Ok(Finding::Cancelled),
            Some(AuthorizationEvent::Canceled { .. }) | None => Ok(Finding::Usable),
        }
    }

    /// How an authorization ended, by its event: from the head back to where it was verified.
    async fn search(
        &self,
        payment: &PaymentRecord,
        head: u64,
    ) -> Result<Option<AuthorizationEvent>, TickError> {
        let key = &payment.key;
        let first = payment.verified_block.saturating_sub(REORGANISED);
        let mut to = head;
        let mut range = self.range;
        loop {
            let from = first.max(to.saturating_sub(range.blocks() - 1));
            match self.rpc.authorization_event(key.asset, key.payer, key.nonce, from, to).await {
                Ok(None) if from > first => to = from - 1,
                Ok(event) => return Ok(event),
                Err(error) => range.shrink(error)?,
            }
        }
    }
}
