//! The files that `obol sell` writes, and what it leaves alone.

use crate::{Desk, PAY_TO};
use anyhow::{Context, Result, ensure};
use obol_core::WireVersion;
use obol_tests::{Buyer, Customer, Shop, ShopOptions, Upstream};
use serde_json::Value;
use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::Path,
};

fn words(args: &[String]) -> Vec<&str> {
    args.iter().map(String::as_str).collect()
}

const BASE: [&str; 4] = ["--per-request", "0.01", "--chain", "base-sepolia"];

#[test]
fn an_offer_is_written_listed_paused_resumed_and_ended() -> Result<()> {
    let desk = Desk::new()?;
    let said = desk.done(&words(&desk.http("hello", &BASE)))?;
    ensure!(said.contains("offers/hello.yaml") && said.contains("/services/hello"), "{said}");
    let hand = format!("# mine\n{}# the end\n", desk.read("hello.yaml")?);
    fs::write(desk.0.path().join("offers/hello.yaml"), &hand)?;
    desk.done(&["pause", "hello"])?;
    assert_eq!(desk.listed()?["offers"][0]["state"], "paused");
    let paused = desk.read("hello.yaml")?;
    let added: Vec<_> = paused.lines().filter(|line| !hand.contains(line)).collect();
    assert_eq!(added, ["  annotations: {obol.org/paused: \"true\"}"]);
    desk.done(&["resume", "default/hello"])?;
    assert_eq!(desk.listed()?["offers"][0]["state"], "selling");
    for ended in ["default.hello.deleted", "default.hello.2.deleted"] {
        desk.done(&["delete", "hello"])?;
        ensure!(desk.read(ended)?.contains("name: \"hello\""), "what was written is kept");
        assert_eq!(desk.listed()?["offers"], Value::Array(Vec::new()));
        desk.done(&words(&desk.http("hello", &BASE)))?;
    }
    Ok(())
}

#[test]
fn several_ways_to_pay_a_credential_and_a_model_come_out_as_they_were_meant() -> Result<()> {
    let desk = Desk::new()?;
    let text = "Weather: \"now\" # & 'then'\n\u{20ac}";
    let more =
        ["--per-request", "$0.01", "--chain", "base", "--chain", "eip155:137/USDC=0.012", "--path", "/w"];
    let mut args = desk.http("weather", &more);
    args.extend(["--namespace", "shop", "--description", text, "--timeout", "30"].map(str::to_owned));
    desk.done(&words(&args))?;
    let inference = ["inference", "small", "--model", "qwen3:4b", "--runtime", "ollama", "--upstream"];
    let inference = [&inference[..], &["http://127.0.0.1:11434", "--pay-to", PAY_TO], &BASE].concat();
    desk.done(&inference)?;
    let listed = desk.listed()?;
    assert_eq!(listed["faults"], Value::Array(Vec::new()));
    let [small, weather] = listed["offers"].as_array().context("offers")?.as_slice() else {
        anyhow::bail!("{listed}")
    };
    assert_eq!((&small["name"], &small["path"]), (&"small".into(), &"/services/small".into()));
    assert_eq!((&weather["namespace"], &weather["path"]), (&"shop".into(), &"/w".into()));
    assert_eq!(weather["description"], text.trim());
    let ways: Vec<_> = weather["accepts"]
        .as_array()
        .context("ways")?
        .iter()
        .map(|way| (way["chain"].as_str(), way["asset_symbol"].as_str(), way["amount"].as_str()))
        .collect();
    let expected = [("eip155:8453", "USDC", "10000"), ("eip155:137", "USDC", "12000")];
    assert_eq!(ways, expected.map(|(chain, symbol, amount)| (Some(chain), Some(symbol), Some(amount))));
    Ok(())
}

#[test]
fn what_cannot_be_sold_is_refused_in_one_sentence_and_not_written() -> Result<()> {
    let desk = Desk::new()?;
    desk.done(&words(&desk.http("hello", &BASE)))?;
    let before = desk.read("hello.yaml")?;
    let wrong = PAY_TO.replace("dc79C8", "dc79c8");
    let with = |name: &str, changes: &[&str]| desk.http(name, changes);
    for (args, says) in [
        (with("hello", &BASE), "default/hello is there already, in offers/hello.yaml:"),
        (with("Hello", &BASE), "metadata.name"),
        (with("x", &["--per-request", "0", "--chain", "base"]), "is zero"),
        (with("x", &["--per-request", "0.0000001", "--chain", "base"]), "price.perRequest"),
        (with("x", &["--per-request", "1 EURX", "--chain", "base"]), "EURX"),
        (with("x", &["--per-request", "0.01", "--chain", "base-sepola"]), "did you mean base-sepolia?"),
        (with("x", &["--per-request", "0.01", "--chain", "base", "--chain", "base"]), "payments[1]"),
        (with("x", &["--per-request", "0.01", "--chain", "base/USDC=1 EURC"]), "its price is in EURC"),
        (with("x", &["--per-mtok", "1", "--chain", "base"]), "nothing is metered yet"),
        (with("x", &[&BASE[..], &["--path", "/services/HELLO"]].concat()), "sold at /services/HELLO already"),
        (with("x", &[&BASE[..], &["--path", "/verify"]].concat()), "the verifier's own"),
        (with("x", &[&BASE[..], &["--auth-env", "NO_SUCH_VARIABLE"]].concat()), "NO_SUCH_VARIABLE"),
        (
            vec!["http", "x", "--upstream", "x", "--pay-to", PAY_TO]
                .into_iter()
                .chain(BASE)
                .map(str::to_owned)
                .collect(),
            "spec.upstream.url",
        ),
        (
            vec!["http", "x", "--upstream", "http://x", "--pay-to", &wrong]
                .into_iter()
                .chain(BASE)
                .map(str::to_owned)
                .collect(),
            "wrong checksum",
        ),
        (vec!["pause".to_owned(), "nobody".to_owned()], "no offer \"nobody\" in offers"),
    ] {
        desk.refused(&words(&args), says)?;
    }
    assert_eq!((desk.files()?, desk.read("hello.yaml")?), (vec!["hello.yaml".to_owned()], before));
    let dry = desk.done(&words(&with("x", &[&BASE[..], &["--dry-run"]].concat())))?;
    ensure!(dry.contains("name: \"x\"") && desk.files()?.len() == 1, "{dry}");
    Ok(())
}

#[test]
fn a_file_that_is_changed_stays_its_readers_and_nobody_elses() -> Result<()> {
    let desk = Desk::new()?;
    desk.done(&words(&desk.http("hello", &BASE)))?;
    let file = desk.0.path().join("offers/hello.yaml");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600))?;
    // Another owner can be given by root alone; as anybody else it stays one's own.
    let owner =
        if rustix::process::geteuid().is_root() { 65_534 } else { rustix::process::geteuid().as_raw() };
    std::os::unix::fs::chown(&file, Some(owner), None)?;
    let about =
        |path: &Path| fs::metadata(path).map(|about| (about.uid(), about.permissions().mode() & 0o777));
    desk.done(&["pause", "hello"])?;
    assert_eq!(about(&file)?, (owner, 0o600));
    desk.done(&["delete", "hello"])?;
    assert_eq!(about(&desk.0.path().join("offers/default.hello.deleted"))?, (owner, 0o600));
    Ok(())
}

#[test]
fn a_fault_in_one_file_is_told_and_keeps_nobody_from_changing_another() -> Result<()> {
    let desk = Desk::new()?;
    desk.done(&words(&desk.http("hello", &BASE)))?;
    fs::write(
        desk.0.path().join("offers/bad.yaml"),
        "kind: ServiceOffer\napiVersion: obol.org/v1alpha1\nspce: {}\n",
    )?;
    let table = desk.finds(3, &["list"])?;
    ensure!(table.contains("default/hello  selling  0.01 USDC on base-sepolia"), "{table}");
    ensure!(table.contains("\nNot sold as written:\n"), "{table}");
    ensure!(table.contains("  offers/bad.yaml:3: spce: unknown field; did you mean spec?\n"), "{table}");
    desk.done(&["pause", "hello"])?;
    desk.refused(&["pause", "other"], "faults in the folder")?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_status_of_an_offer_says_what_it_has_earned() -> Result<()> {
    let desk = Desk::new()?;
    let shop = Shop::open(ShopOptions::default()).await?;
    let upstream = Upstream::hello().await?;
    shop.sell("/services/hello", &upstream)?;
    let id = shop.offer("/services/hello", &upstream).id;
    desk.done(&words(&desk.http(&id.name, &[&BASE[..], &["--namespace", &id.namespace]].concat())))?;
    let ledger = shop.ledger_file();
    let ledger = ledger.to_str().context("UTF-8")?;
    let nothing = desk.done(&["status", &id.name, "--ledger", ledger])?;
    ensure!(nothing.contains("nothing yet"), "{nothing}");
    let customer = Customer::new(Buyer::of(shop.chain.buyers()[0]), shop.address, WireVersion::V2);
    customer.buy("/services/hello").await?;
    let status = desk.done(&["status", &id.to_string(), "--ledger", ledger, "--output", "json"])?;
    let status: Value = serde_json::from_str(&status)?;
    assert_eq!((&status["state"], &status["conflict"]), (&"selling".into(), &Value::Null));
    assert_eq!(
        (&status["earned"][0]["amount"], &status["earned"][0]["payments"]),
        (&"10000".into(), &1.into())
    );
    let table = desk.done(&["status", &id.to_string(), "--ledger", ledger])?;
    ensure!(table.contains(" in one payment\n"), "{table}");
    let transfers = shop.chain.transfer_events(0).await?;
    let last = transfers.last().context("a transfer")?;
    assert_eq!(status["last_settlement"]["transaction"], last.transaction.to_string());
    shop.close().await
}
