//! What final blocks show: what is settled, which attempts are dead.

use super::Settler;
use crate::sight::TickError;
use obol_evm::BlockTag;
use obol_ledger::{BatchState, LiveBatch};

impl Settler {
    pub(super) async fn settle_final(&mut self, head: u64) -> Result<(), TickError> {
        let Some(last) = self.watch.sight.final_block(head).await? else { return Ok(()) };
        let number = last.number.to::<u64>();
        // Read again: orphans have just been dropped.
        let live = self.ledger.live_batches(self.account).await?;
        self.watch.finalize_up_to(&live, number).await?;
        self.bury_dead(&live, number).await?;
        self.watch.look_for_strangers(number).await
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
}
