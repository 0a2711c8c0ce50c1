//! Published clients, unchanged, pay through a proxy.

use super::Street;
use crate::{
    forward_auth::behind_a_proxy,
    gate_clients::{AT, BODY, check, echo},
};
use anyhow::{Context, Result, ensure};
use obol_devchain::{Account, Mining};
use obol_tests::{
    Printed, PrintedReceipt, ProxyKind, PythonClient, Shop, ShopOptions, fetch, get, npm_clients, run_script,
};
use std::{net::SocketAddr, time::Duration};

/// Pays for a GET and a POST with what `client` does.
async fn pays<F>(
    kind: ProxyKind,
    network: &str,
    client: impl Fn(Account, SocketAddr, Option<&'static str>) -> F,
) -> Result<()>
where
    F: Future<Output = Result<Printed>>,
{
    // As for the clients without a proxy.
    let mining = Mining::Interval(Duration::from_secs(1));
    let shop = Shop::open(ShopOptions { mining, ..behind_a_proxy()? }).await?;
    let service = echo().await?;
    shop.sell("/services/demo-hello", &service)?;
    let Some(Street { shop, service, proxy }) = Street::before(kind, shop, service).await? else {
        return Ok(());
    };
    for (sent, answer) in [(None, "GET ".to_owned()), (Some(BODY), format!("POST {BODY}"))] {
        let mut printed = client(shop.chain.buyers()[0], proxy.address, sent).await?;
        let network = if kind.gives_receipts() {
            network
        } else {
            ensure!(printed.receipt.is_none(), "{printed:?}");
            printed.receipt = Some(receipt_of_the_last(&shop, proxy.address).await?);
            "eip155:84532"
        };
        check(&shop, &service, printed, &answer, network).await?;
        let target = service.heard().last().map(|heard| heard.target.to_string());
        assert_eq!(target.as_deref(), Some(AT));
    }
    assert_eq!((service.count(), shop.payments().await?.len()), (2, 2));
    shop.close().await
}

/// From its own address, which the payment's terms tell its payer.
async fn receipt_of_the_last(shop: &Shop, proxy: SocketAddr) -> Result<PrintedReceipt> {
    let payments = shop.payments().await?;
    let key = payments.last().context("no payment")?.key;
    let target = format!("/receipts/{}/{}/{}/{}", key.chain, key.asset, key.payer, key.nonce);
    let answered = fetch(proxy, get(&target)).await?;
    ensure!(answered.header("payment-response").is_some(), "{answered:?}");
    Ok(serde_json::from_slice(&answered.body)?)
}

async fn the_published_v2_client_pays_through_a_proxy(kind: ProxyKind) -> Result<()> {
    let Some(packages) = npm_clients().await? else { return Ok(()) };
    let pay = |payer, proxy, body| run_script(&packages, "pay-v2", payer, (proxy, AT), body);
    pays(kind, "eip155:84532", pay).await
}

async fn the_published_v1_client_pays_through_a_proxy(kind: ProxyKind) -> Result<()> {
    let Some(packages) = npm_clients().await? else { return Ok(()) };
    let pay = |payer, proxy, body| run_script(&packages, "pay-v1", payer, (proxy, AT), body);
    pays(kind, "base-sepolia", pay).await
}

async fn the_published_python_client_pays_through_a_proxy(kind: ProxyKind) -> Result<()> {
    let Some(python) = PythonClient::fetched().await? else { return Ok(()) };
    pays(kind, "eip155:84532", |payer, proxy, body| python.pay(payer, (proxy, AT), body)).await
}

with_each_proxy! {
    the_published_v2_client_pays_through_a_proxy
    the_published_v1_client_pays_through_a_proxy
    the_published_python_client_pays_through_a_proxy
}
