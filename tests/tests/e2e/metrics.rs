//! What Prometheus is told by a verifier, on a real chain.

mod chain;
mod sales;
mod series;

use anyhow::{Result, ensure};
use obol_core::{Reason, WireVersion};
use obol_tests::{Buyer, Customer, Scrape, Shop, ShopOptions, Till, Upstream};

const AT: &str = "/services/paid";
const OTHER: &str = "/services/other";

/// The labels of what is sold at a path of these tests.
fn offer(name: &str) -> [(&str, &str); 4] {
    [("offer_namespace", "demo"), ("offer_name", name), ("chain", "eip155:84532"), ("asset_symbol", "USDC")]
}

/// What is sold at [`AT`].
const PAID: &str = "services-paid";

/// What is accepted in these tests, whoever sells.
const USDC: [(&str, &str); 2] = [("chain", "eip155:84532"), ("asset_symbol", "USDC")];

/// Series of an offer that exist from the moment that it is loaded.
const AT_ZERO: [&str; 19] = [
    "charge_reversals_total",
    "charged_requests_total",
    "claimed_requests_total",
    "client_left_total",
    "ledger_charged_requests",
    "ledger_reversed_amount",
    "ledger_reversed_requests",
    "ledger_settled_amount",
    "lost_amount",
    "lost_payments",
    "payment_failed_total",
    "payment_required_total",
    "payment_verified_total",
    "requests_total",
    "settled_amount_total",
    "unsettled_amount",
    "unsettled_payments",
    "upstream_failed_after_verify_total",
    "waived_requests_total",
];

fn customer(shop: &Shop) -> Customer {
    Customer::new(Buyer::of(shop.chain.buyers()[0]), shop.address, WireVersion::V2)
}

async fn open() -> Result<(Shop, Upstream)> {
    let (shop, upstream) = (Shop::open(ShopOptions::default()).await?, Upstream::hello().await?);
    shop.sell(AT, &upstream)?;
    Ok((shop, upstream))
}

async fn scrape(till: &Till) -> Result<Scrape> {
    Scrape::of(till.admin).await
}

/// Holds the counts of an offer against these; all others of its counts are 0.
fn assert_counts(scrape: &Scrape, name: &str, counts: &[(&str, u64)]) -> Result<()> {
    ensure!(counts.iter().all(|(counted, _)| AT_ZERO.contains(counted)), "{counts:?}");
    for family in AT_ZERO.iter().filter(|family| family.ends_with("_total")) {
        let expected = counts.iter().find(|(counted, _)| counted == family).map_or(0, |(_, count)| *count);
        let found = scrape.one(family, &offer(name))?;
        ensure!(found == expected, "{family} is {found}, not {expected}:\n{}", scrape.text);
    }
    Ok(())
}

fn assert_ledger(scrape: &Scrape, name: &str, payments: u64, units: u64) -> Result<()> {
    for window in ["24h", "7d", "lifetime"] {
        let labels = [&offer(name)[..], &[("window", window)]].concat();
        ensure!(scrape.one("ledger_charged_requests", &labels)? == payments, "{}", scrape.text);
        ensure!(scrape.one("ledger_settled_amount", &labels)? == units, "{}", scrape.text);
    }
    Ok(())
}

fn refused_for(scrape: &Scrape, reason: Reason) -> Result<(u64, u64)> {
    let labels = [&offer(PAID)[..], &[("reason", reason.label())]].concat();
    let all = scrape.one("refused_requests_total", &[("reason", reason.label())])?;
    Ok((scrape.one("payment_failure_reasons_total", &labels)?, all))
}
