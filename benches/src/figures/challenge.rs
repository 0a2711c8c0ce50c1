//! Unpaid requests: what everybody can cause.

use super::block_on;
use crate::{
    figure::{Figure, Wanted},
    load::{Load, get},
    measure::{Turns, median, rate},
    peer::Peer,
    stage,
};
use anyhow::Result;
use std::time::Duration;

const CONNECTIONS: usize = 64;
const ROUNDS: usize = 9;
const ROUND: Duration = Duration::from_millis(700);

const REFERENCE: &str = "bare hyper server with the same answer";

/// A server under load, and what a round of it came to.
struct Side {
    server: Peer,
    many: Load,
    one: Load,
}

struct Round {
    per_second: f64,
    /// Of the server, for one request.
    cpu_micros: f64,
    /// Median of one connection.
    latency_micros: f64,
}

impl Side {
    async fn open(server: Peer) -> Result<Self> {
        let request = || get(stage::OFFER_PATH, &[]);
        let many = Load::open(server.address(), CONNECTIONS, request(), "402").await?;
        let one = Load::open(server.address(), 1, request(), "402").await?;
        let mut side = Self { server, many, one };
        side.round().await?;
        Ok(side)
    }

    async fn round(&mut self) -> Result<Round> {
        let cpu = self.server.cpu_time()?;
        let count = self.many.run(ROUND).await?.len();
        let cpu = self.server.cpu_time()? - cpu;
        let latency = median(&self.one.run(ROUND / 2).await?);
        Ok(Round {
            per_second: rate(count, ROUND),
            cpu_micros: cpu.as_secs_f64() * 1e6 / count as f64,
            latency_micros: latency * 1e6,
        })
    }
}

pub(super) fn run() -> Result<Vec<Figure>> {
    let folder = stage::folder()?;
    let ledger = folder.path().join("ledger.db");
    block_on(async {
        let gate = Peer::start(["gate".as_ref(), "--ledger".as_ref(), ledger.as_os_str()])?;
        let bare = Peer::start(["bare", &gate.address().to_string(), stage::OFFER_PATH])?;
        let (mut gate, mut bare) = (Side::open(gate).await?, Side::open(bare).await?);
        let (mut rates, mut cpu, mut latencies) = (Turns::default(), Turns::default(), Turns::default());
        for _ in 0..ROUNDS {
            let (ours, reference) = (gate.round().await?, bare.round().await?);
            rates.add(ours.per_second, reference.per_second);
            cpu.add(ours.cpu_micros, reference.cpu_micros);
            latencies.add(ours.latency_micros, reference.latency_micros);
        }
        let figure = |bench, unit, turns: &Turns, wanted| {
            let (ours, reference) = turns.medians();
            Figure { bench, unit, ours, reference, reference_name: REFERENCE.to_owned(), wanted }
        };
        Ok(vec![
            figure("challenge", "requests/s at c=64", &rates, Wanted::RatioAtLeast(0.85)),
            figure("challenge_cpu", "us of server CPU per request at c=64", &cpu, Wanted::Nothing),
            figure("challenge_latency", "us p50 at c=1", &latencies, Wanted::Nothing),
        ])
    })
}
