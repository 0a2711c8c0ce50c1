//! Which payments the token's events show as paid. A receipt's status alone proves nothing: a
//! call inside a batch may have failed, and a contract at the token's address may be no token.

use crate::{Block, BlockTag, Log, NonceState, Receipt, Rpc, RpcError, abi::Token, chain_rpc::filter};
use alloy_primitives::{Address, B256};
use alloy_sol_types::{SolCall, SolEvent};
use obol_core::Amount;
use std::collections::{HashMap, VecDeque};

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

/// Searches in one request.
const SEARCHES: usize = 20;

/// Pairs the events of one transaction. Each `Transfer` explains at most one authorization:
/// the nearest one after it, which is how every published token emits them. Anybody may put
/// thousands of events of contracts of their own into a transaction.
pub fn authorized_transfers(logs: &[Log]) -> Vec<AuthorizedTransfer> {
    let mut logs: Vec<_> = logs.iter().collect();
    logs.sort_by_key(|log| log.log_index);
    let mut transfers: HashMap<_, VecDeque<PlainTransfer>> = HashMap::new();
    for transfer in logs.iter().filter_map(|log| plain_transfer(log)) {
        transfers.entry((transfer.token, transfer.from)).or_default().push_back(transfer);
    }
    logs.iter()
        .filter_map(|log| {
            let used = decode::<Token::AuthorizationUsed>(log)?;
            let transfers = transfers.get_mut(&(log.address, used.authorizer))?;
            // The authorizations that follow come later still.
            while transfers.front().is_some_and(|first| first.log_index <= log.log_index.to::<u64>()) {
                transfers.pop_front();
            }
            let transfer = transfers.pop_front()?;
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
    /// All transfers to these payees, each of one token, in a range of blocks.
    ///
    /// The node is asked for the last block in the same request: one that is behind would give no
    /// events of blocks that it does not have, and no error.
    pub async fn transfers_to(
        &self,
        payees: &[(Address, Address)],
        from: u64,
        to: u64,
    ) -> Result<Vec<PlainTransfer>, RpcError> {
        let mut transfers = Vec::new();
        for some in payees.chunks(SEARCHES) {
            let mut batch = self.batch();
            let last =
                batch.add_call::<_, Option<Block>>("eth_getBlockByNumber", &(BlockTag::Number(to), false))?;
            let mut searches = Vec::new();
            for (token, payee) in some {
                let topics =
                    [Some(vec![Token::Transfer::SIGNATURE_HASH]), None, Some(vec![payee.into_word()])];
                searches.push(
                    batch.add_call::<_, Vec<Log>>("eth_getLogs", &(filter(*token, &topics, from, to),))?,
                );
            }
            obol_stop::reach_call("eth_getLogs", "before");
            batch.send().await?;
            obol_stop::reach_call("eth_getLogs", "after");
            for search in searches {
                let found = search.await?;
                // Of nothing: anybody can have them made in another's name, by the thousand.
                let worth = |transfer: &PlainTransfer| !transfer.amount.is_zero();
                transfers.extend(found.iter().filter_map(plain_transfer).filter(worth));
            }
            if last.await?.is_none() {
                return Err(RpcError::Malformed(format!(
                    "events up to block {to}, which the node does not have"
                )));
            }
        }
        Ok(transfers)
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
