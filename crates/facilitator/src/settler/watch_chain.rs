//! What the chain shows about what was sent: receipts and their events.

use super::{HOUSEKEEPING, Pace, Settler, TickError};
use obol_evm::{AuthorizedTransfer, BlockTag, Receipt, RpcError};
use obol_ledger::{BatchState, Inclusion, LiveBatch, MinedBatch, PaymentRecord};
use std::time::{Duration, Instant};

/// How long a payment waits that was mined without its transfer.
const RETRY: Duration = Duration::from_secs(2);

impl Settler {
    pub(super) async fn watch_chain(&mut self) -> Result<Pace, TickError> {
        let live = self.ledger.live_batches(self.account).await?;
        let survey = Instant::now() >= self.survey_at;
        if live.is_empty() && !survey {
            return Ok(Pace::Idle);
        }
        let head = self.read_head().await?;
        let head_moved = self.head.as_ref().is_none_or(|known| known.hash != head.hash);
        let number = head.number.to();
        self.head = Some(head);
        let open: Vec<_> = live.iter().filter(|batch| batch.state == BatchState::Open).collect();
        let mined = self.collect_receipts(&open).await?;
        if head_moved || survey {
            self.drop_orphans(&live).await?;
            self.settle_final(number).await?;
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

    /// Writes down every payment of this ledger that a receipt's events pay.
    pub(super) async fn include_all(&self, receipt: &Receipt, why: &'static str) -> Result<(), TickError> {
        let transfers = receipt.authorized_transfers();
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

fn seconds(timestamp: u64) -> Result<i64, RpcError> {
    i64::try_from(timestamp).map_err(|_| RpcError::Malformed("a block time beyond 63 bits".to_owned()))
}
