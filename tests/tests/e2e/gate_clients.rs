//! Published clients, unchanged and unconfigured, pay at the gate.

use anyhow::{Context, Result};
use http_body_util::BodyExt;
use hyper::StatusCode;
use obol_devchain::{Account, Mining};
use obol_tests::{
    Printed, PythonClient, Shop, ShopOptions, Upstream, client_script, npm_clients, reply, run_script,
};
use std::{net::SocketAddr, time::Duration};

pub(crate) const AT: &str = "/services/demo-hello/";

pub(crate) const BODY: &str = r#"{"model":"small","messages":[{"role":"user","content":"Grüße"}]}"#;

/// Answers with what it was sent.
pub(crate) async fn echo() -> Result<Upstream> {
    Ok(Upstream::start(|request| async move {
        let method = request.method().clone();
        let body = request.into_body().collect().await.map(|body| body.to_bytes()).unwrap_or_default();
        reply(StatusCode::OK, format!("{method} {}", String::from_utf8_lossy(&body)))
    })
    .await?)
}

/// Served, for a transaction that the chain has, with nothing of the payment seen behind the gate.
pub(crate) async fn check(
    shop: &Shop,
    upstream: &Upstream,
    printed: Printed,
    body: &str,
    network: &str,
) -> Result<()> {
    assert_eq!(printed.error, None);
    assert_eq!((printed.status, printed.body.as_deref()), (Some(200), Some(body)));
    let receipt = printed.receipt.context("no receipt")?;
    let payer = shop.chain.buyers()[0].address;
    assert!(receipt.success, "{receipt:?}");
    assert_eq!((receipt.network.as_str(), receipt.payer), (network, payer.to_checksum(None)));
    let transfers = shop.chain.transfer_events(0).await?;
    let transfer = transfers
        .iter()
        .find(|transfer| transfer.transaction.to_string() == receipt.transaction)
        .context("the receipt's transaction is not on the chain")?;
    assert_eq!((transfer.from, transfer.to), (payer, shop.chain.seller().address));
    let heard = upstream.heard();
    let last = heard.last().context("the upstream was not asked")?;
    for name in last.headers.keys() {
        assert!(name == "x-payment-payer" || !name.as_str().contains("payment"), "{name} arrived");
    }
    assert_eq!(last.header("x-payment-payer"), Some(payer.to_checksum(None)));
    Ok(())
}

/// Pays for a GET and a POST with what `client` does.
async fn pays<F>(network: &str, client: impl Fn(Account, SocketAddr, Option<&'static str>) -> F) -> Result<()>
where
    F: Future<Output = Result<Printed>>,
{
    // Clients take seconds to start, and minutes on a busy machine: blocks come all the same, or
    // the gate would take its endpoint for one that has stopped.
    let mining = Mining::Interval(Duration::from_secs(1));
    let shop = Shop::open(ShopOptions { mining, ..ShopOptions::default() }).await?;
    let upstream = echo().await?;
    shop.sell("/services/demo-hello", &upstream)?;
    let payer = shop.chain.buyers()[0];
    let printed = client(payer, shop.address, None).await?;
    check(&shop, &upstream, printed, "GET ", network).await?;
    let printed = client(payer, shop.address, Some(BODY)).await?;
    check(&shop, &upstream, printed, &format!("POST {BODY}"), network).await?;
    assert_eq!(upstream.count(), 2);
    assert_eq!(shop.payments().await?.len(), 2);
    shop.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_published_v2_client_pays_for_get_and_post_and_reads_its_receipt() -> Result<()> {
    let Some(packages) = npm_clients().await? else { return Ok(()) };
    pays("eip155:84532", |payer, shop, body| run_script(&packages, "pay-v2", payer, (shop, AT), body)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_published_v1_client_pays_for_get_and_post_and_reads_its_receipt() -> Result<()> {
    let Some(packages) = npm_clients().await? else { return Ok(()) };
    pays("base-sepolia", |payer, shop, body| run_script(&packages, "pay-v1", payer, (shop, AT), body)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_published_python_client_pays_for_get_and_post_and_reads_its_receipt() -> Result<()> {
    let Some(python) = PythonClient::fetched().await? else { return Ok(()) };
    pays("eip155:84532", |payer, shop, body| python.pay(payer, (shop, AT), body)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_scripts_that_pay_say_which_key_they_want() -> Result<()> {
    let Some(packages) = npm_clients().await? else { return Ok(()) };
    for script in ["pay-v1", "pay-v2"] {
        for key in [None, Some("0x1234")] {
            let mut node = client_script(&packages, script)?;
            node.arg("http://127.0.0.1:1/").env_remove("EVM_PRIVATE_KEY");
            node.envs(key.map(|key| ("EVM_PRIVATE_KEY", key)));
            let output = node.output().await?;
            let printed: Printed = serde_json::from_slice(&output.stdout)?;
            let error = printed.error.context("no error")?;
            assert!(error.contains("EVM_PRIVATE_KEY") && error.contains("64 hex digits"), "{error}");
            assert_eq!(output.status.code(), Some(1));
        }
    }
    Ok(())
}
