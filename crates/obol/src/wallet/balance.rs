//! `obol wallet balance`

use super::{Balance, find};
use crate::{
    endpoint::Endpoint,
    exit::Failure,
    output::{self, Output, Table},
    written::{Account, Atomic, Chain, Units},
};
use alloy_primitives::Address;
use futures_util::future::join_all;
use obol_core::{Amount, Asset, Registry};
use obol_evm::{CheckError, Holdings, holdings};
use schemars::JsonSchema;
use serde::Serialize;
use std::sync::Arc;

/// Every EVM chain counts its coin in wei.
const COIN_DECIMALS: u8 = 18;

/// One chain, and what was found there.
struct Asked<'a> {
    endpoint: &'a Endpoint,
    assets: Vec<&'a Arc<Asset>>,
    result: Result<Holdings, CheckError>,
}

/// What an account holds.
#[derive(Serialize, JsonSchema)]
pub(crate) struct BalancesView {
    /// The account.
    address: Account,
    /// The coin and each asset of each chain that was asked.
    balances: Vec<BalanceView>,
}

/// What an account holds of one thing on one chain.
#[derive(Serialize, JsonSchema)]
struct BalanceView {
    /// CAIP-2 id of the chain.
    chain: Chain,
    /// The chain's name.
    chain_name: String,
    /// The token's symbol; `coin` for the chain's own.
    asset_symbol: String,
    /// Address of the token; null for the chain's own coin.
    asset: Option<Account>,
    /// How many digits of an amount in atomic units come after the point.
    decimals: u8,
    /// Atomic units, as text; null where the chain did not say, or has no such asset.
    amount: Option<Atomic>,
    /// The same in units of the asset, as text.
    balance: Option<Units>,
    /// As of which block; null where the chain did not say.
    block: Option<u64>,
    /// Why there is no amount; null where there is one.
    error: Option<String>,
}

pub(super) async fn balance(args: &Balance) -> Result<(), Failure> {
    let registry = args.known.registry()?;
    let endpoints = args.asked.parse(&registry)?;
    let account = account(args)?;
    let asked = join_all(endpoints.iter().map(|endpoint| ask(endpoint, &registry, account))).await;
    let views: Vec<_> = asked.iter().flat_map(Asked::views).collect();
    match args.output {
        Output::Table => output::print(&table(&views).render()),
        Output::Json => output::print_json(&BalancesView { address: account.into(), balances: views }),
    }
    conclude(&asked)
}

fn account(args: &Balance) -> Result<Address, Failure> {
    if !args.wallet.starts_with("0x") {
        return find::find(&args.wallet, &args.folder)?.address(&args.password);
    }
    Address::parse_checksummed(&args.wallet, None).map_err(|_| {
        Failure::config(format!(
            "{:?} is not an address with a correct EIP-55 checksum; copy it as a wallet shows it",
            args.wallet
        ))
    })
}

async fn ask<'a>(endpoint: &'a Endpoint, registry: &'a Registry, account: Address) -> Asked<'a> {
    let chain = endpoint.chain.id;
    let assets: Vec<_> = registry.assets().filter(|asset| asset.chain == chain).collect();
    let tokens: Vec<_> = assets.iter().map(|asset| asset.address).collect();
    let result = holdings(&endpoint.rpc, chain, account, &tokens).await;
    Asked { endpoint, assets, result }
}

impl Asked<'_> {
    /// The coin first, then each asset.
    fn views(&self) -> Vec<BalanceView> {
        let mut views = vec![self.view(None, |held| Some(held.coin))];
        for (index, asset) in self.assets.iter().enumerate() {
            views.push(self.view(Some(asset), |held| held.tokens.get(index).copied().flatten()));
        }
        views
    }

    fn view(&self, asset: Option<&Asset>, of: impl Fn(&Holdings) -> Option<Amount>) -> BalanceView {
        let decimals = asset.map_or(COIN_DECIMALS, |asset| asset.decimals);
        let (amount, block, error) = match &self.result {
            Err(error) => (None, None, Some(error.to_string())),
            Ok(held) => match of(held) {
                Some(amount) => (Some(amount), Some(held.block), None),
                None => {
                    (None, Some(held.block), Some("absent: the chain has no such token there".to_owned()))
                }
            },
        };
        let chain = &self.endpoint.chain;
        BalanceView {
            chain: chain.id.into(),
            chain_name: chain.name.clone(),
            asset_symbol: asset.map_or_else(|| "coin".to_owned(), |asset| asset.symbol.clone()),
            asset: asset.map(|asset| asset.address.into()),
            decimals,
            amount: amount.map(Atomic::from),
            balance: amount.map(|amount| (amount, decimals).into()),
            block,
            error,
        }
    }
}

fn table(views: &[BalanceView]) -> Table {
    let mut table = Table::new(["CHAIN", "ASSET", "BALANCE"]);
    for view in views {
        let balance = view.balance.as_ref().map(ToString::to_string).or_else(|| view.error.clone());
        table.row([view.chain_name.clone(), view.asset_symbol.clone(), balance.unwrap_or_default()]);
    }
    table
}

/// An endpoint of another chain counts for more than one that does not answer: trying again mends
/// the second only.
fn conclude(asked: &[Asked<'_>]) -> Result<(), Failure> {
    let of = |wrong: bool| {
        let names: Vec<_> = asked
            .iter()
            .filter(|asked| match &asked.result {
                Ok(_) => false,
                Err(error) => matches!(error, CheckError::WrongChain { .. }) == wrong,
            })
            .map(|asked| asked.endpoint.chain.name.as_str())
            .collect();
        names.join(", ")
    };
    match (of(true), of(false)) {
        (wrong, _) if !wrong.is_empty() => Err(Failure::config(format!(
            "--rpc: the endpoint of {wrong} is another chain's; see above, and correct it"
        ))),
        (_, silent) if !silent.is_empty() => Err(Failure::unavailable(format!(
            "--rpc: {silent} did not say what the account holds; see above, and give endpoints that answer"
        ))),
        _ => Ok(()),
    }
}
