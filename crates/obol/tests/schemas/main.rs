//! What each command prints with `--output json` is what `obol schema` says: the executable itself,
//! against a demo's chain, shop and ledger.

mod counter;
mod desk;

use anyhow::{Context, Result, ensure};
use counter::Counter;
use desk::{Demo, Desk};
use std::fs;

/// Anvil's fourth account, which the demo does not buy with.
const PAYER: &str = "0x7c852118294e51e653712a81e05800f419141751be58f605c371e15141b007a6";

#[test]
fn each_command_prints_what_its_schema_says() -> Result<()> {
    let mut desk = Desk::new()?;
    let demo = Demo::start(&mut desk, &[])?;
    lists_chains(&mut desk, &demo)?;
    keeps_wallets(&mut desk, &demo)?;
    sells(&mut desk, &demo)?;
    buys(&mut desk, &demo)?;
    accounts(&mut desk, &demo)?;
    desk.all_were_seen()
}

#[test]
fn a_schema_refuses_what_is_not_printed() -> Result<()> {
    let mut desk = Desk::new()?;
    let mut listed = desk.prints("chains list", "", 0)?;
    ensure!(desk.is_valid("chains list", &listed)?);
    for (place, wrong) in [
        ("/0/chain", serde_json::json!("base")),
        ("/0/asset", "0xA5".into()),
        ("/0/decimals", "6".into()),
        ("/0/method", "cash".into()),
        ("/0/domain", serde_json::Value::Null),
    ] {
        let right = std::mem::replace(listed.pointer_mut(place).context(place)?, wrong);
        ensure!(!desk.is_valid("chains list", &listed)?, "{place}");
        *listed.pointer_mut(place).context(place)? = right;
    }
    listed[0]["later"] = "a field that was added".into();
    ensure!(desk.is_valid("chains list", &listed)?);
    listed[0].as_object_mut().context("an object")?.remove("asset_symbol");
    ensure!(!desk.is_valid("chains list", &listed)?);
    Ok(())
}

#[test]
fn a_command_without_a_schema_is_named() -> Result<()> {
    let desk = Desk::new()?;
    for command in ["sell", "sell http", "nothing"] {
        let output = desk.obol(&format!("schema {command}")).output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.code() == Some(1) && output.stdout.is_empty(), "{output:?}");
        ensure!(said.contains(&format!("{command:?}")) && said.contains("`obol schema` lists"), "{said}");
    }
    Ok(())
}

fn lists_chains(desk: &mut Desk, demo: &Demo) -> Result<()> {
    let listed = desk.prints("chains list", "", 0)?;
    ensure!(listed.as_array().is_some_and(|listed| listed.len() > 1), "{listed}");
    let rpc = &demo.rpc;
    desk.prints("chains check", &format!("--rpc base-sepolia={rpc}"), 0)?;
    let another = desk.prints("chains check", &format!("--rpc base={rpc}"), 3)?;
    assert_eq!(another[0]["asset"], serde_json::Value::Null);
    desk.prints("chains check", "--rpc base-sepolia=http://127.0.0.1:1", 5)?;
    Ok(())
}

fn keeps_wallets(desk: &mut Desk, demo: &Demo) -> Result<()> {
    assert_eq!(desk.prints("wallet list", "", 0)?, serde_json::json!([]));
    desk.prints("wallet new", "shop", 0)?;
    desk.file("payer.key", PAYER)?;
    desk.prints("wallet import", "payer --key-file payer.key", 0)?;
    desk.prints("wallet address", "payer", 0)?;
    desk.prints("wallet address", "payer --check", 0)?;
    let held = desk.prints("wallet balance", &format!("payer --rpc base-sepolia={}", demo.rpc), 0)?;
    assert_eq!(held["balances"][0]["asset"], serde_json::Value::Null);
    desk.prints("wallet balance", "payer --rpc base-sepolia=http://127.0.0.1:1", 5)?;
    desk.file(".obol/wallets/broken.json", "{}")?;
    let listed = desk.prints("wallet list", "", 4)?;
    ensure!(listed[0]["error"].is_string(), "{listed}");
    Ok(())
}

const OFFER: &str = r#"
apiVersion: obol.org/v1alpha1
kind: ServiceOffer
metadata: {name: NAME}
spec:
  upstream: {url: "http://127.0.0.1:9000"}
  path: /same
  payment: {network: base-sepolia, payTo: "0x70997970C51812dc3A010C7d01b50e0d17dc79C8", price: {perRequest: "0.01"}}
"#;

fn sells(desk: &mut Desk, demo: &Demo) -> Result<()> {
    fs::create_dir(desk.home().join("offers"))?;
    assert_eq!(desk.prints("sell list", "--offers offers", 0)?["offers"], serde_json::json!([]));
    for name in ["one", "two"] {
        desk.file(&format!("offers/{name}.yaml"), &OFFER.replace("NAME", name))?;
    }
    desk.file("offers/wrong.yaml", "kind: Nothing\n")?;
    let listed = desk.prints("sell list", "--offers offers", 3)?;
    assert_eq!(listed["faults"].as_array().map(Vec::len), Some(2), "{listed}");
    let second = desk.prints("sell status", "two --offers offers", 0)?;
    ensure!(second["conflict"].is_string() && second["last_settlement"].is_null(), "{second}");
    let Demo { ledger, offers, .. } = demo;
    let sold =
        desk.prints("sell status", &format!("demo/demo-hello --offers {offers} --ledger {ledger}"), 0)?;
    ensure!(sold["last_settlement"]["transaction"].is_string(), "{sold}");
    let base = demo.service.split("/services").next().context("a service's address")?;
    let probed = desk.prints("sell probe", &format!("demo/demo-hello --offers {offers} --url {base}"), 0)?;
    assert_eq!((&probed["agrees"], &probed["status"]), (&true.into(), &402.into()));
    let differs = desk.prints("sell probe", &format!("one --offers offers --url {base}"), 3)?;
    ensure!(differs["differences"].as_array().is_some_and(|all| !all.is_empty()), "{differs}");
    let route = "verifyOnly: true\nroutes:\n  - {pattern: /a/*, price: \"0.01\", upstreamURL: \"http://127.0.0.1:9000\"}\n  - {}\n";
    desk.file("pricing.yaml", route)?;
    // The second route lacks its pattern and its price.
    let usual = "--wallet 0x70997970C51812dc3A010C7d01b50e0d17dc79C8 --chain base-sepolia";
    let priced = desk.prints("sell pricing", &format!("--pricing pricing.yaml {usual}"), 0)?;
    assert_eq!(
        ["routes", "faults", "notes"].map(|of| priced[of].as_array().map(Vec::len)),
        [Some(1), Some(2), Some(1)]
    );
    Ok(())
}

fn buys(desk: &mut Desk, demo: &Demo) -> Result<()> {
    let Demo { service, rpc, .. } = demo;
    let probed = desk.prints("buy probe", service, 0)?;
    ensure!(probed["ways"][0]["price"] == "0.01", "{probed}");
    let with = "--key-file payer.key --max-amount 0.01";
    desk.prints("buy pay", &format!("{service} {with} --dry-run"), 0)?;
    let paid = desk.prints("buy pay", &format!("{service} {with} --rpc base-sepolia={rpc}"), 0)?;
    ensure!(paid["paid"]["price"] == "0.01" && paid["paid"]["evidence"] == "chain", "{paid}");
    let claimed = desk.prints("buy pay", &format!("{service}claimed {with}"), 0)?;
    assert_eq!(claimed["paid"]["evidence"], "claimed");

    let free = Counter::giving(&[0xff, 0xfe])?;
    desk.prints("buy probe", &free.url(), 0)?;
    let had = desk.prints("buy pay", &format!("{} {with}", free.url()), 0)?;
    ensure!(had["paid"].is_null() && had["body_base64"] == "//4=", "{had}");

    let silent = Counter::breaking_off(service)?;
    let lost = desk.obol(&format!("buy pay {} {with}", silent.url())).output()?;
    ensure!(lost.status.code() == Some(7) && lost.stdout.is_empty(), "{lost:?}");
    let next = desk.prints("buy pay", &format!("{} {with} --dry-run", silent.url()), 0)?;
    assert_eq!(next["would"], "send again");
    Ok(())
}

fn accounts(desk: &mut Desk, demo: &Demo) -> Result<()> {
    let of = format!("--ledger {}", demo.ledger);
    let listed = desk.prints("ledger list", &of, 0)?;
    assert_eq!(listed.as_array().map(Vec::len), Some(4), "{listed}");
    assert_eq!(desk.prints("ledger list", &format!("{of} --state failed"), 0)?, serde_json::json!([]));
    for asked in [&listed[0]["id"].to_string(), listed[0]["transaction"].as_str().context("paid")?] {
        let shown = desk.prints("ledger show", &format!("{asked} {of}"), 0)?;
        assert_eq!(shown["payment"]["id"], listed[0]["id"]);
    }
    desk.prints("ledger earnings", &of, 0)?;
    desk.exports(&of)?;
    let rpc = &demo.rpc;
    let paid = |field: &str| listed[0][field].as_str().context("an address");
    demo.give(paid("payer")?, paid("pay_to")?, 7)?;
    let verified = desk.prints("ledger verify", &format!("{of} --rpc base-sepolia={rpc}"), 0)?;
    assert_eq!(verified["agrees"], true);
    assert_eq!(verified["chains"][0]["unattributed"][0]["amount"], "7", "{verified}");
    desk.prints("ledger reconcile", &format!("{of} --rpc base-sepolia={rpc}"), 0)?;
    // A chain of the same id on which none of it has happened, with all the blocks of the first.
    let another = Demo::start(desk, &["--chain-only"])?;
    another.mine(1_000)?;
    let differs = desk.prints("ledger verify", &format!("{of} --rpc base-sepolia={}", another.rpc), 3)?;
    ensure!(differs["chains"][0]["differences"][0]["payment"]["id"].is_number(), "{differs}");
    Ok(())
}
