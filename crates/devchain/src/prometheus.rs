//! A throw-away Prometheus beside the chain: the machine's own executable, with rules that are
//! evaluated each second instead of each half minute.

use crate::{DevchainError, process::watch};
use serde::Deserialize;
use std::{
    collections::BTreeMap,
    fs, io,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    process::{Child, Command},
};

const DEPLOYED: &str = "interval: 30s";
const FAST: &str = "interval: 1s";

const CONFIG: &str = "\
global: {scrape_interval: 1s, evaluation_interval: 1s}
rule_files: [rules.yml]
scrape_configs:
  - job_name: obol
    file_sd_configs: [{files: [targets.json], refresh_interval: 1s}]
";

/// How long it may take until it answers.
const PATIENCE: Duration = Duration::from_secs(40);

const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// A running one. Dropping it ends it.
pub struct Prometheus {
    // Dropped first: it must not fire at a process id that may already be another's.
    _watchdog: Child,
    process: Child,
    address: SocketAddr,
    folder: PathBuf,
}

/// One of a query's answers.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Sample {
    pub metric: BTreeMap<String, String>,
    /// When, and what.
    value: (f64, String),
}

/// Why there is none, or why it does not answer.
#[derive(Debug, thiserror::Error)]
pub enum PrometheusError {
    #[error("its files cannot be written: {0}")]
    Files(io::Error),
    #[error("the rules are not evaluated with an {DEPLOYED}")]
    Rules,
    #[error("it cannot be run: {0}")]
    Run(io::Error),
    #[error("{0}")]
    Watchdog(#[from] DevchainError),
    #[error("it ended at once ({status}); see {}", log.display())]
    Ended { status: ExitStatus, log: PathBuf },
    #[error("it does not answer at {address} within {} s; see {}", PATIENCE.as_secs(), log.display())]
    Silent { address: SocketAddr, log: PathBuf },
    #[error("it does not answer: {0}")]
    Query(io::Error),
    #[error("{expression}: {answer}")]
    Refused { expression: String, answer: String },
}

#[derive(Deserialize)]
struct Answer {
    data: Data,
}

#[derive(Deserialize)]
struct Data {
    result: Vec<Sample>,
}

impl Sample {
    /// As Prometheus writes the number.
    pub fn value(&self) -> &str {
        &self.value.1
    }
}

impl Prometheus {
    /// With these rules, its files in `folder`, and nothing to scrape yet.
    pub async fn start(binary: &Path, folder: &Path, rules: &str) -> Result<Self, PrometheusError> {
        if !rules.contains(DEPLOYED) {
            return Err(PrometheusError::Rules);
        }
        let written = fs::create_dir_all(folder)
            .and_then(|()| fs::write(folder.join("rules.yml"), rules.replace(DEPLOYED, FAST)))
            .and_then(|()| fs::write(folder.join("prometheus.yml"), CONFIG))
            .and_then(|()| fs::write(folder.join("targets.json"), "[]"));
        written.map_err(PrometheusError::Files)?;
        let log = folder.join("log");
        let errors = fs::File::create(&log).map_err(PrometheusError::Files)?;
        // It does not tell which port it took, so that it is given one.
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|listener| listener.local_addr());
        let address = free.map_err(PrometheusError::Run)?;
        let process = Command::new(binary)
            .arg(format!("--config.file={}", folder.join("prometheus.yml").display()))
            .arg(format!("--storage.tsdb.path={}", folder.join("data").display()))
            .arg(format!("--web.listen-address={address}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(errors)
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(PrometheusError::Run)?;
        let watchdog = watch(&process)?;
        let mut started = Self { _watchdog: watchdog, process, address, folder: folder.to_owned() };
        started.until_ready(&log).await?;
        Ok(started)
    }

    async fn until_ready(&mut self, log: &Path) -> Result<(), PrometheusError> {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            // Who else may answer at its address is not it.
            if let Some(status) = self.process.try_wait().map_err(PrometheusError::Run)? {
                return Err(PrometheusError::Ended { status, log: log.to_owned() });
            }
            if self.get("/-/ready").await.is_ok_and(|answer| answer.starts_with("HTTP/1.0 200")) {
                return Ok(());
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
        Err(PrometheusError::Silent { address: self.address, log: log.to_owned() })
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// From now on it scrapes these, and nobody else.
    pub fn target(&self, targets: &[SocketAddr]) -> Result<(), PrometheusError> {
        let targets: Vec<_> = targets.iter().map(ToString::to_string).collect();
        let text = serde_json::json!([{"targets": targets}]).to_string();
        // Whole or not at all: it may be read at any moment.
        let part = self.folder.join("targets.part");
        let written =
            fs::write(&part, text).and_then(|()| fs::rename(part, self.folder.join("targets.json")));
        written.map_err(PrometheusError::Files)
    }

    /// What an expression is at the moment.
    pub async fn query(&self, expression: &str) -> Result<Vec<Sample>, PrometheusError> {
        let query = form_urlencoded::Serializer::new(String::new()).append_pair("query", expression).finish();
        let answer = self.get(&format!("/api/v1/query?{query}")).await.map_err(PrometheusError::Query)?;
        let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        let parsed: Result<Answer, _> = serde_json::from_str(body);
        parsed.map(|answer| answer.data.result).map_err(|_| PrometheusError::Refused {
            expression: expression.to_owned(),
            answer: answer.clone(),
        })
    }

    /// Head and body. Of HTTP/1.0, whose answers end with their connection.
    async fn get(&self, path: &str) -> io::Result<String> {
        let mut stream = TcpStream::connect(self.address).await?;
        stream.write_all(format!("GET {path} HTTP/1.0\r\n\r\n").as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        Ok(answer)
    }

    pub async fn stop(mut self) {
        if let Err(error) = self.process.kill().await {
            tracing::warn!(%error, "Prometheus could not be stopped");
        }
    }
}
