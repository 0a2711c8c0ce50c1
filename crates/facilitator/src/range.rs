//! How much is asked for at once, such as the blocks of one search for events: as much as the endpoint
//! allows, which nobody says beforehand.

use obol_evm::RpcError;

/// What public endpoints allow: blocks of a search, and receipts in a request.
const BLOCKS: u64 = 2_000;
const RECEIPTS: u64 = 100;

#[derive(Clone, Copy, Debug)]
pub(crate) struct Range {
    now: u64,
    most: u64,
}

impl Range {
    pub(crate) const fn of_blocks() -> Self {
        Self { now: BLOCKS, most: BLOCKS }
    }

    pub(crate) const fn of_receipts() -> Self {
        Self { now: RECEIPTS, most: RECEIPTS }
    }

    pub(crate) const fn get(self) -> u64 {
        self.now
    }

    pub(crate) fn grow(&mut self) {
        self.now = (self.now * 2).min(self.most);
    }

    /// After an error; the same error again when no smaller range can help. Endpoints that were asked
    /// for too much refuse, or let the time pass.
    pub(crate) fn shrink(&mut self, error: RpcError) -> Result<(), RpcError> {
        match error {
            RpcError::Refused { .. } | RpcError::NoAnswer(_) if self.now > 1 => {
                self.now /= 2;
                Ok(())
            }
            error => Err(error),
        }
    }
}
