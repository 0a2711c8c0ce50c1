//! The executable as people and scripts use it: results on standard output, one sentence for
//! each failure, published exit codes.

use alloy_primitives::U256;
use anyhow::{Context, Result, ensure};
use obol_devchain::{CHAIN, Devchain, Options, USDC};
use obol_evm::Key;
use serde_json::Value;
use std::{
    collections::HashSet,
    fs,
    io::{BufRead, BufReader},
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Child, Command, Output, Stdio},
};

fn obol() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_obol"));
    command.stdin(Stdio::null());
    command
}

fn run(args: &[&str]) -> Result<Output> {
    Ok(obol().args(args).output()?)
}

fn json(output: &Output) -> Result<Value> {
    let text = String::from_utf8_lossy(&output.stdout);
    serde_json::from_str(&text).with_context(|| {
        format!("standard output is no JSON: {text:?}; {}", String::from_utf8_lossy(&output.stderr))
    })
}

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

/// Killed with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

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

fn signal(child: &Child, signal: &str) -> Result<()> {
    let status = Command::new("sh").args(["-c", &format!("kill {signal} {}", child.id())]).status()?;
    ensure!(status.success(), "kill {signal}");
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

fn settler_key(folder: &Path) -> Result<String> {
    let path = folder.join("settler.key");
    fs::write(&path, format!("0x{}\n", "11".repeat(32)))?;
    Ok(path.to_str().context("UTF-8")?.to_owned())
}

#[test]
fn each_mistake_is_one_sentence_with_its_exit_code() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let at = |name: &str| folder.path().join(name).to_str().map(str::to_owned).context("UTF-8");
    let key = settler_key(folder.path())?;
    fs::create_dir(folder.path().join("offers"))?;
    fs::write(folder.path().join("notes.txt"), "this is no database, it is a note\n".repeat(100))?;
    fs::write(folder.path().join("bad.key"), "0x1234")?;
    fs::write(folder.path().join("chains.yaml"), "chains:\n  - id: eip155:1x\n    name: x\n")?;
    let (offers, ledger, notes) = (at("offers")?, at("ledger.db")?, at("notes.txt")?);
    let (bad_key, chains, nowhere) = (at("bad.key")?, at("chains.yaml")?, at("nowhere")?);
    let rpc = "base-sepolia=http://127.0.0.1:1";
    let verifier = |changes: &[(&str, &str)]| {
        let mut flags = vec![
            ("--offers", offers.as_str()),
            ("--ledger", ledger.as_str()),
            ("--rpc", rpc),
            ("--settler-key-file", key.as_str()),
        ];
        for (flag, value) in changes {
            flags.retain(|(known, _)| known != flag);
            flags.push((flag, value));
        }
        let mut args = vec!["verifier"];
        args.extend(flags.into_iter().flat_map(|(flag, value)| [flag, value]));
        args.into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
    let facilitator = |more: &str| {
        words(&format!("facilitator --ledger {ledger} --rpc {rpc} --settler-key-file {key} {more}"))
    };
    let cases: Vec<(Vec<String>, i32, &[&str])> = vec![
        (
            verifier(&[("--rpc", "atlantis=http://127.0.0.1:1")]),
            4,
            &["--rpc", "unknown chain \"atlantis\"", "base-sepolia"],
        ),
        (verifier(&[("--rpc", "http://127.0.0.1:1")]), 4, &["--rpc", "<chain>=<URL>"]),
        (verifier(&[("--rpc", "base-sepolia=127.0.0.1:1")]), 4, &["--rpc", "http://"]),
        (verifier(&[("--offers", &nowhere)]), 4, &["--offers", "is not a folder"]),
        (verifier(&[("--settler-key-file", &nowhere)]), 4, &["--settler-key-file", "No such file"]),
        (
            verifier(&[("--settler-key-file", &bad_key)]),
            4,
            &["--settler-key-file", "bad.key", "not 32 bytes in hex", "64 hex digits"],
        ),
        (verifier(&[("--ledger", &notes)]), 4, &["--ledger", "not a database"]),
        (verifier(&[("--chains", &chains)]), 4, &["chains.yaml", "chains[0]", "eip155:1x"]),
        (verifier(&[("--ledger", &offers)]), 4, &["--ledger", "is a folder"]),
        (verifier(&[("--listen", "nonsense")]), 4, &["--listen", "nonsense", "127.0.0.1:8080"]),
        (verifier(&[("--admin-listen", "127.0.0.1:8080")]), 4, &["--admin-listen", "--listen"]),
        (verifier(&[("--settle-budget", "0")]), 4, &["--settle-budget", "from 1 to 600"]),
        (verifier(&[("--allow-payee", "0x12")]), 4, &["--allow-payee", "checksum"]),
        (verifier(&[("--trusted-proxy", "0.0.0.0/0")]), 4, &["--trusted-proxy", "everybody"]),
        (verifier(&[("--stop-grace", "1m")]), 4, &["--stop-grace", "from 0 to 3600"]),
        (verifier(&[("--no-such-flag", "1")]), 2, &["--no-such-flag"]),
        (
            facilitator("--listen 0.0.0.0:8090"),
            4,
            &["--callers-file: is missing", "0.0.0.0:8090", "or listen on 127.0.0.1"],
        ),
        (
            facilitator(&format!("--callers-file {notes}")),
            4,
            &["--callers-file", "notes.txt", "line 1 is not"],
        ),
        (facilitator("--max-rate 0"), 4, &["--max-rate", "from 1 to"]),
        (words("chains list --log inof"), 4, &["--log", "\"inof\" is not a level"]),
        (words("chains list --log-format xml"), 4, &["--log-format", "text nor json"]),
        (words(&format!("ledger list --ledger {nowhere}")), 4, &["--ledger", "there is no file", "nowhere"]),
        (words(&format!("ledger show --ledger {nowhere} 1")), 4, &["nowhere"]),
        (words("ledger list --ledger x --state sold"), 2, &["--state", "reserved", "settled", "waived"]),
        (words("ledger list --ledger x --offer hello"), 2, &["--offer", "default/hello"]),
        (words("chains check --rpc base=http://127.0.0.1:1"), 5, &["had no answer", "--rpc"]),
    ];
    for (args, code, expected) in cases {
        let output = obol().args(&args).output()?;
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{args:?}: {error}");
        for words in expected {
            ensure!(error.contains(words), "{args:?} does not say {words:?}: {error}");
        }
        ensure!(!error.contains("panicked"), "{args:?}: {error}");
    }
    Ok(())
}

#[test]
fn every_fault_of_the_settings_is_told_at_once() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let wrong: [&[&str]; 2] = [
        &["--listen", "8080", "--rpc", "atlantis=http://127.0.0.1:1", "--log", "loud", "--max-gas", "many"],
        &["--print-config", "--offers", "nowhere", "--ledger", "no/obol.db", "--log-format", "xml"],
    ];
    for args in wrong {
        let output = obol()
            .arg("verifier")
            .args(args)
            .current_dir(folder.path())
            .env("OBOL_CLOCK_SKEW", "301")
            .env("OBOL_TRUSTED_PROXY", "10.0.0.0/8 proxy")
            .output()?;
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(4), &b""[..]), "{error}");
        let faults: Vec<_> = error.lines().collect();
        ensure!(faults.iter().all(|fault| fault.starts_with("obol: --")), "{error}");
        let given = args.iter().filter(|arg| arg.starts_with("--") && **arg != "--print-config");
        let required = ["--offers", "--ledger", "--rpc", "--settler-key-file"];
        let from_environment = ["--clock-skew (OBOL_CLOCK_SKEW)", "--trusted-proxy (OBOL_TRUSTED_PROXY)"];
        let expected: HashSet<_> = given.copied().chain(required).chain(from_environment).collect();
        let told: HashSet<_> = faults
            .iter()
            .filter_map(|fault| fault.strip_prefix("obol: ").and_then(|fault| fault.split_once(": ")))
            .map(|(flag, _)| flag)
            .collect();
        assert_eq!(told, expected, "{error}");
        assert_eq!(faults.len(), expected.len(), "{error}");
    }
    ensure!(fs::read_dir(folder.path())?.next().is_none(), "a refused start leaves nothing behind");
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
fn the_demo_names_the_flag_of_a_port_that_is_taken() -> Result<()> {
    let taken = std::net::TcpListener::bind(("127.0.0.1", 0))?;
    let port = taken.local_addr()?.port().to_string();
    let output = run(&["demo", "--chain-only", "--rpc-port", &port])?;
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(5), "{error}");
    ensure!(error.contains("--rpc-port") && error.contains(&port), "{error}");
    Ok(())
}

#[test]
fn the_settings_in_force_are_shown_without_secrets() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let key = settler_key(folder.path())?;
    fs::create_dir(folder.path().join("offers"))?;
    let output = obol()
        .args(["verifier", "--print-config", "--offers", "offers", "--ledger", "ledger.db"])
        .args(["--log", "warn,obol=debug"])
        .current_dir(folder.path())
        .args(["--rpc", "base-sepolia=https://user:secret@rpc.example/v2/sesame?key=sesame"])
        .args(["--settler-key-file", &key])
        .env("OBOL_CLOCK_SKEW", "7")
        .output()?;
    let config = json(&output)?;
    assert_eq!(config["clock_skew"], 7);
    assert_eq!((&config["log"], &config["log_format"]), (&"warn,obol=debug".into(), &"text".into()));
    ensure!(!folder.path().join("ledger.db").exists(), "showing makes no ledger");
    assert_eq!(config["rpc"]["eip155:84532"], "https://rpc.example/[hidden]");
    let text = String::from_utf8_lossy(&output.stdout);
    ensure!(
        !text.contains("sesame") && !text.contains("secret") && !text.contains(&"11".repeat(32)),
        "{text}"
    );
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

#[tokio::test(flavor = "multi_thread")]
async fn the_known_assets_are_held_against_a_chain() -> Result<()> {
    let chain = Devchain::start(Options::default()).await?;
    let rpc = format!("base-sepolia={}", chain.url());
    let output = run(&["chains", "check", "--rpc", &rpc, "--output", "json"])?;
    let checks = json(&output)?;
    let of = |symbol: &str| {
        let mut checks = checks.as_array().into_iter().flatten();
        let check = checks.find(|check| check["asset"] == symbol).context("no such asset")?;
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
