//! A real Prometheus, with the rules of `deploy/prometheus`.

use crate::{
    executable::{Program, executable},
    fetch, get, until,
};
use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use std::{
    collections::BTreeMap,
    fs,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::Stdio,
};
use tempfile::TempDir;
use tokio::process::{Child, Command};

/// A running Prometheus. Dropping it kills it.
pub struct Prometheus {
    address: SocketAddr,
    _process: Child,
    folder: TempDir,
}

/// One of a query's answers.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Sample {
    pub metric: BTreeMap<String, String>,
    /// When, and what.
    value: (f64, String),
}

impl Sample {
    pub fn value(&self) -> &str {
        &self.value.1
    }

    pub fn label(&self, name: &str) -> Option<&str> {
        self.metric.get(name).map(String::as_str)
    }
}

#[derive(Deserialize)]
struct Answer {
    data: Data,
}

#[derive(Deserialize)]
struct Data {
    result: Vec<Sample>,
}

fn deployed() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/prometheus")
}

impl Prometheus {
    /// Scrapes each second what [`Self::target`] says, and evaluates the deployed rules as often.
    /// None where there is no Prometheus to be had.
    pub async fn start() -> Result<Option<Self>> {
        let Some(binary) = executable(Program::Prometheus).await? else { return Ok(None) };
        let folder = tempfile::tempdir()?;
        let rules = fs::read_to_string(deployed().join("obol.rules.yml"))?;
        ensure!(rules.contains("interval: 30s"), "the rules have another interval");
        fs::write(folder.path().join("obol.rules.yml"), rules.replace("interval: 30s", "interval: 1s"))?;
        let config = folder.path().join("prometheus.yml");
        fs::write(
            &config,
            "global: {scrape_interval: 1s, evaluation_interval: 1s}\nrule_files: [obol.rules.yml]\n\
             scrape_configs:\n  - job_name: obol\n    file_sd_configs: [{files: [targets.json], refresh_interval: 1s}]\n",
        )?;
        fs::write(folder.path().join("targets.json"), "[]")?;
        let address = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
        let process = Command::new(binary)
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()))
            .arg(format!("--web.listen-address={address}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(folder.path().join("log"))?)
            .kill_on_drop(true)
            .spawn()?;
        let running = Self { address, _process: process, folder };
        let started = until("Prometheus is ready", async || {
            let answer = fetch(address, get("/-/ready")).await;
            Ok(answer.is_ok_and(|answer| answer.status.is_success()).then_some(()))
        });
        started.await.with_context(|| running.log())?;
        Ok(Some(running))
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// From now on it scrapes these, and nobody else.
    pub fn target(&self, targets: &[SocketAddr]) -> Result<()> {
        let targets: Vec<_> = targets.iter().map(ToString::to_string).collect();
        let text = serde_json::json!([{"targets": targets}]).to_string();
        // Whole or not at all: it may be read at any moment.
        let part = self.folder.path().join("targets.part");
        fs::write(&part, text)?;
        Ok(fs::rename(part, self.folder.path().join("targets.json"))?)
    }

    pub async fn query(&self, expression: &str) -> Result<Vec<Sample>> {
        let query = form_urlencoded::Serializer::new(String::new()).append_pair("query", expression).finish();
        let answer = fetch(self.address, get(&format!("/api/v1/query?{query}"))).await?;
        ensure!(answer.status.is_success(), "{expression}: {answer:?}");
        Ok(serde_json::from_slice::<Answer>(&answer.body).with_context(|| format!("{answer:?}"))?.data.result)
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
