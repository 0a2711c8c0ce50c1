use crate::Printed;
use crate::published::{part, run};
use alloy_primitives::{hex, keccak256};
use anyhow::{Context, Result, ensure};
use obol_devchain::{Account, cache_folder};
use std::{fs, net::SocketAddr, path::PathBuf, process::Output};
use tokio::process::Command;

/// Every package that the client needs, each at one version.
const REQUIREMENTS: &str = include_str!("../clients/requirements.txt");

const SCRIPT: &str = include_str!("../clients/pay.py");

const KEYSTORE: &str = include_str!("../clients/keystore.py");

/// The folder with the published Python client's packages.
#[derive(Clone, Debug)]
pub struct PythonClient(PathBuf);

impl PythonClient {
    pub async fn fetched() -> Result<Option<Self>> {
        part("the published x402 client from PyPI", fetch().await)
    }

    /// A script that uses these packages, ready to be given its arguments.
    pub(crate) fn script(&self, text: &str) -> Command {
        let mut python = Command::new("python3");
        python.args(["-s", "-c", text]).env("PYTHONPATH", &self.0);
        python
    }

    /// Runs `clients/keystore.py`: eth-account, which keeps keys in files, comes with the client.
    pub async fn keystore(&self, args: &[&str]) -> Result<String> {
        let output = self.script(KEYSTORE).args(args).kill_on_drop(true).output().await.context("python3")?;
        ensure!(output.status.success(), "eth-account: {}", String::from_utf8_lossy(&output.stderr));
        Ok(String::from_utf8(output.stdout)?)
    }

    /// Pays with it; with `body` it posts.
    pub async fn pay(
        &self,
        payer: Account,
        (shop, target): (SocketAddr, &str),
        body: Option<&str>,
    ) -> Result<Printed> {
        run(self.script(SCRIPT), payer, &format!("http://{shop}{target}"), body).await
    }
}

/// Has pip install into the cache that all runs share. As with npm's parts, a half-done
/// installation is never visible.
async fn fetch() -> Result<PythonClient> {
    let cache = cache_folder()?;
    // Compiled packages fit one Python.
    let version = python(&["-VV"]).await?.stdout;
    let key = keccak256([REQUIREMENTS.as_bytes(), &version].concat());
    let folder = cache.join(format!("test-python-{}", hex::encode(&key[..8])));
    if folder.is_dir() {
        return Ok(PythonClient(folder));
    }
    fs::create_dir_all(&cache)?;
    let lock = fs::File::create(folder.with_extension("lock"))?;
    let _lock = tokio::task::spawn_blocking(move || lock.lock().map(|()| lock)).await??;
    if !folder.is_dir() {
        let part = tempfile::Builder::new().prefix("test-python.part-").tempdir_in(&cache)?;
        let list = part.path().join("requirements.txt");
        fs::write(&list, REQUIREMENTS)?;
        let (into, list) = (part.path().to_string_lossy(), list.to_string_lossy());
        python(&["-m", "pip", "install", "--quiet", "--no-deps", "--target", &into, "-r", &list]).await?;
        fs::rename(part.path(), &folder)?;
    }
    Ok(PythonClient(folder))
}

async fn python(args: &[&str]) -> Result<Output> {
    let output = Command::new("python3").args(args).kill_on_drop(true).output().await.context("python3")?;
    ensure!(output.status.success(), "python3 {}: {}", args[0], String::from_utf8_lossy(&output.stderr));
    Ok(output)
}
