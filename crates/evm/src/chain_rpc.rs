//! The node's answers, reduced to what obol needs. Unknown fields and transaction types of
//! other chains pass.

use crate::{Rpc, RpcError};
use alloy_json_rpc::{RpcRecv, RpcSend};
use alloy_primitives::{Address, B256, Bytes, U64, U256};
use serde::{Deserialize, Serialize};
use serde_json::json;

#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Log {
    pub address: Address,
    pub topics: Vec<B256>,
    pub data: Bytes,
    pub block_number: U64,
    pub block_hash: B256,
    pub transaction_hash: B256,
    pub log_index: U64,
}

#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Receipt {
    pub transaction_hash: B256,
    pub block_number: U64,
    pub block_hash: B256,
    pub status: U64,
    pub logs: Vec<Log>,
    pub gas_used: U64,
    #[serde(default)]
    pub effective_gas_price: U256,
    /// Of OP-stack chains only.
    #[serde(default)]
    pub l1_fee: Option<U256>,
}

impl Receipt {
    /// What its sender has paid for it, in wei.
    pub fn cost(&self) -> U256 {
        let execution = self.effective_gas_price.saturating_mul(U256::from(self.gas_used.to::<u64>()));
        execution.saturating_add(self.l1_fee.unwrap_or_default())
    }
}

#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Block {
    pub number: U64,
    pub hash: B256,
    pub timestamp: U64,
    pub base_fee_per_gas: Option<U256>,
}

impl Block {
    /// Its time, in seconds since the Unix epoch.
    pub fn seconds(&self) -> Result<i64, RpcError> {
        i64::try_from(self.timestamp.to::<u64>())
            .map_err(|_| RpcError::Malformed("a block time beyond 63 bits".to_owned()))
    }
}

/// A block by its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlockTag {
    Latest,
    Safe,
    Finalized,
    Number(u64),
}

impl Serialize for BlockTag {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Latest => serializer.serialize_str("latest"),
            Self::Safe => serializer.serialize_str("safe"),
            Self::Finalized => serializer.serialize_str("finalized"),
            Self::Number(number) => U64::from(*number).serialize(serializer),
        }
    }
}

/// `eth_call` without value.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct CallRequest<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) from: Option<Address>,
    pub(crate) to: Address,
    pub(crate) data: &'a Bytes,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) gas: Option<U64>,
}

impl Rpc {
    pub async fn chain_id(&self) -> Result<u64, RpcError> {
        self.call::<_, U64>("eth_chainId", ()).await.map(|id| id.to())
    }

    /// The block, if the node knows it.
    pub async fn block(&self, tag: BlockTag) -> Result<Option<Block>, RpcError> {
        self.call("eth_getBlockByNumber", (tag, false)).await
    }

    /// Several blocks, in one request where the endpoint takes so many calls; `None` where it has none, or
    /// refuses to give it: some answer so what they have pruned.
    pub async fn blocks(&self, numbers: &[u64]) -> Result<Vec<Option<Block>>, RpcError> {
        let mut blocks = Vec::with_capacity(numbers.len());
        let mut left = vec![numbers];
        while let Some(some) = left.pop() {
            let params = some.iter().map(|number| (BlockTag::Number(*number), false));
            match self.several("eth_getBlockByNumber", "blocks", params).await {
                Ok(found) => {
                    for block in found {
                        blocks.push(match block {
                            Err(RpcError::Refused { .. }) => None,
                            block => block?,
                        });
                    }
                }
                Err(RpcError::Status(_) | RpcError::Malformed(_) | RpcError::Refused { .. })
                    if some.len() > 1 =>
                {
                    let (first, second) = some.split_at(some.len() / 2);
                    left.extend([second, first]);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(blocks)
    }

    /// Several calls of one method in one request, each with its own answer.
    async fn several<P: RpcSend, R: RpcRecv>(
        &self,
        method: &'static str,
        point: &str,
        calls: impl Iterator<Item = P>,
    ) -> Result<Vec<Result<R, RpcError>>, RpcError> {
        let mut batch = self.batch();
        let mut waiters = Vec::new();
        for params in calls {
            waiters.push(batch.add_call::<P, R>(method, &params)?);
        }
        if waiters.is_empty() {
            return Ok(Vec::new());
        }
        obol_stop::reach_call(point, "before");
        batch.send().await?;
        obol_stop::reach_call(point, "after");
        let mut answers = Vec::with_capacity(waiters.len());
        for waiter in waiters {
            answers.push(waiter.await.map_err(RpcError::from));
        }
        Ok(answers)
    }

    pub async fn latest_block(&self) -> Result<Block, RpcError> {
        self.block(BlockTag::Latest).await?.ok_or_else(|| RpcError::Malformed("no latest block".to_owned()))
    }

    /// The newest block and the id of the chain that it is on, in one request.
    pub async fn head(&self) -> Result<(u64, Block), RpcError> {
        let mut batch = self.batch();
        let id = batch.add_call::<_, U64>("eth_chainId", &())?;
        let head = batch.add_call::<_, Option<Block>>("eth_getBlockByNumber", &(BlockTag::Latest, false))?;
        batch.send().await?;
        let head = head.await?.ok_or_else(|| RpcError::Malformed("no latest block".to_owned()))?;
        Ok((id.await?.to(), head))
    }

    pub async fn receipt(&self, tx: B256) -> Result<Option<Receipt>, RpcError> {
        self.call("eth_getTransactionReceipt", (tx,)).await
    }

    /// Several receipts in one request; `None` where the node has none.
    pub async fn receipts(&self, txs: &[B256]) -> Result<Vec<Option<Receipt>>, RpcError> {
        let params = txs.iter().map(|tx| (*tx,));
        let answers = self.several("eth_getTransactionReceipt", "receipts", params).await?;
        answers.into_iter().collect()
    }

    /// How many transactions of the account are in blocks up to `tag`.
    pub async fn transaction_count(&self, account: Address, tag: BlockTag) -> Result<u64, RpcError> {
        self.call::<_, U64>("eth_getTransactionCount", (account, tag)).await.map(|count| count.to())
    }

    pub async fn balance(&self, account: Address) -> Result<U256, RpcError> {
        self.call("eth_getBalance", (account, BlockTag::Latest)).await
    }

    pub async fn code(&self, account: Address) -> Result<Bytes, RpcError> {
        self.call("eth_getCode", (account, BlockTag::Latest)).await
    }

    /// The code of several accounts in one request.
    pub async fn codes(&self, accounts: &[Address]) -> Result<Vec<Bytes>, RpcError> {
        let mut batch = self.batch();
        let mut waiters = Vec::with_capacity(accounts.len());
        for account in accounts {
            waiters.push(batch.add_call::<_, Bytes>("eth_getCode", &(account, BlockTag::Latest))?);
        }
        if waiters.is_empty() {
            return Ok(Vec::new());
        }
        obol_stop::reach("rpc.codes.before");
        batch.send().await?;
        obol_stop::reach("rpc.codes.after");
        let mut codes = Vec::with_capacity(waiters.len());
        for waiter in waiters {
            codes.push(waiter.await?);
        }
        Ok(codes)
    }

    /// The tip that the node suggests, in wei per gas.
    pub async fn suggested_tip(&self) -> Result<u128, RpcError> {
        self.call::<_, U256>("eth_maxPriorityFeePerGas", ()).await.map(|tip| tip.saturating_to())
    }

    /// Reads a contract at the head.
    pub async fn eth_call(&self, to: Address, data: &Bytes) -> Result<Bytes, RpcError> {
        let request = CallRequest { from: None, to, data, gas: None };
        self.call("eth_call", (request, BlockTag::Latest)).await
    }

    /// Simulates a call by `from` at the head.
    pub(crate) async fn call_from(
        &self,
        from: Address,
        to: Address,
        data: &Bytes,
        gas: u64,
    ) -> Result<Bytes, RpcError> {
        let request = CallRequest { from: Some(from), to, data, gas: Some(U64::from(gas)) };
        self.call("eth_call", (request, BlockTag::Latest)).await
    }

    /// Gives signed bytes to the node.
    pub async fn send_raw(&self, raw: &Bytes) -> Result<B256, RpcError> {
        self.call("eth_sendRawTransaction", (raw,)).await
    }

    /// Logs of a contract; an inner `None` matches any topic.
    pub async fn logs(
        &self,
        address: Address,
        topics: &[Option<Vec<B256>>],
        from: u64,
        to: u64,
    ) -> Result<Vec<Log>, RpcError> {
        self.call("eth_getLogs", (filter(address, topics, from, to),)).await
    }
}

/// A search for logs of a contract.
pub(crate) fn filter(
    address: Address,
    topics: &[Option<Vec<B256>>],
    from: u64,
    to: u64,
) -> serde_json::Value {
    json!({
        "address": address,
        "topics": topics,
        "fromBlock": U64::from(from),
        "toBlock": U64::from(to),
    })
}
