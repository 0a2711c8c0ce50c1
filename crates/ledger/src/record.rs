//! What the ledger stores and tells.

use crate::{Delivery, Position, State, Timestamp};
use alloy_primitives::{Address, B256, Bytes};
use obol_core::{Amount, OfferId, PaymentKey, SettlementCall};

/// Of a payment that has to be seen on the chain, and was taken where nobody could look.
pub const UNKNOWN_BLOCK: u64 = 1;

/// A payment's row, for as long as the ledger exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PaymentId(pub i64);

/// A settler transaction that pays one or more payments: one nonce, one or more attempts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BatchId(pub i64);

/// A verified payment that asks to be reserved.
#[derive(Clone, Debug)]
pub struct NewPayment {
    pub key: PaymentKey,
    pub payee: Address,
    pub amount: Amount,
    /// What settles it, ready to be sent. Opaque to the ledger.
    pub call: SettlementCall,
    /// Seconds since the Unix epoch; later than the ledger can count is stored as its maximum.
    pub valid_before: i64,
    pub offer: OfferId,
    pub origin: Origin,
    /// The payer's balance of the asset, and the block at which balance and nonce were read.
    pub balance: Amount,
    /// 0 where nobody could look.
    pub verified_block: u64,
    pub proof: Proof,
    /// What a facilitator is to be asked; none where a transaction of ours settles.
    pub question: Option<Bytes>,
}

/// How it is known that the payer has signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof {
    /// By the signature, or by the payer's code.
    Signature,
    /// A facilitator says so: enough to take the payment, and not for what its payer is owed.
    Word,
}

/// Where a payment came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    /// What the request was, so that a settled payment is only redeemed by the same request.
    pub fingerprint: B256,
    /// Who sent it, as far as the network tells, so that a payment whose signature is public is
    /// only redeemed by the same sender.
    pub client: B256,
}

/// Where a transfer is on the chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Inclusion {
    pub tx: B256,
    pub block: u64,
    pub block_hash: B256,
    /// Seconds since the Unix epoch.
    pub block_time: i64,
    /// Of the token's `Transfer` event.
    pub log_index: u64,
}

/// A payment as it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PaymentRecord {
    pub id: PaymentId,
    pub key: PaymentKey,
    pub payee: Address,
    pub amount: Amount,
    pub valid_before: i64,
    pub offer: OfferId,
    pub(crate) state: State,
    pub(crate) revision: i64,
    /// How often it was reserved, entitlements included.
    pub(crate) reservation: i64,
    pub delivery: Delivery,
    pub origin: Origin,
    pub held_until: Timestamp,
    /// Where its transfer may be at the earliest, and that it has to be seen there: 0 where nobody could
    /// look, [`UNKNOWN_BLOCK`] where somebody has looked since.
    pub verified_block: u64,
    pub batch: Option<BatchId>,
    /// The largest batch it may travel in; 0 is any. Halved when a batch failed for gas.
    pub batch_cap: u32,
    /// How often it was mined without its transfer: each time cost gas.
    pub misses: u32,
    pub retry_at: Timestamp,
    /// Why it was last refused, deferred or failed.
    pub reason: Option<String>,
    pub inclusion: Option<Inclusion>,
    /// The transaction that a facilitator says has settled it, or will.
    pub claim: Option<B256>,
    pub created_at: Timestamp,
    pub changed_at: Timestamp,
}

impl PaymentRecord {
    /// What its money is counted by.
    pub fn position(&self) -> Position {
        Position { offer: self.offer.clone(), chain: self.key.chain, asset: self.key.asset }
    }

    /// The block at which an endpoint verified it: its transfer is in no earlier one.
    pub const fn verified_at(&self) -> Option<u64> {
        match self.verified_block {
            ..=UNKNOWN_BLOCK => None,
            block => Some(block),
        }
    }

    /// Whether nobody's word stands for its transfer: an endpoint has verified it, or has doubted a claim.
    pub const fn has_to_be_seen(&self) -> bool {
        self.verified_block > 0
    }

    pub const fn state(&self) -> State {
        self.state
    }

    pub const fn reservation(&self) -> i64 {
        self.reservation
    }
}

/// One line of a payment's story.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    pub revision: i64,
    pub at: Timestamp,
    pub who: String,
    pub from: Option<State>,
    pub to: State,
    pub delivery: Delivery,
    pub why: String,
}
