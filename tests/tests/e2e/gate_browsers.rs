//! What browsers need: HEAD, preflights, readable receipts, and a clear word about upgrades.

use anyhow::Result;
use hyper::{
    Method, Request, StatusCode,
    header::{HeaderName, HeaderValue},
};
use obol_core::{Reason, WireVersion};
use obol_ledger::Delivery;
use obol_tests::{
    Answered, Buyer, Customer, Shop, ShopOptions, Upstream, fetch, fetch_after, get, paid, reply, request,
};

const AT: &str = "/services/paid";

fn customer(shop: &Shop) -> Customer {
    Customer::new(Buyer::of(shop.chain.buyers()[0]), shop.address, WireVersion::V2)
}

fn with<B>(mut request: Request<B>, headers: &[(&'static str, &'static str)]) -> Request<B> {
    for (name, value) in headers {
        request.headers_mut().append(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    request
}

fn list(answered: &Answered, name: &str) -> Vec<String> {
    let values = answered.headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(|name| name.trim().to_lowercase()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn head_is_a_request_that_pays_and_has_no_body() -> Result<()> {
    let shop = Shop::open(ShopOptions::default()).await?;
    let upstream = Upstream::hello().await?;
    shop.sell(AT, &upstream)?;
    let head = || request(Method::HEAD, AT, "");
    let unpaid = fetch(shop.address, head()).await?;
    assert_eq!((unpaid.status, unpaid.body.len()), (StatusCode::PAYMENT_REQUIRED, 0));
    assert_eq!(unpaid.challenge()?["x402Version"], 2);
    assert_eq!(upstream.count(), 0);

    let (_, header) = customer(&shop).payment(AT).await?;
    let served = fetch(shop.address, paid(head(), &header)).await?;
    assert_eq!((served.status, served.body.len()), (StatusCode::OK, 0));
    assert_eq!(served.header("content-length"), Some("5"));
    customer(&shop).receipt(&served)?;
    assert_eq!(upstream.heard()[0].method, Method::HEAD);
    let sold = shop.until_payment(|payment| payment.delivery == Delivery::Done).await?;
    assert!(sold.state().is_paid());
    fetch_after(shop.address, || paid(get(AT), &header)).await?.expect_refusal(Reason::AlreadyServed)?;
    assert_eq!(upstream.count(), 1);
    shop.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_preflight_is_answered_without_payment_and_without_the_upstream() -> Result<()> {
    let shop = Shop::open(ShopOptions::default()).await?;
    let upstream = Upstream::hello().await?;
    shop.sell(AT, &upstream)?;
    let asks = [
        ("origin", "https://app.example"),
        ("access-control-request-method", "POST"),
        ("access-control-request-headers", "content-type, x-mine, payment-signature, no name"),
    ];
    let allowed = fetch(shop.address, with(request(Method::OPTIONS, AT, ""), &asks)).await?;
    assert_eq!((allowed.status, allowed.body.len()), (StatusCode::NO_CONTENT, 0));
    assert_eq!(allowed.header("access-control-allow-origin"), Some("https://app.example"));
    assert_eq!(list(&allowed, "access-control-allow-methods"), ["post"]);
    let headers = list(&allowed, "access-control-allow-headers");
    for name in ["payment-signature", "x-payment", "content-type", "authorization", "x-mine"] {
        assert!(headers.iter().any(|header| header == name), "{name}: {headers:?}");
    }
    assert!(!headers.iter().any(|header| header.contains(' ')), "{headers:?}");
    assert!(list(&allowed, "vary").contains(&"origin".to_owned()));

    // What only looks like one has to pay.
    for (method, headers) in [
        (Method::OPTIONS, &asks[..1]),
        (Method::OPTIONS, &asks[1..]),
        (Method::GET, &asks[..]),
        (Method::POST, &asks[..]),
    ] {
        let answered = fetch(shop.address, with(request(method.clone(), AT, ""), headers)).await?;
        assert_eq!(answered.status, StatusCode::PAYMENT_REQUIRED, "{method} {headers:?}");
    }
    let nowhere = fetch(shop.address, with(request(Method::OPTIONS, "/else", ""), &asks)).await?;
    assert_eq!(nowhere.status, StatusCode::NOT_FOUND);
    assert_eq!(upstream.count(), 0);
    shop.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_another_origin_can_read_challenges_receipts_and_refusals() -> Result<()> {
    let shop = Shop::open(ShopOptions::default()).await?;
    let upstream = Upstream::start(|request| {
        let mut reply = reply(StatusCode::OK, "hello");
        match request.uri().path() {
            "/own" => {
                let own = HeaderValue::from_static("https://only.example");
                reply.headers_mut().insert("access-control-allow-origin", own);
                reply
                    .headers_mut()
                    .insert("access-control-expose-headers", HeaderValue::from_static("X-Mine"));
            }
            "/missing" => *reply.status_mut() = StatusCode::NOT_FOUND,
            _ => {}
        }
        std::future::ready(reply)
    })
    .await?;
    shop.sell(AT, &upstream)?;
    let origin = [("origin", "https://app.example")];
    let readable = ["payment-required", "payment-response", "x-payment-response", "retry-after"];
    let customer = customer(&shop);
    for (rest, status, allowed) in [
        ("/x", StatusCode::OK, "https://app.example"),
        ("/own", StatusCode::OK, "https://only.example"),
        ("/missing", StatusCode::NOT_FOUND, "https://app.example"),
    ] {
        let target = format!("{AT}{rest}");
        let unpaid = fetch(shop.address, with(get(&target), &origin)).await?;
        assert_eq!(unpaid.header("access-control-allow-origin"), Some("https://app.example"));
        let (_, header) = customer.payment(&target).await?;
        let answered = fetch(shop.address, with(paid(get(&target), &header), &origin)).await?;
        assert_eq!(answered.status, status);
        assert_eq!(answered.header("access-control-allow-origin"), Some(allowed), "{rest}");
        for answered in [&unpaid, &answered] {
            let exposed = list(answered, "access-control-expose-headers");
            assert!(readable.iter().all(|name| exposed.contains(&(*name).to_owned())), "{exposed:?}");
        }
        assert_eq!(
            rest == "/own",
            list(&answered, "access-control-expose-headers").contains(&"x-mine".to_owned())
        );
    }
    let plain = fetch(shop.address, get(AT)).await?;
    assert_eq!(plain.header("access-control-allow-origin"), None);
    shop.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upgrade_of_a_paid_route_is_refused_and_its_payment_stays_unused() -> Result<()> {
    let shop = Shop::open(ShopOptions::default()).await?;
    let upstream = Upstream::hello().await?;
    shop.sell(AT, &upstream)?;
    let (_, header) = customer(&shop).payment(AT).await?;
    let upgrade = [
        ("connection", "Upgrade"),
        ("upgrade", "websocket"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ];
    let refused = fetch(shop.address, with(paid(get(AT), &header), &upgrade)).await?;
    refused.expect_refusal(Reason::UpgradeRefused)?;
    assert!(refused.header("upgrade").is_some(), "{refused:?}");
    assert_eq!((upstream.count(), shop.payments().await?.len()), (0, 0));

    // What every request of some HTTP clients offers is ignored, here and behind the gate.
    let offered =
        [("connection", "Upgrade, HTTP2-Settings"), ("upgrade", "h2c"), ("http2-settings", "AAMAAABk")];
    let served = fetch(shop.address, with(paid(get(AT), &header), &offered)).await?;
    assert_eq!(served.status, StatusCode::OK);
    let heard = &upstream.heard()[0];
    assert_eq!(
        [heard.header("upgrade"), heard.header("connection"), heard.header("http2-settings")],
        [None, None, None]
    );
    shop.close().await
}
