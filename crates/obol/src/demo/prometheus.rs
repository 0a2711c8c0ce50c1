//! The machine's own Prometheus, if it has one, with the rules of `deploy/prometheus`.

use super::say;
use crate::written::Chain;
use obol_core::ChainId;
use obol_devchain::{DevchainError, watch};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::{
    env, fs, io,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::Duration,
};
use tokio::{
    process::{Child, Command},
    time::Instant,
};

/// As they are deployed, but evaluated each second: nobody wants to watch a demo for a minute.
const RULES: &str = include_str!("../../../../deploy/prometheus/obol.rules.yml");
const SLOW: &str = "interval: 30s";
const FAST: &str = "interval: 1s";

/// How long it may take until it answers, and until it has recorded what the ledger says.
const PATIENCE: Duration = Duration::from_secs(20);

const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// The recorded rules that the demo shows, by what they count.
const RECORDED: [&str; 3] =
    ["x402:revenue:24h_by_offer_chain", "x402:revenue:7d_by_offer_chain", "x402:revenue:lifetime_by_offer"];

/// A running Prometheus. Dropping it ends it.
pub(super) struct Prometheus {
    // Dropped first: it must not fire at a process id that may already be another's.
    _watchdog: Child,
    process: Child,
    http: reqwest::Client,
    pub(super) url: String,
}

/// What Prometheus has recorded of an offer.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct RecordedLine {
    /// The recording rule.
    pub(super) record: String,
    /// Namespace of the offer that was sold.
    pub(super) offer_namespace: String,
    /// Name of the offer that was sold.
    pub(super) offer_name: String,
    /// CAIP-2 id of the chain; none where the rule adds up all of them.
    pub(super) chain: Option<Chain>,
    /// How many payments, as Prometheus writes the number.
    pub(super) value: String,
}

/// Why there is none.
#[derive(Debug, thiserror::Error)]
enum Missing {
    #[error("its files cannot be written: {0}")]
    Files(#[from] io::Error),
    #[error("it cannot be run: {0}; PROMETHEUS_BIN names another")]
    Run(io::Error),
    #[error("it ended at once ({status}); see {log}")]
    Ended { status: ExitStatus, log: String },
    #[error("{0}")]
    Watchdog(#[from] DevchainError),
    #[error("it does not answer at {url} within {} s; see {log}", PATIENCE.as_secs())]
    Silent { url: String, log: String },
}

#[derive(Deserialize)]
struct Answer {
    data: Data,
}

#[derive(Deserialize)]
struct Data {
    result: Vec<Sample>,
}

#[derive(Deserialize)]
struct Sample {
    metric: Metric,
    /// When, and what.
    value: (f64, String),
}

#[derive(Deserialize)]
struct Metric {
    offer_namespace: String,
    offer_name: String,
    chain: Option<String>,
}

impl Prometheus {
    /// Starts the one that `PROMETHEUS_BIN` names or that is on PATH, its files in `folder`. The demo
    /// does without one that cannot be started.
    pub(super) async fn start(folder: &Path, metrics: SocketAddr, http: &reqwest::Client) -> Option<Self> {
        let Some(binary) = installed() else {
            say(&format!(
                "Without Prometheus, which is not on PATH (PROMETHEUS_BIN names one): what it would read is at \
                 http://{metrics}/metrics"
            ));
            return None;
        };
        match Self::run(&binary, &folder.join("prometheus"), metrics, http.clone()).await {
            Ok(running) => {
                say(&format!("Prometheus at {}, which reads http://{metrics}/metrics", running.url));
                Some(running)
            }
            Err(missing) => {
                say(&format!("Going on without Prometheus ({}): {missing}", binary.display()));
                None
            }
        }
    }

    async fn run(
        binary: &Path,
        folder: &Path,
        metrics: SocketAddr,
        http: reqwest::Client,
    ) -> Result<Self, Missing> {
        fs::create_dir_all(folder)?;
        let config = folder.join("prometheus.yml");
        fs::write(folder.join("obol.rules.yml"), RULES.replace(SLOW, FAST))?;
        fs::write(
            &config,
            format!(
                "global: {{scrape_interval: 1s, evaluation_interval: 1s}}\nrule_files: [obol.rules.yml]\n\
                 scrape_configs:\n  - job_name: obol\n    static_configs: [{{targets: ['{metrics}']}}]\n"
            ),
        )?;
        // Prometheus does not tell which port it took, so that it is given one.
        let address = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
        let log = folder.join("prometheus.log");
        let process = Command::new(binary)
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.tsdb.path={}", folder.join("data").display()))
            .arg(format!("--web.listen-address={address}"))
            .arg("--log.level=warn")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(&log)?)
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(Missing::Run)?;
        let watchdog = watch(&process)?;
        let mut running = Self { _watchdog: watchdog, process, http, url: format!("http://{address}") };
        running.until_ready(&log).await?;
        Ok(running)
    }

    async fn until_ready(&mut self, log: &Path) -> Result<(), Missing> {
        let ready = format!("{}/-/ready", self.url);
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            if self.http.get(&ready).send().await.is_ok_and(|answer| answer.status().is_success()) {
                return Ok(());
            }
            // Who else may answer at its address is not it.
            if let Some(status) = self.process.try_wait()? {
                return Err(Missing::Ended { status, log: log.display().to_string() });
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
        Err(Missing::Silent { url: self.url.clone(), log: log.display().to_string() })
    }

    /// What is recorded, as soon as each rule says that so many payments were made; what there is by
    /// then, when it does not.
    pub(super) async fn recorded(&self, payments: u64) -> Vec<RecordedLine> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let mut lines = Vec::new();
            for record in RECORDED {
                lines.extend(self.query(record).await.unwrap_or_default());
            }
            let right = lines.iter().filter(|line| line.value == payments.to_string()).count();
            if right >= RECORDED.len() || Instant::now() >= deadline {
                return lines;
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    async fn query(&self, record: &str) -> Result<Vec<RecordedLine>, reqwest::Error> {
        let url = format!("{}/api/v1/query?query={record}", self.url);
        let text = self.http.get(url).send().await?.error_for_status()?.bytes().await?;
        let Ok(answer) = serde_json::from_slice::<Answer>(&text) else { return Ok(Vec::new()) };
        let line = |Sample { metric, value: (_, value) }| RecordedLine {
            record: record.to_owned(),
            offer_namespace: metric.offer_namespace,
            offer_name: metric.offer_name,
            chain: metric.chain.and_then(|chain| chain.parse::<ChainId>().ok()).map(Chain::from),
            value,
        };
        Ok(answer.data.result.into_iter().map(line).collect())
    }

    pub(super) async fn stop(mut self) {
        if let Err(error) = self.process.kill().await {
            tracing::warn!(%error, "Prometheus could not be stopped");
        }
    }
}

fn installed() -> Option<PathBuf> {
    if let Some(named) = env::var_os("PROMETHEUS_BIN").filter(|named| !named.is_empty()) {
        return Some(named.into());
    }
    let path = env::var_os("PATH")?;
    let runs = |file: &PathBuf| {
        fs::metadata(file).is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
    };
    env::split_paths(&path).map(|folder| folder.join("prometheus")).find(runs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rules_of_the_demo_are_the_deployed_ones_evaluated_more_often() {
        assert!(RULES.contains(SLOW), "there is nothing to make faster");
        assert!(!RULES.replace(SLOW, FAST).contains(SLOW));
        for record in RECORDED {
            assert!(RULES.contains(&format!("record: {record}\n")), "{record}");
        }
    }
}
