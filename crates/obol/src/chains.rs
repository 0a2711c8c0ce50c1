//! `obol chains list|check`

use crate::{
    chains_file, endpoint,
    exit::Failure,
    output::{self, Output, Table},
};
use clap::{Args, Subcommand};
use obol_evm::{check_asset, check_chain};
use serde_json::json;
use std::path::PathBuf;

const EXAMPLE: &str = "\
Examples:
  obol chains list
  obol chains check --rpc base-sepolia=https://sepolia.example";

/// Known chains and assets, and whether an endpoint agrees with them.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLE)]
pub(crate) struct ChainsArgs {
    #[command(subcommand)]
    command: ChainsCommand,
}

#[derive(Debug, Subcommand)]
enum ChainsCommand {
    /// The chains and assets that offers may name.
    #[command(after_help = "Example:\n  obol chains list --output json")]
    List {
        /// File that adds chains and assets to the built-in ones.
        #[arg(long, env = "OBOL_CHAINS", value_name = "FILE")]
        chains: Option<PathBuf>,
        #[arg(long, default_value = "table", value_name = "FORMAT")]
        output: Output,
    },
    /// Compares each asset's EIP-712 domain and decimals with the contract's own. Exits 3 when
    /// one differs: payments signed for it could not be settled.
    #[command(after_help = "Example:\n  obol chains check --rpc base-sepolia=https://sepolia.example")]
    Check {
        /// A chain's JSON-RPC endpoint, once per chain.
        #[arg(long, env = "OBOL_RPC", value_name = "CHAIN=URL", value_delimiter = ' ', required = true)]
        rpc: Vec<String>,
        /// File that adds chains and assets to the built-in ones.
        #[arg(long, env = "OBOL_CHAINS", value_name = "FILE")]
        chains: Option<PathBuf>,
        #[arg(long, default_value = "table", value_name = "FORMAT")]
        output: Output,
    },
}

pub(crate) async fn run(args: ChainsArgs) -> Result<(), Failure> {
    match args.command {
        ChainsCommand::List { chains, output } => list(chains, output),
        ChainsCommand::Check { rpc, chains, output } => check(&rpc, chains, output).await,
    }
}

fn list(chains: Option<PathBuf>, output: Output) -> Result<(), Failure> {
    let registry = chains_file::registry(chains.as_deref())?;
    let mut table = Table::new(["CHAIN", "ID", "ALIASES", "ASSET", "DECIMALS", "METHOD", "ADDRESS"]);
    let mut lines = Vec::new();
    for chain in registry.chains() {
        for asset in registry.assets().filter(|asset| asset.chain == chain.id) {
            let address = asset.address.to_checksum(None);
            table.row([
                chain.name.clone(),
                chain.id.to_string(),
                chain.aliases.join(" "),
                asset.symbol.clone(),
                asset.decimals.to_string(),
                asset.method.to_string(),
                address.clone(),
            ]);
            lines.push(json!({
                "chain": chain.id.to_string(), "name": chain.name, "aliases": chain.aliases,
                "asset": address, "symbol": asset.symbol, "decimals": asset.decimals,
                "method": asset.method.as_str(),
                "domain": {"name": asset.domain.name, "version": asset.domain.version},
            }));
        }
    }
    match output {
        Output::Table => output::print(&table.render()),
        Output::Json => output::print_json(&lines),
    }
    Ok(())
}

async fn check(rpc: &[String], chains: Option<PathBuf>, output: Output) -> Result<(), Failure> {
    let registry = chains_file::registry(chains.as_deref())?;
    let endpoints = endpoint::parse(rpc, &registry)?;
    let mut table = Table::new(["CHAIN", "ASSET", "RESULT"]);
    let mut lines = Vec::new();
    let mut wrong = 0;
    for endpoint in &endpoints {
        let mut results = Vec::new();
        match check_chain(&endpoint.rpc, endpoint.chain.id).await {
            Err(error) => results.push((String::new(), Err(error))),
            Ok(()) => {
                for asset in registry.assets().filter(|asset| asset.chain == endpoint.chain.id) {
                    results.push((asset.symbol.clone(), check_asset(&endpoint.rpc, asset).await));
                }
            }
        }
        for (asset, result) in results {
            wrong += usize::from(result.is_err());
            let word = result.as_ref().map_or_else(ToString::to_string, |()| "ok".to_owned());
            table.row([endpoint.chain.name.clone(), asset.clone(), word.clone()]);
            lines.push(json!({
                "chain": endpoint.chain.id.to_string(), "asset": asset, "ok": result.is_ok(), "result": word,
            }));
        }
    }
    match output {
        Output::Table => output::print(&table.render()),
        Output::Json => output::print_json(&lines),
    }
    match wrong {
        0 => Ok(()),
        wrong => Err(Failure::differs(format!("{wrong} of {} checks failed", lines.len()))),
    }
}
