//! A throw-away local chain for the demo and for tests: anvil with the chain id of Base
//! Sepolia, Circle's USDC at its address there, and Multicall3. Published x402 clients pay on
//! it without any configuration. Beside it, where there is one, a throw-away Prometheus.

mod artifacts;
mod chain;
mod controls;
mod error;
mod events;
pub mod fault;
mod npm;
mod process;
mod prometheus;
mod token;
mod tools;

pub use artifacts::ArtifactError;
pub use chain::{Account, Devchain, Mining, Options};
pub use controls::{Execution, Mined, Snapshot};
pub use error::DevchainError;
pub use events::{AuthorizationEvent, AuthorizationOutcome, TransferEvent};
pub use npm::{Installed, NpmProject, Progress, ProvisionError, cache_folder};
pub use prometheus::{Prometheus, PrometheusError, Sample};
pub use tools::{Tools, foundry, provision};

use alloy_primitives::{Address, address};
use obol_core::ChainId;

/// Base Sepolia's id: the test network that published clients know.
pub const CHAIN: ChainId = ChainId::new(84532);

/// USDC, where Base Sepolia has it.
pub const USDC: Address = address!("036CbD53842c5426634e7929541eC2318f3dCF7e");

/// Multicall3, where almost every chain has it.
pub const MULTICALL3: Address = address!("cA11bde05977b3631167028862bE2a173976CA11");

/// How many accounts of the test mnemonic there are. All have ether for gas; from the third
/// on (buyers) each has 1,000 USDC. The first is meant to settle, the second to sell.
pub const ACCOUNTS: usize = 40;

const FIRST_BUYER: usize = 2;

/// 1,000 USDC in atomic units.
const BUYER_FUNDS: u64 = 1_000_000_000;
