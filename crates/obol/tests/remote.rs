//! `obol verifier` that has `obol facilitator` settle for it, as two processes.

use anyhow::{Context, Result, bail, ensure};
use obol_core::{Reason, WireVersion};
use obol_devchain::{Devchain, Options};
use obol_ledger::Ledger;
use obol_tests::{Buyer, Customer, Upstream, fetch, get, paid, until};
use serde_json::Value;
use std::{fs, net::SocketAddr, path::Path, process::Stdio};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
};

const TOKEN: &str = "0123456789abcdef";
const AT: &str = "/services/hello";

/// One role of the executable, killed with the test.
struct Role {
    _child: Child,
    address: SocketAddr,
}

impl Role {
    async fn start(folder: &Path, role: &str, args: &[String]) -> Result<Self> {
        let mut child = Command::new(env!("CARGO_BIN_EXE_obol"))
            .args([role, "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"])
            .args(args)
            .current_dir(folder)
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let mut lines = BufReader::new(child.stderr.take().context("stderr")?).lines();
        let mut log = String::new();
        while let Some(line) = lines.next_line().await? {
            ensure!(!line.contains(TOKEN), "{line}");
            if let Some((_, rest)) = line.split_once("address=") {
                let address = rest.split(' ').next().context("an address")?.parse()?;
                // Whoever does not read what it says stops it.
                tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
                return Ok(Self { _child: child, address });
            }
            log.push_str(&line);
        }
        bail!("it ended without an address: {log}")
    }
}

fn flags(flags: &[(&str, &str)]) -> Vec<String> {
    flags.iter().flat_map(|(flag, value)| [(*flag).to_owned(), (*value).to_owned()]).collect()
}

async fn facilitator(folder: &Path, chain: &Devchain) -> Result<Role> {
    fs::write(folder.join("settler.key"), chain.settler().key.to_string())?;
    fs::write(folder.join("callers.txt"), format!("shop {TOKEN}\n"))?;
    let rpc = format!("base-sepolia={}", chain.url());
    let args = [
        ("--ledger", "facilitator.db"),
        ("--settler-key-file", "settler.key"),
        ("--callers-file", "callers.txt"),
        ("--rpc", &rpc),
    ];
    Role::start(folder, "facilitator", &flags(&args)).await
}

async fn verifier(folder: &Path, facilitator: &Role, token: &str) -> Result<Role> {
    let url = format!("http://{}", facilitator.address);
    fs::write(folder.join("tokens.txt"), format!("{url} {token}\n"))?;
    let named = format!("base-sepolia={url}");
    let args = [
        ("--ledger", "obol.db"),
        ("--offers", "offers"),
        ("--facilitator", named.as_str()),
        ("--facilitator-tokens-file", "tokens.txt"),
    ];
    Role::start(folder, "verifier", &flags(&args)).await
}

fn offer(folder: &Path, upstream: &Upstream, chain: &Devchain) -> Result<()> {
    fs::create_dir(folder.join("offers"))?;
    let manifest = format!(
        "apiVersion: obol.org/v1alpha1\nkind: ServiceOffer\nmetadata: {{name: hello}}\nspec:\n  upstream: {{url: {}}}\n  \
         payment:\n    network: base-sepolia\n    payTo: \"{}\"\n    price: {{perRequest: \"0.01\"}}\n",
        upstream.base(),
        chain.seller().address.to_checksum(None)
    );
    Ok(fs::write(folder.join("offers/hello.yaml"), manifest)?)
}

async fn ledger(folder: &Path, args: &[&str]) -> Result<Value> {
    let told = Command::new(env!("CARGO_BIN_EXE_obol"))
        .arg("ledger")
        .args(args)
        .args(["--ledger", "obol.db", "--output", "json"])
        .current_dir(folder)
        .output()
        .await?;
    ensure!(told.status.success(), "{args:?}: {}", String::from_utf8_lossy(&told.stderr));
    Ok(serde_json::from_slice(&told.stdout)?)
}

/// Once it has read its offers.
async fn customer(chain: &Devchain, verifier: &Role) -> Result<Customer> {
    let customer = Customer::new(Buyer::of(chain.buyers()[0]), verifier.address, WireVersion::V2);
    until("offers are loaded", async || {
        Ok((fetch(verifier.address, get(AT)).await?.status == 402).then_some(()))
    })
    .await?;
    Ok(customer)
}

/// By a seller who has neither a key nor an endpoint.
async fn sell_one(folder: &Path, chain: &Devchain) -> Result<()> {
    let upstream = Upstream::hello().await?;
    offer(folder, &upstream, chain)?;
    let facilitator = facilitator(folder, chain).await?;
    let seller = verifier(folder, &facilitator, TOKEN).await?;
    assert_eq!(customer(chain, &seller).await?.buy(AT).await?.status, 200);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_seller_without_key_or_endpoint_sells_on_a_facilitators_word_and_checks_it_later() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let (folder, chain) = (folder.path(), Devchain::start(Options::default()).await?);
    sell_one(folder, &chain).await?;

    let earned = ledger(folder, &["earnings"]).await?;
    assert_eq!((&earned[0]["amount"], &earned[0]["claimed_amount"]), (&"0".into(), &"10000".into()));
    let listed = ledger(folder, &["list"]).await?;
    assert_eq!((&listed[0]["state"], &listed[0]["evidence"]), (&"claimed".into(), &"claimed".into()));
    // What it says is so; and when that is written down, it is evidence.
    let rpc = format!("base-sepolia={}", chain.url());
    let agrees = ledger(folder, &["verify", "--rpc", &rpc]).await?;
    assert_eq!((&agrees["agrees"], &agrees["chains"][0]["matched"]), (&true.into(), &1.into()));
    ledger(folder, &["reconcile", "--rpc", &rpc]).await?;
    let earned = ledger(folder, &["earnings"]).await?;
    assert_eq!((&earned[0]["amount"], &earned[0]["claimed_amount"]), (&"10000".into(), &"0".into()));
    let listed = ledger(folder, &["list"]).await?;
    assert_eq!(listed[0]["evidence"], "chain");
    let reader = Ledger::open_read_only(&folder.join("obol.db"))?;
    let remembered = reader.comparison(obol_devchain::CHAIN, chain.url()).await?;
    let remembered = remembered.context("a running verifier tells it")?;
    assert_eq!((remembered.found.payments, remembered.found.unattributed), (0, 0));
    chain.stop().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_journal_that_somebody_has_written_to_is_no_ledger_that_agrees() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let (folder, chain) = (folder.path(), Devchain::start(Options::default()).await?);
    sell_one(folder, &chain).await?;
    let rpc = format!("base-sepolia={}", chain.url());
    ledger(folder, &["reconcile", "--rpc", &rpc]).await?;
    rusqlite::Connection::open(folder.join("obol.db"))?.execute("DELETE FROM charges", [])?;
    for output in ["json", "table"] {
        let told = Command::new(env!("CARGO_BIN_EXE_obol"))
            .args(["ledger", "verify", "--ledger", "obol.db", "--output", output, "--rpc", &rpc])
            .current_dir(folder)
            .output()
            .await?;
        let said = String::from_utf8_lossy(&told.stderr);
        assert_eq!(told.status.code(), Some(3), "{said}");
        assert!(said.contains("has one payment otherwise than the ledger"), "{said}");
        let found = String::from_utf8_lossy(&told.stdout);
        if output == "json" {
            let found: Value = serde_json::from_str(&found)?;
            assert_eq!((&found["agrees"], &found["journal"]), (&false.into(), &vec![1].into()));
        } else {
            assert!(found.contains("payment 1: the journal has it otherwise\n"), "{found}");
        }
    }
    chain.stop().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_that_the_chain_does_not_show_is_a_difference_and_reconcile_says_what_comes_of_it()
-> Result<()> {
    let folder = tempfile::tempdir()?;
    let (folder, chain) = (folder.path(), Devchain::start(Options::default()).await?);
    sell_one(folder, &chain).await?;
    chain.reorg(1).await?;
    for command in ["verify", "reconcile"] {
        let told = Command::new(env!("CARGO_BIN_EXE_obol"))
            .args(["ledger", command, "--ledger", "obol.db", "--output", "json"])
            .args(["--rpc", &format!("base-sepolia={}", chain.url())])
            .current_dir(folder)
            .output()
            .await?;
        let said = String::from_utf8_lossy(&told.stderr);
        assert_eq!(told.status.code(), Some(3), "{command}: {said}");
        let found: Value = serde_json::from_slice(&told.stdout)?;
        let kind = &found["chains"][0]["differences"][0]["kind"];
        assert_eq!(kind, "not_on_chain", "{command}: {found}");
        let advises = said.contains("a verifier with --rpc asks for those again");
        assert_eq!(advises, command == "reconcile", "{said}");
        assert!(!said.contains("what the ledger took from final blocks"), "{said}");
    }
    chain.stop().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_facilitator_that_does_not_know_the_seller_sells_nothing() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let (folder, chain) = (folder.path(), Devchain::start(Options::default()).await?);
    let upstream = Upstream::hello().await?;
    offer(folder, &upstream, &chain)?;
    let facilitator = facilitator(folder, &chain).await?;
    let seller = verifier(folder, &facilitator, "a token of somebody else").await;
    ensure!(seller.is_err(), "a token with spaces is none");
    let seller = verifier(folder, &facilitator, "fedcba9876543210").await?;
    let customer = customer(&chain, &seller).await?;
    let (_, header) = customer.payment(AT).await?;
    let refused = fetch(seller.address, paid(get(AT), &header)).await?;
    refused.expect_refusal(Reason::FacilitatorUnavailable)?;
    assert_eq!(upstream.count(), 0);
    drop((seller, facilitator));
    chain.stop().await;
    Ok(())
}
