//! `obol sell` as people use it: the files that it writes, what it leaves alone, and what a verifier
//! makes of them.

mod drain;
mod offers;
mod pricing;
mod probe;
mod stand;
mod static_routes;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::{
    fs,
    path::Path,
    process::{Command, Output, Stdio},
};
use tempfile::TempDir;

pub(crate) const PAY_TO: &str = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8";

/// A folder with a folder of offers.
pub(crate) struct Desk(pub(crate) TempDir);

impl Desk {
    pub(crate) fn new() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        fs::create_dir(folder.path().join("offers"))?;
        Ok(Self(folder))
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn run(&self, args: &[&str]) -> Result<Output> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_obol"));
        command.arg("sell").args(args).env("OBOL_OFFERS", "offers").current_dir(self.0.path());
        Ok(command.stdin(Stdio::null()).output()?)
    }

    pub(crate) fn done(&self, args: &[&str]) -> Result<String> {
        let output = self.run(args)?;
        ensure!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        Ok(String::from_utf8(output.stdout)?)
    }

    /// Standard output of a command that finds things that are not sold as they are written.
    pub(crate) fn finds(&self, things: usize, args: &[&str]) -> Result<String> {
        let output = self.run(args)?;
        let error = String::from_utf8_lossy(&output.stderr);
        let says = format!("obol: {things} thing");
        ensure!(output.status.code() == Some(3) && error.starts_with(&says), "{args:?}: {error}");
        Ok(String::from_utf8(output.stdout)?)
    }

    pub(crate) fn refused(&self, args: &[&str], says: &str) -> Result<()> {
        let output = self.run(args)?;
        let error = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.code() == Some(4) && error.contains(says), "{args:?}: not {says:?}: {error}");
        Ok(())
    }

    pub(crate) fn http(&self, name: &str, more: &[&str]) -> Vec<String> {
        let usual = ["http", name, "--upstream", "http://127.0.0.1:9000", "--pay-to", PAY_TO];
        usual.iter().chain(more).map(|&word| word.to_owned()).collect()
    }

    pub(crate) fn listed(&self) -> Result<Value> {
        Ok(serde_json::from_str(&self.done(&["list", "--output", "json"])?)?)
    }

    pub(crate) fn read(&self, file: &str) -> Result<String> {
        Ok(fs::read_to_string(self.0.path().join("offers").join(file))?)
    }

    pub(crate) fn files(&self) -> Result<Vec<String>> {
        let entries = fs::read_dir(self.0.path().join("offers"))?;
        let mut names = entries
            .map(|entry| entry?.file_name().into_string().ok().context("UTF-8"))
            .collect::<Result<Vec<_>>>()?;
        names.sort();
        Ok(names)
    }
}
