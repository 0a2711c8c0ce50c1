//! What is counted, and where: an offer's series are at hand in its listing, so that a request
//! looks nothing up. They outlive loads that keep the offer, and go with it.

mod families;
mod from_chains;
mod from_ledger;
mod scrape;
mod told;

use crate::catalog::Catalog;
use alloy_primitives::{Address, U256};
pub use families::FAMILIES;
use obol_core::{Amount, Asset, ChainId, OfferId, Reason, Registry};
use obol_ledger::{Charged, Delivery, Position, State, Transition};
use obol_telemetry::{Counter, Histogram, Labels, Units};
pub(crate) use scrape::{Scraper, Unwritten};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
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
    counts: Counts,
}

#[derive(Debug, Default)]
struct Counts {
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
    client_left: Counter,
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
        Self { position, labels, counts: Counts::default() }
    }

    pub(crate) const fn position(&self) -> &Position {
        &self.position
    }

    #[cfg(test)]
    pub(crate) fn requested(&self) -> u64 {
        self.counts.requests.get()
    }

    fn fail(&self, reason: Reason) {
        self.counts.failed.increment();
        self.counts.reasons.get_or_init(Box::default).count(reason);
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
        self.count(|series| series.counts.requests.increment());
    }

    pub(crate) fn required(self) {
        self.count(|series| series.counts.required.increment());
    }

    /// A request with a payment was not served for this reason.
    pub(crate) fn failed(self, reason: Reason) {
        match reason {
            Reason::UpstreamUnavailable | Reason::UpstreamTimeout => self.upstream_failed(),
            reason => self.count(|series| series.fail(reason)),
        }
    }

    pub(crate) fn upstream_failed(self) {
        self.count(|series| series.counts.upstream_failed.increment());
    }

    pub(crate) fn client_left(self) {
        self.count(|series| series.counts.client_left.increment());
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

/// What was charged in one asset, whoever sold it.
#[derive(Debug, Default)]
struct AssetMeters {
    charged: Counter,
    settled: Units,
}

impl AssetMeters {
    fn charge(&self, amount: Amount) {
        self.charged.increment();
        self.settled.add(amount.atomic());
    }
}

/// What is counted for the process as a whole.
#[derive(Debug)]
pub(crate) struct Meters {
    registry: Arc<Registry>,
    refused: ByReason,
    chains: BTreeMap<ChainId, ChainMeters>,
    /// Every asset of these chains that is known.
    assets: BTreeMap<(ChainId, Address), AssetMeters>,
    /// Of assets that are in the ledger, and in the registry no more.
    unknown: Mutex<BTreeMap<(ChainId, Address), AssetMeters>>,
}

impl Meters {
    /// The totals of each asset of these chains begin at zero.
    pub(crate) fn new(registry: Arc<Registry>, chains: impl Iterator<Item = ChainId>) -> Self {
        let chains: BTreeMap<_, _> = chains.map(|chain| (chain, ChainMeters::default())).collect();
        let known = known_assets(&registry, &chains);
        let assets = known.map(|asset| ((asset.chain, asset.address), AssetMeters::default())).collect();
        let unknown = Mutex::default();
        Self { registry, refused: ByReason::default(), chains, assets, unknown }
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
        self.count(Tally::new(series), change);
    }

    fn count(&self, tally: Tally<'_>, change: &Transition) {
        match (change.to, change.charge) {
            (_, Some(Charged::First { owed_for })) => {
                tally.count(|series| {
                    series.counts.charged.increment();
                    series.counts.settled.add(change.amount.atomic());
                });
                self.charge(change);
                let chain = self.chains.get(&change.position.chain);
                if let Some((chain, owed_for)) = chain.zip(owed_for) {
                    chain.settle.observe(owed_for);
                }
            }
            (_, Some(Charged::Reversed)) => tally.count(|series| series.counts.reversals.increment()),
            (State::Reserved, None) => tally.count(|series| series.counts.verified.increment()),
            (State::Waived, None) => tally.count(|series| series.counts.waived.increment()),
            (State::Claimed, None) => tally.count(|series| series.counts.claimed.increment()),
            // Of one that was not delivered its request tells.
            (State::Failed, None) if change.delivery != Delivery::None => {
                tally.failed(Reason::SettlementFailed);
            }
            _ => {}
        }
    }

    fn charge(&self, change: &Transition) {
        let place = (change.position.chain, change.position.asset);
        match self.assets.get(&place) {
            Some(meters) => meters.charge(change.amount),
            None => self.unknown().entry(place).or_default().charge(change.amount),
        }
    }

    fn unknown(&self) -> MutexGuard<'_, BTreeMap<(ChainId, Address), AssetMeters>> {
        // What is in it is whole at any time.
        self.unknown.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn known_assets(&self) -> impl Iterator<Item = &Asset> {
        known_assets(&self.registry, &self.chains)
    }

    /// What was charged in each asset, as payments and atomic units.
    fn charged(&self) -> Vec<((ChainId, Address), u64, U256)> {
        let unknown = self.unknown();
        let all = self.assets.iter().chain(unknown.iter());
        all.map(|(place, meters)| (*place, meters.charged.get(), meters.settled.get())).collect()
    }

    /// What an asset is called, and its chain. Two that nobody knows are still two.
    fn asset_labels(&self, (chain, address): (ChainId, Address)) -> Labels {
        let symbol = self
            .registry
            .asset_at(chain, address)
            .map_or_else(|_| format!("unknown@{address}"), |known| self.registry.label(known));
        chain_labels(chain).with([("asset_symbol", symbol.as_str())])
    }
}

fn chain_labels(chain: ChainId) -> Labels {
    Labels::new([("chain", chain.to_string().as_str())])
}

/// Those of the chains that something may be sold on.
fn known_assets<'a>(
    registry: &'a Registry,
    chains: &'a BTreeMap<ChainId, ChainMeters>,
) -> impl Iterator<Item = &'a Asset> {
    registry.assets().map(AsRef::as_ref).filter(|asset| chains.contains_key(&asset.chain))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A registry's USDC in an offer that is sold, and what its series say.
    struct Stage {
        meters: Meters,
        series: Series,
    }

    fn stage() -> Stage {
        let registry = Arc::new(Registry::built_in());
        let usdc = Arc::clone(registry.default_asset(ChainId::new(84_532)).expect("USDC"));
        let offer = OfferId { namespace: "shop".to_owned(), name: "hello".to_owned() };
        let series = Series::new(position(&offer, &usdc), &usdc, &registry);
        Stage { meters: Meters::new(registry, [usdc.chain].into_iter()), series }
    }

    impl Stage {
        fn change(&self, to: State, charge: Option<Charged>, delivery: Delivery) -> Transition {
            Transition {
                position: self.series.position.clone(),
                amount: Amount::from(10_000),
                from: Some(State::Due),
                to,
                delivery,
                charge,
            }
        }

        fn note(&self, to: State, charge: Option<Charged>, delivery: Delivery) {
            let change = self.change(to, charge, delivery);
            self.meters.count(Tally::new(Some(&self.series)), &change);
        }
    }

    #[test]
    fn only_the_first_inclusion_charges_and_each_reversal_is_told() {
        let stage = stage();
        let first = Some(Charged::First { owed_for: Some(Duration::from_secs(2)) });
        stage.note(State::Included, first, Delivery::None);
        stage.note(State::Submitted, Some(Charged::Reversed), Delivery::None);
        stage.note(State::Included, Some(Charged::Again), Delivery::None);
        stage.note(State::Settled, None, Delivery::Done);
        let series = &stage.series;
        assert_eq!((series.counts.charged.get(), series.counts.reversals.get()), (1, 1));
        assert_eq!(series.counts.settled.get(), U256::from(10_000));
        let totals: Vec<_> =
            stage.meters.charged().into_iter().filter(|(_, payments, _)| *payments > 0).collect();
        let asset = stage.series.position.asset;
        let amount = U256::from(10_000);
        assert_eq!(totals, [((ChainId::new(84_532), asset), 1, amount)]);
    }

    #[test]
    fn a_payment_that_failed_is_told_by_its_request_or_when_it_was_delivered_on_here() {
        let stage = stage();
        stage.note(State::Failed, None, Delivery::None);
        assert_eq!(stage.series.counts.failed.get(), 0);
        stage.note(State::Failed, None, Delivery::Done);
        assert_eq!(stage.series.counts.failed.get(), 1);
    }

    #[test]
    fn what_is_the_upstreams_fault_is_not_the_payments() {
        let stage = stage();
        let tally = Tally::new(Some(&stage.series));
        for reason in [Reason::UpstreamTimeout, Reason::UpstreamUnavailable, Reason::Expired] {
            tally.failed(reason);
        }
        assert_eq!((stage.series.counts.upstream_failed.get(), stage.series.counts.failed.get()), (2, 1));
    }

    #[test]
    fn what_was_charged_in_an_asset_that_nobody_knows_has_a_total_of_its_own() {
        let stage = stage();
        let before = stage.meters.charged();
        let first = Some(Charged::First { owed_for: None });
        let mut change = stage.change(State::Included, first, Delivery::None);
        change.position.asset = Address::repeat_byte(0x77);
        stage.meters.count(Tally::new(None), &change);
        let after = stage.meters.charged();
        assert_eq!(after[..before.len()], before);
        let [(place, 1, _)] = after[before.len()..] else { panic!("{after:?}") };
        let labels = stage.meters.asset_labels(place);
        let named =
            "chain=\"eip155:84532\",asset_symbol=\"unknown@0x7777777777777777777777777777777777777777\"";
        assert_eq!(labels.as_str(), named);
    }
}
