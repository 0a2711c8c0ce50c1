//! The executable as people and scripts use it: results on standard output, one sentence for
//! each failure, published exit codes.

mod commands;
mod demo;
mod prometheus;
mod settings;
mod verifier;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::{
    fs,
    path::Path,
    process::{Child, Command, Output, Stdio},
};

pub(crate) fn obol() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_obol"));
    command.stdin(Stdio::null());
    command
}

pub(crate) fn run(args: &[&str]) -> Result<Output> {
    Ok(obol().args(args).output()?)
}

pub(crate) fn json(output: &Output) -> Result<Value> {
    let text = String::from_utf8_lossy(&output.stdout);
    serde_json::from_str(&text).with_context(|| {
        format!("standard output is no JSON: {text:?}; {}", String::from_utf8_lossy(&output.stderr))
    })
}

/// Killed with the test.
pub(crate) struct Running(pub(crate) Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub(crate) fn signal(child: &Child, signal: &str) -> Result<()> {
    let status = Command::new("sh").args(["-c", &format!("kill {signal} {}", child.id())]).status()?;
    ensure!(status.success(), "kill {signal}");
    Ok(())
}

pub(crate) fn settler_key(folder: &Path) -> Result<String> {
    let path = folder.join("settler.key");
    fs::write(&path, format!("0x{}\n", "11".repeat(32)))?;
    Ok(path.to_str().context("UTF-8")?.to_owned())
}
