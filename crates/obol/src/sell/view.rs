//! What is told of offers, in JSON.

use crate::{
    ledger::EarningView,
    output,
    written::{Account, Atomic, Chain, Hash, Units},
};
use obol_api::Found;
use obol_core::{Offer, Pattern, Registry, Requirement};
use schemars::JsonSchema;
use serde::Serialize;
use std::time::SystemTime;

/// The offers of a folder.
#[derive(Serialize, JsonSchema)]
pub(crate) struct OffersView<'a> {
    /// Those that are sold, or paused.
    pub(super) offers: Vec<OfferView<'a>>,
    /// What is not sold as it is written, and why, in words for people.
    pub(super) faults: Vec<String>,
    /// What is written and decided elsewhere, in words for people.
    pub(super) notes: Vec<String>,
}

/// Static routes.
#[derive(Serialize, JsonSchema)]
pub(crate) struct PricingView<'a> {
    /// Who is paid for a route that does not say so, as it is written; null when nobody is named.
    pub(super) wallet: Option<&'a str>,
    /// The chain of a route that does not say so, as it is written; null when none is named.
    pub(super) chain_name: Option<&'a str>,
    /// The routes that can be sold, as offers.
    pub(super) routes: Vec<OfferView<'a>>,
    /// What is not sold as it is written, and why, in words for people.
    pub(super) faults: Vec<String>,
    /// What is written and decided elsewhere, in words for people.
    pub(super) notes: Vec<String>,
}

/// Whether an offer is sold as it is written.
#[derive(Serialize, JsonSchema)]
pub(crate) struct ProbedView<'a> {
    /// Namespace of the offer.
    pub(super) namespace: &'a str,
    /// Name of the offer.
    pub(super) name: &'a str,
    /// What was asked.
    pub(super) url: &'a str,
    /// HTTP status of the answer; 402 when it is sold.
    pub(super) status: u16,
    /// Whether it is sold as it is written.
    pub(super) agrees: bool,
    /// What is not, in words for people.
    pub(super) differences: &'a [String],
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
    /// When it ends; null when it does not.
    sunset: Option<String>,
    /// The only host that it is sold at; null when it is any.
    host: Option<&'a str>,
    /// Where it is sold.
    path: &'a str,
    matches: Matches,
    /// URL of the service; null when it is sold to proxies that ask at `/verify` only.
    upstream: Option<&'a str>,
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
    /// It is, and ends soon.
    Draining,
    /// It has ended.
    Drained,
}

/// What of its path it is sold at.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
enum Matches {
    /// The path and everything below it.
    Below,
    /// The path alone.
    Exact,
    /// Each path of this form: a `*` stands for one segment, at the end for one or more.
    Pattern,
}

impl Matches {
    const fn of(pattern: &Pattern) -> Self {
        match pattern {
            Pattern::Below(_) => Self::Below,
            Pattern::Exact(_) => Self::Exact,
            Pattern::Glob(_) => Self::Pattern,
        }
    }
}

impl Sale {
    pub(super) fn of(offer: &Offer) -> Self {
        match offer.sunset {
            _ if offer.paused => Self::Paused,
            None => Self::Selling,
            Some(_) if offer.is_drained(SystemTime::now()) => Self::Drained,
            Some(_) => Self::Draining,
        }
    }

    pub(super) const fn in_a_word(&self) -> &'static str {
        match self {
            Self::Selling => "selling",
            Self::Paused => "paused",
            Self::Draining => "draining",
            Self::Drained => "drained",
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
            sunset: offer.sunset.map(output::moment),
            host: offer.host.as_deref(),
            path: offer.path.as_str(),
            matches: Matches::of(&offer.path),
            upstream: offer.upstream.base.as_deref(),
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
