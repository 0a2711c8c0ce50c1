//! A seller's money path as a process of its own, for tests that stop it in mid-step.
//!
//! `seller_process <chain endpoint> <ledger file>`: settles what is due until it is killed. Says
//! each state of its settler on a line, and ends when its standard input does.

use anyhow::{Context, Result};
use obol_devchain::CHAIN;
use obol_evm::{Key, Rpc};
use obol_facilitator::{ChainSetup, Facilitator};
use obol_ledger::{Clock, Ledger, Place};
use obol_tests::{SellerOptions, chain_of};
use std::{io::Read, path::Path, time::Duration};

#[tokio::main]
async fn main() -> Result<()> {
    // Stopped, it would not see the end of its input when the test is killed.
    #[cfg(target_os = "linux")]
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))?;
    // An error means that the process already has one, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut args = std::env::args().skip(1);
    let url = args.next().context("no endpoint")?;
    let file = args.next().context("no ledger")?;
    let key = std::env::var("SETTLER_KEY").context("no SETTLER_KEY")?;
    let options = SellerOptions::default();
    let ledger = Ledger::open(&Place::File(Path::new(&file)), Clock::System, "the other process")?;
    let setup = ChainSetup {
        chain: chain_of(options.finality),
        rpc: Rpc::new(&url, options.rpc_timeout)?,
        settler: key.parse::<Key>()?,
        gas: options.gas,
        factories: options.factories,
    };
    let facilitator = Facilitator::start(&ledger, vec![setup], Vec::new(), options.timing);
    let mut said = None;
    let ended = std::thread::spawn(|| std::io::stdin().read_to_end(&mut Vec::new()));
    while !ended.is_finished() {
        let state = facilitator.states().find(|(chain, _)| *chain == CHAIN).map(|(_, state)| state);
        if state != said {
            println!("{state:?}");
            said = state;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    facilitator.stop().await;
    Ok(())
}
