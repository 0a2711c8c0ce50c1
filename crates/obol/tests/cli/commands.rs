//! Commands that do one thing and end.

use crate::{json, obol, run};
use anyhow::{Context, Result, ensure};
use obol_devchain::{Devchain, Options};
use std::{fs, process::Stdio};

#[test]
fn a_result_that_cannot_be_written_is_a_failure_and_a_reader_that_has_gone_is_none() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let ledger = folder.path().join("ledger.db");
    drop(obol_ledger::Ledger::open(&obol_ledger::Place::File(&ledger), obol_ledger::Clock::System, "test")?);
    let ledger = ledger.to_str().context("UTF-8")?;
    let header = run(&["ledger", "export", "--ledger", ledger])?;
    let header = String::from_utf8(header.stdout)?;
    assert!(header.starts_with("id,offer_namespace,") && header.lines().count() == 1, "{header:?}");
    for verb in ["list", "export"] {
        let args = ["ledger", verb, "--ledger", ledger];
        let full = fs::OpenOptions::new().write(true).open("/dev/full")?;
        let written = obol().args(args).stdout(full).output()?;
        assert_eq!(written.status.code(), Some(1), "{verb}: {written:?}");
        assert!(String::from_utf8_lossy(&written.stderr).contains("cannot write"), "{verb}: {written:?}");
        let mut child = obol().args(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        drop(child.stdout.take());
        let gone = child.wait_with_output()?;
        assert!(gone.status.success(), "{verb}: {gone:?}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_known_assets_are_held_against_a_chain() -> Result<()> {
    let chain = Devchain::start(Options::default()).await?;
    let rpc = format!("base-sepolia={}", chain.url());
    let output = run(&["chains", "check", "--rpc", &rpc, "--output", "json"])?;
    let checks = json(&output)?;
    let of = |symbol: &str| {
        let mut checks = checks.as_array().into_iter().flatten();
        let check = checks.find(|check| check["asset_symbol"] == symbol).context("no such asset")?;
        anyhow::Ok((check["ok"].clone(), check["absent"].clone()))
    };
    assert_eq!(of("USDC")?, (true.into(), false.into()));
    assert_eq!(of("OBOL")?, (false.into(), true.into()), "the local chain has USDC alone");
    assert_eq!(output.status.code(), Some(0));
    let nowhere = run(&["chains", "check", "--rpc", &rpc, "--rpc", "base=http://127.0.0.1:1"])?;
    assert_eq!(nowhere.status.code(), Some(5), "{nowhere:?}");
    let wrong = run(&["chains", "check", "--rpc", &format!("base={}", chain.url())])?;
    assert_eq!(wrong.status.code(), Some(3));
    let table = String::from_utf8_lossy(&wrong.stdout);
    ensure!(table.contains("serves eip155:84532, not eip155:8453"), "{table}");
    Ok(())
}

#[test]
fn shells_and_manuals_know_every_command() -> Result<()> {
    let folder = tempfile::tempdir()?;
    for shell in ["bash", "zsh", "fish"] {
        let output = run(&["completions", shell])?;
        let script = String::from_utf8(output.stdout)?;
        for word in ["verifier", "facilitator", "max-amount", "print-config"] {
            ensure!(script.contains(word), "{shell}: no {word}");
        }
    }
    let pages = folder.path().join("man1");
    let output = run(&["man", pages.to_str().context("UTF-8")?])?;
    ensure!(output.status.success(), "{output:?}");
    for (page, says) in [
        ("obol.1", "obol\\-sell"),
        ("obol-sell-http.1", "per\\-request"),
        ("obol-verifier.1", "settler\\-key\\-file"),
    ] {
        let text = fs::read_to_string(pages.join(page)).with_context(|| page.to_owned())?;
        ensure!(text.starts_with(".ie") && text.contains(says), "{page}: no {says:?}: {text}");
    }
    Ok(())
}
