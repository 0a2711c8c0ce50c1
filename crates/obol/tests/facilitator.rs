//! `obol facilitator` as its callers meet it: with tokens, stopped, and killed at each step of a
//! settlement, after which the next process tells what became of it, and nothing is settled twice.

use anyhow::{Context, Result, bail, ensure};
use futures_util::{StreamExt, TryStreamExt, stream};
use obol_core::WireVersion;
use obol_devchain::{Devchain, Mining, Options};
use obol_tests::{Answered, Buyer, fetch, get, price, question, request, until};
use serde_json::{Value, json};
use std::{
    fs, net::SocketAddr, os::unix::process::ExitStatusExt, path::Path, process::Stdio, time::Duration,
};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
};

/// What a settlement passes, before and after each commit and each call.
const STEPS: [&str; 11] = [
    "rpc.reads",
    "ledger.reserve",
    "ledger.owe",
    "rpc.eth_getTransactionCount",
    "ledger.store-batch",
    "rpc.eth_sendRawTransaction",
    "ledger.taken",
    "rpc.receipts",
    "ledger.include",
    "ledger.start-delivery",
    "ledger.finish-delivery",
];

const TOKEN: &str = "0123456789abcdef";

/// Each has a chain, and waits for the dead one's lease to run out.
const AT_ONCE: usize = 6;

struct Facilitator {
    child: Child,
    address: SocketAddr,
}

impl Facilitator {
    /// `more` are further flags; `stop_at` names where it dies.
    async fn start(folder: &Path, chain: &Devchain, more: &[&str], stop_at: &str) -> Result<Self> {
        let mut child = Command::new(env!("CARGO_BIN_EXE_obol"))
            .args(["facilitator", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"])
            .args(["--ledger", "ledger.db", "--settler-key-file", "settler.key"])
            .args(["--rpc", &format!("base-sepolia={}", chain.url())])
            .args(more)
            .current_dir(folder)
            .env("OBOL_STOP_AT", stop_at)
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let mut lines = BufReader::new(child.stderr.take().context("stderr")?).lines();
        while let Some(line) = lines.next_line().await? {
            ensure!(!line.contains(TOKEN), "{line}");
            if let Some((_, rest)) = line.split_once("address=") {
                let address = rest.split(' ').next().context("an address")?.parse()?;
                // Whoever does not read what it says stops it.
                tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
                return Ok(Self { child, address });
            }
        }
        bail!("it ended without an address")
    }

    /// The answer, or none when there is none.
    async fn settle(&self, body: &str) -> Result<Option<Value>> {
        self.settle_as(body, "").await.ok().map(|answered| answered.json()).transpose()
    }

    async fn settle_as(&self, body: &str, token: &str) -> Result<Answered> {
        let mut request = request(hyper::Method::POST, "/settle", body.to_owned());
        request.headers_mut().insert("content-type", "application/json".parse()?);
        request.headers_mut().insert("authorization", format!("Bearer {token}").parse()?);
        fetch(self.address, request).await
    }
}

async fn killed_at(point: String) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mining = Mining::Interval(Duration::from_millis(200));
    let chain = Devchain::start(Options { mining, ..Options::default() }).await?;
    fs::write(folder.path().join("settler.key"), chain.settler().key.to_string())?;
    let requirement = price(chain.seller());
    let payment = Buyer::of(chain.buyers()[0]).pay(&requirement);
    let body = question(&payment, &requirement, WireVersion::V2).to_string();
    let mut first = Facilitator::start(folder.path(), &chain, &[], &point).await?;
    let answer = first.settle(&body).await?;
    ensure!(answer.is_none(), "{point} was not reached before the answer: {answer:?}");
    let status = tokio::time::timeout(Duration::from_secs(30), first.child.wait()).await;
    ensure!(status.context("it lives")??.signal() == Some(9), "{point}");
    let next = Facilitator::start(folder.path(), &chain, &[], "").await?;
    let settled = until(format!("settled after {point}"), async || {
        let answer = next.settle(&body).await?.context("an answer")?;
        Ok((answer["success"] == true).then_some(answer))
    })
    .await?;
    assert_eq!(next.settle(&body).await?.context("an answer")?, settled, "{point}");
    let seller = chain.seller().address;
    let transfers = chain.transfer_events(0).await?;
    let ours: Vec<_> = transfers.iter().filter(|transfer| transfer.to == seller).collect();
    assert_eq!(ours.len(), 1, "{point}");
    assert_eq!(settled["transaction"], ours[0].transaction.to_string(), "{point}");
    let verified = Command::new(env!("CARGO_BIN_EXE_obol"))
        .args(["ledger", "verify", "--ledger", "ledger.db"])
        .args(["--rpc", &format!("base-sepolia={}", chain.url())])
        .current_dir(folder.path())
        .output()
        .await?;
    ensure!(verified.status.success(), "{point}: {}", String::from_utf8_lossy(&verified.stdout));
    drop(next);
    chain.stop().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_facilitator_killed_at_any_step_of_a_settlement_settles_it_once_and_tells() -> Result<()> {
    let sides = STEPS.iter().flat_map(|step| match step.starts_with("ledger.") {
        true => [format!("{step}.before-commit"), format!("{step}.after-commit")],
        false => [format!("{step}.before"), format!("{step}.after")],
    });
    stream::iter(sides).map(killed_at).buffer_unordered(AT_ONCE).try_collect().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_facilitator_settles_for_a_caller_with_a_token_and_stops_when_told() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let chain = Devchain::start(Options::default()).await?;
    fs::write(folder.path().join("settler.key"), chain.settler().key.to_string())?;
    fs::write(folder.path().join("callers.txt"), format!("shop {TOKEN}\n"))?;
    let mut facilitator =
        Facilitator::start(folder.path(), &chain, &["--callers-file", "callers.txt"], "").await?;
    let requirement = price(chain.seller());
    let payment = Buyer::of(chain.buyers()[0]).pay(&requirement);
    let body = question(&payment, &requirement, WireVersion::V2).to_string();
    assert_eq!(facilitator.settle_as(&body, "not the token at all").await?.status, 401);
    let settled = facilitator.settle_as(&body, TOKEN).await?.json()?;
    assert_eq!(settled["success"], true, "{settled}");
    let id = facilitator.child.id().context("it has ended")?.to_string();
    ensure!(Command::new("kill").args(["-TERM", &id]).status().await?.success());
    ensure!(facilitator.child.wait().await?.success());
    let earned = Command::new(env!("CARGO_BIN_EXE_obol"))
        .args(["ledger", "earnings", "--output", "json", "--ledger", "ledger.db"])
        .current_dir(folder.path())
        .output()
        .await?;
    let text = String::from_utf8_lossy(&earned.stdout);
    ensure!(text.contains("\"shop\"") && text.contains("\"10000\""), "{text}");
    chain.stop().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_sold_is_listed_and_still_is_after_a_restart() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let chain = Devchain::start(Options::default()).await?;
    fs::write(folder.path().join("settler.key"), chain.settler().key.to_string())?;
    let mut first = Facilitator::start(folder.path(), &chain, &["--discovery", "catalogue.json"], "").await?;
    let requirement = price(chain.seller());
    let payment = Buyer::of(chain.buyers()[0]).pay(&requirement);
    let mut body = question(&payment, &requirement, WireVersion::V2);
    body["paymentPayload"]["extensions"]["bazaar"] =
        json!({"info": {"input": {"type": "http", "method": "GET"}}, "schema": {"type": "object"}});
    let settled = first.settle_as(&body.to_string(), "").await?;
    ensure!(settled.headers.contains_key("extension-responses"), "{settled:?}");
    let id = first.child.id().context("it has ended")?.to_string();
    ensure!(Command::new("kill").args(["-TERM", &id]).status().await?.success());
    ensure!(first.child.wait().await?.success());
    let next = Facilitator::start(folder.path(), &chain, &["--discovery", "catalogue.json"], "").await?;
    let listed = fetch(next.address, get("/discovery/resources")).await?.json()?;
    assert_eq!(listed["items"][0]["resource"], "https://shop.example/x");
    drop(next);
    chain.stop().await;
    Ok(())
}
