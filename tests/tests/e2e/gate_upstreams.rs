//! No service, no charge: what upstreams can do wrong, and what it costs the buyer.

use anyhow::{Context, Result};
use hyper::{StatusCode, header::HeaderValue};
use obol_core::{Reason, WireVersion};
use obol_ledger::State;
use obol_tests::{Buyer, Customer, Shop, ShopOptions, Upstream, fetch, get, paid, reply};
use std::{net::SocketAddr, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    task::JoinHandle,
};

const AT: &str = "/services/paid";

fn customer(shop: &Shop) -> Customer {
    Customer::new(Buyer::of(shop.chain.buyers()[0]), shop.address, WireVersion::V2)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_below_400_is_charged_and_no_other_and_both_pass_as_they_are() -> Result<()> {
    let shop = Shop::open(ShopOptions::default()).await?;
    let upstream = Upstream::start(|request| {
        let code = request.uri().path().trim_start_matches('/').parse().expect("a status");
        let status = StatusCode::from_u16(code).expect("a status");
        let mut reply =
            reply(status, if matches!(code, 204 | 304) { String::new() } else { format!("said {code}") });
        for (name, value) in
            [("location", "https://elsewhere.example/made-for-you"), ("x-mine", "yes"), ("retry-after", "77")]
        {
            reply.headers_mut().insert(name, HeaderValue::from_static(value));
        }
        std::future::ready(reply)
    })
    .await?;
    shop.sell(AT, &upstream)?;
    let customer = customer(&shop);
    let sale = customer.challenge(AT).await?;
    for code in
        [200, 201, 204, 206, 301, 302, 304, 307, 399, 400, 401, 402, 404, 409, 429, 451, 500, 502, 503, 599]
    {
        let (payment, header) = customer.pay(&sale)?;
        let answered = fetch(shop.address, paid(get(&format!("{AT}/{code}")), &header)).await?;
        assert_eq!(answered.status.as_u16(), code);
        let said = if matches!(code, 204 | 304) { String::new() } else { format!("said {code}") };
        assert_eq!(answered.body, said);
        for (name, value) in
            [("location", "https://elsewhere.example/made-for-you"), ("x-mine", "yes"), ("retry-after", "77")]
        {
            assert_eq!(answered.header(name), Some(value), "{code} {name}");
        }
        let record = shop.ledger.payment_by_key(payment.key()).await?.context("not stored")?;
        if code < 400 {
            customer.receipt(&answered)?;
            assert!(record.state().is_paid(), "{code}: {record:?}");
            assert_eq!(answered.header("x-payment-settled"), None);
        } else {
            assert_eq!(record.state(), State::Released, "{code}");
            assert_eq!(answered.header("x-payment-settled"), Some("false"));
            assert_eq!(answered.header("payment-response"), None);
        }
    }
    shop.close().await
}

/// An upstream that reads a little and then does this; the connection closes after it.
async fn says(bytes: &'static [u8], then: Duration) -> Result<(SocketAddr, JoinHandle<()>)> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let address = listener.local_addr()?;
    let server = tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut head = [0; 1024];
            let _ = stream.read(&mut head).await;
            let _ = stream.write_all(bytes).await;
            tokio::time::sleep(then).await;
        }
    });
    Ok((address, server))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_that_fails_before_its_head_is_whole_costs_nothing() -> Result<()> {
    const NOW: Duration = Duration::ZERO;
    const NEVER: Duration = Duration::from_secs(600);
    const LONG: &[u8] = &{
        let mut head = [b'a'; 1024 * 1024];
        let start = b"HTTP/1.1 200 OK\r\nx: ";
        let mut at = 0;
        while at < start.len() {
            head[at] = start[at];
            at += 1;
        }
        head
    };
    let shop = Shop::open(ShopOptions::default()).await?;
    let good = Upstream::hello().await?;
    let customer = customer(&shop);
    let offer = shop.offer(AT, &good);
    for (what, bytes, then, reason) in [
        ("closes at once", &b""[..], NOW, Reason::UpstreamUnavailable),
        ("speaks something else", b"SSH-2.0-OpenSSH_9.9\r\n", NOW, Reason::UpstreamUnavailable),
        ("breaks off in its head", b"HTTP/1.1 200 OK\r\nContent-Le", NOW, Reason::UpstreamUnavailable),
        ("has a head without end", LONG, NOW, Reason::UpstreamUnavailable),
        (
            "changes the protocol unasked",
            b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n",
            NEVER,
            Reason::UpstreamUnavailable,
        ),
        ("never answers", b"", NEVER, Reason::UpstreamTimeout),
        ("never ends its head", b"HTTP/1.1 200 OK\r\nX-A: b\r\n", NEVER, Reason::UpstreamTimeout),
        ("only ever goes on", b"HTTP/1.1 100 Continue\r\n\r\n", NEVER, Reason::UpstreamTimeout),
    ] {
        let (address, server) = says(bytes, then).await?;
        let mut bad = offer.clone();
        bad.upstream.base = Some(format!("http://{address}"));
        if reason == Reason::UpstreamTimeout {
            bad.upstream.header_timeout = Duration::from_millis(500);
        }
        shop.publish(&[bad])?;
        let (payment, header) = customer.payment(AT).await?;
        let failed = fetch(shop.address, paid(get(AT), &header)).await?;
        let body = failed.expect_refusal(reason).context(what)?;
        assert_eq!(
            (&body["paymentVerified"], &body["paymentSettled"]),
            (&true.into(), &false.into()),
            "{what}"
        );
        assert_eq!(body["retriable"], true, "{what}");
        let record = shop.ledger.payment_by_key(payment.key()).await?.context("not stored")?;
        assert_eq!(record.state(), State::Released, "{what}");
        server.abort();

        shop.publish(std::slice::from_ref(&offer))?;
        assert_eq!(fetch(shop.address, paid(get(AT), &header)).await?.status, StatusCode::OK, "{what}");
    }
    shop.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_that_is_not_there_costs_nothing() -> Result<()> {
    let shop = Shop::open(ShopOptions::default()).await?;
    let good = Upstream::hello().await?;
    let customer = customer(&shop);
    // Bound, so that nobody else gets the port, and not listening.
    let nobody = tokio::net::TcpSocket::new_v4()?;
    nobody.bind(([127, 0, 0, 1], 0).into())?;
    let free = format!("http://{}", nobody.local_addr()?);
    for base in [free.as_str(), "http://no-such-host.invalid", "https://127.0.0.1:1"] {
        let mut offer = shop.offer(AT, &good);
        offer.upstream.base = Some(base.to_owned());
        shop.publish(&[offer])?;
        let (_, header) = customer.payment(AT).await?;
        let failed = fetch(shop.address, paid(get(AT), &header)).await?;
        failed.expect_refusal(Reason::UpstreamUnavailable).context(base.to_owned())?;
        let told = String::from_utf8_lossy(&failed.body);
        assert!(!told.contains("127.0.0.1") && !told.contains("invalid/"), "no inside addresses: {told}");
    }
    assert!(shop.payments().await?.iter().all(|payment| payment.state() == State::Released));
    assert_eq!(good.count(), 0);
    shop.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redirect_within_the_upstream_is_not_charged_and_leads_back_to_the_offer() -> Result<()> {
    let shop = Shop::open(ShopOptions::default()).await?;
    let upstream = Upstream::start(|request| {
        let reply = match request.uri().path() {
            "/sub/" => reply(StatusCode::OK, "the folder"),
            _ => {
                let mut moved = reply(StatusCode::MOVED_PERMANENTLY, "");
                moved.headers_mut().insert("location", HeaderValue::from_static("/sub/"));
                moved
            }
        };
        std::future::ready(reply)
    })
    .await?;
    shop.sell(AT, &upstream)?;
    let customer = customer(&shop);
    let (payment, header) = customer.payment(&format!("{AT}/sub")).await?;
    let moved = fetch(shop.address, paid(get(&format!("{AT}/sub")), &header)).await?;
    assert_eq!(
        (moved.status, moved.header("x-payment-settled")),
        (StatusCode::MOVED_PERMANENTLY, Some("false"))
    );
    let location = moved.header("location").context("a location")?.to_owned();
    assert_eq!(location, format!("{AT}/sub/"));
    // As clients follow it: with the same payment.
    let served = fetch(shop.address, paid(get(&location), &header)).await?;
    assert_eq!((served.status, &served.body[..]), (StatusCode::OK, &b"the folder"[..]));
    let records = shop.payments().await?;
    assert!(
        records.len() == 1 && records[0].state().is_paid() && records[0].key == payment.key(),
        "{records:?}"
    );
    shop.close().await
}
