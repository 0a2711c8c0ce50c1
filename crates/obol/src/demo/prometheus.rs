//! The machine's own Prometheus, if it has one, with the rules of `deploy/prometheus`.

use super::say;
use crate::written::Chain;
use obol_core::ChainId;
use obol_devchain::{Prometheus, PrometheusError};
use schemars::JsonSchema;
use serde::Serialize;
use std::{
    env, fs,
    net::SocketAddr,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    time::Duration,
};
use tokio::time::Instant;

const RULES: &str = include_str!("../../../../deploy/prometheus/obol.rules.yml");

/// How long it may take until it has recorded what the ledger says.
const PATIENCE: Duration = Duration::from_secs(20);

const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// The recorded rules that the demo shows, by what they count.
const RECORDED: [&str; 3] =
    ["x402:revenue:24h_by_offer_chain", "x402:revenue:7d_by_offer_chain", "x402:revenue:lifetime_by_offer"];

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

/// Starts the one that `PROMETHEUS_BIN` names or that is on PATH, its files in `folder`. The demo does
/// without one that cannot be started.
pub(super) async fn start(folder: &Path, metrics: SocketAddr) -> Option<Prometheus> {
    let Some(binary) = installed() else {
        say(&format!(
            "Without Prometheus, which is not on PATH (PROMETHEUS_BIN names one): what it would read is at \
             http://{metrics}/metrics"
        ));
        return None;
    };
    say(&format!("Starting Prometheus ({})", binary.display()));
    match started(&binary, &folder.join("prometheus"), metrics).await {
        Ok(prometheus) => {
            say(&format!("Prometheus at {}, which reads http://{metrics}/metrics", prometheus.url()));
            Some(prometheus)
        }
        Err(error) => {
            say(&format!(
                "Going on without Prometheus: {error}; what it would read is at http://{metrics}/metrics"
            ));
            None
        }
    }
}

async fn started(binary: &Path, folder: &Path, metrics: SocketAddr) -> Result<Prometheus, PrometheusError> {
    let prometheus = Prometheus::start(binary, folder, RULES).await?;
    prometheus.target(&[metrics])?;
    Ok(prometheus)
}

/// What is recorded, as soon as each rule says that so many payments were made; what there is by then,
/// when it does not.
pub(super) async fn recorded(prometheus: &Prometheus, payments: u64) -> Vec<RecordedLine> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let mut lines = Vec::new();
        for record in RECORDED {
            lines.extend(query(prometheus, record).await.unwrap_or_default());
        }
        let right = lines.iter().filter(|line| line.value == payments.to_string()).count();
        if right >= RECORDED.len() || Instant::now() >= deadline {
            return lines;
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

async fn query(prometheus: &Prometheus, record: &str) -> Result<Vec<RecordedLine>, PrometheusError> {
    let lines = prometheus.query(record).await?.into_iter().map(|sample| {
        let label = |name: &str| sample.metric.get(name).cloned();
        RecordedLine {
            record: record.to_owned(),
            offer_namespace: label("offer_namespace").unwrap_or_default(),
            offer_name: label("offer_name").unwrap_or_default(),
            chain: label("chain").and_then(|chain| chain.parse::<ChainId>().ok()).map(Chain::from),
            value: sample.value().to_owned(),
        }
    });
    Ok(lines.collect())
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
