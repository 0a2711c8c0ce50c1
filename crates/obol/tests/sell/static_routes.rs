//! `--pricing`: static routes at both doors of a verifier that runs.

use crate::stand::Stand;
use alloy_primitives::Address;
use anyhow::{Result, ensure};
use hyper::StatusCode;
use obol_tests::{Answered, fetch, get, paid, raw};
use serde_json::Value;
use std::{fs, path::Path};

const SECRET: &str = "hush-5b20";

fn routes(wallet: Address, upstream: &str) -> String {
    format!(
        "# static routes
wallet: \"{wallet}\"
chain: base-sepolia
facilitatorURL: https://facilitator.example
verifyOnly: true
routes:
  - pattern: /exact/one
    price: \"0.02\"
    upstreamURL: {upstream}/base
    upstreamAuth: Bearer {SECRET}
    offerNamespace: shop
    offerName: one
  - pattern: /exact/*
    price: \"0.01\"
    upstreamURL: {upstream}
    stripPrefix: /exact
  - pattern: /models/*/info
    price: \"0.03\"
    upstreamURL: {upstream}
    stripPrefix: /models
  - pattern: /proxied/*
    price: \"0.01\"
  - pattern: /bad/*
    price: free
    upstreamURL: {upstream}
  - pattern: /services/hello/*
    price: \"0.000001\"
    upstreamURL: {upstream}
"
    )
}

/// Writes the offer at `/services/hello`, for 0.05.
pub(crate) fn hello(folder: &Path, wallet: Address, upstream: &str) -> Result<()> {
    let manifest = format!(
        "apiVersion: obol.org/v1alpha1\nkind: ServiceOffer\nmetadata: {{name: hello}}\nspec:\n  \
         upstream: {{url: \"{upstream}\"}}\n  payment: {{network: base-sepolia, payTo: \"{wallet}\", \
         price: {{perRequest: \"0.05\"}}}}\n"
    );
    Ok(fs::write(folder.join("offers/hello.yaml"), manifest)?)
}

fn write(folder: &Path, wallet: Address, upstream: &str) -> Result<()> {
    fs::write(folder.join("pricing.yaml"), routes(wallet, upstream))?;
    hello(folder, wallet, upstream)
}

async fn stand() -> Result<Stand> {
    Stand::open(&["--pricing", "pricing.yaml"], write).await
}

fn asks(answered: &Answered) -> Option<String> {
    Some(answered.challenge().ok()?["accepts"][0]["amount"].as_str()?.to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn static_routes_are_sold_beside_offers_and_their_faults_told() -> Result<()> {
    let stand = stand().await?;
    let customer = stand.customer();
    for (target, forwarded) in [
        ("/exact/one?q", "/base/exact/one?q"),
        ("/exact", "/"),
        ("/exact/two/three", "/two/three"),
        ("/models/a%20b/info", "/a%20b/info"),
        ("/services/hello/x", "/x"),
    ] {
        let answered = customer.buy(target).await?;
        ensure!(answered.status == StatusCode::OK && answered.body == "hello", "{target}: {answered:?}");
        let heard = stand.upstream.heard().pop();
        let heard = heard.map(|heard| (heard.target.to_string(), heard.header("authorization")));
        let authorization = target.starts_with("/exact/one").then(|| format!("Bearer {SECRET}"));
        assert_eq!(heard, Some((forwarded.to_owned(), authorization)));
    }
    assert_eq!(asks(&fetch(stand.address, get("/services/hello")).await?).as_deref(), Some("50000"));
    let log = stand.log();
    for told in [
        "pricing.yaml:24: routes[4].price: \"free\" is not a plain decimal number",
        "default/hello is sold at /services/hello already",
        "pricing.yaml:4: facilitatorURL: changes nothing here",
        "pricing.yaml:5: verifyOnly: changes nothing here",
        "offers=5",
    ] {
        assert_eq!(log.matches(told).count(), 1, "{told}: {log}");
    }
    ensure!(!log.contains("hush"), "{log}");
    let earned = stand.obol(&["ledger", "earnings", "--ledger", "ledger.db"]).await?;
    for line in ["shop/one ", "pricing/exact-", "pricing/models-info-", "default/hello "] {
        ensure!(earned.contains(line), "{line}: {earned}");
    }
    let listed = stand.desk.finds(2, &["list", "--pricing", "pricing.yaml", "--output", "json"])?;
    ensure!(!listed.contains("hush"), "{listed}");
    let listed: Value = serde_json::from_str(&listed)?;
    assert_eq!(listed["offers"].as_array().map(Vec::len), Some(6), "{listed}");
    assert_eq!(
        (&listed["offers"][1]["name"], &listed["offers"][1]["file"], &listed["offers"][1]["matches"]),
        (&"one".into(), &"pricing.yaml".into(), &"exact".into())
    );
    assert_eq!(
        (listed["faults"].as_array().map(Vec::len), listed["notes"].as_array().map(Vec::len)),
        (Some(2), Some(2))
    );
    let table = stand.desk.finds(2, &["list", "--pricing", "pricing.yaml"])?;
    ensure!(table.contains("/exact/one alone") && table.contains("--verify-only"), "{table}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_file_is_followed_while_the_verifier_runs_and_kept_while_it_is_bad() -> Result<()> {
    let stand = stand().await?;
    let file = stand.desk.path().join("pricing.yaml");
    let good = fs::read_to_string(&file)?;
    let first = fetch(stand.address, get("/exact/one")).await?;
    assert_eq!(asks(&first).as_deref(), Some("20000"));
    fs::write(&file, good.replace("price: \"0.02\"", "price: \"0.04\""))?;
    stand.until_asked("/exact/one", |answered| asks(answered).as_deref() == Some("40000")).await?;
    fs::write(&file, "routes: [\n")?;
    stand.until_logged("shop/one and 4 more are sold on as they were read last").await?;
    let bad = fetch(stand.address, get("/exact/one")).await?;
    assert_eq!(asks(&bad).as_deref(), Some("40000"));
    let (before, _) = good.split_once("  - pattern: /exact/*").unwrap_or_default();
    fs::write(&file, before)?;
    stand.until_asked("/exact/two", |answered| answered.status == StatusCode::NOT_FOUND).await?;
    assert_eq!(stand.customer().buy("/exact/one").await?.status, StatusCode::OK);
    Ok(())
}

/// At the gate, and what a proxy hears. A 402 names the price, in atomic units, of the route that
/// the path is sold by.
const TARGETS: &[(&str, u16, Option<&str>)] = &[
    ("/exact/one", 402, Some("20000")),
    ("/exact/one?x=/../two", 402, Some("20000")),
    ("/exact/%6fne", 402, Some("20000")),
    ("/exact", 402, Some("10000")),
    ("/exact/", 402, Some("10000")),
    ("/exact/two", 402, Some("10000")),
    ("/exact/onex", 402, Some("10000")),
    ("/exact/one-x/y", 402, Some("10000")),
    ("/models/a/info", 402, Some("30000")),
    // Below what is sold alone, and whatever a server could take for it.
    ("/exact/one/", 404, None),
    ("/exact/one/x", 404, None),
    ("/exact/one/x/y", 404, None),
    ("/exact/One", 404, None),
    ("/EXACT/one", 404, None),
    ("/exact/ONE/x", 404, None),
    ("/exact/one.", 404, None),
    ("/exact/one%20", 404, None),
    ("/exact/one%3Fx", 404, None),
    ("/exact/one%23x", 404, None),
    ("/exact/one./x", 404, None),
    ("/Exact/two", 404, None),
    ("/exac", 404, None),
    ("/exactly", 404, None),
    ("/models/a/info/", 404, None),
    ("/models/a/info/x", 404, None),
    ("/models/a/INFO", 404, None),
    ("/models/a/info.", 404, None),
    ("/models//info", 400, None),
    ("/models/info", 404, None),
    ("/models/a", 404, None),
    ("/bad/x", 404, None),
    ("/exact//one", 400, None),
    ("//exact/one", 400, None),
    ("/exact/./one", 400, None),
    ("/exact/../exact/one", 400, None),
    ("/exact/x/../one", 400, None),
    ("/exact/%2e%2e/exact/one", 400, None),
    ("/exact%2Fone", 400, None),
    ("/exact/one%2F", 400, None),
    ("/exact/one;x", 400, None),
    ("/exact%5Cone", 400, None),
    ("/exact/%256fne", 400, None),
    ("/exact/one%00", 400, None),
];

#[tokio::test(flavor = "multi_thread")]
async fn no_spelling_of_a_static_routes_path_passes_either_door_unpaid_or_at_anothers_price() -> Result<()> {
    let stand = stand().await?;
    let mut wrong = Vec::new();
    let mut check = |door: &str, target: &str, answered: &Answered, expected: (u16, Option<&str>)| {
        let (status, price) = (answered.status.as_u16(), asks(answered));
        if (status, price.as_deref()) != expected {
            wrong.push(format!("{door} {target}: {status} {price:?}, not {expected:?}"));
        }
    };
    for &(target, status, price) in TARGETS {
        let asked = stand.ask(target, None).await?;
        check("/verify", target, &asked, (status, price));
        let head = format!("GET {target} HTTP/1.1\r\nHost: shop.example\r\nConnection: close\r\n\r\n");
        let statuses: Vec<_> = raw(stand.address, head.as_bytes()).await?.iter().map(|r| r.status).collect();
        ensure!(statuses == [status], "{target}: {statuses:?}");
        if status == 402 {
            check("gate", target, &fetch(stand.address, get(target)).await?, (status, price));
        }
    }
    assert_eq!(wrong, [""; 0]);
    // A payment for the cheap route buys nothing of the dear one that is within it.
    let customer = stand.customer();
    let cheap = customer.challenge("/exact/two").await?;
    for &(target, status, _) in TARGETS.iter().filter(|(_, _, price)| *price != Some("10000")) {
        let (_, header) = customer.pay(&cheap)?;
        let answered = fetch(stand.address, paid(get(target), &header)).await?;
        assert_eq!(answered.status.as_u16(), status, "{target}: {answered:?}");
        let asked = stand.ask(target, Some(&header)).await?;
        assert_eq!(asked.status.as_u16(), status, "{target}: {asked:?}");
    }
    assert_eq!(stand.upstream.count(), 0);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_route_without_an_upstream_is_sold_to_proxies_and_refused_at_the_gate() -> Result<()> {
    let stand = stand().await?;
    let customer = stand.customer();
    let challenge = stand.ask("/proxied/x", None).await?;
    assert_eq!(asks(&challenge).as_deref(), Some("10000"));
    let sale = customer.challenge("/exact/two").await?;
    let (_, header) = customer.pay(&sale)?;
    for request in [get("/proxied/x"), paid(get("/proxied/x"), &header)] {
        let refused = fetch(stand.address, request).await?;
        let body = refused.expect_refusal(obol_core::Reason::NoRoute)?;
        ensure!(body["detail"].as_str().is_some_and(|detail| detail.contains("/verify")), "{body}");
    }
    // The same price and payee: the payment is still unused, and lets the proxy forward once.
    let passed = stand.ask("/proxied/x", Some(&header)).await?;
    ensure!(passed.status == StatusCode::OK && passed.header("payment-response").is_some(), "{passed:?}");
    let again = stand.ask("/proxied/x", Some(&header)).await?;
    ensure!(again.status != StatusCode::OK, "{again:?}");
    assert_eq!(stand.upstream.count(), 0);
    Ok(())
}
