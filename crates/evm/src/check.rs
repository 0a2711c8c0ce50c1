//! Whether a chain and its assets are what the configuration says.

use crate::{Rpc, RpcError, abi::Token, typed::domain_separator};
use alloy_primitives::Bytes;
use alloy_sol_types::SolCall;
use obol_core::{Asset, ChainId};

/// What is wrong with an endpoint or an asset, in the operator's words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CheckError {
    #[error("{endpoint} is not reachable: {error}")]
    Rpc { endpoint: String, error: RpcError },
    #[error("{endpoint} serves eip155:{found}, not {wanted}")]
    WrongChain { endpoint: String, found: u64, wanted: ChainId },
    #[error("{symbol} on {chain}: there is no contract at {address}")]
    NoContract { symbol: String, chain: ChainId, address: String },
    #[error("{symbol} on {chain}: it has no DOMAIN_SEPARATOR; it is no EIP-3009 token")]
    NoDomain { symbol: String, chain: ChainId },
    #[error(
        "{symbol} on {chain}: signatures over domain {name:?} version {version:?} would be refused; \
         the token calls itself {token_name:?} version {token_version:?}"
    )]
    OtherDomain {
        symbol: String,
        chain: ChainId,
        name: String,
        version: String,
        token_name: String,
        token_version: String,
    },
    #[error("{symbol} on {chain}: the token has {found} decimals, the configuration {configured}")]
    OtherDecimals { symbol: String, chain: ChainId, found: u8, configured: u8 },
}

pub async fn check_chain(rpc: &Rpc, chain: ChainId) -> Result<(), CheckError> {
    let found = rpc.chain_id().await.map_err(|error| unreachable(rpc, error))?;
    if found == chain.reference() {
        return Ok(());
    }
    Err(CheckError::WrongChain { endpoint: rpc.shown().to_owned(), found, wanted: chain })
}

/// Compares the asset's domain and decimals with the contract's own.
pub async fn check_asset(rpc: &Rpc, asset: &Asset) -> Result<(), CheckError> {
    let (symbol, chain) = (asset.symbol.clone(), asset.chain);
    let code = rpc.code(asset.address).await.map_err(|error| unreachable(rpc, error))?;
    if code.is_empty() {
        return Err(CheckError::NoContract { symbol, chain, address: asset.address.to_checksum(None) });
    }
    let separator = ask(rpc, asset, Token::DOMAIN_SEPARATORCall {}).await?;
    let Some(separator) = separator else { return Err(CheckError::NoDomain { symbol, chain }) };
    if separator != domain_separator(asset) {
        let unknown = || "(unknown)".to_owned();
        return Err(CheckError::OtherDomain {
            symbol,
            chain,
            name: asset.domain.name.clone(),
            version: asset.domain.version.clone(),
            token_name: ask(rpc, asset, Token::nameCall {}).await?.unwrap_or_else(unknown),
            token_version: ask(rpc, asset, Token::versionCall {}).await?.unwrap_or_else(unknown),
        });
    }
    match ask(rpc, asset, Token::decimalsCall {}).await? {
        Some(found) if found != asset.decimals => {
            Err(CheckError::OtherDecimals { symbol, chain, found, configured: asset.decimals })
        }
        _ => Ok(()),
    }
}

/// `None` when the contract refuses or answers something else.
async fn ask<C: SolCall>(rpc: &Rpc, asset: &Asset, call: C) -> Result<Option<C::Return>, CheckError> {
    let data: Bytes = call.abi_encode().into();
    match rpc.eth_call(asset.address, &data).await {
        Ok(output) => Ok(C::abi_decode_returns(&output).ok()),
        Err(RpcError::Refused { .. }) => Ok(None),
        Err(error) => Err(unreachable(rpc, error)),
    }
}

pub(crate) fn unreachable(rpc: &Rpc, error: RpcError) -> CheckError {
    CheckError::Rpc { endpoint: rpc.shown().to_owned(), error }
}
