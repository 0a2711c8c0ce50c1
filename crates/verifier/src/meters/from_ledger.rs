//! What the ledger says, on the page of a scrape.

use super::{
    Series, chain_labels as chain, families as f,
    scrape::Sources,
    told::{Exposed, by_asset},
};
use alloy_primitives::U256;
use obol_core::ChainId;
use obol_facilitator::Comparing;
use obol_ledger::{Sum, Takings, Windows};
use obol_telemetry::{Family, Labels, Page, Value};
use std::sync::Arc;

impl Sources {
    fn takings(&self) -> impl Iterator<Item = (&Arc<Series>, &Takings)> {
        self.told.books.iter().flat_map(|said| self.series().iter().zip(&said.takings))
    }

    pub(super) fn ledger(&self, page: &mut Page) {
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
        let Some((ledger, said)) = self.told.id.as_ref().zip(self.told.books.as_ref()) else { return };
        let offers: Vec<_> = self.takings().map(|(series, takings)| (&series.labels, takings)).collect();
        windows(page, &f::LEDGER_CHARGED, ledger, &offers, |takings| takings.charged, payments);
        windows(page, &f::LEDGER_SETTLED, ledger, &offers, |takings| takings.charged, amount);
        let reversed = |takings: &Takings| takings.reversed.lifetime;
        each(page, &f::LEDGER_REVERSED, ledger, &offers, |takings| payments(reversed(takings)));
        each(page, &f::LEDGER_REVERSED_AMOUNT, ledger, &offers, |takings| amount(reversed(takings)));
        // Ten thousand offers that are all settled by our own transactions claim nothing.
        let claims = |(series, takings): &(&Arc<Series>, &Takings)| {
            takings.claimed.lifetime.payments > 0 || self.is_blind(series.position().chain)
        };
        let claims = self.takings().filter(claims).map(|(series, takings)| (&series.labels, takings));
        let claims: Vec<_> = claims.collect();
        windows(page, &f::LEDGER_CLAIMED, ledger, &claims, |takings| takings.claimed, payments);
        windows(page, &f::LEDGER_CLAIMED_AMOUNT, ledger, &claims, |takings| takings.claimed, amount);
        let assets = self
            .assets_and(said.by_asset.keys())
            .map(|(labels, place)| (labels, said.by_asset.get(&place).copied().unwrap_or_default()));
        let assets: Vec<_> = assets.collect();
        let assets: Vec<_> = assets.iter().map(|(labels, takings)| (labels, takings)).collect();
        windows(page, &f::CHAIN_LEDGER_CHARGED, ledger, &assets, |takings| takings.charged, payments);
        windows(page, &f::CHAIN_LEDGER_SETTLED, ledger, &assets, |takings| takings.charged, amount);
        windows(page, &f::CHAIN_LEDGER_REVERSED, ledger, &assets, |takings| takings.reversed, payments);
        windows(page, &f::CHAIN_LEDGER_REVERSED_AMOUNT, ledger, &assets, |takings| takings.reversed, amount);
        windows(page, &f::CHAIN_LEDGER_CLAIMED, ledger, &assets, |takings| takings.claimed, amount);
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
        let Some(ledger) = &self.told.id else { return };
        let open = by_asset(&exposed.open);
        let mut payments = page.family(&f::CHAIN_UNSETTLED);
        for (labels, place) in self.assets_and(open.keys()) {
            payments.add_with(&labels, ledger, open.get(&place).map_or(0, |sum| sum.payments));
        }
        let mut amounts = page.family(&f::CHAIN_UNSETTLED_AMOUNT);
        for (labels, place) in self.assets_and(open.keys()) {
            amounts.add_with(&labels, ledger, open.get(&place).map_or(U256::ZERO, |sum| sum.amount));
        }
        let mut oldest = page.family(&f::CHAIN_OLDEST);
        for (labels, place) in self.assets_and(open.keys()) {
            if let Some(sum) = open.get(&place) {
                oldest.add_with(&labels, ledger, sum.oldest.seconds().to_string());
            }
        }
        let lost = by_asset(&exposed.lost);
        let mut amounts = page.family(&f::CHAIN_LOST_AMOUNT);
        for (labels, place) in self.assets_and(lost.keys()) {
            amounts.add_with(&labels, ledger, lost.get(&place).map_or(U256::ZERO, |sum| sum.amount));
        }
    }

    /// Whether all that is known of the chain is what facilitators say.
    fn is_blind(&self, id: ChainId) -> bool {
        self.reports.iter().any(|report| report.chain == id && !report.sees)
    }

    pub(super) fn drift(&self, page: &mut Page) {
        let Some(ledger) = &self.told.id else { return };
        let mut up = page.family(&f::RECONCILIATION_UP);
        for report in &self.reports {
            if let Some((_, comparing)) = &report.comparing {
                up.add_with(&chain(report.chain), ledger, u64::from(*comparing == Comparing::Works));
            }
        }
        let all = || self.told.comparisons.iter().map(|(id, last)| (*id, last));
        let by_asset = || all().flat_map(|(id, last)| last.found.drifts.iter().map(move |of| (id, of)));
        let mut payments = page.family(&f::DRIFT);
        all().for_each(|(id, last)| payments.add_with(&chain(id), ledger, last.found.payments));
        let mut amounts = page.family(&f::DRIFT_AMOUNT);
        for (id, (address, drift)) in by_asset() {
            amounts.add_with(&self.meters.asset_labels((id, *address)), ledger, drift.to_string());
        }
        let mut transfers = page.family(&f::UNATTRIBUTED);
        all().for_each(|(id, last)| transfers.add_with(&chain(id), ledger, last.found.unattributed));
        let mut amounts = page.family(&f::UNATTRIBUTED_AMOUNT);
        for (id, (address, drift)) in by_asset() {
            amounts.add_with(&self.meters.asset_labels((id, *address)), ledger, drift.unattributed);
        }
        let mut at = page.family(&f::RECONCILED);
        all().for_each(|(id, last)| at.add_with(&chain(id), ledger, last.at.seconds().to_string()));
    }
}

fn payments(sum: Sum) -> Value {
    sum.payments.into()
}

fn amount(sum: Sum) -> Value {
    sum.amount.atomic().into()
}

/// A family of one sample for each of these.
fn each(
    page: &mut Page,
    family: &Family,
    ledger: &Labels,
    lines: &[(&Labels, &Takings)],
    value: impl Fn(&Takings) -> Value,
) {
    let mut samples = page.family(family);
    for (labels, takings) in lines {
        samples.add_with(labels, ledger, value(takings));
    }
}

/// A family of one sample for each window of each of these.
fn windows(
    page: &mut Page,
    family: &Family,
    ledger: &Labels,
    lines: &[(&Labels, &Takings)],
    of: impl Fn(&Takings) -> Windows,
    value: fn(Sum) -> Value,
) {
    let names = ["24h", "7d", "lifetime"].map(|window| ledger.with([("window", window)]));
    let mut samples = page.family(family);
    for (labels, takings) in lines {
        let sums = of(takings);
        for (name, sum) in names.iter().zip([sums.day, sums.week, sums.lifetime]) {
            samples.add_with(labels, name, value(sum));
        }
    }
}
