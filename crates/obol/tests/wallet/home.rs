//! A user without wallets yet.

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};
use tempfile::TempDir;

/// Anvil's first account.
pub(crate) const KEY: &str = "0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80";
pub(crate) const ADDRESS: &str = "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266";

/// As it may not be printed.
pub(crate) const PASSWORD: &str = "correct horse";

pub(crate) struct Home(TempDir);

impl Home {
    pub(crate) fn new() -> Result<Self> {
        Ok(Self(tempfile::tempdir()?))
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    /// Where wallets are if nothing else is said.
    pub(crate) fn wallets(&self) -> PathBuf {
        self.path().join(".obol/wallets")
    }

    /// A file of the user's own.
    pub(crate) fn file(&self, name: &str, text: &str) -> Result<String> {
        let path = self.path().join(name);
        fs::write(&path, text)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
        Ok(path.to_str().context("UTF-8")?.to_owned())
    }

    /// Without a terminal, whatever the test was started from, and without a password.
    pub(crate) fn obol(&self, words: &str) -> Command {
        // A session of its own has no terminal.
        let mut command = Command::new("setsid");
        command.args(["--wait", env!("CARGO_BIN_EXE_obol"), "wallet"]).args(words.split_whitespace());
        command.current_dir(self.path()).env("HOME", self.path()).stdin(Stdio::null());
        for variable in
            ["OBOL_WALLETS", "OBOL_WALLET_PASSWORD", "OBOL_KEYSTORE_PASSWORD", "OBOL_RPC", "OBOL_CHAINS"]
        {
            command.env_remove(variable);
        }
        command
    }

    pub(crate) fn done(&self, words: &str) -> Result<String> {
        let output = self.obol(words).env("OBOL_WALLET_PASSWORD", PASSWORD).output()?;
        ensure!(output.status.success(), "{words}: {}", said(&output));
        Ok(String::from_utf8(output.stdout)?)
    }

    pub(crate) fn json(&self, words: &str) -> Result<Value> {
        Ok(serde_json::from_str(&self.done(&format!("{words} --output json"))?)?)
    }

    /// The one sentence of a command that fails with this code.
    pub(crate) fn refused(&self, words: &str, code: i32) -> Result<String> {
        refused(self.obol(words).env("OBOL_WALLET_PASSWORD", PASSWORD), code)
    }
}

pub(crate) fn refused(command: &mut Command, code: i32) -> Result<String> {
    let output = command.output()?;
    let said = said(&output);
    ensure!(output.status.code() == Some(code), "{command:?}: {output:?}");
    ensure!(said.starts_with("obol: ") && said.lines().count() == 1, "{command:?}: {said}");
    for secret in [PASSWORD, &KEY[2..]] {
        ensure!(!said.contains(secret), "{said}");
    }
    Ok(said)
}

pub(crate) fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

pub(crate) fn mode(path: &Path) -> Result<u32> {
    Ok(fs::metadata(path)?.permissions().mode() & 0o7777)
}
