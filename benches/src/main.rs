//! Measures obol against references: `make bench`.
//!
//! Each figure is measured in turns with its reference, and the median of each is told: on a
//! machine that does other work too, the ratio means more than either number. Servers run in
//! processes of their own, which this executable starts from itself.
#![allow(clippy::float_arithmetic, reason = "times and ratios; no money is counted here")]

mod figure;
mod figures;
mod load;
mod measure;
mod peer;
mod serve;
mod stage;
mod verifier;

use clap::Parser;
use figures::Bench;
use serve::Server;
use std::process::ExitCode;

/// Measures obol against references: one JSON line per figure on standard output.
#[derive(Debug, Parser)]
struct Cli {
    /// Which to run; all when not given.
    #[arg(long, value_enum, value_delimiter = ',', value_name = "BENCH")]
    only: Vec<Bench>,
    /// What this executable runs as when it has started itself.
    #[command(subcommand)]
    server: Option<Server>,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    // An error means that the process already has a provider, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let done = match cli.server {
        Some(server) => serve::run(server).map(|()| ExitCode::SUCCESS),
        None => Ok(figures::run(&cli.only)),
    };
    done.unwrap_or_else(|error| {
        eprintln!("obol-benches: {error:#}");
        ExitCode::FAILURE
    })
}
