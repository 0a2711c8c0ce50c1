//! No spelling of a path, and no method, gets past the price.

use anyhow::Result;
use hyper::{Method, StatusCode};
use obol_core::{Amount, Offer, WireVersion};
use obol_tests::{Buyer, Customer, Shop, ShopOptions, Upstream, fetch, get, paid, raw, request};

pub(crate) const PAID: &str = "/services/paid";
pub(crate) const DEEP: &str = "/services/paid/premium/model";
const NEAR: &str = "/services/paid2";

/// Three offers on one upstream, which tells them apart by its own paths.
pub(crate) fn offers(shop: &Shop, upstream: &Upstream) -> Vec<Offer> {
    let mut offers = Vec::new();
    for (path, base, units) in [(PAID, "/paid", 10_000), (DEEP, "/deep", 90_000), (NEAR, "/near", 10_000)] {
        let mut offer = shop.offer(path, upstream);
        offer.upstream.base = Some(format!("{}{base}", upstream.base()));
        offer.accepts[0].amount = Amount::from(units);
        offers.push(offer);
    }
    offers
}

pub(crate) const TARGETS: &[(&str, u16)] = &[
    // Plain paths of the three offers, and what is none of theirs.
    ("/services/paid", 402),
    ("/services/paid/", 402),
    ("/services/paid/x", 402),
    ("/services/paid/premium", 402),
    ("/services/paid/premium/model", 402),
    ("/services/paid/premium/model/x", 402),
    ("/services/paid2", 402),
    ("/", 404),
    ("/services", 404),
    ("/services/", 404),
    ("/services/pai", 404),
    ("/services/paidx", 404),
    ("/services/paid-x", 404),
    ("/services/paid22", 404),
    ("/services/paid.", 404),
    ("/services/paid./x", 404),
    ("/services/paid..", 404),
    ("/services/.../paid", 404),
    // Queries and fragments belong to no path.
    ("/services/paid?x=1", 402),
    ("/services/paid?", 402),
    ("/services/paid?/../../free", 402),
    ("/services/paid/?x=//y;z", 402),
    ("/services/paid#x", 402),
    ("/free#/../services/paid", 404),
    ("/free?/services/paid", 404),
    ("/services/paid%3Fx", 404),
    ("/services/paid%23x", 404),
    ("/services/paid/%3Fx", 402),
    // Empty and dot segments.
    ("//", 400),
    ("//services/paid", 400),
    ("/services//paid", 400),
    ("/services/paid//", 400),
    ("/services/paid//x", 400),
    ("/./services/paid", 400),
    ("/services/./paid", 400),
    ("/services/paid/.", 400),
    ("/services/paid/..", 400),
    ("/services/paid/../paid2", 400),
    ("/services/x/../paid", 400),
    ("/../services/paid", 400),
    ("/services/paid/../../healthz", 400),
    ("/healthz/../services/paid", 400),
    ("/%2e/services/paid", 400),
    ("/services/%2e%2e/services/paid", 400),
    ("/services/.%2E/services/paid", 400),
    ("/services/%2E./services/paid", 400),
    ("/services/paid/%2e", 400),
    // Other slashes, parameters, controls.
    ("/services%2Fpaid", 400),
    ("/services/paid%2f..%2fpaid2", 400),
    ("%2Fservices/paid", 400),
    ("/services%5cpaid", 400),
    ("/services/paid%5C..%5Cpaid2", 400),
    ("/services\\paid", 400),
    ("\\services\\paid", 400),
    ("/services/paid;x=1", 400),
    ("/services;x=1/paid", 400),
    ("/services/paid%3bx", 400),
    ("/services/paid/..;/paid2", 400),
    ("/services/paid%00", 400),
    ("/services/paid%0d%0aX-Payment-Payer:%20me", 400),
    ("/services/paid%09", 400),
    ("/services/paid%7f", 400),
    ("/services/paid\0", 400),
    ("/services/paid\x01", 400),
    ("/services/paid x", 400),
    // Encodings.
    ("/services/p%61id", 402),
    ("/%73ervices/%70%61%69%64/x", 402),
    ("/services/p%61idx", 404),
    ("/services/%50AID", 404),
    ("/services/%252e%252e/services/paid", 400),
    ("/services/p%2561id", 400),
    ("/services%252Fpaid", 400),
    ("/%c0%ae%c0%ae/services/paid", 400),
    ("/services%c0%afpaid", 400),
    ("/services/paid/%ff", 400),
    ("/services/paid/%f0%9f%99%82", 402),
    ("/services/paid/%", 400),
    ("/services/paid/%2", 400),
    ("/services/paid/%zz", 400),
    ("/services/paid/%u002e", 400),
    ("/services/paid/é", 400),
    // Another case is another path, and nobody's.
    ("/SERVICES/PAID", 404),
    ("/services/Paid", 404),
    ("/services/paiD/x", 404),
    ("/services/paid/PREMIUM/model", 404),
    ("/services/paid/premium/Model/x", 404),
    // Targets that are no path.
    ("*", 400),
    ("services/paid", 400),
    ("?x", 400),
    ("http://shop.example/services/paid", 400),
    ("http://evil.example/services/paid", 400),
    ("HTTP://shop.example/services/paid", 400),
    ("https://shop.example:443/services/paid", 400),
    ("http://shop.example", 400),
    ("http:///services/paid", 400),
    ("ftp://shop.example/services/paid", 400),
    ("shop.example:80", 400),
];

#[tokio::test(flavor = "multi_thread")]
async fn no_spelling_of_a_path_reaches_the_upstream_unpaid() -> Result<()> {
    let shop = Shop::open(ShopOptions::default()).await?;
    let upstream = Upstream::hello().await?;
    shop.publish(&offers(&shop, &upstream))?;
    let long = |letters: usize| format!("{PAID}/{}", "a".repeat(letters));
    let (fits, too_long) = (long(60_000), long(64 * 1024));
    let more = [(fits.as_str(), 402), (too_long.as_str(), 414)];
    let mut wrong = Vec::new();
    for &(target, expected) in TARGETS.iter().chain(&more) {
        let head = format!("GET {target} HTTP/1.1\r\nHost: shop.example\r\nConnection: close\r\n\r\n");
        let statuses: Vec<_> = raw(shop.address, head.as_bytes()).await?.iter().map(|r| r.status).collect();
        if statuses != [expected] {
            wrong.push(format!(
                "{}: {statuses:?}, not {expected}",
                target.chars().take(60).collect::<String>()
            ));
        }
    }
    assert_eq!(wrong, [""; 0]);
    assert_eq!(upstream.count(), 0);
    shop.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn no_method_reaches_the_upstream_unpaid() -> Result<()> {
    let shop = Shop::open(ShopOptions::default()).await?;
    let upstream = Upstream::hello().await?;
    shop.publish(&offers(&shop, &upstream))?;
    let mut wrong = Vec::new();
    for (method, expected) in [
        ("GET", 402),
        ("HEAD", 402),
        ("POST", 402),
        ("PUT", 402),
        ("PATCH", 402),
        ("DELETE", 402),
        // No preflight without Origin and Access-Control-Request-Method.
        ("OPTIONS", 402),
        ("CONNECT", 405),
        ("TRACE", 405),
        ("get", 402),
        ("Trace", 405),
        ("PROPFIND", 402),
        ("FROB", 402),
        ("GET,POST", 400),
        ("G\tT", 400),
        ("", 400),
    ] {
        for version in ["HTTP/1.1", "HTTP/1.0"] {
            let head =
                format!("{method} {PAID} {version}\r\nHost: shop.example\r\nConnection: close\r\n\r\n");
            let answers = raw(shop.address, head.as_bytes()).await?;
            let statuses: Vec<_> = answers.iter().map(|answer| answer.status).collect();
            if statuses != [expected] {
                wrong.push(format!("{method} {version}: {statuses:?}, not {expected}"));
            }
            assert!(expected != 405 || answers[0].head.contains("allow: GET, HEAD, POST"), "{answers:?}");
        }
    }
    assert_eq!(wrong, [""; 0]);
    let connect = b"CONNECT shop.example:80 HTTP/1.1\r\nHost: shop.example:80\r\nConnection: close\r\n\r\n";
    assert_eq!(raw(shop.address, connect).await?[0].status, 405);
    assert_eq!(upstream.count(), 0);
    shop.close().await
}

/// What follows [`PAID`] in spellings of the dear offer's path, or nearly.
pub(crate) const NESTED: &[(&str, u16)] = &[
    ("/premium/model", 402),
    ("/premium/model/", 402),
    ("/premium/%6dodel", 402),
    ("/%70remium/model/x", 402),
    ("/Premium/model", 404),
    ("/premium/MODEL", 404),
    ("/premium//model", 400),
    ("/premium/./model", 400),
    ("/x/../premium/model", 400),
    ("/premium%2Fmodel", 400),
    ("/premium;/model", 400),
];

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_for_a_cheap_offer_buys_nothing_of_a_dear_one_nested_in_it() -> Result<()> {
    let shop = Shop::open(ShopOptions::default()).await?;
    let upstream = Upstream::hello().await?;
    shop.publish(&offers(&shop, &upstream))?;
    let customer = Customer::new(Buyer::of(shop.chain.buyers()[0]), shop.address, WireVersion::V2);
    let cheap = customer.challenge(PAID).await?;
    for &(rest, expected) in NESTED {
        let (_, header) = customer.pay(&cheap)?;
        let answered = fetch(shop.address, paid(get(&format!("{PAID}{rest}")), &header)).await?;
        assert_eq!(answered.status.as_u16(), expected, "{rest}");
    }
    assert_eq!(upstream.count(), 0);
    shop.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_paid_for_arrives_as_it_was_spelled_below_the_upstreams_own_path() -> Result<()> {
    let shop = Shop::open(ShopOptions::default()).await?;
    let upstream = Upstream::hello().await?;
    shop.publish(&offers(&shop, &upstream))?;
    let customer = Customer::new(Buyer::of(shop.chain.buyers()[0]), shop.address, WireVersion::V2);
    for (method, target, forwarded) in [
        (Method::GET, "/services/paid", "/paid"),
        (Method::POST, "/services/paid/", "/paid/"),
        (
            Method::DELETE,
            "/services/p%61id/a%20b/%F0%9F%99%82?q=//a/../b;c",
            "/paid/a%20b/%F0%9F%99%82?q=//a/../b;c",
        ),
        (Method::PATCH, "/services/paid/premium?", "/paid/premium?"),
        (Method::PUT, "/services/paid/premium/%6dodel/x", "/deep/x"),
        (Method::from_bytes(b"get")?, "/services/paid2?x", "/near?x"),
        (Method::OPTIONS, "/services/paid2", "/near"),
    ] {
        let (_, header) = customer.payment(target).await?;
        let answered = fetch(shop.address, paid(request(method.clone(), target, ""), &header)).await?;
        assert_eq!(answered.status, StatusCode::OK, "{target}");
        let heard = upstream.heard();
        let last = heard.last().map(|heard| (heard.method.clone(), heard.target.to_string()));
        assert_eq!(last, Some((method, forwarded.to_owned())));
    }
    assert_eq!(upstream.count(), 7);
    shop.close().await
}
