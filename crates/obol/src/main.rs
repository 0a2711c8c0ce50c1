//! `obol`: sell HTTP services per request for stablecoins, and account for every cent.

mod buy;
mod chains;
mod chains_file;
mod cli;
mod demo;
mod endpoint;
mod exit;
mod facilitator;
mod faults;
mod ledger;
mod logging;
mod open_files;
mod output;
mod password;
#[cfg(test)]
mod reference;
mod schema;
mod secret_file;
mod sell;
mod seller;
mod serving;
mod settling;
mod shell;
mod signals;
mod terminal;
mod verifier;
mod wallet;
mod written;

use clap::Parser;
use cli::{Cli, Command};
use exit::Failure;
use faults::Faults;
use logging::Logging;
use std::process::ExitCode;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let mut faults = Faults::default();
    let logging = cli.logging(&mut faults);
    logging.start();
    // An error means that the process already has a provider, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => return Failure::failed(format!("cannot start threads: {error}")).report(),
    };
    match runtime.block_on(run(cli.command, logging, faults)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

/// A verifier tells the faults of its own settings along with these.
async fn run(command: Command, logging: Logging, faults: Faults) -> Result<(), Failure> {
    match command {
        Command::Verifier(args) => verifier::run(*args, logging, faults).await,
        Command::Facilitator(args) => facilitator::run(*args, logging, faults).await,
        Command::Demo(args) => {
            faults.none()?;
            demo::run(args).await
        }
        Command::Ledger(args) => {
            faults.none()?;
            ledger::run(args).await
        }
        Command::Sell(args) => {
            faults.none()?;
            sell::run(args).await
        }
        Command::Buy(args) => {
            faults.none()?;
            buy::run(args).await
        }
        Command::Completions(args) => {
            shell::completions(&args);
            Ok(())
        }
        Command::Man(args) => shell::man(&args),
        Command::Schema(args) => schema::run(&args),
        Command::Chains(args) => {
            faults.none()?;
            chains::run(args).await
        }
        Command::Wallet(args) => {
            faults.none()?;
            wallet::run(*args).await
        }
    }
}
