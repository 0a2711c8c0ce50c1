//! What an account holds, for people who ask.

use crate::{
    CheckError, Rpc, RpcError,
    abi::{MULTICALL3, Multicall3, Token},
    check::unreachable,
    reads::{small, word},
};
use alloy_primitives::{Address, Bytes};
use alloy_sol_types::SolCall;
use obol_core::{Amount, ChainId};

/// At one block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holdings {
    pub block: u64,
    /// The chain's own coin, in wei.
    pub coin: Amount,
    /// Of each token that was asked for; none where the chain has no such token.
    pub tokens: Vec<Option<Amount>>,
}

/// One call for all of it, so that an endpoint of another chain betrays itself in the answer, and
/// nothing moves between two reads.
pub async fn holdings(
    rpc: &Rpc,
    chain: ChainId,
    account: Address,
    tokens: &[Address],
) -> Result<Holdings, CheckError> {
    let failed = |error| unreachable(rpc, error);
    let output = rpc.eth_call(MULTICALL3, &calls(account, tokens)).await.map_err(failed)?;
    let results = Multicall3::aggregate3Call::abi_decode_returns(&output)
        .map_err(|error| failed(RpcError::Malformed(format!("Multicall3: {error}"))))?;
    let [block, id, coin, held @ ..] = results.as_slice() else { return Err(failed(others())) };
    if held.len() != tokens.len() {
        return Err(failed(others()));
    }
    let found = small(id).map_err(failed)?;
    if found != chain.reference() {
        return Err(CheckError::WrongChain { endpoint: rpc.shown().to_owned(), found, wanted: chain });
    }
    Ok(Holdings {
        block: small(block).map_err(failed)?,
        coin: Amount::from_atomic(word(coin).map_err(failed)?),
        tokens: held.iter().map(|held| word(held).ok().map(Amount::from_atomic)).collect(),
    })
}

fn others() -> RpcError {
    RpcError::Malformed("Multicall3 answered for other calls".to_owned())
}

fn calls(account: Address, tokens: &[Address]) -> Bytes {
    let call = |target: Address, data: Vec<u8>| Multicall3::Call3 {
        target,
        allowFailure: true,
        callData: data.into(),
    };
    let header = [
        Multicall3::getBlockNumberCall {}.abi_encode(),
        Multicall3::getChainIdCall {}.abi_encode(),
        Multicall3::getEthBalanceCall { account }.abi_encode(),
    ];
    let balance = Token::balanceOfCall { account }.abi_encode();
    let calls = header
        .into_iter()
        .map(|data| call(MULTICALL3, data))
        .chain(tokens.iter().map(|token| call(*token, balance.clone())))
        .collect();
    Multicall3::aggregate3Call { calls }.abi_encode().into()
}
