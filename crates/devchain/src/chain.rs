use crate::{DevchainError, Tools, process::Anvil, provision, token};
use alloy_primitives::{Address, B256};
use obol_evm::{Rpc, RpcError};
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::time::Duration;

/// When blocks are made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mining {
    /// One per transaction, at once. `finalized` then moves only with further transactions.
    #[default]
    Automine,
    /// One per interval, to the millisecond.
    Interval(Duration),
    /// Only when asked: [`Devchain::mine`].
    Manual,
}

/// How to start a chain.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// A free one when `None`. Always on loopback.
    pub port: Option<u16>,
    pub mining: Mining,
}

/// An account of the public test mnemonic. Its key is known to everybody.
#[derive(Clone, Copy, Debug)]
pub struct Account {
    pub address: Address,
    pub key: B256,
}

/// A running local chain with its token in place. Dropping it kills it.
pub struct Devchain {
    pub(crate) rpc: Rpc,
    anvil: Anvil,
}

/// Loopback answers within milliseconds; blocks of thousands are mined within seconds.
const CALL_TIMEOUT: Duration = Duration::from_secs(30);

impl Devchain {
    /// Starts a chain; what it needs is fetched first if it was never fetched before.
    pub async fn start(options: Options) -> Result<Self, DevchainError> {
        let tools = provision(&mut |line| tracing::info!("{line}")).await?;
        Self::start_with(&tools, options).await
    }

    pub async fn start_with(tools: &Tools, options: Options) -> Result<Self, DevchainError> {
        // An error means that the process already has one, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let anvil = Anvil::start(&tools.anvil, &options).await?;
        let rpc = Rpc::new(&anvil.url, CALL_TIMEOUT)?;
        let chain = Self { rpc, anvil };
        token::place(&chain.rpc, &tools.packages, &chain.anvil.accounts).await?;
        if options.mining == Mining::Automine {
            chain.set_mining(Mining::Automine).await?;
        }
        Ok(chain)
    }

    /// `http://127.0.0.1:<port>`
    pub fn url(&self) -> &str {
        &self.anvil.url
    }

    pub const fn rpc(&self) -> &Rpc {
        &self.rpc
    }

    /// All [`ACCOUNTS`](crate::ACCOUNTS), in the mnemonic's order.
    pub fn accounts(&self) -> &[Account] {
        &self.anvil.accounts
    }

    /// Pays for gas; holds no token.
    pub fn settler(&self) -> Account {
        self.anvil.accounts[0]
    }

    /// Holds no token yet.
    pub fn seller(&self) -> Account {
        self.anvil.accounts[1]
    }

    /// Each holds exactly 1,000 USDC.
    pub fn buyers(&self) -> &[Account] {
        &self.anvil.accounts[crate::FIRST_BUYER..]
    }

    /// The process id of anvil.
    pub fn process_id(&self) -> Option<u32> {
        self.anvil.id()
    }

    /// Kills the chain and waits until it is gone, and its port is free.
    pub async fn stop(self) {
        self.anvil.stop().await;
    }
}

pub(crate) async fn call<R>(rpc: &Rpc, method: &'static str, params: Value) -> Result<R, DevchainError>
where
    R: DeserializeOwned + Send + Sync + Unpin + std::fmt::Debug + 'static,
{
    rpc.call(method, params).await.map_err(|source| DevchainError::Rpc { call: method, source })
}

/// Several calls in one HTTP request; their answers in the same order.
pub(crate) async fn calls<R>(
    rpc: &Rpc,
    calls: impl IntoIterator<Item = (&'static str, Value)>,
) -> Result<Vec<R>, DevchainError>
where
    R: DeserializeOwned + Send + Sync + Unpin + std::fmt::Debug + 'static,
{
    let failed = |call| move |source| DevchainError::Rpc { call, source: RpcError::from(source) };
    let mut batch = rpc.batch();
    let mut answers = Vec::new();
    for (method, params) in calls {
        answers.push((method, batch.add_call::<_, R>(method, &params).map_err(failed(method))?));
    }
    batch.send().await.map_err(failed("a batch"))?;
    let mut results = Vec::with_capacity(answers.len());
    for (method, answer) in answers {
        results.push(answer.await.map_err(failed(method))?);
    }
    Ok(results)
}
