//! How many blocks one search for events spans: as many as the endpoint allows, which nobody says
//! beforehand.

use obol_evm::RpcError;

/// What public endpoints allow.
const MOST: u64 = 2_000;

#[derive(Clone, Copy, Debug)]
pub(crate) struct Range(u64);

impl Default for Range {
    fn default() -> Self {
        Self(MOST)
    }
}

impl Range {
    pub(crate) const fn blocks(self) -> u64 {
        self.0
    }

    pub(crate) fn grow(&mut self) {
        self.0 = (self.0 * 2).min(MOST);
    }

    /// After an error; the same error again when no smaller range can help. Endpoints that were asked
    /// for too much refuse, or let the time pass.
    pub(crate) fn shrink(&mut self, error: RpcError) -> Result<(), RpcError> {
        match error {
            RpcError::Refused { .. } | RpcError::NoAnswer(_) if self.0 > 1 => {
                self.0 /= 2;
                Ok(())
            }
            error => Err(error),
        }
    }
}
