//! What a client says of itself, and a service of payments, counts for nothing.

use super::Street;
use crate::{
    gate_headers::{FORGED, with},
    gate_paths::{DEEP, PAID},
};
use anyhow::{Context, Result, ensure};
use hyper::{HeaderMap, StatusCode, header::HeaderValue};
use obol_core::{Reason, WireVersion};
use obol_tests::{ProxyKind, Upstream, fetch, get, paid, raw, reply};
use obol_wire::Receipt;

/// Told by browsers, of the page that asks: it does no harm behind a proxy.
const HARMLESS: [&str; 2] = ["origin", "sec-fetch-site"];

async fn the_true_payer_arrives_and_nothing_forged_does(kind: ProxyKind) -> Result<()> {
    let Some(street) = Street::open(kind, Upstream::hello().await?).await? else { return Ok(()) };
    let customer = street.customer(WireVersion::V2);
    let mut forged: Vec<_> = FORGED.iter().map(|name| (*name, "forged")).collect();
    forged.extend([
        ("X-Mine", "one"),
        ("X-Mine", "two"),
        ("Cookie", "a=b"),
        ("Authorization", "Bearer mine"),
    ]);
    for connection in ["close", "close, X-Payment-Payer, X-Forwarded-Uri, X-Forwarded-For, X-Forwarded-Host"]
    {
        let (_, payment) = customer.payment(PAID).await?;
        let request = with(paid(with(get(PAID), &forged), &payment), &[("Connection", connection)]);
        assert_eq!(fetch(street.proxy.address, request).await?.status, StatusCode::OK);
        let heard = street.service.heard().pop().context("the service was not asked")?;
        let came: Vec<_> = heard
            .headers
            .iter()
            .filter(|(name, value)| *value == "forged" && !HARMLESS.contains(&name.as_str()))
            .map(|(name, _)| name.as_str())
            .collect();
        assert_eq!(came, [""; 0], "{connection}");
        assert_eq!(heard.header("x-payment-payer"), Some(street.payer()), "{connection}");
        for (name, value) in [("x-mine", "one, two"), ("cookie", "a=b"), ("authorization", "Bearer mine")] {
            assert_eq!(heard.header(name).as_deref(), Some(value));
        }
        for name in ["payment-signature", "x-payment", "payment-retry"] {
            assert_eq!(heard.header(name), None);
        }
    }
    assert_eq!(street.service.count(), 2);
    street.shop.close().await
}

async fn what_a_client_says_of_its_request_changes_nothing_that_is_judged(kind: ProxyKind) -> Result<()> {
    let Some(street) = Street::open(kind, Upstream::hello().await?).await? else { return Ok(()) };
    let (_, cheap) = street.customer(WireVersion::V2).payment(PAID).await?;
    // A note such as nginx has of a refusal.
    let mut question = get("/verify/auth-request");
    for (name, value) in [
        ("x-forwarded-uri", PAID),
        ("x-forwarded-method", "GET"),
        ("x-forwarded-host", "a"),
        ("x-forwarded-for", "::1"),
    ] {
        question.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    let refused = fetch(street.shop.address, question).await?;
    let note = refused.headers.get("x-obol-refusal").context("no note")?;
    let said: &[(&str, &str)] = &[
        ("X-Forwarded-Uri", PAID),
        ("X-Forwarded-Uri", "/free"),
        ("X_Forwarded_Uri", PAID),
        ("X-Forwarded-Method", "OPTIONS"),
        ("X-Forwarded-Host", "evil.example"),
        ("X-Forwarded-Proto", "https"),
        ("X-Forwarded-For", "203.0.113.9"),
        ("X-Original-URL", PAID),
        ("X-Rewrite-URL", PAID),
        ("Forwarded", "for=203.0.113.9;host=evil.example;proto=https"),
    ];
    let hidden =
        [("Connection", "close, X-Forwarded-Uri, X-Forwarded-Method, X-Forwarded-Host, X-Obol-Refusal")];
    for connection in [&[][..], &hidden] {
        for (target, payment) in [(PAID, None), (DEEP, None), (DEEP, Some(&cheap))] {
            let mut request = with(with(get(target), said), connection);
            request.headers_mut().insert("x-obol-refusal", note.clone());
            let request = payment.map_or(request.clone(), |payment| paid(request, payment));
            let answered = fetch(street.proxy.address, request).await?;
            assert_eq!(answered.status, StatusCode::PAYMENT_REQUIRED, "{target}");
            let resource = format!("http://{}{target}", street.proxy.address);
            assert_eq!(answered.challenge()?["resource"]["url"], resource);
            let price = if target == PAID { "10000" } else { "90000" };
            assert_eq!(answered.challenge()?["accepts"][0]["amount"], price);
        }
        for target in ["/verify", "/verify/auth-request", "/verify/refusal", "/obol/verify"] {
            let answered = fetch(street.proxy.address, paid(with(get(target), said), &cheap)).await?;
            assert_eq!(answered.status, StatusCode::NOT_FOUND, "{target}");
        }
    }
    assert_eq!(street.service.count(), 0);
    street.shop.close().await
}

/// The request line may name a host of its own, and an offer may be for one host.
async fn a_payment_at_one_host_buys_nothing_at_another(kind: ProxyKind) -> Result<()> {
    let Some(street) = Street::open(kind, Upstream::hello().await?).await? else { return Ok(()) };
    let mut offers = crate::gate_paths::offers(&street.shop, &street.service);
    offers.truncate(2);
    for (offer, host) in offers.iter_mut().zip(["cheap.example", "dear.example"]) {
        offer.path = obol_core::Pattern::Below(PAID.to_owned());
        offer.upstream.strip = PAID.to_owned();
        offer.host = Some(host.to_owned());
    }
    street.shop.publish(&offers)?;
    let mut ask = get(PAID);
    ask.headers_mut().insert("host", HeaderValue::from_static("cheap.example"));
    let posted = fetch(street.proxy.address, ask).await?;
    let customer = street.customer(WireVersion::V2);
    let sale = obol_wire::Sale::parse(
        posted.headers.get("payment-required").map(HeaderValue::as_bytes),
        &posted.body,
        &obol_core::Registry::built_in(),
    )?;
    for (target, host) in [
        (format!("http://dear.example{PAID}"), "cheap.example"),
        (format!("http://cheap.example{PAID}"), "dear.example"),
        (PAID.to_owned(), "dear.example"),
        (PAID.to_owned(), "cheap.example\r\nHost: dear.example"),
        (PAID.to_owned(), "dear.example\r\nX-Forwarded-Host: cheap.example"),
    ] {
        let (_, payment) = customer.pay(&sale)?;
        let head = format!(
            "GET {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{}: {}\r\n\r\n",
            payment.name, payment.value
        );
        let before = street.service.count();
        let answers = raw(street.proxy.address, head.as_bytes()).await?;
        // Whoever is let pass is let pass to the host that was paid for.
        for heard in &street.service.heard()[before..] {
            assert_eq!(heard.header("host").as_deref(), Some("cheap.example"), "{target} {host}");
        }
        let passed = answers.iter().any(|answer| answer.status == 200);
        ensure!(passed == (street.service.count() > before), "{target} {host}: {answers:?}");
    }
    street.shop.close().await
}

async fn a_service_neither_forges_receipts_nor_has_its_own_401_taken_for_a_challenge(
    kind: ProxyKind,
) -> Result<()> {
    let service = Upstream::start(|_| {
        let mut reply = reply(StatusCode::UNAUTHORIZED, "not you");
        for (name, value) in [
            ("payment-response", "forged"),
            ("x-payment-response", "forged"),
            ("x-obol-refusal", "forged"),
            ("www-authenticate", "Basic"),
            ("cache-control", "public, max-age=60"),
        ] {
            reply.headers_mut().append(name, HeaderValue::from_static(value));
        }
        std::future::ready(reply)
    });
    let Some(street) = Street::open(kind, service.await?).await? else { return Ok(()) };
    for version in [WireVersion::V2, WireVersion::V1] {
        let customer = street.customer(version);
        let answered = customer.buy(PAID).await?;
        assert_eq!((answered.status, &answered.body[..]), (StatusCode::UNAUTHORIZED, &b"not you"[..]));
        assert_eq!(answered.header("www-authenticate"), Some("Basic"));
        ensure!(is_private(&answered.headers), "{answered:?}");
        if kind.gives_receipts() {
            let receipt = customer.receipt(&answered)?;
            ensure!(matches!(receipt, Receipt::Settled { .. }), "{receipt:?}");
            assert_eq!(answered.headers.get_all("payment-response").iter().count(), 1);
        } else {
            assert_eq!(answered.header("payment-response"), None);
            assert_eq!(answered.header("x-payment-response"), None);
        }
    }
    assert_eq!(street.service.count(), 2);
    let unpaid = fetch(street.proxy.address, get(PAID)).await?;
    unpaid.expect_refusal(Reason::PaymentRequired)?;
    street.shop.close().await
}

/// Of several directives the strictest counts.
fn is_private(headers: &HeaderMap) -> bool {
    let mut values = headers.get_all("cache-control").iter().filter_map(|value| value.to_str().ok());
    values.any(|value| value == "private")
}

with_each_proxy! {
    the_true_payer_arrives_and_nothing_forged_does
    what_a_client_says_of_its_request_changes_nothing_that_is_judged
    a_payment_at_one_host_buys_nothing_at_another
    a_service_neither_forges_receipts_nor_has_its_own_401_taken_for_a_challenge
}
