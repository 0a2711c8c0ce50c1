//! Everything that touches an EVM chain: typed data, signatures, token reads, settlement
//! transactions. The only crate that names alloy's RPC client.

pub mod abi;
mod chain_rpc;
mod check;
mod holdings;
mod key;
mod reads;
mod rpc;
mod settle_call;
mod signature;
mod transaction;
mod transfers;
pub mod typed;

pub use chain_rpc::{Block, BlockTag, Log, Receipt};
pub use check::{CheckError, check_asset, check_chain};
pub use holdings::{Holdings, holdings};
pub use key::{Key, KeyError};
pub use reads::{Answer, Barrier, NonceState, PayerCode, Question, Reads};
pub use rpc::{EndpointError, Rpc, RpcError};
pub use settle_call::{ContractCall, Simulated, batch_call, transfer_call};
pub use signature::{Ecdsa, PayerSignature, SignatureError};
pub use transaction::{Fees, SignedTransaction, gas_limit_of, sign_call, sign_filler};
pub use transfers::{AuthorizationEvent, AuthorizedTransfer, PlainTransfer, authorized_transfers};
