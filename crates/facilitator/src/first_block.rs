//! Where a search for transfers to payees has to begin.

use crate::{block_before::block_before, sight::TickError};
use obol_core::ChainId;
use obol_evm::Rpc;
use obol_ledger::{Ledger, Payee};

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
