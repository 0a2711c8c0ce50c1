//! What the token says happened: the figures that a ledger has to agree with.

use crate::{Devchain, DevchainError, USDC, chain::call, token::FiatToken};
use alloy_primitives::{Address, B256, Bytes, LogData, U64};
use alloy_sol_types::SolEvent;
use obol_core::Amount;
use serde::Deserialize;
use serde_json::json;

/// USDC moved. Minting is a transfer from the zero address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransferEvent {
    pub from: Address,
    pub to: Address,
    pub value: Amount,
    pub transaction: B256,
    pub block: u64,
    /// Within the block.
    pub log_index: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthorizationOutcome {
    Used,
    Canceled,
}

/// An EIP-3009 authorization came to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthorizationEvent {
    pub authorizer: Address,
    pub nonce: B256,
    pub outcome: AuthorizationOutcome,
    pub transaction: B256,
    pub block: u64,
    pub log_index: u64,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Log {
    topics: Vec<B256>,
    data: Bytes,
    transaction_hash: B256,
    block_number: U64,
    log_index: U64,
}

impl Log {
    fn decode<E: SolEvent>(&self) -> Result<E, DevchainError> {
        let data = LogData::new_unchecked(self.topics.clone(), self.data.clone());
        E::decode_log_data(&data)
            .map_err(|error| DevchainError::Unexpected { call: "eth_getLogs", answer: error.to_string() })
    }
}

impl Devchain {
    /// All transfers of USDC from a block up to the head, in the order in which they happened.
    pub async fn transfer_events(&self, from_block: u64) -> Result<Vec<TransferEvent>, DevchainError> {
        let logs = self.logs(from_block, &[FiatToken::Transfer::SIGNATURE_HASH]).await?;
        logs.iter()
            .map(|log| {
                let FiatToken::Transfer { from, to, value } = log.decode()?;
                Ok(TransferEvent {
                    from,
                    to,
                    value: Amount::from_atomic(value),
                    transaction: log.transaction_hash,
                    block: log.block_number.to(),
                    log_index: log.log_index.to(),
                })
            })
            .collect()
    }

    /// All authorizations used or cancelled from a block up to the head, in order.
    pub async fn authorization_events(
        &self,
        from_block: u64,
    ) -> Result<Vec<AuthorizationEvent>, DevchainError> {
        let used = FiatToken::AuthorizationUsed::SIGNATURE_HASH;
        let logs = self.logs(from_block, &[used, FiatToken::AuthorizationCanceled::SIGNATURE_HASH]).await?;
        logs.iter()
            .map(|log| {
                let (authorizer, nonce, outcome) = if log.topics.first() == Some(&used) {
                    let event: FiatToken::AuthorizationUsed = log.decode()?;
                    (event.authorizer, event.nonce, AuthorizationOutcome::Used)
                } else {
                    let event: FiatToken::AuthorizationCanceled = log.decode()?;
                    (event.authorizer, event.nonce, AuthorizationOutcome::Canceled)
                };
                Ok(AuthorizationEvent {
                    authorizer,
                    nonce,
                    outcome,
                    transaction: log.transaction_hash,
                    block: log.block_number.to(),
                    log_index: log.log_index.to(),
                })
            })
            .collect()
    }

    async fn logs(&self, from_block: u64, kinds: &[B256]) -> Result<Vec<Log>, DevchainError> {
        let filter = json!({
            "address": USDC, "topics": [kinds], "fromBlock": U64::from(from_block), "toBlock": "latest",
        });
        call(&self.rpc, "eth_getLogs", json!([filter])).await
    }
}
