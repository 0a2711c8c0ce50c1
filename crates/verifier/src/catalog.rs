//! What is sold, compiled once per load. A request takes one snapshot and keeps it.

use crate::{
    meters::{self, Meters, Series, Tally},
    page::Menu,
    posted::Challenges,
};
use alloy_primitives::Address;
use arc_swap::ArcSwapOption;
use http::HeaderValue;
use obol_core::{Amount, Asset, ChainId, Charge, Conflict, Offer, OfferId, Registry, RequestPath, Routes};
use obol_ledger::{Ledger, LedgerError, Position};
use obol_serve::Trouble;
use obol_wire::ChallengeTemplate;
use std::{
    collections::{HashMap, hash_map::Entry},
    sync::Arc,
    time::SystemTime,
};

/// An offer and what is ready to be sent about it.
#[derive(Debug)]
pub(crate) struct Listed {
    pub(crate) offer: Arc<Offer>,
    pub(crate) challenges: Challenges,
    /// Of its upstream; outlives a load.
    pub(crate) upstream: Arc<Trouble>,
    /// Segments of a client's path that the upstream does not see.
    pub(crate) segments: usize,
    /// Of each requirement, in their order; empty when nothing is counted.
    series: Vec<Arc<Series>>,
    /// What buyers of a draining offer are told (RFC 8594).
    pub(crate) sunset: Option<HeaderValue>,
}

impl Listed {
    /// Where a request is counted of which it is not known how it is to be paid.
    pub(crate) fn tally(&self) -> Tally<'_> {
        Tally::new(self.series.first().map(Arc::as_ref))
    }

    /// Where a request is counted that is paid in this asset.
    pub(crate) fn tally_in(&self, asset: &Asset) -> Tally<'_> {
        self.tally_at(asset.chain, asset.address)
    }

    pub(crate) fn tally_at(&self, chain: ChainId, asset: Address) -> Tally<'_> {
        let mut ways = self.offer.accepts.iter().map(|required| &required.asset);
        let place = ways.position(|known| known.chain == chain && known.address == asset);
        let series = place.and_then(|place| self.series.get(place));
        Tally::new(series.or(self.series.first()).map(Arc::as_ref))
    }
}

/// What is sold at one moment.
#[derive(Debug)]
pub(crate) struct Snapshot {
    routes: Routes<Shared>,
    offers: usize,
    /// Of the load: what is configured and not sold, or not as it is written now.
    faults: usize,
    /// In the order of their offers' names.
    series: Vec<Arc<Series>>,
    by_position: HashMap<Position, Arc<Series>>,
    /// What may be delivered and not settled, in atomic units.
    limits: Vec<(Arc<Series>, Amount)>,
}

#[derive(Clone, Debug)]
struct Shared(Arc<Listed>);

impl AsRef<Offer> for Shared {
    fn as_ref(&self) -> &Offer {
        &self.0.offer
    }
}

impl Snapshot {
    pub(crate) fn find(&self, host: Option<&str>, path: &RequestPath<'_>) -> Option<&Arc<Listed>> {
        self.routes.find(host, path).map(|Shared(listed)| listed)
    }

    fn new(routes: Routes<Shared>, faults: usize) -> Self {
        let mut listed: Vec<_> = routes.iter().map(|Shared(listed)| listed).collect();
        listed.sort_by(|a, b| a.offer.id.cmp(&b.offer.id));
        let offers = listed.len();
        let mut by_position = HashMap::new();
        let (mut series, mut limits) = (Vec::new(), Vec::new());
        for (listed, own) in
            listed.iter().flat_map(|listed| listed.series.iter().map(move |own| (listed, own)))
        {
            let Entry::Vacant(place) = by_position.entry(own.position().clone()) else { continue };
            place.insert(Arc::clone(own));
            series.push(Arc::clone(own));
            if let Charge::Optimistic(exposure) = listed.offer.charge {
                limits.push((Arc::clone(own), exposure.per_offer));
            }
        }
        Self { routes, offers, faults, series, by_position, limits }
    }

    /// How many offers are sold, and how many are loaded, and paused or drained.
    pub(crate) fn sold_and_paused(&self) -> (usize, usize) {
        let now = SystemTime::now();
        let closed = |offer: &Offer| offer.paused || offer.is_drained(now);
        let paused = self.routes.iter().filter(|Shared(listed)| closed(&listed.offer)).count();
        (self.offers - paused, paused)
    }

    pub(crate) const fn faults(&self) -> usize {
        self.faults
    }

    /// The series of every offer that is loaded.
    pub(crate) fn series(&self) -> &[Arc<Series>] {
        &self.series
    }

    pub(crate) fn series_of(&self, position: &Position) -> Option<&Series> {
        self.by_position.get(position).map(Arc::as_ref)
    }

    pub(crate) fn limits(&self) -> &[(Arc<Series>, Amount)] {
        &self.limits
    }
}

/// The live snapshot, none until the first load; and what is counted of it.
#[derive(Debug)]
pub struct Catalog {
    current: ArcSwapOption<Snapshot>,
    registry: Arc<Registry>,
    meters: Arc<Meters>,
    uncounted: bool,
}

impl Catalog {
    /// `chains` are those on which this process settles, or has it done.
    pub fn new(registry: Arc<Registry>, chains: impl IntoIterator<Item = ChainId>) -> Self {
        let meters = Arc::new(Meters::new(Arc::clone(&registry), chains.into_iter()));
        Self { current: ArcSwapOption::empty(), registry, meters, uncounted: false }
    }

    /// One of whose offers nothing is counted: to find out what counting costs.
    pub fn uncounted(registry: Arc<Registry>) -> Self {
        Self { uncounted: true, ..Self::new(registry, []) }
    }

    /// Counts what is written into this ledger from now on. To be called before anything settles.
    pub fn observe(self: &Arc<Self>, ledger: &Ledger) -> Result<(), LedgerError> {
        if self.uncounted {
            return Ok(());
        }
        let catalog = Arc::clone(self);
        ledger.observe(move |change| catalog.meters.note(&catalog, change))
    }

    pub(crate) const fn counts(&self) -> bool {
        !self.uncounted
    }

    pub(crate) const fn meters(&self) -> &Arc<Meters> {
        &self.meters
    }

    /// Replaces what is sold, for the requests that come from now on. Of two offers for one path
    /// the second is not served, and is returned. `faults` is how much more is configured and not sold,
    /// or not as it is written now.
    pub fn publish(&self, offers: &[Arc<Offer>], faults: usize) -> Vec<Conflict> {
        let registry = &*self.registry;
        let before = self.current.load_full();
        let known: HashMap<&OfferId, &Arc<Trouble>> = before
            .iter()
            .flat_map(|snapshot| snapshot.routes.iter())
            .map(|Shared(listed)| (&listed.offer.id, &listed.upstream))
            .collect();
        let series =
            |offer: &Offer| -> Vec<Arc<Series>> {
                let mut own: Vec<Arc<Series>> = Vec::new();
                for required in offer.accepts.iter().filter(|_| self.counts()) {
                    let position = meters::position(&offer.id, &required.asset);
                    // Several ways to pay may share an asset.
                    let twin = own.iter().find(|known| *known.position() == position).cloned();
                    let kept =
                        || before.as_ref().and_then(|snapshot| snapshot.by_position.get(&position).cloned());
                    own.push(twin.or_else(kept).unwrap_or_else(|| {
                        Arc::new(Series::new(position.clone(), &required.asset, registry))
                    }));
                }
                own
            };
        let listed = offers.iter().map(|offer| {
            Shared(Arc::new(Listed {
                challenges: Challenges::new(
                    ChallengeTemplate::new(&offer.accepts, registry, &offer.description),
                    Menu::new(Arc::clone(offer), registry),
                ),
                segments: offer.upstream.strip.split('/').filter(|segment| !segment.is_empty()).count(),
                sunset: offer.sunset.and_then(|at| HeaderValue::try_from(httpdate::fmt_http_date(at)).ok()),
                series: series(offer),
                offer: Arc::clone(offer),
                upstream: known.get(&offer.id).map_or_else(Arc::default, |trouble| Arc::clone(trouble)),
            }))
        });
        let (routes, conflicts) = Routes::compile(listed);
        self.current.store(Some(Arc::new(Snapshot::new(routes, faults + conflicts.len()))));
        conflicts
    }

    /// Whether there was a first load.
    pub fn is_loaded(&self) -> bool {
        self.current.load().is_some()
    }

    pub(crate) fn snapshot(&self) -> Option<Arc<Snapshot>> {
        self.current.load_full()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use obol_core::{Disconnect, Pattern, Requirement, Upstream};
    use std::time::Duration;

    /// Paid in these assets, to another payee each time.
    fn offer(assets: &[&Arc<Asset>]) -> Arc<Offer> {
        let accepts = assets.iter().zip(1..).map(|(asset, payee)| Requirement {
            asset: Arc::clone(asset),
            pay_to: Address::repeat_byte(payee),
            amount: Amount::from(10_000),
            max_timeout_seconds: 600,
        });
        Arc::new(Offer {
            id: OfferId { namespace: "shop".to_owned(), name: "hello".to_owned() },
            description: String::new(),
            host: None,
            path: Pattern::Below("/hello".to_owned()),
            upstream: Upstream {
                base: None,
                strip: String::new(),
                authorization: None,
                header_timeout: Duration::from_secs(1),
            },
            accepts: accepts.collect(),
            charge: Charge::BeforeBody,
            on_disconnect: Disconnect::Release,
            paused: false,
            sunset: None,
        })
    }

    fn listed(snapshot: &Snapshot) -> &Listed {
        &snapshot.routes.iter().next().expect("one").0
    }

    #[test]
    fn two_ways_to_pay_in_one_asset_are_counted_together_before_and_after_a_load() {
        let registry = Arc::new(Registry::built_in());
        let catalog = Catalog::new(Arc::clone(&registry), []);
        let usdc = registry.default_asset(ChainId::new(84_532)).expect("USDC");
        for loads in 1..=2 {
            catalog.publish(&[offer(&[usdc, usdc])], 0);
            let snapshot = catalog.snapshot().expect("loaded");
            let [told] = snapshot.series() else { panic!("{:?}", snapshot.series()) };
            let position = told.position();
            assert!(std::ptr::eq(snapshot.series_of(position).expect("its series"), &**told));
            listed(&snapshot).tally_in(usdc).requested();
            listed(&snapshot).tally().requested();
            assert_eq!(told.requested(), 2 * loads);
        }
    }

    #[test]
    fn a_request_is_counted_under_the_asset_that_it_pays_in() {
        let registry = Arc::new(Registry::built_in());
        let catalog = Catalog::new(Arc::clone(&registry), []);
        let usdc = registry.default_asset(ChainId::new(84_532)).expect("USDC");
        let base = registry.default_asset(ChainId::new(8_453)).expect("USDC");
        catalog.publish(&[offer(&[usdc, base])], 3);
        let snapshot = catalog.snapshot().expect("loaded");
        listed(&snapshot).tally_in(base).requested();
        let counts: Vec<_> = snapshot.series().iter().map(|series| series.requested()).collect();
        assert_eq!(counts, [0, 1]);
        // Of no asset of the offer's: where an unpaid one is counted.
        listed(&snapshot).tally_at(ChainId::new(1), Address::ZERO).requested();
        assert_eq!(snapshot.series()[0].requested(), 1);
        assert_eq!((snapshot.sold_and_paused(), snapshot.faults()), ((1, 0), 3));
    }
}
