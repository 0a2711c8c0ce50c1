//! The settler's own transactions.

use crate::{
    ContractCall,
    key::{Key, scalar, y_parity},
};
use alloy_consensus::{SignableTransaction, Transaction, TxEip1559, TxEnvelope};
use alloy_eips::eip2718::{Decodable2718, Encodable2718};
use alloy_primitives::{Address, B256, Bytes, Signature, TxKind, U256};
use obol_core::ChainId;

/// What a transaction pays for gas. All in wei per gas but the limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fees {
    pub max_fee: u128,
    pub tip: u128,
}

impl Fees {
    /// A replacement has to pay at least a tenth more on both counts for nodes to take it; an
    /// eighth more leaves room for rounding.
    pub fn raised(self) -> Self {
        let raise = |fee: u128| fee.saturating_add(fee / 8).saturating_add(1);
        Self { max_fee: raise(self.max_fee), tip: raise(self.tip) }
    }

    pub fn at_least(self, floor: Self) -> Self {
        Self { max_fee: self.max_fee.max(floor.max_fee), tip: self.tip.max(floor.tip) }
    }
}

/// A signed transaction: the bytes to store before they are sent, and their hash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedTransaction {
    pub hash: B256,
    pub raw: Bytes,
}

/// Signs a call by the settler.
pub fn sign_call(
    key: &Key,
    chain: ChainId,
    nonce: u64,
    gas_limit: u64,
    fees: Fees,
    call: &ContractCall,
) -> SignedTransaction {
    sign(key, chain, nonce, gas_limit, fees, call.to, call.data.clone())
}

/// Signs a transfer of nothing to the settler itself: it fills a nonce that nobody needs.
pub fn sign_filler(key: &Key, chain: ChainId, nonce: u64, fees: Fees) -> SignedTransaction {
    const PLAIN_TRANSFER_GAS: u64 = 21_000;
    sign(key, chain, nonce, PLAIN_TRANSFER_GAS, fees, key.address(), Bytes::new())
}

/// The gas limit in signed bytes; none when they are no transaction.
pub fn gas_limit_of(raw: &[u8]) -> Option<u64> {
    TxEnvelope::decode_2718_exact(raw).ok().map(|transaction| transaction.gas_limit())
}

fn sign(
    key: &Key,
    chain: ChainId,
    nonce: u64,
    gas_limit: u64,
    fees: Fees,
    to: Address,
    input: Bytes,
) -> SignedTransaction {
    let transaction = TxEip1559 {
        chain_id: chain.reference(),
        nonce,
        gas_limit,
        max_fee_per_gas: fees.max_fee,
        max_priority_fee_per_gas: fees.tip,
        to: TxKind::Call(to),
        value: U256::ZERO,
        access_list: Default::default(),
        input,
    };
    let signature = key.sign(transaction.signature_hash());
    let signature = Signature::new(scalar(signature.r), scalar(signature.s), y_parity(&signature));
    let envelope = TxEnvelope::from(transaction.into_signed(signature));
    SignedTransaction { hash: *envelope.tx_hash(), raw: envelope.encoded_2718().into() }
}
