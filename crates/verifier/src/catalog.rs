//! What is sold, compiled once per load. A request takes one snapshot and keeps it.

use crate::{page::Menu, posted::Challenges};
use arc_swap::ArcSwapOption;
use http::HeaderValue;
use obol_core::{Conflict, Offer, OfferId, Registry, RequestPath, Routes};
use obol_serve::Trouble;
use obol_wire::ChallengeTemplate;
use std::{collections::HashMap, sync::Arc};

/// An offer and what is ready to be sent about it.
#[derive(Debug)]
pub(crate) struct Listed {
    pub(crate) offer: Arc<Offer>,
    pub(crate) challenges: Challenges,
    /// Of its upstream; outlives a load.
    pub(crate) upstream: Arc<Trouble>,
    /// Segments of a client's path that the upstream does not see.
    pub(crate) segments: usize,
    /// What buyers of a draining offer are told (RFC 8594).
    pub(crate) sunset: Option<HeaderValue>,
}

/// What is sold at one moment.
#[derive(Debug)]
pub(crate) struct Snapshot {
    routes: Routes<Shared>,
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
}

/// The live snapshot; none until the first load.
#[derive(Debug, Default)]
pub struct Catalog {
    current: ArcSwapOption<Snapshot>,
}

impl Catalog {
    /// Replaces what is sold, for the requests that come from now on. Of two offers for one path
    /// the second is not served, and is returned.
    pub fn publish(&self, offers: &[Arc<Offer>], registry: &Registry) -> Vec<Conflict> {
        let before = self.current.load_full();
        let known: HashMap<&OfferId, &Arc<Trouble>> = before
            .iter()
            .flat_map(|snapshot| snapshot.routes.iter())
            .map(|Shared(listed)| (&listed.offer.id, &listed.upstream))
            .collect();
        let listed = offers.iter().map(|offer| {
            Shared(Arc::new(Listed {
                challenges: Challenges::new(
                    ChallengeTemplate::new(&offer.accepts, registry, &offer.description),
                    Menu::new(Arc::clone(offer), registry),
                ),
                segments: offer.upstream.strip.split('/').filter(|segment| !segment.is_empty()).count(),
                sunset: offer.sunset.and_then(|at| HeaderValue::try_from(httpdate::fmt_http_date(at)).ok()),
                offer: Arc::clone(offer),
                upstream: known.get(&offer.id).map_or_else(Arc::default, |trouble| Arc::clone(trouble)),
            }))
        });
        let (routes, conflicts) = Routes::compile(listed);
        self.current.store(Some(Arc::new(Snapshot { routes })));
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
