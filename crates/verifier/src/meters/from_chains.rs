//! What is known of each chain, on the page of a scrape.

use super::{chain_labels as chain, families as f, scrape::Sources};
use alloy_primitives::U256;
use obol_facilitator::SettlerState;
use obol_telemetry::Page;

impl Sources {
    pub(super) fn chains(&self, page: &mut Page) {
        let mut units = page.family(&f::ASSET_UNIT);
        for known in self.meters.known_assets() {
            let unit = U256::from(10).saturating_pow(U256::from(known.decimals));
            units.add(&self.meters.asset_labels((known.chain, known.address)), unit);
        }
        let charged: Vec<_> = self.meters.charged();
        let mut payments = page.family(&f::CHAIN_CHARGED);
        for (place, count, _) in &charged {
            payments.add(&self.meters.asset_labels(*place), *count);
        }
        let mut amounts = page.family(&f::CHAIN_SETTLED);
        for (place, _, amount) in &charged {
            amounts.add(&self.meters.asset_labels(*place), *amount);
        }
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

    fn gas(&self, page: &mut Page) {
        let mut balances = page.family(&f::BALANCE);
        for report in &self.reports {
            if let Some(balance) = report.balance {
                balances.add(&chain(report.chain), balance);
            }
        }
        let mut left = page.family(&f::PAYMENTS_LEFT);
        for report in &self.reports {
            if let Some(payments) = report.payments_left {
                left.add(&chain(report.chain), payments);
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
}
