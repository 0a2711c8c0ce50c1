//! The servers that run in processes of their own.

mod bare;
mod chain;
mod facilitator;
mod gate;
mod http1;
mod proxy;

use crate::measure::cpu_time;
use anyhow::Result;
use clap::Subcommand;
use std::{
    io::{BufRead, Write},
    net::SocketAddr,
    path::PathBuf,
};
use tokio::net::TcpListener;

#[derive(Debug, Subcommand)]
pub(crate) enum Server {
    /// The gate with one offer.
    Gate {
        #[arg(long)]
        ledger: PathBuf,
        /// What the offer sells.
        #[arg(long, default_value = "http://127.0.0.1:1")]
        upstream: String,
        /// The endpoint of the chain; without it payments are refused.
        #[arg(long)]
        chain: Option<String>,
        /// Answers proxies on this machine at /verify, and settles nothing for them.
        #[arg(long)]
        verify_only: bool,
        /// Counts nothing.
        #[arg(long)]
        uncounted: bool,
    },
    /// The facilitator for others, for anybody.
    Facilitator {
        #[arg(long)]
        ledger: PathBuf,
        #[arg(long)]
        chain: String,
        /// The number of the settler's key.
        #[arg(long, default_value_t = 0)]
        settler: usize,
    },
    /// A bare hyper server that repeats another server's answer to this path.
    Bare { of: SocketAddr, path: String },
    /// A bare hyper server behind the gate or the proxy.
    Upstream,
    /// A bare hyper reverse proxy.
    Proxy { upstream: SocketAddr },
    /// A stand-in for a chain's node.
    Chain,
}

/// One thread each, so that the servers of a bench and its client share two cores fairly.
const THREADS: usize = 1;

/// Serves until standard input ends.
pub(crate) fn run(server: Server) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(THREADS).enable_all().build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        say(&listener.local_addr()?.to_string())?;
        match server {
            Server::Gate { ledger, upstream, chain, verify_only, uncounted } => {
                gate::start(listener, &ledger, &upstream, chain.as_deref(), verify_only, uncounted)?;
            }
            Server::Facilitator { ledger, chain, settler } => {
                facilitator::start(listener, &ledger, &chain, settler)?;
            }
            Server::Bare { of, path } => bare::start_like(listener, of, &path).await?,
            Server::Upstream => bare::start_upstream(listener),
            Server::Proxy { upstream } => proxy::start(listener, upstream),
            Server::Chain => chain::start(listener),
        }
        tokio::task::spawn_blocking(answer_questions).await?
    })?;
    // Connections are cut off where they are.
    runtime.shutdown_background();
    Ok(())
}

/// Answers each line with the processor time used, in nanoseconds.
fn answer_questions() -> Result<()> {
    for line in std::io::stdin().lock().lines() {
        line?;
        say(&cpu_time().as_nanos().to_string())?;
    }
    Ok(())
}

fn say(line: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}")?;
    Ok(out.flush()?)
}
