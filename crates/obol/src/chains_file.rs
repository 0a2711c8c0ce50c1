//! `--chains FILE`: chains and assets beyond the built-in ones.

use crate::{exit::Failure, faults::Faults};
use alloy_primitives::Address;
use clap::Args;
use obol_core::{Asset, Chain, ChainId, Domain, Finality, Registry, TransferMethod};
use serde::Deserialize;
use std::path::{Path, PathBuf};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    chains: Vec<ChainEntry>,
    #[serde(default)]
    assets: Vec<AssetEntry>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct ChainEntry {
    id: String,
    name: String,
    #[serde(default)]
    aliases: Vec<String>,
    v1_name: Option<String>,
    /// `finalized`, `safe`, or a number of blocks.
    #[serde(default)]
    finality: FinalityEntry,
    #[serde(default = "two_seconds")]
    block_millis: u64,
    #[serde(default)]
    op_stack: bool,
}

#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "finality is finalized, safe or a number of blocks")]
enum FinalityEntry {
    Depth(u64),
    Tag(FinalityTag),
}

impl Default for FinalityEntry {
    fn default() -> Self {
        Self::Tag(FinalityTag::Finalized)
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
enum FinalityTag {
    Finalized,
    Safe,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct AssetEntry {
    chain: String,
    address: String,
    symbol: String,
    decimals: u8,
    eip712_name: String,
    eip712_version: String,
    #[serde(default)]
    transfer_method: Option<String>,
}

const fn two_seconds() -> u64 {
    2_000
}

/// The built-in registry with what the file adds.
/// Of the commands that only know chains and assets.
#[derive(Args, Debug)]
pub(crate) struct ChainsFileArgs {
    /// File that adds chains and assets to the built-in ones.
    #[arg(long, env = "OBOL_CHAINS", value_name = "FILE")]
    chains: Option<PathBuf>,
}

impl ChainsFileArgs {
    pub(crate) fn registry(&self) -> Result<Registry, Failure> {
        let mut faults = Faults::default();
        let registry = read(self.chains.as_deref(), &mut faults);
        faults.none().map(|()| registry)
    }
}

/// The built-in registry with what is right of what the file adds.
pub(crate) fn read(file: Option<&Path>, faults: &mut Faults) -> Registry {
    let mut registry = Registry::built_in();
    let Some(path) = file else { return registry };
    let mut refuse = |why: String| faults.add("--chains", format!("{}: {why}", path.display()));
    match parse(path) {
        Ok(file) => add(&mut registry, file, &mut refuse),
        Err(why) => refuse(why),
    }
    registry
}

fn parse(path: &Path) -> Result<File, String> {
    let text = std::fs::read_to_string(path).map_err(|error| error.to_string())?;
    // What follows the first line is an excerpt of the file.
    serde_saphyr::from_str(&text)
        .map_err(|error| error.to_string().lines().next().unwrap_or_default().to_owned())
}

fn add(registry: &mut Registry, file: File, refuse: &mut impl FnMut(String)) {
    for (index, entry) in file.chains.into_iter().enumerate() {
        match chain(entry, registry) {
            Ok(chain) => registry.add_chain(chain),
            Err(why) => refuse(format!("chains[{index}]: {why}")),
        }
    }
    for (index, entry) in file.assets.into_iter().enumerate() {
        let added = asset(entry, registry)
            .and_then(|asset| registry.add_asset(asset).map_err(|error| error.to_string()));
        if let Err(why) = added {
            refuse(format!("assets[{index}]: {why}"));
        }
    }
}

fn chain(entry: ChainEntry, registry: &Registry) -> Result<Chain, String> {
    if entry.name.is_empty() || entry.name.contains(['=', ':', ' ']) {
        return Err(format!("name: {:?} has to be one word without = and :", entry.name));
    }
    if entry.block_millis == 0 {
        return Err("blockMillis: has to be at least 1".to_owned());
    }
    let id = entry.id.parse::<ChainId>().map_err(|error| format!("id: {error}"))?;
    if let Some(known) = registry.chains().find(|known| known.id != id && known.is_called(&entry.name)) {
        return Err(format!("name: {:?} is {} already", entry.name, known.id));
    }
    Ok(Chain {
        id,
        name: entry.name,
        aliases: entry.aliases,
        v1_name: entry.v1_name,
        finality: match entry.finality {
            FinalityEntry::Tag(FinalityTag::Finalized) => Finality::Finalized,
            FinalityEntry::Tag(FinalityTag::Safe) => Finality::Safe,
            FinalityEntry::Depth(blocks) => Finality::Depth(blocks),
        },
        block_millis: entry.block_millis,
        op_stack: entry.op_stack,
    })
}

fn asset(entry: AssetEntry, registry: &Registry) -> Result<Asset, String> {
    let address: Address = Address::parse_checksummed(&entry.address, None).map_err(|_| {
        format!("address: {:?} is not an address with a correct EIP-55 checksum", entry.address)
    })?;
    let method = match entry.transfer_method.as_deref() {
        None => TransferMethod::Eip3009,
        Some(text) => {
            text.parse().map_err(|()| format!("transferMethod: {text:?} is neither eip3009 nor permit2"))?
        }
    };
    Ok(Asset {
        chain: registry.chain(&entry.chain).map_err(|error| format!("chain: {error}"))?.id,
        address,
        symbol: entry.symbol,
        decimals: entry.decimals,
        domain: Domain { name: entry.eip712_name, version: entry.eip712_version },
        method,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(text: &str) -> Result<Registry, Failure> {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), text).expect("written");
        ChainsFileArgs { chains: Some(file.path().to_owned()) }.registry()
    }

    const LOCAL: &str = "\
chains:
  - id: eip155:31337
    name: local
    finality: 3
assets:
  - chain: local
    address: '0x5FbDB2315678afecb367f032d93F642f64180aa3'
    symbol: TEST
    decimals: 6
    eip712Name: Test
    eip712Version: '1'
";

    #[test]
    fn a_file_adds_chains_and_assets() {
        let registry = load(LOCAL).expect("good");
        let chain = registry.chain("LOCAL").expect("added");
        assert_eq!((chain.id, chain.finality), (ChainId::new(31337), Finality::Depth(3)));
        assert_eq!(registry.default_asset(chain.id).expect("added").symbol, "TEST");
    }

    #[test]
    fn what_is_wrong_is_named_with_its_entry() {
        for (from, to, expected) in [
            ("31337", "0", "chains[0]: id:"),
            ("name: local", "name: base", "is eip155:8453 already"),
            ("64180aa3", "64180aA3", "assets[0]: address:"),
            ("chain: local", "chain: other", "assets[0]: chain: unknown chain \"other\""),
            ("decimals: 6", "decimals: 6\n    colour: red", "colour"),
        ] {
            let failure = load(&LOCAL.replacen(from, to, 1)).expect_err(expected);
            assert!(format!("{failure:?}").contains(&expected.replace('"', "\\\"")), "{failure:?}");
        }
    }
}
