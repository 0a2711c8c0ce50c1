use alloy_primitives::U256;
use obol_evm::{Fees, RpcError};
use std::time::Duration;

/// Times that verification and settlement keep to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// How far this machine's clock and the chain's may be apart. Makes both ends of an
    /// authorization's validity stricter.
    pub clock_skew: Duration,
    /// How long a request waits for its settlement.
    pub settle_budget: Duration,
    /// How old the head of the chain may be before the endpoint is taken to be behind.
    pub stale_head: Duration,
    /// How long a sender's lease lasts without renewal.
    pub lease: Duration,
    /// How long another process on the ledger may give no sign of life before what it held is
    /// taken over.
    pub patience: Duration,
    /// How long due payments are gathered for one transaction.
    pub gather: Duration,
    /// How long a transaction may stay out of blocks before it is sent again with higher fees.
    pub stuck: Duration,
    /// How long a payment waits that the token refuses for now, such as for lack of funds.
    pub back_off: Duration,
    /// How often ledger and chain are compared; never when not given.
    pub reconcile: Option<Duration>,
}

impl Timing {
    /// How long a facilitator may take to settle: who waits can still be told what the chain shows.
    pub fn answer_budget(&self) -> Duration {
        self.settle_budget * 3 / 4
    }
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            clock_skew: Duration::from_secs(5),
            settle_budget: Duration::from_secs(30),
            stale_head: Duration::from_secs(60),
            lease: Duration::from_secs(10),
            patience: Duration::from_secs(5),
            gather: Duration::from_millis(3),
            stuck: Duration::from_secs(30),
            back_off: Duration::from_secs(15),
            reconcile: None,
        }
    }
}

/// What the seller is willing to pay for settling.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GasCeilings {
    /// Wei per gas, tip included.
    pub max_fee: u128,
    /// Gas for one payment that travels with others.
    pub per_payment: u64,
    /// Gas for one payment whose payer has code, alone in its transaction.
    pub per_contract_payment: u64,
    /// Gas for one payment whose payer's wallet is deployed with it, alone in its transaction.
    pub per_deployment: u64,
    /// Wei of L1 data fee for one payment, on OP-stack chains.
    pub l1_fee_per_payment: u128,
}

/// A tip for nodes that suggest none, in wei per gas.
const FALLBACK_TIP: u128 = 1_000_000;

impl GasCeilings {
    /// What to pay per gas; none when that is above the ceiling. Room for the base fee to double keeps a
    /// transaction valid for six full blocks.
    pub(crate) fn fees(
        &self,
        base: Option<U256>,
        suggested_tip: Result<u128, RpcError>,
    ) -> Result<Option<Fees>, RpcError> {
        let base: u128 = base.unwrap_or_default().saturating_to();
        let tip = match suggested_tip {
            Ok(tip) => tip,
            Err(RpcError::Refused { .. }) => FALLBACK_TIP,
            Err(error) => return Err(error),
        };
        if base.saturating_add(tip) > self.max_fee {
            return Ok(None);
        }
        let max_fee = base.saturating_mul(2).saturating_add(tip).min(self.max_fee);
        Ok(Some(Fees { max_fee, tip }))
    }

    /// Gas for one payment alone in its transaction.
    pub(crate) const fn of_one(&self) -> u64 {
        BATCH_OVERHEAD.saturating_add(self.per_payment)
    }
}

impl Default for GasCeilings {
    fn default() -> Self {
        Self {
            max_fee: 100_000_000_000,
            per_payment: 120_000,
            per_contract_payment: 500_000,
            per_deployment: 1_000_000,
            l1_fee_per_payment: 100_000_000_000_000,
        }
    }
}

/// Blocks by which a reorganisation may move a transfer to before the one at which its payment was
/// verified.
pub(crate) const REORGANISED: u64 = 64;

/// Payments in one transaction. A batch of 200 saves a twentieth more gas each than one of 50.
pub(crate) const BATCH: u32 = 100;

/// Transactions of one settler that may be out at once.
pub(crate) const OPEN_BATCHES: usize = 8;

/// Gas of a transaction before its payments: the base fee and Multicall3's own.
pub(crate) const BATCH_OVERHEAD: u64 = 60_000;
