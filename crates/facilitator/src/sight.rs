//! What the chain shows about payments of the ledger, written down in it.

use crate::{block_before::block_before, limits::REORGANISED, range::Range};
use obol_core::{Chain, ChainId, Finality};
use obol_evm::{AuthorizationEvent, AuthorizedTransfer, BlockTag, NonceState, Receipt, Rpc, RpcError};
use obol_ledger::{Inclusion, Ledger, LedgerError, PaymentRecord, State};
use std::sync::Arc;

/// What stopped a look at the chain, or what follows from it. The next one begins afresh.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum TickError {
    #[error("chain endpoint: {0}")]
    Rpc(#[from] RpcError),
    #[error("the endpoint serves eip155:{found}, not {wanted}")]
    WrongChain { found: u64, wanted: ChainId },
    #[error("{0}")]
    Ledger(#[from] LedgerError),
}

/// One chain, seen through one endpoint. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Sight {
    pub(crate) ledger: Ledger,
    pub(crate) chain: Arc<Chain>,
    pub(crate) rpc: Rpc,
}

/// What became of a payment, as far as the chain shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Resolved {
    /// Its transfer is on the chain; the ledger has it.
    Paid,
    /// It can never be paid; the ledger has it.
    Failed,
    /// Its nonce is unused, and it may still be settled.
    Open,
    /// Its nonce is used, and by what is not shown or not final.
    Unclear,
    /// The endpoint refuses to tell.
    Untold,
}

/// What the token's events and the final clock say about an authorization.
enum Finding {
    /// Its transfer is on the chain and was written down.
    Paid,
    /// It can never be paid, for this reason.
    Never(&'static str),
    Open,
    Unclear,
    Untold,
}

impl Sight {
    /// The newest block, from an endpoint that serves this chain: what another one says about
    /// nonces, receipts and blocks would take back everything.
    pub(crate) async fn read_head(&self) -> Result<obol_evm::Block, TickError> {
        let (chain, head) = self.rpc.head().await?;
        if chain == self.chain.id.reference() {
            Ok(head)
        } else {
            Err(TickError::WrongChain { found: chain, wanted: self.chain.id })
        }
    }

    /// The last block that no longer moves, by this chain's rule, when `head` is the newest.
    pub(crate) async fn final_block(&self, head: u64) -> Result<Option<obol_evm::Block>, TickError> {
        let tag = match self.chain.finality {
            Finality::Finalized => BlockTag::Finalized,
            Finality::Safe => BlockTag::Safe,
            Finality::Depth(depth) => {
                let Some(number) = head.checked_sub(depth) else { return Ok(None) };
                BlockTag::Number(number)
            }
        };
        Ok(self.rpc.block(tag).await?)
    }

    /// Finds out what became of an owed payment. When the token's events and the final clock say that
    /// it can never be paid, it has failed.
    pub(crate) async fn resolve(&self, payment: &PaymentRecord) -> Result<Resolved, TickError> {
        let finding = match self.find(payment).await {
            // Whatever the endpoint has against this question, others need not wait for it.
            Err(TickError::Rpc(RpcError::Refused { message, .. })) => {
                tracing::warn!(chain = %self.chain.id, payment = payment.id.0, message,
                    "the endpoint refuses to tell what became of a payment");
                Finding::Untold
            }
            finding => finding?,
        };
        match finding {
            Finding::Paid => Ok(Resolved::Paid),
            Finding::Open => Ok(Resolved::Open),
            Finding::Unclear => Ok(Resolved::Unclear),
            Finding::Untold => Ok(Resolved::Untold),
            Finding::Never(why) => {
                self.ledger.fail(payment.id, why).await?;
                Ok(Resolved::Failed)
            }
        }
    }

    /// The same of a payment for which there are words only. One that is said to be settled, and whose
    /// nonce is unused, is doubted.
    pub(crate) async fn check(&self, payment: &PaymentRecord) -> Result<Resolved, TickError> {
        let resolved = self.resolve(payment).await?;
        if resolved == Resolved::Open && payment.state() == State::Claimed {
            tracing::error!(chain = %self.chain.id, payment = payment.id.0, claim = ?payment.claim,
                "a payment is said to be settled, and its authorization is unused");
            self.ledger.doubt(payment.id).await?;
        }
        Ok(resolved)
    }

    async fn find(&self, payment: &PaymentRecord) -> Result<Finding, TickError> {
        let head = self.read_head().await?.number.to::<u64>();
        let last = self.final_block(head).await?;
        let key = &payment.key;
        // Most are unused, and events can be far back: they are searched only when there is one.
        if self.rpc.nonce_state(key.asset, key.payer, key.nonce).await? == NonceState::Unused {
            let final_time = last.map_or(Ok(0), |block| block.seconds())?;
            return Ok(match final_time > payment.valid_before {
                true => Finding::Never("the authorization expired unused"),
                false => Finding::Open,
            });
        }
        // What is named need not be searched for.
        if let Some(claim) = payment.claim
            && let Some(receipt) = self.rpc.receipt(claim).await?
            && self.includes(&receipt, payment, "settled as the facilitator says").await?
        {
            return Ok(Finding::Paid);
        }
        let event = self.search(payment, head).await?;
        let last = last.map_or(0, |block| block.number.to::<u64>());
        match event {
            Some(AuthorizationEvent::Used { tx, block }) => {
                let Some(receipt) = self.rpc.receipt(tx).await? else { return Ok(Finding::Unclear) };
                Ok(match self.includes(&receipt, payment, "settled by another transaction").await? {
                    true => Finding::Paid,
                    false if block <= last => {
                        Finding::Never("the payer used the authorization's nonce for another transfer")
                    }
                    false => Finding::Unclear,
                })
            }
            Some(AuthorizationEvent::Canceled { block, .. }) if block <= last => {
                Ok(Finding::Never("the payer cancelled the authorization"))
            }
            Some(AuthorizationEvent::Canceled { .. }) | None => Ok(Finding::Unclear),
        }
    }

    /// How an authorization ended, by its event: from the head back to where it was verified.
    async fn search(
        &self,
        payment: &PaymentRecord,
        head: u64,
    ) -> Result<Option<AuthorizationEvent>, TickError> {
        let key = &payment.key;
        let first = match payment.verified_at() {
            Some(block) => block.saturating_sub(REORGANISED),
            // It was taken where nobody could look.
            None => block_before(&self.rpc, payment.created_at).await?,
        };
        let mut to = head;
        let mut range = Range::of_blocks();
        loop {
            let from = first.max(to.saturating_sub(range.get() - 1));
            match self.rpc.authorization_event(key.asset, key.payer, key.nonce, from, to).await {
                Ok(None) if from > first => to = from - 1,
                Ok(event) => return Ok(event),
                Err(error) => range.shrink(error)?,
            }
        }
    }

    /// The time of the receipt's block, if that block is still the chain's.
    pub(crate) async fn block_time(&self, receipt: &Receipt) -> Result<Option<i64>, TickError> {
        let block = self.rpc.block(BlockTag::Number(receipt.block_number.to())).await?;
        let same = block.filter(|block| block.hash == receipt.block_hash);
        same.map(|block| block.seconds()).transpose().map_err(TickError::from)
    }

    /// Writes down every payment that a receipt's events pay, and tells whether this one is among them.
    async fn includes(
        &self,
        receipt: &Receipt,
        payment: &PaymentRecord,
        why: &'static str,
    ) -> Result<bool, TickError> {
        self.include_all(receipt, why).await?;
        Ok(receipt.authorized_transfers().iter().any(|transfer| pays(transfer, payment)))
    }

    /// Writes down every payment of this ledger that a receipt's events pay.
    pub(crate) async fn include_all(&self, receipt: &Receipt, why: &'static str) -> Result<(), TickError> {
        let mut transfers = receipt.authorized_transfers();
        if transfers.is_empty() {
            return Ok(());
        }
        // Others' contracts may say whatever they like, and often.
        let payees = self.ledger.payees(self.chain.id).await?;
        transfers.retain(|transfer| payees.iter().any(|payee| payee.asset == transfer.token));
        if transfers.is_empty() {
            return Ok(());
        }
        let block_time = self.block_time(receipt).await?.ok_or_else(|| {
            RpcError::Malformed(format!("block {} of a receipt is not on the chain", receipt.block_hash))
        })?;
        for transfer in &transfers {
            let key = obol_core::PaymentKey {
                chain: self.chain.id,
                asset: transfer.token,
                method: obol_core::TransferMethod::Eip3009,
                payer: transfer.payer,
                nonce: transfer.nonce,
            };
            let Some(record) = self.ledger.payment_by_key(key).await? else { continue };
            if pays(transfer, &record) && !record.state().is_paid() {
                self.ledger.include(key, inclusion(transfer, block_time), why).await?;
            }
        }
        Ok(())
    }
}

pub(crate) fn pays(transfer: &AuthorizedTransfer, payment: &PaymentRecord) -> bool {
    transfer.token == payment.key.asset
        && transfer.payer == payment.key.payer
        && transfer.nonce == payment.key.nonce
        && transfer.to == payment.payee
        && transfer.amount == payment.amount
}

pub(crate) const fn inclusion(transfer: &AuthorizedTransfer, block_time: i64) -> Inclusion {
    Inclusion {
        tx: transfer.tx,
        block: transfer.block,
        block_hash: transfer.block_hash,
        block_time,
        log_index: transfer.log_index,
    }
}
