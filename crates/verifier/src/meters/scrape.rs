//! What a scrape is answered with. It reads what is served from a snapshot, waits for the ledger for a
//! while and for nothing else, and writes on a thread of its own. A request waits for it no longer than
//! one of the ledger's reads takes.

use super::{
    Meters, Series, UNKNOWN, families as f,
    told::{Exposed, Reader, Said, Told, by_asset},
};
use crate::{
    body::HeldPage,
    catalog::{Catalog, Snapshot},
};
use alloy_primitives::{Address, U256};
use obol_core::ChainId;
use obol_facilitator::{Facilitator, Report, SettlerState};
use obol_ledger::{Ledger, Takings};
use obol_telemetry::{Family, Labels, Page, Value};
use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};
use tokio::{sync::Semaphore, task::JoinError};

/// Pages that are in memory at once: who reads slowly must not fill it.
const PAGES: usize = 4;

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
    /// How long the last page was, and the next one will be.
    length: AtomicUsize,
}

impl Default for Scraper {
    fn default() -> Self {
        Self { room: Arc::new(Semaphore::new(PAGES)), reader: Reader::default(), length: AtomicUsize::new(0) }
    }
}

/// What a page is written from.
struct Sources {
    meters: Arc<Meters>,
    snapshot: Option<Arc<Snapshot>>,
    told: Told,
    reports: Vec<Report>,
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
        let capacity = self.length.load(Ordering::Relaxed) + 4_096;
        let page = tokio::task::spawn_blocking(move || sources.write(capacity)).await?;
        self.length.store(page.len(), Ordering::Relaxed);
        Ok(HeldPage::new(page, place))
    }
}

impl Sources {
    fn write(self, capacity: usize) -> String {
        let mut page = Page::with_capacity(capacity);
        self.offers(&mut page);
        self.ledger(&mut page);
        self.chains(&mut page);
        self.process(&mut page);
        page.into_text()
    }

    fn series(&self) -> &[Arc<Series>] {
        self.snapshot.as_deref().map(Snapshot::series).unwrap_or_default()
    }

    fn each<V: Into<Value>>(&self, page: &mut Page, family: &Family, value: impl Fn(&Series) -> V) {
        let mut samples = page.family(family);
        for series in self.series() {
            samples.add(&series.labels, value(series));
        }
    }

    fn offers(&self, page: &mut Page) {
        self.each(page, &f::REQUESTS, |series| series.requests.get());
        self.each(page, &f::REQUIRED, |series| series.required.get());
        self.each(page, &f::VERIFIED, |series| series.verified.get());
        self.each(page, &f::FAILED, |series| series.failed.get());
        let mut reasons = page.family(&f::FAILURE_REASONS);
        for series in self.series() {
            for (reason, count) in series.reasons.get().into_iter().flat_map(|reasons| reasons.iter()) {
                reasons.add_with(&series.labels, &Labels::new([("reason", reason.label())]), count);
            }
        }
        self.each(page, &f::CHARGED, |series| series.charged.get());
        self.each(page, &f::CLAIMED, |series| series.claimed.get());
        self.each(page, &f::WAIVED, |series| series.waived.get());
        self.each(page, &f::REVERSALS, |series| series.reversals.get());
        self.each(page, &f::UPSTREAM_FAILED, |series| series.upstream_failed.get());
        self.each(page, &f::SETTLED_AMOUNT, |series| series.settled.get());
    }

    fn takings(&self) -> impl Iterator<Item = (&Arc<Series>, &Takings)> {
        self.told.books.iter().flat_map(|said| self.series().iter().zip(&said.takings))
    }

    fn exposure(&self, page: &mut Page, exposed: &Exposed) {
        let of = |series: &Series| exposed.open.get(&series.position);
        self.each(page, &f::UNSETTLED, |series| of(series).map_or(0, |line| line.payments));
        self.each(page, &f::UNSETTLED_AMOUNT, |series| {
            of(series).map_or(U256::ZERO, |line| line.amount.atomic())
        });
        let mut oldest = page.family(&f::OLDEST_UNSETTLED);
        for series in self.series() {
            if let Some(line) = of(series) {
                oldest.add(&series.labels, line.oldest.seconds().to_string());
            }
        }
        let of = |series: &Series| exposed.lost.get(&series.position);
        self.each(page, &f::LOST, |series| of(series).map_or(0, |line| line.payments));
        self.each(page, &f::LOST_AMOUNT, |series| of(series).map_or(U256::ZERO, |line| line.amount.atomic()));
        self.exposure_by_asset(page, exposed);
    }

    /// Whoever sold it: what an offer that is gone has outstanding is still to be settled.
    fn exposure_by_asset(&self, page: &mut Page, exposed: &Exposed) {
        let open = by_asset(&exposed.open);
        let mut payments = page.family(&f::CHAIN_UNSETTLED);
        for (labels, place) in self.assets_and(open.keys()) {
            payments.add(&labels, open.get(&place).map_or(0, |sum| sum.payments));
        }
        let mut amounts = page.family(&f::CHAIN_UNSETTLED_AMOUNT);
        for (labels, place) in self.assets_and(open.keys()) {
            amounts.add(&labels, open.get(&place).map_or(U256::ZERO, |sum| sum.amount));
        }
        let mut oldest = page.family(&f::CHAIN_OLDEST);
        for (labels, place) in self.assets_and(open.keys()) {
            if let Some(sum) = open.get(&place) {
                oldest.add(&labels, sum.oldest.seconds().to_string());
            }
        }
        let lost = by_asset(&exposed.lost);
        let mut amounts = page.family(&f::CHAIN_LOST_AMOUNT);
        for (labels, place) in self.assets_and(lost.keys()) {
            amounts.add(&labels, lost.get(&place).map_or(U256::ZERO, |sum| sum.amount));
        }
    }

    /// Every asset that is known, and these, with what they are called.
    fn assets_and<'a>(
        &'a self,
        more: impl Iterator<Item = &'a (ChainId, Address)>,
    ) -> impl Iterator<Item = (Labels, (ChainId, Address))> {
        let known = self.meters.assets.keys().filter(|(_, address)| !address.is_zero());
        let all: BTreeSet<_> = known.chain(more).copied().collect();
        all.into_iter().map(|(id, address)| (asset(id, &self.symbol(id, address)), (id, address)))
    }

    /// What an asset is called. Two that nobody knows are still two.
    fn symbol(&self, id: ChainId, address: Address) -> String {
        let registry = &self.meters.registry;
        let known = registry.asset_at(id, address);
        known.map_or_else(|_| format!("{UNKNOWN}@{address}"), |known| registry.label(known))
    }

    fn ledger(&self, page: &mut Page) {
        let mut last = page.family(&f::LAST_SUCCESS);
        for (series, takings) in self.takings() {
            if let Some(at) = takings.last {
                last.add(&series.labels, at.to_string());
            }
        }
        if let Some(exposed) = &self.told.exposed {
            self.exposure(page, exposed);
        }
        let mut limits = page.family(&f::UNSETTLED_LIMIT);
        for (series, limit) in self.snapshot.iter().flat_map(|snapshot| snapshot.limits()) {
            limits.add(&series.labels, limit.atomic());
        }
        let Some(Said { id: ledger, by_asset, .. }) = &self.told.books else { return };
        let windows = ["24h", "7d", "lifetime"].map(|window| ledger.with([("window", window)]));
        let sums = |takings: &Takings| [takings.day, takings.week, takings.lifetime];
        let mut charged = page.family(&f::LEDGER_CHARGED);
        for (series, takings) in self.takings() {
            for (window, sum) in windows.iter().zip(sums(takings)) {
                charged.add_with(&series.labels, window, sum.payments);
            }
        }
        let mut settled = page.family(&f::LEDGER_SETTLED);
        for (series, takings) in self.takings() {
            for (window, sum) in windows.iter().zip(sums(takings)) {
                settled.add_with(&series.labels, window, sum.amount.atomic());
            }
        }
        let mut reversed = page.family(&f::LEDGER_REVERSED);
        for (series, takings) in self.takings() {
            reversed.add_with(&series.labels, ledger, takings.reversed.payments);
        }
        let mut reversed = page.family(&f::LEDGER_REVERSED_AMOUNT);
        for (series, takings) in self.takings() {
            reversed.add_with(&series.labels, ledger, takings.reversed.amount.atomic());
        }
        let lines: Vec<_> = self
            .assets_and(by_asset.keys())
            .map(|(labels, place)| (labels, by_asset.get(&place).copied().unwrap_or_default()))
            .collect();
        let mut charged = page.family(&f::CHAIN_LEDGER_CHARGED);
        for (labels, takings) in &lines {
            for (window, sum) in windows.iter().zip(sums(takings)) {
                charged.add_with(labels, window, sum.payments);
            }
        }
        let mut settled = page.family(&f::CHAIN_LEDGER_SETTLED);
        for (labels, takings) in &lines {
            for (window, sum) in windows.iter().zip(sums(takings)) {
                settled.add_with(labels, window, sum.amount.atomic());
            }
        }
        let mut reversed = page.family(&f::CHAIN_LEDGER_REVERSED);
        for (labels, takings) in &lines {
            reversed.add_with(labels, ledger, takings.reversed.payments);
        }
    }

    fn chains(&self, page: &mut Page) {
        let mut charged = page.family(&f::CHAIN_CHARGED);
        self.meters.assets().for_each(|meters| charged.add(&meters.labels, meters.charged.get()));
        let mut settled = page.family(&f::CHAIN_SETTLED);
        self.meters.assets().for_each(|meters| settled.add(&meters.labels, meters.settled.get()));
        let mut heads = page.family(&f::HEAD);
        for report in &self.reports {
            if let Some(head) = report.head {
                heads.add(&chain(report.chain), head.to_string());
            }
        }
        self.drift(page);
        let mut verify = page.family(&f::VERIFY_DURATION);
        self.meters.chains.iter().for_each(|(id, meters)| verify.histogram(&chain(*id), &meters.verify));
        let mut settle = page.family(&f::SETTLE_DURATION);
        self.meters.chains.iter().for_each(|(id, meters)| settle.histogram(&chain(*id), &meters.settle));
        self.gas(page);
        let mut states = page.family(&f::SETTLER_STATE);
        for report in &self.reports {
            for state in SettlerState::ALL {
                let labels = chain(report.chain).with([("state", state.as_str())]);
                states.add(&labels, u64::from(report.state == *state));
            }
        }
        let mut up = page.family(&f::FACILITATOR_UP);
        for report in &self.reports {
            for (url, well) in &report.facilitators {
                up.add(&chain(report.chain).with([("facilitator", url.as_str())]), u64::from(*well));
            }
        }
    }

    fn drift(&self, page: &mut Page) {
        let compared =
            || self.reports.iter().filter_map(|report| Some((report.chain, report.drift.as_ref()?)));
        let mut payments = page.family(&f::DRIFT);
        compared().for_each(|(id, drift)| payments.add(&chain(id), drift.payments));
        let mut amounts = page.family(&f::DRIFT_AMOUNT);
        for (id, drift) in compared() {
            for (address, amount) in &drift.amounts {
                amounts.add(&asset(id, &self.symbol(id, *address)), amount.to_string());
            }
        }
        let mut at = page.family(&f::RECONCILED);
        compared().for_each(|(id, drift)| at.add(&chain(id), drift.at.seconds().to_string()));
    }

    fn gas(&self, page: &mut Page) {
        let mut balances = page.family(&f::BALANCE);
        for report in &self.reports {
            if let Some(balance) = report.balance {
                balances.add(&chain(report.chain), balance);
            }
        }
        let mut spent = page.family(&f::GAS_SPENT);
        let books = self.told.books.as_ref();
        for (id, wei) in books.iter().flat_map(|said| &said.spent) {
            spent.add(&chain(*id).with([("window", "24h")]), *wei);
        }
        let mut days = page.family(&f::GAS_DAYS);
        for report in &self.reports {
            let spent = books.and_then(|said| said.spent.get(&report.chain)).filter(|spent| !spent.is_zero());
            if let Some((balance, spent)) = report.balance.zip(spent) {
                let hundredths = balance.saturating_mul(U256::from(100)) / spent;
                let hundred = U256::from(100);
                days.add(
                    &chain(report.chain),
                    format!("{}.{:02}", hundredths / hundred, (hundredths % hundred).to::<u64>()),
                );
            }
        }
    }

    fn process(&self, page: &mut Page) {
        let mut refused = page.family(&f::REFUSED);
        for (reason, count) in self.meters.refused.iter() {
            refused.add(&Labels::new([("reason", reason.label())]), count);
        }
        let served = self.snapshot.as_ref().map_or(0, |snapshot| snapshot.offers());
        page.family(&f::OFFERS_SERVED).alone(served as u64);
        let faults = self.snapshot.as_ref().map_or(0, |snapshot| snapshot.faults());
        page.family(&f::OFFER_FAULTS).alone(faults as u64);
        page.family(&f::LEDGER_UP).alone(u64::from(self.told.exposed.is_some()));
        page.family(&f::LEDGER_WRITABLE).alone(u64::from(self.told.writable));
    }
}

fn chain(id: ChainId) -> Labels {
    Labels::new([("chain", id.to_string().as_str())])
}

fn asset(id: ChainId, symbol: &str) -> Labels {
    chain(id).with([("asset_symbol", symbol)])
}
