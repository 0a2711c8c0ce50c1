//! What is sold, compiled once per load. A request takes one snapshot and keeps it.

use crate::{
    meters::{self, Series, Tally},
    page::Menu,
    posted::Challenges,
};
use alloy_primitives::Address;
use arc_swap::ArcSwapOption;
use http::HeaderValue;
use obol_core::{Amount, Asset, ChainId, Charge, Conflict, Offer, OfferId, Registry, RequestPath, Routes};
use obol_ledger::Position;
use obol_serve::Trouble;
use obol_wire::ChallengeTemplate;
use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
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

    fn new(routes: Routes<Shared>) -> Self {
        let mut listed: Vec<_> = routes.iter().map(|Shared(listed)| listed).collect();
        listed.sort_by(|a, b| a.offer.id.cmp(&b.offer.id));
        let offers = listed.len();
        let mut by_position = HashMap::new();
        let (mut series, mut limits) = (Vec::new(), Vec::new());
        for (listed, own) in
            listed.iter().flat_map(|listed| listed.series.iter().map(move |own| (listed, own)))
        {
            // Several ways to pay may share an asset.
            if by_position.insert(own.position().clone(), Arc::clone(own)).is_some() {
                continue;
            }
            series.push(Arc::clone(own));
            if let Charge::Optimistic(exposure) = listed.offer.charge {
                limits.push((Arc::clone(own), exposure.per_offer));
            }
        }
        Self { routes, offers, series, by_position, limits }
    }

    /// How many offers are sold.
    pub(crate) const fn offers(&self) -> usize {
        self.offers
    }

    /// The series of every offer that is sold.
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

/// The live snapshot; none until the first load.
#[derive(Debug, Default)]
pub struct Catalog {
    current: ArcSwapOption<Snapshot>,
    unmetered: bool,
    /// What was configured at the last load, and is not sold.
    faults: AtomicUsize,
}

impl Catalog {
    /// One of which nothing is counted: to find out what counting costs.
    pub fn unmetered() -> Self {
        Self { unmetered: true, ..Self::default() }
    }

    pub(crate) const fn is_metered(&self) -> bool {
        !self.unmetered
    }

    /// Notes what was configured at the last load, and is not sold.
    pub fn note_faults(&self, count: usize) {
        self.faults.store(count, Ordering::Relaxed);
    }

    pub(crate) fn faults(&self) -> usize {
        self.faults.load(Ordering::Relaxed)
    }

    /// Replaces what is sold, for the requests that come from now on. Of two offers for one path
    /// the second is not served, and is returned.
    pub fn publish(&self, offers: &[Arc<Offer>], registry: &Registry) -> Vec<Conflict> {
        let before = self.current.load_full();
        let known: HashMap<&OfferId, &Arc<Trouble>> = before
            .iter()
            .flat_map(|snapshot| snapshot.routes.iter())
            .map(|Shared(listed)| (&listed.offer.id, &listed.upstream))
            .collect();
        let series = |offer: &Offer| -> Vec<_> {
            let ways = offer.accepts.iter().filter(|_| self.is_metered());
            ways.map(|required| {
                let position = meters::position(&offer.id, &required.asset);
                let kept = before.as_ref().and_then(|snapshot| snapshot.by_position.get(&position).cloned());
                kept.unwrap_or_else(|| Arc::new(Series::new(position, &required.asset, registry)))
            })
            .collect()
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
        self.current.store(Some(Arc::new(Snapshot::new(routes))));
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
