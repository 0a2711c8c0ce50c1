//! What is wrong with settings, and what is in force.

use crate::{json, obol, settler_key};
use anyhow::{Context, Result, ensure};
use std::{collections::HashSet, fs};

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
        (
            verifier(&[("--pricing", &nowhere)]),
            4,
            &["--pricing", "nowhere cannot be read", "leave the flag out"],
        ),
        (verifier(&[("--pricing", &offers)]), 4, &["--pricing", "is not a file"]),
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
        (
            facilitator(&format!("--discovery {notes}")),
            4,
            &["--discovery", "notes.txt is no catalogue", "move it away"],
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
