//! What a scrape is answered with. It reads what is served from a snapshot, waits for the ledger for a
//! while and for nothing else, and writes on a thread of its own. A request waits for it no longer than
//! one of the ledger's reads takes.

use super::{
    Meters, Series, families as f,
    told::{Reader, Told},
};
use crate::{
    catalog::{Catalog, Snapshot},
    held_page::HeldPage,
};
use alloy_primitives::Address;
use obol_core::ChainId;
use obol_facilitator::{Facilitator, Report};
use obol_ledger::Ledger;
use obol_telemetry::{Family, Labels, Page, Value};
use std::{collections::BTreeSet, sync::Arc, time::Duration};
use tokio::{sync::Semaphore, task::JoinError};

/// Pages that are in memory at once: who reads slowly must not fill it.
const PAGES: usize = 4;

/// For how long: Prometheus waits for 10 seconds, if it is not told otherwise.
const HELD: Duration = Duration::from_secs(30);

/// Why there is no page.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unwritten {
    #[error("too many scrapes are being read")]
    Crowded,
    #[error("it could not be written: {0}")]
    Failed(#[from] JoinError),
}

/// Answers scrapes.
#[derive(Debug)]
pub(crate) struct Scraper {
    room: Arc<Semaphore>,
    reader: Reader,
}

impl Default for Scraper {
    fn default() -> Self {
        Self { room: Arc::new(Semaphore::new(PAGES)), reader: Reader::default() }
    }
}

/// What a page is written from.
pub(super) struct Sources {
    pub(super) meters: Arc<Meters>,
    pub(super) snapshot: Option<Arc<Snapshot>>,
    pub(super) told: Told,
    pub(super) reports: Vec<Report>,
}

impl Scraper {
    pub(crate) async fn page(
        &self,
        meters: &Arc<Meters>,
        catalog: &Catalog,
        ledger: &Ledger,
        facilitator: &Facilitator,
    ) -> Result<HeldPage, Unwritten> {
        let place = Arc::clone(&self.room).try_acquire_owned().map_err(|_| Unwritten::Crowded)?;
        let snapshot = catalog.snapshot();
        let reports: Vec<_> = facilitator.reports().collect();
        let told = self.reader.ask(ledger, snapshot.as_deref(), &reports).await;
        let sources = Sources { meters: Arc::clone(meters), snapshot, told, reports };
        let page = tokio::task::spawn_blocking(move || sources.write()).await?;
        Ok(HeldPage::new(page, place, HELD))
    }
}

impl Sources {
    fn write(self) -> Vec<String> {
        let mut page = Page::default();
        self.offers(&mut page);
        self.ledger(&mut page);
        self.chains(&mut page);
        self.process(&mut page);
        page.into_pieces()
    }

    pub(super) fn series(&self) -> &[Arc<Series>] {
        self.snapshot.as_deref().map(Snapshot::series).unwrap_or_default()
    }

    pub(super) fn each<V: Into<Value>>(
        &self,
        page: &mut Page,
        family: &Family,
        value: impl Fn(&Series) -> V,
    ) {
        let mut samples = page.family(family);
        for series in self.series() {
            samples.add(&series.labels, value(series));
        }
    }

    fn offers(&self, page: &mut Page) {
        self.each(page, &f::REQUESTS, |series| series.counts.requests.get());
        self.each(page, &f::REQUIRED, |series| series.counts.required.get());
        self.each(page, &f::VERIFIED, |series| series.counts.verified.get());
        self.each(page, &f::FAILED, |series| series.counts.failed.get());
        let mut reasons = page.family(&f::FAILURE_REASONS);
        for series in self.series() {
            for (reason, count) in series.counts.reasons.get().into_iter().flat_map(|reasons| reasons.iter())
            {
                reasons.add_with(&series.labels, &Labels::new([("reason", reason.label())]), count);
            }
        }
        self.each(page, &f::CHARGED, |series| series.counts.charged.get());
        self.each(page, &f::CLAIMED, |series| series.counts.claimed.get());
        self.each(page, &f::WAIVED, |series| series.counts.waived.get());
        self.each(page, &f::REVERSALS, |series| series.counts.reversals.get());
        self.each(page, &f::UPSTREAM_FAILED, |series| series.counts.upstream_failed.get());
        self.each(page, &f::CLIENT_LEFT, |series| series.counts.client_left.get());
        self.each(page, &f::SETTLED_AMOUNT, |series| series.counts.settled.get());
    }

    /// Every asset that is known, and these, with what they are called.
    pub(super) fn assets_and<'a>(
        &'a self,
        more: impl Iterator<Item = &'a (ChainId, Address)>,
    ) -> impl Iterator<Item = (Labels, (ChainId, Address))> {
        let all: BTreeSet<_> = self.meters.assets.keys().chain(more).copied().collect();
        all.into_iter().map(|place| (self.meters.asset_labels(place), place))
    }

    fn process(&self, page: &mut Page) {
        let mut refused = page.family(&f::REFUSED);
        for (reason, count) in self.meters.refused.iter() {
            refused.add(&Labels::new([("reason", reason.label())]), count);
        }
        let (sold, paused) = self.snapshot.as_ref().map_or((0, 0), |snapshot| snapshot.sold_and_paused());
        page.family(&f::OFFERS_SERVED).alone(sold as u64);
        page.family(&f::OFFERS_PAUSED).alone(paused as u64);
        let faults = self.snapshot.as_ref().map_or(0, |snapshot| snapshot.faults());
        page.family(&f::OFFER_FAULTS).alone(faults as u64);
        page.family(&f::LEDGER_UP).alone(u64::from(self.told.exposed.is_some()));
        page.family(&f::LEDGER_WRITABLE).alone(u64::from(self.told.writable));
    }
}
