//! The calls that settle payments, and their simulation.

use crate::{
    Rpc, RpcError,
    abi::{GAS_PRICE_ORACLE, GasPriceOracle, MULTICALL3, Multicall3, Token, TokenBytes},
    signature::PayerSignature,
};
use alloy_primitives::{Address, Bytes, U256};
use alloy_sol_types::{Revert, SolCall, SolError};
use obol_core::Authorization;

/// A call to a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenCall {
    pub token: Address,
    pub data: Bytes,
}

/// The token call that moves the money. ECDSA goes through the overload that every EIP-3009
/// token has; other signatures through Circle's `bytes` overload.
pub fn transfer_call(authorization: &Authorization, signature: &PayerSignature, raw: &Bytes) -> Bytes {
    let Authorization { from, to, value, valid_after, valid_before, nonce } = authorization;
    match signature {
        PayerSignature::Ecdsa(ecdsa) => Token::transferWithAuthorizationCall {
            from: *from,
            to: *to,
            value: value.atomic(),
            validAfter: *valid_after,
            validBefore: *valid_before,
            nonce: *nonce,
            v: ecdsa.v,
            r: ecdsa.r,
            s: ecdsa.s,
        }
        .abi_encode()
        .into(),
        PayerSignature::Contract(_) | PayerSignature::Undeployed { .. } => {
            TokenBytes::transferWithAuthorizationCall {
                from: *from,
                to: *to,
                value: value.atomic(),
                validAfter: *valid_after,
                validBefore: *valid_before,
                nonce: *nonce,
                signature: raw.clone(),
            }
            .abi_encode()
            .into()
        }
    }
}

/// One transaction for one or more calls: one goes straight to the token, more go through
/// Multicall3, where each may fail alone.
pub fn batch_call(calls: &[TokenCall]) -> TokenCall {
    if let [only] = calls {
        return only.clone();
    }
    let calls = calls
        .iter()
        .map(|call| Multicall3::Call3 { target: call.token, allowFailure: true, callData: call.data.clone() })
        .collect();
    TokenCall { token: MULTICALL3, data: Multicall3::aggregate3Call { calls }.abi_encode().into() }
}

/// What a call would do at the head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Simulated {
    Succeeds,
    /// With the contract's own words where it gave any.
    Fails(String),
}

impl Rpc {
    /// Simulates the calls of one transaction, in order, each with the effects of those before.
    pub async fn simulate(&self, calls: &[TokenCall], gas: u64) -> Result<Vec<Simulated>, RpcError> {
        let whole = batch_call(calls);
        let answer = self.eth_call(whole.token, &whole.data, Some(gas)).await;
        let output = match answer {
            Ok(output) => output,
            Err(RpcError::Refused { message, data, .. }) => {
                let why = revert_text(data.as_deref()).unwrap_or(message);
                return Ok(vec![Simulated::Fails(why); calls.len()]);
            }
            Err(error) => return Err(error),
        };
        if calls.len() == 1 {
            return Ok(vec![Simulated::Succeeds]);
        }
        let results = Multicall3::aggregate3Call::abi_decode_returns(&output)
            .map_err(|error| RpcError::Malformed(format!("Multicall3: {error}")))?;
        if results.len() != calls.len() {
            return Err(RpcError::Malformed("Multicall3 answered for other calls".to_owned()));
        }
        Ok(results
            .into_iter()
            .map(|result| {
                if result.success {
                    Simulated::Succeeds
                } else {
                    Simulated::Fails(
                        revert_string(&result.returnData)
                            .unwrap_or_else(|| "reverted without a reason".to_owned()),
                    )
                }
            })
            .collect())
    }

    /// The L1 data fee of a transaction on an OP-stack chain, in wei. A chain without the oracle
    /// (a local one) charges none.
    pub async fn l1_fee(&self, raw: &Bytes) -> Result<U256, RpcError> {
        let data = GasPriceOracle::getL1FeeCall { data: raw.clone() }.abi_encode().into();
        let output = self.eth_call(GAS_PRICE_ORACLE, &data, None).await?;
        if output.is_empty() {
            return Ok(U256::ZERO);
        }
        GasPriceOracle::getL1FeeCall::abi_decode_returns(&output)
            .map_err(|error| RpcError::Malformed(format!("gas price oracle: {error}")))
    }
}

fn revert_text(data: Option<&str>) -> Option<String> {
    revert_string(&data?.parse::<Bytes>().ok()?)
}

/// The text of a Solidity `Error(string)`.
fn revert_string(data: &[u8]) -> Option<String> {
    let revert = Revert::abi_decode(data).ok()?;
    Some(revert.reason.chars().take(200).collect())
}
