//! `obol verifier` as it starts, and what it warns of.

use crate::{Running, obol, settler_key};
use alloy_primitives::U256;
use anyhow::{Context, Result, ensure};
use obol_devchain::{Devchain, Options};
use obol_evm::Key;
use std::{
    fs,
    io::{BufRead, BufReader},
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Command, Stdio},
};

/// A verifier that runs in `folder` after this line of a shell, without a chain, and its log up to
/// a line with `until`.
fn verifier_in(folder: &Path, first: &str, flags: &[&str], until: &str) -> Result<(Running, String)> {
    verifier_on("http://127.0.0.1:1", folder, first, flags, until)
}

fn verifier_on(
    rpc_url: &str,
    folder: &Path,
    first: &str,
    flags: &[&str],
    until: &str,
) -> Result<(Running, String)> {
    let key = settler_key(folder)?;
    let mut child = Command::new("sh")
        .args(["-c", &format!("{first}; exec \"$0\" \"$@\""), env!("CARGO_BIN_EXE_obol"), "verifier"])
        .args(["--rpc", &format!("base-sepolia={rpc_url}"), "--settler-key-file", &key])
        .args(["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--ledger", "ledger.db"])
        .args(["--offers", "."])
        .args(flags)
        .current_dir(folder)
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map(Running)?;
    let mut log = String::new();
    for line in BufReader::new(child.0.stderr.take().context("stderr")?).lines() {
        let line = line?;
        log.push_str(&format!("{line}\n"));
        if line.contains(until) {
            return Ok((child, log));
        }
    }
    anyhow::bail!("it ended without {until:?}: {log}")
}

/// Of a verifier with these limits: its log, and its limit of open files as the kernel has it.
#[cfg(target_os = "linux")]
fn started_with_limits(limits: &str, flags: &[&str]) -> Result<(String, String)> {
    let folder = tempfile::tempdir()?;
    let (child, log) = verifier_in(folder.path(), limits, flags, "selling")?;
    let limits = fs::read_to_string(format!("/proc/{}/limits", child.0.id()))?;
    let line = limits.lines().find(|line| line.starts_with("Max open files")).context("no limit")?;
    let soft = line.split_whitespace().nth(3).context("no number")?;
    Ok((log, soft.to_owned()))
}

#[cfg(target_os = "linux")]
#[test]
fn a_verifier_takes_the_files_that_it_may_have_and_says_when_they_are_too_few() -> Result<()> {
    let few = "ulimit -Sn 300; ulimit -Hn 1000";
    let (log, soft) = started_with_limits(few, &["--max-connections", "800", "--max-requests", "10"])?;
    assert_eq!(soft, "1000", "{log}");
    ensure!(log.contains("1000 files may be open") && log.contains("--max-connections (800)"), "{log}");
    let (log, soft) = started_with_limits(few, &["--max-connections", "500", "--max-requests", "10"])?;
    assert_eq!(soft, "1000", "{log}");
    ensure!(!log.contains("files may be open"), "{log}");
    Ok(())
}

#[test]
fn a_verifier_that_sells_nothing_says_where_it_looked() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let (_child, log) = verifier_in(folder.path(), ":", &[], "nothing is sold")?;
    let looked = folder.path().to_str().context("UTF-8")?;
    ensure!(log.contains(looked) && log.contains("*.yaml"), "{log}");
    fs::create_dir(folder.path().join("empty"))?;
    fs::write(folder.path().join("empty/pricing"), "routes: []\n")?;
    let flags = ["--pricing", "empty/pricing"];
    let (_third, log) = verifier_in(folder.path(), ":", &flags, "nothing is sold")?;
    ensure!(log.contains("empty/pricing can be") && log.contains("the file no route"), "{log}");
    fs::write(folder.path().join("bad.yaml"), "kind: ServiceOffer\n")?;
    let (_other, log) = verifier_in(folder.path(), ":", &[], "nothing is sold")?;
    ensure!(log.contains("bad.yaml") && log.contains("the faults above say why"), "{log}");
    Ok(())
}

#[test]
fn a_port_that_is_taken_is_named_with_its_flag() -> Result<()> {
    let taken = std::net::TcpListener::bind(("127.0.0.1", 0))?;
    let address = taken.local_addr()?.to_string();
    let folder = tempfile::tempdir()?;
    let key = settler_key(folder.path())?;
    let output = obol()
        .args(["verifier", "--rpc", "base-sepolia=http://127.0.0.1:1", "--listen", &address])
        .args(["--settler-key-file", &key])
        .arg("--offers")
        .arg(folder.path())
        .arg("--ledger")
        .arg(folder.path().join("ledger.db"))
        .output()?;
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(5), "{error}");
    ensure!(error.contains("--listen") && error.contains(&address), "{error}");
    Ok(())
}

#[test]
fn a_settler_key_that_others_can_read_is_warned_of() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let key = settler_key(folder.path())?;
    for (mode, warns) in [(0o600, false), (0o640, true), (0o604, true)] {
        fs::set_permissions(&key, fs::Permissions::from_mode(mode))?;
        let output = obol()
            .args(["verifier", "--print-config", "--offers", ".", "--ledger", "ledger.db"])
            .args(["--rpc", "base-sepolia=http://127.0.0.1:1", "--settler-key-file", &key])
            .current_dir(folder.path())
            .output()?;
        let log = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{log}");
        assert_eq!(log.contains(&format!("chmod 600 {key}")), warns, "{mode:o}: {log}");
    }
    Ok(())
}

#[test]
fn a_ledger_that_others_can_read_is_warned_of() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let ledger = folder.path().join("ledger.db");
    let advice = format!("chmod 600 {}", ledger.display());
    let says = || anyhow::Ok(verifier_in(folder.path(), ":", &[], "selling")?.1.contains(&advice));
    ensure!(!says()?, "a new one is private");
    ensure!(!says()?, "and stays so");
    for mode in [0o640, 0o604] {
        fs::set_permissions(&ledger, fs::Permissions::from_mode(mode))?;
        ensure!(says()?, "{mode:o}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn gas_money_that_comes_to_its_end_is_warned_of() -> Result<()> {
    let chain = Devchain::start(Options::default()).await?;
    let settler = Key::from_bytes([0x11; 32].into())?.address();
    // One payment costs less than a thousandth of an ether, and far more than a hundred thousandth.
    let milli_ether = 10u64.pow(15);
    for (funds, warns) in [(1_000 * milli_ether, false), (milli_ether, true)] {
        chain.set_balance(settler, U256::from(funds)).await?;
        let folder = tempfile::tempdir()?;
        let (_child, log) = verifier_on(chain.url(), folder.path(), ":", &[], "to=Leading")?;
        assert_eq!(log.contains("gas money lasts for fewer than 100 payments"), warns, "{funds}: {log}");
    }
    Ok(())
}
