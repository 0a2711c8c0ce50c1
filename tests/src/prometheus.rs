//! A real Prometheus with the rules of `deploy/prometheus`, and promtool.

use crate::{
    executable::{Program, executable},
    until,
};
use anyhow::{Result, ensure};
use obol_devchain::{Prometheus, Sample};
use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
};
use tempfile::TempDir;
use tokio::process::Command;

/// Watches verifiers for a test. Dropping it ends it.
pub struct Observer {
    prometheus: Prometheus,
    _folder: TempDir,
}

fn deployed() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/prometheus")
}

impl Observer {
    /// None where there is no Prometheus to be had.
    pub async fn start() -> Result<Option<Self>> {
        let Some(binary) = executable(Program::Prometheus).await? else { return Ok(None) };
        let folder = tempfile::tempdir()?;
        let rules = fs::read_to_string(deployed().join("obol.rules.yml"))?;
        let prometheus = Prometheus::start(&binary, folder.path(), &rules).await?;
        Ok(Some(Self { prometheus, _folder: folder }))
    }

    /// From now on it scrapes these, and nobody else.
    pub fn target(&self, targets: &[SocketAddr]) -> Result<()> {
        Ok(self.prometheus.target(targets)?)
    }

    pub async fn query(&self, expression: &str) -> Result<Vec<Sample>> {
        Ok(self.prometheus.query(expression).await?)
    }

    /// Waits until an expression has one answer, which is this.
    pub async fn until(&self, expression: &str, value: &str) -> Result<Sample> {
        let seen = until(format!("{expression} is {value}"), async || {
            let found = self.query(expression).await?;
            Ok(match <[Sample; 1]>::try_from(found) {
                Ok([sample]) => (sample.value() == value).then_some(sample),
                Err(_) => None,
            })
        });
        match seen.await {
            Ok(sample) => Ok(sample),
            Err(error) => anyhow::bail!("{error}; it is {:?}", self.query(expression).await?),
        }
    }
}

/// Runs promtool in `deploy/prometheus`, and tells what it said. None where there is none to be had.
pub async fn promtool(arguments: &[&str]) -> Result<Option<String>> {
    let Some(binary) = executable(Program::Promtool).await? else { return Ok(None) };
    let output = Command::new(binary).args(arguments).current_dir(deployed()).output().await?;
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    ensure!(output.status.success(), "promtool {arguments:?}: {said}");
    Ok(Some(said))
}
