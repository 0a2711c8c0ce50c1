//! Which headers pass the gate, and whom it believes.

use anyhow::Result;
use http_body_util::BodyExt;
use hyper::{
    Request, StatusCode,
    header::{HeaderName, HeaderValue},
};
use obol_core::WireVersion;
use obol_tests::{
    Answered, Buyer, Customer, Heard, Shop, ShopOptions, Upstream, fetch, get, paid, raw, reply, send,
};
use obol_verifier::TrustedProxies;
use obol_wire::Receipt;
use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
};

const AT: &str = "/services/demo-hello";

/// What the gate itself says to the upstream.
const FROM_THE_GATE: [&str; 5] =
    ["host", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-payment-payer"];

/// Headers that are the gate's to set, or that say who asks or what is asked for.
pub(crate) const FORGED: [&str; 33] = [
    "X-Payment-Payer",
    "X_Payment_Payer",
    "x.payment.payer",
    "X-Payment_Payer",
    "X-Payment-Verified",
    "X-Payment-Settled",
    "X_PAYMENT",
    "Payment_Signature",
    "PAYMENT-RESPONSE",
    "X-Payment-Response",
    "Payment-Required",
    "X-Verified-Wallet",
    "x_verified_wallet",
    "Sign-In-With-X",
    "Forwarded",
    "X-Forwarded-For",
    "X_Forwarded_For",
    "X-Forwarded-Host",
    "X-Forwarded-Proto",
    "X-Forwarded-Port",
    "X-Forwarded-Prefix",
    "X-Forwarded-Uri",
    "X-Forwarded-Method",
    "X-Forwarded-Server",
    "X-Original-URL",
    "X-Original-URI",
    "X-Rewrite-URL",
    "X-HTTP-Method-Override",
    "X-Real-IP",
    "X-Obol-Job",
    "X_Obol_Job",
    "Origin",
    "Sec-Fetch-Site",
];

pub(crate) fn with<B>(mut request: Request<B>, headers: &[(&'static str, &'static str)]) -> Request<B> {
    for (name, value) in headers {
        let name = HeaderName::from_bytes(name.as_bytes()).expect("a name");
        request.headers_mut().append(name, HeaderValue::from_static(value));
    }
    request
}

fn customer(shop: &Shop) -> Customer {
    Customer::new(Buyer::of(shop.chain.buyers()[0]), shop.address, WireVersion::V2)
}

/// Pays for a request with these headers; what came back, and what the upstream heard.
async fn sold(
    shop: &Shop,
    upstream: &Upstream,
    headers: &[(&'static str, &'static str)],
) -> Result<(Answered, Heard)> {
    let (_, payment) = customer(shop).payment(AT).await?;
    let answered = fetch(shop.address, paid(with(get(AT), headers), &payment)).await?;
    let heard = upstream.heard().pop().expect("the upstream was asked");
    Ok((answered, heard))
}

fn names(heard: &Heard) -> BTreeSet<&str> {
    heard.headers.keys().map(HeaderName::as_str).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn forged_identity_never_arrives_in_any_spelling_and_the_true_payer_does() -> Result<()> {
    let shop = Shop::open(ShopOptions::default()).await?;
    let upstream = Upstream::hello().await?;
    shop.sell(AT, &upstream)?;
    let mut headers: Vec<_> = FORGED.iter().map(|name| (*name, "forged")).collect();
    headers.extend([("X-Mine", "one"), ("X-Mine", "two"), ("Cookie", "a=b")]);
    let (answered, heard) = sold(&shop, &upstream, &headers).await?;
    assert_eq!(answered.status, StatusCode::OK);
    let mut expected = BTreeSet::from(FROM_THE_GATE);
    expected.extend(["x-mine", "cookie"]);
    assert_eq!(names(&heard), expected);
    let payer = shop.chain.buyers()[0].address.to_checksum(None);
    for (name, value) in [
        ("x-payment-payer", payer.as_str()),
        ("x-forwarded-for", "127.0.0.1"),
        ("x-forwarded-host", &shop.address.to_string()),
        ("x-forwarded-proto", "http"),
        ("host", upstream.base().trim_start_matches("http://")),
        ("x-mine", "one, two"),
    ] {
        assert_eq!(heard.header(name).as_deref(), Some(value), "{name}");
    }
    shop.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_cannot_have_the_gates_own_headers_dropped_as_of_one_connection() -> Result<()> {
    let shop = Shop::open(ShopOptions::default()).await?;
    let upstream = Upstream::hello().await?;
    shop.sell(AT, &upstream)?;
    let headers = [
        ("Connection", "x-payment-payer, X-Forwarded-For,x-hop"),
        ("Connection", "host, authorization, payment-signature"),
        ("X-Hop", "dropped"),
        ("Keep-Alive", "timeout=5"),
        ("Proxy-Connection", "keep-alive"),
        ("Proxy-Authorization", "Basic eDp5"),
        ("TE", "trailers"),
        ("Trailer", "x-payment-payer"),
        ("Authorization", "Bearer mine"),
    ];
    let (answered, heard) = sold(&shop, &upstream, &headers).await?;
    assert_eq!(answered.status, StatusCode::OK);
    let mut expected = BTreeSet::from(FROM_THE_GATE);
    expected.insert("authorization");
    assert_eq!(names(&heard), expected);
    shop.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_upstreams_credential_replaces_the_clients_and_only_where_there_is_one() -> Result<()> {
    let shop = Shop::open(ShopOptions::default()).await?;
    let upstream = Upstream::hello().await?;
    let mut offer = shop.offer(AT, &upstream);
    shop.publish(std::slice::from_ref(&offer))?;
    let mine = [("Authorization", "Bearer mine")];
    let (_, heard) = sold(&shop, &upstream, &mine).await?;
    assert_eq!(heard.header("authorization").as_deref(), Some("Bearer mine"));

    offer.upstream.authorization = Some("Bearer the-sellers".to_owned());
    shop.publish(&[offer])?;
    for headers in
        [&mine[..], &[], &[("Authorization", "a"), ("Authorization", "b"), ("Connection", "authorization")]]
    {
        let (answered, heard) = sold(&shop, &upstream, headers).await?;
        assert_eq!(heard.header("authorization").as_deref(), Some("Bearer the-sellers"));
        assert!(!format!("{answered:?}").contains("the-sellers"));
    }
    shop.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_can_neither_forge_receipts_nor_pass_headers_of_its_connection() -> Result<()> {
    let shop = Shop::open(ShopOptions::default()).await?;
    let status = Arc::new(Mutex::new(StatusCode::OK));
    let answers = Arc::clone(&status);
    let upstream = Upstream::start(move |_| {
        let mut reply = reply(*answers.lock().expect("not poisoned"), "hello");
        for (name, value) in [
            ("payment-response", "forged"),
            ("payment_response", "forged"),
            ("x-payment-response", "forged"),
            ("x.payment.response", "forged"),
            ("payment-required", "forged"),
            ("x-payment-settled", "forged"),
            ("connection", "x-hop"),
            ("x-hop", "dropped"),
            ("keep-alive", "timeout=5"),
            ("proxy-authenticate", "Basic"),
            ("trailer", "payment-response"),
            ("upgrade", "h2c"),
            ("etag", "\"1\""),
            ("cache-control", "public, max-age=60"),
        ] {
            reply.headers_mut().append(name, HeaderValue::from_static(value));
        }
        std::future::ready(reply)
    })
    .await?;
    shop.sell(AT, &upstream)?;

    let (served, _) = sold(&shop, &upstream, &[]).await?;
    assert!(matches!(customer(&shop).receipt(&served)?, Receipt::Settled { .. }));
    let expected =
        ["cache-control", "content-length", "date", "etag", "payment-response", "x-payment-response"];
    assert_eq!(
        served.headers.keys().map(HeaderName::as_str).collect::<BTreeSet<_>>(),
        BTreeSet::from(expected)
    );
    let cached: Vec<_> = served.headers.get_all("cache-control").iter().collect();
    assert_eq!(cached.last().copied(), Some(&HeaderValue::from_static("private")));

    *status.lock().expect("not poisoned") = StatusCode::NOT_FOUND;
    let (refused, _) = sold(&shop, &upstream, &[]).await?;
    assert_eq!((refused.status, refused.header("x-payment-settled")), (StatusCode::NOT_FOUND, Some("false")));
    let expected = ["cache-control", "content-length", "date", "etag", "x-payment-settled"];
    assert_eq!(
        refused.headers.keys().map(HeaderName::as_str).collect::<BTreeSet<_>>(),
        BTreeSet::from(expected)
    );
    shop.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn trailers_carry_no_forged_header_in_either_direction() -> Result<()> {
    let shop = Shop::open(ShopOptions::default()).await?;
    let seen = Arc::new(Mutex::new(Vec::new()));
    let sees = Arc::clone(&seen);
    let upstream = Upstream::start(move |request| {
        let sees = Arc::clone(&sees);
        async move {
            let collected = request.into_body().collect().await.expect("a whole body");
            sees.lock().expect("not poisoned").push(collected.trailers().cloned());
            let forged = [(HeaderName::from_static("payment-response"), HeaderValue::from_static("forged"))];
            let trailers = std::future::ready(Some(Ok(forged.into_iter().collect())));
            let mut reply = reply(StatusCode::OK, "hello").map(|body| body.with_trailers(trailers).boxed());
            reply.headers_mut().insert("trailer", HeaderValue::from_static("payment-response"));
            reply.headers_mut().insert("transfer-encoding", HeaderValue::from_static("chunked"));
            reply
        }
    })
    .await?;
    shop.sell(AT, &upstream)?;
    let (_, payment) = customer(&shop).payment(AT).await?;
    let sent = format!(
        "POST {AT} HTTP/1.1\r\nHost: a\r\n{}: {}\r\nConnection: TE, close\r\nTE: trailers\r\n\
         Trailer: X-Payment-Payer\r\nTransfer-Encoding: chunked\r\n\r\n\
         2\r\nhi\r\n0\r\nX-Payment-Payer: forged\r\n\r\n",
        payment.name, payment.value
    );
    let answers = raw(shop.address, sent.as_bytes()).await?;
    assert_eq!((answers[0].status, answers[0].body.as_slice()), (200, &b"5\r\nhello\r\n0\r\n\r\n"[..]));
    let (_, payment) = customer(&shop).payment(AT).await?;
    let response = send(shop.address, paid(with(get(AT), &[("TE", "trailers")]), &payment)).await?;
    let collected = response.into_body().collect().await?;
    assert_eq!(collected.trailers(), None);
    let trailers = seen.lock().expect("not poisoned").clone();
    assert_eq!(trailers, [None, None]);
    shop.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn forwarded_headers_count_from_trusted_proxies_alone() -> Result<()> {
    let told = [
        ("X-Forwarded-Host", "shop.example"),
        ("X-Forwarded-Proto", "https"),
        ("X-Forwarded-For", "6.6.6.6, 203.0.113.9, 127.0.0.1"),
    ];
    for trusted in ["127.0.0.0/8", "10.0.0.0/8"] {
        let trusts = trusted.starts_with("127");
        let options =
            ShopOptions { trusted: TrustedProxies::new(vec![trusted.parse()?]), ..ShopOptions::default() };
        let shop = Shop::open(options).await?;
        let upstream = Upstream::hello().await?;
        shop.sell(AT, &upstream)?;
        let direct = shop.address.to_string();
        let (url, host, proto, client) = match trusts {
            true => ("https://shop.example".to_owned(), "shop.example", "https", "203.0.113.9"),
            false => (format!("http://{direct}"), direct.as_str(), "http", "127.0.0.1"),
        };
        let challenged = fetch(shop.address, with(get(&format!("{AT}/x?y=z")), &told)).await?;
        let resource = format!("{url}{AT}/x?y=z");
        assert_eq!(challenged.challenge()?["resource"]["url"], resource);
        assert_eq!(challenged.json()?["accepts"][0]["resource"], resource);

        let (_, heard) = sold(&shop, &upstream, &told).await?;
        for (name, value) in
            [("x-forwarded-host", host), ("x-forwarded-proto", proto), ("x-forwarded-for", client)]
        {
            assert_eq!(heard.header(name).as_deref(), Some(value), "{name}");
        }

        // An offer for one host is found by the name that counts.
        let mut offer = shop.offer(AT, &upstream);
        offer.host = Some("shop.example".to_owned());
        shop.publish(&[offer])?;
        let answered = fetch(shop.address, with(get(AT), &told)).await?;
        assert_eq!(answered.status.as_u16(), if trusts { 402 } else { 404 });
        shop.close().await?;
    }
    Ok(())
}
