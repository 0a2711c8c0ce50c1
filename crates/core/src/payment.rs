use crate::{Amount, ChainId, TransferMethod};
use alloy_primitives::{Address, B256, Bytes, U256};

/// The x402 protocol version that a peer speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum WireVersion {
    V1,
    V2,
}

impl WireVersion {
    pub const fn number(self) -> u8 {
        match self {
            Self::V1 => 1,
            Self::V2 => 2,
        }
    }
}

/// What a payer authorizes under EIP-3009. Times are seconds since the Unix epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authorization {
    pub from: Address,
    pub to: Address,
    pub value: Amount,
    pub valid_after: U256,
    pub valid_before: U256,
    pub nonce: B256,
}

/// A decoded payment: an authorization for one asset on one chain and the payer's signature.
///
/// The signature is kept as it came; whether it is good is decided by `obol-evm`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payment {
    pub version: WireVersion,
    pub chain: ChainId,
    pub asset: Address,
    pub method: TransferMethod,
    pub authorization: Authorization,
    pub signature: Bytes,
}

/// A call that brings a wallet into being before its token transfer can be asked for (ERC-6492).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deployment {
    pub factory: Address,
    pub data: Bytes,
}

/// The token call that settles a payment, and what has to be deployed before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettlementCall {
    pub token: Address,
    pub data: Bytes,
    pub deployment: Option<Deployment>,
}

/// What makes a payment the same payment: the unit that is served, and settled, at most once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PaymentKey {
    pub chain: ChainId,
    pub asset: Address,
    pub method: TransferMethod,
    pub payer: Address,
    pub nonce: B256,
}

impl Payment {
    pub const fn key(&self) -> PaymentKey {
        PaymentKey {
            chain: self.chain,
            asset: self.asset,
            method: self.method,
            payer: self.authorization.from,
            nonce: self.authorization.nonce,
        }
    }
}
