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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn less_is_asked_for_after_an_error_and_more_when_it_works_up_to_what_it_was() {
        let refused = || RpcError::NoAnswer("timed out".to_owned());
        let mut range = Range::of_receipts();
        for left in [50, 25, 12, 6, 3, 1] {
            range.shrink(refused()).expect("less can be asked for");
            assert_eq!(range.get(), left);
        }
        assert!(range.shrink(refused()).is_err(), "no less than one");
        range.grow();
        assert_eq!(range.get(), 2);
        (0..9).for_each(|_| range.grow());
        assert_eq!(range.get(), 100);
        assert!(range.shrink(RpcError::Malformed("no answer at all".to_owned())).is_err());
    }
}
