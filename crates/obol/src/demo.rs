//! `obol demo`: sell, pay, settle and reconcile on a throw-away local chain.

mod buyer;
mod prometheus;
mod report;
mod stage;
mod upstream;

pub(crate) use report::DemoView;

use crate::{
    exit::Failure,
    output::{self, Output},
    signals,
    verifier::bind,
};
use clap::Args;
use obol_devchain::{Devchain, Mining, Options, provision};
use std::{
    fmt,
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

const EXAMPLE: &str = "\
Examples:
  obol demo                        run it, then try the commands that it prints
  obol demo --once --output json   run it once for a script
  obol demo --chain-only           just the chain, to run the roles by hand against it

Where prometheus is on PATH, or PROMETHEUS_BIN names one, it runs, too, and what it has recorded
is shown beside what the ledger says.";

/// Everything on a throw-away local chain: sell, pay, settle, reconcile.
///
/// Starts a local chain with Circle's USDC, a verifier and a small upstream, lists demo-hello at
/// 0.01 USDC per request, pays for two requests as a buyer would, shows the settlements and the
/// seller's earnings, compares ledger and chain, and keeps running. Where Prometheus is installed it
/// runs, too, and what it has recorded is shown beside what the ledger says. The accounts are those of
/// anvil's public test mnemonic: their money is worth nothing and their keys are known to all.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLE)]
pub(crate) struct DemoArgs {
    /// Stop when all is shown.
    #[arg(long)]
    once: bool,
    /// Start the chain only.
    #[arg(long, conflicts_with_all = ["once", "listen", "ledger"])]
    chain_only: bool,
    #[arg(long, default_value = "table", value_name = "FORMAT")]
    output: Output,
    /// Where buyers are served; a free port on loopback if not given.
    #[arg(long, env = "OBOL_DEMO_LISTEN", value_name = "ADDRESS")]
    listen: Option<SocketAddr>,
    /// The chain's port on loopback; a free one if not given.
    #[arg(long, env = "OBOL_DEMO_RPC_PORT", value_name = "PORT")]
    rpc_port: Option<u16>,
    /// The ledger's file, which must not be there yet; one in a new temporary folder if not given.
    #[arg(long, env = "OBOL_DEMO_LEDGER", value_name = "FILE")]
    ledger: Option<PathBuf>,
}

/// The pace of the chain: fast enough to watch, slow enough to be one.
const BLOCK: Duration = Duration::from_secs(1);

pub(crate) async fn run(args: DemoArgs) -> Result<(), Failure> {
    tokio::select! {
        done = show(args) => done,
        // Dropping what runs stops it: the chain's process is killed with its handle.
        () = signals::stop_requested() => Ok(()),
    }
}

fn say(line: &str) {
    eprintln!("{line}");
}

async fn show(args: DemoArgs) -> Result<(), Failure> {
    // Before anything is started, or made that would be left behind.
    if let Some(existing) = args.ledger.as_ref().filter(|path| path.exists()) {
        return Err(Failure::config(format!(
            "--ledger: {} is there already; the demo's chain starts from nothing and wants a new file",
            existing.display()
        )));
    }
    if let Some(address) = args.listen {
        drop(bind("--listen", address).await?);
    }
    let chain = start_chain(args.rpc_port).await?;
    if args.chain_only {
        report::chain(&chain, args.output);
        return std::future::pending().await;
    }
    let stage = stage::Stage::set(&chain, &args).await?;
    let outcome = stage.perform(&chain).await;
    let document = match outcome {
        Ok(document) => document,
        Err(failure) => {
            stage.strike().await;
            return Err(failure);
        }
    };
    let agrees = document.reconciled;
    match args.output {
        Output::Table => output::print(&document.in_words(args.once)),
        Output::Json => output::print_json(&DemoView::Sold(document)),
    }
    if !args.once {
        say("Running until you press Ctrl-C.");
        signals::stop_requested().await;
    }
    stage.strike().await;
    chain.stop().await;
    if agrees { Ok(()) } else { Err(Failure::differs("ledger and chain differ")) }
}

async fn start_chain(port: Option<u16>) -> Result<Devchain, Failure> {
    if let Some(port) = port {
        // Anvil would end with words that name no flag.
        drop(bind("--rpc-port", SocketAddr::from((Ipv4Addr::LOCALHOST, port))).await?);
    }
    say("A local chain: anvil as Base Sepolia (eip155:84532), with Circle's USDC");
    let tools = provision(&mut |line| say(&format!("  {line}"))).await.map_err(no_chain)?;
    Devchain::start_with(&tools, Options { port, mining: Mining::Interval(BLOCK) }).await.map_err(no_chain)
}

fn no_chain(error: impl fmt::Display) -> Failure {
    Failure::unavailable(format!("obol demo cannot start its local chain: {error}"))
}
