use crate::{Amount, Asset};
use alloy_primitives::Address;
use std::sync::Arc;

/// One way to pay for an offer: an entry of the challenge's `accepts`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Requirement {
    pub asset: Arc<Asset>,
    pub pay_to: Address,
    pub amount: Amount,
    /// How long the payer's authorization must live from its signing, in seconds.
    pub max_timeout_seconds: u64,
}
