//! Blocks by this machine's time.

use obol_evm::{Block, BlockTag, Rpc, RpcError};
use obol_ledger::Timestamp;

/// Seconds by which this machine's clock may have been ahead of the chain's.
const MARGIN: i64 = 3_600;

/// The last block of which it is certain that it is not later than this by this machine's clock.
pub(crate) async fn block_before(rpc: &Rpc, time: Timestamp) -> Result<u64, RpcError> {
    let seconds = time.seconds().saturating_sub(MARGIN);
    let (mut low, mut high) = (0, rpc.latest_block().await?.number.to::<u64>());
    while low < high {
        let middle = low + (high - low).div_ceil(2);
        let block = rpc.block(BlockTag::Number(middle)).await?;
        // One that the endpoint does not have tells nothing: the search begins before it.
        let earlier = |block: Block| block.seconds().is_ok_and(|time| time <= seconds);
        match block.is_some_and(earlier) {
            true => low = middle,
            false => high = middle - 1,
        }
    }
    Ok(low)
}
