//! `obol demo`: one document, and what it leaves behind.

use crate::{Running, json, obol, run, signal};
use anyhow::{Context, Result, ensure};
use obol_devchain::{CHAIN, USDC};
use serde_json::Value;
use std::{
    fs,
    io::{BufRead, BufReader},
    process::Stdio,
};

#[test]
fn the_demo_sells_twice_and_says_so_in_one_document() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let ledger = folder.path().join("ledger.db");
    let ledger = ledger.to_str().context("UTF-8")?;
    let output = run(&["demo", "--once", "--output", "json", "--ledger", ledger])?;
    ensure!(output.status.success(), "{output:?}");
    let document = json(&output)?;
    assert_eq!(document["chain"], CHAIN.to_string());
    assert_eq!(document["reconciled"], true);
    assert_eq!(document["ledger"], ledger);
    for url in ["rpc", "verifier", "service"] {
        ensure!(
            document["urls"][url].as_str().is_some_and(|url| url.starts_with("http://127.0.0.1:")),
            "{url}"
        );
    }
    let payments = document["payments"].as_array().context("payments")?;
    assert_eq!(payments.len(), 2);
    for payment in payments {
        assert_eq!((&payment["status"], &payment["amount"]), (&200.into(), &"10000".into()));
        assert_eq!(payment["asset"], USDC.to_checksum(None));
        ensure!(payment["request"].as_str().is_some_and(|r| r.starts_with("GET /services/demo-hello/")));
        ensure!(payment["transaction"].as_str().is_some_and(|hash| hash.len() == 66));
        ensure!(payment["block_timestamp"].as_i64().is_some_and(|time| time > 1_700_000_000));
        ensure!(matches!(payment["ledger_state"].as_str(), Some("included" | "settled")));
    }
    let earned = &document["earnings"][0];
    assert_eq!((&earned["payments"], &earned["amount"]), (&2.into(), &"20000".into()));
    assert_eq!((&earned["offer_namespace"], &earned["offer_name"]), (&"demo".into(), &"demo-hello".into()));
    let again = run(&["demo", "--once", "--ledger", ledger])?;
    assert_eq!(again.status.code(), Some(4), "a chain that starts from nothing has no use for it");
    reads_back(ledger)
}

/// The ledger that the demo left behind, through the commands that read it.
fn reads_back(ledger: &str) -> Result<()> {
    let listed = json(&run(&["ledger", "list", "--ledger", ledger, "--output", "json"])?)?;
    assert_eq!(listed.as_array().map(Vec::len), Some(2));
    for (filter, expected) in [
        (&["--state", "included", "--state", "settled"][..], 2),
        (&["--offer", "demo/demo-hello"], 2),
        (&["--state", "failed"], 0),
        (&["--state", "settled", "--offer", "demo/other"], 0),
    ] {
        let listed =
            run(&[&["ledger", "list", "--ledger", ledger, "--output", "json"][..], filter].concat())?;
        assert_eq!(json(&listed)?.as_array().map(Vec::len), Some(expected), "{filter:?}");
    }
    let shown = json(&run(&["ledger", "show", "--ledger", ledger, "1", "--output", "json"])?)?;
    let events = shown["events"].as_array().context("events")?;
    let states: Vec<_> = events.iter().filter_map(|event| event["to"].as_str()).collect();
    assert_eq!(states[..5], ["reserved", "due", "submitting", "submitted", "included"]);
    let nonce = shown["payment"]["nonce"].as_str().context("nonce")?;
    let found = json(&run(&["ledger", "show", "--ledger", ledger, nonce, "--output", "json"])?)?;
    assert_eq!(found["payment"]["id"], 1);
    let csv = run(&["ledger", "export", "--ledger", ledger, "--format", "csv"])?;
    let csv = String::from_utf8(csv.stdout)?;
    assert_eq!(csv.lines().count(), 3, "{csv}");
    ensure!(csv.starts_with("id,offer_namespace,offer_name,chain,asset,"), "{csv}");
    let lines =
        String::from_utf8(run(&["ledger", "export", "--ledger", ledger, "--format", "jsonl"])?.stdout)?;
    for line in lines.lines() {
        assert_eq!(serde_json::from_str::<Value>(line)?["amount"], "10000");
    }
    reads_nothing_from_nowhere(ledger)
}

fn reads_nothing_from_nowhere(ledger: &str) -> Result<()> {
    let nowhere = "base-sepolia=http://127.0.0.1:1";
    let unreached = run(&["ledger", "verify", "--ledger", ledger, "--rpc", nowhere])?;
    let error = String::from_utf8_lossy(&unreached.stderr);
    assert_eq!(unreached.status.code(), Some(5), "{error}");
    ensure!(
        error.contains("--rpc: base-sepolia: http://127.0.0.1:1") && error.contains("no answer"),
        "{error}"
    );
    Ok(())
}

#[test]
fn the_demo_prints_its_document_when_ready_and_runs_until_it_is_told_to_stop() -> Result<()> {
    for stop in ["-INT", "-TERM"] {
        let mut child = obol()
            .args(["demo", "--output", "json"])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map(Running)?;
        let mut lines = BufReader::new(child.0.stdout.take().context("stdout")?).lines();
        let document: Value = serde_json::from_str(&lines.next().context("no line")??)?;
        assert_eq!(document["reconciled"], true);
        ensure!(child.0.try_wait()?.is_none(), "ended by itself");
        let ledger = document["ledger"].as_str().context("ledger")?;
        let rpc = format!("base-sepolia={}", document["urls"]["rpc"].as_str().context("rpc")?);
        let verified = run(&["ledger", "verify", "--ledger", ledger, "--rpc", &rpc])?;
        let table = String::from_utf8_lossy(&verified.stdout);
        ensure!(table.ends_with("\n\nLedger and chain agree to the last atomic unit.\n"), "{table}");
        signal(&child.0, stop)?;
        ensure!(child.0.wait()?.success(), "{stop}");
        ensure!(lines.next().is_none(), "more than one document");
    }
    Ok(())
}

#[test]
fn a_wrong_anvil_and_a_cache_without_a_root_are_named() -> Result<()> {
    let anvil = obol().args(["demo", "--once"]).env("ANVIL_BIN", "/bin/true").output()?;
    let said = String::from_utf8_lossy(&anvil.stderr);
    ensure!(!anvil.status.success() && said.contains("/bin/true ended at once"), "{said}");
    let folder = tempfile::tempdir()?;
    let mut relative = obol();
    relative.args(["demo", "--once"]).env("OBOL_CACHE_DIR", "here").current_dir(folder.path());
    let relative = relative.output()?;
    let said = String::from_utf8_lossy(&relative.stderr);
    ensure!(!relative.status.success() && said.contains("OBOL_CACHE_DIR is here"), "{said}");
    ensure!(fs::read_dir(folder.path())?.next().is_none(), "something was left behind");
    Ok(())
}

#[test]
fn without_npm_and_anvil_the_demo_says_what_to_install() -> Result<()> {
    let home = tempfile::tempdir()?;
    let output = obol()
        .args(["demo", "--once"])
        .env("PATH", home.path())
        .env("HOME", home.path())
        .env_remove("ANVIL_BIN")
        .env_remove("OBOL_CACHE_DIR")
        .env_remove("XDG_CACHE_HOME")
        .output()?;
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(5), "{error}");
    for words in ["obol demo", "npm is needed once", "a local chain (anvil", "install Node.js"] {
        ensure!(error.contains(words), "{words}: {error}");
    }
    Ok(())
}

#[test]
fn the_demo_names_the_flag_of_a_port_that_is_taken() -> Result<()> {
    let taken = std::net::TcpListener::bind(("127.0.0.1", 0))?;
    let port = taken.local_addr()?.port().to_string();
    let output = run(&["demo", "--chain-only", "--rpc-port", &port])?;
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(5), "{error}");
    ensure!(error.contains("--rpc-port") && error.contains(&port), "{error}");
    Ok(())
}
