//! Where a search for transfers to payees has to begin.

use crate::sight::TickError;
use obol_core::ChainId;
use obol_evm::{Block, BlockTag, Rpc, RpcError};
use obol_ledger::{Ledger, Payee, Timestamp};

/// Seconds by which this machine's clock may have been ahead of the chain's.
const MARGIN: i64 = 3_600;

/// The first block that can matter; none when nobody was ever to be paid. What was taken without an
/// endpoint has no block: there the time tells.
pub(crate) async fn first_block(
    ledger: &Ledger,
    rpc: &Rpc,
    chain: ChainId,
    payees: &[Payee],
) -> Result<Option<u64>, TickError> {
    let known = payees.iter().map(|payee| payee.since).filter(|since| *since > 0).min();
    if payees.iter().all(|payee| payee.since > 0) {
        return Ok(known);
    }
    let Some(taken) = ledger.first_unseen(chain).await? else { return Ok(known.or(Some(0))) };
    let found = block_before(rpc, taken).await?;
    Ok(Some(known.map_or(found, |known| known.min(found))))
}

/// The last block of which it is certain that it is not later than this by this machine's clock.
pub(crate) async fn block_before(rpc: &Rpc, time: Timestamp) -> Result<u64, RpcError> {
    let seconds = time.seconds().saturating_sub(MARGIN);
    let (mut low, mut high) = (0, rpc.latest_block().await?.number.to::<u64>());
    while low < high {
        let middle = low + (high - low).div_ceil(2);
        let block = rpc.block(BlockTag::Number(middle)).await?;
        // One that the endpoint does not have tells nothing: the search begins before it.
        let earlier =
            |block: Block| i64::try_from(block.timestamp.to::<u64>()).is_ok_and(|time| time <= seconds);
        match block.is_some_and(earlier) {
            true => low = middle,
            false => high = middle - 1,
        }
    }
    Ok(low)
}
