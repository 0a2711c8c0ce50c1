//! The figures, in the order in which they are measured.

mod admission;
mod challenge;
mod facilitator;
mod forward_auth;
mod gate;
mod journal;
mod lookup;
mod memory;
mod metrics;
mod reservation;
mod settlement;

use crate::figure::{Figure, tabulate};
use anyhow::Result;
use clap::ValueEnum;
use std::{process::ExitCode, time::Instant};

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Bench {
    /// Unpaid requests: challenge, challenge_cpu, challenge_latency.
    #[value(alias = "challenge_cpu", alias = "challenge_latency")]
    Challenge,
    /// From a payment header to a durable row.
    Admission,
    /// Paid requests without the settlement's wait: gate_latency_p50, gate_latency_p99.
    #[value(alias = "gate_latency", alias = "gate_latency_p50", alias = "gate_latency_p99")]
    Gate,
    /// Proxies that ask at /verify: verify_unpaid, verify_paid.
    #[value(alias = "verify_unpaid", alias = "verify_paid")]
    ForwardAuth,
    /// Over HTTP, on a local chain: fac_verify, fac_settle_1, fac_settle_16, fac_settle_64.
    #[value(alias = "fac_verify", alias = "fac_settle_1", alias = "fac_settle_16", alias = "fac_settle_64")]
    Facilitator,
    /// The ledger alone.
    #[value(alias = "reservation_64", alias = "reservation_256")]
    Reservation,
    /// On a local chain: settlement, gas, gas_50_payers.
    #[value(alias = "gas", alias = "gas_50_payers")]
    Settlement,
    /// Of obol verifier: memory_idle, memory_10k_offers.
    #[value(alias = "memory_idle", alias = "memory_10k_offers")]
    Memory,
    /// What observing costs: counted, counted_cpu, scraped_latency, reload_10000, and for 10, 1,000 and 10,000 offers scrape_10,
    /// scrape_10_size and so on; of an old ledger
    /// journal_first, journal_next and scraped_reservation.
    #[value(
        alias = "counted",
        alias = "counted_cpu",
        alias = "scrape_10",
        alias = "scrape_10_size",
        alias = "scrape_1000",
        alias = "scrape_1000_size",
        alias = "scrape_10000",
        alias = "scrape_10000_size",
        alias = "scraped_latency",
        alias = "reload_10000",
        alias = "journal_first",
        alias = "journal_next",
        alias = "scraped_reservation"
    )]
    Metrics,
    /// From a request's path to its offer.
    Match,
}

impl Bench {
    fn run(self) -> Result<Vec<Figure>> {
        match self {
            Self::Challenge => challenge::run(),
            Self::Admission => admission::run(),
            Self::Gate => gate::run(),
            Self::ForwardAuth => forward_auth::run(),
            Self::Facilitator => facilitator::run(),
            Self::Reservation => reservation::run(),
            Self::Settlement => settlement::run(),
            Self::Memory => memory::run(),
            Self::Metrics => metrics::run(),
            Self::Match => lookup::run(),
        }
    }
}

/// Runs these, or all. One that cannot be measured does not keep the others from it.
pub(crate) fn run(only: &[Bench]) -> ExitCode {
    let mut figures = Vec::new();
    let mut code = ExitCode::SUCCESS;
    for &bench in Bench::value_variants() {
        if !only.is_empty() && !only.contains(&bench) {
            continue;
        }
        let begun = Instant::now();
        let told = bench.run().and_then(|measured| {
            measured.iter().try_for_each(Figure::tell)?;
            figures.extend(measured);
            Ok(())
        });
        match told {
            Ok(()) => eprintln!("{bench:?}: measured in {:.1} s", begun.elapsed().as_secs_f64()),
            Err(error) => {
                eprintln!("{bench:?}: not measured: {error:#}");
                code = ExitCode::FAILURE;
            }
        }
    }
    tabulate(&figures);
    code
}

/// One thread for what a bench does itself beside the servers.
fn block_on<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(work)
}
