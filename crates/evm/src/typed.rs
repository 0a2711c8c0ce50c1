//! EIP-712 typed data of EIP-3009.

use crate::abi::TransferWithAuthorization;
use alloy_primitives::{B256, U256};
use alloy_sol_types::{Eip712Domain, SolStruct};
use obol_core::{Asset, Authorization};
use std::borrow::Cow;

/// The token's EIP-712 domain, as the registry or the manifest states it.
pub fn domain(asset: &Asset) -> Eip712Domain {
    Eip712Domain::new(
        Some(Cow::Owned(asset.domain.name.clone())),
        Some(Cow::Owned(asset.domain.version.clone())),
        Some(U256::from(asset.chain.reference())),
        Some(asset.address),
        None,
    )
}

pub fn domain_separator(asset: &Asset) -> B256 {
    domain(asset).separator()
}

/// What the payer signs.
pub fn digest(asset: &Asset, authorization: &Authorization) -> B256 {
    TransferWithAuthorization {
        from: authorization.from,
        to: authorization.to,
        value: authorization.value.atomic(),
        validAfter: authorization.valid_after,
        validBefore: authorization.valid_before,
        nonce: authorization.nonce,
    }
    .eip712_signing_hash(&domain(asset))
}
