//! Published servers, unchanged, sell through the facilitator, and published clients pay them.

use anyhow::{Context, Result, ensure};
use futures_util::future::join_all;
use obol_core::WireVersion;
use obol_devchain::Mining;
use obol_facilitator_server::Callers;
use obol_tests::{
    CounterOptions, Customer, FacilitatorStage, Printed, PublishedServer, PythonClient, fetch, get,
    npm_clients, paid, run_script,
};
use std::time::Duration;

const TOKEN: &str = "0123456789abcdef";

async fn stage(callers: Callers) -> Result<FacilitatorStage> {
    // Servers and clients take seconds to start, and minutes on a busy machine: blocks come all the
    // same, or the facilitator would take its endpoint for one that has stopped.
    let mining = Mining::Interval(Duration::from_secs(1));
    FacilitatorStage::open(CounterOptions { mining, callers, ..CounterOptions::default() }).await
}

/// Served, for a transfer that the chain has.
async fn check(stage: &FacilitatorStage, printed: Printed, body: &str) -> Result<()> {
    assert_eq!((printed.error, printed.status, printed.body.as_deref()), (None, Some(200), Some(body)));
    let receipt = printed.receipt.context("no receipt")?;
    let (payer, seller) = (stage.chain.buyers()[0].address, stage.chain.seller().address);
    ensure!(receipt.success && receipt.payer == payer.to_checksum(None), "{receipt:?}");
    let transfers = stage.chain.transfer_events(0).await?;
    let paid = transfers.iter().find(|transfer| transfer.transaction.to_string() == receipt.transaction);
    let paid = paid.context("the receipt's transaction is not on the chain")?;
    assert_eq!((paid.from, paid.to), (payer, seller));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_published_v2_middleware_for_express_sells_through_the_facilitator() -> Result<()> {
    let Some(packages) = npm_clients().await? else { return Ok(()) };
    let stage = stage(Callers::parse(&format!("shop {TOKEN}"))?).await?;
    let seller = stage.chain.seller().address.to_checksum(None);
    let server = PublishedServer::node(&packages, "sell-v2", (stage.address, &seller), Some(TOKEN)).await?;
    assert_eq!(fetch(server.address, get("/paid")).await?.status, 402);
    let payer = stage.chain.buyers()[0];
    let printed = run_script(&packages, "pay-v2", payer, (server.address, "/paid"), None).await?;
    check(&stage, printed, "hello from Express").await?;
    stage.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_published_v1_middleware_for_express_sells_through_the_facilitator() -> Result<()> {
    let Some(packages) = npm_clients().await? else { return Ok(()) };
    let stage = stage(Callers::anybody()).await?;
    let seller = stage.chain.seller().address.to_checksum(None);
    let server = PublishedServer::node(&packages, "sell-v1", (stage.address, &seller), None).await?;
    let payer = stage.chain.buyers()[0];
    let printed = run_script(&packages, "pay-v1", payer, (server.address, "/paid"), None).await?;
    check(&stage, printed, "hello from Express").await?;
    stage.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_published_python_middleware_for_flask_sells_through_the_facilitator() -> Result<()> {
    let Some(python) = PythonClient::fetched().await? else { return Ok(()) };
    let stage = stage(Callers::anybody()).await?;
    let seller = stage.chain.seller().address.to_checksum(None);
    let server = PublishedServer::python(&python, (stage.address, &seller)).await?;
    assert_eq!(fetch(server.address, get("/paid")).await?.status, 402);
    let printed = python.pay(stage.chain.buyers()[0], (server.address, "/paid"), None).await?;
    check(&stage, printed, "hello from Flask").await?;
    stage.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_sent_to_a_published_server_many_times_at_once_is_served_once() -> Result<()> {
    let Some(packages) = npm_clients().await? else { return Ok(()) };
    let stage = stage(Callers::anybody()).await?;
    let seller = stage.chain.seller().address.to_checksum(None);
    let server = PublishedServer::node(&packages, "sell-v2", (stage.address, &seller), None).await?;
    let customer = Customer::new(stage.buyer(0), server.address, WireVersion::V2);
    let (_, header) = customer.payment("/paid").await?;
    let sent = (0..8).map(|_| fetch(server.address, paid(get("/paid"), &header)));
    let mut statuses = Vec::new();
    for answered in join_all(sent).await {
        statuses.push(answered?.status.as_u16());
    }
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 402, 402, 402, 402, 402, 402, 402]);
    stage.close().await
}
