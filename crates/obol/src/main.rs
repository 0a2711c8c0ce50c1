//! `obol`: sell HTTP services per request for stablecoins, and account for every cent.

mod chains;
mod chains_file;
mod cli;
mod demo;
mod endpoint;
mod exit;
mod ledger;
mod logging;
mod output;
#[cfg(test)]
mod reference;
mod seller;
mod signals;
mod verifier;

use clap::Parser;
use cli::{Cli, Command};
use exit::Failure;
use std::process::ExitCode;

fn main() -> ExitCode {
    let cli = Cli::parse();
    logging::start(cli.log_filter(), cli.log_format);
    // An error means that the process already has a provider, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => return Failure::failed(format!("cannot start threads: {error}")).report(),
    };
    let done = runtime.block_on(async {
        match cli.command {
            Command::Verifier(args) => verifier::run(*args).await,
            Command::Demo(args) => demo::run(args).await,
            Command::Ledger(args) => ledger::run(args).await,
            Command::Chains(args) => chains::run(args).await,
        }
    });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}
