//! The anvil process: started, found ready, and never left behind.

use crate::{Account, DevchainError, Mining, Options};
use serde::Deserialize;
use std::{fs, path::Path, process::Stdio, time::Duration};
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    process::{Child, ChildStdout, Command},
};

/// Anvil listens after some 100 ms; a machine that is this much slower has another problem.
const PATIENCE: Duration = Duration::from_secs(60);

const MNEMONIC: &str = "test test test test test test test test test test test junk";

/// Dropping it kills anvil. When this process dies without dropping anything (SIGKILL), the
/// watchdog, a shell that waits for the end of a pipe from here, kills it instead. Both are
/// in process groups of their own: Ctrl-C reaches only this process, which may still need the
/// chain while it shuts down.
pub(crate) struct Anvil {
    // Dropped first: it must not fire at a process id that may already be another's.
    _watchdog: Child,
    process: Child,
    _folder: TempDir,
    pub(crate) url: String,
    pub(crate) accounts: Vec<Account>,
}

#[derive(Deserialize)]
struct Config {
    available_accounts: Vec<alloy_primitives::Address>,
    private_keys: Vec<alloy_primitives::B256>,
}

impl Anvil {
    pub(crate) async fn start(binary: &Path, options: &Options) -> Result<Self, DevchainError> {
        let folder = TempDir::new().map_err(DevchainError::Folder)?;
        let errors = folder.path().join("stderr");
        let config = folder.path().join("config.json");
        let mut process = command(binary, options, folder.path(), &config)
            .stderr(fs::File::create(&errors).map_err(DevchainError::Folder)?)
            .spawn()
            .map_err(|source| DevchainError::Spawn { binary: binary.to_owned(), source })?;
        let watchdog = watch(&process)?;
        let stdout = process.stdout.take().expect("stdout is piped");
        let mut lines = BufReader::new(stdout).lines();
        let Ok(listening) = tokio::time::timeout(PATIENCE, listening(&mut lines)).await else {
            return Err(DevchainError::NotReady(PATIENCE));
        };
        let Some(address) = listening else {
            // The end of its output: it is about to end, or has.
            let status = process.wait().await.map_err(DevchainError::Folder)?;
            let words = fs::read_to_string(&errors).unwrap_or_default();
            let (binary, words) = (binary.to_owned(), words.trim().to_owned());
            return Err(DevchainError::Exited { binary, status, words });
        };
        // A full pipe would stop anvil.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        let accounts = read_accounts(&config)?;
        Ok(Self { _watchdog: watchdog, process, _folder: folder, url: format!("http://{address}"), accounts })
    }

    pub(crate) fn id(&self) -> Option<u32> {
        self.process.id()
    }

    pub(crate) async fn stop(mut self) {
        if let Err(error) = self.process.kill().await {
            tracing::warn!(%error, "the local chain's process could not be stopped");
        }
    }
}

fn command(binary: &Path, options: &Options, folder: &Path, config: &Path) -> Command {
    let mut command = Command::new(binary);
    command
        .args(["--host", "127.0.0.1", "--port"])
        .arg(options.port.unwrap_or(0).to_string())
        .args(["--chain-id", &crate::CHAIN.reference().to_string()])
        .args(["--mnemonic", MNEMONIC])
        .args(["--accounts", &crate::ACCOUNTS.to_string()])
        // `safe` is one block behind the head and `finalized` two, not 32 and 64.
        .args(["--slots-in-an-epoch", "1"])
        .arg("--config-out")
        .arg(config)
        .arg("--cache-path")
        .arg(folder);
    match options.mining {
        // Set-up fills one block by hand before blocks follow transactions.
        Mining::Automine | Mining::Manual => command.arg("--no-mining"),
        Mining::Interval(every) => {
            let every = every.max(Duration::from_millis(1));
            command.arg("--block-time").arg(format!("{}.{:03}", every.as_secs(), every.subsec_millis()))
        }
    };
    command.stdin(Stdio::null()).stdout(Stdio::piped()).process_group(0).kill_on_drop(true);
    command
}

/// A shell that kills `process` when this process is gone, however it went. To be dropped before it.
pub(crate) fn watch(process: &Child) -> Result<Child, DevchainError> {
    let id = process.id().expect("it was not waited for").to_string();
    Command::new("sh")
        .args(["-c", "read -r _; kill -9 \"$0\"", &id])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .map_err(|source| DevchainError::Spawn { binary: "sh".into(), source })
}

async fn listening(lines: &mut Lines<BufReader<ChildStdout>>) -> Option<String> {
    while let Ok(Some(line)) = lines.next_line().await {
        if let Some(address) = line.trim().strip_prefix("Listening on ") {
            return Some(address.to_owned());
        }
    }
    None
}

/// Anvil derives the keys from the public mnemonic and writes them down; that saves this
/// crate a key derivation of its own.
fn read_accounts(config: &Path) -> Result<Vec<Account>, DevchainError> {
    let text = fs::read(config).map_err(DevchainError::Folder)?;
    let config: Config =
        serde_json::from_slice(&text).map_err(|error| DevchainError::Accounts(error.to_string()))?;
    let accounts: Vec<_> = config
        .available_accounts
        .into_iter()
        .zip(config.private_keys)
        .map(|(address, key)| Account { address, key })
        .collect();
    match accounts.len() {
        crate::ACCOUNTS => Ok(accounts),
        other => Err(DevchainError::Accounts(format!("{other} accounts"))),
    }
}
