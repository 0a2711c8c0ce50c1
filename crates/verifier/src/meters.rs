//! What is counted, and where: an offer's series are at hand in its listing, so that a request
//! looks nothing up. They outlive loads that keep the offer, and go with it.

mod families;
mod scrape;

use crate::catalog::Catalog;
pub use families::FAMILIES;
use obol_core::{Asset, ChainId, OfferId, Reason, Registry};
use obol_ledger::{Charged, Delivery, Position, State, Transition};
use obol_telemetry::{Counter, Histogram, Labels, Units};
pub(crate) use scrape::Scraper;
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::Duration,
};

/// One for each reason there is.
#[derive(Debug)]
pub(crate) struct ByReason([Counter; Reason::ALL.len()]);

impl Default for ByReason {
    fn default() -> Self {
        Self(std::array::from_fn(|_| Counter::default()))
    }
}

impl ByReason {
    fn count(&self, reason: Reason) {
        if let Some(counter) = self.0.get(reason as usize) {
            counter.increment();
        }
    }

    /// Those that have happened.
    fn iter(&self) -> impl Iterator<Item = (Reason, u64)> {
        let all = Reason::ALL.iter().copied().zip(self.0.iter().map(Counter::get));
        all.filter(|(_, count)| *count > 0)
    }
}

/// The series of one offer on one chain in one asset.
#[derive(Debug)]
pub(crate) struct Series {
    position: Position,
    labels: Labels,
    requests: Counter,
    required: Counter,
    verified: Counter,
    failed: Counter,
    reasons: OnceLock<Box<ByReason>>,
    charged: Counter,
    claimed: Counter,
    waived: Counter,
    reversals: Counter,
    upstream_failed: Counter,
    settled: Units,
}

impl Series {
    pub(crate) fn new(position: Position, asset: &Asset, registry: &Registry) -> Self {
        let offer = &position.offer;
        let labels = Labels::new([
            ("offer_namespace", offer.namespace.as_str()),
            ("offer_name", offer.name.as_str()),
            ("chain", &asset.chain.to_string()),
            ("asset_symbol", &registry.label(asset)),
        ]);
        Self {
            position,
            labels,
            requests: Counter::default(),
            required: Counter::default(),
            verified: Counter::default(),
            failed: Counter::default(),
            reasons: OnceLock::new(),
            charged: Counter::default(),
            claimed: Counter::default(),
            waived: Counter::default(),
            reversals: Counter::default(),
            upstream_failed: Counter::default(),
            settled: Units::default(),
        }
    }

    pub(crate) const fn position(&self) -> &Position {
        &self.position
    }

    fn fail(&self, reason: Reason) {
        self.failed.increment();
        self.reasons.get_or_init(Box::default).count(reason);
    }
}

pub(crate) fn position(offer: &OfferId, asset: &Asset) -> Position {
    Position { offer: offer.clone(), chain: asset.chain, asset: asset.address }
}

/// Where a request is counted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tally<'a>(Option<&'a Series>);

impl<'a> Tally<'a> {
    pub(crate) const fn new(series: Option<&'a Series>) -> Self {
        Self(series)
    }

    pub(crate) fn requested(self) {
        self.count(|series| series.requests.increment());
    }

    pub(crate) fn required(self) {
        self.count(|series| series.required.increment());
    }

    /// A request with a payment was not served for this reason.
    pub(crate) fn failed(self, reason: Reason) {
        match reason {
            Reason::UpstreamUnavailable | Reason::UpstreamTimeout => self.upstream_failed(),
            reason => self.count(|series| series.fail(reason)),
        }
    }

    pub(crate) fn upstream_failed(self) {
        self.count(|series| series.upstream_failed.increment());
    }

    fn count(self, count: impl FnOnce(&Series)) {
        if let Some(series) = self.0 {
            count(series);
        }
    }
}

/// What is counted for a chain as a whole.
#[derive(Debug, Default)]
struct ChainMeters {
    verify: Histogram,
    settle: Histogram,
}

#[derive(Debug, Default)]
struct AssetMeters {
    charged: Counter,
    settled: Units,
}

/// What is counted for the process as a whole.
#[derive(Debug)]
pub(crate) struct Meters {
    registry: Arc<Registry>,
    refused: ByReason,
    chains: BTreeMap<ChainId, ChainMeters>,
    assets: Mutex<BTreeMap<(ChainId, String), AssetMeters>>,
}

impl Meters {
    /// The totals of each asset of these chains begin at zero.
    pub(crate) fn new(registry: Arc<Registry>, chains: impl Iterator<Item = ChainId>) -> Self {
        let chains: BTreeMap<_, _> = chains.map(|chain| (chain, ChainMeters::default())).collect();
        let assets = registry.assets().filter(|asset| chains.contains_key(&asset.chain));
        let assets = assets.map(|asset| ((asset.chain, registry.label(asset)), AssetMeters::default()));
        let assets = Mutex::new(assets.collect());
        Self { registry, refused: ByReason::default(), chains, assets }
    }

    pub(crate) fn refused(&self, reason: Reason) {
        if reason != Reason::PaymentRequired {
            self.refused.count(reason);
        }
    }

    pub(crate) fn verify_took(&self, chain: ChainId, took: Duration) {
        if let Some(chain) = self.chains.get(&chain) {
            chain.verify.observe(took);
        }
    }

    /// Counts what the ledger has written down. Runs on the ledger's thread.
    pub(crate) fn note(&self, catalog: &Catalog, change: &Transition) {
        let snapshot = catalog.snapshot();
        let series = snapshot.as_ref().and_then(|snapshot| snapshot.series_of(&change.position));
        let tally = Tally::new(series);
        match (change.to, change.charge) {
            (_, Some(Charged::First { owed_for })) => {
                tally.count(|series| {
                    series.charged.increment();
                    series.settled.add(change.amount.atomic());
                });
                self.charge(change);
                let chain = self.chains.get(&change.position.chain);
                if let Some((chain, owed_for)) = chain.zip(owed_for) {
                    chain.settle.observe(owed_for);
                }
            }
            (_, Some(Charged::Reversed)) => tally.count(|series| series.reversals.increment()),
            (State::Reserved, None) => tally.count(|series| series.verified.increment()),
            (State::Waived, None) => tally.count(|series| series.waived.increment()),
            (State::Claimed, None) => tally.count(|series| series.claimed.increment()),
            // Of one that was not delivered its request tells.
            (State::Failed, None) if change.delivery != Delivery::None => {
                tally.failed(Reason::SettlementFailed);
            }
            _ => {}
        }
    }

    fn charge(&self, change: &Transition) {
        let Position { chain, asset, .. } = &change.position;
        let asset = self.registry.asset_at(*chain, *asset);
        let symbol = asset.map_or_else(|_| "unknown".to_owned(), |asset| self.registry.label(asset));
        let mut assets = self.assets.lock().unwrap_or_else(PoisonError::into_inner);
        let meters = assets.entry((*chain, symbol)).or_default();
        meters.charged.increment();
        meters.settled.add(change.amount.atomic());
    }
}
