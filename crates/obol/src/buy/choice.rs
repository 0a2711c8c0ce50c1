//! Which of the ways to pay is taken: of those in known assets the first that is cheap enough.

use crate::exit::Failure;
use obol_core::{Amount, Asset, Registry};
use obol_wire::{Offered, Sale};
use std::{fmt::Write, sync::Arc};

/// A way to pay in an asset that is known.
#[derive(Debug)]
pub(super) struct Way<'a> {
    pub(super) offered: &'a Offered,
    pub(super) asset: Arc<Asset>,
}

impl Way<'_> {
    /// Such as `0.01 USDC`.
    pub(super) fn price(&self) -> String {
        format!("{} {}", self.offered.amount.to_decimal(self.asset.decimals), self.asset.symbol)
    }
}

/// The ways in known assets, in the seller's order, and what is wrong with the others.
pub(super) fn ways<'a>(sale: &'a Sale, registry: &Registry) -> (Vec<Way<'a>>, Vec<String>) {
    let mut ways = Vec::new();
    let mut unknown = Vec::new();
    for offered in &sale.offered {
        match registry.asset_at(offered.chain, offered.asset) {
            // A signature over another domain would be for another token, or for none.
            Ok(asset) if asset.domain == offered.domain => {
                ways.push(Way { offered, asset: Arc::clone(asset) })
            }
            Ok(asset) => unknown.push(format!(
                "{} on {} is offered with another EIP-712 domain than it has",
                asset.symbol, offered.chain
            )),
            Err(_) => unknown.push(format!("{} on {} is no known asset", offered.asset, offered.chain)),
        }
    }
    (ways, unknown)
}

/// The first way that costs at most so much.
pub(super) fn choose<'a>(sale: &'a Sale, registry: &Registry, most: &str) -> Result<Way<'a>, Failure> {
    let (ways, unknown) = ways(sale, registry);
    if ways.is_empty() {
        let why = if unknown.is_empty() {
            "it offers no way to pay that obol knows".to_owned()
        } else {
            unknown.join("; ")
        };
        return Err(Failure::failed(format!("the request cannot be paid for: {why}")));
    }
    let mut dear = String::new();
    for way in ways {
        let most = limit(most, &way.asset)?;
        if way.offered.amount <= most {
            return Ok(way);
        }
        let _ = write!(
            dear,
            "{}{} on {}",
            if dear.is_empty() { "" } else { ", or " },
            way.price(),
            way.offered.chain
        );
    }
    Err(Failure::too_dear(format!("the price is {dear}, above --max-amount {most}: nothing was paid")))
}

/// `--max-amount` in the asset's atomic units.
pub(super) fn limit(most: &str, asset: &Asset) -> Result<Amount, Failure> {
    Amount::parse_price(most, asset.decimals).map_err(|error| {
        Failure::config(format!("--max-amount: {most:?} is no amount of {}: {error}", asset.symbol))
    })
}
