//! What the gate refuses comes to the client as the gate said it.

use super::Street;
use crate::{
    forward_auth::{behind_a_proxy, mined},
    gate_paths::{PAID, offers},
};
use anyhow::{Context, Result, bail, ensure};
use hyper::{Method, StatusCode, header::HeaderValue};
use obol_core::{Reason, WireVersion};
use obol_devchain::Mining;
use obol_ledger::State;
use obol_tests::{ProxyKind, Shop, ShopOptions, Upstream, fetch, get, paid, request, until};
use obol_wire::Receipt;
use std::time::Duration;

async fn an_unpaid_client_gets_the_whole_challenge_for_the_proxys_own_address(kind: ProxyKind) -> Result<()> {
    let Some(street) = Street::open(kind, Upstream::hello().await?).await? else { return Ok(()) };
    let target = format!("{PAID}/x?y=1");
    for (method, host) in [
        (Method::GET, None),
        (Method::POST, None),
        (Method::GET, Some("shop.example:8443")),
        (Method::PUT, Some("shop.example")),
    ] {
        let body = if method == Method::GET { "" } else { "a body that nobody reads" };
        let mut asks = request(method, &target, body);
        if let Some(host) = host {
            asks.headers_mut().insert("host", HeaderValue::from_static(host));
        }
        let answered = fetch(street.proxy.address, asks).await?;
        let told = answered.expect_refusal(Reason::PaymentRequired)?;
        let host = host.map_or(street.proxy.address.to_string(), str::to_owned);
        let resource = format!("http://{host}{target}");
        assert_eq!(answered.challenge()?["resource"]["url"], resource);
        assert_eq!(told["accepts"][0]["resource"], resource);
        for (name, value) in
            [("content-type", "application/json"), ("cache-control", "no-store"), ("vary", "Accept")]
        {
            assert_eq!(answered.header(name), Some(value), "{name}");
        }
    }
    let mut of_browser = get(&target);
    of_browser.headers_mut().insert("accept", HeaderValue::from_static("text/html"));
    let page = fetch(street.proxy.address, of_browser).await?;
    assert_eq!(page.status, StatusCode::PAYMENT_REQUIRED);
    assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
    ensure!(page.body.starts_with(b"<!doctype html>"), "{page:?}");
    page.challenge()?;
    assert_eq!(street.service.count(), 0);
    street.shop.close().await
}

/// Longer than the second question takes on a busy machine, during which the first one waits.
const BUDGET: Duration = Duration::from_secs(5);

async fn every_refusal_passes_as_it_is(kind: ProxyKind) -> Result<()> {
    let mut options = ShopOptions { mining: Mining::Manual, ..behind_a_proxy()? };
    options.seller.timing.settle_budget = BUDGET;
    options.seller.timing.stuck = Duration::from_secs(600);
    let (shop, service) = (Shop::open(options).await?, Upstream::hello().await?);
    shop.publish(&offers(&shop, &service))?;
    let Some(street) = Street::before(kind, shop, service).await? else { return Ok(()) };
    let (customer, proxy) = (street.customer(WireVersion::V2), street.proxy.address);
    fetch(proxy, get("/services/none")).await?.expect_refusal(Reason::NoRoute)?;
    fetch(proxy, get("/services/paid;x")).await?.expect_refusal(Reason::PathRefused)?;
    let trace = request(Method::TRACE, PAID, "");
    ensure!(fetch(proxy, trace).await?.status == StatusCode::METHOD_NOT_ALLOWED);

    let (payment, header) = customer.payment(PAID).await?;
    let first = tokio::spawn(fetch(proxy, paid(get(PAID), &header)));
    until("a transaction is out", async || {
        let record = street.shop.ledger.payment_by_key(payment.key()).await?;
        Ok(record.is_some_and(|record| record.state() == State::Submitted).then_some(()))
    })
    .await?;
    let busy = fetch(proxy, paid(get(PAID), &header)).await?;
    busy.expect_refusal(Reason::InFlight)?;
    ensure!(busy.header("retry-after").is_some(), "{busy:?}");
    let late = first.await??;
    late.expect_refusal(Reason::SettlementPending)?;
    let Receipt::Unsettled { transaction: Some(_), .. } = customer.receipt(&late)? else { bail!("{late:?}") };
    assert_eq!(street.service.count(), 0);

    mined(&street.shop).await?;
    assert_eq!(fetch(proxy, paid(get(PAID), &header)).await?.status, StatusCode::OK);
    let again = fetch(proxy, paid(get(PAID), &header)).await?;
    again.expect_refusal(Reason::AlreadyServed)?;
    again.challenge().context("a payment that was used asks for another")?;
    assert_eq!(street.service.count(), 1);
    street.shop.close().await
}

async fn a_gate_that_is_down_lets_nothing_pass(kind: ProxyKind) -> Result<()> {
    let Some(street) = Street::open(kind, Upstream::hello().await?).await? else { return Ok(()) };
    let (_, header) = street.customer(WireVersion::V2).payment(PAID).await?;
    let Street { shop, service, proxy } = street;
    shop.close().await?;
    for request in [get(PAID), paid(get(PAID), &header), get("/services/none")] {
        let answered = fetch(proxy.address, request).await?;
        ensure!(answered.status.is_server_error(), "{answered:?}");
    }
    assert_eq!(service.count(), 0);
    Ok(())
}

with_each_proxy! {
    an_unpaid_client_gets_the_whole_challenge_for_the_proxys_own_address
    every_refusal_passes_as_it_is
    a_gate_that_is_down_lets_nothing_pass
}
