//! What the chain shows about what was sent: receipts and their events.

use super::{HOUSEKEEPING, Pace, Settler};
use crate::sight::{TickError, inclusion, pays};
use obol_evm::Receipt;
use obol_ledger::{BatchState, LiveBatch, MinedBatch};
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
        let head = self.watch.sight.read_head().await?;
        let head_moved = self.watch.head.as_ref().is_none_or(|known| known.hash != head.hash);
        let number = head.number.to();
        self.watch.head = Some(head);
        let open: Vec<_> = live.iter().filter(|batch| batch.state == BatchState::Open).collect();
        let mined = self.collect_receipts(&open).await?;
        if head_moved || survey {
            self.watch.drop_orphans(&live).await?;
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
        let Some(block_time) = self.watch.sight.block_time(receipt).await? else {
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
                block_time,
                cost: receipt.cost(),
                paid,
                unpaid,
                retry_after: RETRY,
            })
            .await?;
        Ok(true)
    }
}
