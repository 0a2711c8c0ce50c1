//! What a test may do to the chain that no real chain would let it do.

use crate::{
    Devchain, DevchainError, Mining,
    chain::{call, calls},
    token::{FiatToken, reading, sent},
};
use alloy_primitives::{Address, B256, Bytes, U64, U256};
use alloy_sol_types::SolCall;
use obol_core::Amount;
use serde::Deserialize;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// A state of the chain to return to.
#[derive(Clone, Copy, Debug)]
pub struct Snapshot(U256);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Execution {
    Succeeded,
    Reverted,
}

/// A transaction that is in a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mined {
    pub block: u64,
    pub execution: Execution,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Receipt {
    status: U64,
    block_number: U64,
}

/// How long a transaction may wait for its block before that is a fault of the test.
const PATIENCE: Duration = Duration::from_secs(30);
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// How often blocks are replaced until nothing was mined meanwhile.
const REPLACED_AGAIN: u32 = 10;

impl Devchain {
    async fn control(&self, method: &'static str, params: Value) -> Result<(), DevchainError> {
        call::<Value>(&self.rpc, method, params).await.map(drop)
    }

    /// Refuses when anvil says `false`, which its methods do instead of failing.
    async fn confirmed(&self, method: &'static str, params: Value) -> Result<(), DevchainError> {
        match call::<Value>(&self.rpc, method, params).await? {
            Value::Bool(false) => Err(DevchainError::Unexpected { call: method, answer: "false".to_owned() }),
            _ => Ok(()),
        }
    }

    pub async fn mine(&self, blocks: u64) -> Result<(), DevchainError> {
        self.control("anvil_mine", json!([U64::from(blocks)])).await
    }

    /// Intervals are whole seconds here, unlike at the start.
    pub async fn set_mining(&self, mining: Mining) -> Result<(), DevchainError> {
        match mining {
            Mining::Automine => self.control("evm_setAutomine", json!([true])).await,
            Mining::Interval(every) => {
                self.control("anvil_setIntervalMining", json!([every.as_secs().max(1)])).await
            }
            Mining::Manual => {
                self.control("evm_setAutomine", json!([false])).await?;
                self.control("anvil_setIntervalMining", json!([0])).await
            }
        }
    }

    /// Replaces the last `depth` blocks by as many empty ones. Their transactions are forgotten,
    /// also by the pool. Deeper than the blocks since the start, it would take the token along.
    /// What comes in meanwhile is mined afterwards.
    pub async fn reorg(&self, depth: u64) -> Result<(), DevchainError> {
        self.reorg_with(depth, &[]).await
    }

    /// As [`Self::reorg`], with raw transactions in the new blocks: each with the index of its
    /// block, the oldest being 0.
    pub async fn reorg_with(&self, depth: u64, with: &[(Bytes, u64)]) -> Result<(), DevchainError> {
        if !call(&self.rpc, "anvil_getAutomine", json!([])).await? {
            return self.replace(depth, with).await;
        }
        self.control("evm_setAutomine", json!([false])).await?;
        let replaced = self.replace(depth, with).await;
        self.control("evm_setAutomine", json!([true])).await?;
        replaced
    }

    /// A block that anvil mines while it replaces others leaves heights without a block, which no
    /// chain has: then all from the first of them are replaced once more.
    async fn replace(&self, depth: u64, with: &[(Bytes, u64)]) -> Result<(), DevchainError> {
        const METHOD: &str = "anvil_reorg";
        let mut last = self.block_number().await?;
        let kept = last.saturating_sub(depth);
        let mut replaced = Ok(());
        for _ in 0..REPLACED_AGAIN {
            replaced = self.control(METHOD, json!([last - kept, with])).await;
            last = self.block_number().await?;
            let asked =
                (kept..=last).map(|number| ("eth_getBlockByNumber", json!([U64::from(number), false])));
            let blocks: Vec<Value> = calls(&self.rpc, asked).await?;
            if replaced.is_ok() {
                if !blocks.iter().any(Value::is_null) {
                    return Ok(());
                }
                let answer = "with heights that have no block".to_owned();
                replaced = Err(DevchainError::Unexpected { call: METHOD, answer });
            }
        }
        replaced
    }

    pub async fn snapshot(&self) -> Result<Snapshot, DevchainError> {
        call(&self.rpc, "evm_snapshot", json!([])).await.map(Snapshot)
    }

    /// Returns to a snapshot, which is used up by it.
    pub async fn revert(&self, to: Snapshot) -> Result<(), DevchainError> {
        self.confirmed("evm_revert", json!([to.0])).await
    }

    /// In wei.
    pub async fn set_balance(&self, account: Address, wei: U256) -> Result<(), DevchainError> {
        self.control("anvil_setBalance", json!([account, wei])).await
    }

    pub async fn set_code(&self, account: Address, code: &Bytes) -> Result<(), DevchainError> {
        self.control("anvil_setCode", json!([account, code])).await
    }

    /// Takes a transaction out of the pool, as a node under pressure does.
    pub async fn drop_transaction(&self, hash: B256) -> Result<(), DevchainError> {
        self.control("anvil_dropTransaction", json!([hash])).await
    }

    pub async fn drop_all_transactions(&self) -> Result<(), DevchainError> {
        self.control("anvil_dropAllTransactions", json!([])).await
    }

    pub async fn set_next_base_fee(&self, wei: U256) -> Result<(), DevchainError> {
        self.control("anvil_setNextBlockBaseFeePerGas", json!([wei])).await
    }

    /// Seconds since the epoch. Must not be before the head's.
    pub async fn set_next_block_timestamp(&self, seconds: u64) -> Result<(), DevchainError> {
        self.control("evm_setNextBlockTimestamp", json!([seconds])).await
    }

    /// Moves the chain's clock ahead of the wall clock, for all blocks to come.
    pub async fn increase_time(&self, by: Duration) -> Result<(), DevchainError> {
        self.control("evm_increaseTime", json!([by.as_secs()])).await
    }

    pub async fn block_number(&self) -> Result<u64, DevchainError> {
        call::<U64>(&self.rpc, "eth_blockNumber", json!([])).await.map(|number| number.to())
    }

    /// Waits for a transaction's block: also under [`Mining::Automine`] it comes a moment after
    /// the answer to the transaction.
    pub async fn mined(&self, transaction: B256) -> Result<Mined, DevchainError> {
        let method = "eth_getTransactionReceipt";
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            if let Some(receipt) = call::<Option<Receipt>>(&self.rpc, method, json!([transaction])).await? {
                let execution =
                    if receipt.status.is_zero() { Execution::Reverted } else { Execution::Succeeded };
                return Ok(Mined { block: receipt.block_number.to(), execution });
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
        let answer = format!("no receipt of {transaction} for {} s", PATIENCE.as_secs());
        Err(DevchainError::Unexpected { call: method, answer })
    }

    pub async fn usdc_balance(&self, account: Address) -> Result<Amount, DevchainError> {
        let (method, params) = reading(&FiatToken::balanceOfCall { account }.abi_encode());
        call(&self.rpc, method, params).await.map(Amount::from_atomic)
    }

    /// The four below are transactions of the token's operator: they need a block, which under
    /// [`Mining::Manual`] has to be asked for.
    pub async fn mint_usdc(&self, to: Address, amount: Amount) -> Result<B256, DevchainError> {
        self.operate(FiatToken::mintCall { to, amount: amount.atomic() }).await
    }

    /// Circle's blacklist: every transfer from or to the account reverts. Like all that the token's
    /// operator does, it comes first in its block.
    pub async fn blacklist(&self, account: Address) -> Result<B256, DevchainError> {
        self.operate(FiatToken::blacklistCall { account }).await
    }

    pub async fn unblacklist(&self, account: Address) -> Result<B256, DevchainError> {
        self.operate(FiatToken::unBlacklistCall { account }).await
    }

    /// Every transfer reverts while the token is paused.
    pub async fn set_usdc_paused(&self, paused: bool) -> Result<B256, DevchainError> {
        match paused {
            true => self.operate(FiatToken::pauseCall {}).await,
            false => self.operate(FiatToken::unpauseCall {}).await,
        }
    }

    async fn operate(&self, step: impl SolCall) -> Result<B256, DevchainError> {
        call(&self.rpc, "eth_sendTransaction", json!([sent(&step.abi_encode(), None)])).await
    }
}
