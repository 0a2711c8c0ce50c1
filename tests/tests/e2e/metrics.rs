//! What Prometheus is told of a sale, of what is not sold, and of offers that come and go.

use crate::forward_auth::{VERIFY, about, behind_a_proxy};
use anyhow::{Context, Result, ensure};
use hyper::StatusCode;
use obol_core::{Amount, Asset, Charge, Exposure, Offer, Reason, Registry, WireVersion};
use obol_devchain::{
    CHAIN, Devchain, Mining, Options,
    fault::{Fault, FaultyRpc},
};
use obol_ledger::State;
use obol_tests::{
    Answered, Buyer, Checking, Customer, Manner, RemoteShop, Scrape, Shop, ShopOptions, Till, Upstream,
    fetch, get, paid, reply, until,
};
use obol_verifier::{FAMILIES, ForwardAuth};
use std::{sync::Arc, time::Duration};

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
const AT_ZERO: [&str; 18] = [
    "charge_reversals_total",
    "charged_requests_total",
    "claimed_requests_total",
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

#[tokio::test(flavor = "multi_thread")]
async fn every_series_of_an_offer_is_at_zero_from_its_load_and_no_success_is_told() -> Result<()> {
    let (shop, _upstream) = open().await?;
    let scrape = scrape(&shop).await?;
    assert_eq!(scrape.families_with(&offer(PAID)), AT_ZERO);
    for family in AT_ZERO {
        for (labels, value) in scrape.all(family, &offer(PAID)) {
            assert_eq!(value, "0", "{family} {labels:?}");
        }
    }
    assert_ledger(&scrape, PAID, 0, 0)?;
    assert_eq!(scrape.one("offers_served", &[])?, 1);
    assert_eq!((scrape.one("ledger_up", &[])?, scrape.one("ledger_writable", &[])?), (1, 1));
    assert_eq!(scrape.one("chain_charged_requests_total", &[("asset_symbol", "USDC")])?, 0);
    shop.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn every_family_is_told_with_the_type_and_labels_that_are_published() -> Result<()> {
    let (shop, _upstream) = open().await?;
    customer(&shop).buy(AT).await?;
    fetch(shop.address, get("/nowhere")).await?.expect_refusal(Reason::NoRoute)?;
    let scrape = scrape(&shop).await?;
    for family in FAMILIES {
        let kind = format!("# TYPE {} {}\n", family.name, family.kind.as_str());
        assert_eq!(scrape.text.matches(&kind).count(), 1, "{kind}");
        let short = family.name.trim_start_matches("obol_x402_verifier_");
        for (labels, _) in scrape.all(short, &[]) {
            let names: Vec<_> = labels.keys().map(String::as_str).collect();
            let mut published = family.labels.to_vec();
            published.sort_unstable();
            assert_eq!(names, published, "{short}");
        }
    }
    shop.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sale_is_counted_once_at_each_step_with_its_money_and_its_blocks_time() -> Result<()> {
    let (shop, _upstream) = open().await?;
    for _ in 0..2 {
        ensure!(customer(&shop).buy(AT).await?.status == StatusCode::OK);
    }
    let told = scrape(&shop).await?;
    let counts = [
        ("requests_total", 4),
        ("payment_required_total", 2),
        ("payment_verified_total", 2),
        ("charged_requests_total", 2),
        ("settled_amount_total", 20_000),
    ];
    assert_counts(&told, PAID, &counts)?;
    assert_ledger(&told, PAID, 2, 20_000)?;
    let newest = shop.payments().await?.into_iter().filter_map(|payment| payment.inclusion).next_back();
    let at = newest.context("not included")?.block_time;
    assert_eq!(told.one("last_payment_success_seconds", &offer(PAID))?, at.cast_unsigned());
    let chain = [("chain", "eip155:84532")];
    assert_eq!(told.one("verify_duration_seconds_count", &chain)?, 2);
    assert_eq!(told.one("settle_duration_seconds_count", &chain)?, 2);
    assert_eq!(told.one("chain_settled_amount_total", &[("asset_symbol", "USDC")])?, 20_000);
    // Final or not: it counts at its first inclusion.
    shop.chain.mine(100).await?;
    until("final", async || {
        let payments = shop.payments().await?;
        Ok(payments.iter().all(|payment| payment.state() == State::Settled).then_some(()))
    })
    .await?;
    assert_counts(&scrape(&shop).await?, PAID, &counts)?;
    shop.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sale_through_a_proxy_that_asks_is_counted_as_one_through_the_gate() -> Result<()> {
    let (shop, upstream) = (Shop::open(behind_a_proxy()?).await?, Upstream::hello().await?);
    shop.sell(AT, &upstream)?;
    let customer = customer(&shop);
    let asked = fetch(shop.address, about(VERIFY, AT)).await?;
    ensure!(asked.status == StatusCode::PAYMENT_REQUIRED, "{asked:?}");
    let (_, header) = customer.payment(AT).await?;
    let passed = fetch(shop.address, paid(about(VERIFY, AT), &header)).await?;
    ensure!(passed.status == StatusCode::OK, "{passed:?}");
    let told = scrape(&shop).await?;
    assert_counts(
        &told,
        PAID,
        &[
            ("requests_total", 3),
            ("payment_required_total", 2),
            ("payment_verified_total", 1),
            ("charged_requests_total", 1),
            ("settled_amount_total", 10_000),
        ],
    )?;
    assert_ledger(&told, PAID, 1, 10_000)?;
    shop.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_only_verified_is_not_charged() -> Result<()> {
    let forward_auth = ForwardAuth { verify_only: true, ..ForwardAuth::default() };
    let shop = Shop::open(ShopOptions { forward_auth, ..behind_a_proxy()? }).await?;
    let upstream = Upstream::hello().await?;
    shop.sell(AT, &upstream)?;
    let (_, header) = customer(&shop).payment(AT).await?;
    let passed = fetch(shop.address, paid(about(VERIFY, AT), &header)).await?;
    ensure!(passed.status == StatusCode::OK, "{passed:?}");
    let told = scrape(&shop).await?;
    let counts = [
        ("requests_total", 2),
        ("payment_required_total", 1),
        ("payment_verified_total", 1),
        ("waived_requests_total", 1),
    ];
    assert_counts(&told, PAID, &counts)?;
    assert_ledger(&told, PAID, 0, 0)?;
    assert_eq!(told.all("last_payment_success_seconds", &[]).count(), 0);
    shop.close().await
}

fn refused_for(scrape: &Scrape, reason: Reason) -> Result<(u64, u64)> {
    let labels = [&offer(PAID)[..], &[("reason", reason.label())]].concat();
    let all = scrape.one("refused_requests_total", &[("reason", reason.label())])?;
    Ok((scrape.one("payment_failure_reasons_total", &labels)?, all))
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_payments_are_counted_by_reason_and_charge_nothing() -> Result<()> {
    let (shop, _upstream) = open().await?;
    let customer = customer(&shop);
    let sale = customer.challenge(AT).await?;
    let (mut payment, _) = customer.pay(&sale)?;
    payment.authorization.value = Amount::from(1);
    let header = customer.header(&sale, &payment)?;
    fetch(shop.address, paid(get(AT), &header)).await?.expect_refusal(Reason::ValueMismatch)?;
    let mut garbage = get(AT);
    garbage.headers_mut().insert("payment-signature", "%%%".parse()?);
    fetch(shop.address, garbage).await?.expect_refusal(Reason::InvalidPayload)?;
    let (_, header) = customer.pay(&sale)?;
    ensure!(fetch(shop.address, paid(get(AT), &header)).await?.status == StatusCode::OK);
    fetch(shop.address, paid(get(AT), &header)).await?.expect_refusal(Reason::AlreadyServed)?;
    let told = scrape(&shop).await?;
    for reason in [Reason::ValueMismatch, Reason::InvalidPayload, Reason::AlreadyServed] {
        assert_eq!(refused_for(&told, reason)?, (1, 1), "{reason}");
    }
    let counts = [
        ("requests_total", 5),
        ("payment_required_total", 1),
        ("payment_verified_total", 1),
        ("payment_failed_total", 3),
        ("charged_requests_total", 1),
        ("settled_amount_total", 10_000),
    ];
    assert_counts(&told, PAID, &counts)?;
    shop.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_is_counted_as_failed_payments() -> Result<()> {
    let chain = Devchain::start(Options { mining: Mining::default(), ..Options::default() }).await?;
    let rpc = FaultyRpc::start(chain.url()).await?;
    let options = ShopOptions { rpc: Some(rpc.url().to_owned()), ..ShopOptions::default() };
    let (shop, upstream) = (Shop::open_on(chain, options).await?, Upstream::hello().await?);
    shop.sell(AT, &upstream)?;
    let (_, header) = customer(&shop).payment(AT).await?;
    rpc.set(Fault::Disconnect);
    let refused = fetch(shop.address, paid(get(AT), &header)).await?;
    refused.expect_refusal(Reason::ChainUnavailable)?;
    let told = scrape(&shop).await?;
    assert_eq!(refused_for(&told, Reason::ChainUnavailable)?, (1, 1));
    let counts = [("requests_total", 2), ("payment_required_total", 1), ("payment_failed_total", 1)];
    assert_counts(&told, PAID, &counts)?;
    until("the settler is said to be down", async || {
        let told = scrape(&shop).await?;
        let down = told.one("settler_state", &[("state", "rpc_down")])? == 1;
        let others: u64 = ["leading", "following", "starting"]
            .iter()
            .map(|state| told.one("settler_state", &[("state", state)]))
            .sum::<Result<u64>>()?;
        Ok((down && others == 0).then_some(()))
    })
    .await?;
    rpc.heal();
    shop.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_service_fails_is_told_apart_from_what_the_payment_fails() -> Result<()> {
    let shop = Shop::open(ShopOptions::default()).await?;
    let upstream = Upstream::start(|_| std::future::ready(reply(StatusCode::BAD_GATEWAY, "no"))).await?;
    shop.sell(AT, &upstream)?;
    let answered = customer(&shop).buy(AT).await?;
    ensure!(answered.status == StatusCode::BAD_GATEWAY, "{answered:?}");
    let counts = [
        ("requests_total", 2),
        ("payment_required_total", 1),
        ("payment_verified_total", 1),
        ("upstream_failed_after_verify_total", 1),
    ];
    assert_counts(&scrape(&shop).await?, PAID, &counts)?;
    shop.close().await
}

/// The token that offers take beside USDC here: known to the registry, and paid by nobody.
fn other_asset(required: &obol_core::Requirement, asset: &Arc<Asset>) -> obol_core::Requirement {
    obol_core::Requirement { asset: Arc::clone(asset), ..required.clone() }
}

#[tokio::test(flavor = "multi_thread")]
async fn series_go_with_their_offer_chain_or_asset_and_the_others_stay_as_they_are() -> Result<()> {
    let (shop, upstream) = open().await?;
    let registry = Registry::built_in();
    let base = registry.default_asset(registry.chain("base")?.id)?;
    let obol = registry.asset_by_symbol(CHAIN, "OBOL")?;
    let (kept, mut other) = (shop.offer(AT, &upstream), shop.offer(OTHER, &upstream));
    let usdc = other.accepts[0].clone();
    other.accepts = vec![usdc.clone(), other_asset(&usdc, base), other_asset(&usdc, obol)];
    shop.publish(&[kept.clone(), other.clone()])?;
    for at in [AT, OTHER] {
        ensure!(customer(&shop).buy(at).await?.status == StatusCode::OK);
    }
    let mine = |scrape: &Scrape| -> Vec<_> {
        let of =
            |family: &&str| scrape.all(family, &offer(PAID)).map(|(_, v)| v.to_owned()).collect::<Vec<_>>();
        AT_ZERO.iter().flat_map(of).collect()
    };
    let before = scrape(&shop).await?;
    let others = |chain: &'static str, symbol: &'static str| {
        [("offer_name", "services-other"), ("chain", chain), ("asset_symbol", symbol)]
    };
    assert_eq!(before.families_with(&others("eip155:8453", "USDC")), AT_ZERO);
    assert_eq!(before.families_with(&others("eip155:84532", "OBOL")), AT_ZERO);

    // One chain less, then one asset less, then the whole offer.
    other.accepts.remove(1);
    shop.publish(&[kept.clone(), other.clone()])?;
    let told = scrape(&shop).await?;
    assert_eq!(told.families_with(&others("eip155:8453", "USDC")), Vec::<&str>::new());
    assert_eq!(told.families_with(&others("eip155:84532", "OBOL")), AT_ZERO);
    assert_eq!(mine(&told), mine(&before));
    other.accepts.remove(1);
    shop.publish(&[kept.clone(), other.clone()])?;
    let told = scrape(&shop).await?;
    assert_eq!(told.families_with(&others("eip155:84532", "OBOL")), Vec::<&str>::new());
    assert_eq!(told.one("charged_requests_total", &offer("services-other"))?, 1);
    shop.publish(std::slice::from_ref(&kept))?;
    let told = scrape(&shop).await?;
    assert_eq!(told.families_with(&[("offer_name", "services-other")]), Vec::<&str>::new());
    assert_eq!(mine(&told), mine(&before));
    assert_eq!(
        told.one("last_payment_success_seconds", &[])?,
        before.one("last_payment_success_seconds", &offer(PAID))?
    );

    // What it has earned is in its chain's totals.
    for window in ["24h", "7d", "lifetime"] {
        let labels = [&USDC[..], &[("window", window)]].concat();
        assert_eq!(told.one("chain_ledger_charged_requests", &labels)?, 2);
        assert_eq!(told.one("chain_ledger_settled_amount", &labels)?, 20_000);
    }
    assert_eq!(told.one("chain_ledger_reversed_requests", &USDC)?, 0);

    // Back again: a counter begins anew, and the ledger has forgotten nothing.
    shop.publish(&[kept, other])?;
    let told = scrape(&shop).await?;
    assert_counts(&told, "services-other", &[])?;
    assert_ledger(&told, "services-other", 1, 10_000)?;
    shop.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_settled_after_its_offer_is_gone_moves_its_chains_total_only() -> Result<()> {
    let options = ShopOptions { mining: Mining::Manual, ..ShopOptions::default() };
    let (shop, upstream) = (Shop::open(options).await?, Upstream::hello().await?);
    shop.sell(AT, &upstream)?;
    let (_, header) = customer(&shop).payment(AT).await?;
    let buying = tokio::spawn(fetch(shop.address, paid(get(AT), &header)));
    shop.until_payment(|payment| payment.state() == State::Submitted).await?;
    shop.sell(OTHER, &upstream)?;
    shop.chain.mine(1).await?;
    ensure!(buying.await??.status == StatusCode::OK);
    let told = scrape(&shop).await?;
    assert_eq!(told.families_with(&[("offer_name", PAID)]), Vec::<&str>::new());
    assert_eq!(told.one("chain_charged_requests_total", &[("asset_symbol", "USDC")])?, 1);
    assert_eq!(told.one("chain_settled_amount_total", &[("asset_symbol", "USDC")])?, 10_000);
    shop.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn two_restarts_lose_nothing_that_the_ledger_tells() -> Result<()> {
    let (mut shop, upstream) = open().await?;
    for _ in 0..2 {
        ensure!(customer(&shop).buy(AT).await?.status == StatusCode::OK);
    }
    let before = scrape(&shop).await?;
    for _ in 0..2 {
        shop = shop.reopen(ShopOptions::default()).await?;
        shop.sell(AT, &upstream)?;
        let told = scrape(&shop).await?;
        assert_counts(&told, PAID, &[])?;
        assert_ledger(&told, PAID, 2, 20_000)?;
        let last = |scrape: &Scrape| scrape.one("last_payment_success_seconds", &offer(PAID));
        assert_eq!(last(&told)?, last(&before)?);
        let ledger = |scrape: &Scrape| -> Vec<_> {
            scrape.all("ledger_charged_requests", &[]).map(|(labels, _)| labels["ledger"].clone()).collect()
        };
        assert_eq!(ledger(&told), ledger(&before));
    }
    shop.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn sums_over_two_verifiers_on_one_ledger_are_right() -> Result<()> {
    let (shop, upstream) = open().await?;
    let second = shop.second_till(ShopOptions::default()).await?;
    second.publish(&[shop.offer(AT, &upstream)])?;
    for (buyer, address) in [shop.address, second.address, second.address].into_iter().enumerate() {
        let customer = Customer::new(Buyer::of(shop.chain.buyers()[buyer]), address, WireVersion::V2);
        ensure!(customer.buy(AT).await?.status == StatusCode::OK);
    }
    let tills = [scrape(&shop).await?, scrape(&second).await?];
    for (family, sum) in [
        ("requests_total", 6),
        ("payment_required_total", 3),
        ("payment_verified_total", 3),
        ("charged_requests_total", 3),
        ("settled_amount_total", 30_000),
    ] {
        let found: u64 = tills.iter().map(|told| told.one(family, &offer(PAID))).sum::<Result<u64>>()?;
        assert_eq!(found, sum, "{family}");
    }
    // What the ledger says, each says.
    for told in &tills {
        assert_ledger(told, PAID, 3, 30_000)?;
    }
    second.stop().await?;
    shop.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn exposure_is_told_beside_its_bound_until_it_is_settled() -> Result<()> {
    let options = ShopOptions { mining: Mining::Manual, ..ShopOptions::default() };
    let (shop, upstream) = (Shop::open(options).await?, Upstream::hello().await?);
    let exposure = Exposure { per_payer: Amount::from(20_000), per_offer: Amount::from(50_000) };
    let sold = Offer { charge: Charge::Optimistic(exposure), ..shop.offer(AT, &upstream) };
    shop.publish(std::slice::from_ref(&sold))?;
    ensure!(customer(&shop).buy(AT).await?.status == StatusCode::OK);
    let told = scrape(&shop).await?;
    assert_eq!(told.one("unsettled_payments", &offer(PAID))?, 1);
    assert_eq!(told.one("unsettled_amount", &offer(PAID))?, 10_000);
    assert_eq!(told.one("unsettled_amount_limit", &offer(PAID))?, 50_000);
    let taken = shop.payments().await?[0].created_at.seconds();
    assert_eq!(told.one("oldest_unsettled_seconds", &offer(PAID))?, taken.cast_unsigned());
    assert_eq!(told.one("charged_requests_total", &offer(PAID))?, 0);
    // Without its offer it is still to be settled.
    shop.publish(&[])?;
    let told = scrape(&shop).await?;
    assert_eq!(told.families_with(&[("offer_name", PAID)]), Vec::<&str>::new());
    assert_eq!(told.one("chain_unsettled_payments", &USDC)?, 1);
    assert_eq!(told.one("chain_unsettled_amount", &USDC)?, 10_000);
    assert_eq!(told.one("chain_oldest_unsettled_seconds", &USDC)?, taken.cast_unsigned());
    shop.publish(&[sold])?;
    shop.until_payment(|payment| payment.state() == State::Submitted).await?;
    shop.chain.mine(1).await?;
    shop.until_payment(|payment| payment.state() == State::Included).await?;
    let told = scrape(&shop).await?;
    assert_eq!(told.one("chain_unsettled_payments", &USDC)?, 0);
    assert_eq!(told.all("chain_oldest_unsettled_seconds", &[]).count(), 0);
    assert_eq!(told.one("unsettled_payments", &offer(PAID))?, 0);
    assert_eq!(told.all("oldest_unsettled_seconds", &[]).count(), 0);
    assert_eq!(told.one("charged_requests_total", &offer(PAID))?, 1);
    shop.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reorganisation_is_told_and_counts_no_payment_twice() -> Result<()> {
    let (shop, _upstream) = open().await?;
    ensure!(customer(&shop).buy(AT).await?.status == StatusCode::OK);
    shop.chain.set_mining(Mining::Manual).await?;
    let payment = shop.until_payment(|payment| payment.inclusion.is_some()).await?;
    let at = payment.inclusion.context("in a block")?;
    shop.chain.reorg(shop.chain.block_number().await? - at.block + 1).await?;
    shop.until_payment(|payment| payment.inclusion.is_none_or(|now| now.block_hash != at.block_hash)).await?;
    shop.chain.set_mining(Mining::default()).await?;
    shop.chain.mine(1).await?;
    shop.until_payment(|payment| payment.inclusion.is_some()).await?;
    let told = scrape(&shop).await?;
    assert_eq!(told.one("charged_requests_total", &offer(PAID))?, 1);
    assert_eq!(told.one("settled_amount_total", &offer(PAID))?, 10_000);
    assert_ledger(&told, PAID, 1, 10_000)?;
    assert_eq!(told.one("ledger_reversed_requests", &offer(PAID))?, 0, "it is back");
    shop.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_a_client_sends_becomes_a_label() -> Result<()> {
    let (shop, _upstream) = open().await?;
    let customer = customer(&shop);
    let before: Vec<_> = scrape(&shop).await?.label_values().map(str::to_owned).collect();
    let hostile = "x\"} 1 hostile{a=\"b";
    let mut answers: Vec<Answered> = Vec::new();
    for target in ["/services/paid/hostile?hostile=hostile", "/hostile", "/services/paid%22%7Dhostile"] {
        for header in ["host", "x-forwarded-host", "x-payment", "payment-signature", "user-agent", "origin"] {
            let mut request = get(target);
            request.headers_mut().insert(header, hostile.parse()?);
            answers.extend(fetch(shop.address, request).await);
        }
        let (_, header) = customer.payment(AT).await?;
        answers.push(fetch(shop.address, paid(get(target), &header)).await?);
    }
    ensure!(answers.iter().any(|answered| answered.status == StatusCode::OK), "none was sold");
    let told = scrape(&shop).await?;
    let payer = customer.buyer.key.address();
    for secret in ["hostile".to_owned(), payer.to_string(), payer.to_string().to_lowercase()] {
        ensure!(!told.text.contains(&secret), "{secret} is in\n{}", told.text);
    }
    let known = |value: &&str| {
        before.iter().any(|known| known == value) || Reason::ALL.iter().any(|r| r.label() == *value)
    };
    let new: Vec<_> = told.label_values().filter(|value| !known(value)).collect();
    ensure!(new.is_empty(), "{new:?}");
    shop.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn gas_money_and_what_it_lasts_for_are_told() -> Result<()> {
    let (shop, _upstream) = open().await?;
    let balance = shop.chain.rpc().balance(shop.chain.settler().address).await?;
    let chain = [("chain", "eip155:84532")];
    until("the balance is told", async || {
        let told = scrape(&shop).await?;
        Ok(told.all("settler_balance_wei", &chain).any(|(_, wei)| wei == balance.to_string()).then_some(()))
    })
    .await?;
    let told = scrape(&shop).await?;
    assert_eq!(told.one("settler_gas_spent_wei", &chain)?, 0);
    assert_eq!(told.all("settler_gas_days_left", &chain).count(), 0, "at no rate it lasts for ever");
    ensure!(customer(&shop).buy(AT).await?.status == StatusCode::OK);
    let spent = balance - shop.chain.rpc().balance(shop.chain.settler().address).await?;
    let told = scrape(&shop).await?;
    let (_, wei) = told.all("settler_gas_spent_wei", &chain).next().context("not told")?;
    assert_eq!(wei, spent.to_string());
    let (_, days) = told.all("settler_gas_days_left", &chain).next().context("not told")?;
    // The balance may have been looked at again since.
    let lasts: Vec<_> = [balance, balance - spent].iter().map(|wei| format!("{}.", wei / spent)).collect();
    assert!(lasts.iter().any(|whole| days.starts_with(whole)), "{days} days at {spent} of {balance}");
    shop.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scrape_tells_that_the_ledger_and_the_chain_agree_or_by_how_much_they_do_not() -> Result<()> {
    let mut options = ShopOptions::default();
    options.seller.timing.reconcile = Some(Duration::from_millis(200));
    let (shop, upstream) = (Shop::open(options).await?, Upstream::hello().await?);
    shop.sell(AT, &upstream)?;
    ensure!(customer(&shop).buy(AT).await?.status == StatusCode::OK);
    let chain = [("chain", "eip155:84532")];
    let sold_at = std::time::SystemTime::now();
    let since = sold_at.duration_since(std::time::UNIX_EPOCH)?.as_secs() + 1;
    let told = until("compared since the sale", async || {
        let told = scrape(&shop).await?;
        let compared = told.one("last_reconciliation_seconds", &chain).is_ok_and(|at| at > since);
        Ok(compared.then_some(told))
    })
    .await?;
    assert_eq!(told.one("ledger_drift_payments", &chain)?, 0);
    assert_eq!(told.one("ledger_drift_amount", &chain)?, 0);
    // The ledger has a payment that nobody has made.
    let db = rusqlite::Connection::open(shop.ledger_file())?;
    db.execute("UPDATE payments SET nonce = zeroblob(32)", [])?;
    until("the drift is told", async || {
        let told = scrape(&shop).await?;
        Ok((told.one("ledger_drift_payments", &chain)? == 1).then_some(()))
    })
    .await?;
    assert_eq!(scrape(&shop).await?.one("ledger_drift_amount", &chain)?, 10_000);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_facilitator_that_fails_is_told_by_its_url_and_its_refusals_as_failed_payments() -> Result<()> {
    let remote = RemoteShop::open(true, Manner::Honest).await?;
    let url = remote.meddler.url();
    let up = [("chain", "eip155:84532"), ("facilitator", url.as_str())];
    assert_eq!(scrape(&remote.shop).await?.one("facilitator_up", &up)?, 1);
    remote.meddler.check(Checking::Says(StatusCode::BAD_GATEWAY, String::new()));
    remote.customer(0).buy(AT).await?.expect_refusal(Reason::FacilitatorUnavailable)?;
    let told = scrape(&remote.shop).await?;
    assert_eq!(told.one("facilitator_up", &up)?, 0);
    assert_eq!(told.one("settler_state", &[("state", "facilitator_down")])?, 1);
    assert_eq!(refused_for(&told, Reason::FacilitatorUnavailable)?, (1, 1));
    remote.meddler.check(Checking::Honest);
    until("sold", async || {
        let sold = remote.customer(1).buy(AT).await?;
        Ok((sold.status == StatusCode::OK).then_some(()))
    })
    .await?;
    assert_eq!(scrape(&remote.shop).await?.one("facilitator_up", &up)?, 1);
    remote.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_facilitator_only_says_is_claimed_and_not_charged() -> Result<()> {
    let remote = RemoteShop::open(false, Manner::Honest).await?;
    ensure!(remote.customer(0).buy(AT).await?.status == StatusCode::OK);
    let told = scrape(&remote.shop).await?;
    let counts = [
        ("requests_total", 2),
        ("payment_required_total", 1),
        ("payment_verified_total", 1),
        ("claimed_requests_total", 1),
    ];
    assert_counts(&told, PAID, &counts)?;
    assert_ledger(&told, PAID, 0, 0)?;
    assert_eq!(told.all("last_payment_success_seconds", &[]).count(), 0);
    // With an endpoint the chain says so, too.
    let remote = remote.reopen(true).await?;
    until("charged", async || {
        let told = scrape(&remote.shop).await?;
        Ok((told.one("charged_requests_total", &offer(PAID))? == 1).then_some(()))
    })
    .await?;
    assert_ledger(&scrape(&remote.shop).await?, PAID, 1, 10_000)?;
    remote.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_time_of_the_chains_head_is_told() -> Result<()> {
    let (shop, _upstream) = open().await?;
    let head = shop.chain.rpc().latest_block().await?.seconds()?;
    until("the head is told", async || {
        let told = scrape(&shop).await?;
        let chain = [("chain", "eip155:84532")];
        Ok(told.all("chain_head_seconds", &chain).any(|(_, at)| at == head.to_string()).then_some(()))
    })
    .await?;
    shop.close().await
}
