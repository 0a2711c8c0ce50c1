//! What final blocks show: what is settled, which attempts are dead, what strangers settled.

use super::{CALM, Settler, TickError};
use obol_core::Finality;
use obol_evm::{BlockTag, RpcError};
use obol_ledger::{BatchState, LiveBatch};
use std::{collections::BTreeSet, time::Instant};

/// Blocks that are searched again each time: one address often has several nodes behind it, and
/// one that is behind knows a block's number before it knows its events.
const OVERLAP: u64 = 64;

impl Settler {
    /// The last block that no longer moves, by this chain's rule, when `head` is the newest.
    pub(super) async fn final_block(&self, head: u64) -> Result<Option<obol_evm::Block>, TickError> {
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

    pub(super) async fn settle_final(&mut self, head: u64) -> Result<(), TickError> {
        let Some(last) = self.final_block(head).await? else { return Ok(()) };
        let number = last.number.to::<u64>();
        // Read again: orphans have just been dropped.
        let live = self.ledger.live_batches(self.account).await?;
        self.finalize_up_to(&live, number).await?;
        self.bury_dead(&live, number).await?;
        match self.find_strangers(number).await {
            Err(TickError::Rpc(error)) => {
                // What is due can be settled without. The mark has not moved: it is looked for again.
                if self.searching.is_none() {
                    tracing::warn!(chain = %self.chain.id, endpoint = self.rpc.shown(), %error,
                        "cannot look for transfers by others; trying smaller ranges of blocks");
                }
                self.searching = Some(Instant::now());
                // The smallest is tried again like any other.
                let _no_smaller = self.range.shrink(error);
                Ok(())
            }
            found => {
                if self.searching.is_some_and(|last| last.elapsed() >= CALM) {
                    self.searching = None;
                    tracing::info!(chain = %self.chain.id, "looks for transfers by others again");
                }
                found
            }
        }
    }

    /// An open batch is dead when the final transaction count is past its nonce and no attempt
    /// has a receipt: something else used the nonce. Nodes that keep little history are asked
    /// about the final block only when the head says that it may be so.
    async fn bury_dead(&self, live: &[LiveBatch], last: u64) -> Result<(), TickError> {
        let open = || live.iter().filter(|batch| batch.state == BatchState::Open);
        let Some(lowest) = open().map(|batch| batch.nonce).min() else { return Ok(()) };
        let account = self.account.account;
        if self.rpc.transaction_count(account, BlockTag::Latest).await? <= lowest {
            return Ok(());
        }
        let count = self.rpc.transaction_count(account, BlockTag::Number(last)).await?;
        for batch in open().filter(|batch| batch.nonce < count) {
            let hashes: Vec<_> = batch.attempts.iter().map(|attempt| attempt.hash).collect();
            if self.rpc.receipts(&hashes).await?.iter().all(Option::is_none) {
                tracing::error!(chain = %self.chain.id, nonce = batch.nonce,
                    "a settlement's nonce was used by a transaction that the ledger does not know");
                self.ledger.bury(batch.id, "its nonce was used by something else").await?;
            }
        }
        Ok(())
    }

    /// Looks in final blocks for transfers to our payees that another sender settled.
    async fn find_strangers(&mut self, last: u64) -> Result<(), TickError> {
        let payees = self.ledger.payees(self.chain.id).await?;
        let Some(first) = payees.iter().map(|payee| payee.since).min() else { return Ok(()) };
        let watched: Vec<_> = payees.iter().map(|payee| (payee.asset, payee.payee)).collect();
        let scanned = self.ledger.scanned(self.chain.id).await?;
        let next = scanned.map_or(first, |block| block + 1);
        if next > last {
            return Ok(());
        }
        let blocks = self.range.blocks();
        let overlap = OVERLAP.min(blocks / 2);
        let from = next.saturating_sub(overlap).max(first);
        let to = last.min(from + blocks - 1);
        let transfers = self.rpc.transfers_to(&watched, from, to).await?;
        let found: BTreeSet<_> =
            transfers.into_iter().map(|transfer| (transfer.block, transfer.tx)).collect();
        self.strangers.retain(|(block, _)| *block >= from);
        for (block, transaction) in found {
            if self.strangers.contains(&(block, transaction)) {
                continue;
            }
            let receipt = self.rpc.receipt(transaction).await?.ok_or_else(|| {
                RpcError::Malformed(format!("no receipt of {transaction}, whose event was given"))
            })?;
            self.include_all(&receipt, "settled, as final blocks show").await?;
            self.strangers.insert((block, transaction));
        }
        self.ledger.set_scanned(self.chain.id, to).await?;
        self.range.grow();
        Ok(())
    }
}
