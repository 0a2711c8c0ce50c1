//! What is told of offers, in JSON.

use crate::{
    ledger::EarningView,
    written::{Account, Atomic, Chain, Hash, Units},
};
use obol_api::Found;
use obol_core::{Offer, Registry, Requirement};
use schemars::JsonSchema;
use serde::Serialize;

/// The offers of a folder.
#[derive(Serialize, JsonSchema)]
pub(crate) struct OffersView<'a> {
    /// Those that are sold, or paused.
    pub(super) offers: Vec<OfferView<'a>>,
    /// What is not sold as it is written, and why, in words for people.
    pub(super) faults: Vec<String>,
}

/// One offer, and what it has earned.
#[derive(Serialize, JsonSchema)]
pub(crate) struct StatusView<'a> {
    #[serde(flatten)]
    pub(super) offer: OfferView<'a>,
    /// Which other offer is sold in its place; null when it is sold itself.
    pub(super) conflict: Option<String>,
    /// What it earned in each asset; empty without `--ledger`.
    pub(super) earned: Vec<EarningView>,
    /// Null without `--ledger`, or before the first.
    pub(super) last_settlement: Option<SettlementView>,
}

/// The newest transaction that paid for an offer.
#[derive(Serialize, JsonSchema)]
pub(super) struct SettlementView {
    /// The transaction.
    pub(super) transaction: Hash,
    /// The time of its block, in seconds since the Unix epoch.
    pub(super) block_timestamp: i64,
}

/// An offer as it is written.
#[derive(Serialize, JsonSchema)]
pub(super) struct OfferView<'a> {
    /// Namespace of the offer.
    namespace: &'a str,
    /// Name of the offer.
    name: &'a str,
    state: Sale,
    /// The only host that it is sold at; null when it is any.
    host: Option<&'a str>,
    /// Where it is sold.
    path: String,
    /// URL of the service.
    upstream: &'a str,
    /// What buyers read about it; may be empty.
    description: &'a str,
    /// The ways to pay, in their order.
    accepts: Vec<AcceptView<'a>>,
    /// Path of the file that it is written in.
    file: String,
    /// Line of that file, from 1.
    line: u32,
}

/// Whether it is sold.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub(super) enum Sale {
    /// It is, when a verifier has the folder.
    Selling,
    /// It is not: buyers are told so, and pay nothing.
    Paused,
}

impl Sale {
    pub(super) const fn of(offer: &Offer) -> Self {
        if offer.paused { Self::Paused } else { Self::Selling }
    }

    pub(super) const fn in_a_word(&self) -> &'static str {
        match self {
            Self::Selling => "selling",
            Self::Paused => "paused",
        }
    }
}

/// One way to pay for an offer.
#[derive(Serialize, JsonSchema)]
struct AcceptView<'a> {
    /// CAIP-2 id of the chain.
    chain: Chain,
    /// The chain's name; null when neither the built-in table nor `--chains` has it.
    chain_name: Option<&'a str>,
    /// The token's symbol.
    asset_symbol: &'a str,
    /// Address of the token.
    asset: Account,
    /// Atomic units, as text.
    amount: Atomic,
    /// The same in units of the asset, as text.
    price: Units,
    /// Who is paid.
    pay_to: Account,
}

impl<'a> OfferView<'a> {
    pub(super) fn new(found: &'a Found, registry: &'a Registry) -> Self {
        let offer = &*found.offer;
        Self {
            namespace: &offer.id.namespace,
            name: &offer.id.name,
            state: Sale::of(offer),
            host: offer.host.as_deref(),
            path: offer.path.to_string(),
            upstream: &offer.upstream.base,
            description: &offer.description,
            accepts: offer.accepts.iter().map(|way| AcceptView::new(way, registry)).collect(),
            file: found.file.display().to_string(),
            line: found.line,
        }
    }
}

impl<'a> AcceptView<'a> {
    fn new(way: &'a Requirement, registry: &'a Registry) -> Self {
        Self {
            chain: way.asset.chain.into(),
            chain_name: registry.chain_by_id(way.asset.chain).ok().map(|chain| &*chain.name),
            asset_symbol: &way.asset.symbol,
            asset: way.asset.address.into(),
            amount: way.amount.into(),
            price: (way.amount, way.asset.decimals).into(),
            pay_to: way.pay_to.into(),
        }
    }
}
