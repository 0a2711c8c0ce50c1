use crate::{Agreement, Buyer, Seller, SellerOptions, assert_ledger_equals_chain, until};
use alloy_primitives::{Address, B256, Bytes, U64};
use anyhow::{Context, Result, bail};
use obol_core::Payment;
use obol_devchain::{CHAIN, Devchain, Mining, Options, fault::FaultyRpc};
use obol_facilitator::SettlerState;
use obol_ledger::{PaymentRecord, State};
use serde::Deserialize;
use serde_json::json;
use std::path::PathBuf;
use tempfile::TempDir;

/// A seller on a chain of its own, behind an endpoint that fails on demand.
pub struct Rig {
    pub chain: Devchain,
    pub rpc: FaultyRpc,
    pub seller: Seller,
    folder: TempDir,
}

/// A transaction of the settler that is in a block.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Spent {
    pub transaction_hash: B256,
    pub from: Address,
    pub gas_used: U64,
    pub status: U64,
}

impl Rig {
    pub async fn start(mining: Mining, options: SellerOptions) -> Result<Self> {
        let chain = Devchain::start(Options { mining, ..Options::default() }).await?;
        Self::open(chain, tempfile::tempdir()?, options).await
    }

    /// On a chain that runs, with its ledger in a folder that may have one already.
    pub async fn open(chain: Devchain, folder: TempDir, options: SellerOptions) -> Result<Self> {
        let rpc = FaultyRpc::start(chain.url()).await?;
        let seller = Seller::open(&chain, rpc.url(), &ledger_file(&folder), options)?;
        Ok(Self { chain, rpc, seller, folder })
    }

    pub fn ledger_file(&self) -> PathBuf {
        ledger_file(&self.folder)
    }

    /// The buyers in turn: as many different ones as the chain has, less the last account, which
    /// is the stranger's.
    pub fn buyer(&self, n: usize) -> Buyer {
        let buyers = self.chain.buyers();
        Buyer::of(buyers[n % (buyers.len() - 1)])
    }

    /// A fresh payment of that buyer's.
    pub fn pay(&self, n: usize) -> Payment {
        self.buyer(n).pay(&self.seller.requirement)
    }

    pub async fn record(&self, payment: &Payment) -> Result<PaymentRecord> {
        self.seller.ledger.payment_by_key(payment.key()).await?.context("the payment is not stored")
    }

    /// Waits until a payment is in this state.
    pub async fn until_state(&self, payment: &Payment, state: State) -> Result<PaymentRecord> {
        let seen = until(state, async || {
            let record = self.record(payment).await?;
            Ok((record.state() == state).then_some(record))
        });
        match seen.await {
            Ok(record) => Ok(record),
            Err(error) => bail!("{error}; it is {:?}", self.record(payment).await?),
        }
    }

    /// Waits until the payment is included, mining blocks meanwhile.
    pub async fn mine_until(&self, payment: &Payment, state: State) -> Result<PaymentRecord> {
        let seen = until(format!("{state}, with blocks"), async || {
            let record = self.record(payment).await?;
            if record.state() == state {
                return Ok(Some(record));
            }
            self.chain.mine(1).await?;
            Ok(None)
        });
        match seen.await {
            Ok(record) => Ok(record),
            Err(error) => bail!("{error}; it is {:?}", self.record(payment).await?),
        }
    }

    pub fn settler_state(&self) -> Option<SettlerState> {
        self.seller.facilitator.states().find(|(chain, _)| *chain == CHAIN).map(|(_, state)| state)
    }

    pub async fn until_settler(&self, state: SettlerState) -> Result<()> {
        let seen = until(format!("the settler is {state:?}"), async || {
            Ok((self.settler_state() == Some(state)).then_some(()))
        });
        match seen.await {
            Ok(()) => Ok(()),
            Err(error) => bail!("{error}; it is {:?}", self.settler_state()),
        }
    }

    /// How many distinct transactions with this payment's call in them were given to the node,
    /// or would have been.
    pub fn transactions_of(&self, payment: &Payment) -> usize {
        transactions_of(&self.rpc, payment).len()
    }

    /// The newest block's, in wei per gas.
    pub async fn base_fee(&self) -> Result<u128> {
        let fee = self.chain.rpc().latest_block().await?.base_fee_per_gas;
        Ok(fee.context("a chain with a base fee")?.to())
    }

    /// The settler's transactions that are in blocks.
    pub async fn spent(&self) -> Result<Vec<Spent>> {
        let mut spent = Vec::new();
        for number in 0..=self.chain.block_number().await? {
            let receipts: Vec<Spent> =
                self.chain.rpc().call("eth_getBlockReceipts", json!([U64::from(number)])).await?;
            spent.extend(receipts.into_iter().filter(|spent| spent.from == self.chain.settler().address));
        }
        Ok(spent)
    }

    /// Compares ledger and chain once both are at rest, and stops the seller.
    pub async fn close(self) -> Result<Agreement> {
        let agreement =
            assert_ledger_equals_chain(&self.chain, &self.seller.ledger, self.chain.seller().address).await?;
        self.seller.facilitator.stop().await;
        self.chain.stop().await;
        Ok(agreement)
    }
}

pub fn ledger_file(folder: &TempDir) -> PathBuf {
    folder.path().join("ledger.db")
}

/// The distinct transactions with this payment's call in them that an endpoint was given.
pub fn transactions_of(rpc: &FaultyRpc, payment: &Payment) -> Vec<Bytes> {
    let nonce = payment.authorization.nonce;
    let holds = |raw: &[u8]| raw.windows(32).any(|word| word == nonce.as_slice());
    rpc.transactions().into_iter().filter(|raw| holds(raw)).collect()
}
