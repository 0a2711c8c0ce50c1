//! Which payments the token's events show as paid. A receipt's status alone proves nothing: a
//! call inside a batch may have failed, and a contract at the token's address may be no token.

use crate::{Log, NonceState, Receipt, Rpc, RpcError, abi::Token};
use alloy_primitives::{Address, B256};
use alloy_sol_types::{SolCall, SolEvent};
use obol_core::Amount;

/// `AuthorizationUsed` and the `Transfer` that belongs to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AuthorizedTransfer {
    pub token: Address,
    pub payer: Address,
    pub nonce: B256,
    pub to: Address,
    pub amount: Amount,
    pub tx: B256,
    pub block: u64,
    pub block_hash: B256,
    /// Of the `Transfer`.
    pub log_index: u64,
}

/// A `Transfer` that no authorization explains.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlainTransfer {
    pub token: Address,
    pub from: Address,
    pub to: Address,
    pub amount: Amount,
    pub tx: B256,
    pub block: u64,
    pub block_hash: B256,
    pub log_index: u64,
}

/// How an authorization ended, by its own event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthorizationEvent {
    Used { tx: B256, block: u64 },
    Canceled { tx: B256, block: u64 },
}

/// Pairs the events of one transaction. Each `Transfer` explains at most one authorization:
/// the nearest one after it, which is how every published token emits them.
pub fn authorized_transfers(logs: &[Log]) -> Vec<AuthorizedTransfer> {
    let mut transfers: Vec<_> = logs.iter().filter_map(plain_transfer).collect();
    logs.iter()
        .filter_map(|log| {
            let used = decode::<Token::AuthorizationUsed>(log)?;
            let at = transfers.iter().position(|transfer| {
                transfer.token == log.address
                    && transfer.from == used.authorizer
                    && transfer.log_index > log.log_index.to::<u64>()
            })?;
            let transfer = transfers.remove(at);
            Some(AuthorizedTransfer {
                token: log.address,
                payer: used.authorizer,
                nonce: used.nonce,
                to: transfer.to,
                amount: transfer.amount,
                tx: transfer.tx,
                block: transfer.block,
                block_hash: transfer.block_hash,
                log_index: transfer.log_index,
            })
        })
        .collect()
}

fn plain_transfer(log: &Log) -> Option<PlainTransfer> {
    let transfer = decode::<Token::Transfer>(log)?;
    Some(PlainTransfer {
        token: log.address,
        from: transfer.from,
        to: transfer.to,
        amount: Amount::from_atomic(transfer.value),
        tx: log.transaction_hash,
        block: log.block_number.to(),
        block_hash: log.block_hash,
        log_index: log.log_index.to(),
    })
}

fn decode<E: SolEvent>(log: &Log) -> Option<E> {
    E::decode_raw_log(log.topics.iter().copied(), &log.data).ok()
}

impl Receipt {
    pub fn authorized_transfers(&self) -> Vec<AuthorizedTransfer> {
        authorized_transfers(&self.logs)
    }
}

impl Rpc {
    /// All transfers of `token` to `payee` in a range of blocks.
    pub async fn transfers_to(
        &self,
        token: Address,
        payee: Address,
        from: u64,
        to: u64,
    ) -> Result<Vec<PlainTransfer>, RpcError> {
        let topics = [Some(vec![Token::Transfer::SIGNATURE_HASH]), None, Some(vec![payee.into_word()])];
        let logs = self.logs(token, &topics, from, to).await?;
        Ok(logs.iter().filter_map(plain_transfer).collect())
    }

    /// Whether an authorization can still be used at the head.
    pub async fn nonce_state(
        &self,
        token: Address,
        authorizer: Address,
        nonce: B256,
    ) -> Result<NonceState, RpcError> {
        let data = Token::authorizationStateCall { authorizer, nonce }.abi_encode().into();
        let output = self.eth_call(token, &data).await?;
        match Token::authorizationStateCall::abi_decode_returns(&output) {
            Ok(true) => Ok(NonceState::Gone),
            Ok(false) => Ok(NonceState::Unused),
            Err(error) => Err(RpcError::Malformed(format!("authorizationState: {error}"))),
        }
    }

    /// What became of an authorization between two blocks.
    pub async fn authorization_event(
        &self,
        token: Address,
        payer: Address,
        nonce: B256,
        from: u64,
        to: u64,
    ) -> Result<Option<AuthorizationEvent>, RpcError> {
        let kinds =
            vec![Token::AuthorizationUsed::SIGNATURE_HASH, Token::AuthorizationCanceled::SIGNATURE_HASH];
        let topics = [Some(kinds), Some(vec![payer.into_word()]), Some(vec![nonce])];
        let logs = self.logs(token, &topics, from, to).await?;
        Ok(logs.iter().find_map(|log| {
            let (tx, block) = (log.transaction_hash, log.block_number.to());
            if decode::<Token::AuthorizationUsed>(log).is_some() {
                Some(AuthorizationEvent::Used { tx, block })
            } else {
                decode::<Token::AuthorizationCanceled>(log)
                    .map(|_| AuthorizationEvent::Canceled { tx, block })
            }
        }))
    }
}
