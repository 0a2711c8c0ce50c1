//! The 402 as programs and people get it.

use anyhow::{Context, Result, bail};
use hyper::header::HeaderValue;
use obol_core::{Amount, WireVersion};
use obol_devchain::USDC;
use obol_tests::{Answered, Buyer, Customer, Shop, ShopOptions, Upstream, fetch, get, raw};
use serde_json::json;

const AT: &str = "/services/paid";

async fn asked(shop: &Shop, target: &str, accept: Option<&'static str>) -> Result<Answered> {
    let mut request = get(target);
    if let Some(accept) = accept {
        request.headers_mut().insert("accept", HeaderValue::from_static(accept));
    }
    fetch(shop.address, request).await
}

#[tokio::test(flavor = "multi_thread")]
async fn programs_get_the_challenge_of_both_versions_in_their_published_shapes() -> Result<()> {
    let shop = Shop::open(ShopOptions::default()).await?;
    let upstream = Upstream::hello().await?;
    let mut offer = shop.offer(AT, &upstream);
    offer.description = "a \"service\" für <you> & \u{1f642}".to_owned();
    shop.publish(std::slice::from_ref(&offer))?;
    let url = format!("http://{}{AT}/x?y=z", shop.address);
    let pay_to = shop.chain.seller().address.to_checksum(None);
    let (asset, extra) = (USDC.to_checksum(None), json!({ "name": "USDC", "version": "2" }));
    for accept in [None, Some("*/*"), Some("application/json"), Some("text/event-stream")] {
        let answered = asked(&shop, &format!("{AT}/x?y=z"), accept).await?;
        assert_eq!(answered.status.as_u16(), 402);
        for (name, value) in
            [("content-type", "application/json"), ("cache-control", "no-store"), ("vary", "Accept")]
        {
            assert_eq!(answered.header(name), Some(value), "{name}");
        }
        let v2 = json!({
            "x402Version": 2,
            "error": "payment_required",
            "resource": { "url": url, "description": offer.description },
            "accepts": [{
                "scheme": "exact", "network": "eip155:84532", "amount": "10000", "asset": asset,
                "payTo": pay_to, "maxTimeoutSeconds": 600, "extra": extra,
            }],
        });
        assert_eq!(answered.challenge()?, v2);
        let body = answered.json()?;
        assert_eq!(body["x402Version"], 1);
        let v1 = json!([{
            "scheme": "exact", "network": "base-sepolia", "maxAmountRequired": "10000", "resource": url,
            "description": offer.description, "mimeType": "", "payTo": pay_to,
            "maxTimeoutSeconds": 600, "asset": asset, "extra": extra,
        }]);
        assert_eq!(body["accepts"], v1);
        assert_eq!((&body["reason"], &body["retriable"]), (&json!("payment_required"), &json!(true)));
    }
    shop.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn every_challenge_names_the_address_that_was_asked_for() -> Result<()> {
    let shop = Shop::open(ShopOptions::default()).await?;
    let upstream = Upstream::hello().await?;
    shop.publish(&[shop.offer(AT, &upstream)])?;
    let long = format!("/{}", "long".repeat(100));
    // Each twice, so that what is kept from one is there when the next is answered.
    for host in ["a.example", "b.example", "a.example", "a.example"] {
        for rest in ["", "", "/x", "/x", "/x?y=z", &long, &long, "/x"] {
            let request = format!("GET {AT}{rest} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
            let [answer] = &raw(shop.address, request.as_bytes()).await?[..] else { bail!("one answer") };
            let body: serde_json::Value = serde_json::from_slice(&answer.body)?;
            assert_eq!(body["accepts"][0]["resource"], json!(format!("http://{host}{AT}{rest}")));
        }
    }
    shop.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn each_way_to_pay_is_offered_and_taken() -> Result<()> {
    let shop = Shop::open(ShopOptions::default()).await?;
    let upstream = Upstream::hello().await?;
    let mut offer = shop.offer(AT, &upstream);
    let mut dearer = offer.accepts[0].clone();
    dearer.amount = Amount::from(20_000);
    dearer.pay_to = shop.chain.seller().address;
    offer.accepts.push(dearer);
    shop.publish(&[offer])?;
    for version in [WireVersion::V1, WireVersion::V2] {
        let customer = Customer::new(Buyer::of(shop.chain.buyers()[0]), shop.address, version);
        let mut sale = customer.challenge(AT).await?;
        assert_eq!(
            sale.offered.iter().map(|way| way.amount).collect::<Vec<_>>(),
            [10_000.into(), 20_000.into()]
        );
        sale.offered.remove(0);
        let (payment, header) = customer.pay(&sale)?;
        let answered = fetch(shop.address, obol_tests::paid(get(AT), &header)).await?;
        assert_eq!(answered.status.as_u16(), 200, "{answered:?}");
        let record = shop.ledger.payment_by_key(payment.key()).await?.context("not stored")?;
        assert_eq!(record.amount, Amount::from(20_000));
    }
    shop.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn people_get_a_page_that_runs_nothing_and_shows_markup_as_text() -> Result<()> {
    let shop = Shop::open(ShopOptions::default()).await?;
    let upstream = Upstream::hello().await?;
    let mut offer = shop.offer(AT, &upstream);
    offer.description = "</pre><script>alert('x')</script><img src=x onerror=alert(1)>".to_owned();
    shop.publish(&[offer])?;
    let chromium = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8";
    let answered = asked(&shop, AT, Some(chromium)).await?;
    assert_eq!(answered.status.as_u16(), 402);
    assert_eq!(answered.header("content-type"), Some("text/html; charset=utf-8"));
    assert_eq!(
        (answered.header("cache-control"), answered.header("vary")),
        (Some("no-store"), Some("Accept"))
    );
    let policy = answered.header("content-security-policy").context("no policy")?;
    assert!(policy.contains("default-src 'none'") && !policy.contains("script-src"), "{policy}");
    assert_eq!(answered.challenge()?["x402Version"], 2, "an agent in a browser can pay all the same");
    let page = std::str::from_utf8(&answered.body)?;
    for markup in ["<script", "<img", "</pre><"] {
        assert!(!page.replace("</pre></html>", "").contains(markup), "{page}");
    }
    assert!(page.contains("&lt;script&gt;") && page.contains("10000"), "{page}");
    assert!(page.contains(">0.01 USDC<") && page.contains("base-sepolia"), "{page}");

    // What the client itself sends is text too.
    let sent = format!(
        "GET {AT}/?\"><script>x</script> HTTP/1.1\r\nHost: a\"><script>y</script>\r\nAccept: text/html\r\n\
         Connection: close\r\n\r\n"
    );
    for answer in raw(shop.address, sent.as_bytes()).await? {
        let page = String::from_utf8_lossy(&answer.body).into_owned();
        assert!(!page.contains("<script"), "{page}");
    }
    assert_eq!(upstream.count(), 0);
    shop.close().await
}
