//! What is large, comes in pieces, or is no ordinary request.

use super::Street;
use crate::{
    forward_auth::behind_a_proxy,
    gate_paths::{PAID, offers},
};
use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::{Method, Request, StatusCode, header::HeaderValue};
use obol_core::{Reason, WireVersion};
use obol_tests::{ProxyKind, Shop, Upstream, chunks, fetch, get, paid, raw, reply, send};
use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

async fn a_body_in_chunks_arrives_and_neither_its_trailers_nor_an_upgrade_do(kind: ProxyKind) -> Result<()> {
    let bodies = Arc::new(Mutex::new(Vec::new()));
    let told = Arc::clone(&bodies);
    let service = Upstream::start(move |request| {
        let told = Arc::clone(&told);
        async move {
            let body = request.into_body().collect().await.expect("a whole body");
            let trailers = body.trailers().map(|trailers| trailers.contains_key("x-payment-payer"));
            told.lock().expect("not poisoned").push((body.to_bytes(), trailers));
            reply(StatusCode::OK, "hello")
        }
    });
    let Some(street) = Street::open(kind, service.await?).await? else { return Ok(()) };
    let (_, payment) = street.customer(WireVersion::V2).payment(PAID).await?;
    let sent = format!(
        "POST {PAID} HTTP/1.1\r\nHost: {}\r\n{}: {}\r\nConnection: TE, Upgrade, close\r\nTE: trailers\r\n\
         Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\
         Trailer: X-Payment-Payer\r\nTransfer-Encoding: chunked\r\n\r\n\
         2\r\nhi\r\n3\r\nyou\r\n0\r\nX-Payment-Payer: forged\r\n\r\n",
        street.proxy.address, payment.name, payment.value
    );
    let answers = raw(street.proxy.address, sent.as_bytes()).await?;
    ensure!(answers.iter().map(|answer| answer.status).eq([200]), "{answers:?}");
    let bodies = bodies.lock().expect("not poisoned").clone();
    assert_eq!(bodies, [("hiyou".into(), None)]);
    assert_eq!(street.service.heard()[0].header("upgrade"), None);
    assert_eq!(street.service.heard()[0].header("x-payment-payer"), Some(street.payer()));
    street.shop.close().await
}

async fn an_unpaid_body_without_end_is_refused_all_the_same(kind: ProxyKind) -> Result<()> {
    let Some(street) = Street::open(kind, Upstream::hello().await?).await? else { return Ok(()) };
    let (writer, body) = chunks();
    // More than Go's servers read before they answer; its end never comes.
    let written = tokio::spawn(async move {
        for _ in 0..16 {
            // Who was answered need not read on.
            let _ = writer.send(Ok(Bytes::from_static(&[b'x'; 64 * 1024]))).await;
        }
        writer
    });
    let mut request = Request::new(body);
    *request.method_mut() = Method::POST;
    *request.uri_mut() = PAID.parse()?;
    let answered = tokio::time::timeout(Duration::from_secs(30), send(street.proxy.address, request));
    let answered = answered.await.context("no answer before the body")??;
    assert_eq!(answered.status(), StatusCode::PAYMENT_REQUIRED);
    drop(answered);
    drop(written.await?);
    assert_eq!(street.service.count(), 0);
    street.shop.close().await
}

async fn long_addresses_and_large_payments_come_to_the_gate(kind: ProxyKind) -> Result<()> {
    let Some(street) = Street::open(kind, Upstream::hello().await?).await? else { return Ok(()) };
    let long = format!("{PAID}/{}", "a".repeat(30_000));
    let answered = fetch(street.proxy.address, get(&long)).await?;
    answered.expect_refusal(Reason::PaymentRequired)?;
    let resource = format!("http://{}{long}", street.proxy.address);
    assert_eq!(answered.challenge()?["resource"]["url"], resource);
    let mut request = get(PAID);
    request.headers_mut().insert("payment-signature", HeaderValue::from_str(&"A".repeat(16 * 1024))?);
    fetch(street.proxy.address, request).await?.expect_refusal(Reason::InvalidPayload)?;
    assert_eq!(street.service.count(), 0);
    street.shop.close().await
}

async fn a_waived_payment_passes_once_without_a_receipt(kind: ProxyKind) -> Result<()> {
    let mut options = behind_a_proxy()?;
    options.forward_auth.verify_only = true;
    let (shop, service) = (Shop::open(options).await?, Upstream::hello().await?);
    shop.publish(&offers(&shop, &service))?;
    let Some(street) = Street::before(kind, shop, service).await? else { return Ok(()) };
    let (_, payment) = street.customer(WireVersion::V2).payment(PAID).await?;
    let answered = fetch(street.proxy.address, paid(get(PAID), &payment)).await?;
    assert_eq!(answered.status, StatusCode::OK);
    assert_eq!(
        (answered.headers.get("payment-response"), answered.headers.get("x-payment-response")),
        (None, None)
    );
    let again = fetch(street.proxy.address, paid(get(PAID), &payment)).await?;
    again.expect_refusal(Reason::AlreadyServed)?;
    assert_eq!(street.service.count(), 1);
    street.shop.close().await
}

with_each_proxy! {
    a_body_in_chunks_arrives_and_neither_its_trailers_nor_an_upgrade_do
    an_unpaid_body_without_end_is_refused_all_the_same
    long_addresses_and_large_payments_come_to_the_gate
    a_waived_payment_passes_once_without_a_receipt
}
