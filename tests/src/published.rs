use anyhow::{Context, Result, bail};
use obol_devchain::{Account, Installed, NpmProject};
use serde::Deserialize;
use std::{fmt, io::Write as _, net::SocketAddr, process::Stdio, time::Duration};
use tokio::process::Command;

const CLIENTS: NpmProject = NpmProject {
    name: "test-clients",
    what: "the published x402 clients",
    manifest: include_str!("../clients/package.json"),
    lock: include_str!("../clients/package-lock.json"),
};

/// What a published client printed.
#[derive(Clone, Debug, Deserialize)]
pub struct Printed {
    pub status: Option<u16>,
    pub body: Option<String>,
    pub receipt: Option<PrintedReceipt>,
    pub error: Option<String>,
}

/// A receipt as the client's own library decoded it.
#[derive(Clone, Debug, Deserialize)]
pub struct PrintedReceipt {
    pub success: bool,
    pub transaction: String,
    pub network: String,
    pub payer: String,
}

/// Longer than any client should take on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(300);

/// What is fetched at first use, or `None`, with a sentence about it, where that is impossible
/// and nobody relies on it. With `CI=true` it has to be had.
pub(crate) fn part<T>(name: &str, fetched: Result<T, impl fmt::Display>) -> Result<Option<T>> {
    match fetched {
        Ok(part) => Ok(Some(part)),
        Err(error) if std::env::var_os("CI").is_some_and(|ci| ci == "true") => bail!("{name}: {error}"),
        Err(error) => {
            // Not `eprintln!`, which the test harness swallows when a test passes.
            writeln!(std::io::stderr(), "skipped for lack of {name}: {error}")?;
            Ok(None)
        }
    }
}

/// The published JavaScript clients of both versions.
pub async fn npm_clients() -> Result<Option<Installed>> {
    part("the published x402 clients from npm", CLIENTS.install(&mut |line| tracing::info!("{line}")).await)
}

/// One of the scripts in `clients/`, ready to be given its arguments.
pub fn client_script(packages: &Installed, script: &'static str) -> Result<Command> {
    let text = match script {
        "list" => include_str!("../clients/list.mjs"),
        "pay-v1" => include_str!("../clients/pay-v1.mjs"),
        "pay-v2" => include_str!("../clients/pay-v2.mjs"),
        "sell-listed" => include_str!("../clients/sell-listed.mjs"),
        "sell-v1" => include_str!("../clients/sell-v1.mjs"),
        "sell-v2" => include_str!("../clients/sell-v2.mjs"),
        "settle-v2" => include_str!("../clients/settle-v2.mjs"),
        other => bail!("no script {other}"),
    };
    let mut node = Command::new("node");
    node.arg(packages.script(script, text)?).stdin(Stdio::null()).kill_on_drop(true);
    Ok(node)
}

/// Runs one of the scripts in `clients/` against a paid address; with `body` it posts.
pub async fn run_script(
    packages: &Installed,
    script: &'static str,
    payer: Account,
    (shop, target): (SocketAddr, &str),
    body: Option<&str>,
) -> Result<Printed> {
    run(client_script(packages, script)?, payer, &format!("http://{shop}{target}"), body).await
}

pub(crate) async fn run(
    mut command: Command,
    payer: Account,
    url: &str,
    body: Option<&str>,
) -> Result<Printed> {
    let ran = command
        .arg(url)
        .args(body)
        .env("EVM_PRIVATE_KEY", payer.key.to_string())
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(PATIENCE, ran).await.context("the client did not end")??;
    let words = String::from_utf8_lossy(&output.stderr);
    serde_json::from_slice(&output.stdout).with_context(|| format!("no JSON, but said: {words}"))
}
