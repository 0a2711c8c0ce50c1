//! `obol chains list|check`

use crate::{
    chains_file::ChainsFileArgs,
    endpoint::{Endpoint, EndpointArgs},
    exit::Failure,
    output::{self, Output, Table},
    written::{Account, Chain, Method},
};
use clap::{Args, Subcommand};
use obol_core::{Asset, Registry};
use obol_evm::{CheckError, check_asset, check_chain};
use schemars::JsonSchema;
use serde::Serialize;
use std::sync::Arc;

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
        #[command(flatten)]
        known: ChainsFileArgs,
        #[arg(long, default_value = "table", value_name = "FORMAT")]
        output: Output,
    },
    /// Compares each asset's EIP-712 domain and decimals with the contract's own. Exits 3 when
    /// one differs: payments signed for it could not be settled. Exits 5 when an endpoint does
    /// not answer. A built-in asset that the chain does not have is absent, which is no failure
    /// unless the chain has none.
    #[command(after_help = "Example:\n  obol chains check --rpc base-sepolia=https://sepolia.example")]
    Check {
        #[command(flatten)]
        asked: EndpointArgs,
        #[command(flatten)]
        known: ChainsFileArgs,
        #[arg(long, default_value = "table", value_name = "FORMAT")]
        output: Output,
    },
}

pub(crate) async fn run(args: ChainsArgs) -> Result<(), Failure> {
    match args.command {
        ChainsCommand::List { known, output } => list(&known.registry()?, output),
        ChainsCommand::Check { asked, known, output } => check(&asked, &known.registry()?, output).await,
    }
}

/// An asset that offers may name, and its chain.
#[derive(Serialize, JsonSchema)]
pub(crate) struct AssetView<'a> {
    /// CAIP-2 id of the chain.
    chain: Chain,
    /// The chain's name.
    chain_name: &'a str,
    /// Other names of the chain.
    aliases: &'a [String],
    /// Address of the token.
    asset: Account,
    /// The token's symbol.
    asset_symbol: &'a str,
    /// How many digits of an amount in atomic units come after the point.
    decimals: u8,
    /// How the token moves on a signature: `eip3009` is settled by obol.
    method: Method,
    domain: DomainView<'a>,
}

/// The token's EIP-712 domain.
#[derive(Serialize, JsonSchema)]
struct DomainView<'a> {
    /// The domain's name.
    name: &'a str,
    /// The domain's version.
    version: &'a str,
}

fn list(registry: &Registry, output: Output) -> Result<(), Failure> {
    let mut table = Table::new(["CHAIN", "ID", "ALIASES", "ASSET", "DECIMALS", "METHOD", "ADDRESS"]);
    let mut lines = Vec::new();
    for chain in registry.chains() {
        for asset in registry.assets().filter(|asset| asset.chain == chain.id) {
            table.row([
                chain.name.clone(),
                chain.id.to_string(),
                chain.aliases.join(" "),
                asset.symbol.clone(),
                asset.decimals.to_string(),
                asset.method.to_string(),
                asset.address.to_checksum(None),
            ]);
            lines.push(AssetView {
                chain: chain.id.into(),
                chain_name: &chain.name,
                aliases: &chain.aliases,
                asset: asset.address.into(),
                asset_symbol: &asset.symbol,
                decimals: asset.decimals,
                method: asset.method.into(),
                domain: DomainView { name: &asset.domain.name, version: &asset.domain.version },
            });
        }
    }
    match output {
        Output::Table => output::print(&table.render()),
        Output::Json => output::print_json(&lines),
    }
    Ok(())
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Ok,
    /// The chain has no contract where the asset should be, and nobody said that it has.
    Absent,
    Wrong,
    Unreachable,
}

/// What was asked of one asset, or of the chain itself, and what came of it.
struct Check {
    asset: Option<Arc<Asset>>,
    result: Result<(), CheckError>,
}

impl Check {
    fn symbol(&self) -> &str {
        self.asset.as_ref().map_or("", |asset| &asset.symbol)
    }

    /// It is there, or that is not known.
    const fn may_be_sold_for(&self) -> bool {
        matches!(self.result, Ok(()) | Err(CheckError::Rpc { .. }))
    }

    /// Local chains and test networks seldom have every asset that is built in, and need not. One
    /// from `--chains` was named on purpose.
    fn verdict(&self, built_in: &Registry, sells: bool) -> Verdict {
        let known = |asset: &Asset| built_in.asset_at(asset.chain, asset.address).is_ok();
        match &self.result {
            Ok(()) => Verdict::Ok,
            Err(CheckError::Rpc { .. }) => Verdict::Unreachable,
            Err(CheckError::NoContract { .. }) if sells && self.asset.as_deref().is_some_and(known) => {
                Verdict::Absent
            }
            Err(_) => Verdict::Wrong,
        }
    }

    fn in_words(&self, verdict: Verdict) -> String {
        match (&self.result, verdict) {
            (Ok(()), _) => "ok".to_owned(),
            (Err(error), Verdict::Absent) => format!("absent: {error}; do not sell for it on this chain"),
            (Err(error), _) => error.to_string(),
        }
    }
}

async fn ask(endpoint: &Endpoint, registry: &Registry) -> Vec<Check> {
    if let Err(error) = check_chain(&endpoint.rpc, endpoint.chain.id).await {
        return vec![Check { asset: None, result: Err(error) }];
    }
    let mut checks = Vec::new();
    for asset in registry.assets().filter(|asset| asset.chain == endpoint.chain.id) {
        let result = check_asset(&endpoint.rpc, asset).await;
        checks.push(Check { asset: Some(Arc::clone(asset)), result });
    }
    checks
}

/// What came of looking at one asset, or at a chain whose endpoint is not its own.
#[derive(Serialize, JsonSchema)]
pub(crate) struct CheckView {
    /// CAIP-2 id of the chain.
    chain: Chain,
    /// The token's symbol; null where the endpoint could not be asked about any asset.
    asset_symbol: Option<String>,
    /// Address of the token; null with its symbol.
    asset: Option<Account>,
    /// Whether the contract has the domain and the decimals that are known.
    ok: bool,
    /// Whether the chain does not have a built-in asset, which is no failure.
    absent: bool,
    /// The result in words for people.
    result: String,
}

async fn check(asked: &EndpointArgs, registry: &Registry, output: Output) -> Result<(), Failure> {
    let endpoints = asked.parse(registry)?;
    let built_in = Registry::built_in();
    let mut table = Table::new(["CHAIN", "ASSET", "RESULT"]);
    let mut lines = Vec::new();
    let mut verdicts = Vec::new();
    for endpoint in &endpoints {
        let checks = ask(endpoint, registry).await;
        let sells = checks.iter().any(Check::may_be_sold_for);
        for check in checks {
            let verdict = check.verdict(&built_in, sells);
            let word = check.in_words(verdict);
            table.row([endpoint.chain.name.clone(), check.symbol().to_owned(), word.clone()]);
            lines.push(CheckView {
                chain: endpoint.chain.id.into(),
                asset_symbol: check.asset.as_ref().map(|asset| asset.symbol.clone()),
                asset: check.asset.as_ref().map(|asset| asset.address.into()),
                ok: verdict == Verdict::Ok,
                absent: verdict == Verdict::Absent,
                result: word,
            });
            verdicts.push(verdict);
        }
    }
    match output {
        Output::Table => output::print(&table.render()),
        Output::Json => output::print_json(&lines),
    }
    conclude(&verdicts)
}

/// What is wrong counts for more than what could not be asked.
fn conclude(verdicts: &[Verdict]) -> Result<(), Failure> {
    let count = |wanted| verdicts.iter().filter(|verdict| **verdict == wanted).count();
    let all = verdicts.len();
    match (count(Verdict::Wrong), count(Verdict::Unreachable)) {
        (0, 0) => Ok(()),
        (0, unreached) => Err(Failure::unavailable(format!(
            "{unreached} of {all} checks had no answer; see above, and give endpoints that answer as --rpc"
        ))),
        (wrong, _) => Err(Failure::differs(format!(
            "{wrong} of {all} checks failed; see above, and correct --rpc or the entries in --chains"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn missing(asset: &Asset) -> CheckError {
        CheckError::NoContract {
            symbol: asset.symbol.clone(),
            chain: asset.chain,
            address: asset.address.to_checksum(None),
        }
    }

    #[test]
    fn an_asset_that_is_not_deployed_is_a_fault_only_where_it_was_counted_on() {
        let built_in = Registry::built_in();
        let asset = built_in.assets().next().expect("there are some");
        let mut own = Asset::clone(asset);
        own.address = alloy_primitives::Address::repeat_byte(7);
        for (asset, sells, expected) in [
            (Asset::clone(asset), true, Verdict::Absent),
            (Asset::clone(asset), false, Verdict::Wrong),
            (own, true, Verdict::Wrong),
        ] {
            let check = Check { result: Err(missing(&asset)), asset: Some(Arc::new(asset)) };
            assert_eq!(check.verdict(&built_in, sells), expected);
        }
    }

    #[test]
    fn what_is_wrong_decides_before_what_cannot_be_asked() {
        use Verdict::{Absent, Ok, Unreachable, Wrong};
        assert!(conclude(&[Ok, Absent]).is_ok());
        let said = |verdicts: &[Verdict]| format!("{:?}", conclude(verdicts).expect_err("not all is well"));
        assert!(said(&[Ok, Unreachable, Wrong]).contains("1 of 3 checks failed"));
        assert!(said(&[Ok, Unreachable, Absent]).contains("1 of 3 checks had no answer"));
    }
}
