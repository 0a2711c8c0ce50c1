//! Everything that touches an EVM chain: typed data, signatures, token reads, settlement
//! transactions. The only crate that names alloy's RPC client.

mod rpc;

pub use rpc::{EndpointError, Rpc, RpcError};
