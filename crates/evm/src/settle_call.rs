//! The calls that settle payments, and their simulation.

use crate::{
    Rpc, RpcError,
    abi::{GAS_PRICE_ORACLE, GasPriceOracle, MULTICALL3, Multicall3, Token, TokenBytes},
    signature::PayerSignature,
};
use alloy_primitives::{Address, Bytes, U256};
use alloy_sol_types::{Revert, SolCall, SolError};
use obol_core::{Authorization, Deployment, SettlementCall};

/// A transaction's target and input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContractCall {
    pub to: Address,
    pub data: Bytes,
}

/// The token call that moves the money. ECDSA goes through the overload that every EIP-3009
/// token has; other signatures through Circle's `bytes` overload.
pub fn transfer_call(authorization: &Authorization, signature: &PayerSignature) -> Bytes {
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
        PayerSignature::Contract(raw) | PayerSignature::Undeployed { inner: raw, .. } => {
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
pub fn batch_call(calls: &[SettlementCall]) -> ContractCall {
    if let [SettlementCall { token, data, deployment: None }] = calls {
        return ContractCall { to: *token, data: data.clone() };
    }
    let may_fail = |target: Address, data: &Bytes| Multicall3::Call3 {
        target,
        allowFailure: true,
        callData: data.clone(),
    };
    let mut steps = Vec::with_capacity(calls.len());
    for call in calls {
        if let Some(Deployment { factory, data }) = &call.deployment {
            steps.push(may_fail(*factory, data));
        }
        steps.push(may_fail(call.token, &call.data));
    }
    ContractCall { to: MULTICALL3, data: Multicall3::aggregate3Call { calls: steps }.abi_encode().into() }
}

/// What a call would do at the head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Simulated {
    Succeeds,
    /// With the contract's own words where it gave any.
    Fails(String),
}

impl Rpc {
    /// Simulates the calls of one transaction by `from`, in order, each with the effects of those
    /// before. An answer that is no verdict on the calls, such as a node that is overloaded, is
    /// an error.
    pub async fn simulate(
        &self,
        from: Address,
        calls: &[SettlementCall],
        gas: u64,
    ) -> Result<Vec<Simulated>, RpcError> {
        match self.simulate_whole(from, calls, gas).await? {
            Whole::Ran(results) => Ok(results),
            Whole::Reverted(why) if calls.len() == 1 => Ok(vec![Simulated::Fails(why)]),
            // Too much for the node in one call, or one of them takes all gas: which, is seen
            // when each is alone.
            Whole::Reverted(_) => {
                let mut results = Vec::with_capacity(calls.len());
                for call in calls.chunks(1) {
                    results.push(match self.simulate_whole(from, call, gas).await? {
                        Whole::Ran(alone) => alone.into_iter().next().unwrap_or_else(silent),
                        Whole::Reverted(why) => Simulated::Fails(why),
                    });
                }
                Ok(results)
            }
        }
    }

    async fn simulate_whole(
        &self,
        from: Address,
        calls: &[SettlementCall],
        gas: u64,
    ) -> Result<Whole, RpcError> {
        let whole = batch_call(calls);
        let output = match self.call_from(from, whole.to, &whole.data, gas).await {
            Ok(output) => output,
            Err(RpcError::Refused { code, message, data }) if is_revert(code, &message) => {
                return Ok(Whole::Reverted(revert_text(data.as_deref()).unwrap_or(message)));
            }
            Err(error) => return Err(error),
        };
        if whole.to != MULTICALL3 {
            return Ok(Whole::Ran(vec![Simulated::Succeeds]));
        }
        let results = Multicall3::aggregate3Call::abi_decode_returns(&output)
            .map_err(|error| RpcError::Malformed(format!("Multicall3: {error}")))?;
        let steps: usize = calls.iter().map(|call| 1 + usize::from(call.deployment.is_some())).sum();
        if results.len() != steps {
            return Err(RpcError::Malformed("Multicall3 answered for other calls".to_owned()));
        }
        let mut results = results.into_iter();
        let transfers = calls.iter().filter_map(|call| {
            if call.deployment.is_some() {
                results.next();
            }
            results.next()
        });
        Ok(Whole::Ran(transfers.map(verdict).collect()))
    }

    /// The L1 data fee of a transaction on an OP-stack chain, in wei. A chain without the oracle
    /// (a local one) charges none.
    pub async fn l1_fee(&self, raw: &Bytes) -> Result<U256, RpcError> {
        let data = GasPriceOracle::getL1FeeCall { data: raw.clone() }.abi_encode().into();
        let output = self.eth_call(GAS_PRICE_ORACLE, &data).await?;
        if output.is_empty() {
            return Ok(U256::ZERO);
        }
        GasPriceOracle::getL1FeeCall::abi_decode_returns(&output)
            .map_err(|error| RpcError::Malformed(format!("gas price oracle: {error}")))
    }
}

/// What a simulated transaction came to.
enum Whole {
    Ran(Vec<Simulated>),
    Reverted(String),
}

fn verdict(result: Multicall3::Result) -> Simulated {
    match result.success {
        true => Simulated::Succeeds,
        false => revert_string(&result.returnData).map_or_else(silent, Simulated::Fails),
    }
}

fn silent() -> Simulated {
    Simulated::Fails("reverted without a reason".to_owned())
}

/// Nodes agree on code 3 for a revert with data, and on little else.
fn is_revert(code: i64, message: &str) -> bool {
    let message = message.to_ascii_lowercase();
    let words =
        ["revert", "out of gas", "outofgas", "invalid opcode", "invalidfeopcode", "stack", "opcodenotfound"];
    code == 3 || words.iter().any(|word| message.contains(word))
}

fn revert_text(data: Option<&str>) -> Option<String> {
    revert_string(&data?.parse::<Bytes>().ok()?)
}

/// The text of a Solidity `Error(string)`.
fn revert_string(data: &[u8]) -> Option<String> {
    let revert = Revert::abi_decode(data).ok()?;
    Some(revert.reason.chars().take(200).collect())
}
