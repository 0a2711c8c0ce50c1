//! A verifier whose settler's key is a wallet.

use crate::home::{ADDRESS, Home, KEY, PASSWORD, refused};
use anyhow::{Result, ensure};
use serde_json::Value;
use std::process::Command;

/// `obol verifier`, which only shows its settings.
fn verifier(home: &Home, key: &str, flags: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_obol"));
    command
        .args([
            "verifier",
            "--print-config",
            "--offers",
            ".",
            "--ledger",
            "ledger.db",
            "--settler-key-file",
            key,
        ])
        .args(["--rpc", "base-sepolia=http://127.0.0.1:1"])
        .args(flags.split_whitespace())
        .current_dir(home.path())
        .env_remove("OBOL_SETTLER_PASSWORD")
        .env_remove("OBOL_SETTLER_PASSWORD_FILE");
    command
}

#[test]
fn a_settlers_key_may_be_a_wallet_with_its_password_in_a_file_or_the_environment() -> Result<()> {
    let home = Home::new()?;
    let (bare, password) = (home.file("key", KEY)?, home.file("password", &format!("{PASSWORD}\n"))?);
    home.done(&format!("import settler --key-file {bare}"))?;
    let wallet = home.wallets().join("settler.json").to_string_lossy().into_owned();
    let from_file = format!("--settler-password-file {password}");
    let mut by_variable = verifier(&home, &wallet, "");
    by_variable.env("OBOL_SETTLER_PASSWORD", PASSWORD);
    for mut command in [verifier(&home, &wallet, &from_file), by_variable, verifier(&home, &bare, "")] {
        let output = command.output()?;
        let shown: Value = serde_json::from_slice(&output.stdout)?;
        assert_eq!(shown["settler"], ADDRESS);
        ensure!(!String::from_utf8_lossy(&output.stdout).contains(PASSWORD));
    }
    let wrong = home.file("wrong", "wrong")?;
    for (key, flags, expected) in [
        (&wallet, String::new(), "--settler-password-file: is missing"),
        (&wallet, format!("--settler-password-file {wrong}"), "--settler-key-file: "),
        (
            &wallet,
            "--settler-password-file nowhere".to_owned(),
            "--settler-password-file: nowhere cannot be read",
        ),
        (&bare, from_file, "--settler-password-file: "),
    ] {
        let said = refused(&mut verifier(&home, key, &flags), 4)?;
        ensure!(said.contains(expected), "{said}");
    }
    Ok(())
}
