use crate::{ArtifactError, ProvisionError};
use alloy_primitives::Bytes;
use obol_evm::{EndpointError, RpcError};
use std::{io, path::PathBuf, process::ExitStatus, time::Duration};

/// Why there is no local chain, or why it did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum DevchainError {
    #[error(transparent)]
    Provision(#[from] ProvisionError),
    #[error(transparent)]
    Artifact(#[from] ArtifactError),
    #[error("cannot use a temporary folder: {0}")]
    Folder(io::Error),
    #[error("cannot start {}: {source}", binary.display())]
    Spawn { binary: PathBuf, source: io::Error },
    #[error(
        "{} ended at once ({status}): {words}; it is the anvil that ANVIL_BIN or PATH names, or the one from npm",
        binary.display()
    )]
    Exited { binary: PathBuf, status: ExitStatus, words: String },
    #[error("anvil was not listening after {} s", .0.as_secs())]
    NotReady(Duration),
    #[error("anvil's account list cannot be used: {0}")]
    Accounts(String),
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
    #[error("{call}: {source}")]
    Rpc { call: &'static str, source: RpcError },
    #[error("{call}: the chain answered {answer}")]
    Unexpected { call: &'static str, answer: String },
    #[error("USDC is not what it should be: {what} is {found}, not {expected}")]
    Token { what: String, found: Bytes, expected: Bytes },
}
