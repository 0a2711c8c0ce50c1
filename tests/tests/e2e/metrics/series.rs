//! Series that come and go with what is sold, and what they are called.

use super::{AT, AT_ZERO, OTHER, PAID, USDC, assert_counts, assert_ledger, customer, offer, open, scrape};
use anyhow::{Result, bail, ensure};
use hyper::StatusCode;
use obol_core::{Amount, Asset, Charge, Exposure, Offer, Reason, Registry, WireVersion};
use obol_devchain::{CHAIN, Mining};
use obol_ledger::State;
use obol_telemetry::Kind;
use obol_tests::{Answered, Buyer, Customer, Scrape, Shop, ShopOptions, Upstream, fetch, get, paid, until};
use obol_verifier::FAMILIES;
use std::{net::SocketAddr, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

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

/// Told only where a facilitator of others settles, which has tests of its own.
const ELSEWHERE: [&str; 3] = ["facilitator_up", "ledger_claimed_requests", "ledger_claimed_amount"];

#[tokio::test(flavor = "multi_thread")]
async fn every_family_is_told_with_the_type_and_labels_that_are_published() -> Result<()> {
    let mut options = ShopOptions::default();
    options.seller.timing.reconcile = Some(Duration::from_millis(200));
    let (shop, upstream) = (Shop::open(options).await?, Upstream::hello().await?);
    let exposure = Exposure { per_payer: Amount::from(20_000), per_offer: Amount::from(50_000) };
    shop.publish(&[Offer { charge: Charge::Optimistic(exposure), ..shop.offer(AT, &upstream) }])?;
    customer(&shop).buy(AT).await?;
    shop.until_payment(|payment| payment.state().is_paid()).await?;
    shop.chain.set_mining(Mining::Manual).await?;
    customer(&shop).buy(AT).await?;
    let mut garbage = get(AT);
    garbage.headers_mut().insert("payment-signature", "%%%".parse()?);
    fetch(shop.address, garbage).await?.expect_refusal(Reason::InvalidPayload)?;
    let missing = |told: &Scrape| -> Vec<_> {
        let short =
            FAMILIES.iter().map(|family| (family, family.name.trim_start_matches("obol_x402_verifier_")));
        let told = short.filter(|(family, short)| {
            let sample =
                if family.kind == Kind::Histogram { format!("{short}_bucket") } else { (*short).to_owned() };
            !ELSEWHERE.contains(short) && told.all(&sample, &[]).count() == 0
        });
        told.map(|(family, _)| family.name).collect()
    };
    let told = until("all is told", async || {
        let told = scrape(&shop).await?;
        Ok(missing(&told).is_empty().then_some(told))
    });
    let told = match told.await {
        Ok(told) => told,
        Err(error) => bail!("{error}: {:?}", missing(&scrape(&shop).await?)),
    };
    for family in FAMILIES {
        let kind = format!("# TYPE {} {}\n", family.name, family.kind.as_str());
        assert_eq!(told.text.matches(&kind).count(), 1, "{kind}");
        let short = family.name.trim_start_matches("obol_x402_verifier_");
        let (sample, more) = match family.kind {
            Kind::Histogram => (format!("{short}_bucket"), vec!["le"]),
            Kind::Counter | Kind::Gauge => (short.to_owned(), Vec::new()),
        };
        for (labels, _) in told.all(&sample, &[]) {
            let names: Vec<_> = labels.keys().map(String::as_str).collect();
            let mut published = [family.labels, &more].concat();
            published.sort_unstable();
            assert_eq!(names, published, "{short}");
        }
    }
    Ok(())
}

/// Asks for the metrics, and reads nothing of the answer but its beginning.
async fn slow_reader(admin: SocketAddr) -> Result<(TcpStream, String)> {
    let mut stream = TcpStream::connect(admin).await?;
    stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: slow\r\n\r\n").await?;
    let mut line = [0; 12];
    stream.read_exact(&mut line).await?;
    Ok((stream, String::from_utf8(line.to_vec())?))
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_that_nobody_reads_are_few_and_make_room_when_their_reader_leaves() -> Result<()> {
    let (shop, upstream) = (Shop::open(ShopOptions::default()).await?, Upstream::hello().await?);
    // More than a connection's buffers take.
    let offers: Vec<_> =
        (0..6_000).map(|number| shop.offer(&format!("/services/n{number}"), &upstream)).collect();
    shop.publish(&offers)?;
    let mut readers = Vec::new();
    let crowded = loop {
        let (reader, status) = slow_reader(shop.admin).await?;
        if status == "HTTP/1.1 503" {
            break readers.len();
        }
        ensure!(status == "HTTP/1.1 200" && readers.len() < 20, "{status} after {}", readers.len());
        readers.push(reader);
    };
    assert_eq!(crowded, 4);
    // Health and buyers are answered all the same.
    assert_eq!(fetch(shop.admin, get("/healthz")).await?.status, StatusCode::OK);
    assert_eq!(fetch(shop.address, get("/services/n7")).await?.status, StatusCode::PAYMENT_REQUIRED);
    readers.clear();
    until("there is room again", async || Ok(scrape(&shop).await.ok())).await?;
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
    let lifetime = [&USDC[..], &[("window", "lifetime")]].concat();
    assert_eq!(told.one("chain_ledger_reversed_requests", &lifetime)?, 0);

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
