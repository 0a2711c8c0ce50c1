//! What the chain shows: receipts, reorganisations, finality, strangers' settlements.

use super::{HOUSEKEEPING, Pace, Settler, TickError};
use obol_core::Finality;
use obol_evm::{AuthorizedTransfer, BlockTag, Receipt, RpcError};
use obol_ledger::{BatchState, Inclusion, LiveBatch, MinedBatch, PaymentRecord};
use std::time::{Duration, Instant};

/// How long a payment waits that was mined without its transfer.
const RETRY: Duration = Duration::from_secs(2);

/// Blocks in one search for events: what public endpoints allow.
const RANGE: u64 = 2_000;

impl Settler {
    pub(super) async fn watch_chain(&mut self) -> Result<Pace, TickError> {
        let live = self.ledger.live_batches(self.account).await?;
        let survey = Instant::now() >= self.survey_at;
        if live.is_empty() && !survey {
            return Ok(Pace::Idle);
        }
        let head = self.rpc.latest_block().await?;
        let head_moved = self.head != Some(head.hash);
        self.head = Some(head.hash);
        let open: Vec<_> = live.iter().filter(|batch| batch.state == BatchState::Open).collect();
        let mined = self.collect_receipts(&open).await?;
        if head_moved || survey {
            self.drop_orphans(&live).await?;
            self.settle_final(head.number.to()).await?;
            self.survey_at = Instant::now() + HOUSEKEEPING;
        }
        Ok(match (mined, open.len()) {
            (0, 0) => Pace::Idle,
            (0, _) => Pace::Watching,
            _ => Pace::Moving,
        })
    }

    /// Looks for receipts of every attempt that is out. Tells how many batches were mined.
    async fn collect_receipts(&self, open: &[&LiveBatch]) -> Result<usize, TickError> {
        let hashes: Vec<_> = open.iter().flat_map(|batch| batch.attempts.iter().map(|a| a.hash)).collect();
        if hashes.is_empty() {
            return Ok(0);
        }
        let receipts = self.rpc.receipts(&hashes).await?;
        let mut mined = 0;
        for batch in open {
            let mut found = receipts.iter().flatten();
            let receipt =
                found.find(|receipt| batch.attempts.iter().any(|a| a.hash == receipt.transaction_hash));
            if let Some(receipt) = receipt {
                mined += usize::from(self.record_mined(batch, receipt).await?);
            }
        }
        Ok(mined)
    }

    /// Writes down a mined batch. The receipt's status is not believed: each payment needs its
    /// own transfer event.
    async fn record_mined(&self, batch: &LiveBatch, receipt: &Receipt) -> Result<bool, TickError> {
        let Some(block_time) = self.block_time(receipt).await? else {
            // Reorganised between the two reads; the next tick sees where it went.
            return Ok(false);
        };
        let transfers = receipt.authorized_transfers();
        let mut paid = Vec::new();
        let mut unpaid = Vec::new();
        for payment in &batch.payments {
            match transfers.iter().find(|transfer| pays(transfer, payment)) {
                Some(transfer) => paid.push((payment.id, inclusion(transfer, block_time))),
                None => unpaid.push(payment.id),
            }
        }
        tracing::info!(chain = %self.chain.id, transaction = %receipt.transaction_hash,
            block = receipt.block_number.to::<u64>(), gas = receipt.gas_used.to::<u64>(),
            paid = paid.len(), unpaid = unpaid.len(), "settlement is in a block");
        self.ledger
            .mined(MinedBatch {
                batch: batch.id,
                tx: receipt.transaction_hash,
                block: receipt.block_number.to(),
                block_hash: receipt.block_hash,
                paid,
                unpaid,
                retry_after: RETRY,
            })
            .await?;
        Ok(true)
    }

    /// The time of the receipt's block, if that block is still the chain's.
    async fn block_time(&self, receipt: &Receipt) -> Result<Option<i64>, TickError> {
        let block = self.rpc.block(BlockTag::Number(receipt.block_number.to())).await?;
        let same = block.filter(|block| block.hash == receipt.block_hash);
        same.map(|block| seconds(block.timestamp.to())).transpose().map_err(TickError::from)
    }

    /// A block that is on the chain has all its ancestors there. So the newest block that holds
    /// something of ours is looked at, and older ones only when it is gone.
    async fn drop_orphans(&self, live: &[LiveBatch]) -> Result<(), TickError> {
        let mut places = Vec::new();
        for batch in live {
            if let BatchState::Mined { block, block_hash, .. } = batch.state {
                places.push((block, block_hash, Place::Batch(batch.id)));
            }
        }
        let included = self.ledger.included(self.chain.id).await?;
        for record in &included {
            let ours = live.iter().any(|batch| Some(batch.id) == record.batch && holds(batch, record));
            if let (Some(at), false) = (record.inclusion, ours) {
                places.push((at.block, at.block_hash, Place::Payment(record.id)));
            }
        }
        places.sort_unstable_by_key(|(block, ..)| std::cmp::Reverse(*block));
        let mut on_chain = None;
        for (number, hash, place) in places {
            if on_chain == Some(hash) {
                break;
            }
            let block = self.rpc.block(BlockTag::Number(number)).await?;
            if block.is_some_and(|block| block.hash == hash) {
                on_chain = Some(hash);
                continue;
            }
            if on_chain.is_some() {
                break;
            }
            tracing::warn!(chain = %self.chain.id, block = number, %hash, "a block with settlements is gone");
            match place {
                Place::Batch(batch) => self.ledger.orphan_batch(batch).await?,
                Place::Payment(id) => self.ledger.orphan(id, hash).await?,
            }
        }
        Ok(())
    }

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

    async fn settle_final(&mut self, head: u64) -> Result<(), TickError> {
        let Some(last) = self.final_block(head).await? else { return Ok(()) };
        let number = last.number.to::<u64>();
        // Read again: orphans have just been dropped.
        let live = self.ledger.live_batches(self.account).await?;
        let mut batches = Vec::new();
        let mut newest = None;
        for batch in &live {
            if let BatchState::Mined { block, block_hash, .. } = batch.state
                && block <= number
            {
                batches.push(batch.id);
                newest = newest.max(Some((block, block_hash)));
            }
        }
        let mut payments = Vec::new();
        for record in self.ledger.included(self.chain.id).await? {
            if let Some(at) = record.inclusion.filter(|at| at.block <= number) {
                payments.push((record.id, at.block_hash));
                newest = newest.max(Some((at.block, at.block_hash)));
            }
        }
        if let Some((block, hash)) = newest {
            let on_chain = self.rpc.block(BlockTag::Number(block)).await?;
            if on_chain.is_some_and(|block| block.hash == hash) {
                self.ledger.finalize(batches, payments).await?;
            }
        }
        self.bury_dead(&live, number).await?;
        self.find_strangers(number).await
    }

    /// An open batch is dead when the final transaction count is past its nonce and no attempt
    /// has a receipt: something else used the nonce.
    async fn bury_dead(&self, live: &[LiveBatch], last: u64) -> Result<(), TickError> {
        let open: Vec<_> = live.iter().filter(|batch| batch.state == BatchState::Open).collect();
        if open.is_empty() {
            return Ok(());
        }
        let count = self.rpc.transaction_count(self.account.account, BlockTag::Number(last)).await?;
        for batch in open {
            if batch.nonce >= count {
                continue;
            }
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
    async fn find_strangers(&self, last: u64) -> Result<(), TickError> {
        let payees = self.ledger.payees(self.chain.id).await?;
        let Some(first) = payees.iter().map(|payee| payee.since).min() else { return Ok(()) };
        let from = self.ledger.scanned(self.chain.id).await?.map_or(first, |block| block + 1);
        if from > last {
            return Ok(());
        }
        let to = last.min(from + RANGE - 1);
        for payee in payees {
            for transfer in self.rpc.transfers_to(payee.asset, payee.payee, from, to).await? {
                let Some(receipt) = self.rpc.receipt(transfer.tx).await? else { continue };
                self.include_all(&receipt, "settled, as final blocks show").await?;
            }
        }
        self.ledger.set_scanned(self.chain.id, to).await?;
        Ok(())
    }

    /// Writes down every payment of this ledger that a receipt's events pay.
    pub(super) async fn include_all(&self, receipt: &Receipt, why: &'static str) -> Result<(), TickError> {
        let transfers = receipt.authorized_transfers();
        if transfers.is_empty() {
            return Ok(());
        }
        let Some(block_time) = self.block_time(receipt).await? else { return Ok(()) };
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

enum Place {
    Batch(obol_ledger::BatchId),
    Payment(obol_ledger::PaymentId),
}

/// Whether the payment's place on the chain is this batch's transaction.
fn holds(batch: &LiveBatch, record: &PaymentRecord) -> bool {
    match (batch.state, record.inclusion) {
        (BatchState::Mined { tx, .. }, Some(at)) => tx == at.tx,
        _ => false,
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

fn seconds(timestamp: u64) -> Result<i64, RpcError> {
    i64::try_from(timestamp).map_err(|_| RpcError::Malformed("a block time beyond 63 bits".to_owned()))
}
